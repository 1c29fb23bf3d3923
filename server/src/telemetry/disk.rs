//! [`DiskMetrics`]: what the storage engine holds, does and how long that takes, asked at each scrape.

use std::fmt;

use larder_disk::EngineState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::{Exposition, Scale};
use crate::admin::{ScrubReport, UsageReport};
use crate::compose::Stacks;

/// What the storage engine holds, does and how long that takes, asked at each scrape.
#[derive(Debug)]
pub struct DiskMetrics(pub Stacks);

type Figure<T> = (&'static str, &'static str, fn(&T) -> u64);

const HOLDS: [Figure<UsageReport>; 7] = [
    (
        "larder_disk_records",
        "Blobs and action results that can be read; a fall that no eviction explains is a loss",
        |usage| usage.records,
    ),
    (
        "larder_disk_logical_bytes",
        "Bytes of the records before compression; over larder_disk_stored_bytes it is what compression saves",
        |usage| usage.logical_bytes,
    ),
    (
        "larder_disk_stored_bytes",
        "Bytes of the records on disk; with larder_disk_dead_bytes at the limit, records are evicted",
        |usage| usage.stored_bytes,
    ),
    (
        "larder_disk_dead_bytes",
        "Bytes on disk that nothing uses any more; more than a fifth of the limit for long means that reclaiming does not keep up",
        |usage| usage.dead_bytes,
    ),
    (
        "larder_disk_limit_bytes",
        "The setting max_size: the quota for stored and dead bytes together",
        |usage| usage.limit_bytes,
    ),
    (
        "larder_disk_writes_refused",
        "1 once a failed sync has ended writes, or where the directory cannot be written: builds run without caching what they make",
        |usage| u64::from(usage.writes_refused),
    ),
    (
        "larder_disk_loaded",
        "1 once all that is stored is known; 0 for long after a start means a slow disk, and each miss waits for it",
        |usage| u64::from(usage.is_loaded),
    ),
];

const DOES: [Figure<UsageReport>; 6] = [
    (
        "larder_disk_evictions",
        "Records that made room for others; all day long means that max_size is too small for a day's work",
        |usage| usage.evictions,
    ),
    (
        "larder_disk_evicted_bytes",
        "Bytes on disk of the records that made room for others; as many in a day as the limit means that nothing stays for a day",
        |usage| usage.evicted_bytes,
    ),
    (
        "larder_disk_copied_bytes",
        "Bytes written again since they were worth keeping when their pack went; more than is written anew wears the disk",
        |usage| usage.copied_bytes,
    ),
    (
        "larder_disk_corrupt_records",
        "Records found damaged, and dropped, by whoever met them; any is a sign of a bad disk",
        |usage| usage.corrupt_records,
    ),
    (
        "larder_disk_full_disk_evictions",
        "Times that the disk was full and records made room on it; any means that others fill the file system",
        |usage| usage.full_disk_evictions,
    ),
    (
        "larder_disk_io_errors",
        "Operations on the disk that the operating system refused; any needs a look at its log",
        |usage| usage.io_errors,
    ),
];

const STATE: [Figure<EngineState>; 7] = [
    (
        "larder_disk_min_free_bytes",
        "The setting min_free_disk; with larder_disk_free_bytes below it the cache shrinks",
        |state| state.min_free_bytes,
    ),
    (
        "larder_disk_packs",
        "Packs, files of many records; some thousands mean many that are nearly dead",
        |state| state.packs,
    ),
    (
        "larder_disk_blob_files",
        "Blobs of 1 MiB and more, which have a file of their own; each takes an inode",
        |state| state.blob_files,
    ),
    (
        "larder_disk_partitions",
        "Instance names by kind of record and digest function, of 65535 at most, since the index on disk was made; near that new names are refused writes",
        |state| state.partitions,
    ),
    (
        "larder_disk_commit_queue_bytes",
        "Encoded bytes that wait to be written; near 32 MiB the disk is the limit and uploads wait",
        |state| state.commit_queue_bytes,
    ),
    (
        "larder_disk_index_queue_updates",
        "Changes that wait for the index on disk; near 65536 the index is the limit and uploads wait",
        |state| state.index_queue_updates,
    ),
    (
        "larder_disk_index_failed",
        "1 once the index on disk has failed; all goes on, but the next start reads the whole log",
        |state| u64::from(state.index_failed),
    ),
];

const SCRUB_STATE: [Figure<ScrubReport>; 4] = [
    (
        "larder_disk_scrub_rate_bytes",
        "The setting scrub_rate: what the scrub may read in a second; 0 when it is off",
        |scrub| scrub.rate_bytes,
    ),
    (
        "larder_disk_scrub_running",
        "1 while a round of the scrub is under way; otherwise it waits for the next day",
        |scrub| u64::from(scrub.is_running),
    ),
    (
        "larder_disk_scrub_round_begun_timestamp_seconds",
        "When the round under way, or the last one, began; weeks ago means that scrub_rate is too small",
        |scrub| scrub.round_begun_unix_seconds,
    ),
    (
        "larder_disk_scrub_round_bytes",
        "Bytes that the round has checked, before a restart too; over larder_disk_stored_bytes it is the progress",
        |scrub| scrub.round_bytes,
    ),
];

const SCRUB_DOES: [Figure<ScrubReport>; 5] = [
    (
        "larder_disk_scrub_rounds",
        "Rounds that the scrub has ended; none in weeks means that scrub_rate is too small",
        |scrub| scrub.rounds,
    ),
    (
        "larder_disk_scrub_records",
        "Records that the scrub has checked; no growth while it runs means that clients leave it no time",
        |scrub| scrub.records,
    ),
    (
        "larder_disk_scrub_bytes",
        "Bytes that the scrub has checked; no growth while it runs means that clients leave it no time",
        |scrub| scrub.bytes,
    ),
    (
        "larder_disk_scrub_corrupt_records",
        "Records that the scrub found damaged, and dropped; any is a sign of a bad disk",
        |scrub| scrub.corrupt_records,
    ),
    (
        "larder_disk_scrub_skipped_records",
        "Records that the scrub could not open and leaves for the next round; many mean a disk with errors",
        |scrub| scrub.skipped_records,
    ),
];

impl Collector for DiskMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(&mut encoder);
        let (usage, state) = (self.0.usage(), self.0.engine_state());
        for (name, help, value) in HOLDS {
            exposition.gauge(name, help, value(&usage))?;
        }
        exposition.gauge_if(
            "larder_disk_min_retention_seconds",
            "Age of the youngest record evicted in the last half hour or so, since its last use; absent when none was. Less than the \
             time between two builds of the same thing means that max_size is too small",
            usage.min_retention_s,
        )?;
        exposition.gauge_if(
            "larder_disk_free_bytes",
            "What the file system of data_dir has left for this user; absent where it does not say",
            state.free_bytes,
        )?;
        for (name, help, value) in STATE {
            exposition.gauge(name, help, value(&state))?;
        }
        for (name, help, value) in SCRUB_STATE {
            exposition.gauge(name, help, value(&usage.scrub))?;
        }
        for (name, help, value) in DOES {
            exposition.counter(name, help, value(&usage))?;
        }
        for (name, help, value) in SCRUB_DOES {
            exposition.counter(name, help, value(&usage.scrub))?;
        }
        self.encode_activity(&mut exposition)
    }
}

impl DiskMetrics {
    fn encode_activity(&self, exposition: &mut Exposition<'_, '_>) -> fmt::Result {
        let activity = self.0.activity();
        exposition.counter(
            "larder_disk_written_bytes",
            "Bytes of records written, compressed as they are stored, copies included; over the bytes uploaded it is the write \
             amplification",
            activity.written_bytes(),
        )?;
        let histograms = [
            (
                "larder_disk_batch_records",
                "Records that were written together; ever one while uploads wait means that the disk is not the limit",
                Scale::One,
                &activity.batch_records,
            ),
            (
                "larder_disk_batch_seconds",
                "How long a batch of records took to be written, with durability sync also to be synced; uploads wait so long",
                Scale::Micros,
                &activity.batch_micros,
            ),
            (
                "larder_disk_sync_seconds",
                "How long a sync took; with durability sync each upload waits for one, and more than 0.1 s means a busy or slow disk",
                Scale::Micros,
                &activity.sync_micros,
            ),
            (
                "larder_disk_eviction_age_seconds",
                "Since the last use of each record that was evicted; less than a day for many means that max_size is too small",
                Scale::One,
                &activity.eviction_age_s,
            ),
        ];
        for (name, help, scale, histogram) in histograms {
            let only: [([(&'static str, &str); 0], _); 1] = [([], histogram)];
            exposition.histograms((name, help), scale, only)?;
        }
        Ok(())
    }
}
