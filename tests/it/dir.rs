//! A temporary folder with the program in it: small files in, output and files out.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A folder that is removed at the end of the test.
pub struct Dir(TempDir);

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Lets what `command` starts have all signals, but for those to be ignored, as their owner made
/// them: who runs the tests may have ignored some, as `nohup` does.
pub fn with_signals(command: &mut Command, ignored: &'static [i32]) {
    // SAFETY: between fork and exec only calls that are allowed there.
    unsafe {
        command.pre_exec(move || {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                libc::signal(signal, libc::SIG_DFL);
            }
            for signal in ignored {
                libc::signal(*signal, libc::SIG_IGN);
            }
            Ok(())
        });
    }
}

impl Dir {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// Copies the first `rows` rows of the demo's files, its tokenizer, and a recipe for a run of
    /// a second on NdArray or `backend`.
    pub fn with_tiny_demo(self, backend: &str) -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (file, rows) in [("train.tsv", 96), ("dev.tsv", 48)] {
            let path = repository.join("glue-data/demo").join(file);
            let text = std::fs::read_to_string(path).unwrap();
            let head: Vec<&str> = text.lines().take(rows + 1).collect();
            self.write(&format!("glue-data/demo/{file}"), &(head.join("\n") + "\n"));
        }
        for file in ["config.json", "vocab.txt"] {
            let path = repository.join("glue-data/demo/model").join(file);
            self.write(
                &format!("glue-data/demo/model/{file}"),
                &std::fs::read_to_string(path).unwrap(),
            );
        }
        let recipe = format!(
            "task = \"demo\"\ninit_checkpoint = \"glue-data/demo/model\"\nfrom_scratch = true\n\
             backend = \"{backend}\"\nfinal_threshold = 0.2\nwarmup_steps = 2\n\
             initial_warmup = 1\nfinal_warmup = 2\nbeta2 = 0.95\ndelta_t = 2\nbatch_size = 16\n\
             epochs = 2\nlog_per_updates = 2\neval_per_updates = 4\nlearning_rate = 1e-3\n"
        );
        self.write("recipes/tiny.toml", &recipe);
        self
    }

    /// The folder with a finished run of the tiny demo in `run`, trained with `flags`.
    pub fn with_finished_run(flags: &str) -> Self {
        let dir = Self::new().with_tiny_demo("flex");
        dir.platon_ok(&format!("train tiny --no-tui --output-dir run {flags}"));
        dir
    }

    /// Runs the program in this folder.
    pub fn platon(&self, args: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_platon"));
        command.args(args.split_whitespace());
        self.run(&mut command)
    }

    /// Runs the program in this folder, with `input` on its standard input.
    pub fn platon_with_input(&self, args: &str, input: &str) -> Ended {
        let file = self.write("standard-input", input).path("standard-input");
        let mut command = Command::new(env!("CARGO_BIN_EXE_platon"));
        command.args(args.split_whitespace()).stdin(std::fs::File::open(file).unwrap());
        self.run(&mut command)
    }

    /// Runs the program where no file may grow beyond so many blocks of 512 bytes.
    pub fn platon_with_files_up_to(&self, blocks: usize, args: &str) -> Ended {
        let program = env!("CARGO_BIN_EXE_platon");
        let script = format!("ulimit -f {blocks}; exec '{program}' {args}");
        self.run(Command::new("sh").args(["-c", &script]))
    }

    /// Starts the program in this folder; what it says goes to the file `stderr`.
    pub fn start(&self, args: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_platon"));
        let command = command.args(args.split_whitespace()).current_dir(self.0.path());
        with_signals(command, &[]);
        let stderr = std::fs::File::create(self.path("stderr")).unwrap();
        command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap()
    }

    /// Runs the program in this folder with so many threads.
    pub fn platon_with_threads(&self, threads: usize, args: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_platon"));
        let command = command.args(args.split_whitespace());
        self.run(command.env("RAYON_NUM_THREADS", threads.to_string()))
    }

    fn run(&self, command: &mut Command) -> Ended {
        Ended::of(&command.current_dir(self.0.path()).output().unwrap())
    }

    /// Runs the program and expects success.
    pub fn platon_ok(&self, args: &str) -> Ended {
        let ended = self.platon(args);
        assert_eq!(ended.code, 0, "platon {args}: {}", ended.stderr);
        ended
    }

    /// Runs the program and expects exit code 1 and one line of error at the end of stderr, which
    /// is returned.
    pub fn platon_refuses(&self, args: &str) -> String {
        let ended = self.platon(args);
        assert_eq!(ended.code, 1, "platon {args}: {}", ended.stderr);
        let errors: Vec<&str> =
            ended.stderr.lines().skip_while(|l| !l.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "platon {args}: {}", ended.stderr);
        errors[0].to_string()
    }
}
