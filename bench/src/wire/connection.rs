//! [`Connection`]: calls over one HTTP/2 connection.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, poll_fn, select};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use percent_encoding::percent_decode_str;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::framing;
use super::tls::{Protocol, Tls};
use crate::error::CallError;
use crate::target::{Address, Target};

/// How the client speaks. What it announces to servers is in bytes.
#[derive(Clone)]
pub(crate) struct Wire {
    /// The largest DATA frame it takes.
    pub(crate) max_frame: u32,
    /// What may be under way to one stream.
    pub(crate) stream_window: u32,
    /// What may be under way to all of them.
    pub(crate) connection_window: u32,
    /// With servers that speak it.
    pub(crate) tls: Tls,
}

/// One connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    /// What stands before the path of each call.
    base: String,
    /// What each call says beside what gRPC has.
    headers: HeaderMap,
}

impl Connection {
    /// Connects to where `target` speaks gRPC; `drivers` runs what moves the frames.
    pub(crate) async fn open(
        target: &Target,
        wire: &Wire,
        drivers: &mut JoinSet<()>,
    ) -> Result<Self, CallError> {
        let Address { authority, certified } = &target.grpc;
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (sender, scheme) = match certified {
            None => (shake_hands(stream, wire, drivers).await?, "http"),
            Some(name) => {
                let stream = wire.tls.over(stream, name, Protocol::Http2).await?;
                (shake_hands(stream, wire, drivers).await?, "https")
            }
        };
        let base = format!("{scheme}://{authority}");
        Ok(Self { sender, base, headers: target.headers.clone() })
    }

    /// One message there, one back.
    pub(crate) async fn unary<A: Message + Default>(
        &self,
        path: &'static str,
        request: Bytes,
    ) -> Result<A, CallError> {
        let mut answer = BytesMut::new();
        self.read(path, request, &mut |bytes| {
            answer.extend_from_slice(bytes);
            Ok(())
        })
        .await?;
        Ok(A::decode(framing::only_message(answer.freeze())?)?)
    }

    /// One message there; what comes back goes to `sink` as it arrives, with gRPC's framing.
    pub(crate) async fn read(
        &self,
        path: &'static str,
        request: Bytes,
        sink: &mut impl FnMut(&[u8]) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let (response, mut stream) = self.begin(path).await?;
        stream.send_data(request, true)?;
        receive(path, response, sink).await
    }

    /// Parts of messages there, one message back. A server that answers early is not sent the rest.
    pub(crate) async fn write<A: Message + Default>(
        &self,
        path: &'static str,
        parts: impl Iterator<Item = Bytes>,
    ) -> Result<A, CallError> {
        let (response, stream) = self.begin(path).await?;
        let mut answer = BytesMut::new();
        let mut sink = |bytes: &[u8]| {
            answer.extend_from_slice(bytes);
            Ok(())
        };
        {
            let sending = pin!(send(stream, parts));
            let receiving = pin!(receive(path, response, &mut sink));
            match select(receiving, sending).await {
                Either::Left((received, _sending)) => received?,
                // Where sending failed, the answer tells why; it fails as well where there is none.
                Either::Right((_sent, receiving)) => receiving.await?,
            }
        }
        Ok(A::decode(framing::only_message(answer.freeze())?)?)
    }

    async fn begin(
        &self,
        path: &'static str,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), CallError> {
        let mut request = Request::post(format!("{}{path}", self.base))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        request.headers_mut().extend(self.headers.clone());
        let mut sender = self.sender.clone().ready().await?;
        Ok(sender.send_request(request, false)?)
    }
}

async fn shake_hands(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    wire: &Wire,
    drivers: &mut JoinSet<()>,
) -> Result<SendRequest<Bytes>, CallError> {
    let (sender, connection) = Builder::new()
        .enable_push(false)
        .max_frame_size(wire.max_frame)
        .initial_window_size(wire.stream_window)
        .initial_connection_window_size(wire.connection_window)
        .handshake(io)
        .await?;
    drivers.spawn(async move {
        // How it ends shows in the calls that it carried.
        let _ended = connection.await;
    });
    Ok(sender)
}

/// Sends what the window lets through, part after part.
async fn send(
    mut stream: SendStream<Bytes>,
    parts: impl Iterator<Item = Bytes>,
) -> Result<(), CallError> {
    let mut parts = parts.filter(|part| !part.is_empty()).peekable();
    while let Some(mut part) = parts.next() {
        let is_last_part = parts.peek().is_none();
        while !part.is_empty() {
            stream.reserve_capacity(part.len());
            let Some(granted) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
                return Ok(());
            };
            let now = part.split_to(granted?.min(part.len()));
            stream.send_data(now, is_last_part && part.is_empty())?;
        }
    }
    Ok(())
}

async fn receive(
    path: &'static str,
    response: ResponseFuture,
    sink: &mut impl FnMut(&[u8]) -> Result<(), CallError>,
) -> Result<(), CallError> {
    let (head, mut body) = response.await?.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(CallError::HttpStatus { path: path.to_owned(), status: head.status.as_u16() });
    }
    // With nothing to tell, a server may send one block of headers only.
    if head.headers.contains_key("grpc-status") {
        return check_status(path, &head.headers);
    }
    while let Some(bytes) = body.data().await {
        take(&mut body, bytes?, sink)?;
    }
    check_status(path, &body.trailers().await?.unwrap_or_default())
}

fn take(
    body: &mut RecvStream,
    bytes: Bytes,
    sink: &mut impl FnMut(&[u8]) -> Result<(), CallError>,
) -> Result<(), CallError> {
    body.flow_control().release_capacity(bytes.len())?;
    sink(&bytes)
}

fn check_status(path: &'static str, trailers: &HeaderMap) -> Result<(), CallError> {
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok());
    // Source: grpc/doc/PROTOCOL-HTTP2.md, Status-Message.
    let message = text("grpc-message").map(|text| percent_decode_str(text).decode_utf8_lossy());
    match text("grpc-status") {
        Some("0") => Ok(()),
        code => Err(CallError::Status {
            path,
            // Without a status the call was cut off: UNKNOWN.
            code: code.and_then(|code| code.parse().ok()).unwrap_or(2),
            message: message.unwrap_or("no grpc-status".into()).into_owned(),
        }),
    }
}
