//! How long files are. What counts: the lines, comments and tests among them, of every Rust file of the workspace, taken together.

use super::Violation;
use super::snapshot::Text;

const RULE: &str = "budgets";
const WORKSPACE: &str = "workspace";

const MEDIAN_LINES: usize = 150;
/// Nine files of ten stay within this.
const USUAL_LINES: usize = 400;
const MOST_LINES: usize = 600;

pub(super) fn check(sources: &[Text]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut lengths: Vec<_> = sources.iter().map(|source| source.content.lines().count()).collect();
    for (source, &lines) in sources.iter().zip(&lengths) {
        if lines > MOST_LINES {
            let detail = format!("{lines} lines, over the limit of {MOST_LINES}");
            violations.push(Violation::new(&source.path, RULE, detail));
        }
    }
    lengths.sort_unstable();
    for (percent, limit) in [(50, MEDIAN_LINES), (90, USUAL_LINES)] {
        if let Some(lines) = percentile(&lengths, percent).filter(|lines| *lines > limit) {
            let detail = format!("{percent} % of the files have up to {lines} lines, over {limit}");
            violations.push(Violation::new(WORKSPACE, RULE, detail));
        }
    }
    violations
}

/// The length that `percent` of the files do not exceed.
fn percentile(sorted: &[usize], percent: usize) -> Option<usize> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lengths: &[usize]) -> usize {
        let file = |lines: &usize| Text { path: "a.rs".to_owned(), content: "\n".repeat(*lines) };
        check(&lengths.iter().map(file).collect::<Vec<_>>()).len()
    }

    #[test]
    fn each_budget_counts() {
        let table: [(&[usize], usize); 7] = [
            (&[], 0),
            (&[150], 0),
            (&[151], 1),
            (&[10, 10, 10, 600], 1),
            (&[10, 10, 10, 10, 10, 10, 10, 10, 10, 600], 0),
            (&[10, 10, 10, 10, 10, 10, 10, 10, 10, 601], 1),
            (&[10, 10, 10, 10, 10, 10, 10, 10, 401, 401], 1),
        ];
        for (lengths, violations) in table {
            assert_eq!(count(lengths), violations, "{lengths:?}");
        }
    }
}
