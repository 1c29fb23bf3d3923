//! Tables in Markdown over the JSON reports of several servers: by level, by topic, and what failed.

use std::fmt::Write as _;

use super::Count;
use super::json::{CaseReport, Run, Word};
use crate::conformance::case::Level;

/// The three tables.
pub(crate) fn document(runs: &[Run]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail; so below.
    for run in runs {
        let Run { server, kit, seed, seconds, announced, .. } = run;
        let _written = writeln!(
            text,
            "- **{server}**: {announced} ({} cases in {seconds:.1} s, {kit}, seed {seed})",
            run.cases.len()
        );
    }
    let _written = writeln!(text, "\nPassed / failed / skipped, by level:\n");
    let levels = Level::ALL.map(|level| level.to_string());
    rows(&mut text, runs, levels.into(), |case| case.level.to_string());
    let _written = writeln!(text, "\nBy topic:\n");
    let mut topics = Vec::new();
    for case in runs.iter().flat_map(|run| &run.cases) {
        if !topics.contains(&case.topic) {
            topics.push(case.topic.clone());
        }
    }
    rows(&mut text, runs, topics, |case| case.topic.clone());
    for run in runs {
        failures(&mut text, run);
    }
    text
}

/// A row for each of `keys` and one for all; a column for each run.
fn rows(text: &mut String, runs: &[Run], keys: Vec<String>, key: impl Fn(&CaseReport) -> String) {
    text.push('|');
    for run in runs {
        let _written = write!(text, " | {}", run.server);
    }
    let _written = writeln!(text, " |\n|---{}|", "|---".repeat(runs.len()));
    for wanted in keys {
        let _written = write!(text, "| {wanted}");
        for run in runs {
            let count = count(run.cases.iter().filter(|case| key(case) == wanted));
            let _written = write!(text, " | {}", cell(count));
        }
        text.push_str(" |\n");
    }
    text.push_str("| **all**");
    for run in runs {
        let _written = write!(text, " | **{}**", cell(count(run.cases.iter())));
    }
    text.push_str(" |\n");
}

fn cell(count: Count) -> String {
    format!("{} / {} / {}", count.passed, count.failed, count.skipped)
}

fn count<'a>(cases: impl Iterator<Item = &'a CaseReport>) -> Count {
    let mut count = Count::default();
    for case in cases {
        match case.verdict {
            Word::Passed => count.passed += 1,
            Word::Failed => count.failed += 1,
            Word::Skipped => count.skipped += 1,
        }
    }
    count
}

fn failures(text: &mut String, run: &Run) {
    let failed: Vec<_> = run.cases.iter().filter(|case| case.verdict == Word::Failed).collect();
    if failed.is_empty() {
        return;
    }
    let _written = writeln!(text, "\nWhat failed on {}:\n", run.server);
    for case in failed {
        let CaseReport { name, level, .. } = case;
        let detail = case.detail.as_deref().unwrap_or("").replace('\n', " ");
        let _written = writeln!(text, "- {level} `{name}`: {detail}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(server: &str, cases: &[(&str, Level, Word)]) -> Run {
        let case = |(topic, level, verdict): &(&str, Level, Word)| CaseReport {
            name: format!("{topic}.x"),
            topic: (*topic).to_owned(),
            level: *level,
            profiles: Vec::new(),
            rule: String::new(),
            source: String::new(),
            verdict: *verdict,
            detail: Some("expected 1, got 2".to_owned()),
            millis: 1,
        };
        Run {
            kit: "kit 1".to_owned(),
            server: server.to_owned(),
            target: String::new(),
            instance: String::new(),
            seed: 1,
            announced: "REAPI".to_owned(),
            seconds: 0.5,
            summary: Count::default(),
            cases: cases.iter().map(case).collect(),
        }
    }

    #[test]
    fn servers_are_columns() {
        let runs = [
            run("A", &[("cas", Level::Must, Word::Passed), ("http", Level::Should, Word::Skipped)]),
            run("B", &[("cas", Level::Must, Word::Failed)]),
        ];
        let text = document(&runs);
        for line in [
            "- **A**: REAPI (2 cases in 0.5 s, kit 1, seed 1)",
            "| | A | B |",
            "| MUST | 1 / 0 / 0 | 0 / 1 / 0 |",
            "| cas | 1 / 0 / 0 | 0 / 1 / 0 |",
            "| http | 0 / 0 / 1 | 0 / 0 / 0 |",
            "| **all** | **1 / 0 / 1** | **0 / 1 / 0** |",
            "- MUST `cas.x`: expected 1, got 2",
        ] {
            assert!(text.lines().any(|actual| actual == line), "{line}\nin\n{text}");
        }
        assert!(!text.contains("What failed on A"), "{text}");
    }
}
