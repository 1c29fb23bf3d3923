//! The server against what machines do: it is killed, the power goes, the disk is full, fails or turns read-only, descriptors
//! run out. One client remembers what was acknowledged and holds the server to it (`docs/faults.md`).

mod drain;
mod mount;
mod oracle;
mod power;
mod scarce;
mod system_calls;

use std::path::{Path, PathBuf};

use self::oracle::{Oracle, Promise};
use crate::error::{CompatError, Unmet};
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "faults";

const DURABILITIES: [&str; 2] = ["sync", "interval"];
const SYNC_INTERVAL_MS: u64 = 200;

/// Rounds of killing, each amid a load.
const KILLS: u32 = 6;

/// Every fault; those that this machine cannot make are said and passed over.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    lab.dir(NAME)?;
    for durability in DURABILITIES {
        case(lab, report, &format!("kill-{durability}"), |bench| kill(bench, durability));
    }
    case(lab, report, "sigterm", drain::run);
    system_calls::run(lab, report)?;
    power::run(lab, report);
    scarce::run(lab, report);
    Ok(())
}

/// What a case works with.
struct Bench<'a> {
    lab: &'a Lab,
    dir: PathBuf,
    oracle: Oracle,
    unmet: Vec<Unmet>,
}

fn case(
    lab: &Lab,
    report: &mut Report<'_>,
    name: &str,
    work: impl FnOnce(&mut Bench<'_>) -> Result<String, CompatError>,
) {
    let name = format!("{NAME}/{name}");
    report.case(&name, || {
        let dir = lab.dir(&name)?;
        let mut bench =
            Bench { lab, dir: dir.clone(), oracle: Oracle::default(), unmet: Vec::new() };
        let seen = work(&mut bench)?;
        if bench.unmet.is_empty() {
            return Ok(seen);
        }
        Err(CompatError::Unmet { unmet: bench.unmet, log: dir.join("server.log") })
    });
}

impl Bench<'_> {
    fn verify(&mut self, server: &Larder, promise: Promise) -> Result<(), CompatError> {
        self.unmet.extend(self.oracle.verify(server.address(), promise)?);
        Ok(())
    }

    fn expect(&mut self, is_so: bool, what: impl Into<String>) {
        if !is_so {
            self.unmet.push(Unmet::new(what));
        }
    }
}

/// How a server is started; `data_dir` is where the fault is.
fn launch(data_dir: &Path, durability: &str) -> Launch {
    let settings = vec![
        ("durability", durability.to_owned()),
        ("sync_interval", format!("{SYNC_INTERVAL_MS}ms")),
        ("max_size", "1GiB".to_owned()),
        // The file systems of these cases are smaller than what is kept free by default.
        ("min_free_disk", "0".to_owned()),
        // What is read comes from the disk.
        ("hot.capacity", "1KiB".to_owned()),
        ("hot.max_blob_size", "1KiB".to_owned()),
    ];
    Launch { wrapper: Vec::new(), settings, data_dir: data_dir.to_owned() }
}

/// Kills the server amid a load, again and again, on the same data.
fn kill(bench: &mut Bench<'_>, durability: &str) -> Result<String, CompatError> {
    let launch = launch(&bench.dir.join("data"), durability);
    let mut server = Larder::launch(bench.lab, &bench.dir, launch)?;
    let kills = KILLS * bench.lab.rounds();
    for round in 0..kills {
        let (address, goal) = (server.address(), 40 + 67 * (round % 5));
        let mut is_killed = false;
        bench.oracle.load(address, |acknowledged| {
            if !is_killed && acknowledged >= goal {
                is_killed = true;
                server.crash()?;
            }
            Ok(false)
        })?;
        server.restart()?;
        bench.verify(&server, Promise::Acknowledged)?;
    }
    server.stop()?;
    Ok(format!("{kills} kills, {} names kept", bench.oracle.acknowledged()))
}
