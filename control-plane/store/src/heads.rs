//! Where the configuration is: the newest revision of each class, read, locked, compared.

use gateway_model::kind::Class;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Executor, Row};

use crate::db::unsigned;
use crate::error::Error;

/// The newest revision of each class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Lineage of the database: made with it, so that revisions of two databases are never compared.
    pub epoch: String,
    pub topology: u64,
    pub identity: u64,
}

// === impl Heads ===

impl Heads {
    pub fn of(&self, class: Class) -> u64 {
        match class {
            Class::Topology => self.topology,
            Class::Identity => self.identity,
        }
    }

    /// Takes over what was heard of another process or another task, in whatever order that comes. Whether it is news.
    pub(crate) fn advance(&mut self, other: &Self) -> bool {
        if self.epoch != other.epoch {
            self.clone_from(other);
            return true;
        }
        let is_news = other.topology > self.topology || other.identity > self.identity;
        self.topology = self.topology.max(other.topology);
        self.identity = self.identity.max(other.identity);
        is_news
    }

    pub(crate) fn of_mut(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Topology => &mut self.topology,
            Class::Identity => &mut self.identity,
        }
    }
}

/// One statement sees one state, so this needs no transaction.
pub(crate) async fn read_heads<'c>(from: impl Executor<'c, Database = Any>) -> Result<Heads, Error> {
    heads_from(&sqlx::query("SELECT class, epoch, revision FROM config_head").fetch_all(from).await?)
}

/// Locks both classes for this transaction and says where they are. Always topology first: one order, no deadlock.
pub(crate) async fn lock_heads(connection: &mut AnyConnection) -> Result<Heads, Error> {
    let mut rows = Vec::new();
    for class in Class::ALL {
        // An update that changes nothing is the row lock that both engines understand.
        let locked =
            sqlx::query("UPDATE config_head SET revision = revision WHERE class = $1 RETURNING class, epoch, revision");
        rows.push(locked.bind(class.name()).fetch_one(&mut *connection).await?);
    }
    heads_from(&rows)
}

fn heads_from(rows: &[AnyRow]) -> Result<Heads, Error> {
    let mut heads = Heads { epoch: String::new(), topology: 0, identity: 0 };
    for row in rows {
        let name: String = row.try_get("class")?;
        let class = Class::ALL.into_iter().find(|class| class.name() == name);
        let class = class.ok_or_else(|| Error::Unreadable(format!("a class `{name}`")))?;
        *heads.of_mut(class) = unsigned(row, "revision")?;
        heads.epoch = row.try_get("epoch")?;
    }
    Ok(heads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(epoch: &str, topology: u64, identity: u64) -> Heads {
        Heads { epoch: epoch.to_owned(), topology, identity }
    }

    #[test]
    fn news_are_taken_over_in_any_order() {
        for (seen, heard, expected, is_news) in [
            (heads("e", 1, 1), heads("e", 1, 1), heads("e", 1, 1), false),
            (heads("e", 1, 1), heads("e", 2, 1), heads("e", 2, 1), true),
            (heads("e", 2, 1), heads("e", 1, 2), heads("e", 2, 2), true),
            (heads("e", 2, 2), heads("e", 1, 1), heads("e", 2, 2), false),
            (heads("e", 2, 2), heads("f", 1, 1), heads("f", 1, 1), true),
        ] {
            let mut now = seen.clone();
            assert_eq!((now.advance(&heard), now), (is_news, expected), "{seen:?} {heard:?}");
        }
    }
}
