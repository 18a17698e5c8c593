//! What remains of each matrix of each layer, and the table at the end of a run.

use std::fmt::Write;

use super::{MatrixReport, Report};

/// The matrices of a layer in the order of the computation, with short headings.
const ORDER: [(&str, &str); 12] = [
    ("attention.self.query", "query"),
    ("attention.self.key", "key"),
    ("attention.self.value", "value"),
    ("attention.output.dense", "attn.out"),
    ("intermediate.dense", "ffn.in"),
    ("output.dense", "ffn.out"),
    // DistilBERT's.
    ("attention.q_lin", "query"),
    ("attention.k_lin", "key"),
    ("attention.v_lin", "value"),
    ("attention.out_lin", "attn.out"),
    ("ffn.lin1", "ffn.in"),
    ("ffn.lin2", "ffn.out"),
];

/// What remains of the layers' matrices.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// Short names of the matrices, in the order of the computation; `all` last.
    pub columns: Vec<String>,
    /// The layers, and all of them together last, with the shares that remain of each matrix, in
    /// [0, 1]; `None` where a layer has no such matrix.
    pub rows: Vec<(Option<usize>, Vec<Option<f64>>)>,
}

impl Shares {
    fn of(layers: &[MatrixReport]) -> Self {
        let in_layers = || layers.iter().filter(|row| row.layer.is_some());
        let mut matrices: Vec<&str> = Vec::new();
        for row in in_layers() {
            if !matrices.contains(&row.matrix.as_str()) {
                matrices.push(&row.matrix);
            }
        }
        matrices.sort_by_key(|m| ORDER.iter().position(|o| o.0 == *m));
        let label = |m: &str| ORDER.iter().find(|o| o.0 == m).map_or(m, |o| o.1).to_string();
        let mut columns: Vec<String> = matrices.iter().map(|m| label(m)).collect();
        columns.push("all".to_string());
        let mut numbers: Vec<Option<usize>> = in_layers().map(|row| row.layer).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if !numbers.is_empty() {
            numbers.push(None);
        }
        let rows = numbers.into_iter().map(|layer| {
            let mine = || in_layers().filter(move |row| layer.is_none() || row.layer == layer);
            let of_matrix = |m: &&str| share(mine().filter(|row| row.matrix == **m));
            let mut shares: Vec<_> = matrices.iter().map(of_matrix).collect();
            shares.push(share(mine()));
            (layer, shares)
        });
        Self { rows: rows.collect(), columns }
    }
}

/// The share that remains of `rows` together; `None` of nothing.
fn share<'a>(rows: impl Iterator<Item = &'a MatrixReport>) -> Option<f64> {
    let (weights, remaining) =
        rows.fold((0, 0), |(w, r), row| (w + row.weights, r + row.remaining));
    (weights > 0).then(|| remaining as f64 / weights as f64)
}

impl Report {
    /// What remains of the layers' matrices.
    pub fn shares(&self) -> Shares {
        Shares::of(&self.layers)
    }

    /// What is pruned beside the layers' matrices.
    pub fn others(&self) -> impl Iterator<Item = &MatrixReport> {
        self.layers.iter().filter(|row| row.layer.is_none())
    }

    /// The table for the end of a run.
    pub fn table(&self) -> String {
        let Shares { columns, rows } = self.shares();
        let percent = |share: f64| 100.0 * share;
        let mut out = String::from("remaining %");
        for column in &columns {
            let _ = write!(out, "{column:>9}");
        }
        out.push('\n');
        for (layer, shares) in rows {
            let name = layer.map_or("all layers".to_string(), |l| format!("layer {l}"));
            let _ = write!(out, "{name:<11}");
            for share in shares {
                match share {
                    Some(share) => _ = write!(out, "{:>9.2}", percent(share)),
                    None => _ = write!(out, "{:>9}", "-"),
                }
            }
            out.push('\n');
        }
        let width = 11 + 9 * (columns.len() - 1);
        for row in self.others() {
            let _ = writeln!(out, "{:<width$}{:>9.2}", row.matrix, percent(row.ratio));
        }
        let remaining: usize = self.layers.iter().map(|r| r.remaining).sum();
        let scores: Vec<String> = self
            .dev
            .iter()
            .map(|(k, v)| format!("{k} {:.2}", v.as_f64().unwrap_or(f64::NAN)))
            .collect();
        let rows = [
            ("dev", scores.join("  ")),
            (
                "weights",
                format!(
                    "{remaining} of {} prunable remain; {} parameters in all",
                    self.prunable, self.parameters
                ),
            ),
            ("model", format!("{:.1} MB", self.model_bytes as f64 / 1e6)),
            (
                "time",
                format!(
                    "{:.0} s, {} updates; {:.4} s per update, {:.4} s of it pruning",
                    self.seconds, self.steps, self.seconds_per_step, self.pruning_seconds_per_step
                ),
            ),
            ("memory", format!("{:.0} MB at most", self.peak_rss_bytes as f64 / 1e6)),
        ];
        for (name, value) in rows {
            let _ = writeln!(out, "{name:<11} {value}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;
    use crate::pruning::Pruner;

    #[test]
    fn the_table_fits_80_columns() {
        let table = Report { seconds: 99_999.0, ..report(Pruner::Platon, 0.2, 99_999) }.table();
        let six = (6..12).map(|n| MatrixReport {
            layer: Some(n),
            matrix: ORDER[n].0.into(),
            weights: 1,
            remaining: 1,
            ratio: 1.0,
        });
        let other = |matrix: &str| MatrixReport {
            layer: None,
            matrix: matrix.into(),
            weights: 8,
            remaining: 3,
            ratio: 0.375,
        };
        let others =
            ["bert.embeddings.word_embeddings", "bert.encoder.layer.11.attention.output.LayerNorm"];
        let layers = six.chain(others.map(other)).collect();
        let full = Report { layers, ..report(Pruner::Platon, 0.2, 9) }.table();
        for line in table.lines().chain(full.lines()) {
            assert!(line.len() <= 80, "{} columns: {line}", line.len());
        }
        let line = full.lines().find(|line| line.starts_with(others[0])).unwrap();
        assert!(line.ends_with(" 37.50") && line.len() == "remaining %".len() + 7 * 9, "{line}");
        let layers = vec![other(others[0])];
        let alone = Report { layers, ..report(Pruner::Platon, 0.2, 9) }.table();
        assert!(!alone.contains("NaN") && alone.contains("37.50"), "{alone}");
    }
}
