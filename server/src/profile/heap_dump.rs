//! [`HeapDump`]: what jemalloc writes when it is asked for the stacks that it has noted.
//!
//! Source: jemalloc(3), "HEAP PROFILE FORMAT", and `prof_dump_impl` in its `prof_data.c`; for the estimate `AdjustSamples` in its `jeprof`.

/// The stacks of a sample of what is allocated.
#[derive(Debug, PartialEq)]
pub(super) struct HeapDump {
    /// Of how many bytes, about, one is sampled.
    pub(super) period_bytes: u64,
    /// Where calls return to, the innermost first, and an estimate of the bytes that were allocated so and not freed.
    pub(super) stacks: Vec<(Vec<usize>, u64)>,
}

/// A line is not as jemalloc writes it.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line} of the dump is malformed")]
pub(super) struct MalformedDump {
    /// The first has the number 1.
    line: usize,
}

impl HeapDump {
    /// Reads a dump. Of each stack the sum over all threads counts.
    pub(super) fn parse(text: &str) -> Result<Self, MalformedDump> {
        let mut lines = text.lines().zip(1..);
        let header = lines.next().and_then(|(header, _)| header.strip_prefix("heap_v2/"));
        let period_bytes = header.and_then(|period| period.parse().ok());
        let period_bytes = period_bytes.ok_or(MalformedDump { line: 1 })?;
        let mut stacks = Vec::new();
        while let Some((stack, line)) = lines.next() {
            // What is mapped; the kernel tells that too.
            if stack == "MAPPED_LIBRARIES:" {
                break;
            }
            let Some(addresses) = stack.strip_prefix('@') else { continue };
            let addresses = numbers(addresses).ok_or(MalformedDump { line })?;
            let in_use = lines.next().and_then(|(counts, _)| in_use(counts, period_bytes));
            stacks.push((addresses, in_use.ok_or(MalformedDump { line: line + 1 })?));
        }
        Ok(Self { period_bytes, stacks })
    }
}

/// `0x55a0 0x55b7`; a zero has no mark.
fn numbers(text: &str) -> Option<Vec<usize>> {
    let words = text.split_ascii_whitespace();
    let digits = words.map(|word| word.strip_prefix("0x").unwrap_or(word));
    digits.map(|digits| usize::from_str_radix(digits, 16).ok()).collect()
}

/// `t*: 3: 1572864 [0: 0]`: how many are in use, and how many bytes they are together.
fn in_use(counts: &str, period_bytes: u64) -> Option<u64> {
    let counts = counts.trim_start().strip_prefix("t*: ")?;
    let (objects, bytes) = counts.split_once(" [")?.0.split_once(": ")?;
    Some(estimate(objects.parse().ok()?, bytes.parse().ok()?, period_bytes))
}

/// How many bytes these stand for: one of `n` bytes is sampled with a probability of `1 - exp(-n / period)`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a cast saturates, what is no number becomes 0, and an estimate needs no more digits"
)]
fn estimate(objects: u64, bytes: u64, period_bytes: u64) -> u64 {
    let mean_bytes = bytes as f64 / objects as f64;
    let sampled = -(-mean_bytes / period_bytes as f64).exp_m1();
    (bytes as f64 / sampled) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "\
heap_v2/2097152
  t*: 7: 31465472 [0: 0]
  t0: 7: 31465472 [0: 0] main
@ 0x55a000101000 0x55a000102000
  t*: 3: 25165824 [0: 0]
  t0: 2: 16777216 [0: 0]
  t1: 1: 8388608 [0: 0]
@ 0x55a000103000
  t*: 3: 6291456 [0: 0]
@
  t*: 1: 8192 [0: 0]
@ 0x1
  t*: 0: 0 [4: 96]

MAPPED_LIBRARIES:
55a000000000-55a000100000 r--p 00000000 fe:00 12 /usr/bin/larder
@ no stack
";

    #[test]
    fn stacks_come_with_what_they_stand_for() {
        let dump = HeapDump::parse(DUMP).unwrap();
        assert_eq!(dump.period_bytes, 2 << 20);
        // 8 MiB each: four periods, so nearly all are sampled. 2 MiB each: 63 % are. 8 KiB: one of 256.5.
        let expect = [
            (vec![0x55a0_0010_1000, 0x55a0_0010_2000], 25_635_351),
            (vec![0x55a0_0010_3000], 9_952_936),
            (vec![], 2_101_250),
            (vec![1], 0),
        ];
        assert_eq!(dump.stacks, expect);
    }

    #[test]
    fn what_is_no_dump_is_refused() {
        for (text, line) in [
            ("", 1),
            ("heap_v1/1\n", 1),
            ("heap_v2/\n", 1),
            ("heap_v2/1\n@ 0xg\n  t*: 1: 1 [0: 0]\n", 2),
            ("heap_v2/1\n@ 0x1\n", 3),
            ("heap_v2/1\n\n@ 0x1\n@ 0x2\n", 4),
            ("heap_v2/1\n@ 0x1\n  t*: 1 [0: 0]\n", 3),
            ("heap_v2/1\n@ 0x1\n  t*: -1: 1 [0: 0]\n", 3),
        ] {
            assert_eq!(HeapDump::parse(text), Err(MalformedDump { line }), "{text:?}");
        }
    }
}
