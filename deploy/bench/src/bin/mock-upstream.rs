//! A fast mock of a provider: OpenAI chat completions and Anthropic messages, whole or streamed as the request asks.
//!
//! `GET /control?delay_ms=50&events=50&pause_us=0` sets, for all later requests, the wait before a reply, the number of
//! content events in a stream and the pause between them. With no pause each event is still a write of its own, as providers
//! do not pack an answer into one segment.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use gateway_bench::answers::{self, Stream};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use memchr::memmem;
use tokio::net::TcpListener;
use tokio::time::Sleep;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind(Args::parse().listen).await?;
    println!("{}", listener.local_addr()?);
    let mock = Arc::new(Mock::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mock = mock.clone();
        let service = service_fn(move |request| {
            let mock = mock.clone();
            async move { Ok::<_, Infallible>(mock.answer(request).await) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

struct Mock {
    delay_ms: AtomicU64,
    n_events: AtomicU64,
    pause_us: AtomicU64,
    openai_whole: Bytes,
    openai_stream: Stream,
    openai_stream_with_usage: Stream,
    anthropic_whole: Bytes,
    anthropic_stream: Stream,
}

// === impl Mock ===

impl Mock {
    fn new() -> Self {
        Self {
            delay_ms: AtomicU64::new(0),
            n_events: AtomicU64::new(50),
            pause_us: AtomicU64::new(0),
            openai_whole: answers::openai_whole(),
            openai_stream: answers::openai_stream(false),
            openai_stream_with_usage: answers::openai_stream(true),
            anthropic_whole: answers::anthropic_whole(),
            anthropic_stream: answers::anthropic_stream(),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if request.method() == Method::GET {
            self.control(request.uri().query().unwrap_or_default());
            return whole(Bytes::from_static(b"{}"));
        }
        let path = request.uri().path().to_owned();
        let Ok(body) = request.into_body().collect().await else {
            return refused(StatusCode::BAD_REQUEST);
        };
        let body = body.to_bytes();
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::Relaxed));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // Benchmark bodies are ours and compact: a search is enough to know what they ask for.
        let asks = |what: &[u8]| memmem::find(&body, what).is_some();
        let streams = asks(b"\"stream\":true");
        match (path.rsplit('/').next(), streams) {
            (Some("completions"), false) => whole(self.openai_whole.clone()),
            (Some("completions"), true) if asks(b"\"include_usage\":true") => {
                self.stream(&self.openai_stream_with_usage)
            }
            (Some("completions"), true) => self.stream(&self.openai_stream),
            (Some("messages"), false) => whole(self.anthropic_whole.clone()),
            (Some("messages"), true) => self.stream(&self.anthropic_stream),
            _ => refused(StatusCode::NOT_FOUND),
        }
    }

    fn control(&self, query: &str) {
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = value.parse().unwrap_or(0);
            match name {
                "delay_ms" => self.delay_ms.store(value, Ordering::Relaxed),
                "events" => self.n_events.store(value, Ordering::Relaxed),
                "pause_us" => self.pause_us.store(value, Ordering::Relaxed),
                _ => {}
            }
        }
    }

    fn stream(&self, stream: &Stream) -> Response<Body> {
        let pause = Duration::from_micros(self.pause_us.load(Ordering::Relaxed));
        let events = Events {
            stream: stream.clone(),
            n_head: 1,
            n_middle: self.n_events.load(Ordering::Relaxed),
            n_tail: 0,
            pause,
            timer: (!pause.is_zero()).then(|| Box::pin(tokio::time::sleep(pause))),
            gave_way: false,
        };
        let mut response = Response::new(events.boxed_unsync());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        response
    }
}

fn whole(body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refused(status: StatusCode) -> Response<Body> {
    let mut response = whole(Bytes::from_static(b"{}"));
    *response.status_mut() = status;
    response
}

/// The body of a stream: one frame an event.
struct Events {
    stream: Stream,
    n_head: u8,
    n_middle: u64,
    n_tail: usize,
    pause: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    gave_way: bool,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.n_head > 0 {
            self.n_head -= 1;
            return Poll::Ready(Some(Ok(Frame::data(self.stream.head.clone()))));
        }
        if self.n_middle == 0 {
            let next = self.stream.tail.get(self.n_tail).cloned();
            self.n_tail += 1;
            return Poll::Ready(next.map(|event| Ok(Frame::data(event))));
        }
        let pause = self.pause;
        if let Some(timer) = &mut self.timer {
            std::task::ready!(timer.as_mut().poll(cx));
            let next = timer.deadline() + pause;
            timer.as_mut().reset(next);
        } else if !std::mem::replace(&mut self.gave_way, true) {
            // Not ready for one turn: the server flushes what it has, so that each event is a write of its own.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        } else {
            self.gave_way = false;
        }
        self.n_middle -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.stream.middle.clone()))))
    }
}
