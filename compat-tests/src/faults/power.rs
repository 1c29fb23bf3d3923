//! Power cuts: the file system is shut down under a load, so that what was not flushed is gone; then all starts again.

use std::time::{Duration, Instant};

use super::mount::Mount;
use super::{Bench, DURABILITIES, NAME, Promise, SYNC_INTERVAL_MS, case, launch};
use crate::error::CompatError;
use crate::install::DebianPackage;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// Has `xfs_io`, which shuts down ext4 too.
const XFS: DebianPackage = DebianPackage { program: "mkfs.xfs", package: "xfsprogs" };

const FILE_SYSTEMS: [(&str, &[&str], u64); 2] =
    [("ext4", &["mkfs.ext4", "-q", "-F"], 256), ("xfs", &["mkfs.xfs", "-q", "-f"], 320)];
const CUTS: u32 = 3;

/// Each file system in each mode; a note where there is none to be had.
pub(super) fn run(lab: &Lab, report: &mut Report<'_>) {
    let ensured = lab.dir(NAME).and_then(|dir| XFS.ensure(&dir.join("install.log")));
    if let Err(error) = ensured {
        report.note(&format!("{NAME}/power-cut"), &format!("NOT RUN: {error}"));
        return;
    }
    for (name, mkfs, mib) in FILE_SYSTEMS {
        let dir = match lab.dir(&format!("{NAME}/probe/{name}")) {
            Ok(dir) => dir,
            Err(error) => return report.failure(NAME, &error),
        };
        if let Err(error) = Mount::image(&dir, mkfs, mib) {
            report.note(&format!("{NAME}/power-cut-{name}"), &format!("NOT RUN: {error}"));
            continue;
        }
        for durability in DURABILITIES {
            let case_name = format!("power-cut-{name}-{durability}");
            case(lab, report, &case_name, |bench| cut(bench, mkfs, mib, durability));
        }
    }
}

fn cut(
    bench: &mut Bench<'_>,
    mkfs: &[&str],
    mib: u64,
    durability: &str,
) -> Result<String, CompatError> {
    let mount = Mount::image(&bench.dir, mkfs, mib)?;
    let launch = launch(&mount.point.join("data"), durability);
    let mut server = Larder::launch(bench.lab, &bench.dir, launch)?;
    let cuts = CUTS * bench.lab.rounds();
    for round in 0..cuts {
        let address = server.address();
        bench.oracle.load(address, |acknowledged| Ok(acknowledged >= 60))?;
        if durability == "interval" {
            wait_for_syncs();
        }
        bench.oracle.settle();
        let goal = 30 + 41 * (round % 4);
        let mut is_frozen = false;
        bench.oracle.load(address, |acknowledged| {
            if !is_frozen && acknowledged >= goal {
                is_frozen = true;
                // Still first: nothing may be acknowledged after the cut.
                server.freeze()?;
                mount.cut_power()?;
                server.crash()?;
            }
            Ok(false)
        })?;
        mount.unmount()?;
        mount.mount()?;
        server.restart()?;
        let promise = if durability == "sync" { Promise::Acknowledged } else { Promise::Settled };
        bench.verify(&server, promise)?;
    }
    // It may rightly have logged errors.
    server.crash()?;
    Ok(format!("{cuts} cuts, {} names kept", bench.oracle.acknowledged()))
}

/// Whatever was acknowledged before is synced afterwards.
fn wait_for_syncs() {
    let until = Instant::now() + Duration::from_millis(4 * SYNC_INTERVAL_MS);
    while Instant::now() < until {
        process::pause();
    }
}
