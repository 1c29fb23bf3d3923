//! The binary `larder`.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[allow(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    larder_server::cli::run(std::env::args_os(), std::env::vars_os())
}
