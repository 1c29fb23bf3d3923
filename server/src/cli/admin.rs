//! `larder stats`, `top`, `purge`, `evict`, `scrub` and `config reload`: what an admin asks a running server for.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use url::Url;

use super::admin_client::{AdminClient, AdminError, admin_url};
use super::top;
use crate::config::ByteSize;

/// What ends one of these commands early.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminCommandError {
    #[error(transparent)]
    Client(#[from] AdminError),
    /// The server began, and could not go on.
    #[error("the server could not go on: {text}")]
    Failed { text: String },
    #[error("the server's configuration is not taken over as it is")]
    NotTakenOver,
    #[error("standard output")]
    Output(#[from] io::Error),
}

/// Those that stand beside `serve`.
pub(super) fn commands() -> [Command; 6] {
    let reload = with_server(Command::new("reload").about(
        "Read the configuration, credentials and certificates again; tell what changed and what needs a restart",
    ));
    let config = Command::new("config").about("The configuration of a running server");
    [
        with_server(Command::new("stats").about("What a running server holds and has done")),
        // It asks for what needs no role.
        with_server(top::command()).mut_arg("token-file", |token| {
            token.help("Holds a token; not needed for this command")
        }),
        with_server(purge_command()),
        with_server(evict_command()),
        with_server(scrub_command()),
        config.subcommand_required(true).arg_required_else_help(true).subcommand(reload),
    ]
}

/// Carries out the command of that name.
pub(super) fn run(name: &str, matches: &ArgMatches) -> Result<(), AdminCommandError> {
    let done = match name {
        "stats" => stats(matches),
        "top" => top::run(matches, &client(matches)?),
        "purge" => purge(matches),
        "evict" => evict(matches),
        "scrub" => scrub(matches),
        _ => reload(matches.subcommand().map_or(matches, |(_, matches)| matches)),
    };
    match done {
        // Who reads the output, such as `head`, has seen enough.
        Err(AdminCommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(())
        }
        done => done,
    }
}

fn with_server(command: Command) -> Command {
    let admin = Arg::new("admin")
        .long("admin")
        .value_name("URL")
        .default_value("http://127.0.0.1:8981")
        .value_parser(admin_url)
        .help("The admin port of the server");
    let token = Arg::new("token-file")
        .long("token-file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Holds a token with the role admin, where the server asks for one");
    let ca = Arg::new("ca-file")
        .long("ca-file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Certificates of authorities, as PEM, to trust besides the system's, for https");
    let json = Arg::new("json")
        .long("json")
        .action(ArgAction::SetTrue)
        .help("Print the server's answer as JSON");
    command.args([admin, token, ca, json])
}

fn purge_command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("purge")
        .about("Remove what fits all that is said; clients meet a miss from then on")
        .arg(text("hash", "HEX", "The blob and the action result of this hash"))
        .arg(text(
            "keyspace",
            "NAME",
            "Of this keyspace: an instance's name for its action results, '' for all blobs",
        ))
        .arg(
            text(
                "instance",
                "NAME",
                "Of this instance ('' for the one without a name): action results and the entries of /kv, Gradle, Nx, sccache and \
                 Turborepo; blobs belong to all",
            )
            .conflicts_with_all(["hash", "keyspace", "kind"]),
        )
        .arg(text("kind", "KIND", "Only these").value_parser(["blobs", "action-results"]))
        .arg(
            text("unused-for", "DURATION", "Not asked for in this time, such as 7days")
                .value_parser(unused_for),
        )
        .arg(
            Arg::new("everything")
                .long("everything")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["hash", "keyspace", "instance", "kind", "unused-for"])
                .help("All there is"),
        )
        .group(
            ArgGroup::new("what")
                .args(["hash", "keyspace", "instance", "kind", "unused-for", "everything"])
                .multiple(true)
                .required(true),
        )
}

fn evict_command() -> Command {
    Command::new("evict")
        .about("Give up what the eviction policy would give up next, down to a size")
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("SIZE")
                .required(true)
                .value_parser(size)
                .help("Such as 10GiB"),
        )
}

fn unused_for(text: &str) -> Result<Duration, &'static str> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("all is unused for no time: say --everything"),
        Ok(duration) => Ok(duration),
        Err(_) => Err("it is not a duration such as 12h or 7days"),
    }
}

fn size(text: &str) -> Result<ByteSize, &'static str> {
    text.parse().map_err(|_| "it is not a size such as 10GiB")
}

fn scrub_command() -> Command {
    Command::new("scrub")
        .about("Start or stop the scrub, or tell what it does")
        .arg(Arg::new("ACTION").value_parser(["start", "stop", "status"]).default_value("status"))
}

fn client(matches: &ArgMatches) -> Result<AdminClient, AdminError> {
    let path = |name: &str| matches.get_one::<PathBuf>(name).map(PathBuf::as_path);
    let url = matches.get_one::<Url>("admin").cloned().expect("it has a default");
    AdminClient::new(url, path("token-file"), path("ca-file"))
}

fn stats(matches: &ArgMatches) -> Result<(), AdminCommandError> {
    let stats = client(matches)?.get("/admin/v1/stats")?;
    print(matches, &stats)
}

fn scrub(matches: &ArgMatches) -> Result<(), AdminCommandError> {
    let client = client(matches)?;
    let action = matches.get_one::<String>("ACTION").map_or("status", String::as_str);
    let shown = match action {
        "status" => client.get("/admin/v1/stats")?["usage"]["scrub"].take(),
        action => client.post("/admin/v1/scrub", &json!(action), &mut |_| {})?,
    };
    print(matches, &shown)
}

fn purge(matches: &ArgMatches) -> Result<(), AdminCommandError> {
    let mut order = json!({ "everything": matches.get_flag("everything") });
    for name in ["hash", "keyspace", "instance", "kind"] {
        if let Some(text) = matches.get_one::<String>(name) {
            order[name] = json!(text);
        }
    }
    if let Some(duration) = matches.get_one::<Duration>("unused-for") {
        order["unused_for_s"] = json!(seconds_rounded_up(*duration));
    }
    carry_out(
        matches,
        "/admin/v1/purge",
        &order,
        "{bar:30} {human_pos} of {human_len} records, {eta} left",
    )
}

/// Rounded down, a short time would be none, and that everything.
fn seconds_rounded_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

fn evict(matches: &ArgMatches) -> Result<(), AdminCommandError> {
    let to = matches.get_one::<ByteSize>("to").copied().expect("it is required");
    let order = json!({ "to_bytes": to.as_bytes() });
    carry_out(
        matches,
        "/admin/v1/evict",
        &order,
        "{bar:30} {binary_bytes} of {binary_total_bytes}, {eta} left",
    )
}

/// Shows how far it is, where somebody watches, and what it came to. To break off ends it on the server too.
fn carry_out(
    matches: &ArgMatches,
    path: &str,
    order: &Value,
    template: &str,
) -> Result<(), AdminCommandError> {
    let bar = bar(template);
    let last = client(matches)?.post(path, order, &mut |step| {
        bar.set_length(step["total"].as_u64().unwrap_or(0));
        bar.set_position(step["done"].as_u64().unwrap_or(0));
    });
    bar.finish_and_clear();
    let last = last?;
    if last["state"] != "done" {
        let text = last["error"].as_str().unwrap_or("it ended without a word").to_owned();
        return Err(AdminCommandError::Failed { text });
    }
    if matches.get_flag("json") {
        return print(matches, &last);
    }
    let number = |name: &str| last[name].as_u64().unwrap_or(0);
    let (records, skipped) = (number("records"), number("skipped_records"));
    let bytes = ByteSize::bytes(number("bytes")).approximate();
    write!(io::stdout(), "removed {records} records, {bytes}")?;
    if skipped > 0 {
        write!(io::stdout(), "; {skipped} could not be read or moved meanwhile: run it again")?;
    }
    writeln!(io::stdout())?;
    Ok(())
}

/// On standard error, where that is a terminal; it shows nothing otherwise.
fn bar(template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn reload(matches: &ArgMatches) -> Result<(), AdminCommandError> {
    let reloaded = client(matches)?.post("/admin/v1/reload", &Value::Null, &mut |_| {})?;
    if matches.get_flag("json") {
        print(matches, &reloaded)?;
    } else {
        let mut is_told = false;
        for (name, word) in
            [("changed", "changed"), ("needs_restart", "needs a restart"), ("problems", "refused")]
        {
            for line in reloaded[name].as_array().into_iter().flatten() {
                writeln!(io::stdout(), "{word:<16} {}", line.as_str().unwrap_or_default())?;
                is_told = true;
            }
        }
        if !is_told {
            writeln!(io::stdout(), "nothing changed")?;
        }
    }
    let is_refused = reloaded["problems"].as_array().is_some_and(|problems| !problems.is_empty());
    if is_refused { Err(AdminCommandError::NotTakenOver) } else { Ok(()) }
}

/// As JSON, or a line for each value.
fn print(matches: &ArgMatches, value: &Value) -> Result<(), AdminCommandError> {
    if matches.get_flag("json") {
        writeln!(io::stdout(), "{value}")?;
    } else {
        write!(io::stdout(), "{}", crate::admin::Lines(value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_time_is_not_none() {
        for (text, expect) in [
            ("1ns", Some(1)),
            ("900ms", Some(1)),
            ("1s", Some(1)),
            ("1s 1ns", Some(2)),
            ("7days", Some(604_800)),
            ("0s", None),
            ("soon", None),
        ] {
            assert_eq!(unused_for(text).ok().map(seconds_rounded_up), expect, "{text}");
        }
    }
}
