//! Arguments that several commands share. What only one command takes stands with that command.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gateway_model::kind::Kind;

use crate::host::variable;
use crate::output::Format;

/// Where a local gateway keeps its data when nothing else is said.
pub(crate) const DATA_DIR: &str = "gateway-data";

/// Which gateway to talk to.
#[derive(Args, Debug, Clone)]
pub(crate) struct Gateway {
    /// Admin API of the gateway; its master key is read from GATEWAY_MASTER_KEY [default: the local gateway]
    #[arg(long, env = variable::ADMIN_URL, hide_env_values = true, value_name = "URL", help_heading = "Gateway")]
    pub(crate) admin_url: Option<String>,
    /// Data directory of the local gateway, which tells its address and master key [default: ./gateway-data, else the one
    /// that was started last]
    #[arg(long, env = variable::DATA_DIR, hide_env_values = true, value_name = "DIR", help_heading = "Gateway")]
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
            return Vec::new();
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
    fn kinds_are_known_in_both_numbers() {
        assert_eq!(kind("provider"), Ok(Kind::Provider));
        assert_eq!(kind("providers"), Ok(Kind::Provider));
        assert!(kind("provder").is_err_and(|message| message.contains("providers, prices")));
    }
}
