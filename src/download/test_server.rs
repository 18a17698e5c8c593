//! An HTTP server that misbehaves on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub path: String,
    /// Which request for this path it is, counted from 0.
    pub nth: usize,
    /// Where the wanted part starts.
    pub from: Option<usize>,
    pub if_range: Option<String>,
}

/// What is sent back.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    length: Option<usize>,
    no_length: bool,
    stop: Option<usize>,
    stall: Duration,
    drip: Option<(usize, Duration)>,
    raw: Option<(Vec<u8>, Vec<u8>)>,
    last: bool,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(200) }
    }

    /// A well-behaved server's answer, parts included.
    pub fn ranged(seen: &Seen, body: &[u8], etag: &str) -> Self {
        let total = body.len();
        let wanted = seen.if_range.as_ref().is_none_or(|tag| tag == etag);
        match seen.from.filter(|_| wanted) {
            Some(from) if from >= total => {
                Self::status(416).header("Content-Range", &format!("bytes */{total}"))
            }
            Some(from) => Self { status: 206, ..Self::ok(&body[from..]) }
                .header("ETag", etag)
                .header("Content-Range", &format!("bytes {from}-{}/{total}", total - 1)),
            None => Self::ok(body).header("ETag", etag),
        }
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("Location", location)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn replace_header(&mut self, name: &str, value: &str) {
        self.headers.retain(|(header, _)| header != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Claims another length than the body has.
    pub fn length(mut self, bytes: usize) -> Self {
        self.length = Some(bytes);
        self
    }

    /// Lets the end of the connection mark the body's.
    pub fn no_length(mut self) -> Self {
        self.no_length = true;
        self
    }

    /// Closes the connection after so many bytes of the body.
    pub fn cut(mut self, bytes: usize) -> Self {
        self.stop = Some(bytes);
        self
    }

    /// Falls silent after so many bytes of the body.
    pub fn stall(mut self, bytes: usize, silence: Duration) -> Self {
        self.stall = silence;
        self.cut(bytes)
    }

    /// Sends so many bytes at a time.
    pub fn drip(mut self, bytes: usize, pause: Duration) -> Self {
        self.drip = Some((bytes, pause));
        self
    }

    /// Sends these bytes instead of an answer, the second ones as [`drip`](Self::drip) says.
    pub fn raw(at_once: &str, then: &str) -> Self {
        Self { raw: Some((at_once.into(), then.into())), ..Self::status(200) }
    }

    /// Ends the server, too.
    pub fn last(mut self) -> Self {
        self.last = true;
        self
    }

    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Whatever\r\nConnection: close\r\n", self.status);
        if !self.no_length {
            let length = self.length.unwrap_or(self.body.len());
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let body = &self.body[..self.stop.unwrap_or(self.body.len()).min(self.body.len())];
        let (head, body) = match &self.raw {
            Some((head, body)) => (head.as_slice(), body.as_slice()),
            None => (head.as_bytes(), body),
        };
        stream.write_all(head)?;
        let (piece, pause) = self.drip.unwrap_or((body.len().max(1), Duration::ZERO));
        for chunk in body.chunks(piece) {
            stream.write_all(chunk)?;
            stream.flush()?;
            thread::sleep(pause);
        }
        thread::sleep(self.stall);
        Ok(())
    }
}

/// A server that runs as long as it lives.
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    /// The requests until now.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Their paths.
    pub fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread, which is waiting for a connection.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

/// Starts a server that answers as `handler` says.
pub fn serve(handler: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let ended = Arc::new(AtomicBool::new(false));
    let server = Server { url, seen: Arc::clone(&seen), ended: Arc::clone(&ended) };
    let handler = Arc::new(handler);
    thread::spawn(move || {
        loop {
            let stream = listener.accept().map(|(stream, _)| stream);
            if ended.load(Ordering::SeqCst) {
                break;
            }
            let (Ok(mut stream), seen, handler) = (stream, Arc::clone(&seen), Arc::clone(&handler))
            else {
                break;
            };
            let Some(mut request) = read_request(&stream) else { continue };
            {
                let mut seen = seen.lock().unwrap();
                request.nth = seen.iter().filter(|s| s.path == request.path).count();
                seen.push(request.clone());
            }
            let answer = handler(&request);
            if answer.last {
                // Closed before the answer, so that the client cannot come back too early.
                drop(listener);
                let _ = answer.send(&mut stream);
                break;
            }
            thread::spawn(move || {
                // The client may go away in the middle.
                let _ = answer.send(&mut stream);
            });
        }
    });
    server
}

/// Starts a server that has these files, by path, and supports ranges.
pub fn serve_files(files: &[(&str, Vec<u8>)]) -> Server {
    let files: HashMap<String, Vec<u8>> =
        files.iter().map(|(path, body)| ((*path).to_owned(), body.clone())).collect();
    serve(move |seen| match files.get(&seen.path) {
        Some(body) => Answer::ranged(seen, body, "\"1\""),
        None => Answer::status(404),
    })
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut seen = Seen { path, nth: 0, from: None, if_range: None };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                seen.from = value.strip_prefix("bytes=")?.trim_end_matches('-').parse().ok();
            }
            "if-range" => seen.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(seen)
}
