//! [`cargo`]: cargo as the user would start it.
//!
//! Cargo tells a program that it runs about its package, in variables. Build scripts may look at the same ones, ring's does, and all that
//! depends on them would be built again whenever cargo is started from here after it was started from a shell, or the other way round.

use std::ffi::OsStr;

use xshell::{Cmd, Shell, cmd};

/// Cargo, without what it said of this program.
pub(crate) fn cargo(shell: &Shell) -> Cmd<'_> {
    let names = std::env::vars_os().map(|(name, _)| name).filter(|name| is_of_package(name));
    names.fold(cmd!(shell, "cargo"), Cmd::env_remove)
}

fn is_of_package(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    matches!(name, b"CARGO_MANIFEST_DIR" | b"CARGO_MANIFEST_PATH")
        || name.starts_with(b"CARGO_PKG_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_of_this_program_goes() {
        for (name, goes) in [
            ("CARGO_MANIFEST_DIR", true),
            ("CARGO_MANIFEST_PATH", true),
            ("CARGO_PKG_NAME", true),
            ("CARGO_PKG_VERSION_PRE", true),
            ("CARGO_HOME", false),
            ("CARGO_TARGET_DIR", false),
            ("PATH", false),
        ] {
            assert_eq!(is_of_package(OsStr::new(name)), goes, "{name}");
        }
    }

    #[test]
    fn cargo_starts_without_them() {
        // This test was started by cargo itself.
        assert!(std::env::vars_os().any(|(name, _)| is_of_package(&name)));
        let shell = Shell::new().unwrap();
        let command = std::process::Command::from(cargo(&shell));
        let gone =
            command.get_envs().filter(|(name, value)| is_of_package(name) && value.is_none());
        assert!(gone.count() > 2);
    }
}
