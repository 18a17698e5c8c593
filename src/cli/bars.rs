//! Bars of progress.

use std::collections::HashMap;
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

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
