//! `larder-replay`: replays the trace of a cache against each eviction policy, and against what no policy can beat.
//!
//! The policies are the engine's own code, run over packs without bytes. `--generate` writes a made-up trace instead.
#![allow(clippy::print_stdout, reason = "this is a command line program: the report is its output")]

mod generate;
mod optimum;
mod random;
mod replay;
mod report;
mod requests;
mod size;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

use clap::Parser;
use larder_disk::eviction::trace::{TraceReader, TraceWriter};
use larder_disk::eviction::{EvictionPolicy, SimulationOptions};

use crate::generate::Scenario;
use crate::report::Report;
use crate::requests::Requests;
use crate::size::Size;

/// Replays the trace of a cache against each eviction policy, or writes a made-up trace.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    /// The trace: from `larder serve --trace-file`, or from --generate.
    #[arg(required_unless_present = "generate")]
    trace: Option<PathBuf>,
    /// The cache's limit, such as 1GiB; may be given several times.
    #[arg(long = "max-size", required_unless_present = "generate")]
    max_sizes: Vec<Size>,
    /// Which policies; all of them if none is named.
    #[arg(long = "policy", value_parser = policy)]
    policies: Vec<EvictionPolicy>,
    /// From this size on a record has a file of its own.
    #[arg(long, default_value = "1MiB")]
    large_blob: Size,
    /// Writes a made-up trace to standard output.
    #[arg(long, value_enum, conflicts_with_all = ["trace", "max_sizes", "policies"])]
    generate: Option<Scenario>,
    /// What the made-up trace is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn policy(name: &str) -> Result<EvictionPolicy, String> {
    let names = EvictionPolicy::ALL.map(EvictionPolicy::name).join(", ");
    EvictionPolicy::named(name).ok_or_else(|| format!("not one of {names}"))
}

fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    if let Some(scenario) = options.generate {
        return generate(scenario, options.seed);
    }
    let path = options.trace.ok_or("no trace is named")?;
    let mut reader = TraceReader::new(BufReader::new(File::open(&path)?));
    let requests = Requests::read(&mut reader)?;
    println!("{}: {requests}, {} events dropped by the recorder", path.display(), reader.dropped());
    let policies =
        if options.policies.is_empty() { &EvictionPolicy::ALL[..] } else { &options.policies };
    for size in options.max_sizes {
        println!("\n{}", Report::header(size));
        for policy in policies {
            let simulated = SimulationOptions {
                policy: *policy,
                max_size_bytes: size.0,
                large_blob_bytes: options.large_blob.0,
            };
            let (score, totals) = replay::policy(&requests, simulated);
            println!("{}", Report::of_policy(*policy, &requests, score, totals));
        }
        println!(
            "{}",
            Report::of("lru, each entry", &requests, replay::exact_lru(&requests, size.0))
        );
        println!("{}", Report::of("belady", &requests, optimum::belady(&requests, size.0)));
        println!("{}", Report::of("bound", &requests, optimum::bound(&requests, size.0)));
        println!("{}", Report::of("no limit", &requests, replay::unlimited(&requests)));
    }
    Ok(())
}

fn generate(scenario: Scenario, seed: u64) -> Result<(), BoxError> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "# {} of seed {seed}, made up by larder-replay", scenario.name())?;
    let mut writer = TraceWriter::begin(out, generate::BEGIN_UNIX_MS)?;
    generate::run(scenario, seed, |event| writer.write(event).map(drop))?;
    writer.flush()?;
    Ok(())
}
