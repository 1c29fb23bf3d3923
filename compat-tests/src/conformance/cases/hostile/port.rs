//! `hostile.port`: bytes that are no request, and connections that say nothing.

use std::fmt::Write;

use super::wire::{Answers, Flooded, Wire};
use super::{frames, unharmed};
use crate::conformance::announced::Need;
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome};

pub(crate) const CASES: &[Case] = cases! {
    /// Random bytes harm nobody.
    "hostile.port.random-bytes", Must, "RFC 9110, 17: Security Considerations", only(Hostile) => random_bytes;
    /// Random bytes after a good HTTP/2 preface harm nobody.
    "hostile.port.random-frames", Must, "RFC 9110, 17: Security Considerations", only(Hostile) => random_frames;
    /// Connections that say nothing harm nobody.
    "hostile.port.silent", Must, "RFC 9110, 17: Security Considerations", only(Hostile) => silent;
    /// Requests whose headers come byte by byte harm nobody.
    "hostile.port.slow-headers", Must, "RFC 9110, 17: Security Considerations", needs[Need::Http], only(Hostile) => slow_headers;
    /// A header of 16 MiB is not taken whole.
    "hostile.port.long-header", Must, "RFC 9110, 5.4", needs[Need::Http], only(Hostile) => long_header;
    /// A million headers are not taken.
    "hostile.port.many-headers", Must, "RFC 9110, 5.4", needs[Need::Http], only(Hostile) => many_headers;
    /// Chunks whose lengths are none end the request.
    "hostile.port.malformed-chunks", Must, "RFC 9112, 7.1", needs[Need::Http], only(Hostile) => malformed_chunks;
    /// A request with two meanings of its length is refused.
    "hostile.port.smuggled-length", Must, "RFC 9112, 6.3", needs[Need::Http], only(Hostile) => smuggled_length;
};

async fn http_wire(cx: &Cx) -> Result<Wire, Halt> {
    let target = cx.server.http.as_ref().map_or(&cx.server.target, |(target, _)| target);
    Wire::connect(target).await
}

async fn random_bytes(cx: &Cx) -> Outcome {
    for _ in 0..64 {
        let wire = Wire::connect(&cx.server.target).await?;
        wire.flood(&cx.bytes(64 << 10), 1, Answers::Read).await;
    }
    unharmed(cx, "after 64 connections of random bytes").await
}

async fn random_frames(cx: &Cx) -> Outcome {
    for _ in 0..64 {
        let mut wire = Wire::connect(&cx.server.target).await?;
        wire.send(&frames::preface(&[])).await;
        wire.flood(&cx.bytes(16 << 10), 4, Answers::Read).await;
    }
    unharmed(cx, "after 64 connections of random frames").await
}

async fn silent(cx: &Cx) -> Outcome {
    let mut held = Vec::new();
    for _ in 0..500 {
        held.push(Wire::connect(&cx.server.target).await?);
    }
    unharmed(cx, "beside 500 silent connections").await
}

async fn slow_headers(cx: &Cx) -> Outcome {
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut wire = http_wire(cx).await?;
        wire.send(b"GET /cas/").await;
        held.push(wire);
    }
    for byte in b"0123456789" {
        for wire in &mut held {
            wire.send(&[*byte]).await;
        }
    }
    unharmed(cx, "beside 200 requests that come byte by byte").await
}

async fn long_header(cx: &Cx) -> Outcome {
    let mut wire = http_wire(cx).await?;
    wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ").await;
    let flooded = wire.flood(&vec![b'x'; 64 << 10], 256, Answers::Read).await;
    expect::that(flooded != Flooded::Taken, || {
        "expected the connection to end before 16 MiB of a header, but all was taken".to_owned()
    })?;
    unharmed(cx, "after a header of 16 MiB").await
}

async fn many_headers(cx: &Cx) -> Outcome {
    let mut wire = http_wire(cx).await?;
    wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n").await;
    let mut block = String::new();
    for number in 0..1_000 {
        // Writing to a string cannot go wrong.
        let _always = write!(block, "X-{number}: y\r\n");
    }
    let flooded = wire.flood(block.as_bytes(), 1_000, Answers::Read).await;
    expect::that(flooded != Flooded::Taken, || {
        "expected the connection to end before a million headers, but all were taken".to_owned()
    })?;
    unharmed(cx, "after a million headers").await
}

async fn malformed_chunks(cx: &Cx) -> Outcome {
    let blob = cx.blob(10);
    let path = cx.cas_path(&blob);
    for chunk in ["xyz\r\n", "-5\r\nhello\r\n", "ffffffffffffffffff\r\n", "5\r\nhello world"] {
        let mut wire = http_wire(cx).await?;
        let head = format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\n");
        wire.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}").as_bytes()).await;
        refused_or_cut(&mut wire, &format!("the chunk {chunk:?}")).await?;
    }
    cx.expect_missing(&blob, "a blob whose chunks were malformed").await?;
    unharmed(cx, "after malformed chunks").await
}

async fn smuggled_length(cx: &Cx) -> Outcome {
    let path = cx.cas_path(&cx.blob(10));
    for lengths in [
        "Content-Length: 10\r\nContent-Length: 11\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 1 0\r\n",
    ] {
        let mut wire = http_wire(cx).await?;
        let request = format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\n{lengths}\r\n0123456789");
        wire.send(request.as_bytes()).await;
        refused_or_cut(&mut wire, &format!("{lengths:?}")).await?;
    }
    unharmed(cx, "after lengths with two meanings").await
}

/// The server answers with a refusal that is not its own fault, or ends the connection.
async fn refused_or_cut(wire: &mut Wire, what: &str) -> Outcome {
    let answer = wire.answer().await;
    let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    expect::that(line.is_empty() || line.starts_with("HTTP/1.1 4"), || {
        format!("expected a refusal of {what} or the end of the connection, got {line:?}")
    })
}
