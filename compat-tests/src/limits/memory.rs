//! [`Memory`]: what a process has resident, from `/proc`.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use crate::error::CompatError;
use crate::process;

/// Mebibytes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Mib(pub(crate) u64);

impl Mib {
    pub(crate) fn bytes(self) -> u64 {
        self.0 << 20
    }
}

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

/// The memory of one process.
pub(crate) struct Memory {
    directory: PathBuf,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Self {
        Self { directory: PathBuf::from(format!("/proc/{pid}")) }
    }

    /// Resident now.
    pub(crate) fn resident(&self) -> Result<Mib, CompatError> {
        self.field("VmRSS:")
    }

    /// The most that was resident since [`Self::forget_peak`].
    pub(crate) fn peak(&self) -> Result<Mib, CompatError> {
        self.field("VmHWM:")
    }

    /// Begins the peak anew (proc(5), `clear_refs`).
    pub(crate) fn forget_peak(&self) -> Result<(), CompatError> {
        let path = self.directory.join("clear_refs");
        fs::write(&path, "5").map_err(CompatError::io(&path))
    }

    fn field(&self, name: &str) -> Result<Mib, CompatError> {
        let path = self.directory.join("status");
        let status = process::read(&path)?;
        mib(&status, name)
            .ok_or_else(|| CompatError::io(&path)(std::io::ErrorKind::NotFound.into()))
    }
}

/// A field of `status`, rounded up.
fn mib(status: &str, name: &str) -> Option<Mib> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Mib(kib.div_ceil(1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_rounded_up() {
        let status = "Name:\tlarder\nVmHWM:\t   20481 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(mib(status, "VmHWM:"), Some(Mib(21)));
        assert_eq!(mib(status, "VmRSS:"), Some(Mib(1)));
        assert_eq!(mib(status, "VmSwap:"), None);
    }
}
