//! The binary `larder`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Gives back to the kernel what was freed, so that memory which the hot tier gives up under pressure is memory for others
/// (docs/adr/0009-allocator.md). How it is set up: `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    #[allow(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    larder_server::cli::run(std::env::args_os(), std::env::vars_os())
}
