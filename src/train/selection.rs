//! Which of a model's parameters a run prunes, by their Hugging Face names.

use std::collections::BTreeSet;

use burn::module::Module;
use burn::tensor::backend::Backend;

use crate::bert::{BertConfig, Family, names};
use crate::config::{Pruning, RunConfig};
use crate::error::{Error, Result};
use crate::glue::names::nearest;
use crate::pruning::{Pattern, RatioSchedule, Scope, overall_ratio};

/// The choice of what is pruned: the family's own parameters, or what the settings name, and the
/// parts of it that have a threshold of their own.
#[derive(Debug, Clone)]
pub struct Selection {
    family: &'static Family,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    embeddings: bool,
    parts: Vec<(Pattern, f64)>,
}

impl Selection {
    /// The choice of `config` in a classifier of so many outputs.
    ///
    /// # Errors
    /// A pattern that chooses nothing; nothing left to prune.
    pub fn new(config: &RunConfig, bert: &BertConfig, outputs: usize) -> Result<Self> {
        let Pruning { prune_include, prune_exclude, prune_embeddings, prune_ratios, .. } =
            config.pruning().clone();
        let selection = Self {
            family: bert.family,
            include: prune_include,
            exclude: prune_exclude,
            embeddings: prune_embeddings,
            parts: prune_ratios,
        };
        let all = names::parameter_shapes(bert, outputs);
        let all: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        selection.check(&all)?;
        Ok(selection)
    }

    /// Whether the parameter `name` is pruned.
    pub fn takes(&self, name: &str) -> bool {
        let is_included = match self.include.as_slice() {
            [] => names::is_prunable(name),
            include => include.iter().any(|pattern| self.means(pattern, name)),
        };
        let is_excluded = self.exclude.iter().any(|pattern| pattern.matches(name));
        (is_included || self.embeddings && names::is_table(name)) && !is_excluded
    }

    /// The pruned parameters of `module`, in the groups of the parts; those of no part are group 0.
    pub fn scope<B: Backend, M: Module<B>>(&self, module: &M) -> Scope {
        let name = |path: &[String]| names::hf_name(self.family, path);
        let scope = Scope::new(module, |path| Some(name(path)).filter(|name| self.takes(name)));
        scope.in_groups(|name| self.group(name))
    }

    /// The courses of the parts' ratios, that of all others being `schedule`.
    pub fn schedules(&self, schedule: &RatioSchedule) -> Vec<RatioSchedule> {
        self.parts.iter().map(|(_, ratio)| schedule.towards(*ratio)).collect()
    }

    /// The parts with their final ratios.
    pub fn parts(&self) -> &[(Pattern, f64)] {
        &self.parts
    }

    /// The remaining ratio of the whole `scope` that a run with these settings is for.
    pub fn final_ratio(&self, config: &RunConfig, scope: &Scope) -> f64 {
        let Pruning { pruner, final_threshold, .. } = *config.pruning();
        let parts = self.parts.iter().map(|(_, ratio)| *ratio);
        let ratios: Vec<f64> = std::iter::once(final_threshold).chain(parts).collect();
        pruner.final_ratio(overall_ratio(&scope.sizes(ratios.len()), &ratios))
    }

    /// The group of a pruned parameter: its part's, from 1, or 0.
    fn group(&self, name: &str) -> usize {
        self.parts.iter().position(|(pattern, _)| pattern.matches(name)).map_or(0, |n| n + 1)
    }

    fn means(&self, pattern: &Pattern, name: &str) -> bool {
        pattern.matches(name) && names::is_meant(self.family, name, pattern.text())
    }

    /// Refuses what chooses nothing among the parameters `all`.
    fn check(&self, all: &[&str]) -> Result<()> {
        for pattern in &self.include {
            find("prune_include", pattern, all)?;
            if !all.iter().any(|name| self.means(pattern, name)) {
                let expected = "a pattern that has the name of what it includes in it";
                return Err(Error::value("prune_include", expected, pattern).hint(
                    "LayerNorm, the embeddings and the head are pruned only by patterns with \
                     LayerNorm, embeddings or the head's name in them",
                ));
            }
        }
        for pattern in &self.exclude {
            find("prune_exclude", pattern, all)?;
        }
        let taken: Vec<&str> = all.iter().copied().filter(|name| self.takes(name)).collect();
        if taken.is_empty() {
            return Err(Error::value("prune_exclude", "something left to prune", "nothing"));
        }
        for (n, (pattern, _)) in self.parts.iter().enumerate() {
            if taken.iter().any(|name| self.group(name) == n + 1) {
                continue;
            }
            find("prune_ratios", pattern, all)?;
            let error = Error::value("prune_ratios", "a part of what is pruned", pattern);
            return Err(match taken.iter().any(|name| pattern.matches(name)) {
                true => error.hint("parts before it have taken all of it; put it before them"),
                false => error.hint(
                    "it is not among the pruned parameters; prune-include and prune-embeddings \
                     add to them, and --dry-run lists them",
                ),
            });
        }
        Ok(())
    }
}

/// Refuses a pattern that is no part of any of the names.
fn find(setting: &str, pattern: &Pattern, all: &[&str]) -> Result<()> {
    if all.iter().any(|name| pattern.matches(name)) {
        return Ok(());
    }
    let modules = all.iter().filter_map(|name| Some(name.rsplit_once('.')?.0));
    let modules: Vec<Vec<&str>> = modules.map(|module| module.split('.').collect()).collect();
    let mut parts = BTreeSet::new();
    for module in &modules {
        for length in 1..=module.len() {
            parts.extend(module.windows(length).map(|part| part.join(".")));
        }
    }
    let error =
        Error::value(setting, "a part of a parameter's name (* stands for any text)", pattern);
    Err(match nearest(pattern.text().trim_matches('.'), parts.iter().map(String::as_str)) {
        Some(meant) => error.hint(format!("did you mean {meant}?")),
        None => {
            let is_number = |field: &&str| field.bytes().all(|b| b.is_ascii_digit());
            let star = |field: &&str| if is_number(field) { "*" } else { *field }.to_string();
            let plain = modules.iter().map(|m| m.iter().map(star).collect::<Vec<_>>().join("."));
            let known: Vec<String> = plain.collect::<BTreeSet<_>>().into_iter().collect();
            error.hint(format!("the parameters belong to {}", known.join(", ")))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bert::family::BERT;
    use crate::config::Layer;

    fn bert() -> BertConfig {
        let json = r#"{"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 10}"#;
        BertConfig::from_json(json.parse().unwrap(), "config.json".as_ref()).unwrap()
    }

    fn selection(settings: &str) -> Result<Selection> {
        let layer = Layer::parse("recipe.toml".as_ref(), settings)?;
        Selection::new(&RunConfig::resolve(&[layer])?, &bert(), 2)
    }

    /// The names that are pruned, without what all begin with.
    fn taken(settings: &str) -> Vec<String> {
        let selection = selection(settings).unwrap();
        let all = names::parameter_shapes(&bert(), 2).into_iter().map(|(name, _)| name);
        let taken = all.filter(|name| selection.takes(name));
        taken.map(|name| name.trim_start_matches(BERT.prefix).to_string()).collect()
    }

    #[test]
    fn the_family_s_own_parameters_are_pruned_unless_settings_say_otherwise() {
        assert_eq!(taken("").len(), 2 * 6 * 2);
        assert_eq!(
            taken("prune_include = [\"layer.0.attention.self.*.weight\"]"),
            ["query", "key", "value"].map(|m| format!("encoder.layer.0.attention.self.{m}.weight"))
        );
        // A layer's LayerNorms are not meant.
        assert_eq!(taken("prune_include = [\"layer.1.\"]").len(), 12);
        assert_eq!(taken("prune_exclude = [\"bias\", \"layer.0.\"]").len(), 6);
        let tables =
            ["word", "position", "token_type"].map(|t| format!("embeddings.{t}_embeddings.weight"));
        assert_eq!(taken("prune_embeddings = true")[..3], tables);
        let settings = "prune_embeddings = true\nprune_include = [\"pooler\"]\nprune_exclude = [\"token_type\"]";
        let expected =
            ["embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"];
        let head = ["pooler.dense.weight", "pooler.dense.bias"];
        assert_eq!(taken(settings), [expected, head].concat());
        assert_eq!(taken("prune_include = [\"embeddings.LayerNorm\"]").len(), 2);
    }

    #[test]
    fn a_parameter_is_in_the_first_part_that_is_in_its_name() {
        let selection =
            selection("prune_ratios = [\"query.weight=0.5\", \"layer.0.=0.4\"]").unwrap();
        let group = |rest: &str| selection.group(&format!("bert.encoder.layer.{rest}"));
        assert_eq!(group("0.attention.self.query.weight"), 1);
        assert_eq!(group("0.attention.self.query.bias"), 2);
        assert_eq!(group("1.attention.self.query.weight"), 1);
        assert_eq!(group("1.attention.self.query.bias"), 0);
    }

    #[test]
    fn what_chooses_nothing_is_refused_with_what_could_be_meant() {
        for (settings, expected) in [
            (
                "prune_include = [\"atention.self\"]",
                "prune_include: expected a part of a parameter's name (* stands for any text), \
                 found atention.self (hint: did you mean attention.self?)",
            ),
            ("prune_exclude = [\"layer.7.\"]", "prune_exclude: expected a part of"),
            ("prune_exclude = [\"nothing.of.this\"]", "bert.encoder.layer.*.attention.self.key, "),
            ("prune_exclude = [\"bert\"]", "expected something left to prune, found nothing"),
            ("prune_include = [\"Layer\"]", "expected a pattern that has the name of what it"),
            ("prune_ratios = [\"embeddings=0.5\"]", "found embeddings (hint: it is not among"),
            ("prune_ratios = [\"embedings=0.5\"]", "(hint: did you mean embeddings?)"),
            (
                "prune_ratios = [\"layer=0.5\", \"layer.0.=0.2\"]",
                "found layer.0. (hint: parts before it have taken all of it",
            ),
        ] {
            let text = selection(settings).unwrap_err().to_string();
            assert!(text.contains(expected) && !text.contains('\n'), "{settings}: {text}");
        }
    }
}
