//! Starting, starting again, and not starting.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gateway_model::secret::Secret;
use gateway_server::vault::Vault;
use gateway_server::{ControlPlane, start};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{World, options};

async fn refused(data_dir: &Path) -> String {
    format!("{:#}", start(options(data_dir)).await.map(drop).unwrap_err())
}

async fn keys(control: &ControlPlane) -> Vec<String> {
    let kind = gateway_store::ItemKind::Resource(gateway_model::kind::Kind::Key);
    control.app().store.items(kind, "", 100).await.unwrap().into_iter().map(|item| item.name).collect()
}

#[tokio::test]
async fn the_first_start_makes_what_the_second_finds() {
    let world = World::new().await;
    assert!(world.control.fresh());
    assert!(world.control.minted_key().unwrap().expose().starts_with("gw_virt_"));
    assert_eq!(keys(&world.control).await, ["default"]);
    let master = world.master_key();
    assert!(master.starts_with("gw_master_"));
    world
        .call("POST", "/admin/providers", json!({"name": "p", "kind": "openai", "api_key": "sk-first-0123456789"}))
        .await
        .expect(201);
    for file in ["kek.key", "master.key", "gateway.db"] {
        let mode = std::fs::metadata(world.directory.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    world.control.shutdown().await;

    let again = start(options(world.directory.path())).await.unwrap();
    assert!(!again.fresh() && again.minted_key().is_none());
    assert_eq!(again.master_key().expose(), master);
    assert_eq!(again.app().store.heads().await.unwrap().topology, 1);
    again.shutdown().await;
}

#[tokio::test]
async fn two_on_one_directory_are_one_too_many() {
    let world = World::new().await;
    let said = refused(world.directory.path()).await;
    assert!(said.contains("another gateway is running on the data directory"), "{said}");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_flag() {
    let world = World::new().await;
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.admin_listen = world.control.admin_addr();
    let said = format!("{:#}", start(options).await.map(drop).unwrap_err());
    assert!(said.contains(&world.control.admin_addr().to_string()) && said.contains("--admin-listen"), "{said}");
    assert!(!directory.path().join("kek.key").exists(), "nothing was made");
}

#[tokio::test]
async fn a_wrong_or_missing_kek_is_refused() {
    let world = World::new().await;
    let data_dir = world.directory.path().to_owned();
    world.control.shutdown().await;
    let kek = data_dir.join("kek.key");
    let right = std::fs::read_to_string(&kek).unwrap();

    std::fs::write(&kek, Vault::generate().expose()).unwrap();
    let said = refused(&data_dir).await;
    assert!(said.contains("sealed with another key-encryption key"), "{said}");
    std::fs::remove_file(&kek).unwrap();
    let said = refused(&data_dir).await;
    assert!(said.contains("is missing; restore it from a backup"), "{said}");
    assert!(!kek.exists(), "a new one would hide the loss");
    for (content, expected) in [("", "is empty"), ("c2hvcnQ", "must be 32 bytes in base64")] {
        std::fs::write(&kek, content).unwrap();
        let said = refused(&data_dir).await;
        assert!(said.contains(expected), "{said}");
    }
    std::fs::write(&kek, right).unwrap();
    start(options(&data_dir)).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_short_master_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (content, expected) in [("\n", "is empty"), ("short", "fewer than 20 characters")] {
        std::fs::write(directory.path().join("master.key"), content).unwrap();
        let said = refused(directory.path()).await;
        assert!(said.contains(expected), "{said}");
    }
    let own = Secret::new("my-own-master-key-0123456789");
    std::fs::write(directory.path().join("master.key"), own.expose()).unwrap();
    let control = start(options(directory.path())).await.unwrap();
    assert_eq!(*control.master_key(), own);
}

#[tokio::test]
async fn a_database_that_cannot_be_used_says_why() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("gateway.db"), "not a database ".repeat(1000)).unwrap();
    let said = refused(directory.path()).await;
    assert!(said.contains("gateway.db") && said.contains("not a SQLite database"), "{said}");
    let mut elsewhere = options(directory.path());
    elsewhere.database_url = Some("postgres://user:hush@localhost/gateway".to_owned());
    let said = format!("{:#}", start(elsewhere).await.map(drop).unwrap_err());
    assert!(said.contains("--database-url") && !said.contains("hush"), "{said}");
    let directory = tempfile::tempdir().unwrap();
    let mut elsewhere = options(directory.path());
    elsewhere.logs_database = Some(Secret::new("clickhouse://user:hush@localhost:9000/logs"));
    let said = format!("{:#}", start(elsewhere).await.map(drop).unwrap_err());
    assert!(said.contains("--logs-database") && said.contains("http://") && !said.contains("hush"), "{said}");
}

/// Over a real socket: the listener's limits, and its end.
#[tokio::test]
async fn the_listener_answers_and_stops() {
    let world = World::new().await;
    let address = world.control.admin_addr();
    let ask = async |request: String| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A refused connection may be reset after the answer.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    };
    let authorization = format!("authorization: Bearer {}\r\n", world.master_key());
    let head = format!("GET /admin/status HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{authorization}");
    assert!(ask(format!("{head}\r\n")).await.starts_with("HTTP/1.1 200"));
    let long = format!("{head}x-long: {}\r\n\r\n", "x".repeat(100 << 10));
    assert!(ask(long).await.starts_with("HTTP/1.1 431"));
    let many = format!("{head}{}\r\n", "a: b\r\n".repeat(200));
    assert!(ask(many).await.starts_with("HTTP/1.1 431"));
    assert!(ask("what?\r\n\r\n".to_owned()).await.starts_with("HTTP/1.1 400"));

    // An open list does not hold the process up.
    let mut following = tokio::net::TcpStream::connect(address).await.unwrap();
    let follow = format!("GET /admin/logs/follow HTTP/1.1\r\nhost: {address}\r\n{authorization}\r\n");
    following.write_all(follow.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    following.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    world.control.shutdown().await;
    let mut rest = Vec::new();
    following.read_to_end(&mut rest).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// The program itself: a file applied at start, the ready file, a broken file, the orderly end.
#[tokio::test]
async fn the_program_applies_a_file_and_says_when_it_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let yaml =
        "providers:\n  - {name: p, kind: openai, api_key: '${file:secret.txt}'}\nroutes:\n  - {name: r, model: p/m}\n";
    std::fs::write(path("gateway.yaml"), yaml).unwrap();
    std::fs::write(path("secret.txt"), "sk-from-a-file-0123456789\n").unwrap();
    let program = || {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gateway-control-plane"));
        command
            .args(["--admin-listen", "127.0.0.1:0", "--fleet-listen", "127.0.0.1:0", "--data-dir"])
            .arg(path("data"));
        command.arg("-f").arg(path("gateway.yaml")).arg("--ready-file").arg(path("ready.json"));
        command.stderr(std::process::Stdio::piped()).kill_on_drop(true);
        command
    };
    let mut running = program().spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(running.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push(line);
        if said.last().is_some_and(|line| line.starts_with("first virtual key")) {
            break;
        }
    }
    assert!(said.iter().any(|line| line.contains("back it up")), "{said:?}");
    let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(path("ready.json")).unwrap()).unwrap();
    assert_eq!(std::fs::metadata(path("ready.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(said.iter().any(|line| line.contains(ready["virtual_key"].as_str().unwrap())), "{said:?}");
    let address = ready["admin_url"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let key = ready["master_key"].as_str().unwrap();
    let request = format!(
        "GET /admin/providers/p HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(r#""last4":"6789""#) && answer.contains(r#""owner":"gateway.yaml""#), "{answer}");
    let pid = running.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(running.wait().await.unwrap().success());

    std::fs::write(path("gateway.yaml"), "providers:\n  - name: p\n    kind: openai\n    bogus: 1\n").unwrap();
    let refused = program().output().await.unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("gateway.yaml:4:") && said.contains("providers[p].bogus"),
        "{said}"
    );
    assert!(!path("ready.json").exists(), "a stale one would be taken for this start's");
}

/// What the file refers to may be stored already. The ready file tells how nodes join.
#[tokio::test]
async fn a_file_may_refer_to_what_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let ready = async |yaml: &str| -> Result<serde_json::Value, String> {
        std::fs::write(path("gateway.yaml"), yaml).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gateway-control-plane"));
        command
            .args(["--admin-listen", "127.0.0.1:0", "--fleet-listen", "127.0.0.1:0", "--data-dir"])
            .arg(path("data"));
        command.arg("-f").arg(path("gateway.yaml")).arg("--ready-file").arg(path("ready.json"));
        let mut running = command.stderr(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut said = String::new();
        let mut lines = tokio::io::BufReader::new(running.stderr.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("nodes join on https://127.0.0.1:") {
                running.kill().await.unwrap();
                return Ok(serde_json::from_slice(&std::fs::read(path("ready.json")).unwrap()).unwrap());
            }
            said += &line;
        }
        Err(said)
    };
    let provider = "providers:\n  - {name: p, kind: openai, api_key: sk-0123456789}\n";
    let first = ready(provider).await.unwrap();
    let second = ready("routes:\n  - {name: r, model: p/m}\n").await.unwrap();
    for file in [&first, &second] {
        assert!(file["fleet_url"].as_str().is_some_and(|url| url.starts_with("https://127.0.0.1:")), "{file}");
    }
    assert!(first["join_token"].as_str().is_some_and(|token| token.starts_with("gw_join_")), "{first}");
    assert_eq!(first["join_token"], second["join_token"]);
    let said = ready("routes:\n  - {name: r, model: nobody/m}\n").await.unwrap_err();
    assert!(said.contains("gateway.yaml:2:") && said.contains("nobody"), "{said}");
}

#[tokio::test]
async fn the_master_key_comes_from_the_environment_or_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("key"), "the-master-key-of-a-file\n").unwrap();
    for (name, environment, arguments, expected) in [
        ("one", Some("the-master-key-of-the-environment"), None, "the-master-key-of-the-environment"),
        ("two", None, Some(path("key")), "the-master-key-of-a-file"),
        // Named on the command line is said last.
        ("three", Some("the-master-key-of-the-environment"), Some(path("key")), "the-master-key-of-a-file"),
    ] {
        let ready_file = path(&format!("{name}.json"));
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gateway-control-plane"));
        command.args(["--admin-listen", "127.0.0.1:0", "--fleet-listen", "127.0.0.1:0", "--data-dir"]).arg(path(name));
        command.arg("--ready-file").arg(&ready_file).stderr(std::process::Stdio::piped()).kill_on_drop(true);
        command.envs(environment.map(|key| ("GATEWAY_MASTER_KEY", key)));
        command.args(arguments.iter().flat_map(|file| [std::ffi::OsStr::new("--master-key-file"), file.as_os_str()]));
        let mut running = command.spawn().unwrap();
        let mut lines = tokio::io::BufReader::new(running.stderr.take().unwrap()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            assert!(!line.contains(expected), "{line}");
            if line.starts_with("first virtual key") {
                break;
            }
        }
        let ready: serde_json::Value = serde_json::from_slice(&std::fs::read(&ready_file).unwrap()).unwrap();
        assert_eq!(ready["master_key"], expected, "{name}");
        let address = ready["admin_url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        for (key, status) in [(expected, "200"), ("the-master-key-of-nobody", "401")] {
            let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
            let request = format!(
                "GET /admin/keys HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
        }
    }
}
