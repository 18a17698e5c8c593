//! Which backends were built in, and which of them work here.

use burn::tensor::DType;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::drivers::{Driver, driver};
use crate::backend::{Job, run_on};
use crate::config::BackendName;
use crate::error::{Error, Result};
use crate::kernels::TrainingBackend;

/// A backend on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendFacts {
    /// As `--backend` takes it.
    pub name: BackendName,
    /// Whether this program was built with it.
    pub built_in: bool,
    /// Whether it is taken where none is named.
    pub default: bool,
    /// Whether it has computed a sum here.
    pub works: bool,
    /// What matrix products can be computed in, as `--precision` takes it.
    pub precisions: Vec<String>,
    /// Its driver and devices.
    pub driver: Driver,
    /// Why it does not work.
    pub problem: Option<String>,
    /// What helps then.
    pub remedy: Option<String>,
}

impl BackendFacts {
    /// One that does not work, for all that is known of it.
    pub fn broken(name: BackendName, problem: String, remedy: String) -> Self {
        Self {
            name,
            built_in: name.is_built_in(),
            default: name == BackendName::default(),
            works: false,
            precisions: Vec::new(),
            driver: Driver::default(),
            problem: Some(problem),
            remedy: Some(remedy),
        }
    }
}

/// Tries the backend `name` in this process, which a bad driver may end.
pub fn facts_of(name: BackendName) -> BackendFacts {
    if !name.is_built_in() {
        let name_of = name.name();
        let remedy = format!("cargo build --release --features {name_of}");
        return BackendFacts::broken(name, "not built in".into(), remedy);
    }
    let driver = driver(name);
    let facts = match (run_on(name, Probe), &driver.missing) {
        (Ok(precisions), _) => BackendFacts {
            works: true,
            precisions,
            problem: None,
            remedy: None,
            ..BackendFacts::broken(name, String::new(), String::new())
        },
        (Err(_), Some((problem, remedy))) => {
            BackendFacts::broken(name, problem.clone(), remedy.clone())
        }
        (Err(Error::Run { message, hint }), None) => {
            BackendFacts::broken(name, message, hint.unwrap_or_default())
        }
        (Err(other), None) => BackendFacts::broken(name, other.to_string(), String::new()),
    };
    BackendFacts { driver, ..facts }
}

/// What is asked of a backend that has passed its first test.
struct Probe;

impl Job for Probe {
    type Output = Vec<String>;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<Vec<String>> {
        let kinds = [("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)];
        let has = |dtype| <B as Backend>::supports_dtype(&device, dtype);
        Ok(kinds.into_iter().filter(|(_, d)| has(*d)).map(|(name, _)| name.into()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_backend_works_or_says_what_helps() {
        for name in BackendName::ALL {
            let facts = facts_of(name);
            assert_eq!(facts.works, facts.problem.is_none(), "{facts:?}");
            assert_eq!(facts.works, facts.precisions.iter().any(|p| p == "f32"), "{facts:?}");
            if !facts.built_in {
                let remedy = format!("cargo build --release --features {}", name.name());
                assert_eq!(facts.remedy.as_deref(), Some(remedy.as_str()));
            }
            let is_cpu = matches!(name, BackendName::Flex | BackendName::Ndarray);
            assert!(!is_cpu || facts.works == facts.built_in, "{facts:?}");
        }
    }

    #[cfg(feature = "ndarray")]
    #[test]
    fn ndarray_has_single_precision_only() {
        assert_eq!(facts_of(BackendName::Ndarray).precisions, ["f32"]);
    }

    #[test]
    fn facts_come_back_from_the_process_that_found_them() {
        let facts = facts_of(BackendName::default());
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<BackendFacts>(&text).unwrap(), facts);
    }
}
