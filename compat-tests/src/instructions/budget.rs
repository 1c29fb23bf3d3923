//! [`Budgets`]: what each operation may cost, as the checked-in file says it.
//!
//! A line is `NAME INSTRUCTIONS MORE`, with how much more is still no regression, in per cent. What follows `#` is a comment.

use crate::error::{CompatError, Unmet};

/// What this crate was built with, so that a checkout holds itself against its own file.
const CHECKED_IN: &str = include_str!("../../instructions.txt");

/// So much under what the budget says, in per cent, and it is time to lower it, so that the gain is kept.
const LESS_PERCENT: u64 = 10;

/// What each operation may cost.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Budgets(Vec<Budget>);

/// What one operation may cost.
#[derive(Debug, Eq, PartialEq)]
struct Budget {
    name: String,
    instructions: u64,
    /// More than that is a regression.
    more_percent: u64,
}

impl Budgets {
    /// As the file in the sources says.
    pub(super) fn checked_in() -> Result<Self, CompatError> {
        Self::parse(CHECKED_IN).ok_or_else(|| CompatError::Unreadable {
            what: "instructions.txt",
            text: CHECKED_IN.to_owned(),
            log: "compat-tests/instructions.txt".into(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).map(Budget::parse).collect::<Option<_>>().map(Self)
    }

    /// Holds a count against its budget; the answer says both.
    pub(super) fn hold(&self, name: &str, instructions: u64) -> Result<String, Unmet> {
        let Some(budget) = self.0.iter().find(|budget| budget.name == name) else {
            let text = format!("expected a budget of {name}, which takes {instructions}");
            return Err(Unmet::new(text));
        };
        let planned = budget.instructions;
        let change = 100.0 * (approximate(instructions) / approximate(planned) - 1.0);
        let mut text = format!("{instructions} instructions a call, {change:+.1} % of {planned}");
        if instructions < planned - planned * LESS_PERCENT / 100 {
            text.push_str("; the budget can be lowered");
        }
        let most = planned + planned * budget.more_percent / 100;
        if instructions <= most { Ok(text) } else { Err(Unmet::new(text)) }
    }

    /// The checked-in file with what was measured, where something was.
    pub(super) fn with_measured(measured: &[(&str, u64)]) -> String {
        let line = |line: &str| {
            let name = line.split_whitespace().next().unwrap_or_default();
            let budget = Budget::parse(line);
            match (budget, measured.iter().find(|(known, _)| *known == name)) {
                (Some(Budget { more_percent, .. }), Some((_, instructions))) => {
                    format!("{name:<24} {instructions:>10} {more_percent:>3}\n")
                }
                _ => format!("{line}\n"),
            }
        };
        CHECKED_IN.lines().map(line).collect()
    }
}

impl Budget {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let [instructions, more_percent] =
            [words.next()?.parse().ok()?, words.next()?.parse().ok()?];
        words.next().is_none().then_some(Self { name, instructions, more_percent })
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a percentage")]
fn approximate(instructions: u64) -> f64 {
    instructions as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(instructions: u64, expect: Result<&str, &str>) {
        let budgets = Budgets::parse("# of a call\n\nread 100000 3 # once 120000\n").unwrap();
        let held = budgets.hold("read", instructions).map_err(|unmet| unmet.to_string());
        match (held, expect) {
            (Ok(text), Ok(end)) | (Err(text), Err(end)) => assert!(text.ends_with(end), "{text}"),
            (held, _) => panic!("{instructions}: {held:?}"),
        }
    }

    #[test]
    fn more_is_a_regression_and_much_less_asks_for_a_new_budget() {
        check(100_000, Ok("+0.0 % of 100000"));
        check(103_000, Ok("+3.0 % of 100000"));
        check(103_001, Err("+3.0 % of 100000"));
        check(90_000, Ok("-10.0 % of 100000"));
        check(89_999, Ok("the budget can be lowered"));
    }

    #[test]
    fn every_line_must_be_understood() {
        for line in ["read many 3", "read 7", "read", "read 7 3 1"] {
            assert_eq!(Budgets::parse(line), None, "{line}");
        }
        let unknown = Budgets::parse("").unwrap().hold("read", 7).unwrap_err();
        assert_eq!(unknown.to_string(), "expected a budget of read, which takes 7");
    }

    #[test]
    fn every_operation_has_a_budget_and_every_budget_an_operation() {
        let budgets = Budgets::checked_in().unwrap();
        let budgeted: Vec<_> = budgets.0.iter().map(|budget| budget.name.as_str()).collect();
        let known: Vec<_> = super::super::OPERATIONS.iter().map(|one| one.name()).collect();
        assert_eq!(budgeted, known);
    }

    #[test]
    fn what_was_measured_can_be_checked_in() {
        let before = Budgets::checked_in().unwrap();
        let text = Budgets::with_measured(&[("read-2kib", 7)]);
        assert!(text.starts_with('#'), "{text}");
        let after = Budgets::parse(&text).unwrap();
        for (before, after) in before.0.iter().zip(&after.0) {
            let instructions = if before.name == "read-2kib" { 7 } else { before.instructions };
            let expect = (&before.name, instructions, before.more_percent);
            assert_eq!((&after.name, after.instructions, after.more_percent), expect);
        }
        assert_eq!(before.0.len(), after.0.len());
    }
}
