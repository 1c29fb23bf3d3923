//! Bodies whose length is known only at their end, which a digest needs at the start: kept until then.

use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_cas::{Encoding, StoreError, UntrustedPayload, blocking};
use larder_protos::{Digest, DigestFunction, DigestHasher};

use super::body::BodyError;

/// Up to here a body is kept in memory.
const IN_MEMORY_BYTES: usize = 1024 * 1024;

/// How much is read from the file at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// Where bodies of unknown length are kept, and how large one may be.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    /// On the disk of the store. The files have no names, so nothing is left of them whatever happens.
    pub(crate) directory: PathBuf,
    /// The most bytes of one body.
    pub(crate) limit_bytes: u64,
}

/// A whole body, and what it turned out to be.
pub(crate) struct Spooled {
    pub(crate) digest: Digest,
    pub(crate) untrusted: UntrustedPayload,
}

impl Spool {
    /// Reads `decoded` to its end, hashing it.
    pub(crate) async fn receive<S, E: From<S> + From<BodyError>>(
        &self,
        mut decoded: BoxStream<'static, Result<Bytes, S>>,
        function: DigestFunction,
    ) -> Result<Spooled, E> {
        let mut memory = BytesMut::new();
        while let Some(chunk) = decoded.try_next().await? {
            memory.extend_from_slice(&chunk);
            if memory.len() > IN_MEMORY_BYTES {
                let begun = GrowingFile::begin(&self.directory, memory.freeze(), function).await?;
                return self.receive_in_file(begun, decoded).await;
            }
        }
        let identified = UntrustedPayload::identify(function, memory.freeze()).await;
        let (digest, untrusted) = identified.map_err(BodyError::from)?;
        Ok(Spooled { digest, untrusted })
    }

    async fn receive_in_file<S, E: From<S> + From<BodyError>>(
        &self,
        mut file: GrowingFile,
        mut decoded: BoxStream<'static, Result<Bytes, S>>,
    ) -> Result<Spooled, E> {
        while let Some(chunk) = decoded.try_next().await? {
            file = file.append(chunk).await?;
            if file.size_bytes > self.limit_bytes {
                return Err(BodyError::TooLarge { limit_bytes: self.limit_bytes }.into());
            }
        }
        Ok(file.spooled().await?)
    }
}

/// A nameless file that grows, and the hash of what is in it.
struct GrowingFile {
    file: std::fs::File,
    function: DigestFunction,
    /// `None` where the hash begins with the size, so that the file is hashed at its end.
    hasher: Option<DigestHasher>,
    size_bytes: u64,
}

impl GrowingFile {
    async fn begin(
        directory: &Path,
        begun: Bytes,
        function: DigestFunction,
    ) -> Result<Self, BodyError> {
        let directory = directory.to_owned();
        let file = blocking::run(move || tempfile::tempfile_in(directory)).await?;
        let file = file.map_err(StoreError::from)?;
        let hasher = (!function.begins_with_size()).then(|| DigestHasher::new(function, 0));
        Self { file, function, hasher, size_bytes: 0 }.append(begun).await
    }

    async fn append(mut self, chunk: Bytes) -> Result<Self, BodyError> {
        let appended = blocking::run(move || {
            self.file.write_all(&chunk)?;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&chunk);
            }
            self.size_bytes += chunk.len() as u64;
            Ok::<_, std::io::Error>(self)
        });
        Ok(appended.await?.map_err(StoreError::from)?)
    }

    /// The file from its start. It is verified once more as it is read: what a disk gives back need not be what it took.
    async fn spooled(self) -> Result<Spooled, BodyError> {
        let Self { mut file, function, hasher, size_bytes } = self;
        let finish = move || {
            file.rewind()?;
            let digest = match hasher {
                Some(hasher) => hasher.finish(),
                None => hash(&mut file, function, size_bytes)?,
            };
            Ok::<_, std::io::Error>((file, digest))
        };
        let (file, digest) = blocking::run(finish).await?.map_err(StoreError::from)?;
        let chunks = stream::try_unfold(file, async |file| {
            let read = blocking::run(move || next_chunk(file)).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(read.map_err(StoreError::from)?)
        });
        let untrusted = UntrustedPayload::from_stream(Encoding::Raw, chunks.boxed());
        Ok(Spooled { digest, untrusted })
    }
}

/// The digest of a file of `size_bytes`, which is left at its start.
fn hash(
    file: &mut std::fs::File,
    function: DigestFunction,
    size_bytes: u64,
) -> std::io::Result<Digest> {
    let mut hasher = DigestHasher::new(function, size_bytes);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            length => hasher.update(&chunk[..length]),
        }
    }
    file.rewind()?;
    Ok(hasher.finish())
}

fn next_chunk(mut file: std::fs::File) -> std::io::Result<Option<(Bytes, std::fs::File)>> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let length = file.read(&mut chunk)?;
    chunk.truncate(length);
    Ok((length > 0).then(|| (chunk.into(), file)))
}

#[cfg(test)]
mod tests {
    use larder_cas::ErrorClass;

    use super::*;

    #[tokio::test]
    async fn every_function_names_what_was_spooled() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let spool = Spool { directory: directory.path().to_owned(), limit_bytes: 1 << 30 };
        for size in [10, IN_MEMORY_BYTES + 3 * CHUNK_BYTES + 1] {
            let blob: Bytes = (0..=250).cycle().take(size).collect();
            for function in DigestFunction::ALL {
                let chunks: Vec<_> = blob.chunks(100_000).map(Bytes::copy_from_slice).collect();
                let chunks = chunks.into_iter().map(Ok::<_, StoreError>);
                let decoded = stream::iter(chunks).boxed();
                let spooled =
                    spool.receive::<_, BodyError>(decoded, function).await.expect("spooled");
                assert_eq!(spooled.digest, Digest::of(function, &blob), "{function}");
                let payload = spooled.untrusted.verify(&spooled.digest).await.expect("verified");
                let bytes = payload.into_bytes(u64::MAX).await.expect("all of it");
                assert!(bytes == blob, "{function}, {size} B");
            }
        }
    }

    #[tokio::test]
    async fn a_spool_that_cannot_be_read_is_not_the_callers_fault() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write_only = std::fs::File::create(directory.path().join("spool")).expect("a file");
        let function = DigestFunction::Sha256;
        let hasher = Some(DigestHasher::new(function, 0));
        let file = GrowingFile { file: write_only, function, hasher, size_bytes: 0 };
        let file = file.append(Bytes::from_static(b"body")).await.expect("written");
        let Spooled { digest, untrusted } = file.spooled().await.expect("rewound");
        let error = untrusted.verify(&digest).await.expect_err("it cannot be read");
        assert_eq!(error.class(), ErrorClass::Dependency, "{error}");
    }
}
