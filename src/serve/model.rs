//! A model that is served.

use std::path::Path;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::meters::{Meters, ModelMeters};
use super::refusal::Refusal;
use super::request::Ask;
use super::worker::Mailbox;
use crate::bert::{BertConfig, HeadSettings};
use crate::error::{Error, Result};
use crate::glue::encode::Encoder;
use crate::glue::sample::Sample;
use crate::glue::task::Task;
use crate::infer::model::Model;
use crate::infer::sets::check_ids;

/// A model to be served.
pub struct Served {
    /// What it goes by in paths.
    pub name: String,
    /// The model itself.
    pub model: Box<dyn Model + Send>,
    /// Its sizes.
    pub bert: BertConfig,
    /// Its tokenizer.
    pub encoder: Encoder,
    /// The task it is for, if that is known.
    pub task: Option<&'static Task>,
}

/// What the server's threads know of a model; the model itself lives on one of its own.
#[derive(Debug)]
pub struct Front {
    pub name: String,
    pub head: HeadSettings,
    pub mailbox: Mailbox,
    pub meters: ModelMeters,
    bert: BertConfig,
    encoder: Encoder,
    task: Option<&'static Task>,
}

impl Front {
    /// Parts a model from what the server's threads need of it.
    ///
    /// # Errors
    /// It has no head.
    pub fn of(
        served: Served,
        queue: usize,
        meters: &Meters,
    ) -> Result<(Self, Box<dyn Model + Send>)> {
        let Served { name, model, bert, encoder, task } = served;
        let Some(head) = model.head().cloned() else {
            return Err(Error::value(name, "a model with a head", "an encoder alone"));
        };
        let (mailbox, meters) = (Mailbox::new(queue), meters.of(&name));
        Ok((Self { name, head, mailbox, meters, bert, encoder, task }, model))
    }

    /// What a request's body asks for, of at most so many texts, and its texts as the model reads
    /// them.
    ///
    /// # Errors
    /// Those of [`Ask::read`]; a text that is too long and must not be shortened, or that cannot be
    /// encoded.
    pub fn read(&self, body: &[u8], most: usize) -> Result<(Ask, Vec<Sample>), Refusal> {
        let ask = Ask::read(body, most, self.task)?;
        let reach = self.bert.max_tokens();
        let limit = if ask.truncation { reach } else { usize::MAX };
        let encode = |(n, row)| {
            let wrong = |error| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error);
            let sample = self.encoder.encode(row, limit).map_err(wrong)?;
            if sample.token_id.len() > reach {
                let expected = format!("at most {reach} tokens, as the model has positions");
                let found = sample.token_id.len();
                let error = Error::value(format!("inputs[{n}]"), expected, found);
                return Err(wrong(error.hint("without truncation false it is shortened")));
            }
            let inputs = Path::new("inputs");
            check_ids(std::slice::from_ref(&sample), inputs, n + 1, &self.bert).map_err(wrong)?;
            Ok(sample)
        };
        let samples = ask.rows.iter().enumerate().map(encode).collect::<Result<_, _>>()?;
        Ok((ask, samples))
    }

    /// What a client may want to know of it.
    pub fn about(&self) -> Value {
        json!({
            "name": self.name,
            "labels": self.head.labels,
            "problem": self.head.problem.name(),
            "task": self.task.map(|task| task.name),
            "pairs": self.task.map(Task::is_pair),
            "max_tokens": self.bert.max_tokens(),
        })
    }
}
