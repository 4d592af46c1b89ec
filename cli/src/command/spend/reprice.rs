//! `spend reprice`: what a past window costs by other prices; written only where that is asked for.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::args::{Gateway, Output};
use crate::client::{Client, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::output::table::{self, Column};
use crate::output::{dollars, number};

/// Price the requests of a past window anew
#[derive(Args, Debug)]
#[command(
    after_help = "Without --write the difference is shown and nothing is changed. Requests that are kept for 90 days can be priced anew; sums
of what is older stay as they are. Budgets keep what they were charged. What was interrupted can be run again: it goes on
as if it had not been, for what is done is not changed twice.

Examples:
  gatewayctl spend reprice --from 2027-01-01 --to 2027-01-31
  gatewayctl spend reprice --from 2027-01-01 --to 2027-01-31 --provider openai --write
  gatewayctl spend reprice --from 2027-01-01 --to 2027-01-31 --revision 41 -o json"
)]
pub(crate) struct Reprice {
    /// The first day, or a moment
    #[arg(long, value_name = "DAY")]
    from: String,
    /// The last day, included; or a moment that is no longer part of it
    #[arg(long, value_name = "DAY")]
    to: String,
    /// Only what this provider served
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only what was asked for by this name
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only what the provider calls this
    #[arg(long, value_name = "NAME")]
    upstream_model: Option<String>,
    /// The prices of this revision of topology [default: those of now]
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Write what comes of it
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

const COLUMNS: [Column; 7] = [
    Column::Number("REQUESTS"),
    Column::Number("CHANGED"),
    Column::Number("KEPT"),
    Column::Number("BEFORE"),
    Column::Number("AFTER"),
    Column::Number("UNPRICED BEFORE"),
    Column::Number("UNPRICED AFTER"),
];

/// What is added up of the pieces of a window.
const SUMS: [&str; 7] = [
    "/requests",
    "/changed",
    "/kept",
    "/before/cost_nano_usd",
    "/after/cost_nano_usd",
    "/before/unpriced_requests",
    "/after/unpriced_requests",
];

pub(super) async fn run(reprice: Reprice) -> Result<Exit, Failure> {
    let client = Client::new(&reprice.gateway)?;
    if reprice.write {
        client.say_target();
    }
    let mut body = reprice.body();
    let mut sums = [0_i64; 7];
    loop {
        let piece = client.post(&path(&["spend", "reprice"]), Some(&Value::Object(body.clone()))).await?;
        add(&mut sums, &piece);
        // All pieces by the same prices, also where somebody changes them meanwhile.
        body.insert("revision".to_owned(), json!(number(&piece, "/revision")));
        match piece["next"].as_str() {
            Some(next) => body.insert("after".to_owned(), json!(next)),
            None => break,
        };
    }
    let told = told(&sums, &reprice, &body["revision"]);
    reprice.output.format.print(&told, |_| table::render(&COLUMNS, [line(&sums)], reprice.output.format.width()))?;
    host::say(match reprice.write {
        true => "written; budgets keep what they were charged",
        false => "nothing was changed; add --write to have it written",
    });
    Ok(Exit::Done)
}

fn add(sums: &mut [i64; 7], piece: &Value) {
    for (sum, pointer) in sums.iter_mut().zip(SUMS) {
        *sum = sum.saturating_add(piece.pointer(pointer).and_then(Value::as_i64).unwrap_or(0));
    }
}

fn told(
    [requests, changed, kept, before, after, unpriced_before, unpriced_after]: &[i64; 7],
    reprice: &Reprice,
    revision: &Value,
) -> Value {
    json!({
        "dry_run": !reprice.write,
        "revision": revision,
        "requests": requests,
        "changed": changed,
        "kept": kept,
        "before": {"cost_nano_usd": before, "unpriced_requests": unpriced_before},
        "after": {"cost_nano_usd": after, "unpriced_requests": unpriced_after},
        "difference_nano_usd": after.saturating_sub(*before),
    })
}

fn line(sums: &[i64; 7]) -> Vec<String> {
    let [requests, changed, kept, before, after, unpriced_before, unpriced_after] = sums;
    let counts = |count: &i64| count.to_string();
    vec![
        counts(requests),
        counts(changed),
        counts(kept),
        dollars(*before),
        dollars(*after),
        counts(unpriced_before),
        counts(unpriced_after),
    ]
}

// === impl Reprice ===

impl Reprice {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("from".to_owned(), json!(self.from));
        body.insert("to".to_owned(), json!(self.to));
        body.insert("dry_run".to_owned(), json!(!self.write));
        for (name, value) in
            [("provider", &self.provider), ("model", &self.model), ("upstream_model", &self.upstream_model)]
        {
            body.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
        }
        body.extend(self.revision.map(|revision| ("revision".to_owned(), json!(revision))));
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_added_up() {
        let piece = |requests: u64, after: i64| {
            json!({"requests": requests, "changed": 1, "kept": 0,
            "before": {"cost_nano_usd": 10, "unpriced_requests": 2}, "after": {"cost_nano_usd": after, "unpriced_requests": 0}})
        };
        let mut sums = [0; 7];
        add(&mut sums, &piece(5, 7));
        add(&mut sums, &piece(4, 1_000_000_000));
        assert_eq!(sums, [9, 2, 0, 20, 1_000_000_007, 4, 0]);
        assert_eq!(line(&sums)[4], "$1.000000007");
    }
}
