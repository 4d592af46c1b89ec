//! `probe`: one request to a health address, for health checks in images that hold nothing but this program.

use std::time::Duration;

use clap::Args;

use crate::args;
use crate::exit::{Exit, Failure};
use crate::host;

/// Of an answer that is shown.
const MAX_SHOWN: usize = 500;

/// Ask a health address, for health checks where there is no other client
#[derive(Args, Debug)]
#[command(
    after_help = "Needs no key and follows no redirect. Exits with 0 if the answer is 200, with 1 if it is another one, with 3 \
    if there is none.

Examples:
  gatewayctl probe http://127.0.0.1:8080/ready
  gatewayctl probe http://127.0.0.1:8081/ready --timeout 1s"
)]
pub(crate) struct Probe {
    /// Address of a node or a control plane: /ready tells whether it can do its work, /health whether it lives
    url: String,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = args::span)]
    timeout: Duration,
}

pub(crate) async fn run(probe: Probe) -> Result<Exit, Failure> {
    let client =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(probe.timeout);
    let url = probe.url;
    let unreachable = |error: reqwest::Error| {
        let why = if error.is_timeout() { "no answer in time".to_owned() } else { root_cause(&error) };
        Failure::new(Exit::Unreachable, format!("cannot ask {url}: {why}"))
    };
    let client = client.build().map_err(unreachable)?;
    let answer = client.get(&url).send().await.map_err(unreachable)?;
    let status = answer.status().as_u16();
    let text: String = answer.text().await.map_err(unreachable)?.chars().take(MAX_SHOWN).collect();
    if status != 200 {
        return Err(Failure::new(Exit::Refused, format!("{url} answers {status}: {}", text.trim())));
    }
    host::print(&format!("{}\n", text.trim()))?;
    Ok(Exit::Done)
}

/// What lies below the client's own words, which only say that something failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
