//! A HAProxy for tests, from the installed package: in the foreground, on loopback, ended with the test process even when that
//! is killed.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::missing;

const PATIENCE: Duration = Duration::from_secs(20);
/// Debian puts it where only root's path leads.
const PLACES: [&str; 2] = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"];

/// A running balancer. Dropped, it ends.
#[derive(Debug)]
pub struct Haproxy {
    folder: TempDir,
    server: Child,
}

// === impl Haproxy ===

impl Haproxy {
    /// Runs a configuration file with these environment variables; returns when `listens` accepts connections. `None`, said
    /// loudly, where HAProxy is not installed. A configuration that it refuses panics with what it says.
    pub fn launch(config: &Path, variables: &[(&str, String)], listens: SocketAddr) -> Option<Self> {
        let Some(program) = program() else {
            missing("HAProxy is not installed (package haproxy)");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("gateway-haproxy").tempdir().expect("a temporary folder");
        let log = fs::File::create(folder.path().join("log")).expect("the folder is ours");
        // The shell outlives this process just long enough to end the server: its standard input closes with us.
        let script = r#""$0" -db -f "$1" </dev/null & server=$!; cat >/dev/null; kill -KILL $server; wait $server"#;
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(program).arg(config).current_dir("/");
        command.env_clear().envs(variables.iter().map(|(name, value)| (*name, value)));
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let server = command.spawn().expect("there is a shell");
        let balancer = Self { folder, server };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(listens).is_err() {
            assert!(Instant::now() < until, "HAProxy does not listen on {listens}:\n{}", balancer.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(balancer)
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        // The shell ends with its server.
        let _ = self.server.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("haproxy"));
    on_path.chain(PLACES.map(PathBuf::from)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::Ipv4Addr;

    use super::*;
    use crate::free_port;

    #[test]
    fn it_answers_with_what_it_is_told_and_ends() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("haproxy.cfg");
        let text = "defaults\n mode http\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n\
             frontend f\n bind \"${BIND}\"\n http-request return status 418\n";
        fs::write(&config, text).expect("a temporary folder is writable");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let Some(balancer) = Haproxy::launch(&config, &[("BIND", address.to_string())], address) else { return };
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it closes after the answer");
        assert!(answer.starts_with("HTTP/1.1 418"), "{answer}\n{}", balancer.log());
        drop(balancer);
        assert!(TcpStream::connect(address).is_err());
    }
}
