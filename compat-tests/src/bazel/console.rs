//! What Bazel prints at the end of `bazel test`: how many processes there were and of what kind, and how each test went.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TestVerdict {
    Passed,
    /// Passed without being run.
    CachedPass,
    Failed,
}

/// The closing lines of a run.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Console {
    /// Processes that the remote cache answered for.
    pub(super) remote_cache_hits: usize,
    /// Processes that really ran; Bazel's own (`internal`) not counted.
    pub(super) run: usize,
    pub(super) tests: BTreeMap<String, TestVerdict>,
}

impl Console {
    /// Reads all of what Bazel printed; lines of other kinds are passed over.
    pub(super) fn parse(output: &str) -> Self {
        let mut console = Self::default();
        for line in output.lines() {
            if let Some(counts) = line.strip_prefix("INFO: ").and_then(process_counts) {
                console.remote_cache_hits = 0;
                console.run = 0;
                for (count, kind) in counts {
                    match kind {
                        "remote cache hit" => console.remote_cache_hits += count,
                        "internal" => {}
                        _ => console.run += count,
                    }
                }
            } else if let Some((label, verdict)) = test_verdict(line) {
                console.tests.insert(label.to_owned(), verdict);
            }
        }
        console
    }
}

/// `58 processes: 34 remote cache hit, 23 internal, 1 local.`
fn process_counts(line: &str) -> Option<Vec<(usize, &str)>> {
    let (total, kinds) = line.split_once(": ")?;
    let (_count, "process" | "processes") = total.split_once(' ')? else { return None };
    kinds
        .trim_end_matches('.')
        .split(", ")
        .map(|kind| {
            let (count, kind) = kind.split_once(' ')?;
            Some((count.parse().ok()?, kind))
        })
        .collect()
}

/// `//cc:greeting_test      (cached) PASSED in 0.1s`
fn test_verdict(line: &str) -> Option<(&str, TestVerdict)> {
    let (label, rest) = line.split_once(' ')?;
    if !label.starts_with("//") {
        return None;
    }
    let rest = rest.trim_start();
    let verdict = [
        ("(cached) PASSED", TestVerdict::CachedPass),
        ("PASSED", TestVerdict::Passed),
        ("FAILED", TestVerdict::Failed),
    ];
    let (_, verdict) = verdict.into_iter().find(|(word, _)| rest.starts_with(word))?;
    Some((label, verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_line_is_read() {
        let table = [
            ("INFO: 58 processes: 34 remote cache hit, 23 internal, 1 local.", 34, 1),
            ("INFO: 58 processes: 23 internal, 35 local.", 0, 35),
            ("INFO: 3 processes: 1 internal, 1 linux-sandbox, 1 local.", 0, 2),
            ("INFO: 1 process: 1 internal.", 0, 0),
            ("INFO: Elapsed time: 12.539s, Critical Path: 3.86s", 0, 0),
            ("58 processes: 34 remote cache hit.", 0, 0),
        ];
        for (line, remote_cache_hits, run) in table {
            let expected = Console { remote_cache_hits, run, ..Console::default() };
            assert_eq!(Console::parse(line), expected, "{line}");
        }
    }

    #[test]
    fn test_verdicts_are_read() {
        let table = [
            ("//cc:a_test      (cached) PASSED in 0.1s", Some(TestVerdict::CachedPass)),
            ("//cc:a_test      PASSED in 0.1s", Some(TestVerdict::Passed)),
            ("//cc:a_test      FAILED in 0.1s", Some(TestVerdict::Failed)),
            ("//cc:a_test      NO STATUS", None),
            ("FAIL: //cc:a_test (see test.log)", None),
        ];
        for (line, verdict) in table {
            assert_eq!(Console::parse(line).tests.get("//cc:a_test").copied(), verdict, "{line}");
        }
    }
}
