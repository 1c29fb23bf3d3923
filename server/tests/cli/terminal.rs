//! [`Terminal`]: a terminal with a program on it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::running::PATIENCE;

/// A terminal with a program on it, which is killed with it.
pub(crate) struct Terminal {
    child: Child,
    shown: mpsc::Receiver<Vec<u8>>,
}

impl Terminal {
    /// Runs `command` on one of so many rows and columns.
    pub(crate) fn run(mut command: Command, (rows, columns): (u16, u16)) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&controller, size).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let name = OsStr::from_bytes(name.as_bytes());
        let terminal = File::options().read(true).write(true).open(name).unwrap();
        let child = command.stdout(terminal).spawn().unwrap();
        // The last handle to the terminal outside of the program; without it reading ends with the program.
        drop(command);
        let (sender, shown) = mpsc::channel();
        thread::spawn(move || {
            let mut controller = File::from(controller);
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = controller.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, shown }
    }

    /// Waits until the text is shown, counted from what was waited for last.
    pub(crate) fn await_text(&self, text: &str) {
        let begun = Instant::now();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let more = self.shown.recv_timeout(left);
            seen.extend(more.unwrap_or_else(|_| {
                panic!("{text:?} is not in {}", String::from_utf8_lossy(&seen))
            }));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
