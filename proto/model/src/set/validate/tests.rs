//! What the tests of the kinds share.

use std::path::Path;

use crate::file;

/// The paths of all errors in a configuration with one provider `p`.
pub(super) fn check(yaml: &str, expected: &[&str]) {
    let yaml = format!("providers: [{{name: p, kind: openai, api_key: k}}]\n{yaml}");
    let no_file = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    let problems = match file::parse("test.yaml", &yaml, &|_| None, &no_file) {
        Ok(parsed) => parsed.set.validate(),
        Err(problems) => problems,
    };
    let paths: Vec<&str> =
        problems.iter().filter(|problem| problem.is_error()).map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, expected, "{yaml}{problems:?}");
}
