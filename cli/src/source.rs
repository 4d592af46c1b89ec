//! A `gateway.yaml` as a command takes it: read, checked on its own, and turned into what the admin API accepts.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use gateway_model::file::{self, Index};
use gateway_model::problem::Problem;
use gateway_model::set::Set;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::host;

/// The file, and the name under which the gateway remembers what came from it.
#[derive(Args, Debug, Clone)]
pub(crate) struct FileArgs {
    /// The configuration file; `-` reads stdin
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Name of the owner of what the file holds, which `--prune` goes by [default: the file's own name]
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
}

/// A file that reads well on its own.
pub(crate) struct Source {
    /// Shown in messages.
    pub(crate) file_name: String,
    /// Owner of its resources.
    pub(crate) owner: String,
    pub(crate) set: Set,
    pub(crate) index: Index,
}

/// Reads a file that is to be applied. What it refers to may be in the gateway already, so that the gateway does the rest of
/// the checking.
pub(crate) fn load(arguments: &FileArgs) -> Result<Source, Failure> {
    read(arguments, file::decode)
}

/// Reads a file that must be right on its own. Its warnings are said.
pub(crate) fn load_alone(arguments: &FileArgs) -> Result<Source, Failure> {
    read(arguments, file::parse)
}

/// One of the model's readers of a file.
type Reader = fn(&str, &str, file::Env<'_>, file::Read<'_>) -> Result<file::Parsed, Vec<Problem>>;

/// Errors carry file, line and column.
fn read(arguments: &FileArgs, reader: Reader) -> Result<Source, Failure> {
    let is_stdin = arguments.file == Path::new("-");
    let text = host::read(&arguments.file)?;
    let file_name = if is_stdin { "stdin".to_owned() } else { arguments.file.display().to_string() };
    let parsed = reader(&file_name, &text, &host::variable, &|path| read_beside(&arguments.file, path))
        .map_err(|problems| Failure::problems(format!("`{file_name}` is refused"), problems))?;
    for warning in &parsed.warnings {
        host::say(&warning.to_string());
    }
    let own = arguments.file.file_name().map(|name| name.to_string_lossy().into_owned());
    let owner = arguments.source.clone().or(own.filter(|_| !is_stdin)).unwrap_or_else(|| "stdin".to_owned());
    Ok(Source { file_name, owner, set: parsed.set, index: parsed.index })
}

/// Body of `POST /admin/apply`. Secrets are in it; it is sent, never shown. A file without settings leaves them alone.
pub(crate) fn request(source: &Source, prune: bool) -> Value {
    let resources = source.set.resources();
    let resources =
        resources.iter().map(|resource| json!({"kind": resource.kind(), "spec": resource.to_document_with_secrets()}));
    json!({"source": source.owner, "prune": prune, "resources": resources.collect::<Vec<_>>()})
}

/// `${file:…}`: paths are taken from the file's own directory.
fn read_beside(file: &Path, path: &Path) -> io::Result<String> {
    std::fs::read_to_string(file.parent().unwrap_or(Path::new("")).join(path))
}
