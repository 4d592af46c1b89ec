//! A process of the benchmark: pinned to a core, ahead of whatever else runs, ended with the value.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Sets up the child and becomes it, so that the process id stays: more descriptors (a thousand held streams need two each),
/// priority over builds beside us where that is permitted, and one core.
const BECOME: &str = r#"
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
echo -15 2>/dev/null >/proc/self/autogroup || true
core=$1; shift
if command -v taskset >/dev/null; then set -- taskset -c "$core" "$@"; fi
exec "$@"
"#;

/// Cores of the two sides. On a machine with one core they share it and ratios suffer.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// Load generator and upstream.
    Harness,
    /// What is measured.
    Target,
}

#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

// === impl Process ===

impl Process {
    /// Starts `command` with its output in `log`.
    pub fn start(name: &str, side: Side, command: &[&str], log: &Path) -> anyhow::Result<Self> {
        let log_file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = pinned(side, command).stdout(log_file.try_clone()?).stderr(log_file).spawn();
        Ok(Self { child: child.with_context(|| format!("cannot start {}", command[0]))?, name: name.to_owned() })
    }

    /// Starts `command` and returns the first line that it prints, which tells its address.
    pub fn start_and_read(name: &str, side: Side, command: &[&str]) -> anyhow::Result<(Self, String)> {
        let mut child = pinned(side, command).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let stdout: ChildStdout = child.stdout.take().context("stdout is piped")?;
        let process = Self { child, name: name.to_owned() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim().is_empty() {
            bail!("`{name}` ended before it told its address");
        }
        Ok((process, line.trim().to_owned()))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when the process has ended on its own.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("`{}` ended with {status}", self.name),
            None => Ok(()),
        }
    }

    /// Asks it to end (SIGTERM), so that it leaves its files in order.
    pub fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        let until = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > until {
                bail!("`{}` did not end within 20 s of SIGTERM", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _: io::Result<()> = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end on the harness' core; its standard output.
pub fn output(command: &[&str]) -> anyhow::Result<String> {
    let output = pinned(Side::Harness, command).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("`{}` ended with {}", command.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn pinned(side: Side, command: &[&str]) -> Command {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let core = match side {
        Side::Target if n_cores > 1 => "1",
        Side::Target | Side::Harness => "0",
    };
    let mut shell = Command::new("setsid");
    shell.args(["sh", "-c", BECOME, "sh", core]).args(command).stdin(Stdio::null());
    shell
}
