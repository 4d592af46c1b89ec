//! A ClickHouse for tests, from the installed package or with the engine of a current one: its own folder, its own port on loopback,
//! ended with the test process even when that is killed.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{free_port, missing};

/// With this in the environment, the engine of a current ClickHouse is started in place of the installed one.
pub const CURRENT: &str = "GATEWAY_TESTS_CURRENT_CLICKHOUSE";
const PATIENCE: Duration = Duration::from_secs(60);
const USER: &str = "gateway";
/// With letters that an address has to have written otherwise.
const PASSWORD: &str = "p@ss/w%rd";
const WRITTEN_PASSWORD: &str = "p%40ss%2Fw%25rd";

/// A server of its own. Dropped, it ends.
#[derive(Debug)]
pub struct ClickHouse {
    folder: TempDir,
    /// With its first arguments.
    program: Vec<PathBuf>,
    port: u16,
    server: Option<Child>,
}

static SHARED: OnceLock<Option<ClickHouse>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Whether [`CURRENT`] has something to start; said loudly where not.
pub fn has_current() -> bool {
    current().is_some()
}

// === impl ClickHouse ===

impl ClickHouse {
    /// One server for all tests of a process; `None`, said loudly, where ClickHouse is not installed.
    pub fn shared() -> Option<&'static Self> {
        SHARED.get_or_init(Self::launch).as_ref()
    }

    /// A server that a test may stop and start. Takes about a second.
    pub fn launch() -> Option<Self> {
        let program = if std::env::var_os(CURRENT).is_some() { current() } else { installed() }?;
        let folder = tempfile::Builder::new().prefix("gateway-clickhouse").tempdir().expect("a temporary folder");
        let mut clickhouse = Self { folder, program, port: free_port(), server: None };
        clickhouse.configure().expect("the folder is ours");
        clickhouse.start();
        Some(clickhouse)
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        self.query("default", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    pub fn url(&self, database: &str) -> String {
        format!("http://{USER}:{WRITTEN_PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// What it answers to a statement.
    pub fn query(&self, database: &str, statement: &str) -> String {
        let answer = self.ask(database, statement).unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        assert!(head.contains(" 200 "), "{statement}: {body}");
        body.trim_end().to_owned()
    }

    /// Brings it up, on the same port and data; returns when it answers.
    pub fn start(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let log = fs::File::create(self.folder.path().join("log")).expect("the folder is ours");
        // The shell outlives this process just long enough to end the server: its standard input closes with us.
        let script = r#""$0" "$@" </dev/null & server=$!; cat >/dev/null; kill -KILL $server; wait $server"#;
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).args(&self.program);
        command.arg(format!("--config-file={}", self.folder.path().join("config.xml").display()));
        command.current_dir(self.folder.path()).stdin(Stdio::piped());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.server = Some(command.spawn().expect("there is a shell"));
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            assert!(Instant::now() < until, "ClickHouse does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As by a power cut of the process; its data stays.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            // The shell ends with its server.
            let _ = server.wait();
        }
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn configure(&self) -> io::Result<()> {
        let folder = self.folder.path().display();
        let config = format!(
            "<yandex><logger><level>warning</level><console>1</console></logger><http_port>{}</http_port>\
             <listen_host>127.0.0.1</listen_host><path>{folder}/data/</path><tmp_path>{folder}/tmp/</tmp_path>\
             <users_config>{folder}/users.xml</users_config><default_profile>default</default_profile>\
             <default_database>default</default_database><mark_cache_size>67108864</mark_cache_size></yandex>",
            self.port
        );
        fs::write(self.folder.path().join("config.xml"), config)?;
        let users = format!(
            "<yandex><profiles><default/></profiles><quotas><default/></quotas><users><{USER}><password>{PASSWORD}</password>\
             <networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></{USER}></users></yandex>"
        );
        fs::write(self.folder.path().join("users.xml"), users)
    }

    fn answers(&self) -> bool {
        self.ask("default", "SELECT 1").is_ok_and(|answer| answer.contains(" 200 "))
    }

    /// Head and body.
    fn ask(&self, database: &str, statement: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // Of HTTP 1.0, so that the answer comes in one piece and ends with the connection.
        write!(
            stream,
            "POST /?wait_end_of_query=1&database={database} HTTP/1.0\r\nX-ClickHouse-User: {USER}\r\nX-ClickHouse-Key: {PASSWORD}\r\n\
             Content-Length: {}\r\n\r\n{statement}",
            statement.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Debian has the server beside the programs of the system, the vendor has one program for everything.
fn installed() -> Option<Vec<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
    let forms: [&[&str]; 2] = [&["clickhouse-server"], &["clickhouse", "server"]];
    for form in forms {
        if let Some(program) = folders.iter().map(|folder| folder.join(form[0])).find(|program| program.is_file()) {
            return Some([program].into_iter().chain(form[1..].iter().map(PathBuf::from)).collect());
        }
    }
    missing("ClickHouse is not installed (package clickhouse-server)");
    None
}

/// What `make clients` installs.
fn current() -> Option<Vec<PathBuf>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../../.venv/bin/python");
    let look = "import importlib.util, sys; sys.exit(not importlib.util.find_spec('chdb'))";
    if !Command::new(&python).args(["-c", look]).status().is_ok_and(|status| status.success()) {
        missing("the engine of a current ClickHouse is not installed (`make clients`)");
        return None;
    }
    Some(vec![python, here.join("clickhouse.py")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stops_and_starts_on_the_same_data() {
        let Some(mut clickhouse) = ClickHouse::launch() else { return };
        let url = clickhouse.database();
        let name = url.rsplit('/').next().expect("a name").to_owned();
        clickhouse.query(&name, "CREATE TABLE kept (n UInt8) ENGINE = MergeTree() PARTITION BY n ORDER BY n");
        clickhouse.query(&name, "INSERT INTO kept VALUES (7)");
        clickhouse.stop();
        assert!(!clickhouse.answers());
        clickhouse.start();
        assert_eq!(clickhouse.query(&name, "SELECT n FROM kept"), "7");
    }
}
