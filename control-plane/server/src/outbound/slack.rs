//! What Slack makes of text, <https://api.slack.com/reference/surfaces/formatting#escaping>.

/// Of a name that people chose.
const MAX_CHARS: usize = 200;

/// Names are people's: nobody is called, nothing becomes a link, and a name is one line.
pub(crate) fn plain(name: &str) -> String {
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(MAX_CHARS).collect();
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_only_a_name() {
        assert_eq!(
            plain("<!channel> & <https://a.example|co>\nx"),
            "&lt;!channel&gt; &amp; &lt;https://a.example|co&gt;x"
        );
        assert_eq!(plain(&"é".repeat(1000)).chars().count(), MAX_CHARS);
    }
}
