//! `larder-compat`: runs real clients against a server binary. `cargo xtask compat` builds both and calls it.

use std::io::stdout;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use larder_compat_tests::{client_names, run_clients};

/// Runs real build clients against a Larder binary and judges their own output.
#[derive(Parser)]
#[command(name = "larder-compat")]
struct Arguments {
    /// The server binary under test.
    #[arg(long)]
    server: PathBuf,
    /// Where the runs happen and leave their logs; emptied first.
    #[arg(long)]
    work_dir: PathBuf,
    /// How many times as often as usual to try what leaves things to chance.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// The clients to run; all of them when none is named.
    #[arg(value_parser = PossibleValuesParser::new(client_names()))]
    clients: Vec<String>,
}

fn main() -> ExitCode {
    let Arguments { server, work_dir, rounds, clients } = Arguments::parse();
    if run_clients(&server, &work_dir, &clients, rounds, &mut stdout()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
