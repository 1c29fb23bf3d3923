//! The report for programs: one JSON object, whose fields are these structs'. Fields may be added; none changes its meaning.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Count, tally};
use crate::conformance::case::{Level, Profile};
use crate::conformance::runner::{Tried, Verdict};

/// A whole run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    /// This program, with its version.
    pub(crate) kit: String,
    /// What the user calls the server; its address where he did not say.
    pub(crate) server: String,
    pub(crate) target: String,
    pub(crate) instance: String,
    /// With which the same bytes come again.
    pub(crate) seed: u64,
    /// What the server announced, in a line.
    pub(crate) announced: String,
    pub(crate) seconds: f64,
    pub(crate) summary: Count,
    pub(crate) cases: Vec<CaseReport>,
}

/// One case.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct CaseReport {
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) level: Level,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) profiles: Vec<Profile>,
    pub(crate) rule: String,
    pub(crate) source: String,
    pub(crate) verdict: Word,
    /// Of a failure: what was expected and what was seen. Of a skipped case: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    pub(crate) millis: u64,
}

/// How a case ended, in a word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    Passed,
    Failed,
    Skipped,
}

impl CaseReport {
    /// Of a case that was tried.
    pub(crate) fn of(tried: &Tried) -> Self {
        let (verdict, detail) = match &tried.verdict {
            Verdict::Passed => (Word::Passed, None),
            Verdict::Failed(found) => (Word::Failed, Some(found.clone())),
            Verdict::Skipped(reason) => (Word::Skipped, Some(reason.clone())),
        };
        Self {
            name: tried.case.name.to_owned(),
            topic: tried.topic.name.to_owned(),
            level: tried.case.level,
            profiles: tried.case.profiles.to_vec(),
            rule: tried.case.rule().to_owned(),
            source: tried.case.source.to_owned(),
            verdict,
            detail,
            millis: u64::try_from(tried.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Run {
    /// Takes the cases, and counts them.
    pub(crate) fn with_cases(self, tried: &[Tried], took: Duration) -> Self {
        let (summary, _) = tally(tried.iter().map(|tried| (tried.case.level, &tried.verdict)));
        let cases = tried.iter().map(CaseReport::of).collect();
        Self { summary, cases, seconds: took.as_secs_f64(), ..self }
    }
}
