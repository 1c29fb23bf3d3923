//! [`Sample`]: what the metrics of a server say at one moment. Pure.
//!
//! Errors: a line that is none of the format is left out, since what the others say is worth showing.
//! Source: Prometheus' text format 0.0.4, <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::collections::{BTreeMap, BTreeSet};

/// What the metrics of a server say at one moment.
#[derive(Debug, Default)]
pub(super) struct Sample {
    families: BTreeMap<String, Vec<Series>>,
}

#[derive(Debug)]
struct Series {
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    /// Reads the page of `/metrics`.
    pub(super) fn read(page: &str) -> Self {
        let mut families = BTreeMap::<String, Vec<Series>>::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, series)) = series(line) {
                families.entry(name.to_owned()).or_default().push(series);
            }
        }
        Self { families }
    }

    /// The sum of those series of a metric that have these labels; `None` where there are none.
    pub(super) fn find(&self, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let series = self.families.get(metric)?.iter();
        series.filter(|series| series.has(labels)).map(|series| series.value).reduce(|a, b| a + b)
    }

    /// The same; what is not there is zero.
    pub(super) fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(metric, labels).unwrap_or(0.0)
    }

    /// The values that these labels have in a metric's series, together.
    pub(super) fn values<'a, const N: usize>(
        &'a self,
        metric: &str,
        names: [&str; N],
    ) -> BTreeSet<[&'a str; N]> {
        let series = self.families.get(metric).into_iter().flatten();
        series.map(|series| names.map(|name| series.label(name))).collect()
    }
}

impl Series {
    /// A label that is not there is empty, as Prometheus has it.
    fn label(&self, name: &str) -> &str {
        let mut labels = self.labels.iter();
        labels.find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.label(name) == *value)
    }
}

/// One line: `name{label="value",…} number`.
fn series(line: &str) -> Option<(&str, Series)> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((name, Series { labels, value }))
}

/// Up to the closing brace, and what stands behind it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, behind) = unquoted(quoted)?;
        labels.push((name.to_owned(), value));
        rest = behind;
    }
}

/// Up to the closing quote, and what stands behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            plain => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: &str = "\
# HELP calls_total Calls{x=\"y\"} 7
# TYPE calls_total counter
calls_total{method=\"Read\",code=\"OK\"} 3
calls_total{method=\"Read\",code=\"NOT_FOUND\"} 4
calls_total{method=\"a \\\"b\\\\c\\n}\",code=\"OK\"} 5 1700000000
open 2.5
broken{method=\"
broken{method=\"x\"}
broken
";

    #[test]
    fn sums_and_values_are_those_of_the_page() {
        let sample = Sample::read(PAGE);
        for (metric, labels, expect) in [
            ("calls_total", &[][..], Some(12.0)),
            ("calls_total", &[("method", "Read")], Some(7.0)),
            ("calls_total", &[("code", "OK"), ("method", "Read")], Some(3.0)),
            ("calls_total", &[("method", "a \"b\\c\n}")], Some(5.0)),
            ("calls_total", &[("method", "Write")], None),
            ("calls_total", &[("absent", "")], Some(12.0)),
            ("open", &[], Some(2.5)),
            ("broken", &[], None),
        ] {
            assert_eq!(sample.find(metric, labels), expect, "{metric}{labels:?}");
        }
        let codes = sample.values("calls_total", ["code"]);
        assert_eq!(codes.into_iter().collect::<Vec<_>>(), [["NOT_FOUND"], ["OK"]]);
        assert_eq!(sample.values("calls_total", ["method", "code"]).len(), 3);
    }

    proptest! {
        #[test]
        fn any_text_is_read(page in "[a-z{}=\", \\\\\n0-9#]{0,200}") {
            let _ = Sample::read(&page);
        }
    }
}
