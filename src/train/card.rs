//! The card of a model, as the Hugging Face hub reads it: `model/README.md`.

use std::fmt::Write;
use std::path::Path;

use crate::bert::BertConfig;
use crate::config::RunConfig;
use crate::glue::task::{Metric, Task};
use crate::infer::scores::score_name;
use crate::report::{Report, Shares};

/// What a model's card tells.
pub(super) struct Card<'a> {
    pub config: &'a RunConfig,
    /// The task whose model it is, and that of each evaluation set.
    pub task: &'static Task,
    /// The names of its dev sets, as in the report; how many sets the report has.
    pub sets: &'a [String],
    pub all_sets: usize,
    pub bert: &'a BertConfig,
    pub report: &'a Report,
}

/// The hub's name of a score.
fn hub_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => "accuracy",
        Metric::F1 | Metric::MacroF1 => "f1",
        Metric::Matthews => "matthews_correlation",
        Metric::Pearson => "pearsonr",
        Metric::Spearman => "spearmanr",
    }
}

/// A text as a YAML string.
fn quoted(text: &str) -> String {
    // JSON's strings are YAML's.
    serde_json::Value::from(text).to_string()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

impl Card<'_> {
    /// The text.
    pub fn text(&self) -> String {
        let mut text = self.head();
        self.body(&mut text);
        text
    }

    /// The name of GLUE's part on the hub; `None` for data of one's own.
    fn glue_part(&self) -> Option<&'static str> {
        self.task.hub_name().filter(|name| *name != "demo")
    }

    /// The name of what the run began with; `None` where its weights were drawn afresh.
    fn base(&self) -> Option<String> {
        let path = self.config.model().weights()?;
        // Of a run the folder `model` says nothing.
        let named = if path.ends_with("model") { path.parent().unwrap_or(path) } else { path };
        Some(file_name(named))
    }

    /// Scores with their metrics and sets.
    fn scores(&self) -> Vec<(&str, Metric, f64)> {
        let of = |set| {
            self.task.metrics.iter().filter_map(move |metric| {
                let name = score_name(metric.tag(), set, self.all_sets);
                Some((set, *metric, self.report.dev.get(&name)?.as_f64()?))
            })
        };
        self.sets.iter().map(String::as_str).flat_map(of).collect()
    }

    fn head(&self) -> String {
        let mut out = String::from(
            "---\n# The licence is yours to choose: license: apache-2.0, for example.\n\
             library_name: transformers\npipeline_tag: text-classification\n",
        );
        let prunes = self.report.pruner.prunes();
        let _ =
            writeln!(out, "tags:\n- platon{}", if prunes { "\n- pruning\n- sparse" } else { "" });
        if let Some(base) = self.base() {
            let _ = writeln!(out, "base_model: {}", quoted(&base));
        }
        let part = self.glue_part();
        if part.is_some() {
            out.push_str("datasets:\n- nyu-mll/glue\n");
        }
        let mut names: Vec<&str> = self.task.metrics.iter().map(|m| hub_name(*m)).collect();
        names.dedup();
        let _ = writeln!(out, "metrics:\n- {}", names.join("\n- "));
        let name = format!("{}-{}", self.task.name, self.report.pruner.name());
        // Without results it is no card: a score may be undefined, or its set not the run's.
        let scores = self.scores();
        if !scores.is_empty() {
            let _ = writeln!(out, "model-index:\n- name: {}\n  results:", quoted(&name));
        }
        for (set, metric, value) in scores {
            let (kind, config) = match part {
                Some(part) => ("nyu-mll/glue".to_string(), format!("\n      config: {part}")),
                None => (self.task.name.to_string(), String::new()),
            };
            let split = set.strip_prefix(self.task.name).unwrap_or(set).trim_start_matches('_');
            // As the hub calls GLUE's.
            let split = match (part, split.strip_suffix("dev")) {
                (Some(_), Some("")) => "validation".to_string(),
                (Some(_), Some(which)) => format!("validation_{}", which.trim_end_matches('_')),
                _ => split.to_string(),
            };
            let _ = writeln!(
                out,
                "  - task:\n      type: text-classification\n    dataset:\n      type: {}\n      \
                 name: {}{config}\n      split: {}\n    metrics:\n    - type: {}\n      \
                 name: {}\n      value: {:.4}",
                quoted(&kind),
                quoted(self.task.folder),
                quoted(&split),
                hub_name(metric),
                quoted(metric.tag()),
                value / 100.0,
            );
        }
        out.push_str("---\n\n");
        out
    }

    fn body(&self, out: &mut String) {
        let (report, task) = (self.report, self.task);
        let prunes = report.pruner.prunes();
        let remains = 100.0 * report.reached_ratio;
        let of = match self.base() {
            Some(base) => format!("{base}, fine-tuned"),
            None => "A model of new weights, trained".to_string(),
        };
        let _ = writeln!(out, "# {} for {}\n", self.bert.family.classifier_class, task.folder);
        let pruned = match prunes {
            true => format!(
                ", and pruned while it was: {remains:.1} % of its {} prunable weights remain",
                report.prunable
            ),
            false => String::new(),
        };
        let _ = writeln!(
            out,
            "{of} on {}{pruned}. Made by platon {}.\n",
            task.folder,
            env!("CARGO_PKG_VERSION")
        );
        let scores = self.scores();
        if !scores.is_empty() {
            out.push_str("| set | score | |\n|---|---|---|\n");
        }
        for (set, metric, value) in scores {
            let _ = writeln!(out, "| {set} | {} | {value:.2} |", metric.tag());
        }
        if prunes {
            self.pruning(out);
        }
        let example =
            if task.is_pair() { "{\"text\": \"...\", \"text_pair\": \"...\"}" } else { "\"...\"" };
        let outputs = match task.kind.labels() {
            Some(labels) => format!("the labels {}", labels.join(", ")),
            None => "a number".to_string(),
        };
        // The paths in it are those of the machine that made it.
        let data = match self.config.own().train_file {
            Some(_) => " --train-file FILE",
            None => "",
        };
        let _ = write!(
            out,
            "\n## Use\n\nIt answers with {outputs}{}.\n\n```sh\nplaton predict FOLDER --input texts.tsv\n```\n\n\
             ```python\nfrom transformers import pipeline\n\nclassify = pipeline(\"text-classification\", \
             model=\"FOLDER\")\nclassify({example})\n```\n\nplaton computes with the weights that remain alone; \
             `transformers` computes with the zeros too, and gives the same answers.\n\n## Limits\n\nIt was \
             measured on the sets above and nowhere else: texts of another kind, language or length may be \
             answered worse, and pruning may cost more on rare cases than the mean shows. What the base model \
             and the data have of bias, it has too.\n\n## Making it again\n\n`recipe.toml` beside this file has \
             all settings: `platon train recipe.toml{data}`.\n",
            if task.is_pair() { " to pairs of texts" } else { " to texts" },
        );
    }

    fn pruning(&self, out: &mut String) {
        let (report, pruning) = (self.report, self.config.pruning());
        let taught = match self.config.objective().teacher {
            Some(_) => ", under a teacher",
            None => "",
        };
        let _ = writeln!(
            out,
            "\n## What was pruned\n\n{} of {} prunable weights and biases remain, by {}{taught}; {} parameters \
             in all. Shares by layer and matrix, in %:\n",
            (report.reached_ratio * report.prunable as f64).round(),
            report.prunable,
            pruning.pruner.name(),
            report.parameters,
        );
        let Shares { columns, rows } = report.shares();
        let _ = writeln!(out, "| layer | {} |", columns.join(" | "));
        let _ = writeln!(out, "|---|{}", "---|".repeat(columns.len()));
        for (layer, shares) in rows {
            let name = layer.map_or_else(|| "all".to_string(), |layer| layer.to_string());
            let cell = |share: &Option<f64>| {
                share.map_or_else(|| "-".to_string(), |share| format!("{:.1}", 100.0 * share))
            };
            let cells: Vec<String> = shares.iter().map(cell).collect();
            let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
        }
    }
}
