//! [`Callgrind`]: the instructions that a running server takes, by valgrind's callgrind.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::CompatError;
use crate::process;

const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// The counter of one process that was started behind [`Callgrind::wrapper`].
pub(super) struct Callgrind {
    pid: u32,
    dumps: PathBuf,
    log: PathBuf,
    dumped: Cell<u32>,
}

impl Callgrind {
    /// What comes before the server on the command line. Nothing is counted until [`Self::attach`], so that it starts fast.
    pub(super) fn wrapper(dir: &Path) -> Vec<String> {
        let dumps = format!("--callgrind-out-file={}", dumps(dir).display());
        let words = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no"];
        words.map(str::to_owned).into_iter().chain([dumps]).collect()
    }

    /// Begins to count what the process does.
    pub(super) fn attach(pid: u32, dir: &Path) -> Result<Self, CompatError> {
        let log = dir.join("callgrind_control.log");
        let callgrind = Self { pid, dumps: dumps(dir), log, dumped: Cell::new(0) };
        callgrind.control(&["--instr=on"])?;
        Ok(callgrind)
    }

    /// Begins anew.
    pub(super) fn zero(&self) -> Result<(), CompatError> {
        self.control(&["--zero"])
    }

    /// What was counted since; begins anew.
    pub(super) fn counted(&self) -> Result<u64, CompatError> {
        self.control(&["--dump"])?;
        self.dumped.set(self.dumped.get() + 1);
        let path = self.dumps.with_extension(self.dumped.get().to_string());
        let text = process::read(&path)?;
        total(&text).ok_or_else(|| CompatError::Unreadable {
            what: "callgrind's totals",
            text: path.display().to_string(),
            log: self.log.clone(),
        })
    }

    /// Returns once the process has done it.
    fn control(&self, arguments: &[&str]) -> Result<(), CompatError> {
        let mut command = Command::new("callgrind_control");
        command.args(arguments).arg(self.pid.to_string());
        process::run_expecting(0, &mut command, &self.log, COMMAND_LIMIT)
    }
}

/// A dump's name ends in its number.
fn dumps(dir: &Path) -> PathBuf {
    dir.join("callgrind")
}

fn total(dump: &str) -> Option<u64> {
    let mut lines = dump.lines().rev();
    lines.find_map(|line| line.strip_prefix("totals:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_stands_at_the_end_of_a_dump() {
        let dump = "events: Ir\nsummary: 354534710\n\nfn=(1)\n12 7\n\ntotals: 354534829\n";
        assert_eq!(total(dump), Some(354_534_829));
        assert_eq!(total("events: Ir\n"), None);
    }
}
