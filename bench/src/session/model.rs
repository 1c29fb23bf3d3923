//! [`build`]: a session as Bazel makes one when a part of the sources has changed, from a model of what it calls.
//!
//! Source: Bazel with `--remote_cache` and local execution. A hit: `GetActionResult`, then one `ByteStream.Read` for each output.
//! A miss: `GetActionResult`; after the action ran `FindMissingBlobs` of outputs, action and command together, one
//! `ByteStream.Write` for each that is missing, `UpdateActionResult`.

use super::{BlobName, Call, Session};
use crate::blobs::Noise;

/// Of a hundred actions.
const HITS: u64 = 80;
/// Of a hundred outputs of a hit: most are not in the output tree yet.
const READS: u64 = 90;
/// Of a hundred outputs of a miss: the same bytes as another time.
const UNCHANGED: u64 = 20;
/// An action has one output more with this chance of a hundred.
const ONE_MORE_OUTPUT: u64 = 50;
/// Half of the outputs are smaller.
const MEDIAN_BYTES: f64 = 3_000.0;
/// Of the logarithm of the sizes: many small ones, and a few that have most of the bytes.
const SPREAD: f64 = 2.0;
const LARGEST_BYTES: f64 = 16_000_000.0;
/// The encoded action, and its command.
const ACTION_BYTES: usize = 142;
const COMMAND_BYTES: usize = 1_900;

/// A build of so many actions; the same `seed` gives the same.
pub(crate) fn build(actions: usize, seed: u64) -> Session {
    let mut noise = Noise::new(seed);
    Session { actions: (0..actions).map(|number| action(number, &mut noise)).collect() }
}

fn action(number: usize, noise: &mut Noise) -> Vec<Call> {
    let action = format!("action{number}");
    let mut outputs = Vec::new();
    while outputs.is_empty() || noise.below(100) < ONE_MORE_OUTPUT {
        let name = format!("output{number}.{}", outputs.len());
        outputs.push(BlobName { name, size_bytes: size_bytes(noise) });
    }
    if noise.below(100) < HITS {
        let reads = outputs.iter().filter(|_| noise.below(100) < READS);
        let reads = reads.map(|blob| Call::Read { blob: blob.clone() }).collect::<Vec<_>>();
        return [vec![Call::Hit { action, outputs }], reads].concat();
    }
    let blob = |kind: &str, size_bytes| BlobName { name: format!("{kind}{number}"), size_bytes };
    let of_action = [blob("proto", ACTION_BYTES), blob("command", COMMAND_BYTES)];
    let changed = outputs.iter().filter(|_| noise.below(100) >= UNCHANGED);
    let written: Vec<BlobName> = of_action.iter().chain(changed).cloned().collect();
    let asked = [&of_action[..], &outputs[..]].concat();
    let mut calls = vec![Call::Miss { action: action.clone() }, Call::Find { blobs: asked }];
    calls.extend(written.into_iter().map(|blob| Call::Write { blob }));
    calls.push(Call::Update { action, outputs });
    calls
}

/// Log-normal, by the sum of twelve numbers, which is near enough to normal.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1 B and 16 MB")]
fn size_bytes(noise: &mut Noise) -> usize {
    let normal = (0..12).map(|_| noise.unit()).sum::<f64>() - 6.0;
    (MEDIAN_BYTES * (normal * SPREAD).exp()).clamp(1.0, LARGEST_BYTES) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_mixed_as_the_model_says() {
        let session = build(2_000, 1);
        assert_eq!(session, build(2_000, 1));
        let hits = session.actions.iter().filter(|calls| matches!(calls[0], Call::Hit { .. }));
        assert!((1_500..1_700).contains(&hits.count()));
        let calls = || session.actions.iter().flatten();
        let reads =
            calls().filter_map(|it| if let Call::Read { blob } = it { Some(blob) } else { None });
        let mut sizes: Vec<usize> = reads.map(|blob| blob.size_bytes).collect();
        sizes.sort_unstable();
        assert!((2_500..3_500).contains(&sizes[sizes.len() / 2]));
        let sum: usize = sizes.iter().sum();
        assert!((10_000..50_000).contains(&(sum / sizes.len())), "{}", sum / sizes.len());
        assert!((400..1_400).contains(&session.written().len()));
    }
}
