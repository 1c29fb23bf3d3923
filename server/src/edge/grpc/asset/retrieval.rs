//! [`Retrieval`]: has an origin asked for a blob, and stores what comes if it is what was meant.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_action_cache::MalformedResult;
use larder_cas::{RequestCx, StoreError};
use larder_protos::{Digest, DigestHasher, Hash};
use tokio::time::timeout;
use tonic::Status;
use url::Url;

use super::flights::Outcome;
use super::index::Index;
use super::plan::Plan;
use super::record::{Content, Record};
use super::timestamp::Moment;
use crate::edge::http::{BodyError, Spooled};
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::fetch::{FetchError, Integrity, Origin};

/// One after the other the origins of a plan, until one has it.
pub(super) struct Retrieval {
    pub(super) shared: Arc<Shared>,
    pub(super) origin: Arc<Origin>,
    pub(super) index: Index,
    pub(super) plan: Plan,
}

/// Why it failed.
enum Failure {
    Fetch(FetchError),
    Ours(Status),
}

impl Retrieval {
    /// Asks until one has it, or the time is over.
    pub(super) async fn run(self, within: Duration) -> Outcome {
        let mut asked = self.plan.uris[0];
        let outcome = match timeout(within, self.first_that_has_it(&mut asked)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                let error = FetchError::Timeout { milliseconds: within.as_millis() };
                Outcome::Failed { uri: asked, error }
            }
        };
        if let Outcome::Failed { error, .. } = &outcome {
            self.origin.stats().failed(error.fault());
            tracing::info!(%error, "nothing came from an origin");
        }
        outcome
    }

    async fn first_that_has_it(&self, asked: &mut usize) -> Outcome {
        let mut last = FetchError::Unchecked;
        for index in self.plan.uris.iter().copied() {
            *asked = index;
            let fetched = match self.origin.url(self.plan.uri(index)) {
                Ok(url) => self.fetch(index, url).await,
                Err(error) => Err(Failure::Fetch(error)),
            };
            match fetched {
                Ok(digest) => return Outcome::Found { uri: index, digest },
                Err(Failure::Fetch(error)) => last = error,
                Err(Failure::Ours(status)) => return Outcome::Refused(status),
            }
        }
        Outcome::Failed { uri: *asked, error: last }
    }

    async fn fetch(&self, index: usize, url: Url) -> Result<Digest, Failure> {
        let since = Moment::from(SystemTime::now());
        let body = self.origin.get(url, &self.plan.headers.of_uri(index)).await?;
        let host = body.host().to_owned();
        let mut bytes = body.into_stream().map_err(Failure::Fetch).boxed();
        if let Some((integrity, function)) =
            self.plan.integrity.clone().zip(self.plan.second_function())
        {
            let hasher = DigestHasher::new(function, 0);
            bytes = checked(bytes, hasher, integrity, host.clone()).boxed();
        }
        let spooled = self.shared.spool.receive(bytes, self.plan.identity.function).await;
        let Spooled { digest, untrusted } = spooled.map_err(|failure: Failure| failure)?;
        if let Some(integrity) = &self.plan.integrity
            && self.plan.second_function().is_none()
        {
            check(integrity, digest.hash(), &host)?;
        }
        let payload = untrusted.verify(&digest).await?;
        let key = self.index.partition().blob(digest);
        self.shared.blobs.put(&RequestCx::RAW, &key, payload).await?;
        let record = Record {
            content: Content::Blob(digest),
            blobs: Vec::new(),
            directories: Vec::new(),
            since,
            expire_at: None,
        };
        let entry = self.index.entry(&record)?;
        self.index.keep(self.plan.key(index), entry).await?;
        self.origin.stats().fetched(digest.size_bytes());
        tracing::info!(%host, bytes = digest.size_bytes(), "fetched from an origin");
        Ok(digest)
    }
}

/// The same bytes, ending in an error where they are not those meant.
fn checked(
    bytes: BoxStream<'static, Result<Bytes, Failure>>,
    hasher: DigestHasher,
    integrity: Integrity,
    host: String,
) -> impl stream::Stream<Item = Result<Bytes, Failure>> + Send {
    let state = Some((bytes, hasher, integrity, host));
    stream::try_unfold(state, async |state| {
        let Some((mut bytes, mut hasher, integrity, host)) = state else { return Ok(None) };
        let Some(chunk) = bytes.try_next().await? else {
            check(&integrity, hasher.finish().hash(), &host)?;
            return Ok(None);
        };
        // As little as is read of an origin at a time.
        hasher.update(&chunk);
        Ok(Some((chunk, Some((bytes, hasher, integrity, host)))))
    })
}

fn check(integrity: &Integrity, actual: &Hash, host: &str) -> Result<(), FetchError> {
    if integrity.admits(actual) {
        return Ok(());
    }
    let (expected, actual) = (integrity.clone(), *actual);
    Err(FetchError::Mismatch { host: host.to_owned(), expected, actual })
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Ours(grpc_status(error))
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Self::Ours(grpc_status(error))
    }
}

impl From<MalformedResult> for Failure {
    fn from(error: MalformedResult) -> Self {
        Self::Ours(grpc_status(error))
    }
}
