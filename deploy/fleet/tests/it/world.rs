//! A control plane with 100,000 keys, and the calls of its admin API. Each engine's database is filled once per run; of SQLite's
//! each world gets a copy, on Postgres' they all work.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use gateway_fleet_tests::keys::{self, N_KEYS};
use gateway_server::{ControlPlane, Options, admin, start};
use gateway_store::audit::AuditRow;
use gateway_store::revisions::{Commit, Edit, Op};
use gateway_testing::Postgres;
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
    /// Where it is not the one in the directory.
    database_url: Option<String>,
}

// === impl World ===

impl World {
    pub(crate) async fn new() -> Self {
        Self::start(data_dir().await, None).await
    }

    /// Without a key, a provider or anything.
    pub(crate) async fn empty() -> Self {
        Self::start(tempfile::tempdir().unwrap(), None).await
    }

    /// On Postgres; `parameters` go into its address. `None`, said loudly, where it is not installed.
    pub(crate) async fn on_postgres(parameters: &str) -> Option<Self> {
        static FILLED: OnceCell<(TempDir, String)> = OnceCell::const_new();
        let postgres = Postgres::shared()?;
        let filled = FILLED.get_or_init(|| async {
            let (directory, url) = (tempfile::tempdir().unwrap(), postgres.database());
            make(directory.path(), Some(url.clone())).await;
            (directory, url)
        });
        let ((filled, url), directory) = (filled.await, tempfile::tempdir().unwrap());
        copy(filled.path(), directory.path());
        Some(Self::start(directory, Some(format!("{url}{parameters}"))).await)
    }

    async fn start(directory: TempDir, database_url: Option<String>) -> Self {
        let options = Options { database_url: database_url.clone(), ..options(directory.path()) };
        let control = start(options).await.unwrap();
        let router = admin::router(control.app());
        Self { control, router, directory, database_url }
    }

    /// A second control plane on the same database. On SQLite nobody tells it of the other one's commits, so it hears of them
    /// when it asks: once a second.
    pub(crate) async fn replica(&self) -> (ControlPlane, TempDir) {
        let (ours, own) = (self.directory.path(), tempfile::tempdir().unwrap());
        let in_directory = || format!("sqlite://{}", ours.join("gateway.db").display());
        let replica = Options {
            database_url: Some(self.database_url.clone().unwrap_or_else(in_directory)),
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
        // Answered at once: how long the nodes take from there is what is measured.
        let path = format!("/admin/keys/{}?wait=stored", keys::name(number));
        self.call("PATCH", &path, json!({"enabled": false})).await;
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
        make(directory.path(), None).await;
        Arc::new(directory)
    });
    Arc::clone(made.await)
}

async fn make(directory: &Path, database_url: Option<String>) {
    let control = start(Options { database_url, ..options(directory) }).await.unwrap();
    fill(&control).await;
    control.shutdown().await;
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
