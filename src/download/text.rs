//! Short texts, which need no file.

use std::io::Read;
use std::thread;

use crate::download::fetch::Fetcher;
use crate::download::http::{self, Failure};
use crate::error::{Error, Result};

const MAX_BYTES: u64 = 1 << 20;

impl Fetcher {
    /// The text at an address, or none if the server has no such file. `mirror` is how another
    /// server is named, for remedies.
    ///
    /// # Errors
    /// There is no connection, the server fails, or the answer is no text or longer than 1 MiB.
    pub fn text(&self, url: &str, mirror: &str) -> Result<Option<String>> {
        let mut failures = 0;
        let failure = loop {
            match self.bytes(url) {
                Ok(bytes) => {
                    let text = String::from_utf8(bytes);
                    return text
                        .map(Some)
                        .map_err(|_| Error::content(url, None, "UTF-8 text", "other bytes"));
                }
                Err(Failure::Passing(reason)) => {
                    failures += 1;
                    if failures >= self.settings.attempts {
                        break Failure::Passing(reason);
                    }
                    thread::sleep(self.pause(failures));
                }
                Err(failure) => break failure,
            }
        };
        let reason = match failure {
            // Object stores answer 403 where a name does not exist.
            Failure::Absent | Failure::Refused(_) => return Ok(None),
            Failure::Final(error) => return Err(error),
            Failure::Unreachable(reason) | Failure::Passing(reason) => reason,
        };
        let remedy = format!("check the network, HTTPS_PROXY and the address in {mirror}");
        Err(Error::run(format!("{url}: {reason}")).hint(remedy))
    }

    fn bytes(&self, url: &str) -> Result<Vec<u8>, Failure> {
        let reply = self.client.get(url, 0, None)?;
        reply.check(url, 200)?;
        let mut bytes = Vec::new();
        let read = reply.body.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|e| http::failure(e.into()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Failure::Final(Error::content(url, None, "at most 1 MiB of text", "more")));
        }
        Ok(bytes)
    }
}
