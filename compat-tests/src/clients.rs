//! The table of clients and the run over it. A new client is a module with a `run` and a line in the table.

use std::io::Write;
use std::path::Path;

use crate::bazel;
use crate::ccache;
use crate::error::CompatError;
use crate::faults;
use crate::lab::Lab;
use crate::limits;
use crate::report::Report;

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
    Client { name: ccache::NAME, run: ccache::run },
    Client { name: limits::NAME, run: limits::run },
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
                if let Err(error) = (client.run)(&lab, &mut report) {
                    report.failure(client.name, &error);
                }
            }
        }
        Err(error) => report.failure("lab", &error),
    }
    report.close()
}
