//! What people are told of budgets: once for each part of an amount and window, and to everybody who is to hear of it, however long
//! that takes. What is sent is written in the transaction that says that it was told, so that neither is without the other.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::audit::{self, AuditRow};
use crate::db::{key, signed, text};
use crate::error::Error;
use crate::heads::lock_heads;
use crate::store::Store;

/// A budget has reached a part of its amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// As its messages have it.
    pub id: String,
    /// By its name in the ledger.
    pub budget: String,
    /// Names the window.
    pub window_ms: i64,
    pub percent: u16,
    pub at_ms: i64,
    /// `None` where nobody has said that they see to it.
    pub acknowledged: Option<Acknowledged>,
}

/// Somebody sees to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// As the audit log calls them.
    pub by: String,
    pub at_ms: i64,
}

/// What is to be sent to somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub id: String,
    pub destination: String,
    pub body: String,
    pub made_ms: i64,
    pub n_attempts: u64,
}

/// How sending to somebody goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryHealth {
    pub destination: String,
    pub n_waiting: u64,
    pub n_delivered: u64,
    /// Given up, or pushed out by others that waited.
    pub n_lost: u64,
    pub delivered_ms: Option<i64>,
    /// Of the oldest that waits, or of the last that was given up; empty where all is well.
    pub error: String,
}

/// What waits beyond this pushes out the oldest.
const MOST_WAITING: u64 = 1000;
const PUSHED_OUT: &str = "too many others waited";
const ALERT: &str = "SELECT id, budget, window_ms, percent, at_ms, acknowledged_ms, acknowledged_by FROM budget_alert";

// === impl Store ===

impl Store {
    /// Budgets, by their names in the ledger, that something was booked of since then; in the order of their names, after `after`.
    pub async fn budgets_booked_since(&self, since_ms: i64, after: &str, limit: usize) -> Result<Vec<String>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT budget FROM budget_window WHERE booked_ms >= $1 AND budget > $2 ORDER BY budget LIMIT $3",
        );
        let rows = rows.bind(since_ms).bind(key(after)).bind(signed(limit as u64));
        let rows = rows.fetch_all(self.db.readers()).await?;
        Ok(rows.iter().map(|row| row.try_get("budget")).collect::<Result<_, _>>()?)
    }

    /// Writes down that it is told, and to whom. False where it was told already: then nothing is sent.
    pub async fn raise_alert(&self, alert: &Alert, deliveries: &[Delivery]) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        let told = sqlx::query(
            "INSERT INTO budget_alert (budget, window_ms, percent, at_ms, id, acknowledged_ms, acknowledged_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        );
        let told = told.bind(key(&alert.budget)).bind(alert.window_ms).bind(i64::from(alert.percent)).bind(alert.at_ms);
        let (by, at_ms) = alert.acknowledged.as_ref().map_or(("", 0), |one| (one.by.as_str(), one.at_ms));
        let told = told.bind(text(&alert.id)).bind(at_ms).bind(text(by));
        if told.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        for delivery in deliveries {
            let made = sqlx::query(
                "INSERT INTO alert_delivery (id, destination, body, made_ms, due_ms, n_attempts, error, done_ms, is_lost) \
                 VALUES ($1, $2, $3, $4, $4, 0, '', 0, 0)",
            );
            let made = made.bind(text(&delivery.id)).bind(key(&delivery.destination)).bind(text(&delivery.body));
            made.bind(delivery.made_ms).execute(&mut *tx).await?;
        }
        let oldest = sqlx::query(
            "UPDATE alert_delivery SET done_ms = $1, is_lost = 1, error = $2 WHERE id IN \
             (SELECT id FROM alert_delivery WHERE done_ms = 0 ORDER BY made_ms DESC, id DESC LIMIT 1000000 OFFSET $3)",
        );
        oldest.bind(alert.at_ms).bind(PUSHED_OUT).bind(signed(MOST_WAITING)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// What is to be sent by now, oldest first.
    pub async fn deliveries_due(&self, now_ms: i64, limit: usize) -> Result<Vec<Delivery>, Error> {
        let rows = sqlx::query(
            "SELECT id, destination, body, made_ms, n_attempts FROM alert_delivery \
             WHERE done_ms = 0 AND due_ms <= $1 ORDER BY due_ms, id LIMIT $2",
        );
        let rows = rows.bind(now_ms).bind(signed(limit as u64)).fetch_all(self.db.readers()).await?;
        let delivery = |row: &AnyRow| {
            Ok(Delivery {
                id: row.try_get("id")?,
                destination: row.try_get("destination")?,
                body: row.try_get("body")?,
                made_ms: row.try_get("made_ms")?,
                n_attempts: count(row, "n_attempts")?,
            })
        };
        rows.iter().map(delivery).collect()
    }

    /// It was taken.
    pub async fn delivered(&self, id: &str, at_ms: i64) -> Result<(), Error> {
        self.attempted(id, "", 0, (at_ms, false)).await
    }

    /// It was not taken; to be tried again then.
    pub async fn postpone_delivery(&self, id: &str, error: &str, due_ms: i64) -> Result<(), Error> {
        self.attempted(id, error, due_ms, (0, false)).await
    }

    /// It is not tried again.
    pub async fn give_up_delivery(&self, id: &str, error: &str, at_ms: i64) -> Result<(), Error> {
        self.attempted(id, error, 0, (at_ms, true)).await
    }

    async fn attempted(&self, id: &str, error: &str, due_ms: i64, done: (i64, bool)) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let row = sqlx::query(
            "UPDATE alert_delivery SET n_attempts = n_attempts + 1, error = $2, due_ms = $3, done_ms = $4, is_lost = $5 \
             WHERE id = $1 AND done_ms = 0",
        );
        let row = row.bind(text(id)).bind(key(error)).bind(due_ms).bind(done.0).bind(i64::from(done.1));
        row.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Of everybody something was ever to be sent to and is still known of.
    pub async fn delivery_health(&self) -> Result<Vec<DeliveryHealth>, Error> {
        let rows = sqlx::query(
            "SELECT destination, \
             CAST(SUM(CASE WHEN done_ms = 0 THEN 1 ELSE 0 END) AS BIGINT) AS n_waiting, \
             CAST(SUM(CASE WHEN done_ms > 0 AND is_lost = 0 THEN 1 ELSE 0 END) AS BIGINT) AS n_delivered, \
             CAST(SUM(is_lost) AS BIGINT) AS n_lost, \
             MAX(CASE WHEN is_lost = 0 THEN done_ms ELSE 0 END) AS delivered_ms, \
             COALESCE((SELECT error FROM alert_delivery AS other WHERE other.destination = alert_delivery.destination \
             AND other.error <> '' AND (other.done_ms = 0 OR other.is_lost = 1) \
             ORDER BY other.done_ms, other.made_ms LIMIT 1), '') AS error \
             FROM alert_delivery GROUP BY destination ORDER BY destination",
        );
        let rows = rows.fetch_all(self.db.readers()).await?;
        let health = |row: &AnyRow| {
            let delivered_ms: i64 = row.try_get("delivered_ms")?;
            Ok(DeliveryHealth {
                destination: row.try_get("destination")?,
                n_waiting: count(row, "n_waiting")?,
                n_delivered: count(row, "n_delivered")?,
                n_lost: count(row, "n_lost")?,
                delivered_ms: (delivered_ms > 0).then_some(delivered_ms),
                error: row.try_get("error")?,
            })
        };
        rows.iter().map(health).collect()
    }

    /// Alerts, newest first.
    pub async fn alerts(&self, limit: usize) -> Result<Vec<Alert>, Error> {
        let statement = format!("{ALERT} ORDER BY at_ms DESC, budget, percent DESC LIMIT $1");
        let rows = sqlx::query(AssertSqlSafe(statement)).bind(signed(limit as u64));
        rows.fetch_all(self.db.readers()).await?.iter().map(Alert::read).collect()
    }

    /// By its id.
    pub async fn alert(&self, id: &str) -> Result<Option<Alert>, Error> {
        let row = sqlx::query(AssertSqlSafe(format!("{ALERT} WHERE id = $1"))).bind(text(id));
        row.fetch_optional(self.db.readers()).await?.as_ref().map(Alert::read).transpose()
    }

    /// Whether somebody sees to this part of a budget in that window.
    pub async fn acknowledged(
        &self,
        budget: &str,
        window_ms: i64,
        percent: u16,
    ) -> Result<Option<Acknowledged>, Error> {
        let statement = format!("{ALERT} WHERE budget = $1 AND window_ms = $2 AND percent = $3");
        let row = sqlx::query(AssertSqlSafe(statement)).bind(key(budget)).bind(window_ms).bind(i64::from(percent));
        let alert = row.fetch_optional(self.db.readers()).await?.as_ref().map(Alert::read).transpose()?;
        Ok(alert.and_then(|alert| alert.acknowledged))
    }

    /// Somebody sees to it: what waits to be sent of it is not sent any more. `None` where there is no such alert; one that somebody
    /// has acknowledged before stays theirs, and nothing is written.
    pub async fn acknowledge_alert(&self, id: &str, by: &Acknowledged, row: AuditRow) -> Result<Option<Alert>, Error> {
        let mut tx = self.db.begin().await?;
        // The audit's chain has one writer at a time.
        lock_heads(&mut tx).await?;
        let id = text(id);
        let taken = sqlx::query(
            "UPDATE budget_alert SET acknowledged_ms = $2, acknowledged_by = $3 WHERE id = $1 AND acknowledged_ms = 0",
        );
        let taken = taken.bind(id.as_str()).bind(by.at_ms).bind(text(&by.by)).execute(&mut *tx).await?;
        if taken.rows_affected() > 0 {
            // Messages are called like the alert, with whom they are for.
            let head = format!("{id}.");
            let length = head.chars().count();
            let waiting = format!("DELETE FROM alert_delivery WHERE done_ms = 0 AND substr(id, 1, {length}) = $1");
            sqlx::query(AssertSqlSafe(waiting)).bind(head).execute(&mut *tx).await?;
            audit::append(&mut tx, &[row]).await?;
        }
        let alert = sqlx::query(AssertSqlSafe(format!("{ALERT} WHERE id = $1"))).bind(id.as_str());
        let alert = alert.fetch_optional(&mut *tx).await?.as_ref().map(Alert::read).transpose()?;
        tx.commit().await?;
        Ok(alert)
    }

    /// Forgets what was sent, or given up, before then; and what was told so long ago that its window is over.
    pub async fn prune_alerts(&self, sent_before_ms: i64, told_before_ms: i64) -> Result<u64, Error> {
        let mut tx = self.db.begin().await?;
        let sent = sqlx::query("DELETE FROM alert_delivery WHERE done_ms > 0 AND done_ms < $1").bind(sent_before_ms);
        let n_sent = sent.execute(&mut *tx).await?.rows_affected();
        // Those of a window without an end stay, or they would be told anew.
        let told = sqlx::query("DELETE FROM budget_alert WHERE window_ms > 0 AND at_ms < $1").bind(told_before_ms);
        let n_told = told.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        Ok(n_sent + n_told)
    }
}

// === impl Alert ===

impl Alert {
    fn read(row: &AnyRow) -> Result<Self, Error> {
        let acknowledged_ms: i64 = row.try_get("acknowledged_ms")?;
        let by = row.try_get("acknowledged_by")?;
        Ok(Self {
            id: row.try_get("id")?,
            budget: row.try_get("budget")?,
            window_ms: row.try_get("window_ms")?,
            percent: u16::try_from(row.try_get::<i64, _>("percent")?).unwrap_or(u16::MAX),
            at_ms: row.try_get("at_ms")?,
            acknowledged: (acknowledged_ms > 0).then_some(Acknowledged { by, at_ms: acknowledged_ms }),
        })
    }
}

fn count(row: &AnyRow, column: &str) -> Result<u64, Error> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}
