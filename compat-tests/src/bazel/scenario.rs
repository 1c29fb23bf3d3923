//! [`Scenario`]: a cold build that fills the cache, then what must not make the next build run anything again.

use std::fmt;
use std::path::Path;

use super::expectations;
use super::output_base::{Download, OutputBase, Remote};
use super::protocol::Protocol;
use super::record::BuildRecord;
use crate::error::{CompatError, Unmet};
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;

/// Outputs that nothing needs locally in a warm build.
const NOT_NEEDED: [&str; 3] =
    ["shapes/many/0.txt", "shapes/listing.txt", "shapes/orchard/deep/leaf1"];
/// What the failing test prints: it runs on this machine, so that its input is fetched whatever the download mode. (That the file is
/// there proves nothing: Bazel 4 removes it again after the build.)
const NEEDED: &str = "large.bin has 50000000 bytes";

#[derive(Clone, Copy, Debug)]
pub(super) enum Scenario {
    /// `bazel clean`, then the same again; and once more in another output base.
    Warm,
    /// The server is killed with SIGKILL and restarted in between.
    Crash,
    /// Build without the bytes.
    Minimal,
}

/// Two machines, as far as Bazel can tell.
pub(super) struct Bases {
    pub(super) first: OutputBase,
    pub(super) second: OutputBase,
}

impl Scenario {
    pub(super) const ALL: [Self; 3] = [Self::Warm, Self::Crash, Self::Minimal];
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warm => "warm",
            Self::Crash => "crash",
            Self::Minimal => "minimal",
        })
    }
}

/// Runs `scenario` against a server of its own; the answer says what was seen.
pub(super) fn run(
    scenario: Scenario,
    bases: &Bases,
    lab: &Lab,
    dir: &Path,
    protocol: Protocol,
    flags: &[&str],
) -> Result<String, CompatError> {
    let mut larder = Larder::start(lab, dir)?;
    let download = match scenario {
        Scenario::Warm | Scenario::Crash => Download::Everything,
        Scenario::Minimal => Download::Minimal,
    };
    let remote = Remote { url: protocol.url(larder.address()), flags, download };
    let first = &bases.first;
    first.clean()?;
    let cold = first.test(&remote, dir, "cold")?;
    met(expectations::cold(&cold), &cold)?;
    let built = first.snapshot()?;

    match scenario {
        Scenario::Warm | Scenario::Minimal => {}
        Scenario::Crash => larder.crash_and_restart()?,
    }
    first.clean()?;
    let warm = first.test(&remote, dir, "warm")?;
    met(expectations::warm(&cold, &warm), &warm)?;

    let outputs = match scenario {
        Scenario::Crash => {
            met(built.differences(&first.snapshot()?), &warm)?;
            format!("{} files identical", built.file_count())
        }
        Scenario::Warm => {
            met(built.differences(&first.snapshot()?), &warm)?;
            bases.second.clean()?;
            let other = bases.second.test(&remote, dir, "warm-elsewhere")?;
            met(expectations::warm(&cold, &other), &other)?;
            met(built.differences(&bases.second.snapshot()?), &other)?;
            format!("{} files identical, here and in a new output base", built.file_count())
        }
        Scenario::Minimal => {
            met(downloaded_only_what_is_needed(first, &warm)?, &warm)?;
            "the test's input fetched, the rest left in the cache".to_owned()
        }
    };
    larder.stop()?;
    Ok(format!(
        "{} run in {:.1} s, then {} hits in {:.1} s; {outputs}",
        cold.spawns.len(),
        cold.took.as_secs_f64(),
        warm.hits(),
        warm.took.as_secs_f64(),
    ))
}

fn downloaded_only_what_is_needed(
    base: &OutputBase,
    warm: &BuildRecord,
) -> Result<Vec<Unmet>, CompatError> {
    let mut unmet = Vec::new();
    if !process::read(&warm.log)?.contains(NEEDED) {
        unmet.push(Unmet::new(format!(
            "expected `{NEEDED}` from the failing test, got no such line"
        )));
    }
    for path in NOT_NEEDED {
        if base.has_output(path)? {
            unmet.push(Unmet::new(format!("expected {path} to stay in the cache, got it on disk")));
        }
    }
    Ok(unmet)
}

fn met(unmet: Vec<Unmet>, record: &BuildRecord) -> Result<(), CompatError> {
    if unmet.is_empty() {
        return Ok(());
    }
    Err(CompatError::Unmet { unmet, log: record.log.clone() })
}
