//! One request: redirects are followed here, because what Hugging Face says of a file stands in
//! the answer that redirects to where the file lies.

use std::io;
use std::time::{Duration, SystemTime};

use ureq::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LOCATION,
    RANGE,
};
use ureq::http::{HeaderMap, Uri};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector};
use ureq::{Agent, BodyReader, Proxy, ProxyProtocol, Timeout};

use crate::download::pace::{Pace, TooSlow};
use crate::error::Error;

/// Browsers allow 20, most tools 10.
const MAX_REDIRECTS: usize = 10;

/// Why an attempt did not end well.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another attempt may go better.
    Passing(String),
    /// No server was reached.
    Unreachable(String),
    /// The server has no such file.
    Absent,
    /// The server does not hand out the file: 401 or 403.
    Refused(u16),
    /// Another attempt would end in the same way.
    Final(Error),
}

/// A part of the file, as `Content-Range` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// The first byte, or none in the answer to a range that lies outside.
    pub start: Option<u64>,
    /// The size of the whole file.
    pub total: Option<u64>,
}

/// An answer.
pub(super) struct Reply {
    pub status: u16,
    /// The size of this answer's body.
    pub length: Option<u64>,
    pub range: Option<ContentRange>,
    /// The entity tag, if it vouches for every byte.
    pub etag: Option<String>,
    /// Any encoding of the body but the plain one.
    pub encoding: Option<String>,
    /// The hash that Hugging Face publishes with the file.
    pub sha256: Option<String>,
    /// The whole file's size that Hugging Face publishes with it.
    pub total: Option<u64>,
    pub body: BodyReader<'static>,
}

impl Reply {
    /// Whether the body is what was asked for; `partial` is 206 if that was a part, or else 200.
    pub(super) fn check(&self, url: &str, partial: u16) -> Result<(), Failure> {
        match self.status {
            status if status == 200 || status == partial => match &self.encoding {
                None => Ok(()),
                Some(encoding) => Err(unusable(format!(
                    "{url}: the server packs the file ({encoding}) although that was not asked for"
                ))),
            },
            404 | 410 => Err(Failure::Absent),
            status @ (401 | 403) => Err(Failure::Refused(status)),
            status @ (408 | 425 | 429 | 500..) => {
                Err(Failure::Passing(format!("the server answers with status {status}")))
            }
            status => Err(unusable(format!(
                "{url}: the server answers with status {status}, and no file"
            ))),
        }
    }
}

/// Sends requests.
pub(super) struct Client {
    agent: Agent,
    proxy_from_env: bool,
}

impl Client {
    /// Each phase but that of the body may take `timeout` in all, and at no time may it bring less
    /// than `slowest` bytes a second.
    pub(super) fn new(timeout: Duration, slowest: u64, proxy_from_env: bool) -> Self {
        let mut config = Agent::config_builder()
            .user_agent(concat!("platon/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            // A connection that the server has closed meanwhile would look like a cut one.
            .max_idle_connections(0)
            .timeout_resolve(Some(timeout))
            .timeout_connect(Some(timeout))
            .timeout_send_request(Some(timeout))
            .timeout_recv_response(Some(timeout))
            .timeout_per_write(Some(timeout))
            .timeout_per_read(Some(timeout));
        if !proxy_from_env {
            config = config.proxy(None);
        }
        let connector = DefaultConnector::new().chain(Pace { slowest, window: timeout });
        let agent = Agent::with_parts(config.build(), connector, DefaultResolver::default());
        Self { agent, proxy_from_env }
    }

    /// Asks for what follows the first `offset` bytes, provided that the file still has the tag.
    pub(super) fn get(&self, url: &str, offset: u64, tag: Option<&str>) -> Result<Reply, Failure> {
        check_clock(SystemTime::now()).map_err(Failure::Final)?;
        let bad = |e: &dyn std::fmt::Display| {
            Failure::Final(Error::value("address", "an HTTP address", format!("'{url}': {e}")))
        };
        let mut uri: Uri = url.parse().map_err(|e| bad(&e))?;
        if self.proxy_from_env {
            let proxy = Proxy::try_from_env();
            check_proxy(proxy.as_ref(), &uri, |name| std::env::var(name).ok())
                .map_err(Failure::Final)?;
        }
        let first = uri.authority().cloned();
        let (mut sha256, mut total) = (None, None);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(uri.clone()).header(ACCEPT_ENCODING, "identity");
            if offset > 0 {
                request = request.header(RANGE, format!("bytes={offset}-"));
                if let Some(tag) = tag {
                    request = request.header(IF_RANGE, tag);
                }
            }
            let response = request.call().map_err(failure)?;
            let headers = response.headers();
            let status = response.status().as_u16();
            sha256 = sha256.or_else(|| tag_sha256(text(headers, "x-linked-etag")?));
            total = total.or_else(|| number(text(headers, "x-linked-size")?));
            if matches!(status, 301 | 302 | 303 | 307 | 308) {
                let Some(location) = text(headers, LOCATION) else {
                    return Err(unusable(format!("{url}: redirected (status {status}) nowhere")));
                };
                uri = redirect(&uri, location)?;
                continue;
            }
            // Elsewhere the tag may be a hash of something else, such as Xet's chunks.
            if sha256.is_none() && uri.authority() == first.as_ref() {
                sha256 = text(headers, ETAG).and_then(tag_sha256);
            }
            let strong = |tag: &&str| tag.starts_with('"');
            let encoded = |encoding: &&str| !encoding.eq_ignore_ascii_case("identity");
            return Ok(Reply {
                status,
                length: text(headers, CONTENT_LENGTH).and_then(number),
                range: text(headers, CONTENT_RANGE).and_then(content_range),
                etag: text(headers, ETAG).filter(strong).map(str::to_owned),
                encoding: text(headers, CONTENT_ENCODING).filter(encoded).map(str::to_owned),
                sha256,
                total,
                body: response.into_body().into_reader(),
            });
        }
        Err(unusable(format!("{url}: redirected more than {MAX_REDIRECTS} times")))
    }
}

/// rustls panics where the clock shows a time before 1970.
fn check_clock(now: SystemTime) -> Result<(), Error> {
    if now < SystemTime::UNIX_EPOCH {
        return Err(Error::run("the clock shows a time before 1970: no certificate is valid yet")
            .hint("set the clock"));
    }
    Ok(())
}

/// Refuses proxies that cannot be used: those of another kind would be passed over without a word.
fn check_proxy(
    proxy: Option<&Proxy>,
    uri: &Uri,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Error> {
    /// In the order in which they are looked at.
    const NAMES: [&str; 6] =
        ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
    let serves = |proxy: &Proxy| {
        matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https)
            || proxy.is_no_proxy(uri)
    };
    let set =
        |name: &&'static str| Some((*name, variable(name).filter(|value| !value.is_empty())?));
    match NAMES.iter().find_map(set) {
        Some((name, value)) if !proxy.is_some_and(serves) => {
            // What follows may hold a password.
            let kind = value.split(':').next().unwrap_or_default();
            Err(Error::value(name, "an HTTP proxy, http://HOST:PORT", format!("{kind}:..."))
                .hint("SOCKS is not spoken: name an HTTP proxy, or unset the variable"))
        }
        _ => Ok(()),
    }
}

fn unusable(message: String) -> Failure {
    Failure::Final(Error::run(message).hint("check the address, and the proxy if there is one"))
}

fn text(headers: &HeaderMap, name: impl ureq::http::header::AsHeaderName) -> Option<&str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// Hugging Face tags a large file with its SHA-256.
fn tag_sha256(tag: &str) -> Option<String> {
    let tag = tag.trim_start_matches("W/").trim_matches('"');
    super::sources::is_sha256(tag).then(|| tag.to_ascii_lowercase())
}

fn content_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let start = if range.trim() == "*" { None } else { Some(number(range.split_once('-')?.0)?) };
    Some(ContentRange { start, total: number(total.trim()) })
}

/// Where a redirect leads. From a secure address it does not lead to an insecure one.
fn redirect(from: &Uri, location: &str) -> Result<Uri, Failure> {
    let scheme = from.scheme_str().unwrap_or("https");
    let host = from.authority().map_or("", |authority| authority.as_str());
    let full = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else if location.split(['/', '?', '#']).next().is_some_and(|first| first.ends_with(':')) {
        location.to_owned()
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{host}{folder}/{location}")
    };
    let to: Uri = full
        .parse()
        .map_err(|e| unusable(format!("{from}: redirected to an unusable address: {e}")))?;
    if scheme == "https" && to.scheme_str() != Some("https") {
        return Err(unusable(format!("{from}: redirected to an address without encryption")));
    }
    Ok(to)
}

/// Sorts the client's errors by what can be done about them.
pub(super) fn failure(error: ureq::Error) -> Failure {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, TimedOut, UnexpectedEof,
        WouldBlock,
    };
    match error {
        ureq::Error::HostNotFound => Failure::Unreachable("the host's name is unknown".into()),
        ureq::Error::ConnectionFailed => Failure::Unreachable("no connection".into()),
        ureq::Error::ConnectProxyFailed(reason) => {
            Failure::Unreachable(format!("the proxy refused: {}", line(&reason)))
        }
        ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            Failure::Unreachable("no connection in time".into())
        }
        ureq::Error::Timeout(Timeout::RecvResponse) => {
            Failure::Passing("the server does not answer in time".into())
        }
        ureq::Error::Other(e) if e.is::<TooSlow>() => Failure::Passing(e.to_string()),
        ureq::Error::Timeout(_) => Failure::Passing("the server has stopped sending".into()),
        ureq::Error::Io(e) => match e.kind() {
            ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | TimedOut
            | WouldBlock => {
                Failure::Passing(format!("the connection was cut ({})", line(&e.to_string())))
            }
            // This is how errors of the encryption arrive.
            InvalidData => {
                Failure::Unreachable(format!("no secure connection: {}", line(&e.to_string())))
            }
            // Refused, no route, and names that cannot be looked up, which have no kind.
            _ => Failure::Unreachable(line(&e.to_string())),
        },
        ureq::Error::Protocol(e) => {
            Failure::Passing(format!("the answer is not proper HTTP ({})", line(&e.to_string())))
        }
        other => Failure::Unreachable(line(&other.to_string())),
    }
}

/// Other people's messages may span lines; ours do not.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_1970_is_refused_in_words() {
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert!(check_clock(early).unwrap_err().to_string().contains("set the clock"));
        assert!(check_clock(SystemTime::UNIX_EPOCH).is_ok());
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_not_passed_over() {
        let uri: Uri = "https://h/a".parse().unwrap();
        let check = |name: &'static str, value: &'static str| {
            let variable = |asked: &str| (asked == name).then(|| value.to_owned());
            let proxy = Proxy::new(value).ok();
            check_proxy(proxy.as_ref(), &uri, variable).map_err(|e| e.to_string())
        };
        for usable in ["http://p:1", "https://p:1", "p:1", "http://a:b@p:1"] {
            assert_eq!(check("HTTPS_PROXY", usable), Ok(()), "{usable}");
        }
        assert_eq!(check("https_proxy", ""), Ok(()));
        for (value, found) in [
            ("socks5://a:b@p:1", "socks5:..."),
            ("socks5h://p:1", "socks5h:..."),
            ("htp:/bad", "htp:..."),
        ] {
            let text = check("ALL_PROXY", value).unwrap_err();
            let expected = "ALL_PROXY: expected an HTTP proxy, http://HOST:PORT, found ";
            assert!(text.starts_with(&format!("{expected}{found} (hint: ")), "{text}");
        }
        assert_eq!(check_proxy(None, &uri, |_| None).map_err(|e| e.to_string()), Ok(()));
    }

    #[test]
    fn redirects_are_resolved_and_stay_secure() {
        let from: Uri = "https://h:1/a/b?c=d".parse().unwrap();
        for (location, expected) in [
            ("https://x/y?z=1", "https://x/y?z=1"),
            ("//x/y", "https://x/y"),
            ("/y", "https://h:1/y"),
            ("y", "https://h:1/a/y"),
            // An address may hold another one.
            ("/y?u=https://x/z", "https://h:1/y?u=https://x/z"),
            ("y?u=https://x/z", "https://h:1/a/y?u=https://x/z"),
        ] {
            assert_eq!(redirect(&from, location).unwrap().to_string(), expected);
        }
        assert!(matches!(redirect(&from, "http://h:1/a"), Err(Failure::Final(_))));
        assert!(matches!(redirect(&from, "http://a b"), Err(Failure::Final(_))));
    }

    #[test]
    fn ranges_are_read() {
        let range = |start, total| Some(ContentRange { start, total });
        assert_eq!(content_range("bytes 5-9/10"), range(Some(5), Some(10)));
        assert_eq!(content_range("bytes 5-9/*"), range(Some(5), None));
        assert_eq!(content_range("bytes */10"), range(None, Some(10)));
        for bad in ["", "bytes", "bytes 5/10", "bytes x-9/10", "lines 5-9/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_a_sha256_is_taken_from_a_tag() {
        let hash = "0f".repeat(32);
        assert_eq!(tag_sha256(&format!("\"{hash}\"")), Some(hash.clone()));
        assert_eq!(tag_sha256(&format!("W/\"{}\"", hash.to_uppercase())), Some(hash));
        assert_eq!(tag_sha256("\"d41d8cd98f00b204e9800998ecf8427e\""), None);
    }

    #[test]
    fn failures_are_sorted_by_what_can_be_done() {
        let io = |kind: io::ErrorKind| failure(ureq::Error::Io(kind.into()));
        assert!(matches!(failure(ureq::Error::HostNotFound), Failure::Unreachable(_)));
        assert!(matches!(io(io::ErrorKind::ConnectionRefused), Failure::Unreachable(_)));
        let unknown = io::Error::other("failed to lookup address information");
        assert!(matches!(failure(ureq::Error::Io(unknown)), Failure::Unreachable(_)));
        assert!(matches!(io(io::ErrorKind::ConnectionReset), Failure::Passing(_)));
        assert!(matches!(io(io::ErrorKind::UnexpectedEof), Failure::Passing(_)));
        assert!(matches!(failure(ureq::Error::Timeout(Timeout::PerRead)), Failure::Passing(_)));
        assert!(matches!(failure(ureq::Error::Tls("x")), Failure::Unreachable(_)));
    }
}
