//! What is answered where there is no answer.

use hyper::StatusCode;

use crate::error::Error;

/// A request that gets a reason instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whose fault it is.
    pub status: StatusCode,
    /// One sentence.
    pub reason: String,
}

impl Refusal {
    /// A refusal with this reason.
    pub fn new(status: StatusCode, reason: impl ToString) -> Self {
        Self { status, reason: reason.to_string() }
    }

    /// Something of a request's body is not what it must be.
    pub fn value(name: &str, expected: impl ToString, found: impl ToString) -> Self {
        let error = Error::value(name, expected.to_string(), found.to_string());
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error)
    }

    /// It is this program's fault.
    pub fn internal(cause: &str) -> Self {
        let error = Error::run(format!("internal error: {cause}"));
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }
}
