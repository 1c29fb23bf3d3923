//! `hostile.http2`: floods of frames that cost the sender little.

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, call, frame, message, preface,
};
use super::unharmed;
use super::wire::{Answers, Flooded, Wire};
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome};

/// A method that every server has.
const CAPABILITIES: &str = "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities";
const READ: &str = "/google.bytestream.ByteStream/Read";
/// A stream's initial window, by its number in SETTINGS.
const INITIAL_WINDOW_SIZE: u16 = 4;

pub(crate) const CASES: &[Case] = cases! {
    /// Calls that are reset at once, 20,000 of them, harm nobody (CVE-2023-44487).
    "hostile.http2.rapid-reset", Must, "RFC 9113, 10.5: Denial-of-Service Considerations", only(Hostile) => rapid_reset;
    /// A header block of 10,000 CONTINUATION frames is not taken whole (VU#421644).
    "hostile.http2.continuation-flood", Must, "RFC 9113, 10.5: Denial-of-Service Considerations", only(Hostile) => continuation_flood;
    /// 200,000 SETTINGS frames whose acknowledgements nobody reads harm nobody (CVE-2019-9515).
    "hostile.http2.settings-flood", Must, "RFC 9113, 10.5: Denial-of-Service Considerations", only(Hostile) => flood(SETTINGS, &[], 200);
    /// 200,000 PING frames whose answers nobody reads harm nobody (CVE-2019-9512).
    "hostile.http2.ping-flood", Must, "RFC 9113, 10.5: Denial-of-Service Considerations", only(Hostile) => flood(PING, &[0; 8], 200);
    /// 200,000 PRIORITY frames harm nobody (CVE-2019-9513).
    "hostile.http2.priority-flood", Must, "RFC 9113, 10.5: Denial-of-Service Considerations", only(Hostile) => flood_of_stream(PRIORITY, &[0, 0, 0, 0, 16]);
    /// 200,000 empty DATA frames harm nobody (CVE-2019-9518).
    "hostile.http2.empty-data-flood", Must, "RFC 9113, 10.5: Denial-of-Service Considerations", only(Hostile) => flood_of_stream(DATA, &[]);
    /// Window updates beyond 2^31 - 1 harm nobody.
    "hostile.http2.window-overflow", Must, "RFC 9113, 6.9.1", only(Hostile) => flood(WINDOW_UPDATE, &[0x7F, 0xFF, 0xFF, 0xFF], 1);
    /// 100 downloads into windows of no bytes harm nobody (CVE-2019-9517).
    "hostile.http2.zero-window", Must, "RFC 9113, 10.5: Denial-of-Service Considerations", only(Hostile) => downloads_into_window(0);
    /// 100 downloads into windows of one byte harm nobody (CVE-2019-9511).
    "hostile.http2.tiny-window", Must, "RFC 9113, 10.5: Denial-of-Service Considerations", only(Hostile) => downloads_into_window(1);
    /// 20,000 calls that never end do not keep others out.
    "hostile.http2.open-streams", Must, "RFC 9113, 5.1.2", only(Hostile) => open_streams;
    /// A header list of 4 MiB, most of it from the table of the compression, is not taken.
    "hostile.http2.header-bomb", Must, "RFC 7541, 7.3", only(Hostile) => header_bomb;
    /// A frame above SETTINGS_MAX_FRAME_SIZE ends the connection.
    "hostile.http2.large-frame", Must, "RFC 9113, 4.2", only(Hostile) => large_frame;
};

async fn attacker(cx: &Cx, settings: &[(u16, u32)]) -> Result<Wire, Halt> {
    let mut wire = Wire::connect(&cx.server.target).await?;
    wire.send(&preface(settings)).await;
    Ok(wire)
}

/// Client's streams have odd numbers.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

async fn rapid_reset(cx: &Cx) -> Outcome {
    let headers = call(CAPABILITIES, &[]);
    let calls = (0..20_000).flat_map(|number| {
        let begun = frame(HEADERS, END_HEADERS, stream(number), &headers);
        [begun, frame(RST_STREAM, 0, stream(number), &[0, 0, 0, 8])].concat()
    });
    let calls: Vec<u8> = calls.collect();
    let wire = attacker(cx, &[]).await?;
    wire.flood(&calls, 1, Answers::Read).await;
    unharmed(cx, "after 20,000 calls that were reset").await
}

async fn continuation_flood(cx: &Cx) -> Outcome {
    let mut wire = attacker(cx, &[]).await?;
    wire.send(&frame(HEADERS, END_STREAM, 1, &call(CAPABILITIES, &[]))).await;
    let field = call("/", &[("x-more", &"y".repeat(15_000))]);
    let more = frame(CONTINUATION, 0, 1, field.get(..15_000).unwrap_or(&field));
    let flooded = wire.flood(&more, 10_000, Answers::Read).await;
    expect::that(flooded != Flooded::Taken, || {
        "expected the connection to end before 10,000 CONTINUATION frames (150 MB), but all were taken"
            .to_owned()
    })?;
    unharmed(cx, "after a flood of CONTINUATION frames").await
}

/// Thousands of frames that belong to no stream.
async fn flood(cx: &Cx, kind: u8, payload: &[u8], thousands: usize) -> Outcome {
    let wire = attacker(cx, &[]).await?;
    let block = frame(kind, 0, 0, payload).repeat(1_000);
    wire.flood(&block, thousands, Answers::Ignored).await;
    unharmed(cx, "after a flood of frames").await
}

async fn flood_of_stream(cx: &Cx, kind: u8, payload: &[u8]) -> Outcome {
    let mut wire = attacker(cx, &[]).await?;
    wire.send(&frame(HEADERS, END_HEADERS, 1, &call(CAPABILITIES, &[]))).await;
    let block = frame(kind, 0, 1, payload).repeat(1_000);
    wire.flood(&block, 200, Answers::Ignored).await;
    unharmed(cx, "after a flood of frames on a stream").await
}

async fn downloads_into_window(cx: &Cx, window: u32) -> Outcome {
    let blob = cx.stored(2 << 20).await?;
    let name = cx.read_name(&blob);
    let length = u8::try_from(name.len()).expect("names of 100 B");
    let request = message(&[&[0x0A, length], name.as_bytes()].concat());
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut wire = attacker(cx, &[(INITIAL_WINDOW_SIZE, window)]).await?;
        for number in 0..25 {
            let begun = frame(HEADERS, END_HEADERS, stream(number), &call(READ, &[]));
            wire.send(&begun).await;
            wire.send(&frame(DATA, END_STREAM, stream(number), &request)).await;
        }
        held.push(wire);
    }
    unharmed(cx, &format!("beside 100 downloads into windows of {window} B")).await
}

async fn open_streams(cx: &Cx) -> Outcome {
    let headers = call(READ, &[]);
    let calls =
        (0..20_000).flat_map(|number| frame(HEADERS, END_HEADERS, stream(number), &headers));
    let calls: Vec<u8> = calls.collect();
    let mut wire = attacker(cx, &[]).await?;
    wire.send(&calls).await;
    unharmed(cx, "beside 20,000 calls that never end").await
}

async fn header_bomb(cx: &Cx) -> Outcome {
    // A field of 3,000 B that the receiver remembers, as the first of its dynamic table; then again by its number.
    const REMEMBERED: u8 = 0x40;
    const FIRST_OF_TABLE: u8 = 0x80 | 0x3E;
    let mut block = call(CAPABILITIES, &[]);
    block.extend_from_slice(&[REMEMBERED, 1, b'x', 0x7F, 0xB9, 0x16]);
    block.extend_from_slice(&[b'y'; 3_000]);
    block.extend_from_slice(&[FIRST_OF_TABLE; 1_400]);
    let mut wire = attacker(cx, &[]).await?;
    wire.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await;
    let answer = wire.answer().await;
    let served = answer.windows(11).any(|window| window == b"grpc-status");
    expect::that(!served, || {
        "expected a header list of 4 MiB to be refused, but the call was served".to_owned()
    })?;
    unharmed(cx, "after a header list of 4 MiB").await
}

async fn large_frame(cx: &Cx) -> Outcome {
    // The largest that a server can allow is 2^24 - 1, which this one announces; no server takes it whole unasked.
    let mut wire = attacker(cx, &[]).await?;
    wire.send(&[0xFF, 0xFF, 0xFF, SETTINGS, 0, 0, 0, 0, 0]).await;
    let flooded = wire.flood(&vec![0; 64 << 10], 256, Answers::Read).await;
    expect::that(flooded != Flooded::Taken, || {
        "expected the connection to end at a SETTINGS frame of 16 MiB, but all was taken".to_owned()
    })?;
    unharmed(cx, "after a frame of 16 MiB").await
}
