//! A control group that gets full: the hot tier gives memory up, and the kernel has it back.

use std::time::{Duration, Instant};

use tokio::runtime;

use super::NAME;
use super::client::{Client, Form, digest};
use super::control_group::ControlGroup;
use super::memory::Memory;
use crate::error::{CompatError, Unmet};
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::process;
use crate::report::Report;

/// Blobs of these sizes fill most of the hot tier's share.
const BLOBS: u64 = 6_000;
const SMALLEST_BYTES: u64 = 2_048;
const SPREAD_BYTES: u64 = 30_000;
const HOT_CAPACITY: &str = "192MiB";

/// The limit that is set is so little above what is in use.
const ROOM_PER_MILLE: u64 = 20;
/// At least so much of what was resident must come back, and so soon.
const RETURNED_PER_MILLE: u64 = 150;
const RETURNED_WITHIN: Duration = Duration::from_mins(1);

/// The case, where this program may make control groups.
pub(super) fn run(lab: &Lab, report: &mut Report<'_>) {
    let name = format!("{NAME}/pressure");
    match ControlGroup::create(&format!("larder-pressure-{}", std::process::id())) {
        Some(group) => report.case(&name, || pressure(lab, &name, &group)),
        None => report.note(&name, "NOT RUN: no memory control group can be made here"),
    }
}

fn pressure(lab: &Lab, name: &str, group: &ControlGroup) -> Result<String, CompatError> {
    let dir = lab.dir(name)?;
    let settings = vec![("hot.capacity", HOT_CAPACITY.to_owned())];
    let launch = Launch { wrapper: Vec::new(), settings, data_dir: dir.join("data") };
    let server = Larder::launch(lab, &dir, launch)?;
    group.take_in(server.pid())?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CompatError::io(&dir))?;
    let kept = runtime.block_on(fill(&server))?;

    let memory = Memory::of(server.pid());
    let full = memory.resident()?;
    let limit_bytes = group.used_bytes()? / 1_000 * (1_000 + ROOM_PER_MILLE);
    group.set_limit_bytes(limit_bytes)?;
    let begun = Instant::now();
    let goal_bytes = full.bytes() / 1_000 * (1_000 - RETURNED_PER_MILLE);
    let mut left = memory.resident()?;
    while left.bytes() > goal_bytes && begun.elapsed() < RETURNED_WITHIN {
        process::pause();
        left = memory.resident()?;
    }
    if left.bytes() > goal_bytes {
        let log = server.log().to_owned();
        let seconds = RETURNED_WITHIN.as_secs();
        let text = format!(
            "expected at most {} MiB resident {seconds} s after the control group was full at {} MiB, got {left} of {full}",
            goal_bytes >> 20,
            limit_bytes >> 20,
        );
        return Err(CompatError::Unmet { unmet: vec![Unmet::new(text)], log });
    }
    // Nothing is lost by it.
    runtime.block_on(async {
        let client = Client::connect(server.address()).await?;
        for digest in &kept {
            client.read_verified(digest).await?;
        }
        Ok::<_, CompatError>(())
    })?;
    drop(runtime);
    server.stop()?;
    let took = begun.elapsed().as_secs_f64();
    Ok(format!("a full control group: RSS {full}, {left} within {took:.0} s"))
}

/// Stores the blobs; the names of some.
async fn fill(server: &Larder) -> Result<Vec<String>, CompatError> {
    let client = Client::connect(server.address()).await?;
    let mut kept = Vec::new();
    let mut state = 1_u64;
    for number in 0..BLOBS {
        let size_bytes = SMALLEST_BYTES + number * 2_731 % SPREAD_BYTES;
        let words = (0..size_bytes / 8).flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let blob: Vec<u8> = words.collect();
        let name = digest(&blob);
        client.write(Form::Identity, &name, blob).await.map_err(CompatError::call("Write"))?;
        if number % 20 == 0 {
            kept.push(name);
        }
    }
    Ok(kept)
}
