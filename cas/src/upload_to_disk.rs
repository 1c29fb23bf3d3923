//! Streams a large blob to the engine: the next bytes arrive while the last ones are compressed and written.

use std::sync::Arc;

use bytes::Bytes;
use larder_disk::{DiskError, Encoding, Engine, PutOutcome, RecordKey, RecordWriter};

use crate::payload::next_chunks;
use crate::{Payload, StoreError, blocking};

/// How much is gathered before it goes to the blocking pool: enough to make the trip worth it, and with the part being
/// written and the part arriving no more than a few megabytes an upload.
const BATCH_BYTES: usize = 1024 * 1024;

/// Writes `payload` as the record of `key`. Dropping the future, or an error in the stream, leaves nothing behind.
pub(crate) async fn upload(
    engine: &Arc<Engine>,
    key: RecordKey,
    payload: Payload,
) -> Result<PutOutcome, StoreError> {
    let engine = Arc::clone(engine);
    let create = match payload.encoding() {
        Encoding::Raw => Engine::create,
        Encoding::Zstd => Engine::create_stream,
    };
    let mut chunks = payload.into_stream();
    let mut writer = blocking::run(move || create(&engine, &key)).await??;
    let mut arriving = next_chunks(&mut chunks, BATCH_BYTES).await?;
    while !arriving.is_empty() {
        let write = blocking::run(move || write_batch(writer, arriving));
        let (written, next) = tokio::join!(write, next_chunks(&mut chunks, BATCH_BYTES));
        writer = written??;
        arriving = next?;
    }
    Ok(blocking::run(move || writer.finish()).await??)
}

fn write_batch(mut writer: RecordWriter, batch: Vec<Bytes>) -> Result<RecordWriter, DiskError> {
    writer.write_pieces(&batch)?;
    Ok(writer)
}
