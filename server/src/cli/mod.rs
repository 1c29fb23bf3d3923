//! The command line of `larder`: what the words mean, and the exit code.

mod admin;
mod admin_client;
mod banner;
mod hash_credential;
mod pages;
mod serve;
mod supervisor;
mod top;
mod verify;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use larder_disk::{Repair, with_causes};

use self::admin::AdminCommandError;
use self::hash_credential::HashCredentialError;
use self::pages::PagesError;
use self::serve::ServeError;
use self::supervisor::{SOCKET_VARIABLE, Supervisor};
use self::verify::{Verdict, VerifyError};
use crate::config::settings_toml;
use crate::config::{
    CONFIG_VARIABLE, Config, Fallback, Machine, Origin, Problems, SETTINGS, Setting, Sources,
};
use crate::reload::ConfigSource;

/// Wrong use, or settings that are wrong.
const USAGE: u8 = 2;

/// What ends a command early.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("{0}")]
    Settings(Problems),
    #[error("{0}")]
    Found(Problems),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Pages(#[from] PagesError),
    #[error(transparent)]
    HashCredential(#[from] HashCredentialError),
    #[error(transparent)]
    Admin(#[from] AdminCommandError),
    /// What is wrong has been told line by line.
    #[error("{} is not sound", data_dir.display())]
    NotSound { data_dir: PathBuf },
    #[error("standard output")]
    Output(#[from] io::Error),
}

/// Runs `larder` with these arguments, the program's name first, in this environment, which nothing below reads.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let outcome = match command().try_get_matches_from(arguments) {
        Ok(matches) => match matches.subcommand() {
            Some(("serve", matches)) => serve(matches, environment),
            Some(("check-config", matches)) => check_config(matches),
            Some(("verify", matches)) => verify(matches),
            Some(("completions", matches)) => {
                pages::completions(command(), matches).map_err(CliError::from)
            }
            Some(("man", matches)) => pages::man(command(), matches).map_err(CliError::from),
            Some(("hash-credential", matches)) => {
                hash_credential::run(matches).map_err(CliError::from)
            }
            Some((name @ ("stats" | "top" | "purge" | "evict" | "scrub" | "config"), matches)) => {
                admin::run(name, matches).map_err(CliError::from)
            }
            _ => unreachable!("clap lets no other command through"),
        },
        // Help and version come this way too; clap knows which of them is an error.
        Err(error) => {
            let printed = error.print();
            let success = printed.is_ok() && !error.use_stderr();
            return if success { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // Nobody is left to tell if standard error is closed.
    let _closed = writeln!(io::stderr(), "{}", line(&error));
    if matches!(error, CliError::Settings(_)) { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}

/// The error and what caused it in one line; several settings take a line each.
fn line(error: &CliError) -> String {
    if let CliError::Settings(problems) | CliError::Found(problems) = error {
        return problems.to_string();
    }
    format!("larder: {}", with_causes(error))
}

fn serve(
    matches: &ArgMatches,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), CliError> {
    // What is no text is no value of any setting, and is shown as near as can be.
    let texts = environment.into_iter().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    });
    let variables: BTreeMap<String, String> = texts.collect();
    let mut flags = Vec::new();
    for setting in SETTINGS {
        if let Some(texts) = matches.get_many::<String>(setting.key) {
            let texts: Vec<_> = texts.map(String::as_str).collect();
            flags.push((setting.key, texts.join(",")));
        }
    }
    let named = matches.get_one::<PathBuf>("config").cloned();
    let path = named.or_else(|| variables.get(CONFIG_VARIABLE).map(PathBuf::from));
    let supervisor = Supervisor::new(variables.get(SOCKET_VARIABLE).map(String::as_str));
    let sources = move |decided: &[(&str, String)]| {
        let mut sources = Sources::default();
        for (key, text) in &flags {
            sources.set(Origin::Flag, key, text.as_str());
        }
        if let Some(path) = &path {
            sources.add_file(path);
        }
        sources.add_environment(variables.clone());
        for (key, text) in decided {
            sources.set(Origin::Default, key, text.as_str());
        }
        sources
    };
    let said = sources(&[]);
    // Read again, the file may be another; but what the machine decided at the start it must not decide anew, as by the space
    // that is free now. What somebody said then, and says no more, it decides for the first time.
    let by_machine = SETTINGS.iter().filter(|setting| {
        matches!(setting.fallback, Fallback::Machine(_)) && !said.says(setting.key)
    });
    let by_machine: Vec<_> = by_machine.map(|setting| setting.key).collect();
    let config = Config::check(said, &Machine::inspect()).map_err(CliError::Settings)?;
    // A file may come later: this ends as what may be tried again.
    config.check_files().map_err(CliError::Found)?;
    let mut decided = config.settings();
    decided.retain(|(key, _)| by_machine.contains(key));
    let source: ConfigSource =
        Arc::new(move || Config::check(sources(&decided), &Machine::inspect()));
    serve::serve(&config, source, &supervisor)?;
    Ok(())
}

fn check_config(matches: &ArgMatches) -> Result<(), CliError> {
    let mut sources = Sources::default();
    sources.add_file(matches.get_one::<PathBuf>("FILE").map_or(Path::new(""), PathBuf::as_path));
    let config = Config::check(sources, &Machine::inspect()).map_err(CliError::Found)?;
    write!(io::stdout(), "ok\n\n{}", settings_toml(&config.settings()))?;
    Ok(())
}

fn verify(matches: &ArgMatches) -> Result<(), CliError> {
    let data_dir = matches.get_one::<PathBuf>("data-dir").cloned().unwrap_or_default();
    let repair = if matches.get_flag("repair") { Repair::Yes } else { Repair::No };
    match verify::run(&data_dir, repair)? {
        Verdict::Sound => Ok(()),
        Verdict::Wrong => Err(CliError::NotSound { data_dir }),
    }
}

/// What the command line takes.
pub fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Settings in TOML; flags and the environment go over it")
        .long_help(format!(
            "Settings in TOML; flags and the environment go over it.\n\n[env: {CONFIG_VARIABLE}]"
        ));
    let file = Arg::new("FILE").required(true).value_parser(value_parser!(PathBuf));
    Command::new("larder")
        .version(env!("CARGO_PKG_VERSION"))
        .about("One cache for every build: Bazel, Buck2, ccache and other clients of REAPI 2.12")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("serve")
                .about("Serve the cache until SIGTERM")
                .after_help(
                    "Flags go over the environment, over the file, over the defaults. SIGTERM and SIGINT drain, a second one \
                     ends at once; SIGHUP does what `larder config reload` does.",
                )
                .arg(config)
                .args(SETTINGS.iter().map(setting_arg)),
        )
        .subcommand(
            Command::new("check-config")
                .about("Check a file of settings: every problem at once, or the settings in effect")
                .arg(file.help("Settings in TOML")),
        )
        .subcommand(verify_command())
        .subcommand(pages::completions_command())
        .subcommand(pages::man_command())
        .subcommand(hash_credential::command())
        .subcommands(admin::commands())
}

fn verify_command() -> Command {
    let data_dir = Arg::new("data-dir")
        .long("data-dir")
        .value_name("DIR")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("The directory of a server that is not running");
    let repair = Arg::new("repair")
        .long("repair")
        .action(ArgAction::SetTrue)
        .help("Drop bad records, cut torn tails, remove an index that cannot be used");
    Command::new("verify")
        .about("Check every byte that a stopped server has stored, and mend it with --repair")
        .after_help(
            "Each finding is a line: what it is, the file and the place in it, the blob or action result, and \
             why. What is dropped is a miss from then on; clients upload it again. Exit code: 0 when the \
             directory is sound at the end, 1 when it is not or cannot be read, 2 for wrong use.",
        )
        .arg(data_dir)
        .arg(repair)
}

fn setting_arg(setting: &'static Setting) -> Arg {
    let default = match setting.fallback {
        Fallback::Text(text) => format!("\n[default: {text}]"),
        Fallback::Machine(how) => format!("\n[default: {how}]"),
        Fallback::Off => String::new(),
    };
    let Setting { key, help, advice, .. } = setting;
    let names = format!("[env: {}] [key: {key}]", setting.variable());
    let arg = Arg::new(*key)
        .long(setting.flag())
        .value_name(setting.value_name)
        .action(ArgAction::Set)
        .help(help.trim_end_matches('.'))
        .long_help(format!("{help} {advice}\n{default}\n{names}"));
    if setting.is_switch() {
        return arg.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    let arg = arg.allow_hyphen_values(true);
    if setting.is_list() { arg.action(ArgAction::Append) } else { arg }
}
