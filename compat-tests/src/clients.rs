//! The table of clients and the run over it. A new client is a module with a `run` and a line in the table.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::bazel;
use crate::bazel_socket;
use crate::bgd;
use crate::buildbox;
use crate::buildstream;
use crate::ccache;
use crate::curl;
use crate::error::CompatError;
use crate::faults;
use crate::gradle;
use crate::grpcurl;
use crate::h2spec;
use crate::instructions;
use crate::kit;
use crate::lab::Lab;
use crate::limits;
use crate::moon;
use crate::nx;
use crate::observe;
use crate::pants;
use crate::peers;
use crate::pprof;
use crate::remotetool;
use crate::report::Report;
use crate::sccache;
use crate::secure;
use crate::turborepo;

/// A client that can be had on this machine and driven without a person.
struct Client {
    /// What the command line calls it, and the first word of its cases' names.
    name: &'static str,
    /// Finds or installs the client, says its version and runs its cases. An error here means that the client could not be
    /// run at all; a case that goes wrong is the report's matter.
    run: fn(&Lab, &mut Report<'_>) -> Result<(), CompatError>,
}

/// In the order in which they run.
const CLIENTS: &[Client] = &[
    Client { name: bazel::NAME, run: bazel::run },
    Client { name: bazel_socket::NAME, run: bazel_socket::run },
    Client { name: ccache::NAME, run: ccache::run },
    Client { name: gradle::NAME, run: gradle::run },
    Client { name: turborepo::NAME, run: turborepo::run },
    Client { name: nx::NAME, run: nx::run },
    Client { name: sccache::NAME, run: sccache::run },
    Client { name: grpcurl::NAME, run: grpcurl::run },
    Client { name: curl::NAME, run: curl::run },
    Client { name: secure::NAME, run: secure::run },
    Client { name: h2spec::NAME, run: h2spec::run },
    Client { name: remotetool::NAME, run: remotetool::run },
    Client { name: moon::NAME, run: moon::run },
    Client { name: kit::NAME, run: kit::run },
    Client { name: peers::NAME, run: peers::run },
    Client { name: bgd::NAME, run: bgd::run },
    Client { name: buildbox::NAME, run: buildbox::run },
    Client { name: pants::NAME, run: pants::run },
    Client { name: buildstream::NAME, run: buildstream::run },
    Client { name: observe::NAME, run: observe::run },
    Client { name: pprof::NAME, run: pprof::run },
    Client { name: limits::NAME, run: limits::run },
    Client { name: instructions::NAME, run: instructions::run },
    Client { name: faults::NAME, run: faults::run },
];

/// Every client that [`run_clients`] knows.
pub fn client_names() -> impl Iterator<Item = &'static str> {
    CLIENTS.iter().map(|client| client.name)
}

/// Runs the clients called `names` (all of them when there is no name) against the binary `server` in `work_dir`, which is emptied
/// first. What leaves things to chance does so `rounds` times as often as usual. Writes the verdicts and the closing line to `out`;
/// the answer is whether all went well.
pub fn run_clients(
    server: &Path,
    work_dir: &Path,
    names: &[String],
    rounds: u32,
    out: &mut dyn Write,
) -> bool {
    let mut report = Report::new(out);
    match Lab::set_up(server, work_dir, rounds) {
        Ok(lab) => {
            let wanted =
                |client: &&Client| names.is_empty() || names.iter().any(|n| n == client.name);
            for client in CLIENTS.iter().filter(wanted) {
                let begun = Instant::now();
                match (client.run)(&lab, &mut report) {
                    Ok(()) => {}
                    Err(absence @ CompatError::NotHere { .. }) => {
                        report.not_run(client.name, &absence.to_string());
                    }
                    Err(error) => report.failure(client.name, &error),
                }
                report.note(client.name, &format!("{:.1} s in all", begun.elapsed().as_secs_f64()));
            }
        }
        Err(error) => report.failure("lab", &error),
    }
    report.close()
}
