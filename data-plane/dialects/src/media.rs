//! References to media as OpenAI's dialects write them: a URL, or the bytes in a `data:` URL.

use gateway_ir::chat::{Media, Source};

pub(crate) fn by_url(url: &str) -> Media {
    data_url(url).unwrap_or_else(|| of(Source::Url(url.to_owned())))
}

/// `data:image/png;base64,…`. `None` for anything else, other encodings included.
pub(crate) fn data_url(url: &str) -> Option<Media> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    let media_type = media_type.split(';').next().unwrap_or_default().to_owned();
    Some(Media { media_type, ..of(Source::Base64(data.to_owned())) })
}

/// Of unknown type.
pub(crate) fn of(source: Source) -> Media {
    Media { source, media_type: String::new(), detail: None }
}
