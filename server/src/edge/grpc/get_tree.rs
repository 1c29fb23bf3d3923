//! `GetTree`: the directories below a root, page by page.
//!
//! Each distinct directory comes once, however many paths lead to it, and breadth first, so the order is a function of
//! the root alone: a page token is how many directories came before. Directories go out as the bytes they were stored
//! as, since decoding and encoding could change what their digest names. Children that are absent, no directory or
//! too large for a message are left out.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use larder_cas::{ByteRange, RequestCx};
use larder_protos::bounded::BoundedError;
use larder_protos::hot::GetTreeResponse;
use larder_protos::reapi::{Directory, GetTreeRequest};
use larder_protos::{Digest, DigestFunction, bounded};
use tonic::Status;

use crate::edge::budget::{BudgetError, Hold};
use crate::edge::limits::MAX_BATCH_BYTES;
use crate::edge::partition::Partition;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;

/// Directories in a page where the client does not say.
const DEFAULT_PAGE_DIRECTORIES: usize = 1_000;

/// The most distinct directories walked for one call, which bounds its memory to some 100 MiB.
const MAX_DIRECTORIES: usize = 1_000_000;

/// What a page takes: its directories, the next one, and the message made of them.
pub(crate) const PAGE_BYTES: u64 = 3 * MAX_BATCH_BYTES;

/// What the walk takes for each directory that it has seen: its place in a set that may be half empty, and in the queue.
const MEMORY_A_DIRECTORY: u64 = 4 * size_of::<Digest>() as u64;

/// More is taken for so many directories at a time; the first of them are within what the page takes.
const COUNTED_DIRECTORIES: usize = 4_096;

/// The pages of the tree, from the one that the token names.
pub(crate) async fn pages(
    shared: Arc<Shared>,
    hold: Arc<Hold>,
    request: GetTreeRequest,
) -> Result<BoxStream<'static, Result<GetTreeResponse, Status>>, Status> {
    let addressed = shared.addressed(&request.instance_name, request.digest_function);
    let (partition, said) = addressed.map_err(grpc_status)?;
    let root = said.require("root_digest", request.root_digest.as_ref()).map_err(grpc_status)?;
    let skip = skipped(&request.page_token)?;
    let page_directories = match usize::try_from(request.page_size) {
        Ok(0) => DEFAULT_PAGE_DIRECTORIES,
        Ok(size) => size,
        Err(_) => {
            let message = format!("page_size {} is negative", request.page_size);
            return Err(Status::invalid_argument(message));
        }
    };
    let mut walk = Walk::new(shared, hold, partition, root);
    // The root is read before the answer begins, so that its absence is the answer.
    if root.size_bytes() > MAX_BATCH_BYTES {
        let message =
            format!("root directory {root} is over the limit of {MAX_BATCH_BYTES} B a directory");
        return Err(Status::invalid_argument(message));
    }
    let Some(root_bytes) = walk.read(root).await? else {
        return Err(Status::not_found(format!("root directory {root} is absent")));
    };
    if let Err(error) = walk.enter(&root_bytes) {
        return Err(Status::invalid_argument(format!("root_digest {root}: {error}")));
    }
    walk.count().map_err(grpc_status)?;
    walk.ready = Some(root_bytes);
    walk.skip(skip).await?;
    let pages = stream::try_unfold(Some(walk), move |walk| async move {
        let Some(mut walk) = walk else { return Ok(None) };
        let directories = walk.page(page_directories).await?;
        let more = walk.ready.is_some();
        let next_page_token = if more { walk.passed.to_string() } else { String::new() };
        let page = GetTreeResponse { directories, next_page_token };
        Ok(Some((page, more.then_some(walk))))
    });
    Ok(pages.boxed())
}

fn skipped(page_token: &str) -> Result<usize, Status> {
    if page_token.is_empty() {
        return Ok(0);
    }
    page_token.parse().map_err(|_| {
        let shown: String = page_token.chars().take(40).collect();
        Status::invalid_argument(format!("page_token {shown:?} is none of this server's"))
    })
}

/// A breadth-first walk over distinct directories.
struct Walk {
    shared: Arc<Shared>,
    hold: Arc<Hold>,
    /// For how many directories the hold has memory.
    counted: usize,
    partition: Partition,
    function: DigestFunction,
    seen: HashSet<Digest>,
    unread: VecDeque<Digest>,
    /// The next directory, read already, so that a page knows whether another one follows.
    ready: Option<Bytes>,
    /// How many directories have been handed out or skipped.
    passed: usize,
}

impl Walk {
    fn new(shared: Arc<Shared>, hold: Arc<Hold>, partition: Partition, root: Digest) -> Self {
        let seen = HashSet::from([root]);
        let function = root.function();
        let (unread, counted) = (VecDeque::new(), COUNTED_DIRECTORIES);
        Self { shared, hold, counted, partition, function, seen, unread, ready: None, passed: 0 }
    }

    async fn skip(&mut self, directories: usize) -> Result<(), Status> {
        while self.passed < directories {
            if self.next().await?.is_none() {
                let message = format!("the tree has no {directories} directories to skip");
                return Err(Status::invalid_argument(message));
            }
        }
        Ok(())
    }

    /// Up to `most` directories, and no more bytes than a batch may have.
    async fn page(&mut self, most: usize) -> Result<Vec<Bytes>, Status> {
        let (mut page, mut page_bytes) = (Vec::new(), 0);
        while page.len() < most {
            let Some(ready) = &self.ready else { break };
            page_bytes += ready.len() as u64;
            if page_bytes > MAX_BATCH_BYTES && !page.is_empty() {
                break;
            }
            page.extend(self.next().await?);
        }
        Ok(page)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(directory) = self.ready.take() else { return Ok(None) };
        self.passed += 1;
        while let Some(digest) = self.unread.pop_front() {
            if digest.size_bytes() <= MAX_BATCH_BYTES
                && let Some(bytes) = self.read(digest).await?
                && self.enter(&bytes).is_ok()
            {
                self.count().map_err(grpc_status)?;
                self.ready = Some(bytes);
                break;
            }
        }
        Ok(Some(directory))
    }

    /// Takes memory for what was seen; a call that holds some does not wait for more.
    fn count(&mut self) -> Result<(), BudgetError> {
        if self.seen.len() > self.counted {
            let counted = self.seen.len().next_multiple_of(COUNTED_DIRECTORIES);
            self.hold.grow_by((counted - self.counted) as u64 * MEMORY_A_DIRECTORY)?;
            self.counted = counted;
        }
        Ok(())
    }

    async fn read(&self, digest: Digest) -> Result<Option<Bytes>, Status> {
        let key = self.partition.blob(digest);
        let found = self.shared.blobs.get(&RequestCx::RAW, &key, ByteRange::ALL).await;
        let Some(payload) = found.map_err(grpc_status)? else { return Ok(None) };
        payload.into_bytes(MAX_BATCH_BYTES).await.map(Some).map_err(grpc_status)
    }

    /// Notes the children that are new; an error where these bytes are no directory.
    fn enter(&mut self, bytes: &Bytes) -> Result<(), BoundedError> {
        let directory = bounded::decode::<Directory>(bytes.clone())?;
        for child in directory.directories.iter().filter_map(|child| child.digest.as_ref()) {
            if let Ok(child) = Digest::from_proto(child, self.function)
                && self.seen.len() < MAX_DIRECTORIES
                && self.seen.insert(child)
            {
                self.unread.push_back(child);
            }
        }
        Ok(())
    }
}
