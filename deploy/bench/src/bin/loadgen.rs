//! The load generator: HTTP/1.1 over raw TCP on one thread. Prints one [`Window`] as JSON.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use gateway_bench::procfs;
use gateway_bench::reply::Reply;
use gateway_bench::window::{Quantiles, Window};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Parser)]
struct Args {
    #[arg(long)]
    addr: SocketAddr,
    /// File with the whole request as it goes over the wire, head and body.
    #[arg(long)]
    request: PathBuf,
    #[arg(long, value_enum)]
    mode: Mode,
    /// Connections (closed), streams (hold), requests a second (rate).
    #[arg(long)]
    n: usize,
    /// Measured seconds, after `warm` seconds that are not.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    #[arg(long, default_value_t = 0.5)]
    warm: f64,
    /// A reply with fewer events is an error: a stream that was cut must not count as a fast one.
    #[arg(long, default_value_t = 0)]
    min_events: u64,
    /// The process whose CPU and memory are read.
    #[arg(long)]
    pid: Option<u32>,
    /// The upstream's process, to tell its CPU from that of strangers.
    #[arg(long)]
    upstream_pid: Option<u32>,
}

/// One read's size at most.
const READ: usize = 32 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Each connection sends the next request when the reply has ended.
    Closed,
    /// Requests leave on schedule whatever is outstanding; latency counts from when they were due.
    Rate,
    /// Opens streams and holds them.
    Hold,
}

/// What the tasks report to. One thread: no locks.
struct Tally {
    measuring: bool,
    latency: Histogram<u64>,
    first_byte: Histogram<u64>,
    n_requests: u64,
    n_events: u64,
    n_errors: u64,
    n_open: u64,
    error: Option<String>,
}

/// What every task needs.
#[derive(Clone)]
struct Load {
    addr: SocketAddr,
    request: Rc<[u8]>,
    min_events: u64,
    tally: Rc<RefCell<Tally>>,
    /// Connections waiting for their next request (rate mode).
    idle: Rc<RefCell<Vec<TcpStream>>>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let window = tokio::task::LocalSet::new().block_on(&runtime, measure(&args))?;
    println!("{}", serde_json::to_string(&window)?);
    // The tasks in flight are abandoned with the process.
    Ok(())
}

async fn measure(args: &Args) -> anyhow::Result<Window> {
    let histogram = || Histogram::new_with_bounds(1, 300_000_000, 3);
    let tally = Tally {
        measuring: false,
        latency: histogram()?,
        first_byte: histogram()?,
        n_requests: 0,
        n_events: 0,
        n_errors: 0,
        n_open: 0,
        error: None,
    };
    let load = Load {
        addr: args.addr,
        request: std::fs::read(&args.request)?.into(),
        min_events: args.min_events,
        tally: Rc::new(RefCell::new(tally)),
        idle: Rc::default(),
    };
    let pss_before = args.pid.map_or(0, procfs::pss_kib);
    match args.mode {
        Mode::Closed => (0..args.n).for_each(|_| drop(tokio::task::spawn_local(load.clone().keep_asking()))),
        Mode::Rate => drop(tokio::task::spawn_local(load.clone().keep_schedule(args.n))),
        Mode::Hold => load.open_streams(args.n).await,
    }
    tokio::time::sleep(Duration::from_secs_f64(args.warm)).await;
    let pids = [args.pid, args.upstream_pid, Some(std::process::id())];
    let cpu = || pids.map(|pid| pid.map_or(0, procfs::cpu_us));
    let (cpu_before, busy_before, started) = (cpu(), procfs::busy_us(), Instant::now());
    load.tally.borrow_mut().measuring = true;
    tokio::time::sleep(Duration::from_secs_f64(args.seconds)).await;
    let mut tally = load.tally.borrow_mut();
    tally.measuring = false;
    let (seconds, cpu_after, busy_after) = (started.elapsed().as_secs_f64(), cpu(), procfs::busy_us());
    let used: [u64; 3] = std::array::from_fn(|at| cpu_after[at].saturating_sub(cpu_before[at]));
    let ours: u64 = used.iter().sum();
    let others = (busy_after - busy_before).saturating_sub(ours);
    Ok(Window {
        seconds,
        n_requests: tally.n_requests,
        n_errors: tally.n_errors,
        error: tally.error.take(),
        n_events: tally.n_events,
        latency: Quantiles::from(&tally.latency),
        first_byte: Quantiles::from(&tally.first_byte),
        cpu_us: used[0],
        pss_before,
        pss_after: args.pid.map_or(0, procfs::pss_kib),
        n_open: tally.n_open,
        other_cores: others as f64 / 1e6 / seconds,
    })
}

// === impl Load ===

impl Load {
    async fn keep_asking(self) {
        loop {
            match connect(self.addr).await {
                Ok(mut stream) => while self.ask(&mut stream, Instant::now()).await {},
                Err(error) => self.failed(&error),
            }
            // A target that refuses connections is asked again, not hammered.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn keep_schedule(self, per_second: usize) {
        let started = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let mut n_sent = 0u64;
        loop {
            ticks.tick().await;
            while (n_sent as f64) < started.elapsed().as_secs_f64() * per_second as f64 {
                let due = started + Duration::from_secs_f64(n_sent as f64 / per_second as f64);
                n_sent += 1;
                tokio::task::spawn_local(self.clone().ask_once(due));
            }
        }
    }

    async fn ask_once(self, due: Instant) {
        let idle = self.idle.borrow_mut().pop();
        let stream = match idle {
            Some(stream) => Ok(stream),
            None => connect(self.addr).await,
        };
        match stream {
            Ok(mut stream) => {
                if self.ask(&mut stream, due).await {
                    self.idle.borrow_mut().push(stream);
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Opens `n` streams one after the other and leaves a task reading each.
    async fn open_streams(&self, n: usize) {
        for _ in 0..n {
            match connect(self.addr).await {
                Ok(mut stream) => {
                    let load = self.clone();
                    let (opened, first_byte) = tokio::sync::oneshot::channel();
                    tokio::task::spawn_local(async move {
                        load.exchange(&mut stream, Instant::now(), Some(opened)).await.unwrap_or_else(|error| {
                            load.failed(&error);
                            false
                        })
                    });
                    if first_byte.await.is_err() {
                        return;
                    }
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    /// One request and its whole reply; whether the connection can take the next.
    async fn ask(&self, stream: &mut TcpStream, due: Instant) -> bool {
        match self.exchange(stream, due, None).await {
            Ok(keep_alive) => keep_alive,
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    async fn exchange(
        &self,
        stream: &mut TcpStream,
        due: Instant,
        mut opened: Option<tokio::sync::oneshot::Sender<()>>,
    ) -> io::Result<bool> {
        stream.write_all(&self.request).await?;
        let mut reply = Reply::new();
        let mut buffer = Vec::with_capacity(READ);
        let mut first_byte = None;
        while !reply.is_done() {
            buffer.clear();
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::Error::other("the reply was cut"));
            }
            reply.feed(&buffer).map_err(io::Error::other)?;
            if first_byte.is_none() && reply.n_bytes > 0 {
                first_byte = Some(due.elapsed());
                if let Some(opened) = opened.take() {
                    let _ = opened.send(());
                    self.tally.borrow_mut().n_open += 1;
                }
            }
        }
        let latency = due.elapsed();
        let mut tally = self.tally.borrow_mut();
        if reply.status != 200 {
            tally.failed(&format!("status {}: {}", reply.status, String::from_utf8_lossy(&reply.sample)));
        } else if reply.n_events < self.min_events {
            tally.failed(&format!("{} events instead of {}", reply.n_events, self.min_events));
        } else if tally.measuring {
            tally.n_requests += 1;
            tally.n_events += reply.n_events;
            tally.latency.saturating_record(micros(latency));
            tally.first_byte.saturating_record(micros(first_byte.unwrap_or(latency)));
        }
        Ok(reply.keep_alive)
    }

    fn failed(&self, error: &io::Error) {
        self.tally.borrow_mut().failed(&error.to_string());
    }
}

// === impl Tally ===

impl Tally {
    fn failed(&mut self, what: &str) {
        self.n_errors += 1;
        self.error.get_or_insert_with(|| what.to_owned());
    }
}

async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}
