//! This machine, where a gateway runs or is to run: its data directory and the ports.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use super::report::Report;
use crate::args;
use crate::context::local;
use crate::host::private;

const MIB: u64 = 1024 * 1024;
/// Below this the disk is worth a look, below the other one the gateway will soon be unable to write.
const LITTLE: u64 = 1024 * MIB;
const TOO_LITTLE: u64 = 100 * MIB;
/// Files in a data directory that hold secrets.
const SECRETS: [&str; 5] = ["kek.key", "master.key", "gateway.db", "context.json", "node/state.key"];
/// What listens where, when nothing else is said.
const PORTS: [(u16, &str, &str); 3] = [
    (8080, "the public API", "--listen"),
    (8081, "the admin API", "--admin-listen"),
    (8082, "the fleet", "--fleet-listen"),
];

/// The data directory that is there, if one is.
pub(super) fn data_dir(report: &mut Report, named: Option<&Path>) {
    let found = local::candidates(named).into_iter().find(|directory| directory.exists());
    let Some(directory) = found else {
        let looked = named.map_or(args::DATA_DIR.into(), |named| named.display().to_string());
        report.ok("data", format!("`{looked}` does not exist; the first start makes it"));
        return;
    };
    permissions(report, &directory);
    space(report, &directory);
}

fn permissions(report: &mut Report, directory: &Path) {
    let shown = directory.display();
    if let Err(error) = rustix::fs::access(directory, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK) {
        let error = io::Error::from(error);
        report.fail(
            "data",
            format!("`{shown}` cannot be written by this user: {error}"),
            "run the gateway as its owner",
        );
        return;
    }
    let open: Vec<String> = SECRETS
        .into_iter()
        .map(|name| directory.join(name))
        .filter(|path| private::is_open_to_others(path).unwrap_or(false))
        .map(|path| path.display().to_string())
        .collect();
    if open.is_empty() {
        report.ok("data", format!("`{shown}` is writable, its secrets are private"));
    } else {
        let advice = format!("chmod 600 {}", open.join(" "));
        report.fail("data", format!("other users can read {}", open.join(", ")), advice);
    }
}

fn space(report: &mut Report, directory: &Path) {
    let free = match rustix::fs::statvfs(directory) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            let error = io::Error::from(error);
            report.warn("disk", format!("how much is free is not known: {error}"), "look with `df`");
            return;
        }
    };
    let found = format!("{} MiB free for `{}`", free / MIB, directory.display());
    match free {
        ..TOO_LITTLE => report.fail("disk", found, "make room: usage that cannot be written is lost"),
        TOO_LITTLE..LITTLE => report.warn("disk", found, "make room before it is full"),
        LITTLE.. => report.ok("disk", found),
    }
}

/// Whether a gateway could start here.
pub(super) fn ports(report: &mut Report) {
    let taken: Vec<_> = PORTS.into_iter().filter(|(port, ..)| is_taken(*port)).collect();
    if taken.is_empty() {
        report.ok("ports", "8080, 8081 and 8082 are free on 127.0.0.1");
    }
    for (port, what, flag) in taken {
        report.warn(
            "ports",
            format!("another program has port {port}, where {what} would listen"),
            format!(
                "stop it (`ss -ltnp 'sport = :{port}'` shows it), or start the gateway with `{flag} 127.0.0.1:PORT`"
            ),
        );
    }
}

fn is_taken(port: u16) -> bool {
    matches!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)), Err(error) if error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::report::State;
    use super::*;

    #[test]
    fn secrets_that_others_can_read_are_named() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut report = Report::default();
        data_dir(&mut report, Some(&directory.path().join("missing")));
        assert_eq!((report.worst(), report.checks.len()), (State::Ok, 1));
        let file = directory.path().join("kek.key");
        for (mode, expected) in [(0o600, State::Ok), (0o640, State::Fail)] {
            std::fs::write(&file, "x").expect("it is ours");
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("it is ours");
            let mut report = Report::default();
            permissions(&mut report, directory.path());
            assert_eq!(report.worst(), expected, "{report:?}");
        }
        let mut report = Report::default();
        space(&mut report, directory.path());
        assert!(report.draw(false).contains("MiB free"), "{report:?}");
    }

    #[test]
    fn a_port_that_is_taken_is_known() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        assert!(is_taken(listener.local_addr().expect("an address").port()));
    }
}
