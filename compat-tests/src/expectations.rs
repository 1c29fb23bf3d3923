//! [`Expectations`]: what a run must have shown, collected, so that a failure tells all of it at once.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::error::{CompatError, Unmet};

/// What was not met so far, and the log that tells more.
#[derive(Debug)]
pub(crate) struct Expectations {
    unmet: Vec<Unmet>,
    log: PathBuf,
}

impl Expectations {
    /// Nothing expected yet.
    pub(crate) fn of(log: &Path) -> Self {
        Self { unmet: Vec::new(), log: log.to_path_buf() }
    }

    /// `what` is exactly `expected`.
    pub(crate) fn equal<T: PartialEq + Debug>(&mut self, what: &str, actual: T, expected: T) {
        if actual != expected {
            self.add(format!("expected {what} {expected:?}, got {actual:?}"));
        }
    }

    /// `what` is `minimum` or more.
    pub(crate) fn at_least<T: PartialOrd + Debug>(&mut self, what: &str, actual: T, minimum: T) {
        if actual < minimum {
            self.add(format!("expected {what} of {minimum:?} or more, got {actual:?}"));
        }
    }

    /// `what` is `maximum` or less.
    pub(crate) fn at_most<T: PartialOrd + Debug>(&mut self, what: &str, actual: T, maximum: T) {
        if actual > maximum {
            self.add(format!("expected {what} of {maximum:?} or less, got {actual:?}"));
        }
    }

    /// `text`, which `what` printed, has `part` in it.
    pub(crate) fn says(&mut self, what: &str, text: &str, part: &str) {
        if !text.contains(part) {
            self.add(format!("expected `{part}` from {what}, got no such text"));
        }
    }

    /// `text`, which `what` printed, has no `part` in it.
    pub(crate) fn says_not(&mut self, what: &str, text: &str, part: &str) {
        if text.contains(part) {
            self.add(format!("expected no `{part}` from {what}, got it"));
        }
    }

    /// What another rule found.
    pub(crate) fn extend(&mut self, unmet: Vec<Unmet>) {
        self.unmet.extend(unmet);
    }

    /// Whether all was met.
    pub(crate) fn met(self) -> Result<(), CompatError> {
        let Self { unmet, log } = self;
        if unmet.is_empty() { Ok(()) } else { Err(CompatError::Unmet { unmet, log }) }
    }

    fn add(&mut self, text: String) {
        self.unmet.push(Unmet::new(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expectation_can_be_missed() {
        let mut expectations = Expectations::of(Path::new("log"));
        expectations.equal("one", 1, 1);
        expectations.at_least("two", 2, 1);
        expectations.at_most("two", 2, 3);
        expectations.says("it", "some words", "word");
        expectations.says_not("it", "some words", "none");
        assert_eq!(expectations.unmet, []);
        expectations.equal("one", 1, 2);
        expectations.at_least("two", 2, 3);
        expectations.at_most("two", 2, 1);
        expectations.says("it", "some words", "none");
        expectations.says_not("it", "some words", "word");
        assert_eq!(expectations.unmet.len(), 5);
        assert!(expectations.met().is_err());
    }
}
