//! Bazel as a client, offline: the workspace in `compat-tests/bazel` through every protocol that this Bazel offers, in every
//! scenario.

mod console;
mod execution_log;
mod expectations;
mod output_base;
mod protocol;
mod record;
mod recording;
mod scenario;
mod sources;

use crate::error::CompatError;
use crate::install::DebianPackage;
use crate::lab::Lab;
use crate::report::Report;

use output_base::OutputBase;
use protocol::Protocol;
pub use recording::{Recording, record};
use scenario::Scenario;

/// What the command line calls it.
pub(crate) const NAME: &str = "bazel";

const PACKAGE: DebianPackage = DebianPackage { program: "bazel", package: "bazel-bootstrap" };

/// Every scenario over every protocol, with two output bases kept through all of them: a Bazel server takes seconds to start.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let dir = lab.dir(NAME)?;
    PACKAGE.ensure(&dir.join("install.log"))?;
    let version = PACKAGE.version().unwrap_or_else(|| "not Debian's, version unknown".to_owned());
    report.note(NAME, &version);

    let bases = scenario::Bases {
        first: OutputBase::new(&dir, "first"),
        second: OutputBase::new(&dir, "second"),
    };
    let options = bases.first.build_options(&dir.join("help.log"))?;
    for protocol in Protocol::ALL {
        let Some(flags) = protocol.flags(&options) else {
            report.note(&format!("{NAME}/{protocol}"), "not offered by this Bazel");
            continue;
        };
        for scenario in Scenario::ALL {
            let name = format!("{protocol}-{scenario}");
            report.case(&format!("{NAME}/{protocol}/{scenario}"), || {
                let dir = lab.dir(&format!("{NAME}/{name}"))?;
                scenario::run(scenario, &bases, lab, &dir, protocol, flags)
            });
        }
    }
    Ok(())
}
