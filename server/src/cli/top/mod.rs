//! `larder top`: what a running server does, refreshed at a terminal; elsewhere one table, or JSON.
//!
//! It asks for `/metrics`, which has what is counted for each kind of task. No state of the terminal is changed, so that Ctrl-C,
//! which ends it as it ends any program, leaves the last picture and a prompt under it.

mod activity;
mod sample;
mod table;

use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use self::activity::{Activity, Order};
use self::sample::Sample;
use self::table::{Room, lines, wrapped};
use super::admin::AdminCommandError;
use super::admin_client::{AdminClient, AdminError};

/// More often costs the server for nothing that eyes can see.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Whoever means more has mistaken the unit.
const INTERVAL_MAX: Duration = Duration::from_hours(1);
/// Until the first picture.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);

/// Cursor to the corner; rest of the line, and rest of the screen, empty. Source: ECMA-48, CUP, EL, ED.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// A sample and when it was taken.
struct Taken {
    sample: Sample,
    at: Instant,
}

pub(super) fn command() -> Command {
    Command::new("top")
        .about("What a running server does now, and for which kinds of task: what is hot, what misses")
        .after_help(
            "Rates are of the time between two looks, the numbers of tasks since the start of the server. A task is a \
             tool and a mnemonic, as clients name them in RequestMetadata; calls without one are \"none\". A server that goes \
             away is waited for. Ends with Ctrl-C. No role is needed: /metrics asks for none.",
        )
        .arg(
            Arg::new("interval")
                .long("interval")
                .value_name("DURATION")
                .default_value("2s")
                .value_parser(interval)
                .help("Between two looks at the server, from 100ms to 1h"),
        )
        .arg(
            Arg::new("sort")
                .long("sort")
                .value_name("ORDER")
                .default_value("misses")
                .value_parser(value_parser!(Order))
                .help("Which tasks come first"),
        )
        .arg(
            Arg::new("once")
                .long("once")
                .action(ArgAction::SetTrue)
                .help("Print one table and end, as where there is no terminal"),
        )
}

fn interval(text: &str) -> Result<Duration, &'static str> {
    let given = humantime::parse_duration(text).ok();
    let given = given.filter(|given| (INTERVAL_MIN..=INTERVAL_MAX).contains(given));
    given.ok_or("it is not a duration from 100ms to 1h, such as 2s")
}

/// Shows what the server does.
pub(super) fn run(matches: &ArgMatches, client: &AdminClient) -> Result<(), AdminCommandError> {
    let interval = matches.get_one::<Duration>("interval").copied().unwrap_or(INTERVAL_MIN);
    let order = matches.get_one::<Order>("sort").copied().unwrap_or(Order::Misses);
    let earlier = take(client)?;
    if matches.get_flag("json") {
        let activity = after(interval, &earlier, client, order)?.1;
        let line = serde_json::to_string(&activity).map_err(io::Error::from)?;
        writeln!(io::stdout(), "{line}")?;
        return Ok(());
    }
    if matches.get_flag("once") || !io::stdout().is_terminal() {
        let activity = after(interval, &earlier, client, order)?.1;
        writeln!(io::stdout(), "{}", lines(&activity, order, Room::Unbounded).join("\n"))?;
        return Ok(());
    }
    Ok(watch(client, earlier, interval, order)?)
}

/// Until Ctrl-C. A server that is away, as while it is started anew, is waited for.
fn watch(
    client: &AdminClient,
    first: Taken,
    interval: Duration,
    order: Order,
) -> Result<(), io::Error> {
    let mut pause = interval.min(FIRST_INTERVAL);
    let mut earlier = first;
    loop {
        match after(pause, &earlier, client, order) {
            Ok((now, activity)) => {
                draw(&lines(&activity, order, screen()))?;
                (earlier, pause) = (now, interval);
            }
            Err(error) => {
                let since = Instant::now();
                // Rates are of the time that it is there.
                earlier = loop {
                    draw(&away(&error, since.elapsed()))?;
                    wait(interval);
                    if let Ok(back) = take(client) {
                        break back;
                    }
                };
                pause = interval.min(FIRST_INTERVAL);
            }
        }
    }
}

/// What stands there while no server answers.
fn away(error: &AdminError, elapsed: Duration) -> Vec<String> {
    let elapsed = humantime::format_duration(Duration::from_secs(elapsed.as_secs()));
    let columns = match screen() {
        Room::Screen { columns, .. } => columns,
        Room::Unbounded => usize::MAX,
    };
    wrapped(&format!("away       the server has not answered for {elapsed}, {error}"), columns)
}

/// What happened in the time to come.
fn after(
    pause: Duration,
    earlier: &Taken,
    client: &AdminClient,
    order: Order,
) -> Result<(Taken, Activity), AdminError> {
    wait(pause);
    let now = take(client)?;
    let seconds = now.at.duration_since(earlier.at).as_secs_f64();
    let activity = Activity::between(&earlier.sample, &now.sample, seconds, order);
    Ok((now, activity))
}

fn take(client: &AdminClient) -> Result<Taken, AdminError> {
    let page = client.page("/metrics")?;
    Ok(Taken { sample: Sample::read(&page), at: Instant::now() })
}

#[expect(clippy::disallowed_methods, reason = "the only thread, which has nothing else to do")]
fn wait(duration: Duration) {
    thread::sleep(duration);
}

/// The terminal's size now; a terminal that tells none is as they once were.
fn screen() -> Room {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let size = size.filter(|size| size.ws_row > 0 && size.ws_col > 0);
    let (rows, columns) = size.map_or((24, 80), |size| (size.ws_row, size.ws_col));
    Room::Screen { rows: rows.into(), columns: columns.into() }
}

/// Over what stood there, in one write, so that nothing flickers.
fn draw(lines: &[String]) -> io::Result<()> {
    let mut picture = HOME.to_owned();
    for line in lines {
        picture.push_str(line);
        picture.push_str(CLEAR_LINE);
        picture.push('\n');
    }
    picture.push_str(CLEAR_BELOW);
    let mut out = io::stdout().lock();
    out.write_all(picture.as_bytes())?;
    out.flush()
}
