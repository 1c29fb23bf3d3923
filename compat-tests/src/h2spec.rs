//! h2spec, which holds a server against RFC 9113 and RFC 7541, frame by frame: all its cases but the ones that are written down
//! here with the reason.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::GoProgram;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "h2spec";

const PROGRAM: GoProgram = GoProgram {
    name: NAME,
    package: "github.com/summerwind/h2spec/cmd/h2spec",
    go_mod: include_str!("../h2spec/go.mod"),
    go_sum: include_str!("../h2spec/go.sum"),
};

const LIMIT: Duration = Duration::from_mins(5);
/// How long each of its cases waits for an answer.
const PATIENCE_SECONDS: &str = "2";
/// Fewer cases than these are another h2spec, or half a run.
const CASES_MIN: usize = 140;

/// A case that fails on a server that is right.
struct Known {
    /// As h2spec describes it.
    case: &'static str,
    reason: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        case: "Sends invalid connection preface",
        reason: "HTTP/1.1 is spoken on the same port, and is what answers",
    },
    Known {
        case: "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
        reason: "frames of more than the 16 KiB that h2spec thinks too large are announced",
    },
    Known {
        case: "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
        reason: "now and then: the answer has ended the stream before, and what comes then is not looked at",
    },
];

/// All cases of h2spec, on a server that serves others as before at the end.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let binary = PROGRAM.ensure(lab, &lab.dir(NAME)?.join("install.log"))?;
    let version = PROGRAM.go_mod.lines().find_map(|line| line.strip_prefix("require github"));
    report.note(NAME, version.map_or("", |line| line.trim_start_matches(".com/")));
    for known in KNOWN {
        report.note(NAME, &format!("may fail: {} ({})", known.case, known.reason));
    }
    report.case(&format!("{NAME}/all"), || all(lab, &binary));
    Ok(())
}

fn all(lab: &Lab, binary: &Path) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/all"))?;
    let larder = Larder::start(lab, &dir)?;
    let (log, junit) = (dir.join("h2spec.log"), dir.join("report.xml"));
    let address = larder.address();
    let mut command = Command::new(binary);
    command
        .args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()])
        .args(["--timeout", PATIENCE_SECONDS, "--junit-report"])
        .arg(&junit);
    // Its exit code only tells whether a case failed, and some may.
    process::run(&mut command, &log, LIMIT)?;
    let cases = cases(&process::read(&junit)?);
    let mut expectations = Expectations::of(&log);
    expectations.at_least("cases that h2spec tried", cases.len(), CASES_MIN);
    let failed: Vec<_> = cases.iter().filter(|case| case.failed).map(|case| &case.name).collect();
    let is_known = |name: &str| KNOWN.iter().any(|known| known.case == name);
    let unknown: Vec<_> = failed.iter().filter(|name| !is_known(name)).collect();
    expectations.equal("failures for no known reason", unknown, Vec::new());
    expectations.equal("readiness after it", larder.is_ready(), true);
    expectations.met()?;
    larder.stop()?;
    Ok(format!(
        "{} of {} cases passed, the others are known",
        cases.len() - failed.len(),
        cases.len()
    ))
}

/// A case that h2spec tried.
#[derive(Debug, PartialEq)]
struct Tried {
    name: String,
    failed: bool,
}

/// The cases of a `JUnit` report as h2spec writes it: an element a line, a failure in `error` or `failure` below its case.
fn cases(report: &str) -> Vec<Tried> {
    let mut cases: Vec<Tried> = Vec::new();
    for line in report.lines().map(str::trim_start) {
        if line.starts_with("<testcase ") {
            let name = line.split_once("classname=\"").and_then(|(_, rest)| rest.split_once('"'));
            let name = name.map_or(line, |(name, _)| name).replace("&#34;", "\"");
            cases.push(Tried { name, failed: false });
        } else if (line.starts_with("<error") || line.starts_with("<failure"))
            && let Some(case) = cases.last_mut()
        {
            case.failed = true;
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_read() {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="3.5." package="http2/3.5" id="3.5" tests="2" skipped="0" failures="0" errors="1">
    <testcase package="http2/3.5" classname="Sends client &#34;x&#34;" time="0.0004"></testcase>
    <testcase package="http2/3.5" classname="Sends invalid" time="0.0004">
      <error>Connection closed
Error: unexpected EOF</error>
    </testcase>
  </testsuite>
</testsuites>"#;
        let of = |name: &str, failed| Tried { name: name.to_owned(), failed };
        assert_eq!(cases(report), [of("Sends client \"x\"", false), of("Sends invalid", true)]);
    }
}
