//! Brings a database to this version's schema, forward only. The steps are the files of `/migrations`.

use sqlx::Row;

use crate::db::{Db, Engine};
use crate::error::Error;

/// A step as each engine is told it.
struct Step {
    sqlite: &'static str,
    postgres: &'static str,
}

/// Step `n` is at position `n - 1`.
const STEPS: &[Step] = &[
    Step::of_both(include_str!("../../../migrations/0001_first.sql")),
    Step::of_both(include_str!("../../../migrations/0002_membership.sql")),
    Step::of_both(include_str!("../../../migrations/0003_leases.sql")),
    Step {
        sqlite: include_str!("../../../migrations/0004_arrival.sqlite.sql"),
        postgres: include_str!("../../../migrations/0004_arrival.postgres.sql"),
    },
    Step::of_both(include_str!("../../../migrations/0005_units.sql")),
    Step::of_both(include_str!("../../../migrations/0006_budgets.sql")),
    Step::of_both(include_str!("../../../migrations/0007_spend.sql")),
    Step::of_both(include_str!("../../../migrations/0008_sessions.sql")),
    Step::of_both(include_str!("../../../migrations/0009_people.sql")),
    Step::of_both(include_str!("../../../migrations/0010_alerts.sql")),
    Step::of_both(include_str!("../../../migrations/0011_price.sql")),
    Step::of_both(include_str!("../../../migrations/0012_tier.sql")),
    Step::of_both(include_str!("../../../migrations/0013_session_role.sql")),
    Step::of_both(include_str!("../../../migrations/0014_exports.sql")),
    Step {
        sqlite: include_str!("../../../migrations/0015_log_body.sqlite.sql"),
        postgres: include_str!("../../../migrations/0015_log_body.postgres.sql"),
    },
    Step {
        sqlite: include_str!("../../../migrations/0016_search.sqlite.sql"),
        postgres: include_str!("../../../migrations/0016_search.postgres.sql"),
    },
    Step {
        sqlite: include_str!("../../../migrations/0017_log_session.sqlite.sql"),
        postgres: include_str!("../../../migrations/0017_log_session.postgres.sql"),
    },
    Step::of_both(include_str!("../../../migrations/0018_saved.sql")),
    Step::of_both(include_str!("../../../migrations/0019_unheard.sql")),
    Step {
        sqlite: include_str!("../../../migrations/0020_numbers.sqlite.sql"),
        postgres: include_str!("../../../migrations/0020_numbers.postgres.sql"),
    },
    Step::of_both(include_str!("../../../migrations/0021_session_unpriced.sql")),
];

/// Runs what is missing, each step in a transaction of its own. Processes that start at once take turns, and each sees what
/// those before it have done.
pub(crate) async fn run(db: &Db) -> Result<(), Error> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    loop {
        let mut tx = db.begin_schema().await?;
        sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)")
            .execute(&mut *tx)
            .await?;
        let found: i64 = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM schema_version")
            .fetch_one(&mut *tx)
            .await?
            .try_get("version")?;
        if found > known {
            return Err(Error::NewerSchema { found, known });
        }
        let Some(step) = usize::try_from(found).ok().and_then(|found| STEPS.get(found)) else {
            tx.commit().await?;
            return Ok(());
        };
        sqlx::raw_sql(step.text(db.engine())).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)").bind(found + 1).execute(&mut *tx).await?;
        tx.commit().await?;
    }
}

// === impl Step ===

impl Step {
    const fn of_both(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }

    fn text(&self, engine: Engine) -> &'static str {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }
}
