//! Decisions are numbered from 0001 without a gap, and each says the same five things; what was learned later stands below.

use super::Violation;
use super::snapshot::Text;

const RULE: &str = "decisions";
const HEADINGS: [&str; 5] =
    ["## Context", "## Decision", "## Alternatives", "## Consequences", "## Numbers"];
/// How a heading begins under which a decision is carried on.
const ADDENDUM: &str = "## Addendum: ";

pub(super) fn check(decisions: &[Text]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut numbers = Vec::new();
    for decision in decisions {
        match number(&decision.path) {
            Some(number) => numbers.push((number, &decision.path)),
            None => violations.push(Violation::new(
                &decision.path,
                RULE,
                "a decision's file is named NNNN-title.md",
            )),
        }
        let headings: Vec<_> =
            decision.content.lines().filter(|line| line.starts_with("## ")).collect();
        let written_at_first = headings.partition_point(|line| !line.starts_with(ADDENDUM));
        let (first, addenda) = headings.split_at(written_at_first);
        if first != HEADINGS || !addenda.iter().all(|line| line.starts_with(ADDENDUM)) {
            let detail = format!("expected the headings {HEADINGS:?}, got {headings:?}");
            violations.push(Violation::new(&decision.path, RULE, detail));
        }
    }
    numbers.sort_unstable();
    for ((number, path), expected) in numbers.into_iter().zip(1..) {
        if number != expected {
            let detail = format!("numbered {number:04}, expected {expected:04}");
            violations.push(Violation::new(path, RULE, detail));
        }
    }
    violations
}

/// `7` of `docs/adr/0007-the-log-is-the-truth.md`.
fn number(path: &str) -> Option<u32> {
    let (number, title) = path.rsplit('/').next()?.strip_suffix(".md")?.split_once('-')?;
    let well_formed = number.len() == 4 && !title.is_empty();
    well_formed.then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(files: &[(&str, &str)]) -> usize {
        let text = |(name, content): &(&str, &str)| Text {
            path: format!("docs/adr/{name}"),
            content: (*content).to_owned(),
        };
        check(&files.iter().map(text).collect::<Vec<_>>()).len()
    }

    #[test]
    fn numbers_names_and_headings_count() {
        let whole = &format!("# Title\n\n{}\n", HEADINGS.join("\n\ntext\n\n"));
        let carried_on = &format!("{whole}\n## Addendum: more\n\n## Addendum: still more\n");
        let other = &format!("{whole}\n## Addendum: more\n\n## Other\n");
        let table: [(&[(&str, &str)], usize); 9] = [
            (&[], 0),
            (&[("0002-b.md", whole), ("0001-a.md", whole)], 0),
            (&[("0001-a.md", carried_on)], 0),
            (&[("0001-a.md", other)], 1),
            (&[("0002-b.md", whole)], 1),
            (&[("0001-a.md", whole), ("0001-b.md", whole)], 1),
            (&[("0001-a.md", whole), ("readme.md", whole)], 1),
            (&[("1-a.md", whole)], 1),
            (&[("0001-a.md", "## Context\n## Decision\n")], 1),
        ];
        for (files, violations) in table {
            let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
            assert_eq!(count(files), violations, "{names:?}");
        }
    }
}
