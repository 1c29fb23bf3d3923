//! The trace of what a cache was asked: what a recorder writes and a replayer reads.
//!
//! One line for each event, so that any tool can read, cut and make traces. Units: milliseconds and bytes.
//! Errors: a line that does not parse is an error with its number; nothing is guessed. Source: docs/design/trace-format.md.

use std::io::{self, BufRead, Write};

const MAGIC: &str = "larder-trace 1 ";
/// Far more than an event takes.
const LINE_LIMIT_BYTES: u64 = 256;

/// What was asked.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum TraceOp {
    /// The bytes of a blob.
    Read,
    /// Whether a blob is there: `FindMissingBlobs`, or a result that names it.
    Find,
    /// An action result.
    Action,
    /// A blob was stored.
    StoreBlob,
    /// An action result was stored.
    StoreAction,
}

/// One event.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct TraceEvent {
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// What was asked.
    pub op: TraceOp,
    /// Whether it was there; of no meaning for what was stored.
    pub was_hit: bool,
    /// Stands for the entry: the same for the same entry, in all traces of a cache.
    pub name: u64,
    /// What the entry takes on disk; 0 where it is not known.
    pub bytes: u64,
}

/// A trace cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file.
    #[error("the trace cannot be read")]
    Io(#[from] io::Error),
    /// A line that is no event.
    #[error("line {line} is no event of a trace: {text:?}")]
    Malformed {
        /// Counted from 1.
        line: u64,
        /// The line.
        text: String,
    },
}

/// Writes a trace.
#[derive(Debug)]
pub struct TraceWriter<W> {
    out: W,
    last_ms: u64,
}

impl<W: Write> TraceWriter<W> {
    /// Begins a trace, or a new part of one.
    pub fn begin(mut out: W, unix_ms: u64) -> io::Result<Self> {
        writeln!(out, "{MAGIC}{unix_ms}")?;
        Ok(Self { out, last_ms: unix_ms })
    }

    /// Writes an event and says how many bytes it took. Time does not go back: an earlier event happens now.
    pub fn write(&mut self, event: &TraceEvent) -> io::Result<usize> {
        let unix_ms = event.unix_ms.max(self.last_ms);
        let elapsed_ms = unix_ms - self.last_ms;
        self.last_ms = unix_ms;
        let op = match (event.op, event.was_hit) {
            (TraceOp::Read, true) => "r+",
            (TraceOp::Read, false) => "r-",
            (TraceOp::Find, true) => "f+",
            (TraceOp::Find, false) => "f-",
            (TraceOp::Action, true) => "a+",
            (TraceOp::Action, false) => "a-",
            (TraceOp::StoreBlob, _) => "sb",
            (TraceOp::StoreAction, _) => "sa",
        };
        let line = format!("{elapsed_ms} {op} {:016x} {}\n", event.name, event.bytes);
        self.out.write_all(line.as_bytes())?;
        Ok(line.len())
    }

    /// Says that so many events are missing here.
    pub fn dropped(&mut self, count: u64) -> io::Result<()> {
        writeln!(self.out, "!{count}")
    }

    /// What was written to, with all of the trace.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Hands everything on to the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a trace, event by event.
#[derive(Debug)]
pub struct TraceReader<R> {
    input: R,
    line: u64,
    /// `None` before the first header.
    last_ms: Option<u64>,
    dropped: u64,
}

/// What a line says.
enum Line {
    Event(TraceEvent),
    /// A header, or how much is missing.
    Remark,
}

impl<R: BufRead> TraceReader<R> {
    /// Reads from the beginning.
    pub fn new(input: R) -> Self {
        Self { input, line: 0, last_ms: None, dropped: 0 }
    }

    /// How many events the recorder had to leave out so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn read_event(&mut self) -> Result<Option<TraceEvent>, TraceError> {
        loop {
            let mut bytes = Vec::new();
            let taken =
                io::Read::take(&mut self.input, LINE_LIMIT_BYTES).read_until(b'\n', &mut bytes)?;
            if taken == 0 {
                return Ok(None);
            }
            self.line += 1;
            let text = String::from_utf8_lossy(&bytes);
            let text = text.trim_end();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match self.parse(text) {
                Some(Line::Event(event)) => return Ok(Some(event)),
                Some(Line::Remark) => {}
                None => {
                    return Err(TraceError::Malformed { line: self.line, text: text.to_owned() });
                }
            }
        }
    }

    fn parse(&mut self, text: &str) -> Option<Line> {
        if let Some(unix_ms) = text.strip_prefix(MAGIC) {
            self.last_ms = Some(unix_ms.parse().ok()?);
            return Some(Line::Remark);
        }
        let last_ms = self.last_ms?;
        if let Some(count) = text.strip_prefix('!') {
            self.dropped = self.dropped.saturating_add(count.parse().ok()?);
            return Some(Line::Remark);
        }
        let mut fields = text.split(' ');
        let elapsed_ms: u64 = fields.next()?.parse().ok()?;
        let (op, was_hit) = match fields.next()? {
            "r+" => (TraceOp::Read, true),
            "r-" => (TraceOp::Read, false),
            "f+" => (TraceOp::Find, true),
            "f-" => (TraceOp::Find, false),
            "a+" => (TraceOp::Action, true),
            "a-" => (TraceOp::Action, false),
            "sb" => (TraceOp::StoreBlob, false),
            "sa" => (TraceOp::StoreAction, false),
            _ => return None,
        };
        let name = u64::from_str_radix(fields.next()?, 16).ok()?;
        let bytes = fields.next()?.parse().ok()?;
        if fields.next().is_some() {
            return None;
        }
        let unix_ms = last_ms.checked_add(elapsed_ms)?;
        self.last_ms = Some(unix_ms);
        Some(Line::Event(TraceEvent { unix_ms, op, was_hit, name, bytes }))
    }
}

impl<R: BufRead> Iterator for TraceReader<R> {
    type Item = Result<TraceEvent, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_event().transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPS: [TraceOp; 5] =
        [TraceOp::Read, TraceOp::Find, TraceOp::Action, TraceOp::StoreBlob, TraceOp::StoreAction];

    fn read(text: &str) -> (Vec<TraceEvent>, u64, Option<String>) {
        let mut reader = TraceReader::new(text.as_bytes());
        let mut events = Vec::new();
        for event in &mut reader {
            match event {
                Ok(event) => events.push(event),
                Err(error) => return (events, reader.dropped, Some(error.to_string())),
            }
        }
        (events, reader.dropped(), None)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(events: Vec<(u32, u8, bool, u64, u64)>, begun_ms: u32) {
            let mut bytes = Vec::new();
            let mut writer = TraceWriter::begin(&mut bytes, u64::from(begun_ms)).unwrap();
            let mut unix_ms = u64::from(begun_ms);
            let mut expect = Vec::new();
            for (elapsed_ms, op, was_hit, name, bytes) in events {
                unix_ms += u64::from(elapsed_ms);
                let op = OPS[usize::from(op) % OPS.len()];
                let was_hit = was_hit && !matches!(op, TraceOp::StoreBlob | TraceOp::StoreAction);
                let event = TraceEvent { unix_ms, op, was_hit, name, bytes };
                writer.write(&event).unwrap();
                expect.push(event);
            }
            writer.dropped(3).unwrap();
            prop_assert_eq!(read(std::str::from_utf8(&bytes).unwrap()), (expect, 3, None));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
            TraceReader::new(&bytes[..]).take(1_000).for_each(drop);
        }
    }

    #[test]
    fn lines_are_read_strictly() {
        let check = |lines: &str, expect: Option<&str>| {
            let (_, _, error) = read(&format!("larder-trace 1 5\n{lines}"));
            assert_eq!(error.as_deref(), expect, "{lines}");
        };
        let bad = |line: &str| format!("line 2 is no event of a trace: {line:?}");
        check("# a remark\n\n7 r+ 00000000000000ff 12\n!9\nlarder-trace 1 70\n", None);
        for line in ["7 x+ ff 12", "7 r+ ff", "-7 r+ ff 12", "7 r+ ff 12 13", "!", "7 r+ xx 12"] {
            check(line, Some(&bad(line)));
        }
        let (events, ..) = read("larder-trace 1 5\n7 r+ ff 12\nlarder-trace 1 70\n1 a- ff 0\n");
        assert_eq!(events.iter().map(|event| event.unix_ms).collect::<Vec<_>>(), [12, 71]);
        assert!(read("7 r+ ff 12\n").2.is_some(), "without a header");
    }

    #[test]
    fn time_does_not_go_back() {
        let mut bytes = Vec::new();
        let mut writer = TraceWriter::begin(&mut bytes, 100).unwrap();
        for unix_ms in [110, 105, 111] {
            let event = TraceEvent { unix_ms, op: TraceOp::Read, was_hit: true, name: 1, bytes: 2 };
            writer.write(&event).unwrap();
        }
        let (events, ..) = read(std::str::from_utf8(&bytes).unwrap());
        assert_eq!(events.iter().map(|event| event.unix_ms).collect::<Vec<_>>(), [110, 110, 111]);
    }
}
