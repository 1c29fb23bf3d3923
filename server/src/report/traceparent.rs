//! [`Traceparent`]: the trace that a client's call belongs to, and whether the client records it.
//!
//! Source: W3C Trace Context, "traceparent Header". Whatever does not follow it is as if it were not there.

use std::fmt;

use http::{HeaderMap, HeaderName};

static HEADER: HeaderName = HeaderName::from_static("traceparent");

/// Version, trace, span and flags, with dashes between.
const LENGTH: usize = 55;
const SAMPLED: u64 = 1;

/// The name of a trace; never zero.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct TraceId(u128);

/// What a client says about the trace that its call belongs to.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Traceparent {
    pub(crate) trace_id: TraceId,
    /// The client's own span; never zero.
    pub(crate) span_id: u64,
    /// Whether the client records the trace, and so wants it recorded.
    pub(crate) is_sampled: bool,
}

impl TraceId {
    /// `None` for zero, which is no name.
    pub(crate) fn new(id: u128) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    pub(crate) fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Traceparent {
    /// Reads the header, the first one if there are several.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(&HEADER)?.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let known = text.get(..LENGTH)?;
        let later = &text[LENGTH..];
        let mut parts = known.split('-');
        let mut next = |digits| parts.next().and_then(|part| hex(part, digits));
        let (version, trace_id, span_id, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        // A later version may have more to say, the one that is not to be used nothing at all.
        if version == 0xff || (version == 0 && !later.is_empty()) {
            return None;
        }
        if !later.is_empty() && !later.starts_with('-') {
            return None;
        }
        let span_id = u64::try_from(span_id).ok().filter(|id| *id != 0)?;
        let is_sampled = u64::try_from(flags).ok()? & SAMPLED != 0;
        Some(Self { trace_id: TraceId::new(trace_id)?, span_id, is_sampled })
    }
}

/// So many hexadecimal digits, none of them a capital.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_it = text.len() == digits && text.bytes().all(is_digit);
    is_it.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn what_the_specification_allows_is_read() {
        for (text, expect_sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("00-{TRACE}-{SPAN}-00"), Some(false)),
            (format!("00-{TRACE}-{SPAN}-03"), Some(true)),
            // A version to come.
            (format!("cc-{TRACE}-{SPAN}-01"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01-what"), Some(true)),
            (format!("cc-{TRACE}-{SPAN}-01what"), None),
            (format!("00-{TRACE}-{SPAN}-01-what"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{TRACE}-{SPAN}-1"), None),
            (format!("00-{TRACE}{SPAN}-01--"), None),
            (format!("0-{TRACE}0-{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}-+1"), None),
            (String::new(), None),
        ] {
            let read = Traceparent::parse(&text);
            assert_eq!(read.map(|read| read.is_sampled), expect_sampled, "{text}");
            if let Some(read) = read {
                assert_eq!(read.trace_id.to_string(), TRACE);
                assert_eq!(format!("{:016x}", read.span_id), SPAN);
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,80}") {
            let _either = Traceparent::parse(&text);
        }

        #[test]
        fn every_name_is_read(trace in 1u128.., span in 1u64.., flags: u8) {
            let read = Traceparent::parse(&format!("00-{trace:032x}-{span:016x}-{flags:02x}"));
            let trace_id = TraceId(trace);
            let is_sampled = flags % 2 == 1;
            prop_assert_eq!(read, Some(Traceparent { trace_id, span_id: span, is_sampled }));
        }
    }
}
