//! A control plane with 100,000 keys, and the calls of its admin API. It is filled once per run; each world gets a copy.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use gateway_fleet_tests::keys::{self, N_KEYS};
use gateway_server::{ControlPlane, Options, admin, start};
use gateway_store::audit::AuditRow;
use gateway_store::revisions::{Commit, Edit, Op};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tower::ServiceExt as _;

pub(crate) struct World {
    pub(crate) control: ControlPlane,
    router: Router,
    directory: TempDir,
}

// === impl World ===

impl World {
    pub(crate) async fn new() -> Self {
        let directory = data_dir().await;
        let control = start(options(directory.path())).await.unwrap();
        let router = admin::router(control.app());
        Self { control, router, directory }
    }

    /// A second control plane on the same database. In this process nobody tells it of the other one's commits, so it hears
    /// of them when it asks: once a second.
    pub(crate) async fn replica(&self) -> (ControlPlane, TempDir) {
        let (ours, own) = (self.directory.path(), tempfile::tempdir().unwrap());
        let replica = Options {
            database_url: Some(format!("sqlite://{}", ours.join("gateway.db").display())),
            kek_file: Some(ours.join("kek.key")),
            master_key_file: Some(ours.join("master.key")),
            ..options(own.path())
        };
        (start(replica).await.unwrap(), own)
    }

    /// Over the admin API; an answer that is no success ends the test.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let bearer = format!("Bearer {}", self.control.master_key().expose());
        let request = request.header("authorization", bearer).body(Body::from(body.to_string())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{method} {path}: {status} {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Takes the key away. Returns the moment of the answer.
    pub(crate) async fn revoke(&self, number: usize) -> Instant {
        self.call("PATCH", &format!("/admin/keys/{}", keys::name(number)), json!({"enabled": false})).await;
        Instant::now()
    }
}

/// A copy of a data directory with all keys in it.
pub(crate) async fn data_dir() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy(template().await.path(), directory.path());
    directory
}

async fn template() -> Arc<TempDir> {
    static TEMPLATE: OnceCell<Arc<TempDir>> = OnceCell::const_new();
    let made = TEMPLATE.get_or_init(|| async {
        let directory = tempfile::tempdir().unwrap();
        let control = start(options(directory.path())).await.unwrap();
        fill(&control).await;
        control.shutdown().await;
        Arc::new(directory)
    });
    Arc::clone(made.await)
}

async fn fill(control: &ControlPlane) {
    let app = control.app();
    let provider = json!({"name": "up", "kind": "openai", "base_url": "https://api.example.com/v1"});
    let model = json!({"name": "smart", "targets": [{"provider": "up", "model": "x"}]});
    let resources = [("provider", provider), ("model", model)].map(|(kind, spec)| {
        let kind = gateway_model::kind::Kind::parse(kind).unwrap();
        gateway_model::document::decode(kind, spec).unwrap()
    });
    control.changes().apply("fleet.yaml", resources.to_vec()).await.unwrap();
    let edits = (0..N_KEYS).map(|number| Edit {
        op: Op::Upsert,
        item: keys::stored(number, app.pepper.digest(&keys::secret(number)), app.started_at_ms),
    });
    let commit = Commit {
        expected: None,
        edits: edits.collect(),
        actor: "fleet tests".to_owned(),
        summary: "all keys".to_owned(),
        audit: vec![AuditRow { actor: "fleet tests".to_owned(), ..AuditRow::default() }],
        at_ms: app.started_at_ms,
    };
    app.store.commit(commit).await.unwrap();
}

fn options(data_dir: &Path) -> Options {
    Options::new(data_dir.to_owned(), "127.0.0.1:0".parse().unwrap())
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
