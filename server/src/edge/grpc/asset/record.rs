//! [`Record`]: what is kept about an asset, as an action result. Pure.
//!
//! The first output is the asset itself; further ones are what it refers to, so that the asset ends when any of them does.
//! The times stand in a message of our own, since an action result has no fields for them.

use larder_protos::Digest;
use larder_protos::DigestFunction;
use larder_protos::reapi::{ActionResult, ExecutedActionMetadata, OutputDirectory, OutputFile};
use larder_protos::well_known::{Any, Timestamp};
use prost::Message;

use super::timestamp::Moment;

/// Names our message within the result. A later form would have another name.
const TYPE_URL: &str = "larder/asset-times-v1";

/// A blob, or the root of a directory hierarchy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Content {
    Blob(Digest),
    Directory(Digest),
}

/// What is kept about an asset.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) content: Content,
    pub(super) blobs: Vec<Digest>,
    pub(super) directories: Vec<Digest>,
    /// When it was pushed, or when its retrieval began.
    pub(super) since: Moment,
    /// When it is no longer to be found.
    pub(super) expire_at: Option<Moment>,
}

#[derive(Clone, PartialEq, Message)]
struct Times {
    #[prost(message, optional, tag = "1")]
    since: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    expire_at: Option<Timestamp>,
}

impl Record {
    /// Whether it may be answered with at `now` to who takes nothing older than `oldest`.
    pub(super) fn is_fresh(&self, now: Moment, oldest: Option<Moment>) -> bool {
        let is_expired = self.expire_at.is_some_and(|expire_at| expire_at <= now);
        !is_expired && oldest.is_none_or(|oldest| self.since >= oldest)
    }

    /// As an action result.
    pub(super) fn to_result(&self) -> ActionResult {
        let file = |digest: &Digest| OutputFile {
            digest: Some(digest.to_proto()),
            ..OutputFile::default()
        };
        let directory = |digest: &Digest| OutputDirectory {
            root_directory_digest: Some(digest.to_proto()),
            ..OutputDirectory::default()
        };
        let mut result = ActionResult::default();
        match &self.content {
            Content::Blob(digest) => result.output_files.push(file(digest)),
            Content::Directory(digest) => result.output_directories.push(directory(digest)),
        }
        result.output_files.extend(self.blobs.iter().map(file));
        result.output_directories.extend(self.directories.iter().map(directory));
        let times = Times {
            since: Some(self.since.to_proto()),
            expire_at: self.expire_at.map(Moment::to_proto),
        };
        result.execution_metadata = Some(ExecutedActionMetadata {
            auxiliary_metadata: vec![Any {
                type_url: TYPE_URL.to_owned(),
                value: times.encode_to_vec(),
            }],
            ..ExecutedActionMetadata::default()
        });
        result
    }

    /// The content and the times of a result; `None` where a later version has written what this one cannot read.
    pub(super) fn of_result(
        result: &ActionResult,
        is_directory: bool,
        function: DigestFunction,
    ) -> Option<Self> {
        let metadata = result.execution_metadata.as_ref()?;
        let times = metadata.auxiliary_metadata.iter().find(|any| any.type_url == TYPE_URL)?;
        let times = Times::decode(&times.value[..]).ok()?;
        let parse = |digest| Digest::from_proto(digest, function).ok();
        let content = if is_directory {
            let root = result.output_directories.first()?.root_directory_digest.as_ref()?;
            Content::Directory(parse(root)?)
        } else {
            Content::Blob(parse(result.output_files.first()?.digest.as_ref()?)?)
        };
        Some(Self {
            content,
            blobs: Vec::new(),
            directories: Vec::new(),
            since: Moment::read("since", times.since).ok()??,
            expire_at: Moment::read("expire_at", times.expire_at).ok()?,
        })
    }
}

impl Content {
    /// The digest of either.
    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Blob(digest) | Self::Directory(digest) => *digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    const FUNCTION: DigestFunction = DigestFunction::Sha256;

    fn moment(seconds: u64) -> Moment {
        Moment::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn record(content: Content) -> Record {
        let expire_at = Some(moment(20));
        Record { content, blobs: vec![], directories: vec![], since: moment(10), expire_at }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let digest = |text: &str| Digest::of(FUNCTION, text.as_bytes());
        for content in [Content::Blob(digest("x")), Content::Directory(digest("y"))] {
            let plain = record(content);
            let is_directory = matches!(content, Content::Directory(_));
            let with_references = Record {
                blobs: vec![digest("a")],
                directories: vec![digest("b")],
                ..plain.clone()
            };
            let result = with_references.to_result();
            assert_eq!(Record::of_result(&result, is_directory, FUNCTION), Some(plain));
            assert_eq!(result.output_files.len() + result.output_directories.len(), 3);
        }
        assert_eq!(Record::of_result(&ActionResult::default(), false, FUNCTION), None);
    }

    fn check(now: u64, oldest: Option<u64>, expect: bool) {
        let record = record(Content::Blob(Digest::empty(FUNCTION)));
        assert_eq!(record.is_fresh(moment(now), oldest.map(moment)), expect, "{now} {oldest:?}");
    }

    #[test]
    fn what_expired_or_is_too_old_is_not_fresh() {
        check(10, None, true);
        check(19, Some(10), true);
        check(19, Some(11), false);
        check(20, None, false);
        check(21, Some(5), false);
    }
}
