//! Media as parts: inline bytes, or a reference with the type that its name tells.

use gateway_ir::chat::{Media, Source};

use crate::writer::Object;

/// What a file's ending says it is.
const TYPES: [(&str, &str); 22] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("bmp", "image/bmp"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("md", "text/markdown"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("aac", "audio/aac"),
    ("mp4", "video/mp4"),
    ("mov", "video/mov"),
    ("webm", "video/webm"),
    ("mpeg", "video/mpeg"),
];

/// Writes the members of one part. `fallback` is the type where nothing tells it.
pub(super) fn write(media: &Media, fallback: &str, part: &mut Object<'_>) {
    let said = Some(media.media_type.as_str()).filter(|said| !said.is_empty());
    match &media.source {
        Source::Text(text) => part.string("text", text),
        Source::Base64(data) => part.object("inlineData", |inline| {
            inline.string("mimeType", said.unwrap_or(fallback));
            inline.string("data", data);
        }),
        Source::Url(uri) | Source::FileId(uri) => part.object("fileData", |file| {
            if let Some(kind) = said.or_else(|| by_ending(uri)) {
                file.string("mimeType", kind);
            }
            file.string("fileUri", uri);
        }),
    }
}

fn by_ending(uri: &str) -> Option<&'static str> {
    let path = uri.split(['?', '#']).next()?;
    let ending = path.rsplit_once('/')?.1.rsplit_once('.')?.1.to_ascii_lowercase();
    TYPES.iter().find(|(known, _)| *known == ending).map(|(_, kind)| *kind)
}
