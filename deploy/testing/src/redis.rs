//! A Redis for tests, from the installed package: in memory only, on loopback, ended with the test process even when that is
//! killed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{free_port, missing};

const PATIENCE: Duration = Duration::from_secs(20);
/// Either name: what we say to them is the same.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];

/// A running server. Dropped, it ends.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    program: PathBuf,
    port: u16,
    server: Option<Child>,
}

// === impl Redis ===

impl Redis {
    /// An empty server; returns when it answers. `None`, said loudly, where none is installed.
    pub fn launch() -> Option<Self> {
        let Some(program) = program() else {
            missing("neither Redis nor Valkey is installed (package redis-server)");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("gateway-redis").tempdir().expect("a temporary folder");
        let mut redis = Self { folder, program, port: free_port(), server: None };
        redis.start();
        Some(redis)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Brings it up, empty, on the port it had; returns when it answers.
    pub fn start(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let log = fs::File::create(self.folder.path().join("log")).expect("the folder is ours");
        // The shell outlives this process just long enough to end the server: its standard input closes with us.
        let script = r#""$0" "$@" </dev/null & server=$!; cat >/dev/null; kill -KILL $server; wait $server"#;
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(&self.program).args(["--port", &self.port.to_string()]);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]).arg(self.folder.path());
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.server = Some(command.spawn().expect("there is a shell"));
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            assert!(Instant::now() < until, "Redis does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// As by a power cut; what it held is gone.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            // The shell ends with its server.
            let _ = server.wait();
        }
    }

    /// Forgets all that it holds.
    pub fn flush(&self) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it runs");
        let mut answer = [0; 3];
        stream.write_all(b"FLUSHALL\r\n").and_then(|()| stream.read_exact(&mut answer)).expect("it answers");
        assert_eq!(&answer, b"+OK");
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else { return false };
        let mut answer = [0; 5];
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"+PONG"
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).flat_map(|folder| PROGRAMS.map(|name| folder.join(name)));
    places.find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_ends_and_comes_back() {
        let Some(mut redis) = Redis::launch() else { return };
        redis.stop();
        assert!(!redis.answers());
        redis.start();
        assert!(redis.answers(), "{}", redis.log());
    }
}
