//! `schema`: the JSON Schema of the configuration file, for editors and checkers.

use crate::exit::{Exit, Failure};
use crate::{host, output};

/// Print the JSON Schema of the configuration file
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  gatewayctl schema > gateway.schema.json

An editor with a YAML language server completes and checks the file when its first line is
  # yaml-language-server: $schema=./gateway.schema.json")]
pub(crate) struct Schema {}

pub(crate) fn run(Schema {}: Schema) -> Result<Exit, Failure> {
    host::print(&output::json(&gateway_model::schema::schema()))?;
    Ok(Exit::Done)
}
