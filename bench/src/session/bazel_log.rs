//! [`session_of`]: a session made of what Bazel tells of its calls, in a log for each build. Pure.
//!
//! A blob that a build wrote is another one in each build (`7w0`), and not the one that is there before (`7`): so builds can be replayed
//! side by side, and any number of times. Source: Bazel's `--experimental_remote_grpc_log`, messages behind their lengths.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use larder_protos::bytestream::ReadRequest;
use larder_protos::reapi::{
    ActionResult, FindMissingBlobsRequest, GetActionResultRequest, RequestMetadata,
    UpdateActionResultRequest,
};
use larder_protos::rpc::Status;
use larder_protos::well_known::Timestamp;
use larder_protos::{Digest, DigestFunction, InstanceName, ParseError, ReadName, WriteName, reapi};
use prost::Message;
use thiserror::Error;

use super::{BlobName, Call, Session};

const NOT_FOUND: i32 = 5;

/// What is no log of Bazel's calls, or no session.
#[derive(Debug, Error)]
pub(crate) enum BazelLogError {
    #[error("byte {at} begins no message of Bazel's log")]
    Message { at: usize, source: prost::DecodeError },
    #[error("a call of Bazel's log")]
    Name(#[from] ParseError),
    #[error("{method} ended with status {code}: only what went well makes a session")]
    Failed { method: String, code: i32 },
    #[error("no action asked for anything")]
    Empty,
}

/// A call; what is of no use here is left out.
#[derive(Clone, PartialEq, Message)]
struct LogEntry {
    #[prost(message, optional, tag = "1")]
    metadata: Option<RequestMetadata>,
    #[prost(message, optional, tag = "2")]
    status: Option<Status>,
    #[prost(string, tag = "3")]
    method_name: String,
    #[prost(message, optional, tag = "4")]
    details: Option<Details>,
    #[prost(message, optional, tag = "5")]
    start_time: Option<Timestamp>,
}

/// One of these; none for calls that ask a cache for nothing.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, optional, tag = "5")]
    read: Option<ReadDetails>,
    #[prost(message, optional, tag = "6")]
    write: Option<WriteDetails>,
    #[prost(message, optional, tag = "8")]
    get: Option<GetDetails>,
    #[prost(message, optional, tag = "10")]
    find: Option<FindDetails>,
    #[prost(message, optional, tag = "13")]
    update: Option<UpdateDetails>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadDetails {
    #[prost(message, optional, tag = "1")]
    request: Option<ReadRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct WriteDetails {
    #[prost(string, repeated, tag = "1")]
    resource_names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct GetDetails {
    #[prost(message, optional, tag = "1")]
    request: Option<GetActionResultRequest>,
    #[prost(message, optional, tag = "2")]
    response: Option<ActionResult>,
}

#[derive(Clone, PartialEq, Message)]
struct FindDetails {
    #[prost(message, optional, tag = "1")]
    request: Option<FindMissingBlobsRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct UpdateDetails {
    #[prost(message, optional, tag = "1")]
    request: Option<UpdateActionResultRequest>,
}

/// A call that a session has, by the digests of that build.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Told {
    Hit { action: Digest, outputs: Vec<Digest> },
    Miss { action: Digest },
    Find { blobs: Vec<Digest> },
    Read { blob: Digest },
    Write { blob: Digest },
    Update { action: Digest, outputs: Vec<Digest> },
}

/// The session of these builds, one log each, as if they had run side by side: what stands at the same part of its build stands
/// together.
pub(crate) fn session_of(logs: &[Vec<u8>]) -> Result<Session, BazelLogError> {
    let mut names = Names::default();
    let mut placed = Vec::new();
    for (number, log) in logs.iter().enumerate() {
        let actions = actions(log)?;
        let written: HashSet<Digest> = actions.iter().flatten().filter_map(Told::written).collect();
        let count = actions.len() as u64;
        for (place, action) in (0..).zip(actions) {
            let part = ((2 * place + 1_u64) << 32) / count;
            placed.push((part, names.calls(number, &written, &action)));
        }
    }
    placed.sort_by_key(|(part, _)| *part);
    let actions: Vec<_> = placed.into_iter().map(|(_, calls)| calls).collect();
    if actions.is_empty() { Err(BazelLogError::Empty) } else { Ok(Session { actions }) }
}

/// The calls of each action, in the order in which they began.
fn actions(log: &[u8]) -> Result<Vec<Vec<Told>>, BazelLogError> {
    let mut entries = Vec::new();
    let mut rest = log;
    while !rest.is_empty() {
        let at = log.len() - rest.len();
        let entry = LogEntry::decode_length_delimited(&mut rest);
        entries.push(entry.map_err(|source| BazelLogError::Message { at, source })?);
    }
    // A call is logged when it ends.
    entries.sort_by_key(|entry| entry.start_time.map(|time| (time.seconds, time.nanos)));
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut actions: Vec<Vec<Told>> = Vec::new();
    for entry in entries {
        let action = entry.metadata.as_ref().map(|it| it.action_id.clone()).unwrap_or_default();
        let Some(told) = told(entry)? else { continue };
        let place = *places.entry(action).or_insert(actions.len());
        if place == actions.len() {
            actions.push(Vec::new());
        }
        actions[place].push(told);
    }
    Ok(actions)
}

fn told(entry: LogEntry) -> Result<Option<Told>, BazelLogError> {
    let Some(details) = entry.details else { return Ok(None) };
    let code = entry.status.map_or(0, |status| status.code);
    let is_miss = details.get.is_some() && code == NOT_FOUND;
    if code != 0 && !is_miss {
        return Err(BazelLogError::Failed { method: entry.method_name, code });
    }
    Ok(if let Some(get) = details.get {
        let action = digest(get.request.and_then(|request| request.action_digest))?;
        Some(if is_miss {
            Told::Miss { action }
        } else {
            Told::Hit { action, outputs: outputs(get.response)? }
        })
    } else if let Some(find) = details.find {
        let blobs = find.request.unwrap_or_default().blob_digests;
        let blobs: Vec<Digest> =
            blobs.into_iter().map(|blob| digest(Some(blob))).collect::<Result<_, _>>()?;
        (!blobs.is_empty()).then_some(Told::Find { blobs })
    } else if let Some(read) = details.read {
        let name = read.request.unwrap_or_default().resource_name;
        Some(Told::Read { blob: ReadName::parse(&name, sha256)?.digest })
    } else if let Some(write) = details.write {
        let name = write.resource_names.first().map(String::as_str).unwrap_or_default();
        Some(Told::Write { blob: WriteName::parse(name, sha256)?.digest })
    } else if let Some(update) = details.update {
        let request = update.request.unwrap_or_default();
        let outputs = outputs(request.action_result)?;
        Some(Told::Update { action: digest(request.action_digest)?, outputs })
    } else {
        None
    })
}

/// The blobs that a result names; a tree counts as one of them.
fn outputs(result: Option<ActionResult>) -> Result<Vec<Digest>, BazelLogError> {
    let result = result.unwrap_or_default();
    let files = result.output_files.into_iter().map(|file| file.digest);
    let trees = result.output_directories.into_iter().map(|directory| directory.tree_digest);
    let streams = [result.stdout_digest, result.stderr_digest].into_iter().flatten().map(Some);
    files.chain(trees).chain(streams).map(digest).collect()
}

fn digest(digest: Option<reapi::Digest>) -> Result<Digest, BazelLogError> {
    Ok(Digest::from_proto(&digest.unwrap_or_default(), DigestFunction::Sha256)?)
}

/// Bazel names no other function without saying so in the name.
#[expect(clippy::unnecessary_wraps, reason = "what names are parsed with")]
fn sha256(_instance: &InstanceName, _digits: usize) -> Option<DigestFunction> {
    Some(DigestFunction::Sha256)
}

impl Told {
    fn written(&self) -> Option<Digest> {
        if let Self::Write { blob } = self { Some(*blob) } else { None }
    }
}

/// Numbers for what has digests in the logs.
#[derive(Default)]
struct Names {
    blobs: HashMap<Digest, usize>,
    misses: HashMap<Digest, usize>,
    /// One result has one name: an action may have another one later.
    hits: HashMap<(Digest, Vec<Digest>), usize>,
}

impl Names {
    /// The calls of an action of a build that wrote these blobs.
    fn calls(&mut self, build: usize, written: &HashSet<Digest>, action: &[Told]) -> Vec<Call> {
        let mut own: HashSet<Digest> = HashSet::new();
        let mut calls = Vec::with_capacity(action.len());
        for told in action {
            let of_build = |names: &mut Self, blob| names.blob(blob, build, written);
            calls.push(match told {
                Told::Hit { action, outputs } => Call::Hit {
                    action: format!("a{}", number(&mut self.hits, (*action, outputs.clone()))),
                    outputs: outputs.iter().map(|blob| self.blob(blob, build, &own)).collect(),
                },
                Told::Miss { action } => Call::Miss { action: self.miss(*action) },
                Told::Find { blobs } => {
                    Call::Find { blobs: blobs.iter().map(|blob| of_build(self, blob)).collect() }
                }
                // What another action of this build wrote may come later in a replay: it is read as it was before.
                Told::Read { blob } => Call::Read { blob: self.blob(blob, build, &own) },
                Told::Write { blob } => {
                    own.insert(*blob);
                    Call::Write { blob: of_build(self, blob) }
                }
                Told::Update { action, outputs } => Call::Update {
                    action: self.miss(*action),
                    outputs: outputs.iter().map(|blob| of_build(self, blob)).collect(),
                },
            });
        }
        calls
    }

    /// A blob, new in this build if it is among `new`.
    fn blob(&mut self, blob: &Digest, build: usize, new: &HashSet<Digest>) -> BlobName {
        let number = number(&mut self.blobs, *blob);
        let name =
            if new.contains(blob) { format!("{number}w{build}") } else { number.to_string() };
        let size_bytes = usize::try_from(blob.size_bytes()).unwrap_or(usize::MAX);
        BlobName { name, size_bytes }
    }

    fn miss(&mut self, action: Digest) -> String {
        format!("m{}", number(&mut self.misses, action))
    }
}

fn number<K: Eq + Hash>(numbers: &mut HashMap<K, usize>, key: K) -> usize {
    let next = numbers.len();
    *numbers.entry(key).or_insert(next)
}

#[cfg(test)]
mod tests {
    use larder_protos::reapi::OutputFile;

    use super::*;

    fn of(text: &str) -> Digest {
        Digest::of(DigestFunction::Sha256, text.as_bytes())
    }

    fn result(outputs: &[&str]) -> ActionResult {
        let file = |text: &&str| OutputFile { digest: Some(of(text).to_proto()), ..<_>::default() };
        ActionResult { output_files: outputs.iter().map(file).collect(), ..<_>::default() }
    }

    fn entry(action: &str, seconds: i64, code: i32, details: Details) -> Vec<u8> {
        let entry = LogEntry {
            metadata: Some(RequestMetadata { action_id: action.to_owned(), ..<_>::default() }),
            status: Some(Status { code, ..<_>::default() }),
            method_name: "method".to_owned(),
            details: Some(details),
            start_time: Some(Timestamp { seconds, nanos: 0 }),
        };
        entry.encode_length_delimited_to_vec()
    }

    fn get(action: &str, seconds: i64, found: Option<&[&str]>) -> Vec<u8> {
        let request =
            GetActionResultRequest { action_digest: Some(of(action).to_proto()), ..<_>::default() };
        let get = GetDetails { request: Some(request), response: found.map(result) };
        let code = if found.is_some() { 0 } else { NOT_FOUND };
        entry(action, seconds, code, Details { get: Some(get), ..<_>::default() })
    }

    fn find(action: &str, seconds: i64, blobs: &[&str]) -> Vec<u8> {
        let blob_digests = blobs.iter().map(|blob| of(blob).to_proto()).collect();
        let request = Some(FindMissingBlobsRequest { blob_digests, ..<_>::default() });
        let find = Some(FindDetails { request });
        entry(action, seconds, 0, Details { find, ..<_>::default() })
    }

    fn write(action: &str, seconds: i64, blob: &str) -> Vec<u8> {
        let names = vec![format!("uploads/1/blobs/{}", of(blob)), String::new()];
        let write = Some(WriteDetails { resource_names: names });
        entry(action, seconds, 0, Details { write, ..<_>::default() })
    }

    fn read(action: &str, seconds: i64, blob: &str) -> Vec<u8> {
        let resource_name = format!("blobs/{}", of(blob));
        let request = Some(ReadRequest { resource_name, ..<_>::default() });
        let read = Some(ReadDetails { request });
        entry(action, seconds, 0, Details { read, ..<_>::default() })
    }

    fn update(action: &str, seconds: i64, outputs: &[&str]) -> Vec<u8> {
        let request = UpdateActionResultRequest {
            action_digest: Some(of(action).to_proto()),
            action_result: Some(result(outputs)),
            ..<_>::default()
        };
        let update = Some(UpdateDetails { request: Some(request) });
        entry(action, seconds, 0, Details { update, ..<_>::default() })
    }

    #[test]
    fn builds_are_told_by_numbers_and_side_by_side() {
        // As they end, not as they begin.
        let cold = [
            get("one", 1, None),
            get("two", 4, None),
            write("one", 3, "output"),
            find("one", 2, &["output", "same"]),
            update("one", 5, &["output"]),
        ];
        let warm =
            [get("one", 1, Some(&["output"])), read("one", 2, "output"), get("two", 3, None)];
        let session = session_of(&[cold.concat(), warm.concat()]).unwrap();
        let expected = "larder-session 1\n\n\
                        get m0 miss\nfind 0w0:6 1:4\nwrite 0w0:6\nupdate m0 0w0:6\n\n\
                        get a0 hit 0:6\nread 0:6\n\n\
                        get m1 miss\n\n\
                        get m1 miss\n";
        assert_eq!(session.to_string(), expected);
        assert_eq!(Session::parse(expected), Ok(session));
    }

    #[test]
    fn what_an_action_wrote_itself_it_reads_as_written() {
        let log = [write("one", 1, "x"), read("one", 2, "x"), read("two", 3, "x")];
        let session = session_of(&[log.concat()]).unwrap();
        let expected = "larder-session 1\n\nwrite 0w0:1\nread 0w0:1\n\nread 0:1\n";
        assert_eq!(session.to_string(), expected);
    }

    #[test]
    fn a_log_that_is_none_is_refused() {
        let whole = get("one", 1, None);
        let cut = session_of(&[whole[..whole.len() - 1].to_vec()]).unwrap_err();
        assert!(matches!(cut, BazelLogError::Message { at: 0, .. }), "{cut}");
        let failed =
            entry("one", 1, 14, Details { get: Some(GetDetails::default()), ..<_>::default() });
        let failed = session_of(&[failed]).unwrap_err();
        assert_eq!(
            failed.to_string(),
            "method ended with status 14: only what went well makes a session"
        );
        assert!(matches!(session_of(&[]), Err(BazelLogError::Empty)));
    }
}
