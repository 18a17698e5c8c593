//! Bars of progress.

use std::collections::HashMap;
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
pub struct SlowBar {
    slow: Mutex<Option<Slow>>,
    hidden: bool,
}

/// Work under way: when it was first heard of, and its bar once that is long ago.
type Slow = (Instant, Option<ProgressBar>);

impl SlowBar {
    /// A bar for work whose results `printer` prints: where they show on a terminal, there is none.
    pub fn beside_data(printer: &Printer) -> Self {
        Self { hidden: printer.shows_data(), ..Self::default() }
    }

    /// So many of `total` samples are done; all of them end the bar, and what is shown after that
    /// is other work, which begins then.
    pub fn show(&self, done: usize, total: usize) {
        let style = "{wide_bar} {pos}/{len} samples  {eta}";
        self.draw(style, done as u64, Some(total as u64), None);
        if done >= total {
            *self.lock() = None;
        }
    }

    /// An input is done so far, rows and bytes.
    pub fn at(&self, reached: Reached) {
        let Reached { rows, bytes, of } = reached;
        match of {
            Some(of) => {
                let style = "{wide_bar} {percent}%  {msg}  {eta}";
                self.draw(style, bytes.min(of), Some(of), Some(rows));
            }
            None => self.draw("{spinner} {msg}  {elapsed}", rows as u64, None, Some(rows)),
        }
    }

    /// With `rows`, they and their pace are the message.
    fn draw(&self, style: &str, done: u64, total: Option<u64>, rows: Option<usize>) {
        /// Without a sign of life.
        const PATIENCE: Duration = Duration::from_secs(2);
        let mut slow = self.lock();
        let (started, bar) = slow.get_or_insert_with(|| (Instant::now(), None));
        if self.hidden || started.elapsed() < PATIENCE {
            return;
        }
        let bar = bar.get_or_insert_with(|| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let style = ProgressStyle::with_template(style);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_elapsed(started.elapsed())
                .with_finish(ProgressFinish::AndClear)
        });
        if let Some(rows) = rows {
            let pace = per_second(rows, started.elapsed().as_secs_f64());
            bar.set_message(format!("{rows} rows, {pace}"));
        }
        bar.set_position(done);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Slow>> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of an input is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    pub rows: usize,
    /// Of those of the input, `of`, where their number is known: not of a pipe.
    pub bytes: u64,
    pub of: Option<u64>,
}

/// So many rows in so many seconds, in words.
pub fn pace(rows: usize, seconds: f64) -> String {
    format!("{rows} rows in {seconds:.2} s, {}", per_second(rows, seconds))
}

fn per_second(rows: usize, seconds: f64) -> String {
    let rate = if seconds > 0.0 { rows as f64 / seconds } else { 0.0 };
    if rate < 10.0 { format!("{rate:.2} rows/s") } else { format!("{rate:.0} rows/s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_has_the_digits_that_tell_something() {
        assert_eq!(pace(1_000_000, 250.0), "1000000 rows in 250.00 s, 4000 rows/s");
        assert_eq!(pace(3, 2.0), "3 rows in 2.00 s, 1.50 rows/s");
        assert_eq!(pace(0, 0.0), "0 rows in 0.00 s, 0.00 rows/s");
    }
}
