//! The rules that no lint knows: where crates may depend, how long files are, what things are called.
//!
//! [`Snapshot`] reads the workspace, and each rule is a pure function from it to violations. How long a function may be and what it may
//! call is clippy's business (`clippy.toml`).

mod budgets;
mod decisions;
mod floors;
mod headers;
mod manifests;
mod names;
mod snapshot;

use std::fmt;

pub(crate) use snapshot::Snapshot;

/// Where a rule is broken, and how.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Violation {
    path: String,
    rule: &'static str,
    detail: String,
}

impl Violation {
    fn new(path: impl Into<String>, rule: &'static str, detail: impl Into<String>) -> Self {
        Self { path: path.into(), rule, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, rule, detail } = self;
        write!(f, "{path}: {rule}: {detail}")
    }
}

/// Every violation of every rule, by path.
pub(crate) fn check(snapshot: &Snapshot) -> Vec<Violation> {
    let mut violations = [
        floors::check(&snapshot.packages),
        names::check(&snapshot.packages, &snapshot.sources),
        budgets::check(&snapshot.sources),
        headers::check(&snapshot.sources),
        manifests::check(&snapshot.packages),
        decisions::check(&snapshot.decisions),
    ]
    .concat();
    violations.sort();
    violations
}
