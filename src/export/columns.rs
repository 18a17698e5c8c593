//! The columns that a model of one's own data has learnt from, which leave with it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Where `config.json` has them; transformers passes over what it does not know.
const KEY: &str = "platon_columns";

/// The names of the columns of a model's texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// That of the text.
    pub text: String,
    /// That of the second text, of pairs.
    pub text_pair: Option<String>,
}

impl Columns {
    /// Puts them into a `config.json`.
    ///
    /// # Errors
    /// They have no form in JSON.
    pub fn write_to(&self, json: &mut Map<String, Value>) -> Result<()> {
        let value = serde_json::to_value(self)
            .map_err(|e| Error::run(format!("the columns have no form in JSON: {e}")))?;
        json.insert(KEY.into(), value);
        Ok(())
    }

    /// Those that a `config.json` names, if it names any.
    #[must_use]
    pub fn read_from(json: &Value) -> Option<Self> {
        serde_json::from_value(json.get(KEY)?.clone()).ok()
    }
}
