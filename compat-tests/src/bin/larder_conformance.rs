//! `larder-conformance`: checks any REAPI cache against the protocol. See `--help`.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use clap::Parser;
use larder_compat_tests::conformance::{Arguments, run};

fn main() -> ExitCode {
    ExitCode::from(run(&Arguments::parse(), &mut stdout(), &mut stderr()))
}
