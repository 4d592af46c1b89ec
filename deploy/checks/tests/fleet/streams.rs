//! Streams that stand open while something bad happens.

use std::net::SocketAddr;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::http::Connection;
use crate::upstream::Question;

/// Open streams, each read by a task of its own.
#[derive(Debug)]
pub(crate) struct Streams {
    readers: Vec<JoinHandle<Result<String, String>>>,
}

// === impl Streams ===

impl Streams {
    /// Opens `n` streams; returns when each has brought its first word.
    pub(crate) async fn open(addr: SocketAddr, key: &str, n: usize, question: Question) -> Self {
        let mut begun = Vec::new();
        for _ in 0..n {
            let key = key.to_owned();
            begun.push(tokio::spawn(async move { begin(addr, &key, question).await }));
        }
        let mut readers = Vec::new();
        for stream in begun {
            let (connection, got, body) = stream.await.expect("no panic").expect("a stream that begins");
            readers.push(tokio::spawn(rest(connection, got, body)));
        }
        Self { readers }
    }

    /// Waits for the end of all; what was wrong with those that did not end in order, with all their words.
    pub(crate) async fn cut(self, n_words: usize) -> Vec<String> {
        let mut cut = Vec::new();
        for reader in self.readers {
            match reader.await.expect("no panic") {
                Err(what) => cut.push(what),
                Ok(got) => {
                    let missing = (0..n_words).find(|index| !got.contains(&format!("word{index}")));
                    if missing.is_some() || !got.contains("data: [DONE]") {
                        cut.push(format!("ended early (word {missing:?} is missing): {got}"));
                    }
                }
            }
        }
        cut
    }
}

async fn begin(addr: SocketAddr, key: &str, question: Question) -> Result<(Connection, String, Incoming), String> {
    let mut connection = Connection::open(addr).await?;
    let reply = connection.begin("POST", "/v1/chat/completions", key, question.body()).await?;
    let status = reply.status().as_u16();
    let (mut body, mut got) = (reply.into_body(), String::new());
    if status != 200 {
        let text = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        return Err(format!("{status}: {}", String::from_utf8_lossy(&text)));
    }
    while !got.contains("word0") {
        got.push_str(&piece(&mut body).await?.ok_or_else(|| format!("ended before the first word: {got}"))?);
    }
    Ok((connection, got, body))
}

/// Holds the connection until the stream is over.
async fn rest(_connection: Connection, mut got: String, mut body: Incoming) -> Result<String, String> {
    while let Some(piece) = piece(&mut body).await? {
        got.push_str(&piece);
    }
    Ok(got)
}

async fn piece(body: &mut Incoming) -> Result<Option<String>, String> {
    let frame = timeout(crate::PATIENCE, body.frame()).await.map_err(|_| "silence".to_owned())?;
    let Some(frame) = frame.transpose().map_err(|error| format!("broken off: {error}"))? else { return Ok(None) };
    Ok(Some(String::from_utf8_lossy(frame.data_ref().map_or(&[], |data| data)).into_owned()))
}
