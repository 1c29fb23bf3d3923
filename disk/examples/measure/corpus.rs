//! What files of a real build take when they are stored.

use std::path::Path;
use std::time::Duration;

use larder_disk::{Content, Durability, RecordKey};
use larder_protos::{Digest, DigestFunction};

use crate::{KEYSPACE, Outcome, open, say};

/// Enough for a ratio that one more file does not change.
const LIMIT_BYTES: u64 = 2 << 30;

/// Stores all files under `corpus` and says how much they take; then stores them once more, compressed before.
pub(crate) fn stored(data_dir: &Path, corpus: &Path) -> Outcome {
    let interval = Durability::Interval(Duration::from_secs(1));
    let files = files_under(corpus)?;
    for (name, is_compressed) in [("as they are", false), ("compressed before", true)] {
        let engine = open(&data_dir.join(name.replace(' ', "-")), interval)?;
        let mut bytes = 0;
        for file in &files {
            if bytes > LIMIT_BYTES {
                break;
            }
            let mut content = std::fs::read(file)?;
            if is_compressed {
                content = compressed(&content)?;
            }
            bytes += content.len() as u64;
            let key = RecordKey::blob(&KEYSPACE, &Digest::of(DigestFunction::Sha256, &content));
            if content.len() < 1 << 20 {
                engine.append(&key, Content::Raw(&content))?.wait()?;
            } else {
                let mut writer = engine.create(&key)?;
                writer.write(&content)?;
                writer.finish()?;
            }
        }
        let usage = engine.usage();
        #[expect(clippy::cast_precision_loss, reason = "a report needs three digits")]
        let share = usage.stored_bytes as f64 * 100.0 / usage.logical_bytes as f64;
        let (records, mib) = (usage.records, usage.logical_bytes >> 20);
        say(&format!("{records} files of {mib} MiB, {name}: {share:.1} % stored"))?;
    }
    Ok(())
}

fn compressed(content: &[u8]) -> std::io::Result<Vec<u8>> {
    // Level 19 is slow, so a piece of it is enough. The words before it make it any other bytes and no frame.
    let mut bytes = b"an archive of sorts: ".to_vec();
    bytes.extend(zstd::bulk::compress(&content[..content.len().min(1 << 20)], 19)?);
    Ok(bytes)
}

fn files_under(dir: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            } else if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
