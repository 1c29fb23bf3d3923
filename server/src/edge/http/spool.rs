//! Bodies whose length is known only at their end, which a digest needs at the start: kept until then.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder_cas::{Encoding, StoreError, UntrustedPayload, blocking};

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

/// A body whose length is known.
pub(super) struct MeasuredBody {
    pub(super) size_bytes: u64,
    pub(super) untrusted: UntrustedPayload,
}

impl Spool {
    /// Reads `decoded` to its end.
    pub(super) async fn receive(
        &self,
        mut decoded: BoxStream<'static, Result<Bytes, StoreError>>,
    ) -> Result<MeasuredBody, BodyError> {
        let mut memory = BytesMut::new();
        while let Some(chunk) = decoded.try_next().await? {
            memory.extend_from_slice(&chunk);
            if memory.len() > IN_MEMORY_BYTES {
                return self.receive_in_file(memory.freeze(), decoded).await;
            }
        }
        let bytes = memory.freeze();
        let size_bytes = bytes.len() as u64;
        Ok(MeasuredBody {
            size_bytes,
            untrusted: UntrustedPayload::from_bytes(Encoding::Raw, bytes),
        })
    }

    async fn receive_in_file(
        &self,
        begun: Bytes,
        mut decoded: BoxStream<'static, Result<Bytes, StoreError>>,
    ) -> Result<MeasuredBody, BodyError> {
        let directory = self.directory.clone();
        let mut size_bytes = begun.len() as u64;
        let mut file = blocking::run(move || begin(&directory, &begun)).await??;
        while let Some(chunk) = decoded.try_next().await? {
            size_bytes += chunk.len() as u64;
            if size_bytes > self.limit_bytes {
                return Err(BodyError::TooLarge { limit_bytes: self.limit_bytes });
            }
            file = blocking::run(move || file.write_all(&chunk).map(|()| file)).await??;
        }
        let file = blocking::run(move || file.rewind().map(|()| file)).await??;
        let chunks = stream::try_unfold(file, async |file| {
            let read = blocking::run(move || next_chunk(file)).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(read?)
        });
        let untrusted = UntrustedPayload::from_stream(Encoding::Raw, chunks.boxed());
        Ok(MeasuredBody { size_bytes, untrusted })
    }
}

fn begin(directory: &Path, begun: &[u8]) -> std::io::Result<File> {
    let mut file = tempfile::tempfile_in(directory)?;
    file.write_all(begun)?;
    Ok(file)
}

fn next_chunk(mut file: File) -> std::io::Result<Option<(Bytes, File)>> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let length = file.read(&mut chunk)?;
    chunk.truncate(length);
    Ok((length > 0).then(|| (chunk.into(), file)))
}
