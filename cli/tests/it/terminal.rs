//! A terminal of 80 by 24 (or what a test says), with the real binary at it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::World;

/// Longest wait for anything; a condition ends it much earlier.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command at a terminal. Killed when dropped.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

// === impl Terminal ===

impl Terminal {
    pub(crate) fn start(world: &World, columns: u16, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
        grantpt(&control).and_then(|()| unlockpt(&control)).expect("it can be used");
        let name = ptsname(&control, Vec::new()).expect("it has a name");
        let user = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it can be opened");
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&user, size).expect("it takes a size");
        let user = File::from(user);
        let handle = || Stdio::from(user.try_clone().expect("one more handle"));
        let mut command = world.command(arguments);
        command
            .envs(environment.iter().copied())
            .env("TERM", "xterm")
            .stdin(handle())
            .stdout(handle())
            .stderr(handle());
        let child = command.spawn().expect("gatewayctl starts");
        let keyboard = File::from(control);
        let mut output = keyboard.try_clone().expect("one more handle");
        let screen: Arc<Mutex<String>> = Arc::default();
        let seen = Arc::clone(&screen);
        // Ends when the last handle of the other side is closed.
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                seen.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        Self { child, keyboard, screen, reader: Some(reader) }
    }

    /// Everything that was drawn so far, control characters included.
    pub(crate) fn screen(&self) -> String {
        self.screen.lock().expect("nobody panics with it").clone()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen| screen.contains(text));
    }

    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !condition(&self.screen()) {
            assert!(Instant::now() < until, "`{what}` is not on the screen: {}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("the terminal takes input");
    }

    /// Waits for the command to end; its exit code and all that was drawn.
    #[track_caller]
    pub(crate) fn ended(mut self, code: i32) -> String {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                break status;
            }
            assert!(Instant::now() < until, "it does not end: {}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        };
        // Nobody writes any more; what was written is read to its end.
        self.reader.take().map(std::thread::JoinHandle::join).transpose().expect("the reader does not panic");
        let drawn = self.screen();
        assert_eq!(status.code(), Some(code), "{drawn}");
        drawn
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already; either way it must be gone and waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
