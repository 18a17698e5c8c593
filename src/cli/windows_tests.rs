use std::cell::Cell;
use std::io::BufReader;
use std::rc::Rc;

use super::*;
use crate::glue::texts::Texts;

/// A tokenizer that knows one letter, and a model of so many token types.
fn with_encoding<T>(token_types: usize, work: impl FnOnce(Encoding<'_>) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n").unwrap();
    let bert = serde_json::json!({"vocab_size": 5, "hidden_size": 4, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 8, "type_vocab_size": token_types});
    let bert = BertConfig::from_json(bert, Path::new("config.json")).unwrap();
    let encoder = Encoder::from_dir(dir.path()).unwrap();
    work(Encoding { encoder: &encoder, bert: &bert })
}

fn input<R: Read>(reader: R) -> Input<R> {
    let path = PathBuf::from("texts.txt");
    let rows = Source::Plain(Texts::new(&path, BufReader::new(reader), None));
    Input { path, rows, size: None }
}

/// The windows of `text` for a model of so many token types, each as the number of its first row and
/// its rows' types.
fn windows(text: &str, token_types: usize) -> Result<Vec<(usize, Vec<Vec<u8>>)>> {
    let mut all: Vec<(usize, Vec<Vec<u8>>)> = Vec::new();
    with_encoding(token_types, |encoding| {
        let beside = (&Printer::new(), &SlowBar::default());
        let tally = input(text.as_bytes()).each_window(encoding, beside, |rows, samples| {
            assert_eq!(rows.lines.len(), samples.len());
            all.push((rows.first, samples.into_iter().map(|sample| sample.type_id).collect()));
            Ok(())
        })?;
        assert_eq!(tally.rows, all.iter().map(|(_, types)| types.len()).sum::<usize>());
        Ok(all)
    })
}

#[test]
fn rows_come_in_windows_with_the_number_of_the_first() {
    let all = windows(&"a\ta\n".repeat(WINDOW + 1), 2).unwrap();
    let counts: Vec<_> = all.iter().map(|(first, types)| (*first, types.len())).collect();
    assert_eq!(counts, [(0, WINDOW), (WINDOW, 1)]);
    assert!(all.iter().flat_map(|(_, types)| types).all(|types| *types == [0, 0, 0, 1, 1]));
    assert_eq!(windows("", 2).unwrap(), []);
}

#[test]
fn long_texts_make_short_windows() {
    let line = "a".repeat(WINDOW_BYTES / 4) + "\n";
    let all = windows(&line.repeat(5), 2).unwrap();
    let counts: Vec<_> = all.iter().map(|(first, types)| (*first, types.len())).collect();
    assert_eq!(counts, [(0, 4), (4, 1)]);
}

#[test]
fn errors_name_the_lines_of_the_file_not_of_the_rows() {
    let text = windows("sentence1\tsentence2\na\t\na\ta\n", 1).unwrap_err().to_string();
    assert!(text.contains("texts.txt:3: expected token types below"), "{text}");
}

#[test]
fn a_pair_for_a_model_of_single_texts_is_refused_by_its_line() {
    assert_eq!(windows("a\na\t\n", 1).unwrap().len(), 1);
    for before in [1, WINDOW + 1] {
        let text = windows(&("a\n".repeat(before) + "a\ta\n"), 1).unwrap_err().to_string();
        let expected = format!(
            "texts.txt:{}: expected token types below the model's type_vocab_size 1, found 1",
            before + 1
        );
        assert!(text.contains(&expected), "{text}");
    }
}

/// Rows without end, and how many bytes of them were asked for.
struct Endless(Rc<Cell<usize>>);

impl Read for Endless {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let row = b"a a a\n";
        for (place, byte) in room.iter_mut().enumerate() {
            *byte = row[(self.0.get() + place) % row.len()];
        }
        self.0.set(self.0.get() + room.len());
        Ok(room.len())
    }
}

#[test]
fn no_more_than_a_window_is_read_before_it_is_done_and_nothing_after_a_failure() {
    let read = Rc::new(Cell::new(0));
    let mut done = 0;
    let ended = with_encoding(2, |encoding| {
        let beside = (&Printer::new(), &SlowBar::default());
        input(Endless(read.clone())).each_window(encoding, beside, |rows, samples| {
            assert_eq!((rows.first, samples.len()), (done, WINDOW));
            done += samples.len();
            // What is read ahead is the buffer of the input.
            let ahead = read.get() - 6 * done;
            assert!(ahead <= 64 << 10, "{ahead} bytes after {done} rows");
            if done == 100 * WINDOW { Err(Error::Closed) } else { Ok(()) }
        })
    });
    assert!(matches!(ended, Err(Error::Closed)));
    assert_eq!(done, 100 * WINDOW);
}

#[test]
fn progress_goes_from_window_to_window() {
    let seen = std::cell::RefCell::new(Vec::new());
    with_encoding(2, |encoding| {
        let text = "a\n".repeat(WINDOW) + "a a\n";
        let beside = (&Printer::new(), &SlowBar::default());
        let of = Some(text.len() as u64);
        let input = Input { size: of, ..input(text.as_bytes()) };
        input.each_window(encoding, beside, |rows, samples| {
            seen.borrow_mut().push(rows.reached(samples.len(), samples.len()));
            Ok(())
        })
    })
    .unwrap();
    let of = Some(2 * WINDOW as u64 + 4);
    let at = |rows, bytes| Reached { rows, bytes, of };
    let expected = [at(WINDOW, 2 * WINDOW as u64), at(WINDOW + 1, 2 * WINDOW as u64 + 4)];
    assert_eq!(seen.into_inner(), expected);
}

#[test]
fn a_folder_is_no_input() {
    let dir = tempfile::tempdir().unwrap();
    let wrong =
        Input::new(Path::new("texts"), File::open(dir.path()).unwrap(), None, &Named::default());
    let text = wrong.err().unwrap().to_string();
    assert!(text.starts_with("texts: cannot read: "), "{text}");
}
