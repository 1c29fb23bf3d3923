//! `larder-comparison`: loads Larder and its peers in turn. `cargo xtask bench-peers` builds what it needs and calls it.

use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use larder_compat_tests::{Comparison, Durability, compare};

/// Starts a Larder binary, buildbox-casd and `BuildGrid` on this machine and runs larder-bench over them.
#[derive(Parser)]
#[command(name = "larder-comparison")]
struct Arguments {
    /// Larder's binary.
    #[arg(long)]
    server: PathBuf,
    /// The load generator.
    #[arg(long)]
    bench: PathBuf,
    /// Where peers are installed and all servers keep their data; emptied first, but for what is installed.
    #[arg(long)]
    work_dir: PathBuf,
    /// Where table.txt and report.json go.
    #[arg(long)]
    report_dir: PathBuf,
    /// Larder's setting.
    #[arg(long, value_enum, default_value = "interval")]
    durability: Durability,
    /// Larder's memory for blobs; its default if none is given.
    #[arg(long)]
    hot: Option<String>,
    /// What else the load generator is told.
    #[arg(last = true)]
    options: Vec<String>,
}

fn main() -> ExitCode {
    let Arguments { server, bench, work_dir, report_dir, durability, hot, options } =
        Arguments::parse();
    let comparison = Comparison {
        server: &server,
        bench: &bench,
        work_dir: &work_dir,
        report_dir: &report_dir,
        durability,
        hot: hot.as_deref(),
        options: &options,
    };
    if compare(&comparison, &mut stdout()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
