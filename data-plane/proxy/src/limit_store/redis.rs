//! The server's side: the function that takes, kept there under a name with a version, and how it is called. A server without functions
//! (Redis 6) has it as a script.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gateway_engine::limits::Asked;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, RedisError, RedisResult};

use super::counters::{Counter, PREFIX};

const TAKE: &str = include_str!("take.lua");
/// Another text takes another name, so that nodes of two versions can share a server.
const FUNCTION: &str = "gateway_take_1";
const LIBRARY: &str = "gateway_limits_1";
/// A connection that does not come about, or does not answer, is given up after this, whoever still waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Redis {
    connection: ConnectionManager,
    has_no_functions: AtomicBool,
    /// What the server calls the script.
    script: OnceLock<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// All or none.
    Ask,
    /// What is known by now, whatever is left.
    Tell,
}

/// What is sent, and what of it will be known there.
#[derive(Debug)]
pub(super) struct Call {
    mode: Mode,
    keys: Vec<String>,
    args: Vec<String>,
    /// Totals of each rate, one owner after the other.
    totals: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(super) epoch: u64,
    /// Which of all keys but the first is not to be had; 0: none.
    pub(super) refused: usize,
    pub(super) wait: Duration,
    /// Nanoseconds of each rate.
    pub(super) occupied: Vec<u64>,
}

// === impl Redis ===

impl Redis {
    /// `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS.
    pub(super) fn open(url: &str) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?;
        Ok(Self { connection, has_no_functions: AtomicBool::new(false), script: OnceLock::new() })
    }

    /// One round trip, but where the server has to be given the function first.
    pub(super) async fn take(&self, call: &Call) -> RedisResult<Answer> {
        let mut connection = self.connection.clone();
        let answered: RedisResult<Vec<u64>> = self.called(call).query_async(&mut connection).await;
        let numbers = match answered {
            Err(error) if is_unknown(&error) => {
                self.bring(&mut connection).await?;
                self.called(call).query_async(&mut connection).await?
            }
            answered => answered?,
        };
        Answer::read(&numbers)
            .ok_or_else(|| RedisError::from((redis::ErrorKind::UnexpectedReturnType, "not an answer of the function")))
    }

    fn called(&self, call: &Call) -> Cmd {
        let mut command = match self.script.get().filter(|_| self.has_no_functions.load(Ordering::Relaxed)) {
            Some(script) => {
                let mut command = redis::cmd("EVALSHA");
                command.arg(script);
                command
            }
            None => {
                let mut command = redis::cmd("FCALL");
                command.arg(FUNCTION);
                command
            }
        };
        command.arg(call.keys.len()).arg(&call.keys).arg(&call.args);
        command
    }

    async fn bring(&self, connection: &mut ConnectionManager) -> RedisResult<()> {
        if !self.has_no_functions.load(Ordering::Relaxed) {
            let library = format!("#!lua name={LIBRARY}\n{TAKE}\nredis.register_function('{FUNCTION}', take)\n");
            let brought =
                redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(library).query_async::<()>(connection).await;
            match brought {
                Err(error) if is_unknown(&error) => {}
                brought => return brought,
            }
        }
        // A script is told to others by what it wrote, as functions are.
        let script = format!(
            "if redis.replicate_commands then redis.replicate_commands() end\n{TAKE}\nreturn take(KEYS, ARGV)\n"
        );
        let name: String = redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(connection).await?;
        let _ = self.script.set(name);
        self.has_no_functions.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// As if the server were an older one.
    #[cfg(test)]
    pub(super) fn without_functions(self) -> Self {
        self.has_no_functions.store(true, Ordering::Relaxed);
        self
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis")
    }
}

/// The server does not know the function, the script, or the command.
fn is_unknown(error: &RedisError) -> bool {
    let text = error.to_string();
    error.code() == Some("NOSCRIPT") || text.contains("unction not found") || text.contains("unknown command")
}

// === impl Call ===

impl Call {
    pub(super) fn new(mode: Mode, counters: &[Arc<Counter>], asked: Asked, now: Instant) -> Self {
        let mode_named = if mode == Mode::Ask { "ask" } else { "tell" };
        // Whole numbers that Lua's can hold.
        let fresh = rand::random::<u64>() >> 16 | 1;
        let n_rates: usize = counters.iter().map(|counter| counter.rates.len()).sum();
        let mut call =
            Self { mode, keys: vec![format!("{PREFIX}epoch")], args: Vec::new(), totals: Vec::with_capacity(n_rates) };
        call.args.extend([mode_named.to_owned(), fresh.to_string(), n_rates.to_string()]);
        for counter in counters {
            let epoch = counter.epoch.load(Ordering::Relaxed).to_string();
            let rates = counter.rates.iter().zip(counter.limits().wants(asked)).zip(counter.limits().occupied(now));
            for ((rate, want), occupied) in rates {
                let (told, total) = (rate.told.load(Ordering::Relaxed), rate.total.load(Ordering::Relaxed));
                let n_wanted = if mode == Mode::Ask { want.n } else { 0 };
                call.keys.push(rate.name.clone());
                call.args.push(counter.id.clone());
                let numbers = [want.interval, want.amount, n_wanted].map(|number| number.to_string());
                call.args.extend(numbers);
                call.args.extend([epoch.clone(), occupied.to_string(), told.to_string(), total.to_string()]);
                call.totals.push(total);
            }
        }
        for counter in counters {
            let (Some(name), Some(most)) = (&counter.places, counter.limits().places()) else { continue };
            let (change, n_open) = counter.limits().open_here();
            call.keys.push(name.clone());
            call.args.push(counter.id.clone());
            call.args.extend([most, change, n_open].map(|number| number.to_string()));
        }
        call
    }

    /// What was told is known there by now.
    pub(super) fn arrived(&self, counters: &[Arc<Counter>], epoch: u64) {
        let rates = counters.iter().flat_map(|counter| &counter.rates);
        for (rate, total) in rates.zip(&self.totals).filter(|_| self.mode == Mode::Tell) {
            rate.told.store(*total, Ordering::Relaxed);
        }
        counters.iter().for_each(|counter| counter.epoch.store(epoch, Ordering::Relaxed));
    }
}

// === impl Answer ===

impl Answer {
    fn read(numbers: &[u64]) -> Option<Self> {
        let [epoch, refused, wait, occupied @ ..] = numbers else { return None };
        let refused = usize::try_from(*refused).ok()?;
        Some(Self { epoch: *epoch, refused, wait: Duration::from_nanos(*wait), occupied: occupied.to_vec() })
    }
}
