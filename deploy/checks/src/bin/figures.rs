//! Prints the figures of a test run and fails if one breaks its limit: `figures FILE SINCE`, the latter in Unix seconds.

use std::process::ExitCode;

use gateway_checks::figures::{Figure, read, table};

fn main() -> ExitCode {
    match figures() {
        Ok(figures) => {
            print!("{}", table(&figures));
            if figures.iter().any(Figure::is_broken) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn figures() -> Result<Vec<Figure>, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, since] = arguments.as_slice() else { return Err("usage: figures FILE SINCE".to_owned()) };
    let since = since.parse().map_err(|_| format!("`{since}` is not a number of seconds"))?;
    let lines = std::fs::read_to_string(file).map_err(|error| format!("cannot read `{file}`: {error}"))?;
    read(&lines, since).map_err(|error| format!("`{file}`, {error}"))
}
