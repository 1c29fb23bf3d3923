//! `larder-bench`: loads any REAPI cache with a scenario and prints what it took, of the client and of the server.
#![allow(clippy::print_stdout, reason = "this is a command line program: the report is its output")]

mod blobs;
mod client;
mod process;
mod report;
mod scenario;

use std::time::Instant;

use clap::Parser;

use crate::client::Client;
use crate::process::ServerProcess;
use crate::report::Row;
use crate::scenario::{Scenario, Size};

/// Loads a REAPI cache and prints latency, throughput, and the server's CPU time and memory.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    /// The cache, such as `grpc://127.0.0.1:8980`.
    target: String,
    /// What to run; all of them if none is named.
    #[arg(long = "only", value_enum)]
    only: Vec<Scenario>,
    /// How many operations a scenario of small blobs does.
    #[arg(long, default_value_t = 20_000)]
    operations: u64,
    /// How many of them are under way at a time.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// The size of a large blob, in MiB.
    #[arg(long, default_value_t = 1024)]
    large_mib: u64,
    /// The server's process, for its CPU time and memory.
    #[arg(long)]
    pid: Option<u32>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), BoxError> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> Result<(), BoxError> {
    let client = Client::connect(&options.target).await?;
    let server = options.pid.map(ServerProcess::new);
    let scenarios =
        if options.only.is_empty() { Scenario::ALL.to_vec() } else { options.only.clone() };
    println!("{}", Row::HEADER);
    for scenario in scenarios {
        let size = Size {
            operations: options.operations,
            concurrency: options.concurrency,
            large_bytes: options.large_mib << 20,
        };
        scenario.prepare(&client, size).await?;
        let before = server.as_ref().map(ServerProcess::sample).transpose()?;
        let begun = Instant::now();
        let measured = scenario.run(&client, size).await?;
        let elapsed = begun.elapsed();
        let after = server.as_ref().map(ServerProcess::sample).transpose()?;
        println!("{}", Row { scenario, measured, elapsed, server: before.zip(after) });
    }
    Ok(())
}
