use std::fs;
use std::sync::Mutex;

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::download::test_server::{Answer, Server, serve, serve_files};

const ETAG: &str = "\"one\"";

fn quick() -> Settings {
    Settings {
        attempts: 3,
        pause: Duration::from_millis(2),
        timeout: Duration::from_secs(5),
        slowest: 1,
        max_bytes: 8 << 20,
        proxy_from_env: false,
    }
}

/// Leaked, so that requests of any lifetime can hold it.
fn sha(body: &[u8]) -> &'static str {
    format!("{:x}", Sha256::digest(body)).leak()
}

fn body() -> Vec<u8> {
    (0..100_000_u32).map(|i| (i * 7 % 251) as u8).collect()
}

/// A folder to download to, and what happened.
struct Place {
    dir: TempDir,
    settings: Settings,
    events: Mutex<Vec<String>>,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, settings: quick(), events: Mutex::default() }
    }

    fn with(settings: Settings) -> Self {
        Self { settings, ..Self::new() }
    }

    fn run(&self, server: &Server, change: impl FnOnce(&mut Request<'_>)) -> Result<Outcome> {
        let (url, target) = (format!("{}/a.bin", server.url), self.target());
        let mut request = Request {
            url: &url,
            target: &target,
            sha256: None,
            hub: false,
            max_bytes: u64::MAX,
            optional: false,
            force: false,
            mirror: "--glue-url",
        };
        change(&mut request);
        Fetcher::new(self.settings.clone()).fetch(&request, &|progress| {
            let event = match progress {
                DownloadEvent::Started { name, total, done } => format!("{name} {total:?} {done}"),
                DownloadEvent::Advanced { .. } => return,
                DownloadEvent::Finished { name } => format!("{name} finished"),
                DownloadEvent::Cached { name } => format!("{name} cached"),
            };
            self.events.lock().unwrap().push(event);
        })
    }

    fn get(&self, server: &Server) -> Result<Outcome> {
        self.run(server, |_| {})
    }

    fn fail(&self, server: &Server, change: impl FnOnce(&mut Request<'_>)) -> String {
        let message = self.run(server, change).unwrap_err().to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains("/a.bin"), "{message}");
        message
    }

    fn target(&self) -> std::path::PathBuf {
        self.dir.path().join("a.bin")
    }

    fn content(&self) -> Vec<u8> {
        assert_eq!(self.files(), ["a.bin"]);
        fs::read(self.target()).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }

    /// As if an earlier run had been interrupted.
    fn leave(&self, server: &Server, done: &[u8], etag: Option<&str>, total: u64) {
        let mut part = Partial::open(&self.target(), &format!("{}/a.bin", server.url)).unwrap();
        let url = format!("{}/a.bin", server.url);
        let etag = etag.map(str::to_owned);
        part.begin(Note { url, etag, sha256: None, total: Some(total) }).unwrap();
        part.write(done).unwrap();
    }
}

#[test]
fn a_file_comes_once() {
    let (place, server) = (Place::new(), serve_files(&[("/a.bin", body())]));
    assert_eq!(place.get(&server).unwrap(), Outcome::Fetched);
    assert_eq!(place.content(), body());
    assert_eq!(place.get(&server).unwrap(), Outcome::Cached);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(place.events(), ["a.bin Some(100000) 0", "a.bin finished", "a.bin cached"]);
}

#[test]
fn a_file_that_is_there_is_judged_by_its_hash() {
    let (place, server) = (Place::new(), serve_files(&[("/a.bin", body())]));
    let right: &'static str = sha(&body()).to_uppercase().leak();
    fs::write(place.target(), b"something else").unwrap();
    assert_eq!(place.get(&server).unwrap(), Outcome::Cached, "nobody knows better");
    let run = |force| {
        let run = place.run(&server, |r| (r.sha256, r.force) = (Some(right), force));
        run.unwrap()
    };
    assert_eq!(run(false), Outcome::Fetched);
    assert_eq!(place.content(), body());
    assert_eq!(run(true), Outcome::Cached, "even then: it is proved right");
    assert_eq!(place.run(&server, |r| r.force = true).unwrap(), Outcome::Fetched);
}

#[test]
fn a_cut_connection_is_taken_up_where_it_ended() {
    let server = serve(|seen| match seen.nth {
        0 => Answer::ranged(seen, &body(), ETAG).cut(30_000),
        1 => Answer::ranged(seen, &body(), ETAG).cut(20_000),
        _ => Answer::ranged(seen, &body(), ETAG),
    });
    let place = Place::new();
    place.get(&server).unwrap();
    assert_eq!(place.content(), body());
    let seen = server.seen();
    assert_eq!((seen[0].from, &seen[0].if_range), (None, &None));
    assert_eq!((seen[1].from, seen[1].if_range.as_deref()), (Some(30_000), Some(ETAG)));
    assert_eq!(seen[2].from, Some(50_000));
    assert_eq!(place.events()[2], "a.bin Some(100000) 50000");
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let server = serve(|seen| match seen.nth {
        0 => Answer::ok(body()).header("ETag", ETAG).cut(30_000),
        _ => Answer::ok(body()),
    });
    let place = Place::new();
    place.get(&server).unwrap();
    assert_eq!(place.content(), body());
    assert_eq!(server.seen()[1].from, Some(30_000));
    assert_eq!(place.events()[1], "a.bin Some(100000) 0");
}

#[test]
fn what_has_come_is_kept_for_the_next_run() {
    let server = serve(|seen| match seen.nth {
        0..3 => Answer::ranged(seen, &body(), ETAG).cut(if seen.nth == 0 { 30_000 } else { 0 }),
        _ => Answer::ranged(seen, &body(), ETAG),
    });
    let place = Place::new();
    let message = place.fail(&server, |_| {});
    assert!(message.contains("cut"), "{message}");
    assert!(message.contains("3 times; 30000 of 100000 bytes have come (hint: run again to go on"));
    assert_eq!(place.files(), ["a.bin.part", "a.bin.part.json"]);
    place.get(&server).unwrap();
    assert_eq!(place.content(), body());
    assert_eq!(server.seen()[3].from, Some(30_000));
}

#[test]
fn attempts_that_bring_much_are_not_counted() {
    let large = vec![5; 5 << 20];
    let sent = large.clone();
    let server = serve(move |seen| Answer::ranged(seen, &sent, ETAG).cut(1 << 20));
    let place = Place::with(Settings { attempts: 2, ..quick() });
    place.get(&server).unwrap();
    assert!(place.content() == large);
    assert_eq!(server.seen().len(), 5);
}

#[test]
fn redirects_are_followed_and_what_is_said_on_the_way_counts() {
    // The second server's tag looks like a hash of the content, but is one of something else.
    let tag = format!("\"{}\"", sha(b"chunks"));
    let cdn = serve(move |seen| match seen.nth {
        0 => Answer::ranged(seen, &body(), &tag).cut(40_000),
        _ => Answer::ranged(seen, &body(), &tag),
    });
    let location = format!("{}/blob?key=1", cdn.url);
    let linked = format!("\"{}\"", sha(&body()));
    let hub = serve(move |seen| match seen.path.as_str() {
        "/a.bin" => Answer::redirect(307, "/full/a.bin"),
        "/full/a.bin" => Answer::redirect(302, &location)
            .header("X-Linked-Etag", &linked)
            .header("X-Linked-Size", "100000"),
        _ => Answer::status(404),
    });
    let place = Place::new();
    place.run(&hub, |r| r.hub = true).unwrap();
    assert_eq!(place.content(), body());
    assert_eq!(cdn.paths(), ["/blob?key=1", "/blob?key=1"]);
    assert_eq!(cdn.seen()[1].from, Some(40_000));

    let server = serve(|_| Answer::redirect(302, "/a.bin"));
    let message = Place::new().fail(&server, |_| {});
    assert!(message.contains("redirected more than 10 times"), "{message}");
    let server = serve(|_| Answer::status(302));
    assert!(Place::new().fail(&server, |_| {}).contains("redirected (status 302) nowhere"));
}

#[test]
fn a_hash_told_on_the_way_is_checked() {
    let cdn = serve_files(&[("/blob", body())]);
    let (location, linked) = (format!("{}/blob", cdn.url), sha(b"other"));
    let hub = serve(move |_| Answer::redirect(302, &location).header("X-Linked-Etag", linked));
    let place = Place::new();
    assert!(place.fail(&hub, |r| r.hub = true).contains("expected the SHA-256"));
    assert!(place.files().is_empty());
}

#[test]
fn a_file_that_has_changed_is_not_glued_together() {
    let other: Vec<u8> = body().iter().map(|byte| byte ^ 1).collect();
    // The first server heeds the tag, the second ignores it.
    for heeds in [true, false] {
        let new = other.clone();
        let server = serve(move |seen| match (seen.nth, seen.from) {
            (0, _) => Answer::ranged(seen, &body(), ETAG).cut(30_000),
            (1, Some(_)) if !heeds => {
                let mut seen = seen.clone();
                seen.if_range = None;
                Answer::ranged(&seen, &new, "\"two\"")
            }
            _ => Answer::ranged(seen, &new, "\"two\""),
        });
        let place = Place::new();
        place.get(&server).unwrap();
        assert!(place.content() == other);
        assert_eq!(server.seen().len(), if heeds { 2 } else { 3 });
    }
}

#[test]
fn a_part_that_does_not_fit_is_not_added() {
    for range in ["bytes 10000-99999/100000", "bytes 30000-99998/99999", "nonsense"] {
        let server = serve(move |seen| match (seen.nth, seen.from) {
            (0, _) => Answer::ok(body()).header("ETag", ETAG).cut(30_000),
            (_, Some(_)) => {
                let mut answer = Answer::ranged(seen, &body()[..99_000], ETAG);
                answer.replace_header("Content-Range", range);
                answer
            }
            _ => Answer::ok(body()),
        });
        let place = Place::new();
        place.get(&server).unwrap();
        assert!(place.content() == body(), "{range}");
        assert_eq!(server.seen().len(), 3);
    }
}

#[test]
fn a_part_that_is_whole_already_is_only_checked() {
    let (place, server) = (Place::new(), serve_files(&[("/a.bin", body())]));
    place.leave(&server, &body(), Some("\"1\""), 100_000);
    let right = sha(&body());
    place.run(&server, |r| r.sha256 = Some(right)).unwrap();
    assert_eq!(place.content(), body());
    assert_eq!(server.seen()[0].from, Some(100_000));

    // The file at the server is shorter now: 416 with another size.
    let server = serve_files(&[("/a.bin", body()[..50_000].to_vec())]);
    let place = Place::new();
    place.leave(&server, &body()[..60_000], Some("\"1\""), 100_000);
    place.get(&server).unwrap();
    assert_eq!(place.content(), &body()[..50_000]);
}

/// One thing that a server may do.
#[derive(Debug, Clone)]
enum Whim {
    Cut(usize),
    IgnoreRange(usize),
    Change(usize),
    Status(u16),
    WrongRange,
    Short,
}

fn whim() -> impl Strategy<Value = Whim> {
    prop_oneof![
        (0..3000_usize).prop_map(Whim::Cut),
        (0..3000_usize).prop_map(Whim::IgnoreRange),
        (0..3000_usize).prop_map(Whim::Change),
        prop::sample::select(vec![206, 302, 404, 416, 500, 503]).prop_map(Whim::Status),
        Just(Whim::WrongRange),
        Just(Whim::Short),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_server_does_a_wrong_file_never_appears(
        whims in prop::collection::vec(whim(), 1..8),
        hashed: bool,
        weak: bool,
    ) {
        // With its hash unknown, a file that changes may come in either form, but never in both.
        let first = body()[..3000].to_vec();
        let second: Vec<u8> = first.iter().map(|byte| byte ^ 1).collect();
        let forms = [first.clone(), second.clone()];
        let server = serve(move |seen| {
            let form = whims.iter().take(seen.nth + 1).filter(|w| matches!(w, Whim::Change(_))).count() % 2;
            let (body, tag) = (&forms[form], ["\"1\"", "\"2\""][form]);
            let tag = if weak { format!("W/{tag}") } else { tag.to_owned() };
            let answer = Answer::ranged(seen, body, &tag);
            match whims.get(seen.nth) {
                None => answer,
                Some(Whim::Cut(at) | Whim::Change(at)) => answer.cut(*at),
                Some(Whim::IgnoreRange(at)) => Answer::ok(body.clone()).header("ETag", &tag).cut(*at),
                Some(Whim::Status(status)) => Answer::status(*status),
                Some(Whim::WrongRange) => {
                    let mut answer = answer;
                    answer.replace_header("Content-Range", "bytes 7-2999/3000");
                    answer
                }
                Some(Whim::Short) => answer.length(3001),
            }
        });
        let place = Place::with(Settings { attempts: 4, pause: Duration::ZERO, ..quick() });
        let hash = sha(&first);
        for _run in 0..3 {
            let result = place.run(&server, |r| r.sha256 = Some(hash).filter(|_| hashed));
            prop_assert_eq!(result.is_ok(), place.target().exists());
            if result.is_ok() {
                let content = place.content();
                prop_assert!(content == first || (content == second && !hashed));
                break;
            }
        }
    }
}

#[path = "fault_tests.rs"]
mod faults;
