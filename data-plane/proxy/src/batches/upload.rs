//! `POST /v1/files` for the gateway itself: a form whose file goes to the disk as it comes, and no more of it into memory than one
//! piece.

use bytes::Bytes;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::multipart::{Part, Parts, boundary};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::object::File;
use super::store::{Batches, KEPT, lost, new_file_id};
use crate::{clock, receive};

/// Of one file, <https://platform.openai.com/docs/guides/batch>.
const MAX_FILE: u64 = 200 * 1024 * 1024;
/// Of a field that is no file, and of a file's name.
const MAX_VALUE: usize = 512;

/// What has come of a form.
#[derive(Default)]
struct Form {
    part: Which,
    purpose: Vec<u8>,
    filename: Option<String>,
    /// Of the file, not written yet.
    pending: Vec<u8>,
    n_bytes: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Which {
    Purpose,
    File,
    #[default]
    Other,
}

/// Takes a file from a client; what does not come whole leaves nothing behind.
pub(super) async fn take(
    batches: &Batches,
    owner: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<File, Box<Failure>> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Some(boundary) = boundary(kind) else {
        let message = "a file is sent as multipart/form-data, with the parts `purpose` and `file`";
        return Err(Box::new(Failure::new(Code::UnsupportedMediaType, message)));
    };
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| *coding != "identity") {
        let message = "a file of a batch may not be sent compressed";
        return Err(Box::new(Failure::new(Code::UnsupportedMediaType, message)));
    }
    // What stands around the file in the form is small.
    if receive::announced(headers).is_some_and(|length| length > MAX_FILE + 1024 * 1024) {
        return Err(too_large());
    }
    let (id, mut parts) = (new_file_id(), Parts::new(boundary?));
    let mut taken = Taken { batches, id: &id, n_bytes: 0, is_whole: false };
    let mut form = Form::default();
    let written = taken.write(&mut form, &mut parts, body).await?;
    let purpose = String::from_utf8_lossy(&form.purpose);
    if purpose != "batch" {
        let message = format!("the gateway keeps files of batches only: `purpose` must be `batch`, not `{purpose}`");
        return Err(Box::new(Failure::invalid(message).at("purpose")));
    }
    let Some(filename) = form.filename else {
        return Err(Box::new(Failure::invalid("the form has no part `file`").at("file")));
    };
    written.sync_all().await.map_err(|error| lost(&error))?;
    let now = clock::unix_seconds();
    let file = File {
        id: id.clone(),
        owner: owner.to_owned(),
        filename,
        purpose: "batch".to_owned(),
        bytes: form.n_bytes,
        created_at: now,
        expires_at: now + KEPT,
    };
    batches.add_file(file.clone()).await?;
    taken.is_whole = true;
    Ok(file)
}

/// Bytes on the disk that belong to nobody yet; dropped before the file is whole, they go.
struct Taken<'a> {
    batches: &'a Batches,
    id: &'a str,
    n_bytes: u64,
    is_whole: bool,
}

// === impl Taken ===

impl Taken<'_> {
    async fn write(
        &mut self,
        form: &mut Form,
        parts: &mut Parts,
        mut body: Incoming,
    ) -> Result<tokio::fs::File, Box<Failure>> {
        let mut options = tokio::fs::OpenOptions::new();
        options.create_new(true).write(true).mode(0o600);
        let mut file = options.open(self.batches.content(self.id)).await.map_err(|error| lost(&error))?;
        let (began, mut n_read) = (Instant::now(), 0);
        while let Some(piece) = receive::next(&mut body, began, n_read).await? {
            n_read += piece.len();
            form.push(parts, &piece)?;
            let n_pending = form.pending.len() as u64;
            self.batches.take(n_pending)?;
            self.n_bytes += n_pending;
            file.write_all(&form.pending).await.map_err(|error| lost(&error))?;
            form.pending.clear();
        }
        parts.finish()?;
        file.flush().await.map_err(|error| lost(&error))?;
        Ok(file)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            self.batches.free(self.n_bytes);
            let _ = std::fs::remove_file(self.batches.content(self.id));
        }
    }
}

// === impl Form ===

impl Form {
    fn push(&mut self, parts: &mut Parts, piece: &Bytes) -> Result<(), Box<Failure>> {
        parts.push(piece, |part| match part {
            Part::Begins { name, filename } => self.begin(&name, filename),
            Part::Value(value) => self.value(value),
        })
    }

    fn begin(&mut self, name: &str, filename: Option<String>) -> Result<(), Box<Failure>> {
        self.part = match name {
            "purpose" if self.purpose.is_empty() => Which::Purpose,
            "file" if self.filename.is_none() => {
                let filename = filename.unwrap_or_default();
                self.filename = Some(filename.chars().filter(|c| !c.is_control()).take(MAX_VALUE).collect());
                Which::File
            }
            "purpose" | "file" => {
                return Err(Box::new(Failure::invalid(format!("the form has two parts `{name}`"))));
            }
            _ => Which::Other,
        };
        Ok(())
    }

    fn value(&mut self, value: &[u8]) -> Result<(), Box<Failure>> {
        match self.part {
            Which::Other => {}
            Which::Purpose if self.purpose.len() + value.len() > MAX_VALUE => {
                return Err(Box::new(Failure::invalid("`purpose` is too long").at("purpose")));
            }
            Which::Purpose => self.purpose.extend_from_slice(value),
            Which::File => {
                self.n_bytes += value.len() as u64;
                if self.n_bytes > MAX_FILE {
                    return Err(too_large());
                }
                self.pending.extend_from_slice(value);
            }
        }
        Ok(())
    }
}

fn too_large() -> Box<Failure> {
    let message = format!("the file is larger than the {MAX_FILE} bytes allowed for a batch");
    Box::new(Failure::new(Code::BodyTooLarge, message).at("file"))
}
