//! What the tests of this crate share: configurations from text, callers, targets.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use gateway_model::file;
use gateway_model::set::Set;

use crate::compile::compile;
use crate::identity::{Caller, KeyEntry, KeyTable, Peppers, identify};
use crate::snapshot::Snapshot;

/// Two providers, the least that most tests need.
pub(crate) const PROVIDERS: &str = "
providers:
  - {name: openai, kind: openai, api_key: k}
  - {name: claude, kind: anthropic, api_key: k}
";

/// A configuration that must be valid.
pub(crate) fn parsed(yaml: &str) -> Set {
    let no_file = |_: &Path| Err(ErrorKind::NotFound.into());
    file::parse("test.yaml", yaml, &|_| None, &no_file).unwrap_or_else(|problems| panic!("{problems:?}")).set
}

pub(crate) fn snapshot(yaml: &str) -> Snapshot {
    compile(&parsed(yaml), 1).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A key that may use models of these patterns.
pub(crate) fn caller(models: &[&str]) -> Arc<Caller> {
    let peppers = Peppers::new([(1, "pepper")]).expect("not empty");
    let keys = KeyTable::default();
    let (_, digest) = peppers.digest("secret").expect("a pepper");
    let models = models.iter().map(|pattern| (*pattern).to_owned()).collect();
    let entry = KeyEntry { id: "vk_1".into(), digest, models, enabled: true, ..KeyEntry::default() };
    keys.upsert(&entry);
    identify("secret", &keys, &peppers, 0).expect("a known key")
}
