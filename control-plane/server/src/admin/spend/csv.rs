//! Rows of CSV (RFC 4180), and those of `format=csv`.

use super::{Page, figures};

/// What a row of `format=csv` has after the names: pointers into the figures of the JSON form.
const COLUMNS: [(&str, &str); 22] = [
    ("requests", "/requests"),
    ("unpriced_requests", "/unpriced_requests"),
    ("input_tokens", "/tokens/input"),
    ("cache_read_tokens", "/tokens/cache_read"),
    ("cache_write_tokens", "/tokens/cache_write"),
    ("cache_write_1h_tokens", "/tokens/cache_write_1h"),
    ("output_tokens", "/tokens/output"),
    ("reasoning_tokens", "/tokens/reasoning"),
    ("input_audio_tokens", "/tokens/input_audio"),
    ("output_audio_tokens", "/tokens/output_audio"),
    ("input_image_tokens", "/tokens/input_image"),
    ("output_image_tokens", "/tokens/output_image"),
    ("pictures_made", "/units/pictures_made"),
    ("pictures_read", "/units/pictures_read"),
    ("audio_ms", "/units/audio_ms"),
    ("characters", "/units/characters"),
    ("searches", "/units/searches"),
    ("cost_nano_usd", "/cost_nano_usd"),
    ("cost_usd", "/cost_usd"),
    ("currency", ""),
    ("saved_nano_usd", "/saved_nano_usd"),
    ("saved_usd", "/saved_usd"),
];

pub(super) fn write(page: &Page) -> String {
    let mut text = String::new();
    let names: Vec<&str> = page
        .by
        .iter()
        .flat_map(|dimension| match super::word(*dimension) {
            "key" => vec!["key", "key_id"],
            word => vec![word],
        })
        .collect();
    row(&mut text, names.into_iter().chain(COLUMNS.map(|(name, _)| name)));
    for sum in &page.sums {
        let figures = serde_json::Value::Object(figures(&sum.totals));
        let figure = |(_, pointer): (&str, &str)| match figures.pointer(pointer) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(number @ serde_json::Value::Number(_)) => number.to_string(),
            _ => "USD".to_owned(),
        };
        let names = page.names(sum).into_iter().map(|(_, name)| harmless(name));
        row(&mut text, names.chain(COLUMNS.map(figure)));
    }
    text
}

/// One row; fields with commas, quotes or line ends are quoted.
pub(super) fn row<T: AsRef<str>>(text: &mut String, fields: impl Iterator<Item = T>) {
    for (position, field) in fields.enumerate() {
        let field = field.as_ref();
        if position > 0 {
            text.push(',');
        }
        if field.contains([',', '"', '\r', '\n']) {
            text.push('"');
            text.push_str(&field.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(field);
        }
    }
    text.push_str("\r\n");
}

/// Names come from requests, and a spreadsheet would run what looks like a formula: those get a quote before them.
pub(super) fn harmless(name: String) -> String {
    if name.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_formulas_disarmed() {
        let fields = ["a", "b,c", "say \"x\"", "two\nlines", "", "=1+1", "-x"].map(|field| harmless(field.to_owned()));
        let mut text = String::new();
        row(&mut text, fields.iter());
        assert_eq!(text, "a,\"b,c\",\"say \"\"x\"\"\",\"two\nlines\",,'=1+1,'-x\r\n");
    }
}
