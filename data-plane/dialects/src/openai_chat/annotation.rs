//! Citations as this dialect says them: `annotations` on the message, with positions in its text.

use std::borrow::Cow;
use std::ops::Range;

use gateway_ir::event::CitationKind;
use gateway_ir::fold::Block;
use serde_json::value::RawValue;

use crate::reading::{members_of, text};
use crate::writer::{Array, Object};

/// Writes the member `annotations`, which every whole reply has.
pub(super) fn write_all(blocks: &[Block], message: &mut Object<'_>) {
    message.array("annotations", |array| {
        let mut n_chars = 0;
        for block in blocks {
            if let Block::Text { text, citations } = block {
                let from = n_chars;
                n_chars += text.chars().count() as u64;
                for (kind, json) in citations {
                    write(*kind, json, from..n_chars, array);
                }
            }
        }
    });
}

/// Whether this dialect has a word for a citation: a foreign one must have a URL.
pub(super) fn is_sayable(kind: CitationKind, json: &RawValue) -> bool {
    kind == CitationKind::OpenAi || source(json).is_some()
}

/// Writes one citation, if it is sayable. `range` is the text it stands on, in characters.
pub(super) fn write(kind: CitationKind, json: &RawValue, range: Range<u64>, array: &mut Array<'_>) {
    if kind == CitationKind::OpenAi {
        array.raw(json.get());
        return;
    }
    let Some((url, title)) = source(json) else { return };
    array.object(|annotation| {
        annotation.string("type", "url_citation");
        annotation.object("url_citation", |citation| {
            citation.unsigned("start_index", range.start);
            citation.unsigned("end_index", range.end);
            citation.string("url", &url);
            citation.string("title", title.as_deref().unwrap_or(&url));
        });
    });
}

/// URL and title of a foreign citation.
fn source(json: &RawValue) -> Option<(Cow<'_, str>, Option<Cow<'_, str>>)> {
    let (mut url, mut title) = (None, None);
    members_of(json, |name, value| match name {
        "url" => url = text(value),
        "title" => title = text(value),
        _ => {}
    });
    url.map(|url| (url, title))
}
