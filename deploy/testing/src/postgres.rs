//! A Postgres server for tests, from the installed binaries: its own data directory, its own port, ended with the test process
//! even when that is killed.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{free_port, missing};

const PATIENCE: Duration = Duration::from_secs(60);
const SUPERUSER: &str = "postgres";

/// A server of its own. Dropped, it ends.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    owner: Option<Owner>,
    port: u16,
    server: Option<Child>,
}

/// Postgres refuses to run as root, so then it runs as somebody else.
#[derive(Clone, Copy, Debug)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Connections are ended, everything is written.
    Fast,
    /// As by a power cut of the process: recovery at the next start.
    Immediate,
}

static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

// === impl Postgres ===

impl Postgres {
    /// One server for all tests of a process; `None`, said loudly, where Postgres is not installed.
    pub fn shared() -> Option<&'static Self> {
        SHARED.get_or_init(Self::launch).as_ref()
    }

    /// A server that a test may stop and start. Takes about two seconds.
    pub fn launch() -> Option<Self> {
        let Some(programs) = programs() else {
            missing("Postgres is not installed (`initdb` and `postgres` of version 15 or newer; package postgresql)");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("gateway-postgres").tempdir().expect("a temporary folder");
        let owner = owner();
        if let Some(owner) = owner {
            chown(folder.path(), Some(owner.uid), Some(owner.gid)).expect("root may give a folder away");
            fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("the folder is there");
        }
        let mut postgres = Self { folder, programs, owner, port: free_port(), server: None };
        let data = postgres.data();
        let data = data.to_str().expect("temporary folders have plain names");
        postgres.run("initdb", &["-D", data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        postgres.start();
        Some(postgres)
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs statements as the superuser; what they print comes back.
    pub fn psql(&self, database: &str, statements: &str) -> String {
        let port = self.port.to_string();
        let args = ["-h", "127.0.0.1", "-p", &port, "-U", SUPERUSER, "-d", database, "-X", "-q", "-A", "-t", "-v"];
        let output = self.run("psql", &[&args[..], &["ON_ERROR_STOP=1", "-c", statements]].concat());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A copy of a database as it is now, as SQL.
    pub fn dump(&self, database: &str) -> String {
        let port = self.port.to_string();
        let output = self.run("pg_dump", &["-h", "127.0.0.1", "-p", &port, "-U", SUPERUSER, "-d", database]);
        String::from_utf8(output.stdout).expect("the database is UTF-8")
    }

    /// Makes a database anew from a copy. Nobody may be connected to it.
    pub fn restore(&self, database: &str, copy: &str) {
        self.psql("postgres", &format!("DROP DATABASE IF EXISTS {database}"));
        self.psql("postgres", &format!("CREATE DATABASE {database}"));
        let file = self.folder.path().join(format!("{database}.sql"));
        fs::write(&file, copy).expect("the folder is ours");
        if let Some(owner) = self.owner {
            chown(&file, Some(owner.uid), Some(owner.gid)).expect("root may give a file away");
        }
        let (port, file) = (self.port.to_string(), file.to_str().expect("temporary folders have plain names"));
        let args = ["-h", "127.0.0.1", "-p", &port, "-U", SUPERUSER, "-d", database, "-X", "-q", "-v"];
        self.run("psql", &[&args[..], &["ON_ERROR_STOP=1", "-f", file]].concat());
    }

    /// Brings it up, on the same port and data; returns when it answers.
    pub fn start(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        // The shell outlives this process just long enough to end the server: its standard input closes with us.
        let script = r#""$0" "$@" </dev/null & server=$!; cat >/dev/null; kill -QUIT $server; wait $server"#;
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(self.programs.join("postgres")).arg("-D").arg(self.data());
        for setting in [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", self.folder.path().display()),
            // What is tested is what we do, not the disk.
            "fsync=off".to_owned(),
            "max_connections=200".to_owned(),
        ] {
            command.arg("-c").arg(setting);
        }
        let log = fs::File::create(self.folder.path().join("log")).expect("the folder is ours");
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.server = Some(self.as_owner(&mut command).spawn().expect("there is a shell"));
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            assert!(Instant::now() < until, "Postgres does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it; its data stays.
    pub fn stop(&mut self, how: Stop) {
        let Some(mut server) = self.server.take() else { return };
        let mode = if how == Stop::Fast { "fast" } else { "immediate" };
        let data = self.data();
        self.run("pg_ctl", &["stop", "-w", "-m", mode, "-D", data.to_str().expect("a plain name")]);
        drop(server.stdin.take());
        // The shell ends with its server.
        let _ = server.wait();
    }

    fn answers(&self) -> bool {
        let port = self.port.to_string();
        let mut command = Command::new(self.programs.join("pg_isready"));
        command.args(["-q", "-h", "127.0.0.1", "-p", &port]).status().is_ok_and(|status| status.success())
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(self.programs.join(program));
        command.args(args).current_dir("/").stdin(Stdio::null());
        let output = self.as_owner(&mut command).output().unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} failed: {said}\n{}", self.log());
        output
    }

    fn as_owner<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        match self.owner {
            Some(owner) => command.uid(owner.uid).gid(owner.gid),
            None => command,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            let _ = server.wait();
        }
    }
}

/// Where the server's programs are: beside `initdb` on the path, or where Debian puts the newest version.
fn programs() -> Option<PathBuf> {
    let has_all =
        |folder: &Path| ["initdb", "postgres", "pg_ctl", "psql"].iter().all(|name| folder.join(name).exists());
    let told = Command::new("pg_config").arg("--bindir").output().ok();
    let told = told.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim().to_owned()));
    if let Some(folder) = told.filter(|folder| has_all(folder)) {
        return Some(folder);
    }
    let version = |folder: &PathBuf| folder.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let folders = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
    folders.filter(|folder| has_all(folder)).max_by_key(version)
}

/// `None` for everybody but root.
fn owner() -> Option<Owner> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return None;
    }
    let find = |name: &str| -> io::Result<Option<Owner>> {
        let users = fs::read_to_string("/etc/passwd")?;
        Ok(users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then_some(())?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(Owner { uid, gid })
        }))
    };
    let found = [SUPERUSER, "nobody"].iter().find_map(|name| find(name).ok().flatten());
    Some(found.expect("a system has the user `nobody`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stops_and_starts_on_the_same_data() {
        let Some(mut postgres) = Postgres::launch() else { return };
        let url = postgres.database();
        let name = url.rsplit('/').next().expect("a name");
        postgres.psql(name, "CREATE TABLE kept (n BIGINT); INSERT INTO kept VALUES (7)");
        for how in [Stop::Fast, Stop::Immediate] {
            postgres.stop(how);
            assert!(!postgres.answers());
            postgres.start();
            assert_eq!(postgres.psql(name, "SELECT n FROM kept"), "7");
        }
        let copy = postgres.dump(name);
        postgres.psql(name, "DELETE FROM kept");
        postgres.restore(name, &copy);
        assert_eq!(postgres.psql(name, "SELECT n FROM kept"), "7");
    }
}
