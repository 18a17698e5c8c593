//! Bars of progress.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressFinish, ProgressStyle};

use super::printer::Printer;
use crate::glue::prepare::PrepareEvent;

/// Draws a bar per data set while it is prepared.
pub struct PrepareBars<'a> {
    printer: &'a Printer,
    bars: MultiProgress,
    open: Mutex<HashMap<String, ProgressBar>>,
    verbose: bool,
}

impl<'a> PrepareBars<'a> {
    /// With `verbose`, data sets that need no work are named too.
    pub fn new(printer: &'a Printer, verbose: bool) -> Self {
        Self { printer, bars: MultiProgress::new(), open: Mutex::default(), verbose }
    }

    /// Shows one step.
    pub fn show(&self, progress: PrepareEvent<'_>) {
        let Ok(mut open) = self.open.lock() else { return };
        match progress {
            PrepareEvent::Started { data_set, rows } => {
                let style = "{msg:24} {wide_bar} {pos}/{len} rows  {eta}";
                let bar = self.bars.add(ProgressBar::new(rows as u64));
                bar.set_style(
                    ProgressStyle::with_template(style)
                        .unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
                bar.set_message(data_set.to_string());
                open.insert(data_set.to_string(), bar);
            }
            PrepareEvent::Advanced { data_set, rows } => {
                if let Some(bar) = open.get(data_set) {
                    bar.inc(rows as u64);
                }
            }
            PrepareEvent::Finished { data_set, rows } => {
                if let Some(bar) = open.remove(data_set) {
                    bar.finish_and_clear();
                }
                self.line(&format!("{data_set}: {rows} samples prepared"));
            }
            PrepareEvent::UpToDate { data_set, rows } => {
                if self.verbose {
                    self.line(&format!("{data_set}: {rows} samples, up to date"));
                }
            }
            PrepareEvent::Missing { data_set, path } => {
                if self.verbose {
                    self.line(&format!("{data_set}: left out, there is no {}", path.display()));
                }
            }
        }
    }

    fn line(&self, text: &str) {
        self.bars.suspend(|| self.printer.log(text));
    }
}

/// A bar on standard error for work that takes longer than one likes to wait.
#[derive(Default)]
pub struct SlowBar(Mutex<Option<Slow>>);

/// Work under way: when it was first heard of, and its bar once that is long ago.
type Slow = (Instant, Option<ProgressBar>);

impl SlowBar {
    /// So many of `total` samples are done; all of them end the bar, and what is shown after that
    /// is other work, which begins then.
    pub fn show(&self, done: usize, total: usize) {
        self.at("{wide_bar} {pos}/{len} samples  {eta}", done, Some(total));
        if done >= total {
            *self.lock() = None;
        }
    }

    /// So many texts are done. Where the results go to a terminal, they show it themselves.
    pub fn count(&self, done: usize) {
        if !std::io::stdout().is_terminal() {
            self.at("{spinner} {pos} texts  {elapsed}", done, None);
        }
    }

    fn at(&self, style: &str, done: usize, total: Option<usize>) {
        /// Without a sign of life.
        const PATIENCE: Duration = Duration::from_secs(2);
        let mut slow = self.lock();
        let (started, bar) = slow.get_or_insert_with(|| (Instant::now(), None));
        if started.elapsed() < PATIENCE {
            return;
        }
        let bar = bar.get_or_insert_with(|| {
            let bar = total.map_or_else(ProgressBar::no_length, |n| ProgressBar::new(n as u64));
            let style = ProgressStyle::with_template(style);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_elapsed(started.elapsed())
                .with_finish(ProgressFinish::AndClear)
        });
        bar.set_position(done as u64);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Slow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
