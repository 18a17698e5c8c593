//! What a run is asked to do: layers of settings as they were written (defaults, recipe, flags)
//! become one checked [`RunConfig`].

mod checks;
mod declare;
mod forms;
mod layer;
mod noise;
mod own;
pub mod recipes;
mod settings;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use declare::{Flag, Setting};
pub use forms::{AUTO, Kind};
pub use layer::Layer;
pub use noise::NoiseNorm;
pub use settings::{
    Data, FREE, Logging, Model, Objective, Optimisation, Own, Pruning, Run, SETTINGS,
};

use self::settings::Groups;
use crate::error::{Error, Result};
use crate::glue::names::nearest;
use crate::glue::own::Files;
use crate::pruning::criterion::platon::Platon;
use crate::pruning::{Pruner, RatioSchedule};
use crate::run::RunFolder;

/// The version written to `config.toml`.
pub const FORMAT: u32 = 1;

/// The devices a run can use, each behind a cargo feature of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendName {
    /// burn's CPU backend, the default.
    Flex,
    /// CPU, the reference for the tests.
    Ndarray,
    /// NVIDIA GPUs.
    Cuda,
    /// GPUs through Vulkan, Metal or DirectX.
    Wgpu,
}

impl BackendName {
    /// All of them, whether or not they are built in.
    pub const ALL: [Self; 4] = [Self::Flex, Self::Ndarray, Self::Cuda, Self::Wgpu];

    /// As settings, flags and cargo features have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
        }
    }

    /// Whether this program was built with it.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Ndarray => cfg!(feature = "ndarray"),
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Wgpu => cfg!(feature = "wgpu"),
        }
    }
}

impl Default for BackendName {
    /// The first backend this program was built with, in the order of preference on a plain machine.
    fn default() -> Self {
        if cfg!(feature = "flex") {
            Self::Flex
        } else if cfg!(feature = "ndarray") {
            Self::Ndarray
        } else if cfg!(feature = "cuda") {
            Self::Cuda
        } else {
            Self::Wgpu
        }
    }
}

/// Everything that determines a run, checked: there is no other way to one than
/// [`resolve`](Self::resolve), and none to change it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig(Groups);

impl RunConfig {
    /// Lays `layers` over the defaults, later ones over earlier ones, and checks the result.
    ///
    /// # Errors
    /// Unknown keys, values of the wrong type, and values that no run can have.
    pub fn resolve(layers: &[Layer]) -> Result<Self> {
        let mut merged = Table::new();
        for setting in SETTINGS {
            merged.insert(setting.name.to_string(), (setting.default)()?);
        }
        for layer in layers {
            // A file of another version is that, whatever else is wrong with it.
            let format = layer.settings.get_key_value("format");
            format.map_or(Ok(()), |(key, value)| check(&layer.origin, key, value))?;
            let settings = layer.renamed()?;
            merged.extend(outdone(&settings).map(|share| (share.to_string(), Value::from(0.0))));
            for (key, value) in settings {
                check(&layer.origin, &key, &value)?;
                merged.insert(key, value);
            }
        }
        let config = Groups::read(&merged).map(Self);
        let checked = config.and_then(|config| config.check().map(|()| config));
        checked.map_err(|error| placed(error, layers))
    }

    /// The same with other values for some settings.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn with<const N: usize>(&self, settings: [(&str, Value); N]) -> Result<Self> {
        let mut table = self.to_table()?;
        table.extend(settings.map(|(name, value)| (name.to_string(), value)));
        Self::resolve(&[Layer::command_line(table)])
    }

    /// The settings as they are written to `config.toml`.
    ///
    /// # Errors
    /// A number is too large for TOML.
    pub fn to_table(&self) -> Result<Table> {
        let mut table = Table::from_iter([("format".to_string(), Value::from(FORMAT))]);
        self.0.write(&mut table)?;
        Ok(table)
    }

    /// The settings that decide the weights, as they are written to `config.toml`: all but [`FREE`].
    ///
    /// # Errors
    /// As [`to_table`](Self::to_table).
    pub fn bound(&self) -> Result<Table> {
        let mut table = self.to_table()?;
        table.retain(|name, _| name != "format" && !FREE.contains(&name));
        Ok(table)
    }

    /// Whether the teacher is in the run's own folder.
    pub fn has_own_teacher(&self) -> bool {
        let own = self.run().output_dir.as_ref().map(|dir| RunFolder::at(dir).teacher());
        own.is_some_and(|own| self.objective().teacher.as_deref() == Some(own.path()))
    }

    /// All settings but those that are paths, which may differ from machine to machine.
    ///
    /// # Errors
    /// As [`to_table`](Self::to_table).
    pub fn without_paths(&self) -> Result<Table> {
        let mut table = self.to_table()?;
        for setting in SETTINGS.iter().filter(|setting| setting.kind == Kind::Path) {
            table.remove(setting.name);
        }
        Ok(table)
    }

    /// The same with paths that hold in any working directory.
    ///
    /// # Errors
    /// As [`to_table`](Self::to_table).
    pub fn absolute(&self) -> Result<Self> {
        let mut table = self.to_table()?;
        for setting in SETTINGS.iter().filter(|setting| setting.kind == Kind::Path) {
            let path = table.get(setting.name).and_then(Value::as_str).unwrap_or_default();
            // One that no file of settings can hold stays as it is.
            let absolute = std::path::absolute(path).ok();
            if let Some(absolute) = absolute.as_ref().and_then(|path| path.to_str()) {
                table.insert(setting.name.to_string(), absolute.into());
            }
        }
        Self::resolve(&[Layer::command_line(table)])
    }

    /// What is learnt, and from what.
    pub fn data(&self) -> &Data {
        &self.0.data
    }

    /// Files of one's own.
    pub fn own(&self) -> &Own {
        &self.0.own
    }

    /// Files of one's own, where these are learnt from.
    pub fn own_files(&self) -> Option<Files> {
        self.own().files(self.optimisation().seed)
    }

    /// What the run begins with.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    /// Which weights go, and when.
    pub fn pruning(&self) -> &Pruning {
        &self.0.pruning
    }

    /// What an update minimises besides the distance from the labels.
    pub fn objective(&self) -> &Objective {
        &self.0.objective
    }

    /// How weights are updated.
    pub fn optimisation(&self) -> &Optimisation {
        &self.0.optimisation
    }

    /// What the run writes, and when it evaluates and saves.
    pub fn logging(&self) -> &Logging {
        &self.0.logging
    }

    /// Where and how long it works.
    pub fn run(&self) -> &Run {
        &self.0.run
    }

    /// What the losses of an update are divided by; `None` for the number of its samples. As in the
    /// original, the smaller batches of the longer samples weigh less.
    pub fn loss_divisor(&self) -> Option<usize> {
        let Optimisation { batch_size, grad_accumulation_step, .. } = *self.optimisation();
        self.data().bin_on.then(|| batch_size.saturating_mul(grad_accumulation_step))
    }

    /// The course of the remaining ratio over a run of `total` updates; constant without a pruner.
    ///
    /// # Errors
    /// As [`RatioSchedule::new`]; a run too short for PLATON to have any scores.
    pub fn ratio_schedule(&self, total: usize) -> Result<RatioSchedule> {
        let pruning = self.pruning();
        if !pruning.pruner.prunes() {
            return RatioSchedule::new((1.0, 1.0), 0, 0, 0, 1, total);
        }
        if total < self.first_scores() {
            let found = format!("{}: there would be no scores to prune by", pruning.delta_t);
            if total < Platon::first_scores(1) {
                let expected = format!("a run of at least {} updates", Platon::first_scores(1));
                return Err(Error::value("epochs", expected, total)
                    .hint("train for more epochs, or in smaller batches"));
            }
            let expected = format!("far less than the run's {total} updates");
            return Err(Error::value("delta_t", expected, found)
                .hint(format!("say --delta-t {}, or train for more epochs", (total / 10).max(1))));
        }
        let Some(initial) = pruning.initial_threshold else {
            return Err(Error::value("initial_threshold", "a number", AUTO));
        };
        let ratios = (initial, pruning.final_threshold);
        let delta_t = pruning.delta_t;
        let Pruning { warmup_steps, initial_warmup, final_warmup, .. } = *pruning;
        if pruning.initial_warmup_share.or(pruning.final_warmup_share).is_none() {
            let steps = (warmup_steps, initial_warmup, final_warmup);
            return RatioSchedule::new(ratios, steps.0, steps.1, steps.2, delta_t, total);
        }
        let (first, last) = pruning.warmups(total);
        if first.saturating_add(last) >= total {
            let found = format!("{first} and {last}: the ratio could not fall between them");
            let expected = format!("warm-ups of fewer than the run's {total} updates");
            return Err(Error::value("final_warmup_share", expected, found)
                .hint("lower the shares, or train for more epochs"));
        }
        RatioSchedule::new(ratios, 1, first, last, delta_t, total)
    }

    /// The update after which weights have scores.
    pub fn first_scores(&self) -> usize {
        match self.pruning().pruner {
            Pruner::Platon => Platon::first_scores(self.pruning().delta_t),
            Pruner::Magnitude | Pruner::None => 1,
        }
    }
}

/// The shares of the run that count no longer where later settings name numbers of updates instead.
fn outdone(settings: &Table) -> impl Iterator<Item = &'static str> {
    [("initial_warmup_share", "initial_warmup"), ("final_warmup_share", "final_warmup")]
        .into_iter()
        .filter(|(_, count)| {
            ["warmup_steps", count].iter().any(|name| settings.contains_key(*name))
        })
        .map(|(share, _)| share)
}

/// The error of a value, with the file that it stands in, if it is not from the command line.
fn placed(error: Error, layers: &[Layer]) -> Error {
    let Error::Value { name, expected, found, hint } = error else { return error };
    let sets = |layer: &&Layer| layer.settings.contains_key(&name);
    let place = layers.iter().rfind(sets).and_then(|layer| layer.place(&name));
    let name = place.map_or_else(|| name.clone(), |place| format!("{place}: {name}"));
    Error::Value { name, expected, found, hint }
}

/// Refuses a key that is no setting's and a value of another type than the setting's; the error
/// names the layer at fault.
fn check(origin: &std::path::Path, key: &str, value: &Value) -> Result<()> {
    if key == "format" {
        if value.as_integer() == Some(i64::from(FORMAT)) {
            return Ok(());
        }
        return Err(Error::content(origin, None, format!("format {FORMAT}"), value)
            .hint("this file belongs to another version of platon"));
    }
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == key) else {
        let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        let error = Error::content(origin, None, "a known setting", format!("{key:?}"));
        return Err(match nearest(key, known.iter().copied()) {
            Some(meant) => error.hint(format!("did you mean {meant}?")),
            None => error.hint(format!("the settings are {}", known.join(", "))),
        });
    };
    (setting.check_type)(value).map_err(|reason| {
        let expected = format!("a valid {key}");
        Error::content(origin, None, expected, format!("{value} ({reason})"))
    })
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
