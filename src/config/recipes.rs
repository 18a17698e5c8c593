//! The recipes that come with the program. A file of the same name on the disk goes before.

use std::path::{Path, PathBuf};

use super::layer::{Layer, text_of};
use crate::error::{Error, Result};
use crate::glue::names::{canonical, nearest};
use crate::glue::own::Format;

/// The folder of recipes, where there is one.
const FOLDER: &str = "recipes";

macro_rules! recipes {
    ($($name:literal),* $(,)?) => {
        /// Names and texts.
        const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../recipes/", $name, ".toml")))),*];
    };
}

recipes!(
    "cola",
    "defaults",
    "demo",
    "mnli",
    "mnli-0.10",
    "mnli-0.15",
    "mrpc",
    "qnli",
    "qqp",
    "rte",
    "rte-0.10",
    "rte-0.15",
    "sst",
    "stsb",
    "wnli",
);

/// The text of a recipe, and where it is from.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// A file's path; followed by `(built in)` where the program has it.
    pub origin: PathBuf,
    /// TOML.
    pub text: String,
}

impl Recipe {
    /// The settings.
    ///
    /// # Errors
    /// The text is not TOML.
    pub fn layer(&self) -> Result<Layer> {
        Layer::parse(&self.origin, &self.text)
    }

    fn from_file(path: &Path) -> Result<Self> {
        Ok(Self { origin: path.to_path_buf(), text: text_of(path)? })
    }
}

/// The recipe for data that has none of its own.
pub const DEFAULTS: &str = "defaults";

/// The recipe called `name`, a task's name or one with a ratio, as `mnli-0.10`; the file `name`
/// where that ends in `.toml`.
///
/// # Errors
/// There is none, or the file cannot be read.
pub fn recipe(name: &str) -> Result<Recipe> {
    if name.ends_with(".toml") {
        return Recipe::from_file(Path::new(name));
    }
    let typed = name;
    let own = path_of(&name.to_lowercase());
    let name = if own.exists() { name.to_lowercase() } else { known_name(name) };
    let path = path_of(&name);
    if path.exists() {
        return Recipe::from_file(&path);
    }
    let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) else {
        let error = Error::value("TASK", format!("a recipe: {}", tasks().join(", ")), typed);
        if Format::of(Path::new(typed)).is_some() {
            return Err(error.hint(format!(
                "data of your own: platon train --train-file {typed} --text COLUMN --label COLUMN"
            )));
        }
        if let Some((first, _)) = typed.split_once(',') {
            return Err(
                error.hint(format!("several tasks: platon train {first} --train-datasets {typed}"))
            );
        }
        let names = names()?;
        let nearest = || nearest(typed, names.iter().map(String::as_str)).map(str::to_owned);
        return Err(match of_ratio(typed).or_else(nearest) {
            Some(meant) => error.hint(format!("did you mean {meant}?")),
            None => error
                .hint("platon recipe lists all of them; any .toml file can be named by its path"),
        });
    };
    let origin = format!("{} (built in)", path.display()).into();
    Ok(Recipe { origin, text: (*text).to_string() })
}

/// The name of the recipe that `typed`, as `mnli-0.20`, is the task and the ratio of: one ratio of each
/// task is in no name.
fn of_ratio(typed: &str) -> Option<String> {
    let (task, ratio) = typed.rsplit_once('-')?;
    let ratio = ratio.parse::<f64>().ok()?;
    let layer = |name: &String| recipe(name).and_then(|recipe| recipe.layer()).ok();
    let keeps = |name: &String| layer(name).and_then(|layer| kept_by(&layer)) == Some(ratio);
    siblings(task).ok()?.into_iter().find(keeps)
}

/// The share of the weights that a recipe keeps.
fn kept_by(recipe: &Layer) -> Option<f64> {
    recipe.settings.get("final_threshold").and_then(toml::Value::as_float)
}

/// The recipe like `name` that keeps `ratio` of the weights.
///
/// # Errors
/// There is none, or a file cannot be read.
pub fn recipe_keeping(name: &str, ratio: f64) -> Result<Layer> {
    let mut ratios = Vec::new();
    for sibling in siblings(name)? {
        let layer = recipe(&sibling)?.layer()?;
        let kept = kept_by(&layer);
        if kept == Some(ratio) {
            return Ok(layer);
        }
        ratios.extend(kept.map(|kept| kept.to_string()));
    }
    let expected = format!("one of {name}'s recipes: {}", ratios.join(", "));
    let error = Error::value("keep-ratio", expected, ratio);
    Err(match ratio > 0.0 && ratio <= 1.0 {
        true => error.hint(format!("any other ratio can be tried with --final-threshold {ratio}")),
        false => error,
    })
}

/// The names of all recipes, of those on the disk as well, in order.
///
/// # Errors
/// The folder of recipes cannot be read.
pub fn names() -> Result<Vec<String>> {
    let mut names = in_folder(Path::new(FOLDER))?;
    names.extend(BUILT_IN.iter().map(|(name, _)| (*name).to_string()));
    names.sort();
    names.dedup();
    Ok(names)
}

/// `mnli`, `mnli-0.15`, ..., or the files beside a file.
fn siblings(name: &str) -> Result<Vec<String>> {
    let path = Path::new(name);
    let Some(stem) = name.strip_suffix(".toml").and(path.file_stem()) else {
        let name = known_name(name);
        return Ok(names()?.into_iter().filter(|other| is_like(other, &name)).collect());
    };
    let (folder, stem) = (path.parent().unwrap_or(Path::new("")), stem.to_string_lossy());
    let names = in_folder(folder)?.into_iter().filter(|other| is_like(other, &stem));
    Ok(names.map(|name| folder.join(name + ".toml").to_string_lossy().into_owned()).collect())
}

/// `SST-2` as `sst`, `MNLI-0.10` as `mnli-0.10`.
fn known_name(name: &str) -> String {
    let lower = name.to_lowercase();
    if BUILT_IN.iter().any(|(known, _)| *known == lower) { lower } else { canonical(name) }
}

fn is_like(name: &str, task: &str) -> bool {
    name.strip_prefix(task).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The recipes in `folder`, in order; none where there is no such folder.
fn in_folder(folder: &Path) -> Result<Vec<String>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, "read", e))?;
    let files = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        files.filter_map(|file| Some(file.strip_suffix(".toml")?.to_string())).collect();
    names.sort();
    Ok(names)
}

fn path_of(name: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{name}.toml"))
}

/// The recipes that are no variants of others.
fn tasks() -> Vec<&'static str> {
    BUILT_IN
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !name.contains('-') && *name != DEFAULTS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_repository_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let built_in: Vec<_> = BUILT_IN.iter().map(|(name, _)| (*name).to_string()).collect();
        assert_eq!(in_folder(&folder).unwrap(), built_in);
    }

    #[test]
    fn a_ratio_chooses_among_the_recipes_of_a_task() {
        let kept = |layer: Layer| layer.settings["final_threshold"].as_float().unwrap();
        assert_eq!(kept(recipe_keeping("MNLI", 0.15).unwrap()), 0.15);
        let error = recipe_keeping("rte", 0.4).unwrap_err().to_string();
        assert!(error.contains("one of rte's recipes: 0.2, 0.1, 0.15"), "{error}");
        assert!(error.contains("--final-threshold 0.4"), "{error}");
        let error = recipe_keeping("rte", 0.0).unwrap_err().to_string();
        assert!(!error.contains("hint"), "{error}");
    }

    #[test]
    fn names_that_are_no_recipe_are_answered_by_what_was_meant() {
        for (typed, meant) in [
            ("mnli-0.20", "did you mean mnli?"),
            ("SST-2-0.1", "did you mean sst?"),
            ("mnli-0.1", "did you mean mnli-0.10?"),
            ("qnlj", "did you mean qnli?"),
            ("mnli,rte", "several tasks: platon train mnli --train-datasets mnli,rte"),
        ] {
            let error = recipe(typed).unwrap_err().to_string();
            assert!(error.ends_with(&format!("(hint: {meant})")), "{error}");
        }
    }

    #[test]
    fn files_beside_a_file_are_its_siblings() {
        let dir = tempfile::tempdir().unwrap();
        for (name, ratio) in [("a", 0.5), ("a-x", 0.25), ("ab", 0.1)] {
            let text = format!("final_threshold = {ratio}");
            std::fs::write(dir.path().join(format!("{name}.toml")), text).unwrap();
        }
        let path = dir.path().join("a.toml").to_string_lossy().into_owned();
        assert!(recipe_keeping(&path, 0.25).unwrap().origin.ends_with("a-x.toml"));
        assert!(recipe_keeping(&path, 0.1).is_err());
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_there_are() {
        let error = recipe("nope").unwrap_err().to_string();
        assert!(error.contains("cola, demo, mnli, mrpc"), "{error}");
        let error = recipe("mrcp").unwrap_err().to_string();
        assert!(error.ends_with("(hint: did you mean mrpc?)"), "{error}");
        let origin = |name: &str| recipe(name).unwrap().origin.to_string_lossy().into_owned();
        assert!(origin("SST-2").contains("recipes/sst.toml"));
        assert!(origin("STS-B").contains("recipes/stsb.toml"));
        assert!(recipe("demo").unwrap().origin.to_string_lossy().contains("recipes/demo.toml"));
    }
}
