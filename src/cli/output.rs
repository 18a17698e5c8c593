//! Printing: data on stdout, everything else on stderr, and no panic when a pipe closes.

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::glue::prepare::Progress;

/// Prints data. A reader that has seen enough (`| head`) ends the program; output that cannot be
/// written otherwise, as to a full disk, ends it with an error.
pub fn data(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush());
    match written {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            log(&format!("error: standard output: cannot write: {e}"));
            std::process::exit(1);
        }
    }
}

/// Prints a message.
pub fn log(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Draws a bar per data set while it is prepared.
pub struct PrepareBars {
    bars: MultiProgress,
    open: Mutex<HashMap<String, ProgressBar>>,
    verbose: bool,
}

impl PrepareBars {
    /// With `verbose`, data sets that need no work are named too.
    pub fn new(verbose: bool) -> Self {
        Self { bars: MultiProgress::new(), open: Mutex::default(), verbose }
    }

    /// Shows one step.
    pub fn show(&self, progress: Progress<'_>) {
        let Ok(mut open) = self.open.lock() else { return };
        match progress {
            Progress::Started { data_set, rows } => {
                let style = "{msg:24} {wide_bar} {pos}/{len} rows  {eta}";
                let bar = self.bars.add(ProgressBar::new(rows as u64));
                bar.set_style(
                    ProgressStyle::with_template(style)
                        .unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
                bar.set_message(data_set.to_string());
                open.insert(data_set.to_string(), bar);
            }
            Progress::Advanced { data_set, rows } => {
                if let Some(bar) = open.get(data_set) {
                    bar.inc(rows as u64);
                }
            }
            Progress::Finished { data_set, rows } => {
                if let Some(bar) = open.remove(data_set) {
                    bar.finish_and_clear();
                }
                self.line(&format!("{data_set}: {rows} samples prepared"));
            }
            Progress::UpToDate { data_set, rows } => {
                if self.verbose {
                    self.line(&format!("{data_set}: {rows} samples, up to date"));
                }
            }
            Progress::Missing { data_set, path } => {
                if self.verbose {
                    self.line(&format!("{data_set}: left out, there is no {}", path.display()));
                }
            }
        }
    }

    fn line(&self, text: &str) {
        self.bars.suspend(|| log(text));
    }
}
