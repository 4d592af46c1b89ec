//! One process of the fleet: started, killed, started again with the same arguments.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};

use gateway_testing::gatewayctl;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::eventually;

/// `gatewayctl` with its arguments; nothing of the developer's environment. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    folder: PathBuf,
    /// The `gatewayctl` that is run.
    pub(crate) program: PathBuf,
    args: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    child: Option<Child>,
    /// What the ready file of the last start said.
    pub(crate) ready: Value,
}

// === impl Process ===

impl Process {
    /// Runs in `folder`; output is appended to `<name>.log`, the ready file is `<name>-ready.json`.
    pub(crate) fn new(folder: &Path, name: &str, args: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            program: gatewayctl().to_owned(),
            args,
            variables: Vec::new(),
            child: None,
            ready: Value::Null,
        }
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(&mut self) {
        self.launch();
        self.until_ready().await;
    }

    /// Starts it.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let _ = fs::remove_file(self.ready_file());
        let log = File::options().create(true).append(true).open(self.log_file()).expect("the folder is ours");
        let mut command = command(&self.program, &self.folder, &self.args);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.arg("--ready-file").arg(self.ready_file());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.child = Some(command.spawn().expect("gatewayctl starts"));
    }

    pub(crate) async fn until_ready(&mut self) {
        let child = self.child.as_mut().expect("it was started");
        let (name, log, ready_file) = (&self.name, self.folder.join(format!("{}.log", self.name)), {
            self.folder.join(format!("{}-ready.json", self.name))
        });
        let look = || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("{name} ended with {status} before it was ready:\n{}", read(&log));
            }
            let text = fs::read_to_string(&ready_file).ok();
            async move { text }
        };
        let (text, _) = eventually(&format!("{name} to be ready"), look).await;
        self.ready = serde_json::from_str(&text).expect("the ready file appears whole");
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) async fn kill(&mut self) {
        let mut child = self.child.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        child.kill().await.expect("it can be killed");
    }

    /// SIGTERM.
    pub(crate) async fn ask_to_end(&self) {
        let pid = self.child.as_ref().and_then(Child::id).unwrap_or_else(|| panic!("{} does not run", self.name));
        let status = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await;
        assert!(status.expect("kill is there").success());
    }

    /// Waits until it has ended by itself or because it was asked to.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        let status = timeout(crate::PATIENCE, child.wait()).await;
        status.unwrap_or_else(|_| panic!("{} does not end:\n{}", self.name, self.log())).expect("its status is known")
    }

    /// SIGTERM, and it must end well.
    pub(crate) async fn stop(&mut self) {
        self.ask_to_end().await;
        let status = self.ended().await;
        assert!(status.success(), "after SIGTERM {} ended with {status}:\n{}", self.name, self.log());
    }

    /// Resident memory in MiB: now, and the most that it was since the start.
    pub(crate) fn memory(&self) -> (f64, f64) {
        let status = read(&self.of_kernel("status"));
        let mib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kib.unwrap_or_else(|| panic!("no {field} of {}: {status}", self.name)) / 1024.0
        };
        (mib("VmRSS:"), mib("VmHWM:"))
    }

    /// Seconds on processors so far, the kernel's for it included.
    pub(crate) fn processor_seconds(&self) -> f64 {
        /// What Linux tells programs, whatever it counts in itself: `USER_HZ`.
        const TICKS: f64 = 100.0;
        let stat = read(&self.of_kernel("stat"));
        // After the name, which may hold anything, `utime` and `stime` are the twelfth and the thirteenth.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        ticks / TICKS
    }

    fn of_kernel(&self, file: &str) -> PathBuf {
        let pid = self.child.as_ref().and_then(Child::id).unwrap_or_else(|| panic!("{} does not run", self.name));
        Path::new("/proc").join(pid.to_string()).join(file)
    }

    /// All that it said, in all its starts.
    pub(crate) fn log(&self) -> String {
        read(&self.log_file())
    }

    /// An address out of the ready file.
    pub(crate) fn address(&self, field: &str) -> SocketAddr {
        let url = self.ready[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {}", self.ready));
        let at = url.find("://").map_or(0, |at| at + 3);
        url[at..].trim_end_matches('/').parse().unwrap_or_else(|_| panic!("not host:port: {url}"))
    }

    /// An address that it was told, ready or not.
    pub(crate) fn told(&self, flag: &str) -> SocketAddr {
        let at = self.args.iter().position(|arg| arg == flag).expect("it was told");
        self.args[at + 1].parse().expect("an address")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.join(format!("{}-ready.json", self.name))
    }
}

impl Drop for Process {
    /// Whatever was done to it: a program of ours does not panic.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let log = self.log();
            assert!(!log.contains("panicked at"), "{} panicked:\n{log}", self.name);
        }
    }
}

/// `gatewayctl`, about to run in `folder` as if nobody had ever configured anything.
pub(crate) fn command(program: &Path, folder: &Path, args: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", folder).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn output(mut command: Command) -> Output {
    let output = timeout(crate::PATIENCE, command.output()).await;
    output.unwrap_or_else(|_| panic!("{command:?} does not end")).expect("gatewayctl starts")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
