//! The catalogue: every topic. A new topic is a table of cases in `cases/` and a line here.

use super::announced::Need;
use super::case::Topic;
use super::cases;

/// In the order in which they are tried and reported.
pub(crate) const TOPICS: &[Topic] = &[
    Topic { name: "capabilities", needs: &[], cases: cases::capabilities::CASES },
    Topic { name: "bytestream.read", needs: &[], cases: cases::read::CASES },
    Topic { name: "bytestream.read-zstd", needs: &[Need::Zstd], cases: cases::read_zstd::CASES },
    Topic { name: "bytestream.write", needs: &[], cases: cases::write::CASES },
    Topic { name: "bytestream.write-zstd", needs: &[Need::Zstd], cases: cases::write_zstd::CASES },
    Topic { name: "hostile.port", needs: &[], cases: cases::hostile::port::CASES },
    Topic { name: "hostile.http2", needs: &[], cases: cases::hostile::http2::CASES },
    Topic { name: "hostile.messages", needs: &[], cases: cases::hostile::messages::CASES },
    Topic { name: "hostile.zstd", needs: &[], cases: cases::hostile::zstd::CASES },
    Topic { name: "hostile.slow", needs: &[], cases: cases::hostile::slow::CASES },
    Topic { name: "hostile.names", needs: &[], cases: cases::hostile::names::CASES },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::conformance::case::Level;

    #[test]
    fn names_are_unique_and_begin_with_their_topic() {
        let mut seen = HashSet::new();
        for topic in TOPICS {
            for case in topic.cases {
                let rest = case.name.strip_prefix(topic.name).and_then(|r| r.strip_prefix('.'));
                assert!(rest.is_some_and(|rest| !rest.is_empty()), "{}", case.name);
                let plain =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
                assert!(case.name.chars().all(plain), "{}", case.name);
                assert!(seen.insert(case.name), "{} is there twice", case.name);
            }
        }
    }

    #[test]
    fn every_case_says_its_rule_and_source() {
        for case in TOPICS.iter().flat_map(|topic| topic.cases) {
            assert!(case.rule().ends_with('.'), "{}: {}", case.name, case.rule());
            assert!(!case.source.is_empty(), "{}", case.name);
            let names_clients = !case.profiles.is_empty();
            assert!(names_clients || case.level != Level::Client, "{}: which client?", case.name);
        }
    }
}
