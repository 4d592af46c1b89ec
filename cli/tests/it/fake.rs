//! A stand-in for the admin API, for what a real one does only in trouble: it answers what a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{Outcome, World};

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
}

/// Serves until the test ends.
pub(crate) struct Fake {
    pub(crate) world: World,
    pub(crate) url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// A key that passes the checks.
pub(crate) const KEY: &str = "a-master-key-of-the-fake";

// === impl Fake ===

impl Fake {
    /// `answer` gives status and body; `null` is no body.
    pub(crate) fn start(answer: impl Fn(&Call) -> (u16, Value) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let kept = Arc::clone(&calls);
        // Ends with the test's process; it waits for connections that never come.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(call) = stream.ok().and_then(|stream| serve(stream, &answer)) else { continue };
                kept.lock().expect("nobody panics with it").push(call);
            }
        });
        Self { world: World::new(), url, calls }
    }

    pub(crate) fn environment(&self) -> [(&str, &str); 2] {
        [("GATEWAY_ADMIN_URL", &self.url), ("GATEWAY_MASTER_KEY", KEY)]
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.world.run_with(&self.environment(), arguments)
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("nobody panics with it").clone()
    }
}

/// One request per connection. `None` where it broke off.
fn serve(stream: TcpStream, answer: &impl Fn(&Call) -> (u16, Value)) -> Option<Call> {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (method, target) = line.split_once(' ')?;
    let target = target.split(' ').next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorization = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let call = Call {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        authorization,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let (status, body) = answer(&call);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    (&stream).write_all(head.as_bytes()).and_then(|()| (&stream).write_all(body.as_bytes())).ok()?;
    Some(call)
}
