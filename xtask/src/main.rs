//! The project's automation: `cargo xtask tidy` checks the rules that no lint knows, `cargo xtask compat` runs real clients against
//! the release binary, `cargo xtask bench-peers` loads it beside other servers, `cargo xtask record-session`
//! records what Bazel asks it for.

mod bench;
mod cargo;
mod compat;
mod tidy;

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks floors, names, budgets, file headers, manifests and decisions; prints every violation.
    Tidy,
    /// Builds the release binary and runs real clients against it.
    Compat {
        /// A server binary to test instead of the one that would be built.
        #[arg(long, value_name = "PATH")]
        server: Option<PathBuf>,
        /// How many times as often as usual to try what leaves things to chance.
        #[arg(long, default_value_t = 1)]
        rounds: u32,
        /// The clients to run; all of them when none is named.
        #[arg(value_name = "CLIENT")]
        clients: Vec<String>,
    },
    /// Builds the release binaries and loads Larder, buildbox-casd and `BuildGrid` in turn.
    BenchPeers {
        /// Larder's setting of this name: interval or sync.
        #[arg(long, default_value = "interval")]
        durability: String,
        /// Larder's memory for blobs, such as 8MiB, for reads that shall not come out of it.
        #[arg(long, value_name = "SIZE")]
        hot: Option<String>,
        /// What else `larder-bench` is told, such as `-- --only read-small --duration 5s`.
        #[arg(last = true, value_name = "OPTION")]
        options: Vec<String>,
    },
    /// Builds the release binaries and records what Bazel asks a cache for: a session for `larder-bench`, a trace for `larder-replay`.
    RecordSession {
        /// How many builds the trace has.
        #[arg(long, default_value_t = 40)]
        builds: u32,
        /// How many of them, from the first on, the session has.
        #[arg(long, default_value_t = 5)]
        session_builds: u32,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Tidy => run_tidy(),
        Task::Compat { server, rounds, clients } => {
            compat::run(root(), server.as_deref(), &clients, rounds)
        }
        Task::BenchPeers { durability, hot, options } => {
            bench::peers(root(), &durability, hot.as_deref(), &options)
        }
        Task::RecordSession { builds, session_builds } => {
            bench::record(root(), builds, session_builds)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // With standard error closed, the exit code still tells.
            let _unread = writeln!(stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_tidy() -> Result<ExitCode, Box<dyn Error>> {
    let snapshot = tidy::Snapshot::take(root())?;
    let violations = tidy::check(&snapshot);
    let mut out = stdout().lock();
    for violation in &violations {
        writeln!(out, "{violation}")?;
    }
    writeln!(out, "tidy: {snapshot}, {} violations", violations.len())?;
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_tidy() {
        let snapshot = tidy::Snapshot::take(root()).unwrap();
        let violations: Vec<_> = tidy::check(&snapshot).iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "\n{}", violations.join("\n"));
    }
}
