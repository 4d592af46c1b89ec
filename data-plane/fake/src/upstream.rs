//! The scripted upstream: accepts on a free loopback port, records every request, answers each by its script.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::patience::wait;
use crate::reply::openai;
use crate::request::{self, Received};
use crate::script::{Script, Step};

/// How an exchange ended, as the upstream saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every step was carried out and nobody had left.
    Complete,
    /// The client closed or reset before the script's end.
    ClientLeft,
}

/// A running upstream. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

type Responder = Arc<dyn Fn(&Received) -> Script + Send + Sync>;

struct Shared {
    queue: Mutex<VecDeque<Script>>,
    responder: Mutex<Responder>,
    exchanges: watch::Sender<Vec<Exchange>>,
}

#[derive(Clone, Debug)]
struct Exchange {
    received: Received,
    ending: Option<Ending>,
}

// === impl Upstream ===

impl Upstream {
    /// Starts on the current tokio runtime. Without scripts it answers 500 saying so.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let addr = listener.local_addr().expect("a bound listener has an address");
        let no_script =
            |_: &Received| Script::json(500, &openai::error("no_script", "the test gave no script for this request"));
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            responder: Mutex::new(Arc::new(no_script)),
            exchanges: watch::Sender::new(Vec::new()),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Self { addr, shared, accepting }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Queues a script; each request takes the oldest one, whatever its connection.
    pub fn push(&self, script: Script) {
        locked(&self.shared.queue).push_back(script);
    }

    /// Answers requests that find the queue empty.
    pub fn respond_with(&self, responder: impl Fn(&Received) -> Script + Send + Sync + 'static) {
        *locked(&self.shared.responder) = Arc::new(responder);
    }

    /// All requests so far, oldest first.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.exchanges.borrow().iter().map(|exchange| exchange.received.clone()).collect()
    }

    /// The request with that index (from 0), once its body has arrived.
    pub async fn request(&self, index: usize) -> Received {
        let mut exchanges = self.shared.exchanges.subscribe();
        let arrived = exchanges.wait_for(|all| all.len() > index);
        let all = wait(&format!("request {index} at the upstream"), arrived)
            .await
            .expect("the upstream keeps its own sender");
        all[index].received.clone()
    }

    /// How the exchange with that index ended, once it has.
    pub async fn ending(&self, index: usize) -> Ending {
        let ending = |all: &Vec<Exchange>| all.get(index).and_then(|exchange| exchange.ending);
        let mut exchanges = self.shared.exchanges.subscribe();
        let ended = exchanges.wait_for(|all| ending(all).is_some());
        let all = wait(&format!("the end of exchange {index} at the upstream"), ended).await;
        ending(&all.expect("the upstream keeps its own sender")).expect("waited for")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

// === impl Shared ===

impl Shared {
    fn script_for(&self, received: &Received) -> Script {
        let queued = locked(&self.queue).pop_front();
        queued.unwrap_or_else(|| {
            let responder = locked(&self.responder).clone();
            responder(received)
        })
    }

    fn record(&self, received: Received) -> usize {
        let mut index = 0;
        self.exchanges.send_modify(|all| {
            index = all.len();
            all.push(Exchange { received, ending: None });
        });
        index
    }

    fn end(&self, index: usize, ending: Ending) {
        self.exchanges.send_modify(|all| all[index].ending = Some(ending));
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("n_requests", &self.exchanges.borrow().len()).finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Owned by this task: aborting it closes every connection too.
    let mut connections = JoinSet::new();
    let mut n_connections = 0;
    while let Ok((stream, _)) = listener.accept().await {
        // Every write is a packet of its own, which is what a script means by a boundary.
        let _ = stream.set_nodelay(true);
        connections.spawn(serve(stream, n_connections, shared.clone()));
        n_connections += 1;
        while connections.try_join_next().is_some() {}
    }
}

/// What a connection does after a script.
enum After {
    NextRequest,
    Closed,
}

async fn serve(mut stream: TcpStream, connection: usize, shared: Arc<Shared>) {
    let mut buffer = BytesMut::new();
    while let Ok(Some(received)) = request::read(&mut stream, &mut buffer, connection).await {
        let script = shared.script_for(&received);
        let index = shared.record(received);
        let played = play(&mut stream, &mut buffer, script).await;
        shared.end(index, if played.is_ok() { Ending::Complete } else { Ending::ClientLeft });
        if !matches!(played, Ok(After::NextRequest)) {
            return;
        }
    }
}

/// Carries out the steps; an error means that the client left first.
async fn play(stream: &mut TcpStream, buffer: &mut BytesMut, script: Script) -> io::Result<After> {
    for step in script.steps {
        match step {
            Step::Write(bytes) => {
                let (mut reader, mut writer) = stream.split();
                tokio::select! {
                    written = writer.write_all(&bytes) => written?,
                    error = client_gone(&mut reader, buffer) => return Err(error),
                }
            }
            Step::Pause(duration) => unless_gone(stream, buffer, tokio::time::sleep(duration)).await?,
            Step::Wait(gate) => unless_gone(stream, buffer, gate.pass()).await?,
            Step::Hang => unless_gone(stream, buffer, std::future::pending()).await?,
            Step::HalfClose => {
                stream.shutdown().await?;
                unless_gone(stream, buffer, std::future::pending()).await?;
            }
            Step::Close => return Ok(After::Closed),
            Step::Reset => {
                stream.set_zero_linger()?;
                return Ok(After::Closed);
            }
        }
    }
    Ok(After::NextRequest)
}

async fn unless_gone(stream: &mut TcpStream, buffer: &mut BytesMut, step: impl Future<Output = ()>) -> io::Result<()> {
    tokio::select! {
        () = step => Ok(()),
        error = client_gone(stream, buffer) => Err(error),
    }
}

/// Reads until the client closes or resets. What it sends meanwhile (a pipelined request) is kept.
async fn client_gone<R: tokio::io::AsyncRead + Unpin>(reader: &mut R, buffer: &mut BytesMut) -> io::Error {
    loop {
        match reader.read_buf(buffer).await {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

/// A test that panicked elsewhere must not hide its message behind a poisoned lock.
fn locked<T: ?Sized>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
