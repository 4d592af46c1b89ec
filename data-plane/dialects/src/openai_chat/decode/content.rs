//! The content of a message: a text, nothing, or parts.

use std::borrow::Cow;

use gateway_ir::chat::{Content, Document, Media, Part, Source};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::tools::cache_mark;
use crate::fields::{self, Fields, Path};
use crate::media;

/// Takes `content`. Absent and null are no parts.
pub(super) fn parts(message: &mut Fields<'_, '_>) -> Result<Vec<Part>, Box<Failure>> {
    let Some(raw) = message.take("content") else { return Ok(Vec::new()) };
    let path = message.path().name("content");
    match raw.get().as_bytes()[0] {
        b'"' => Ok(vec![Part::text(fields::string(raw, &path)?)]),
        b'[' => {
            let list = fields::array(raw, &path)?.into_iter().enumerate();
            list.map(|(index, raw)| part(raw, &path.index(index))).collect()
        }
        _ => Err(path.must_be("a string, an array of parts, or null")),
    }
}

fn part(raw: &RawValue, path: &Path<'_>) -> Result<Part, Box<Failure>> {
    let mut fields = Fields::read(raw, path)?;
    let content = match fields.required_string("type")?.as_ref() {
        "text" | "input_text" | "output_text" => Content::Text(fields.required_string("text")?.into_owned()),
        "image_url" | "input_image" => Content::Image(image(&mut fields)?),
        "input_audio" => Content::Audio(audio(&mut fields)?),
        "file" | "input_file" => Content::Document(file(&mut fields)?),
        "refusal" => Content::Refusal(fields.required_string("refusal")?.into_owned()),
        kind => {
            let (kind, dialect) = (kind.to_owned(), Dialect::OpenAiChat);
            return Ok(Part::new(Content::Opaque { kind, json: raw.to_owned(), dialect }));
        }
    };
    let cache = cache_mark(fields.take("cache_control"));
    Ok(Part { content, cache, extra: fields.into_extra(Dialect::OpenAiChat) })
}

/// `{"image_url": {"url", "detail"}}`, or flat as in the responses API.
fn image(part: &mut Fields<'_, '_>) -> Result<Media, Box<Failure>> {
    let path = part.path().name("image_url");
    let Some(raw) = part.take("image_url") else {
        return match part.string("file_id")? {
            Some(id) => Ok(media::of(Source::FileId(id.into_owned()))),
            None => Err(part.missing("image_url")),
        };
    };
    if raw.get().starts_with('"') {
        let detail = part.string("detail")?.map(Cow::into_owned);
        return Ok(Media { detail, ..media::by_url(&fields::string(raw, &path)?) });
    }
    let mut image = Fields::read(raw, &path)?;
    let detail = image.string("detail")?.map(Cow::into_owned);
    Ok(Media { detail, ..media::by_url(&image.required_string("url")?) })
}

fn audio(part: &mut Fields<'_, '_>) -> Result<Media, Box<Failure>> {
    let path = part.path().name("input_audio");
    let Some(raw) = part.take("input_audio") else { return Err(part.missing("input_audio")) };
    let mut audio = Fields::read(raw, &path)?;
    let data = audio.required_string("data")?.into_owned();
    let format = audio.string("format")?;
    let media_type = format.map(|format| format!("audio/{format}")).unwrap_or_default();
    Ok(Media { media_type, ..media::of(Source::Base64(data)) })
}

/// `{"file": {"file_data" | "file_id", "filename"}}`, or flat as in the responses API.
fn file(part: &mut Fields<'_, '_>) -> Result<Document, Box<Failure>> {
    let path = part.path().name("file");
    match part.take("file") {
        Some(raw) => file_members(&mut Fields::read(raw, &path)?),
        None => file_members(part),
    }
}

fn file_members(file: &mut Fields<'_, '_>) -> Result<Document, Box<Failure>> {
    let title = file.string("filename")?.map(Into::into);
    let media = match (file.string("file_data")?, file.string("file_id")?, file.string("file_url")?) {
        (Some(data), _, _) if data.starts_with("http://") || data.starts_with("https://") => {
            media::of(Source::Url(data.into_owned()))
        }
        (Some(data), _, _) => match media::data_url(&data) {
            Some(media) => media,
            None => media::of(Source::Base64(data.into_owned())),
        },
        (None, Some(id), _) => media::of(Source::FileId(id.into_owned())),
        (None, None, Some(url)) => media::of(Source::Url(url.into_owned())),
        (None, None, None) => return Err(file.missing("file_data")),
    };
    Ok(Document { media, title, context: None, citations: None })
}
