//! One file from a server to the disk, whole and checked or not at all.
//!
//! What has come stays in `NAME.part` when the connection is cut, and the next attempt, in this
//! run or a later one, asks for the rest only, where a strong tag or a hash will tell whether that is
//! the rest of the same file.

use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::download::DownloadEvent;
use crate::download::http::{self, Client, Failure, Reply};
use crate::download::partial::{Note, Partial};
use crate::error::{Error, Result};
use crate::files::sha256_file;

const BUFFER_BYTES: usize = 64 * 1024;
/// An attempt that brought this much was worth it: the count of attempts begins anew.
const WORTHWHILE_BYTES: u64 = 1 << 20;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How patient to be, and with how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often in a row a file is tried before giving up.
    pub attempts: u32,
    /// The pause before the second attempt; each further one is twice as long.
    pub pause: Duration,
    /// The longest time without a byte, and for all headers of an answer.
    pub timeout: Duration,
    /// The fewest bytes a second, as a mean over `timeout`: fewer are as good as none.
    pub slowest: u64,
    /// The largest file that is accepted; those of some kinds are smaller.
    pub max_bytes: u64,
    /// Whether `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are honoured.
    pub proxy_from_env: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            attempts: 5,
            pause: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            slowest: 1 << 10,
            max_bytes: 8 << 30,
            proxy_from_env: true,
        }
    }
}

/// What to fetch and where to put it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The full address.
    pub url: &'a str,
    /// The file to write; its name is the one in progress reports.
    pub target: &'a Path,
    /// The hash of the content, where it is known.
    pub sha256: Option<&'a str>,
    /// The server is Hugging Face or speaks like it: its headers tell the hash of large files.
    pub hub: bool,
    /// The largest such file.
    pub max_bytes: u64,
    /// A server without the file is no error.
    pub optional: bool,
    /// Fetch the file again even if it is there, unless its hash proves it right.
    pub force: bool,
    /// How another server is named, for remedies: `--glue-url`.
    pub mirror: &'a str,
}

/// How a request ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The file was there already.
    Cached,
    /// The file has been fetched.
    Fetched,
    /// The server has no such file, and it was optional.
    Absent,
}

/// Fetches files.
pub struct Fetcher {
    pub(super) client: Client,
    pub(super) settings: Settings,
}

impl Fetcher {
    /// A client; nothing is sent yet.
    pub fn new(settings: Settings) -> Self {
        let Settings { timeout, slowest, proxy_from_env, .. } = settings;
        Self { client: Client::new(timeout, slowest, proxy_from_env), settings }
    }

    /// Brings a file to its place. A file that is there is not fetched again if its hash is right
    /// or unknown.
    ///
    /// # Errors
    /// There is no connection, the server refuses or lacks the file, the connection fails time
    /// after time (what has come is kept), the content has another size or hash than it must have
    /// (it is removed), or the disk is full.
    pub fn fetch(
        &self,
        request: &Request<'_>,
        on_progress: &(dyn Fn(DownloadEvent<'_>) + Sync),
    ) -> Result<Outcome> {
        let name = request.target.file_name().unwrap_or_default().to_string_lossy();
        let stale = request.target.is_file();
        if stale {
            let valid = match request.sha256 {
                Some(sha256) => sha256_file(request.target)?.eq_ignore_ascii_case(sha256),
                None => !request.force,
            };
            if valid {
                on_progress(DownloadEvent::Cached { name: &name });
                return Ok(Outcome::Cached);
            }
        }
        let part = Partial::open(request.target, request.url)?;
        let stale = stale && request.sha256.is_some();
        let mut job = Job { fetcher: self, request, name: &name, part, stale, on_progress };
        match job.run() {
            Ok(sha256) => {
                finish(job.part, request, sha256.as_deref())?;
                on_progress(DownloadEvent::Finished { name: &name });
                Ok(Outcome::Fetched)
            }
            // Object stores answer 403 where a name does not exist.
            Err(Failure::Absent | Failure::Refused(403)) if request.optional => {
                job.part.discard()?;
                Ok(Outcome::Absent)
            }
            Err(failure) => {
                let error = job.error(failure);
                if job.part.done() == 0 {
                    job.part.discard()?;
                }
                Err(error)
            }
        }
    }

    /// The pause after so many failures in a row.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let factor = 1_u32 << failures.saturating_sub(1).min(10);
        self.settings.pause.saturating_mul(factor).min(LONGEST_PAUSE)
    }
}

/// One file being fetched.
struct Job<'a> {
    fetcher: &'a Fetcher,
    request: &'a Request<'a>,
    name: &'a str,
    part: Partial,
    /// The target is there, but its hash is wrong.
    stale: bool,
    on_progress: &'a (dyn Fn(DownloadEvent<'_>) + Sync),
}

impl Job<'_> {
    /// Tries until all bytes have come; gives the hash that they must have, if anyone knows it.
    fn run(&mut self) -> Result<Option<String>, Failure> {
        let mut failures = 0;
        let mut reached = false;
        loop {
            let before = self.part.done();
            let failure = match self.attempt() {
                Ok(sha256) => return Ok(self.request.sha256.map(str::to_owned).or(sha256)),
                Err(failure) => failure,
            };
            reached |= self.part.done() > before;
            match &failure {
                Failure::Passing(_) => reached = true,
                // A network that was there a moment ago may come back.
                Failure::Unreachable(_) if reached => {}
                _ => return Err(failure),
            }
            if self.part.done() >= before.saturating_add(WORTHWHILE_BYTES) {
                failures = 0;
            }
            failures += 1;
            if failures >= self.fetcher.settings.attempts {
                return Err(failure);
            }
            thread::sleep(self.fetcher.pause(failures));
        }
    }

    fn attempt(&mut self) -> Result<Option<String>, Failure> {
        let request = self.request;
        if self.part.done() > 0 && request.sha256.is_none() && !self.part.is_vouched_for() {
            self.part.restart().map_err(Failure::Final)?;
        }
        let offset = self.part.done();
        let reply = self.fetcher.client.get(request.url, offset, self.part.etag())?;
        let hub = |value: Option<String>| value.filter(|_| request.hub);
        let sha256 = hub(reply.sha256.clone());
        if reply.status == 416 && offset > 0 {
            let total = reply.range.and_then(|range| range.total).or(self.part.total());
            if total == Some(offset) {
                return Ok(sha256);
            }
            return Err(self.start_over());
        }
        reply.check(request.url, if offset > 0 { 206 } else { 200 })?;
        let mut total = reply.length;
        if reply.status == 206 {
            if !self.continues(&reply) {
                return Err(self.start_over());
            }
            total = reply.range.and_then(|range| range.total).or(self.part.total());
        }
        let published = reply.total.filter(|_| request.hub);
        if let (Some(published), Some(total)) = (published, total)
            && published != total
        {
            return Err(self.wrong_size(published, total));
        }
        let total = total.or(published);
        let max = self.max_bytes();
        if let Some(total) = total.filter(|total| *total > max) {
            return Err(self.too_large(total));
        }
        if reply.status == 200 {
            let url = request.url.to_owned();
            let note = Note { url, etag: reply.etag, sha256: sha256.clone(), total };
            self.part.begin(note).map_err(Failure::Final)?;
        }
        let done = self.part.done();
        (self.on_progress)(DownloadEvent::Started { name: self.name, total, done });
        self.receive(reply.body, total)?;
        Ok(sha256)
    }

    /// Whether the answer is the rest of what has come.
    fn continues(&self, reply: &Reply) -> bool {
        let agree = |a: Option<u64>, b: Option<u64>| a.is_none() || b.is_none() || a == b;
        let same_tag = match (self.part.etag(), &reply.etag) {
            (Some(before), Some(now)) => before == now,
            _ => true,
        };
        reply.range.is_some_and(|range| {
            range.start == Some(self.part.done()) && agree(range.total, self.part.total())
        }) && self.part.done() > 0
            && same_tag
    }

    fn start_over(&mut self) -> Failure {
        match self.part.restart() {
            Ok(()) => Failure::Passing("the server's file has changed".to_owned()),
            Err(error) => Failure::Final(error),
        }
    }

    fn receive(&mut self, mut body: impl Read, total: Option<u64>) -> Result<(), Failure> {
        let max = self.max_bytes();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = match body.read(&mut buffer) {
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(http::failure(e.into())),
            };
            let chunk = buffer.get(..read).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            let done = self.part.done().saturating_add(read as u64);
            if done > max {
                return Err(self.too_large(done));
            }
            if let Some(total) = total.filter(|total| done > *total) {
                return Err(self.wrong_size(total, done));
            }
            self.part.write(chunk).map_err(Failure::Final)?;
            (self.on_progress)(DownloadEvent::Advanced { name: self.name, bytes: read as u64 });
        }
        match total {
            Some(total) if self.part.done() < total => {
                Err(Failure::Passing("the connection was cut".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn max_bytes(&self) -> u64 {
        self.fetcher.settings.max_bytes.min(self.request.max_bytes)
    }

    fn too_large(&mut self, bytes: u64) -> Failure {
        let url = self.request.url;
        let max = self.max_bytes();
        self.reject(Error::content(url, None, format!("at most {max} bytes"), format!("{bytes}")))
    }

    fn wrong_size(&mut self, expected: u64, found: u64) -> Failure {
        let (url, hint) = (self.request.url, "run again, or use another server");
        let expected = format!("{expected} bytes");
        self.reject(Error::content(url, None, expected, format!("{found} or more")).hint(hint))
    }

    /// What has come is worth nothing.
    fn reject(&mut self, error: Error) -> Failure {
        Failure::Final(self.part.restart().err().unwrap_or(error))
    }

    fn error(&self, failure: Failure) -> Error {
        let Request { url, target, mirror, hub, .. } = self.request;
        let but = if self.stale { " (the one there has another SHA-256)" } else { "" };
        let by_hand = format!("put the file at {}{but}", target.display());
        match failure {
            Failure::Final(error) => error,
            Failure::Absent => Error::run(format!("{url}: the server has no such file (404)"))
                .hint(format!("check the name, or name another server with {mirror}")),
            Failure::Unreachable(reason) if self.part.done() == 0 => {
                Error::run(format!("{url}: {reason}")).hint(format!(
                    "check the network and HTTPS_PROXY, name another server with {mirror}, or \
                     {by_hand}"
                ))
            }
            Failure::Unreachable(reason) => self.unfinished(reason),
            Failure::Refused(status) if *hub => {
                Error::run(format!("{url}: the server refuses (status {status})")).hint(format!(
                    "check the model's name; one whose terms must be accepted has to be \
                     downloaded in a browser: {by_hand}"
                ))
            }
            Failure::Refused(status) => {
                Error::run(format!("{url}: the server refuses (status {status})"))
                    .hint(format!("name another server with {mirror}, or {by_hand}"))
            }
            Failure::Passing(reason) => {
                let attempts = self.fetcher.settings.attempts;
                self.unfinished(format!("{reason}, {attempts} times"))
            }
        }
    }

    fn unfinished(&self, reason: String) -> Error {
        let Request { url, mirror, .. } = self.request;
        let done = self.part.done();
        let of = self.part.total().map_or(String::new(), |total| format!(" of {total}"));
        let kept = self.part.path().display();
        Error::run(format!("{url}: {reason}; {done}{of} bytes have come")).hint(match done {
            0 => format!("run again later, or name another server with {mirror}"),
            _ => format!("run again to go on; what has come is kept in {kept}"),
        })
    }
}

/// Checks the content and gives the file its name.
fn finish(part: Partial, request: &Request<'_>, sha256: Option<&str>) -> Result<()> {
    let Some(expected) = sha256 else { return part.finish() };
    let found = part.sha256()?;
    if found.eq_ignore_ascii_case(expected) {
        return part.finish();
    }
    part.discard()?;
    Err(Error::content(request.url, None, format!("the SHA-256 {expected}"), found).hint(format!(
        "run again; if it stays so the file there is another one: name another server with {}",
        request.mirror
    )))
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
