//! Arguments that several commands share. What only one command takes stands with that command.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gateway_model::kind::Kind;

use crate::output::Format;

/// Where a local gateway keeps its data when nothing else is said.
pub(crate) const DATA_DIR: &str = "gateway-data";

/// Which gateway to talk to. What is not said here may be said by the environment; `context` reads that.
#[derive(Args, Debug, Clone)]
pub(crate) struct Gateway {
    /// Saved gateway to talk to, `local` for the one on this machine [env: GATEWAY_CONTEXT]
    #[arg(long, value_name = "NAME", help_heading = "Gateway", conflicts_with_all = ["admin_url", "data_dir"])]
    pub(crate) context: Option<String>,
    /// Admin API of the gateway; its master key is read from GATEWAY_MASTER_KEY [env: GATEWAY_ADMIN_URL]
    #[arg(long, value_name = "URL", help_heading = "Gateway", value_parser = address, conflicts_with = "data_dir")]
    pub(crate) admin_url: Option<String>,
    /// Data directory of the local gateway, which tells its address and master key [env: GATEWAY_DATA_DIR] [default:
    /// ./gateway-data, else the one that was started last]
    #[arg(long, value_name = "DIR", help_heading = "Gateway")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// In which form data is printed.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Form of the output
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORM")]
    pub(crate) format: Format,
}

/// How long a change is followed.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// Return once the change is stored, without waiting for the nodes
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait for the nodes to run the change
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    pub(crate) timeout: Duration,
}

// === impl Wait ===

impl Wait {
    /// The query that asks the admin API for this much waiting.
    pub(crate) fn query(self) -> Vec<(&'static str, String)> {
        if self.no_wait {
            return vec![("wait", "stored".to_owned())];
        }
        vec![("wait", "applied".to_owned()), ("timeout", format!("{}ms", self.timeout.as_millis()))]
    }

    /// The longest time an answer may take because of waiting.
    pub(crate) fn longest(self) -> Duration {
        if self.no_wait { Duration::ZERO } else { self.timeout }
    }
}

/// A kind of resource, in singular or plural.
pub(crate) fn kind(word: &str) -> Result<Kind, String> {
    Kind::parse(word).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.into_iter().map(Kind::plural).collect();
        format!("there is no kind of that name; the kinds are {}", known.join(", "))
    })
}

/// Address of an admin API, without a slash at its end.
pub(crate) fn address(text: &str) -> Result<String, String> {
    const FORM: &str = "write it like https://admin.example.com or http://127.0.0.1:8081";
    let url = reqwest::Url::parse(text).map_err(|error| format!("{error}; {FORM}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials do not belong into an address; the master key is asked for".to_owned());
    }
    let is_root = url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !is_root {
        return Err(FORM.to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// `NAME=VALUE`
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `10s`, `500ms`, `5m`, `2h`, `30d`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(split);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("write a number and a unit: 500ms, 10s, 5m, 2h, 30d".to_owned()),
    };
    let count: u64 = count.parse().map_err(|_| "write a number before the unit: 10s".to_owned())?;
    count.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_need_a_number_and_a_unit() {
        for (text, expected) in [
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("2h", Some(7_200_000)),
            ("30d", Some(2_592_000_000)),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(span(text).ok().map(|span| span.as_millis()), expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_those_of_web_servers_and_carry_no_secret() {
        for (text, expected) in [
            ("https://admin.example.com/", Some("https://admin.example.com")),
            ("http://127.0.0.1:8081", Some("http://127.0.0.1:8081")),
            ("https://example.com/gateway/", Some("https://example.com/gateway")),
            ("admin.example.com", None),
            ("localhost:8081", None),
            ("ftp://example.com", None),
            ("https://user:secret@example.com", None),
            ("https://example.com/?key=secret", None),
        ] {
            let read = address(text);
            assert_eq!(read.as_deref().ok(), expected, "{text}");
            assert!(read.err().is_none_or(|message| !message.contains("secret@")), "{text}");
        }
    }

    #[test]
    fn kinds_are_known_in_both_numbers() {
        assert_eq!(kind("provider"), Ok(Kind::Provider));
        assert_eq!(kind("providers"), Ok(Kind::Provider));
        assert!(kind("provder").is_err_and(|message| message.contains("providers, prices")));
    }
}
