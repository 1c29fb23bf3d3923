//! `larder completions` and `larder man`: the command line as shells and `man` know it, from the definition that parses it.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

/// Why they could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum PagesError {
    #[error("standard output")]
    Output(#[from] io::Error),
    #[error("man pages in {}", dir.display())]
    Man {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
}

pub(super) fn completions_command() -> Command {
    let shell = Arg::new("SHELL").required(true).value_parser(value_parser!(Shell));
    Command::new("completions")
        .about("Print what makes a shell complete the words of this program")
        .after_help("For bash: larder completions bash > /etc/bash_completion.d/larder")
        .arg(shell.help("Whose completions"))
}

pub(super) fn man_command() -> Command {
    let dir = Arg::new("DIR").required(true).value_parser(value_parser!(PathBuf));
    Command::new("man")
        .about("Write the manual: a page for the program and one for each command")
        .after_help("To install it: larder man /usr/local/share/man/man1")
        .arg(dir.help("Where to; created if need be"))
}

/// Prints the completions of `command`.
pub(super) fn completions(command: Command, matches: &ArgMatches) -> Result<(), PagesError> {
    let Some(&shell) = matches.get_one::<Shell>("SHELL") else { return Ok(()) };
    io::stdout().write_all(&completions_of(command, shell))?;
    Ok(())
}

/// Writes the manual of `command`.
pub(super) fn man(command: Command, matches: &ArgMatches) -> Result<(), PagesError> {
    let dir = matches.get_one::<PathBuf>("DIR").cloned().unwrap_or_default();
    let written =
        std::fs::create_dir_all(&dir).and_then(|()| clap_mangen::generate_to(command, &dir));
    written.map_err(|source| PagesError::Man { dir, source })
}

/// Into memory: what generates them panics where it cannot write.
fn completions_of(mut command: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "larder", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::bounded_read::bounded_read;
    use crate::cli::command;
    use crate::config::SETTINGS;

    #[test]
    fn every_shell_completes_every_flag() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(completions_of(command(), *shell)).unwrap();
            for setting in SETTINGS {
                assert!(script.contains(&setting.flag()), "{shell}: {}", setting.flag());
            }
        }
    }

    #[test]
    fn every_command_has_a_page_and_every_setting_stands_in_one() {
        let dir = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(command(), dir.path()).unwrap();
        for inner in command().get_subcommands() {
            let page = dir.path().join(format!("larder-{}.1", inner.get_name()));
            assert!(page.exists(), "{}", page.display());
        }
        // The roff of a hyphen in a word is `\-`.
        let page = bounded_read(&dir.path().join("larder-serve.1"), 1 << 20).unwrap();
        let page = page.replace("\\-", "-");
        for setting in SETTINGS {
            assert!(page.contains(&format!("--{}", setting.flag())), "{}", setting.flag());
            assert!(page.contains(&setting.variable()), "{}", setting.variable());
        }
    }
}
