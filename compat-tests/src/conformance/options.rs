//! The command line of `larder-conformance`, and a run from its first line to its exit code.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use futures_util::StreamExt;
use thiserror::Error;
use tokio::runtime;
use tonic::metadata::{MetadataKey, MetadataMap};
use tonic::service::interceptor::InterceptedService;

use super::announced::Announced;
use super::case::{Level, OptIn, Profile};
use super::catalogue::TOPICS;
use super::context::{Headers, Server};
use super::expect::status_text;
use super::report::json::Run;
use super::report::text::{self, Detail};
use super::report::{Count, junit, table};
use super::runner::{self, Pace, Tried, Verdict};
use super::selection::Selection;
use super::target::{Target, TargetError};

const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// Checks a REAPI cache against the Remote Execution API, case by case.
///
/// Black box: any server that speaks build.bazel.remote.execution.v2 2.x and google.bytestream can be checked, and, where it
/// has them, Remote Asset, the HTTP/1.1 cache, health and reflection. Each case is one rule, with the place in the
/// specification that it comes from, and is of a level: MUST (the specification says so), SHOULD (it advises so) or CLIENT
/// (a named build client relies on it). What a server does not announce is skipped, with the reason.
///
/// Cases upload a few hundred MiB of random blobs of their own and leave them there; they need no empty server and no clean-up.
#[derive(Debug, Parser)]
#[command(name = "larder-conformance", version, after_help = AFTER_HELP, max_term_width = 120)]
pub struct Arguments {
    /// The server: grpc://HOST:PORT or unix:/PATH.
    #[arg(value_name = "SERVER", required_unless_present_any = ["list", "table"])]
    target: Option<String>,
    /// Where the same server speaks the HTTP/1.1 cache: http://HOST:PORT[/PREFIX] or unix:/PATH; without it those cases are
    /// skipped.
    #[arg(long, value_name = "URL")]
    http: Option<String>,
    /// The instance name that requests carry.
    #[arg(long, value_name = "NAME", default_value = "")]
    instance: String,
    /// A header for every call, such as "authorization: Bearer …"; may be repeated.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Try only cases of this name, or beginning, or with * for anything; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Leave out cases of this name, beginning or pattern; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    skip: Vec<String>,
    /// Try only cases of this level; may be repeated.
    #[arg(long = "level", value_enum)]
    levels: Vec<Level>,
    /// Try only what this client relies on; may be repeated.
    #[arg(long = "profile", value_enum)]
    profiles: Vec<Profile>,
    /// Try this opt-in group too; may be repeated.
    #[arg(long, value_enum)]
    include: Vec<OptIn>,
    /// The least binding level whose failures make the exit code 1.
    #[arg(long, value_enum, default_value = "must", value_name = "LEVEL")]
    fail_on: Level,
    /// For the random blobs; printed at the start. The same seed gives the same blobs, which a server that was checked with it
    /// already has: repeat a seed on an empty server or another instance.
    #[arg(long)]
    seed: Option<u64>,
    /// How many cases run at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// How many seconds a case may take.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// What the reports call the server.
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print failures and the summary only.
    #[arg(long)]
    quiet: bool,
    /// Print the selected cases with their rules, and end.
    #[arg(long)]
    list: bool,
    /// Print Markdown tables over JSON reports of earlier runs, and end.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "list")]
    table: Vec<PathBuf>,
}

const AFTER_HELP: &str = "\
Exit codes: 0 nothing failed that counts (see --fail-on); 1 a case failed; 2 wrong usage, or no server there.

Examples:
  larder-conformance grpc://127.0.0.1:8980
  larder-conformance grpc://127.0.0.1:8980 --http http://127.0.0.1:8980 --fail-on client --junit report.xml
  larder-conformance unix:/run/cache.sock --instance main --only bytestream.write --only 'cas.*zstd*'
  larder-conformance grpc://127.0.0.1:9092 --profile bazel
  larder-conformance --list --level must";

/// Why there is nothing to report; the exit code is 2.
#[derive(Debug, Error)]
enum RunError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{text:?} is no header: write NAME: VALUE")]
    Header { text: String },
    #[error("no case is selected; --list without filters prints all")]
    NothingSelected,
    #[error("{target} cannot be checked: {reason}")]
    Unreachable { target: String, reason: String },
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: {source}", path.display())]
    Report {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("the reports cannot be written: {source}")]
    Output {
        #[from]
        source: std::io::Error,
    },
}

/// Does what the command line says. Reports go to `out`, what is wrong with the usage or the server to `err`. The answer is
/// the exit code.
pub fn run(arguments: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match try_run(arguments, out) {
        Ok(true) => 0,
        Ok(false) => 1,
        // Who reads no further, as `head` does, has what he wanted; of a run he does not know how it ended.
        Err(RunError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe => {
            if arguments.asks_no_server() {
                0
            } else {
                2
            }
        }
        Err(error) => {
            // With standard error closed, the exit code still tells.
            let _unread = writeln!(err, "error: {error}");
            2
        }
    }
}

fn try_run(arguments: &Arguments, out: &mut dyn Write) -> Result<bool, RunError> {
    if !arguments.table.is_empty() {
        let runs = arguments.table.iter().map(|path| read_report(path));
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        out.write_all(table::document(&runs).as_bytes())?;
        return Ok(true);
    }
    let selected = arguments.selection().of(TOPICS);
    if selected.is_empty() {
        return Err(RunError::NothingSelected);
    }
    if arguments.list {
        for (_, case) in &selected {
            out.write_all(text::list_line(case).as_bytes())?;
        }
        writeln!(out, "{} cases", selected.len())?;
        return Ok(true);
    }
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(check(arguments, selected, out))
}

async fn check(
    arguments: &Arguments,
    selected: Vec<(&'static super::case::Topic, &'static super::case::Case)>,
    out: &mut dyn Write,
) -> Result<bool, RunError> {
    let server = Arc::new(arguments.server().await?);
    let seed = arguments.seed.unwrap_or_else(seed_of_now);
    let mut run = Run {
        kit: concat!("larder-conformance ", env!("CARGO_PKG_VERSION")).to_owned(),
        server: arguments.label.clone().unwrap_or_else(|| server.target.to_string()),
        target: server.target.to_string(),
        instance: server.instance.clone(),
        seed,
        announced: server.announced.summary(),
        seconds: 0.0,
        summary: Count::default(),
        cases: Vec::new(),
    };
    let Run { kit, target, instance, announced, .. } = &run;
    writeln!(
        out,
        "{kit}: {} cases on {target}, instance {instance:?}, seed {seed}",
        selected.len()
    )?;
    writeln!(out, "announced: {announced}\n")?;
    let pace = Pace {
        jobs: arguments.jobs.into(),
        time_limit: Duration::from_secs(arguments.timeout.into()),
    };
    let detail = if arguments.quiet { Detail::Failures } else { Detail::All };
    let begun = Instant::now();
    let mut verdicts = std::pin::pin!(runner::run(server, selected, seed, pace));
    let mut tried = Vec::new();
    while let Some(one) = verdicts.next().await {
        out.write_all(text::case_lines(&one, detail).as_bytes())?;
        out.flush()?;
        tried.push(one);
    }
    run = run.with_cases(&tried, begun.elapsed());
    out.write_all(text::summary(&tried).as_bytes())?;
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&run)
            .map_err(|source| RunError::Report { path: path.clone(), source })?;
        write_report(path, &json)?;
    }
    if let Some(path) = &arguments.junit {
        write_report(path, junit::document(&run).as_bytes())?;
    }
    Ok(!tried.iter().any(|tried| counts_as_failure(tried, arguments.fail_on)))
}

fn counts_as_failure(tried: &Tried, fail_on: Level) -> bool {
    matches!(tried.verdict, Verdict::Failed(_)) && tried.case.level <= fail_on
}

impl Arguments {
    /// Whether what is printed is known without a server.
    fn asks_no_server(&self) -> bool {
        self.list || !self.table.is_empty()
    }

    fn selection(&self) -> Selection {
        Selection {
            only: self.only.clone(),
            skip: self.skip.clone(),
            levels: self.levels.clone(),
            profiles: self.profiles.clone(),
            include: self.include.clone(),
        }
    }

    /// Connects, and asks what the server offers.
    async fn server(&self) -> Result<Server, RunError> {
        let target: Target = self.target.as_deref().unwrap_or("").parse()?;
        let http = self.http.as_deref().map(Target::parse_http).transpose()?;
        let headers = Headers(headers(&self.headers)?);
        let unreachable =
            |reason: String| RunError::Unreachable { target: target.to_string(), reason };
        let connect = async {
            let endpoint = target.endpoint().map_err(|error| error_text(&error))?;
            let channel = endpoint.connect().await.map_err(|error| error_text(&error))?;
            let connection = InterceptedService::new(channel, headers.clone());
            let asked = Announced::ask(connection, &self.instance, http.is_some()).await;
            asked.map_err(|status| format!("GetCapabilities ended with {}", status_text(&status)))
        };
        let announced = match tokio::time::timeout(ANSWER_LIMIT, connect).await {
            Ok(asked) => asked.map_err(unreachable)?,
            Err(_elapsed) => return Err(unreachable(format!("no answer within {ANSWER_LIMIT:?}"))),
        };
        let instance = self.instance.clone();
        Ok(Server { target, http, instance, headers, announced })
    }
}

/// An error and its causes: tonic's own text is only "transport error".
fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn headers(texts: &[String]) -> Result<MetadataMap, RunError> {
    let mut headers = MetadataMap::new();
    for text in texts {
        let malformed = || RunError::Header { text: text.clone() };
        let (name, value) = text.split_once(':').ok_or_else(malformed)?;
        let name = name.trim().to_ascii_lowercase();
        let key = MetadataKey::from_bytes(name.as_bytes()).map_err(|_| malformed())?;
        headers.append(key, value.trim().parse().map_err(|_| malformed())?);
    }
    Ok(headers)
}

/// So that each run has blobs that no server has seen.
fn seed_of_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn read_report(path: &Path) -> Result<Run, RunError> {
    let text =
        std::fs::read(path).map_err(|source| RunError::File { path: path.to_owned(), source })?;
    serde_json::from_slice(&text)
        .map_err(|source| RunError::Report { path: path.to_owned(), source })
}

fn write_report(path: &Path, text: &[u8]) -> Result<(), RunError> {
    std::fs::write(path, text).map_err(|source| RunError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that its reader has closed.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_list_that_is_read_in_part_is_no_error() {
        let arguments = Arguments::parse_from(["larder-conformance", "--list"]);
        let mut err = Vec::new();
        assert_eq!(run(&arguments, &mut Closed, &mut err), 0);
        assert_eq!(String::from_utf8_lossy(&err), "");
    }
}
