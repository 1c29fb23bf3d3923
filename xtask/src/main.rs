//! The project's automation: `cargo xtask tidy` checks the rules that no lint knows, `cargo xtask compat` runs real clients against
//! the release binary.

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
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Tidy => run_tidy(),
        Task::Compat { server, rounds, clients } => {
            compat::run(root(), server.as_deref(), &clients, rounds)
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
