//! `larder-recording`: records a session and a trace of Bazel. `cargo xtask record-session` builds what it needs and calls it.

use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use larder_compat_tests::{Recording, record};

/// Has Bazel build a workspace again and again, with edits between, and records what it asks a Larder for.
#[derive(Parser)]
#[command(name = "larder-recording")]
struct Arguments {
    /// Larder's binary.
    #[arg(long)]
    server: PathBuf,
    /// larder-bench, which makes the session of Bazel's logs.
    #[arg(long)]
    bench: PathBuf,
    /// Where it happens; emptied first. The session, the trace and the logs stay there.
    #[arg(long)]
    work_dir: PathBuf,
    /// How many builds the trace has.
    #[arg(long)]
    builds: u32,
    /// How many of them the session has.
    #[arg(long)]
    session_builds: u32,
}

fn main() -> ExitCode {
    let Arguments { server, bench, work_dir, builds, session_builds } = Arguments::parse();
    let recording =
        Recording { server: &server, bench: &bench, work_dir: &work_dir, builds, session_builds };
    if record(&recording, &mut stdout()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
