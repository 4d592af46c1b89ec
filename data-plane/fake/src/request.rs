//! What arrived: one HTTP/1.1 request, read plainly from a socket. Strict enough to catch a gateway that frames wrongly,
//! and no more.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

const MAX_HEAD: usize = 256 * 1024;
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which connection carried it, counted from 0: tells whether connections are reused.
    pub connection: usize,
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// In the order sent, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

// === impl Received ===

impl Received {
    /// The first header of that (lower case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; panics with the body's beginning when it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            let start = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]);
            panic!("the request body is not JSON ({error}): {start}")
        })
    }

    /// Whether the JSON body asks for a stream; false where there is no such field.
    pub fn wants_stream(&self) -> bool {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["stream"] == true
    }
}

/// Reads the next request; `None` when the client closed between two requests.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut BytesMut,
    connection: usize,
) -> io::Result<Option<Received>> {
    let head_end = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at;
        }
        if buffer.len() > MAX_HEAD {
            return Err(invalid("the head is too large"));
        }
        if reader.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(invalid("the client left within the head")) };
        }
    };
    let head = buffer.split_to(head_end);
    buffer.advance(4);
    let mut received = parse_head(&head, connection)?;
    received.body = if received.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        read_chunked(reader, buffer).await?
    } else {
        let length = received.header("content-length").map_or(Ok(0), str::parse);
        read_exactly(reader, buffer, length.map_err(|_| invalid("content-length is not a number"))?).await?
    };
    Ok(Some(received))
}

fn parse_head(head: &[u8], connection: usize) -> io::Result<Received> {
    let text = std::str::from_utf8(head).map_err(|_| invalid("the head is not UTF-8"))?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1")) = (first.next(), first.next(), first.next()) else {
        return Err(invalid("the request line is not HTTP/1.1"));
    };
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header has no colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Received { connection, method: method.to_owned(), target: target.to_owned(), headers, body: Bytes::new() })
}

async fn read_exactly<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut BytesMut, length: usize) -> io::Result<Bytes> {
    if length > MAX_BODY {
        return Err(invalid("the body is too large"));
    }
    while buffer.len() < length {
        if reader.read_buf(buffer).await? == 0 {
            return Err(invalid("the client left within the body"));
        }
    }
    Ok(buffer.split_to(length).freeze())
}

async fn read_chunked<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut BytesMut) -> io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let line_end = loop {
            if let Some(at) = find(buffer, b"\r\n") {
                break at;
            }
            if reader.read_buf(buffer).await? == 0 {
                return Err(invalid("the client left within a chunked body"));
            }
        };
        let line = buffer.split_to(line_end);
        buffer.advance(2);
        let digits = line[..].split(|&byte| byte == b';').next().unwrap_or_default();
        let length = std::str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let length = length.ok_or_else(|| invalid("a chunk size is not hexadecimal"))?;
        let chunk = read_exactly(reader, buffer, length + 2).await?;
        if !chunk.ends_with(b"\r\n") {
            return Err(invalid("a chunk does not end with CRLF"));
        }
        if length == 0 {
            return Ok(body.freeze());
        }
        body.extend_from_slice(&chunk[..length]);
        if body.len() > MAX_BODY {
            return Err(invalid("the body is too large"));
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(wire: &str, expected: Result<Option<(&str, &str)>, &str>) {
        let mut buffer = BytesMut::new();
        let got = read(&mut wire.as_bytes(), &mut buffer, 0).await;
        let got = got.map(|found| found.map(|r| (r.target.clone(), String::from_utf8_lossy(&r.body).into_owned())));
        match (got, expected) {
            (Ok(got), Ok(expected)) => {
                assert_eq!(got.as_ref().map(|(target, body)| (target.as_str(), body.as_str())), expected, "{wire:?}");
            }
            (Err(got), Err(expected)) => assert_eq!(got.to_string(), expected, "{wire:?}"),
            (got, expected) => panic!("{wire:?}: got {got:?}, expected {expected:?}"),
        }
    }

    #[tokio::test]
    async fn reads_requests() {
        check("", Ok(None)).await;
        check("GET /a?b HTTP/1.1\r\nhost: x\r\n\r\n", Ok(Some(("/a?b", "")))).await;
        check("POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET", Ok(Some(("/a", "abc")))).await;
        let chunked = "POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n";
        check(chunked, Ok(Some(("/a", "abc")))).await;
        check("POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nab", Err("the client left within the body")).await;
        check("POST /a HTTP/1.0\r\n\r\n", Err("the request line is not HTTP/1.1")).await;
        check("GET /a HTTP/1.1\r\nbroken\r\n\r\n", Err("a header has no colon")).await;
    }
}
