//! A provider's several keys, and whose turn it is.

use std::sync::Arc;

use super::{Provider, Turns};

/// Stands between a provider's name and that of one of its keys; in no name of either.
const MARK: char = '#';

/// A provider with each of its keys as the only one. Those that weigh nothing come last and have no turn, unless none weighs
/// anything.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) each: Box<[Arc<Provider>]>,
    pub(crate) turns: Turns,
}

/// `openai#main`
pub(crate) fn account(provider: &str, key: &str) -> Arc<str> {
    format!("{provider}{MARK}{key}").into()
}

/// The provider, and its key where one is named.
pub(crate) fn of_account(account: &str) -> (&str, Option<&str>) {
    account.split_once(MARK).map_or((account, None), |(provider, key)| (provider, Some(key)))
}
