//! What is worked out beside serving, because it takes as long as many requests: the hashes of everything that a class holds.

use std::collections::VecDeque;

use gateway_wire::tree::Tree;
use gateway_wire::v1::{Class, Item};
use tokio::task::JoinHandle;

/// Something that was restored, with its hashes.
pub(in crate::sync) struct Counted {
    pub(super) class: Class,
    pub(super) epoch: String,
    pub(super) revision: u64,
    pub(super) tree: Tree,
    pub(super) topology: Vec<Item>,
}

/// Identity as it really serves.
pub(in crate::sync) struct Stock {
    pub(super) epoch: String,
    pub(super) revision: u64,
    pub(super) items: Vec<Item>,
    pub(super) tree: Tree,
}

/// With the root known, so that nobody waits for it later.
pub(super) fn hashed(items: &[Item]) -> Tree {
    let mut tree = Tree::of(items);
    tree.root();
    tree
}

/// The first of those that run, once it is done; never where none runs. `None` where it failed.
pub(super) async fn next(counting: &mut VecDeque<JoinHandle<Counted>>) -> Option<Counted> {
    let Some(running) = counting.front_mut() else { return std::future::pending().await };
    let counted = running.await;
    counting.pop_front();
    counted.ok()
}

/// `None` where it failed.
pub(super) async fn joined(stocktaking: &mut Option<JoinHandle<Stock>>) -> Option<Stock> {
    let Some(running) = stocktaking else { return std::future::pending().await };
    let stock = running.await;
    *stocktaking = None;
    stock.ok()
}
