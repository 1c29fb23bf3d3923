//! The catalogue: every topic. A new topic is a table of cases in `cases/` and a line here.

use super::announced::Need;
use super::case::Topic;
use super::cases;
use super::digest::Function;

/// In the order in which they are tried and reported.
pub(crate) const TOPICS: &[Topic] = &[
    Topic { name: "capabilities", needs: &[], cases: cases::capabilities::CASES },
    Topic { name: "instances", needs: &[], cases: cases::instances::CASES },
    Topic { name: "digest", needs: &[], cases: cases::digests::CASES },
    Topic {
        name: "digest.sha256",
        needs: &[Need::Function(Function::Sha256)],
        cases: cases::digests::SHA256,
    },
    Topic {
        name: "digest.blake3",
        needs: &[Need::Function(Function::Blake3)],
        cases: cases::digests::BLAKE3,
    },
    Topic {
        name: "digest.sha1",
        needs: &[Need::Function(Function::Sha1)],
        cases: cases::digests::SHA1,
    },
    Topic {
        name: "digest.md5",
        needs: &[Need::Function(Function::Md5)],
        cases: cases::digests::MD5,
    },
    Topic {
        name: "digest.sha384",
        needs: &[Need::Function(Function::Sha384)],
        cases: cases::digests::SHA384,
    },
    Topic {
        name: "digest.sha512",
        needs: &[Need::Function(Function::Sha512)],
        cases: cases::digests::SHA512,
    },
    Topic {
        name: "digest.sha256tree",
        needs: &[Need::Function(Function::Sha256Tree)],
        cases: cases::digests::SHA256TREE,
    },
    Topic {
        name: "digest.gitsha1",
        needs: &[Need::Function(Function::GitSha1)],
        cases: cases::digests::GITSHA1,
    },
    Topic { name: "digest.inferred", needs: &[], cases: cases::digests::INFERRED },
    Topic { name: "empty-blob", needs: &[], cases: cases::empty_blob::CASES },
    Topic { name: "cas.find-missing", needs: &[], cases: cases::cas::CASES },
    Topic { name: "cas.batch-update", needs: &[], cases: cases::batches::UPDATE },
    Topic { name: "cas.batch-read", needs: &[], cases: cases::batches::READ },
    Topic { name: "cas.get-tree", needs: &[], cases: cases::tree::CASES },
    Topic { name: "bytestream.read", needs: &[], cases: cases::read::CASES },
    Topic { name: "bytestream.read-zstd", needs: &[Need::Zstd], cases: cases::read_zstd::CASES },
    Topic { name: "bytestream.write", needs: &[], cases: cases::write::CASES },
    Topic { name: "bytestream.write-zstd", needs: &[Need::Zstd], cases: cases::write_zstd::CASES },
    Topic { name: "bytestream.resume", needs: &[], cases: cases::resume::CASES },
    Topic { name: "action-cache", needs: &[Need::ActionCache], cases: cases::action_cache::CASES },
    Topic {
        name: "completeness",
        needs: &[Need::ActionCache, Need::Updates],
        cases: cases::completeness::CASES,
    },
    Topic { name: "chunking", needs: &[], cases: cases::chunking::CASES },
    Topic { name: "asset", needs: &[Need::Fetch], cases: cases::asset::CASES },
    Topic {
        name: "http",
        needs: &[Need::Http, Need::Function(Function::Sha256)],
        cases: cases::http::CASES,
    },
    Topic { name: "health", needs: &[Need::Health], cases: cases::services::HEALTH },
    Topic { name: "reflection", needs: &[Need::Reflection], cases: cases::services::REFLECTION },
    Topic { name: "transport", needs: &[], cases: cases::transport::TRANSPORT },
    Topic { name: "metadata", needs: &[], cases: cases::transport::METADATA },
    Topic { name: "client", needs: &[], cases: cases::clients::CASES },
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
