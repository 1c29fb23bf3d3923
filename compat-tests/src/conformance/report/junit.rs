//! The report as JUnit's XML, as CI systems read it: a suite for each topic.

use std::fmt::Write as _;

use super::json::{CaseReport, Run, Word};

/// The whole document.
pub(crate) fn document(run: &Run) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (tests, failures) = (run.cases.len(), run.summary.failed);
    // Writing to a string cannot fail; so below.
    let _written = writeln!(
        xml,
        "<testsuites name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" skipped=\"{}\" time=\"{:.3}\">",
        escaped(&run.kit),
        run.summary.skipped,
        run.seconds
    );
    for suite in run.cases.chunk_by(|a, b| a.topic == b.topic) {
        write_suite(&mut xml, suite);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn write_suite(xml: &mut String, cases: &[CaseReport]) {
    let topic = cases.first().map_or("", |case| &case.topic);
    let of = |word| cases.iter().filter(|case| case.verdict == word).count();
    let (failures, skipped) = (of(Word::Failed), of(Word::Skipped));
    let millis: u64 = cases.iter().map(|case| case.millis).sum();
    let _written = writeln!(
        xml,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{}\">",
        escaped(topic),
        cases.len(),
        seconds(millis)
    );
    for case in cases {
        write_case(xml, case);
    }
    xml.push_str("  </testsuite>\n");
}

fn write_case(xml: &mut String, case: &CaseReport) {
    let CaseReport { level, rule, source, .. } = case;
    let _written = write!(
        xml,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
        escaped(&case.topic),
        escaped(&case.name),
        seconds(case.millis)
    );
    let detail = escaped(case.detail.as_deref().unwrap_or(""));
    let _written = match case.verdict {
        Word::Passed => writeln!(xml, "/>"),
        Word::Skipped => writeln!(xml, "><skipped message=\"{detail}\"/></testcase>"),
        Word::Failed => {
            let (rule, source) = (escaped(rule), escaped(source));
            writeln!(
                xml,
                "><failure type=\"{level}\" message=\"{detail}\">rule: {rule}\nfrom: {source}</failure></testcase>"
            )
        }
    };
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// Text as XML takes it, in an attribute too; what XML 1.0 cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push(' '),
            control if control < ' ' || matches!(control, '\u{fffe}' | '\u{ffff}') => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::case::Level;
    use crate::conformance::report::Count;

    #[test]
    fn every_case_is_in_its_suite() {
        let case = |name: &str, topic: &str, verdict, detail: Option<&str>| CaseReport {
            name: name.to_owned(),
            topic: topic.to_owned(),
            level: Level::Must,
            profiles: Vec::new(),
            rule: "a < b".to_owned(),
            source: "spec".to_owned(),
            verdict,
            detail: detail.map(str::to_owned),
            millis: 1_234,
        };
        let run = Run {
            kit: "kit 1".to_owned(),
            server: String::new(),
            target: String::new(),
            instance: String::new(),
            seed: 1,
            announced: String::new(),
            seconds: 2.0,
            summary: Count { passed: 1, failed: 1, skipped: 1 },
            cases: vec![
                case("a.x", "a", Word::Passed, None),
                case("a.y", "a", Word::Failed, Some("expected \"1\" & got\u{1} <2>")),
                case("b.z", "b", Word::Skipped, Some("no --http")),
            ],
        };
        let expect = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="kit 1" tests="3" failures="1" skipped="1" time="2.000">
  <testsuite name="a" tests="2" failures="1" errors="0" skipped="0" time="2.468">
    <testcase classname="a" name="a.x" time="1.234"/>
    <testcase classname="a" name="a.y" time="1.234"><failure type="MUST" message="expected &quot;1&quot; &amp; got &lt;2&gt;">rule: a &lt; b
from: spec</failure></testcase>
  </testsuite>
  <testsuite name="b" tests="1" failures="0" errors="0" skipped="1" time="1.234">
    <testcase classname="b" name="b.z" time="1.234"><skipped message="no --http"/></testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(document(&run), expect);
    }
}
