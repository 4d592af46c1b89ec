//! The yardstick: a plain hyper reverse proxy over one pooled HTTP/1.1 upstream. It forwards bytes both ways and does nothing
//! else: no key, no parsing, no log, no metric.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use clap::Parser;
use http::header::{CONNECTION, HOST};
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// `host:port` that everything is forwarded to.
    #[arg(long)]
    upstream: Authority,
    /// Worker threads; give it as many as the gateway under test has.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

type Body = BoxBody<Bytes, hyper::Error>;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(args.threads).enable_all().build()?;
    runtime.block_on(serve(args.listen, args.upstream))
}

async fn serve(listen: SocketAddr, upstream: Authority) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Incoming> =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let listener = TcpListener::bind(listen).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, upstream) = (client.clone(), upstream.clone());
        let service = service_fn(move |request| forward(request, client.clone(), upstream.clone()));
        let mut connection = hyper::server::conn::http1::Builder::new();
        tokio::spawn(connection.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service));
    }
}

async fn forward(
    mut request: Request<Incoming>,
    client: Client<HttpConnector, Incoming>,
    upstream: Authority,
) -> Result<Response<Body>, Infallible> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(upstream);
    let Ok(uri) = Uri::from_parts(parts) else {
        return Ok(failed(StatusCode::BAD_REQUEST, "the request has no path"));
    };
    *request.uri_mut() = uri;
    request.headers_mut().remove(CONNECTION);
    request.headers_mut().remove(HOST);
    Ok(match client.request(request).await {
        Ok(response) => response.map(BodyExt::boxed),
        Err(error) => failed(StatusCode::BAD_GATEWAY, &error.to_string()),
    })
}

fn failed(status: StatusCode, what: &str) -> Response<Body> {
    let body = Full::from(what.to_owned()).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response
}
