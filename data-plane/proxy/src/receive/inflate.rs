//! Compressed request bodies, for clients that insist (`settings.server.compressed_bodies`): undone as they come, and no more of
//! them than a plain body may have.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use gateway_ir::failure::{Code, Failure};
use zstd::stream::write::Decoder as ZstdDecoder;

/// A body on its way from the client to what it says.
pub(super) struct Inflate {
    decoder: Decoder,
}

enum Decoder {
    Gzip(Box<MultiGzDecoder<Sink>>),
    Zstd(Box<ZstdDecoder<'static, Sink>>),
}

/// What has been undone so far.
struct Sink {
    plain: Vec<u8>,
    limit: u64,
    n_compressed: u64,
    /// Why no more was taken.
    fault: Option<Box<Failure>>,
}

/// A body that is this many times what was sent, past [`FREE`] bytes, is made to take up memory: text compresses to a tenth.
const MAX_RATIO: u64 = 100;
const FREE: u64 = 1024 * 1024;
/// 8 MiB: what RFC 9659 asks of those who take `zstd` on the web.
const MAX_WINDOW_LOG: u32 = 23;

// === impl Inflate ===

impl Inflate {
    /// `None` for a coding that is not known here. `limit` is in plain bytes.
    pub(super) fn new(coding: &str, limit: u64) -> Option<Self> {
        let sink = Sink { plain: Vec::new(), limit, n_compressed: 0, fault: None };
        let decoder = match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Decoder::Gzip(Box::new(MultiGzDecoder::new(sink))),
            "zstd" => {
                let mut decoder = ZstdDecoder::new(sink).ok()?;
                decoder.window_log_max(MAX_WINDOW_LOG).ok()?;
                Decoder::Zstd(Box::new(decoder))
            }
            _ => return None,
        };
        Some(Self { decoder })
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Box<Failure>> {
        self.sink().n_compressed += piece.len() as u64;
        let written = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.write_all(piece),
            Decoder::Zstd(decoder) => decoder.write_all(piece),
        };
        written.map_err(|_| self.fault())
    }

    /// The plain body. One that breaks off is an error.
    pub(super) fn finish(mut self) -> Result<Bytes, Box<Failure>> {
        let finished = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Zstd(decoder) => decoder.flush(),
        };
        finished.map_err(|_| self.fault())?;
        Ok(std::mem::take(&mut self.sink().plain).into())
    }

    fn sink(&mut self) -> &mut Sink {
        match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
        }
    }

    fn fault(&mut self) -> Box<Failure> {
        let broken = || Box::new(Failure::invalid("the body is not what its content-encoding says, or breaks off"));
        self.sink().fault.take().unwrap_or_else(broken)
    }
}

// === impl Sink ===

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_plain = (self.plain.len() + bytes.len()) as u64;
        if n_plain > self.limit {
            self.fault = Some(super::too_large(self.limit));
        } else if n_plain > FREE && n_plain / MAX_RATIO > self.n_compressed {
            let message = format!("the compressed body grows to more than {MAX_RATIO} times its size; send it plain");
            self.fault = Some(Box::new(Failure::new(Code::BodyTooLarge, message)));
        }
        if self.fault.is_some() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.plain.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Coding, body, limit, and what becomes of it.
    type Case<'a> = (&'a str, Vec<u8>, u64, Result<&'a [u8], u16>);

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).expect("written");
        encoder.finish().expect("compressed")
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        zstd::encode_all(plain, 3).expect("compressed")
    }

    fn undone(coding: &str, compressed: &[u8], step: usize, limit: u64) -> Result<Bytes, u16> {
        let mut inflate = Inflate::new(coding, limit).expect("a known coding");
        let pushed = compressed.chunks(step).try_for_each(|piece| inflate.push(piece));
        pushed.and_then(|()| inflate.finish()).map_err(|failure| failure.status)
    }

    #[test]
    fn bodies_are_undone_within_bounds() {
        let text = "{\"model\":\"m\",\"input\":\"grüße\"}".repeat(20);
        let zeros = vec![0; 4_000_000];
        let half = |body: Vec<u8>| body[..body.len() / 2].to_vec();
        let cases: [Case<'_>; 9] = [
            ("gzip", gzip(text.as_bytes()), 1000, Ok(text.as_bytes())),
            ("GZIP", [gzip(b"one "), gzip(b"two")].concat(), 1000, Ok(b"one two")),
            ("zstd", zstd(text.as_bytes()), 1000, Ok(text.as_bytes())),
            ("gzip", gzip(text.as_bytes()), 100, Err(413)),
            ("zstd", zstd(text.as_bytes()), 100, Err(413)),
            ("gzip", gzip(&zeros), 1 << 30, Err(413)),
            ("zstd", zstd(&zeros), 1 << 30, Err(413)),
            ("gzip", half(gzip(text.as_bytes())), 1000, Err(400)),
            ("zstd", b"no such thing".to_vec(), 1000, Err(400)),
        ];
        for (coding, compressed, limit, expected) in cases {
            for step in [1, 7, usize::MAX] {
                let found = undone(coding, &compressed, step, limit);
                assert_eq!(found.as_deref(), expected.as_ref().copied(), "{coding} in steps of {step}");
            }
        }
        assert!(Inflate::new("br", 1).is_none());
    }
}
