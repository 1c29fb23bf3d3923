//! The suite that every [`BlobStore`] must pass: each tier, each decorator and the composed stack.
//!
//! Each case uses a keyspace of its own, so one store serves for all of them. A failure panics, naming the case.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use larder_protos::{Digest, DigestFunction};

use crate::{
    BlobKey, BlobKeys, BlobStore, ByteRange, Encoding, Keyspace, Payload, PutOutcome, RequestCx,
    StoreError, UntrustedPayload, zstd_codec,
};

/// Sizes around what stores are likely to treat apart: tiny, one frame, several frames, streamed.
const SIZES_BYTES: [usize; 7] =
    [1, 100, 64 * 1024, 256 * 1024, 256 * 1024 + 1, 1024 * 1024 + 7, 3 * 1024 * 1024];

/// Runs every case against `store`.
pub async fn check_all(store: Arc<dyn BlobStore>) {
    let case = |name: &str| Case {
        store: Arc::clone(&store),
        name: name.to_owned(),
        keyspace: Keyspace::new(name).expect("a short name"),
    };
    case("an absent blob is a miss").absent_is_a_miss().await;
    case("what is put is got").put_is_got().await;
    case("ranges are cut out").ranges_are_cut_out().await;
    case("zstd goes in and comes out").zstd_goes_in_and_comes_out().await;
    case("a second put is already present").second_put_is_already_present().await;
    case("a failed upload leaves nothing").failed_upload_leaves_nothing().await;
    case("an abandoned upload leaves nothing").abandoned_upload_leaves_nothing().await;
    case("find_missing keeps the order asked").find_missing_keeps_order().await;
    case("keyspaces share nothing").keyspaces_share_nothing().await;
    case("functions share nothing").functions_share_nothing().await;
    case("concurrent puts all succeed").concurrent_puts_all_succeed().await;
}

struct Case {
    store: Arc<dyn BlobStore>,
    name: String,
    keyspace: Keyspace,
}

/// Bytes that no two sizes share, half compressible.
fn sample(size: usize) -> Bytes {
    let mut state = size as u64 + 1;
    let bytes = (0..size).map(|index| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if index % 64 < 32 { b'a' } else { state.to_be_bytes()[0] }
    });
    bytes.collect()
}

impl Case {
    fn key(&self, blob: &[u8]) -> BlobKey {
        let digest = Digest::of(DigestFunction::Sha256, blob);
        BlobKey { keyspace: self.keyspace.clone(), digest }
    }

    async fn put(&self, blob: &Bytes) -> Result<PutOutcome, StoreError> {
        let key = self.key(blob);
        let untrusted = UntrustedPayload::from_bytes(Encoding::Raw, blob.clone());
        let payload = untrusted.verify(&key.digest).await?;
        self.store.put(&RequestCx::RAW, &key, payload).await
    }

    async fn get(&self, cx: &RequestCx, key: &BlobKey, range: ByteRange) -> Option<Payload> {
        let found = self.store.get(cx, key, range).await;
        found.unwrap_or_else(|error| panic!("{}: {key}: {error}", self.name))
    }

    async fn assert_holds(&self, blob: &Bytes) {
        let key = self.key(blob);
        let payload = self.get(&RequestCx::RAW, &key, ByteRange::ALL).await;
        let payload = payload.unwrap_or_else(|| panic!("{}: {key} is absent", self.name));
        assert_eq!(payload.encoding(), Encoding::Raw, "{}: {key}", self.name);
        let bytes = payload.into_bytes(u64::MAX).await.expect("a good stream");
        assert!(bytes == blob, "{}: {key} came back changed", self.name);
    }

    async fn assert_absent(&self, key: &BlobKey) {
        let found = self.get(&RequestCx::RAW, key, ByteRange::ALL).await;
        assert!(found.is_none(), "{}: {key} is there", self.name);
        let missing = self.store.find_missing(&RequestCx::RAW, key.clone().into()).await;
        assert_eq!(missing.expect("an answer").digests, [key.digest], "{}", self.name);
    }

    async fn absent_is_a_miss(&self) {
        self.assert_absent(&self.key(b"never stored")).await;
    }

    async fn put_is_got(&self) {
        for blob in SIZES_BYTES.map(sample) {
            self.assert_absent(&self.key(&blob)).await;
            assert_eq!(self.put(&blob).await.expect("stored"), PutOutcome::Stored);
            self.assert_holds(&blob).await;
            self.assert_holds(&blob).await;
        }
    }

    async fn ranges_are_cut_out(&self) {
        let size = 700_000;
        let blob = sample(size);
        self.put(&blob).await.expect("stored");
        let ends = [0, 1, 5, 262_143, 262_144, 262_145, 524_288, size - 1, size];
        for (start, end) in ends.iter().flat_map(|start| ends.map(|end| (*start, end))) {
            if start > end {
                continue;
            }
            // A limit of zero bytes cannot be said: `ByteRange` speaks of reads that want something.
            let range = ByteRange::from_offset(start as u64).limited((end - start) as u64);
            let payload = self.get(&RequestCx::RAW, &self.key(&blob), range).await;
            let payload = payload.unwrap_or_else(|| panic!("{start}..{end} is absent"));
            assert_eq!(payload.size_bytes(), (end - start) as u64);
            let bytes = payload.into_bytes(u64::MAX).await.expect("a good stream");
            assert!(bytes == blob[start..end], "{}: {start}..{end} differs", self.name);
        }
    }

    async fn zstd_goes_in_and_comes_out(&self) {
        let monotonous = SIZES_BYTES.map(|size| Bytes::from(vec![b'z'; size]));
        for blob in SIZES_BYTES.map(|size| sample(size + 3)).into_iter().chain(monotonous) {
            let key = self.key(&blob);
            let frame = zstd_codec::encode(&blob, 1);
            let untrusted = UntrustedPayload::from_bytes(Encoding::Zstd, frame);
            let payload = untrusted.verify(&key.digest).await.expect("one good frame");
            let outcome = self.store.put(&RequestCx::RAW, &key, payload).await;
            assert_eq!(outcome.expect("stored"), PutOutcome::Stored);
            self.assert_holds(&blob).await;
            let got = self.get(&RequestCx::RAW_OR_ZSTD, &key, ByteRange::ALL).await;
            let got = got.expect("present").into_raw().into_bytes(u64::MAX).await;
            assert!(got.expect("good zstd") == blob, "{}: {key} changed", self.name);
            let last = ByteRange::from_offset(blob.len() as u64 - 1);
            let got = self.get(&RequestCx::RAW, &key, last).await.expect("present");
            let got = got.into_bytes(u64::MAX).await.expect("a good stream");
            assert!(got == blob.slice(blob.len() - 1..), "{}: the end of {key}", self.name);
        }
    }

    async fn second_put_is_already_present(&self) {
        for blob in SIZES_BYTES.map(sample) {
            assert_eq!(self.put(&blob).await.expect("stored"), PutOutcome::Stored);
            assert_eq!(self.put(&blob).await.expect("kept"), PutOutcome::AlreadyPresent);
            self.assert_holds(&blob).await;
        }
    }

    /// The stream of a large blob is verified as it goes, so the store sees the error when it has nearly all of it.
    async fn failed_upload_leaves_nothing(&self) {
        let named = self.key(&sample(2_000_000));
        let other = stream::iter([Ok(sample(1_999_999)), Ok(Bytes::from_static(b"x"))]).boxed();
        let untrusted = UntrustedPayload::from_stream(Encoding::Raw, other);
        let payload = untrusted.verify(&named.digest).await.expect("judged as it streams");
        let error = self.store.put(&RequestCx::RAW, &named, payload).await.expect_err("wrong");
        assert!(matches!(error, StoreError::DigestMismatch { .. }), "{}", self.name);
        self.assert_absent(&named).await;
    }

    async fn abandoned_upload_leaves_nothing(&self) {
        let blob = sample(2_000_001);
        let key = self.key(&blob);
        let half = stream::iter([Ok(blob.slice(..1_000_000))]).chain(stream::pending()).boxed();
        let untrusted = UntrustedPayload::from_stream(Encoding::Raw, half);
        let payload = untrusted.verify(&key.digest).await.expect("judged as it streams");
        let mut put = Box::pin(self.store.put(&RequestCx::RAW, &key, payload));
        for _ in 0..100 {
            assert!(futures_util::poll!(&mut put).is_pending(), "{}", self.name);
            tokio::task::yield_now().await;
        }
        drop(put);
        self.assert_absent(&key).await;
        assert_eq!(self.put(&blob).await.expect("stored"), PutOutcome::Stored);
        self.assert_holds(&blob).await;
    }

    async fn find_missing_keeps_order(&self) {
        let present = sample(50);
        self.put(&present).await.expect("stored");
        let digest = |blob: &[u8]| Digest::of(DigestFunction::Sha256, blob);
        let (b, a) = (digest(b"b"), digest(b"a"));
        let digests = vec![b, digest(&present), a, b];
        let keys = BlobKeys { keyspace: self.keyspace.clone(), digests };
        let missing = self.store.find_missing(&RequestCx::RAW, keys).await.expect("an answer");
        assert_eq!(missing.digests, [b, a, b], "{}", self.name);
    }

    async fn keyspaces_share_nothing(&self) {
        let blob = sample(60);
        self.put(&blob).await.expect("stored");
        let keyspace = Keyspace::new("another keyspace").expect("a short name");
        self.assert_absent(&BlobKey { keyspace, ..self.key(&blob) }).await;
    }

    async fn functions_share_nothing(&self) {
        let blob = sample(61);
        self.put(&blob).await.expect("stored");
        let digest = Digest::of(DigestFunction::Blake3, &blob);
        self.assert_absent(&BlobKey { digest, ..self.key(&blob) }).await;
    }

    async fn concurrent_puts_all_succeed(&self) {
        for blob in [sample(70), sample(2_000_003)] {
            let puts = join_all((0..8).map(|_| self.put(&blob))).await;
            for outcome in puts {
                outcome.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            }
            self.assert_holds(&blob).await;
        }
    }
}
