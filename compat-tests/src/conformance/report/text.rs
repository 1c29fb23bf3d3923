//! The report that people read: a line for each case as it ends, and what failed with all that is known of it.

use std::fmt::Write as _;

use super::tally;
use crate::conformance::case::Case;
use crate::conformance::runner::{Tried, Verdict};

/// How much is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Detail {
    /// Failures only.
    Failures,
    /// A line for each case.
    All,
}

/// The lines for one case; nothing where it is not of interest.
pub(crate) fn case_lines(tried: &Tried, detail: Detail) -> String {
    let Case { name, level, source, .. } = tried.case;
    let millis = tried.took.as_millis();
    match &tried.verdict {
        Verdict::Passed | Verdict::Skipped(_) if detail == Detail::Failures => String::new(),
        Verdict::Passed => format!("pass  {level:<6}  {name}  ({millis} ms)\n"),
        Verdict::Skipped(reason) => format!("skip  {level:<6}  {name}: {reason}\n"),
        Verdict::Failed(found) => {
            let rule = tried.case.rule();
            format!(
                "FAIL  {level:<6}  {name}  ({millis} ms)\n      {found}\n      rule: {rule}\n      from: {source}\n"
            )
        }
    }
}

/// The closing lines: a count for each level, and the sum.
pub(crate) fn summary(tried: &[Tried]) -> String {
    let (all, levels) = tally(tried.iter().map(|tried| (tried.case.level, &tried.verdict)));
    let mut text = String::from("\n          passed  failed  skipped\n");
    for (level, count) in levels {
        let (passed, failed, skipped) = (count.passed, count.failed, count.skipped);
        // Writing to a string cannot fail.
        let _written = writeln!(text, "{level:<8}  {passed:>6}  {failed:>6}  {skipped:>7}");
    }
    let (passed, failed, skipped) = (all.passed, all.failed, all.skipped);
    let _written = writeln!(text, "{:<8}  {passed:>6}  {failed:>6}  {skipped:>7}", "all");
    text
}

/// A line for each case, for `--list`.
pub(crate) fn list_line(case: &Case) -> String {
    let Case { name, level, source, .. } = case;
    let rule = case.rule();
    format!("{level:<6}  {name}\n        {rule}\n        from: {source}\n")
}
