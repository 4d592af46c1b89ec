//! A control plane of its own for each test, and a client for its admin API.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use gateway_model::secret::Secret;
use gateway_server::{ControlPlane, Options, admin, start};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) struct World {
    pub(crate) control: ControlPlane,
    router: Router,
    pub(crate) directory: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) text: String,
}

pub(crate) fn options(data_dir: &Path) -> Options {
    Options {
        admin_hosts: vec!["gateway.example.com".to_owned()],
        ..Options::new(data_dir.to_owned(), "127.0.0.1:0".parse().unwrap())
    }
}

// === impl World ===

impl World {
    pub(crate) async fn new() -> Self {
        Self::started(options).await
    }

    /// Nodes can join over the network.
    pub(crate) async fn with_fleet() -> Self {
        let listen = Some("127.0.0.1:0".parse().unwrap());
        Self::started(|data_dir| Options { fleet_listen: listen, ..options(data_dir) }).await
    }

    /// With the records of requests in a ClickHouse.
    pub(crate) async fn with_logs_in(url: &str) -> Self {
        let logs_database = Some(Secret::new(url));
        Self::started(|data_dir| Options { logs_database, ..options(data_dir) }).await
    }

    /// With its data in this database.
    pub(crate) async fn on(database_url: String) -> Self {
        Self::started(|data_dir| Options { database_url: Some(database_url), ..options(data_dir) }).await
    }

    async fn started(options: impl FnOnce(&Path) -> Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = start(options(directory.path())).await.unwrap();
        let router = admin::router(control.app());
        Self { control, router, directory }
    }

    pub(crate) fn master_key(&self) -> String {
        self.control.master_key().expose().to_owned()
    }

    /// With the master key.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let bearer = format!("Bearer {}", self.master_key());
        self.send(method, path, &[("host", "localhost"), ("authorization", &bearer)], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null).await
    }

    /// Asks until the answer is so.
    pub(crate) async fn eventually(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let body = self.get(path).await.body;
            if holds(&body) {
                return body;
            }
            assert!(Instant::now() < deadline, "{body}");
            tokio::task::yield_now().await;
        }
    }

    /// As it is.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let response = self.open(method, path, headers, body).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), text }
    }

    /// Without reading the body.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()
    }
}

// === impl Answer ===

impl Answer {
    /// Its body, if the status is the expected one.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.body
    }

    /// Its error's code and message.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["error"]["code"], code, "{body}");
        assert!(body["error"]["message"].as_str().is_some_and(|message| message.len() > 8), "{body}");
        body["error"].clone()
    }
}
