//! Runs under the dashboard, on terminals that close, and with signals that were ignored before.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use burn::backend::Autodiff;
use burn_flex::Flex;
use burn_train::Interrupter;
use platon::config::{Layer, RunConfig};
use platon::panics;
use platon::run::RunFolder;
use platon::train::{Console, Plan, Start, train};

use crate::crash::{long, outcome, signal, tiny};
use crate::dir::{Dir, with_signals};

/// A pseudo-terminal with a program at work on it.
struct Terminal {
    program: Child,
    /// What it has shown so far.
    shown: Arc<Mutex<Vec<u8>>>,
    close: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    keyboard: Option<File>,
}

/// Both sides of a new pseudo-terminal: that of the screen and the keyboard, and the program's.
fn pair() -> (File, File) {
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // From the first moment no other program may hold the side that stands for the screen.
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let mut name = [0; 64];
    // SAFETY: the numbers are checked, and the name has room for any terminal's.
    let master = unsafe {
        let master = libc::posix_openpt(flags);
        assert!(master >= 0);
        assert_eq!((libc::grantpt(master), libc::unlockpt(master)), (0, 0));
        assert_eq!(libc::ptsname_r(master, name.as_mut_ptr(), name.len()), 0);
        assert_eq!(libc::ioctl(master, libc::TIOCSWINSZ, &raw const size), 0);
        File::from_raw_fd(master)
    };
    // SAFETY: the name that was just written ends in 0.
    let name = unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) }.to_str().unwrap();
    let slave = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name);
    (master, slave.unwrap())
}

impl Terminal {
    /// Starts `command` on a terminal of 80 columns and 24 rows, with these signals ignored.
    fn start(command: &mut Command, ignored: &'static [i32]) -> Self {
        let screen = pair();
        let input = screen.1.try_clone().unwrap();
        Self::reading(command.stdin(input), ignored, screen)
    }

    /// The same for a command whose input is set, on this terminal.
    fn reading(
        command: &mut Command,
        ignored: &'static [i32],
        (mut master, slave): (File, File),
    ) -> Self {
        command.stdout(slave.try_clone().unwrap()).stderr(slave);
        // SAFETY: between fork and exec only calls that are allowed there.
        unsafe {
            command.pre_exec(move || {
                libc::setsid();
                libc::ioctl(1, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        with_signals(command, ignored);
        let program = command.spawn().unwrap();
        // Its copies for the program too, or the terminal would never be seen to end.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (shown, close) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let keyboard = Some(master.try_clone().unwrap());
        let (seen, closed) = (shown.clone(), close.clone());
        let reader = std::thread::spawn(move || {
            while !closed.load(Ordering::Relaxed) {
                let mut polled =
                    libc::pollfd { fd: master.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one struct, as is said.
                if unsafe { libc::poll(&raw mut polled, 1, 10) } > 0 {
                    let mut bytes = [0; 4096];
                    match master.read(&mut bytes) {
                        Ok(count) if count > 0 => {
                            seen.lock().unwrap().extend_from_slice(&bytes[..count]);
                        }
                        _ => return,
                    }
                }
            }
        });
        Self { program, shown, close, reader: Some(reader), keyboard }
    }

    /// Starts the program in `dir`.
    fn platon(dir: &Dir, args: &str, ignored: &'static [i32]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_platon"));
        Self::start(command.args(args.split_whitespace()).current_dir(dir.path(".")), ignored)
    }

    /// Starts a long run in `dir` under the dashboard; it has logged a few points then.
    fn with_run(dir: &Dir, run: &str, ignored: &'static [i32]) -> Self {
        let args = format!("{} --output-dir {run}", under_the_dashboard());
        let mut terminal = Self::platon(dir, &args, ignored);
        at_work(dir, run, &mut terminal.program);
        terminal
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// What was shown after the dashboard was left.
    fn shown_after_the_dashboard(&self) -> String {
        let shown = self.shown();
        let [start, end] = ["\u{1b}[?1049h", "\u{1b}[?1049l"].map(|place| shown.rfind(place));
        assert!(start.is_some() && start < end, "the dashboard stayed: {shown}");
        shown[end.unwrap()..].to_string()
    }

    fn press(&mut self, keys: &[u8]) {
        std::io::Write::write_all(self.keyboard.as_mut().unwrap(), keys).unwrap();
    }

    /// What happens to a terminal whose window is closed.
    fn close(&mut self) {
        self.keyboard = None;
        self.close.store(true, Ordering::Relaxed);
        self.reader.take().unwrap().join().unwrap();
    }

    /// How the program ends; one that hangs is killed and fails the test.
    fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.program.try_wait().unwrap() {
                if let Some(reader) = self.reader.take() {
                    // What was written last is read before the end is.
                    reader.join().unwrap();
                }
                return status;
            }
            if started.elapsed() > Duration::from_secs(120) {
                self.program.kill().unwrap();
                panic!("it hangs: {}", self.shown());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn under_the_dashboard() -> String {
    long().replace("--no-tui", "")
}

/// Waits until the run has logged a few points.
fn at_work(dir: &Dir, run: &str, program: &mut Child) {
    let metrics = dir.path(&format!("{run}/metrics.jsonl"));
    while !std::fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 3) {
        assert!(program.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The update after which the log says that the run was stopped.
fn stopped_after(log: &str) -> usize {
    let update = log.rsplit("stopped after update ").next().unwrap().split(' ').next().unwrap();
    update.parse().unwrap_or_else(|_| panic!("{log}"))
}

#[test]
fn a_terminal_that_closes_leaves_a_whole_checkpoint_ten_times() {
    let dir = tiny();
    dir.platon_ok(&format!("{} --output-dir whole", long()));
    let expected = outcome(&dir, "whole");
    for n in 0..10 {
        let run = format!("closed-{n}");
        let mut terminal = Terminal::with_run(&dir, &run, &[]);
        // At other places of an update, an evaluation or a checkpoint.
        std::thread::sleep(Duration::from_millis(17 * n));
        terminal.close();
        assert_eq!(terminal.wait().code(), Some(129), "{}", terminal.shown());
        let log = dir.read(&format!("{run}/log.log"));
        assert!(log.contains(": SIGHUP"), "{log}");
        let newest = format!("{run}/checkpoint/update-{}/manifest.json", stopped_after(&log));
        assert!(dir.path(&newest).exists(), "{newest}: {log}");
        if n < 2 {
            let ended = dir.platon_ok(&format!("resume {run} --no-tui"));
            let going_on = format!("going on after update {}", stopped_after(&log));
            assert!(ended.stderr.contains(&going_on), "{}", ended.stderr);
            assert!(outcome(&dir, &run) == expected);
        }
    }
}

#[test]
fn a_run_that_ignores_its_terminal_s_end_goes_on_without_it() {
    let dir = tiny();
    let mut terminal = Terminal::with_run(&dir, "run", &[libc::SIGHUP]);
    terminal.close();
    assert_eq!(terminal.wait().code(), Some(0));
    let log = dir.read("run/log.log");
    assert!(log.contains("the terminal is gone; the run goes on without the dashboard"), "{log}");
    assert_eq!(dir.json("run/report.json")["steps"], 120);
}

// crossterm reads on for ever there, as it does where a terminal closes between a drawing and the
// look at its keys.
#[test]
fn a_keyboard_that_goes_away_by_itself_keeps_no_run_from_its_end() {
    let dir = tiny();
    let (keyboard, input) = pair();
    let mut command = Command::new(env!("CARGO_BIN_EXE_platon"));
    let args = format!("{} --output-dir run", under_the_dashboard());
    let command = command.args(args.split_whitespace()).current_dir(dir.path("."));
    let mut terminal = Terminal::reading(command.stdin(input), &[], pair());
    at_work(&dir, "run", &mut terminal.program);
    drop(keyboard);
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.shown());
    let log = dir.read("run/log.log");
    assert!(log.contains("the terminal is gone; the run goes on without the dashboard"), "{log}");
    let shown = terminal.shown_after_the_dashboard();
    assert!(shown.contains("all layers"), "{shown}");
}

#[test]
fn half_an_escape_sequence_keeps_no_run_from_its_end() {
    let dir = tiny();
    let mut terminal = Terminal::with_run(&dir, "run", &[]);
    // What Alt-[ sends: crossterm waits for the rest.
    terminal.press(b"\x1b[");
    std::thread::sleep(Duration::from_millis(500));
    signal(&terminal.program, "-INT");
    assert_eq!(terminal.wait().code(), Some(130));
    let shown = terminal.shown_after_the_dashboard();
    assert!(shown.contains("stopped by Ctrl-C"), "{shown}");
}

#[test]
fn signals_that_were_ignored_before_stay_ignored() {
    let (dir, mut command) = (tiny(), Command::new(env!("CARGO_BIN_EXE_platon")));
    let args = format!("{} --output-dir run", long());
    let command = command.args(args.split_whitespace()).current_dir(dir.path("."));
    with_signals(command, &[libc::SIGHUP, libc::SIGINT]);
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut program = command.spawn().unwrap();
    at_work(&dir, "run", &mut program);
    for name in ["-HUP", "-INT", "-HUP"] {
        signal(&program, name);
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(program.try_wait().unwrap().is_none(), "it was stopped");
    signal(&program, "-TERM");
    assert_eq!(program.wait().unwrap().code(), Some(143));
}

#[test]
fn ctrl_c_under_the_dashboard_saves_and_leaves_the_terminal() {
    stop_by_keys(b"\x03", Some(130), "stopped by Ctrl-C");
}

#[test]
fn the_menu_under_the_dashboard_saves_and_leaves_the_terminal() {
    stop_by_keys(b"qs", Some(0), "stopped by the dashboard");
}

fn stop_by_keys(keys: &[u8], code: Option<i32>, said: &str) {
    let dir = tiny();
    dir.platon_ok(&format!("{} --output-dir whole", long()));
    let mut terminal = Terminal::with_run(&dir, "run", &[]);
    terminal.press(keys);
    assert_eq!(terminal.wait().code(), code);
    let shown = terminal.shown_after_the_dashboard();
    assert!(shown.contains(said) && shown.contains("platon resume run"), "{shown}");
    dir.platon_ok("resume run --no-tui");
    assert!(outcome(&dir, "run") == outcome(&dir, "whole"));
}

#[test]
fn a_second_ctrl_c_stops_at_once_and_leaves_the_terminal() {
    let dir = tiny();
    let mut terminal = Terminal::with_run(&dir, "run", &[]);
    // Both are there before the run can end at the first.
    for name in ["-STOP", "-INT", "-TERM", "-CONT"] {
        signal(&terminal.program, name);
    }
    let code = terminal.wait().code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
    let shown = terminal.shown_after_the_dashboard();
    assert!(shown.contains("stopped at once"), "{shown}");
}

#[test]
fn the_dashboard_shows_a_run_to_its_end() {
    let dir = tiny();
    let args = format!("{} --output-dir run", under_the_dashboard());
    let mut terminal = Terminal::platon(&dir, &args, &[]);
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.shown());
    let shown = terminal.shown();
    // Word by word: blanks are not drawn.
    for part in ["\u{1b}[?1049h", "Update", "Phase", "Remaining", " to 0.2", "all layers"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

#[test]
fn a_long_input_has_a_bar_on_the_terminal_which_goes_when_it_ends() {
    let dir = tiny();
    dir.platon_ok("train tiny --no-tui --output-dir run --max-steps 2");
    dir.write("texts.tsv", &"a cat sleeps\ta dog\n".repeat(10_000));
    let program = env!("CARGO_BIN_EXE_platon");
    let predict = format!("exec '{program}' predict run --input");
    for (n, (script, rows, is_file)) in [
        (format!("{predict} texts.tsv"), 10_000, true),
        (format!("{predict} - < <(cat texts.tsv texts.tsv)"), 20_000, false),
    ]
    .into_iter()
    .enumerate()
    {
        let (script, answers) = (format!("{script} >answers-{n}"), format!("answers-{n}"));
        let mut shell = Command::new("bash");
        let shell = shell.args(["-c", &script]).current_dir(dir.path("."));
        let mut terminal = Terminal::start(shell, &[]);
        // Once it has begun it takes its time, on any machine.
        while !std::fs::metadata(dir.path(&answers)).is_ok_and(|file| file.len() > 0) {
            assert!(terminal.program.try_wait().unwrap().is_none(), "{}", terminal.shown());
            std::thread::sleep(Duration::from_millis(1));
        }
        signal(&terminal.program, "-STOP");
        std::thread::sleep(Duration::from_millis(2500));
        signal(&terminal.program, "-CONT");
        assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.shown());
        let shown = terminal.shown();
        let (bar, end) = shown.split_at(shown.rfind(&format!("{rows} rows in ")).unwrap());
        let (_, bar) = bar.split_once(" weights remain").unwrap();
        assert!(bar.contains(" rows, ") && bar.contains('%') == is_file, "{bar:?}");
        assert!(end.trim_end().ends_with(" rows/s"), "{end:?}");
        let last = bar.rsplit('\r').next().unwrap();
        assert!(!last.contains("rows"), "the bar stays: {last:?}");
        assert_eq!(dir.read(&answers).lines().count(), rows + 1);
    }
}

#[test]
fn a_run_in_the_background_takes_no_terminal() {
    let dir = tiny();
    let script =
        format!("set -m; '{}' train tiny --output-dir run & wait $!", env!("CARGO_BIN_EXE_platon"));
    let mut shell = Command::new("bash");
    let mut terminal = Terminal::start(shell.args(["-c", &script]).current_dir(dir.path(".")), &[]);
    assert_eq!(terminal.wait().code(), Some(0), "{}", terminal.shown());
    let shown = terminal.shown();
    assert!(shown.contains("update 12/12") && !shown.contains("\u{1b}[?1049h"), "{shown}");
}

#[test]
fn a_panic_where_nobody_looks_ends_the_run_with_its_cause() {
    let dir = tiny();
    let mut settings = toml::Table::from_iter([("batch_size_eval".to_string(), 8.into())]);
    for (name, path) in [
        ("init_checkpoint", "glue-data/demo/model"),
        ("data_dir", "glue-data/canonical_data/model"),
        ("output_dir", "run"),
    ] {
        let path = dir.path(path).to_string_lossy().into_owned();
        settings.insert(name.to_string(), path.into());
    }
    dir.platon_ok("prepare demo --tokenizer glue-data/demo/model");
    let recipe = Layer::from_file(&dir.path("recipes/tiny.toml")).unwrap();
    let config = RunConfig::resolve(&[recipe, Layer::command_line(settings)]).unwrap();
    let planned = Plan::new(&config, true, &|_| ()).unwrap();
    std::fs::create_dir(dir.path("run")).unwrap();
    let folder = RunFolder::at(&dir.path("run"));
    let lock = folder.lock().unwrap();
    let start = Start::find(&folder, &lock, &config, false).unwrap();
    // On the thread that looks at what was done, after the last batch of the first evaluation.
    let lines = |line: &str| assert!(!line.contains("demo_dev"), "nobody looks here");
    let console = Console {
        lines: Box::new(lines),
        evaluated: Box::new(|_, _| ()),
        dashboard: false,
        interrupter: Interrupter::new(),
        world: platon::world::World::alone(),
    };
    let before = std::panic::take_hook();
    panics::keep_quiet();
    let started = Instant::now();
    let ended =
        train::<Autodiff<Flex>>(&config, &folder, planned, &[Default::default()], console, start);
    std::panic::set_hook(before);
    let error = ended.unwrap_err().to_string();
    let expected = "the training ended abnormally after update 4: nobody looks here (tests/it";
    assert!(error.contains(expected) && error.contains("platon resume"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60), "it waited by the clock");
}
