//! Figures of the write path with 100,000 keys. A binary of its own, because the processor's time is counted per process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use gateway_server::{ControlPlane, Options, admin, start};
use gateway_testing::figure;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const N_KEYS: usize = 100_000;
/// What a revocation among many keys is held against: one among this many, in the same process and build.
const N_FEW: usize = 1_000;
const N_REVOKED: usize = 200;

/// Ticks of the system's clock for processes, fixed on Linux.
const TICK: Duration = Duration::from_millis(10);

struct World {
    control: ControlPlane,
    router: Router,
    _directory: tempfile::TempDir,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_keys() {
    let world = World::new().await;
    world.call("POST", "/admin/apply", keys("few", N_FEW)).await;
    let (among_few, _) = world.revoke("few").await;

    let took = note("apply 100,000 new keys", 3000.0, world.call("POST", "/admin/apply", keys("team", N_KEYS))).await;
    assert_eq!(took["changes"].as_array().map(Vec::len), Some(N_KEYS));
    let same = world.call("POST", "/admin/apply", keys("team", N_KEYS));
    let again = note("apply 100,000 keys that are there", 2000.0, same).await;
    assert_eq!(again["revision"], took["revision"]);

    // Of the processor, a ratio: milliseconds would tell this machine and the build from others.
    let (among_many, wall) = world.revoke("team").await;
    let ratio = among_many.div_duration_f64(among_few);
    let each_ms = wall.as_secs_f64() * 1e3 / N_REVOKED as f64;
    let what = "processor time of one revocation, against one among 1,000 keys";
    figure::note("write_path_100k", what, ratio, "x", 2.0);
    figure::note("write_path_100k", "one revocation, API to commit", each_ms, "ms", 50.0);
    assert!(ratio <= 2.0, "{N_REVOKED} revocations among {N_KEYS} keys: {among_many:?}, among {N_FEW}: {among_few:?}");
    world.control.shutdown().await;
}

/// A file's worth of keys, `PREFIX-000000` and on, as a request to apply it.
fn keys(prefix: &str, n: usize) -> Value {
    let keys = (0..n).map(|n| json!({"kind": "key", "spec": spec(&format!("{prefix}-{n:06}"))})).collect::<Vec<_>>();
    json!({"source": format!("{prefix}.yaml"), "resources": keys})
}

fn spec(name: &str) -> Value {
    json!({"name": name, "models": ["openai/*", "smart"], "limits": {"rpm": 600},
        "expires_at": "2035-01-01T00:00:00Z", "tags": ["load"]})
}

/// Waits for an answer, notes how long it took in seconds, holds that to the limit.
async fn note(what: &str, limit_s: f64, answer: impl Future<Output = Value>) -> Value {
    let began = Instant::now();
    let answer = answer.await;
    let took = began.elapsed().as_secs_f64();
    figure::note("write_path_100k", what, took, "s", limit_s);
    assert!(took <= limit_s, "{what} took {took} s");
    answer
}

/// Spent by all threads of this process so far, in user and system mode.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The second field is the program's name, in brackets, and may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u32>().unwrap();
    TICK * (ticks(11) + ticks(12))
}

// === impl World ===

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = start(options(directory.path())).await.unwrap();
        let router = admin::router(control.app());
        Self { control, router, _directory: directory }
    }

    /// Disables keys one by one. What all took together: of the processor, and of the clock.
    async fn revoke(&self, prefix: &str) -> (Duration, Duration) {
        let (began, cpu) = (Instant::now(), cpu_time());
        for n in 0..N_REVOKED {
            let path = format!("/admin/keys/{prefix}-{n:06}?wait=stored");
            self.call("PATCH", &path, json!({"enabled": false})).await;
        }
        (cpu_time() - cpu, began.elapsed())
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let bearer = format!("Bearer {}", self.control.master_key().expose());
        let request = request.header("authorization", bearer).body(Body::from(body.to_string())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(1000)]));
        serde_json::from_slice(&bytes).unwrap()
    }
}

fn options(data_dir: &Path) -> Options {
    Options::new(data_dir.to_owned(), "127.0.0.1:0".parse().unwrap())
}
