//! Reading the body of a request.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};

use super::refusal::Refusal;

/// So much of a body that is not wanted is read and thrown away, for many clients see no answer before
/// they have sent all.
const THROWN_AWAY: usize = 64 << 20;

/// Room for so much is made before anything has come.
const AT_FIRST: usize = 64 << 10;

/// Reads a body that nobody wants, or as much of it as is thrown away.
pub async fn throw_away(mut body: Incoming) {
    let mut length = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        length = length.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if length > THROWN_AWAY {
            break;
        }
    }
}

/// The whole body, of at most so many bytes.
///
/// # Errors
/// It is longer, or does not arrive whole.
pub async fn read_body(mut body: Incoming, most: usize) -> Result<Bytes, Refusal> {
    let stated = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let too_long = |found: String| {
        let reason = format!("body: expected at most {most} bytes, found {found}");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    };
    if stated > most.saturating_add(THROWN_AWAY) {
        return Err(too_long(stated.to_string()));
    }
    let (mut whole, mut length) =
        (BytesMut::with_capacity(stated.min(most).min(AT_FIRST)), 0_usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| {
            let reason = format!("body: expected all of it, found an end: {e}");
            Refusal::new(StatusCode::BAD_REQUEST, reason)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= most {
            whole.extend_from_slice(&data);
        } else if length > most.saturating_add(THROWN_AWAY) {
            break;
        }
    }
    if length > most {
        return Err(too_long(length.max(stated).to_string()));
    }
    Ok(whole.freeze())
}
