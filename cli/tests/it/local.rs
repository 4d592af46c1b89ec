//! `up`: the first start, the ready file, later starts, the file, bad starts.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Outcome, World};

/// Longest wait for anything; a condition ends it much earlier.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway of one test. Killed when dropped.
pub(crate) struct Local {
    pub(crate) world: World,
    child: Child,
    pub(crate) ready: Value,
}

// === impl Local ===

impl Local {
    pub(crate) fn start(world: World, arguments: &[&str]) -> Self {
        Self::start_with(world, &[], arguments)
    }

    pub(crate) fn start_with(world: World, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let ready_file = world.path().join("ready.json");
        let mut command =
            world.command(&["up", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workers", "1"]);
        command.args(["--ready-file", "ready.json"]).args(arguments).envs(environment.iter().copied());
        let log = std::fs::File::create(world.path().join("up.log")).expect("a log file");
        command.stdout(log.try_clone().expect("one more handle")).stderr(log).stdin(Stdio::null());
        let mut child = command.spawn().expect("gatewayctl starts");
        let until = Instant::now() + PATIENCE;
        let ready = loop {
            // The file appears whole, by rename; one of an earlier start may still be there for a moment.
            if let Ok(text) = std::fs::read_to_string(&ready_file) {
                let ready: Value = serde_json::from_str(&text).expect("the ready file is JSON");
                if ready["pid"].as_u64() == Some(child.id().into()) {
                    break ready;
                }
            }
            let ended = child.try_wait().expect("the child can be asked");
            let log = || std::fs::read_to_string(world.path().join("up.log")).unwrap_or_default();
            assert!(ended.is_none(), "`up` ended: {}", log());
            assert!(Instant::now() < until, "`up` is not ready: {}", log());
            std::thread::sleep(Duration::from_millis(5));
        };
        Self { world, child, ready }
    }

    pub(crate) fn fresh() -> Self {
        Self::start(World::new(), &[])
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.world.run(arguments)
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.ready[field].as_str().unwrap_or_default()
    }

    /// What `up` has printed and said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.world.path().join("up.log")).unwrap_or_default()
    }

    /// A chat request; status and whole body.
    pub(crate) fn chat(&self, key: &str, model: &str, stream: bool) -> (u16, String) {
        let url = format!("{}/v1/chat/completions", self.text("base_url"));
        http("POST", &url, &format!("Bearer {key}"), &chat(model, stream))
    }

    /// Returns when `condition` holds.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < until, "{what} did not happen: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as a crash would, and gives back its directory.
    pub(crate) fn kill(mut self) -> World {
        self.child.kill().and_then(|()| self.child.wait()).expect("the child can be ended");
        std::mem::replace(&mut self.world, World::new())
    }

    /// Sends it a signal.
    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Ends it with SIGTERM and gives back its directory and its exit code.
    pub(crate) fn stop(mut self) -> (World, i32) {
        self.signal("-TERM");
        let status = self.child.wait().expect("the child ends");
        (std::mem::replace(&mut self.world, World::new()), status.code().unwrap_or(-1))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // It may have ended already; either way it must be gone and waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP/1.1 call on a connection of its own: status and body, as they came.
fn http(method: &str, url: &str, authorization: &str, body: &str) -> (u16, String) {
    let mut answer = Vec::new();
    request(method, url, authorization, body).read_to_end(&mut answer).expect("the gateway answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}

/// Sends a request; the answer can be read until the gateway closes the connection.
fn request(method: &str, url: &str, authorization: &str, body: &str) -> std::net::TcpStream {
    let rest = url.strip_prefix("http://").expect("an http URL");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = std::net::TcpStream::connect(authority).expect("the gateway accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\nauthorization: {authorization}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("the gateway reads");
    stream
}

fn chat(model: &str, stream: bool) -> String {
    format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"Say hello"}}]}}"#)
}

#[test]
fn the_first_start_offers_the_demo_a_key_and_a_curl_line_that_works() {
    let local = Local::fresh();
    let key = local.text("virtual_key").to_owned();
    assert!(key.starts_with("gw_virt_"), "{}", local.ready);
    assert!(local.text("master_key").starts_with("gw_master_"));
    let screen = local.log();
    for wanted in [local.text("base_url"), local.text("admin_url"), &key, "demo", "curl", "gateway-data"] {
        assert!(screen.contains(wanted), "`{wanted}` is not on the screen: {screen}");
    }
    let line = screen.lines().find(|line| line.trim_start().starts_with("curl ")).expect("a curl line");
    let pasted =
        std::process::Command::new("sh").arg("-c").arg(line).env_remove("http_proxy").output().expect("sh runs");
    let answer = String::from_utf8_lossy(&pasted.stdout);
    assert!(answer.contains("data: [DONE]"), "{line}\n{answer}\n{}", String::from_utf8_lossy(&pasted.stderr));
}

#[test]
fn a_second_start_keeps_everything_and_shows_no_key_again() {
    let first = Local::fresh();
    let key = first.text("virtual_key").to_owned();
    let master = first.text("master_key").to_owned();
    let (world, code) = first.stop();
    assert_eq!(code, 0);
    let second = Local::start(world, &[]);
    assert_eq!(second.ready["virtual_key"], Value::Null);
    assert_eq!(second.text("master_key"), master);
    assert!(second.log().contains("$GATEWAY_KEY"), "{}", second.log());
    assert_eq!(second.chat(&key, "demo/chat", false).0, 200);
}

#[test]
fn a_key_in_the_environment_makes_its_provider_and_the_demo_stays_away() {
    let local = Local::start_with(World::new(), &[("OPENAI_API_KEY", "sk-canary-0123456789")], &[]);
    let names = local.run(&["get", "providers", "-o", "json"]).ended(0).json();
    let names: Vec<_> = names.as_array().into_iter().flatten().map(|item| item["name"].clone()).collect();
    assert!(names.contains(&"openai".into()) && !names.contains(&"demo".into()), "{names:?}");
    assert!(!local.log().contains("sk-canary"), "{}", local.log());
}

#[test]
fn with_a_file_nothing_is_detected_and_the_file_is_what_runs() {
    let world = World::new();
    world.write(
        "gateway.yaml",
        "providers:\n  - {name: trial, kind: demo}\nmodels:\n  - {name: m, targets: [{provider: trial, model: x}]}\n",
    );
    let local = Local::start_with(world, &[("OPENAI_API_KEY", "sk-0123456789")], &["-f", "gateway.yaml"]);
    let providers = local.run(&["get", "providers", "-o", "json"]).ended(0).json();
    assert_eq!(providers.as_array().map(Vec::len), Some(1), "{providers}");
    assert_eq!(local.chat(local.text("virtual_key"), "m", false).0, 200);
}

#[test]
fn an_edited_file_is_applied_and_a_broken_one_keeps_what_runs() {
    let world = World::new();
    let good = |model: &str| {
        format!(
            "providers:\n  - {{name: trial, kind: demo}}\nmodels:\n  - {{name: {model}, targets: [{{provider: trial, model: x}}]}}\n"
        )
    };
    world.write("gateway.yaml", &good("one"));
    let local = Local::start(world, &["-f", "gateway.yaml", "--watch"]);
    let key = local.text("virtual_key").to_owned();
    local.world.write("gateway.yaml", &good("two"));
    local.wait_until("the new model", |local| local.chat(&key, "two", false).0 == 200);
    local.world.write("gateway.yaml", "providers:\n  - name: trial\n    kind: demo\n    colour: red\n");
    local.wait_until("the complaint", |local| local.log().contains("gateway.yaml:4:"));
    assert_eq!(local.chat(&key, "two", false).0, 200);
    local.world.write("gateway.yaml", &format!("{}settings: {{server: {{idle_timeout: 5s}}}}\n", good("two")));
    local.wait_until("the notice", |local| local.log().contains("restart"));
}

#[test]
fn a_bad_start_says_what_to_do_and_leaves_no_ready_file() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (flag, other) in [("--listen", "--admin-listen"), ("--admin-listen", "--listen")] {
        let world = World::new();
        let stale = world.write("ready.json", "{}");
        world
            .run(&["up", flag, &address, other, "127.0.0.1:0", "--ready-file", "ready.json"])
            .ended(1)
            .says(&[&address, "in use", flag]);
        assert!(!stale.exists());
        assert!(!world.path().join("gateway-data").exists(), "the first key would be lost");
    }
    let world = World::new();
    world.write("gateway.yaml", "models:\n  - name: m\n    targets: [{provider: nobody, model: x}]\n");
    world
        .run(&["up", "-f", "gateway.yaml", "--admin-listen", "127.0.0.1:0"])
        .ended(1)
        .says(&["gateway.yaml:3:", "nobody"]);
    assert!(!world.path().join("gateway-data").exists(), "the first key would be lost");
}

#[test]
fn a_stream_in_flight_ends_well_when_the_gateway_is_told_to_stop() {
    let local = Local::fresh();
    let url = format!("{}/v1/chat/completions", local.text("base_url"));
    let authorization = format!("Bearer {}", local.text("virtual_key"));
    let mut stream = request("POST", &url, &authorization, &chat("demo/chat", true));
    let mut answer = vec![0; 1];
    stream.read_exact(&mut answer).expect("a first byte");
    std::thread::scope(|scope| {
        let stop = scope.spawn(|| local.stop().1);
        stream.read_to_end(&mut answer).expect("the rest");
        assert_eq!(stop.join().expect("it stops"), 0);
    });
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("data: [DONE]"), "{answer}");
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_open_requests() {
    let local = Local::fresh();
    let url = format!("{}/v1/chat/completions", local.text("base_url"));
    // A request whose body never ends: it is open until it is cut.
    let rest = url.strip_prefix("http://").expect("an http URL");
    let (authority, path) = rest.split_once('/').expect("a path");
    let mut stream = std::net::TcpStream::connect(authority).expect("the gateway accepts");
    let head = format!(
        "POST /{path} HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {}\r\ncontent-length: 1000\r\n\r\n{{",
        local.text("virtual_key")
    );
    stream.write_all(head.as_bytes()).expect("the gateway reads");
    local.wait_until("the open request", |local| {
        local.run(&["nodes", "-o", "json"]).json()[0]["inflight"].as_u64().is_some_and(|n_open| n_open > 0)
            || http("GET", &format!("{}/metrics", local.text("base_url")), "", "")
                .1
                .contains("gateway_requests_in_flight 1")
    });
    let started = Instant::now();
    local.signal("-INT");
    local.wait_until("the first Ctrl-C", |local| local.log().contains("once more stops at once"));
    let mut local = local;
    assert!(
        local.child.try_wait().expect("the child can be asked").is_none(),
        "it waits for the request: {}",
        local.log()
    );
    local.signal("-INT");
    let status = local.child.wait().expect("the child ends");
    assert_eq!(status.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(8), "that was the 10 s of the first one: {:?}", started.elapsed());
}

#[test]
fn two_gateways_do_not_share_a_data_directory() {
    let local = Local::fresh();
    let arguments = ["up", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    local.run(&arguments).ended(1).says(&["gateway-data", "another gateway"]);
}

#[test]
fn private_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let local = Local::fresh();
    for name in ["ready.json", "gateway-data/context.json"] {
        let mode = local.world.path().join(name).metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    let data: PathBuf = local.world.path().join("gateway-data");
    assert_eq!(data.metadata().expect("it is there").permissions().mode() & 0o077, 0);
}

#[test]
fn the_local_gateway_is_found_from_any_directory_while_it_runs() {
    let local = Local::fresh();
    let elsewhere = World::new();
    let home = local.world.path().to_string_lossy().into_owned();
    elsewhere.run_with(&[("HOME", &home)], &["status"]).ended(0).prints(&[local.text("admin_url"), "1 of 1 connected"]);
    let (world, _) = local.stop();
    world.run(&["status"]).ended(3).says(&["no running gateway", "gatewayctl up"]);
}
