//! [`WriteParts`]: the messages of a `ByteStream.Write`, taken apart as their bytes arrive.
//!
//! A codec gathers each message in a buffer of its own before it decodes it, which for a large upload costs as much as receiving
//! it. Here the data of a message is passed on as it lies in the frames: a message that comes in several of them becomes several
//! parts, of which the first has the name and the offset, and the last the end of the upload. A message whose data does not stand last, or
//! that is unusual in another way, is gathered and decoded as any other.
//! Invariant: the parts of a message that comes whole say together what it says; a property test holds them against prost. Of one that is
//! cut off, parts have been passed on: what was not verified is not stored, and what is kept to be resumed is what came.
//! Errors: those of tonic, in its words. Source: gRPC's `PROTOCOL-HTTP2.md`; `google/bytestream/bytestream.proto`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use http_body::Body;
use larder_protos::bounded;
use larder_protos::bytestream::WriteRequest;
use tonic::Status;

use super::framing::{DATA_TAG, NAME_LIMIT_BYTES, NAME_TAG, PREFIX_BYTES, message_bytes};
use super::wire_format::{field, number};

const OFFSET_TAG: u8 = 2 << 3;
const FINISH_TAG: u8 = 3 << 3;

/// What stands before the data, at most: a name, and two numbers.
const HEAD_LIMIT_BYTES: usize = NAME_LIMIT_BYTES + 64;

/// Parts of an upload's messages, from the frames of `B`.
#[derive(Debug)]
pub(super) struct WriteParts<B> {
    body: B,
    /// Arrived, not taken apart yet.
    arrived: Bytes,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A message is to begin.
    Between,
    /// So many bytes of a message's data are still to come.
    Within {
        rest_bytes: usize,
        finish_write: bool,
    },
    /// A message that is decoded once it is whole.
    Gathering {
        message: BytesMut,
        rest_bytes: usize,
    },
    Ended,
}

/// Parts of messages, as far as an upload must know of what does not come as whole messages.
pub(super) trait Parts:
    Stream<Item = Result<WriteRequest, Status>> + Send + Unpin + 'static
{
    /// How much of the data of the last part's message is still to come.
    fn rest_bytes(&self) -> usize;
}

impl<B> Parts for WriteParts<B>
where
    B: Body<Data = Bytes, Error = Status> + Send + Unpin + 'static,
{
    fn rest_bytes(&self) -> usize {
        match self.state {
            State::Within { rest_bytes, .. } => rest_bytes,
            _ => 0,
        }
    }
}

/// Whole messages.
impl Parts for tonic::Streaming<WriteRequest> {
    fn rest_bytes(&self) -> usize {
        0
    }
}

impl<B> WriteParts<B> {
    /// Those of this body.
    pub(super) fn of(body: B) -> Self {
        Self { body, arrived: Bytes::new(), state: State::Between }
    }

    /// The next part, if it has arrived.
    fn part(&mut self) -> Result<Option<WriteRequest>, Status> {
        match &mut self.state {
            State::Between => self.begin_message(),
            State::Within { rest_bytes, finish_write } => {
                if self.arrived.is_empty() {
                    return Ok(None);
                }
                let data = self.arrived.split_to(self.arrived.len().min(*rest_bytes));
                *rest_bytes -= data.len();
                let is_last = *rest_bytes == 0;
                let finish_write = *finish_write && is_last;
                if is_last {
                    self.state = State::Between;
                }
                Ok(Some(WriteRequest { data, finish_write, ..WriteRequest::default() }))
            }
            State::Gathering { message, rest_bytes } => {
                let now = self.arrived.split_to(self.arrived.len().min(*rest_bytes));
                message.extend_from_slice(&now);
                *rest_bytes -= now.len();
                if *rest_bytes > 0 {
                    return Ok(None);
                }
                let message = std::mem::take(message).freeze();
                self.state = State::Between;
                Ok(Some(bounded::decode(message)?))
            }
            State::Ended => Ok(None),
        }
    }

    fn begin_message(&mut self) -> Result<Option<WriteRequest>, Status> {
        let Some((prefix, message)) = self.arrived.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let message_bytes = message_bytes(*prefix)?;
        let is_whole = message.len() >= message_bytes;
        let here = &message[..message.len().min(message_bytes)];
        match Head::of(here, message_bytes) {
            Some(Head { begin, data_bytes, first }) => {
                let finish_write = first.finish_write;
                self.arrived.advance(PREFIX_BYTES + begin);
                let data = self.arrived.split_to(self.arrived.len().min(data_bytes));
                let rest_bytes = data_bytes - data.len();
                if rest_bytes == 0 {
                    return Ok(Some(WriteRequest { data, ..first }));
                }
                self.state = State::Within { rest_bytes, finish_write };
                Ok(Some(WriteRequest { data, finish_write: false, ..first }))
            }
            None if !is_whole && here.len() < HEAD_LIMIT_BYTES => Ok(None),
            None => {
                self.arrived.advance(PREFIX_BYTES);
                let message = BytesMut::with_capacity(message_bytes);
                self.state = State::Gathering { message, rest_bytes: message_bytes };
                self.part()
            }
        }
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Stream for WriteParts<B> {
    type Item = Result<WriteRequest, Status>;

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<WriteRequest, Status>>> {
        let this = self.get_mut();
        loop {
            if matches!(this.state, State::Ended) {
                return Poll::Ready(None);
            }
            let failed = match this.part() {
                Ok(Some(part)) => return Poll::Ready(Some(Ok(part))),
                Err(status) => status,
                Ok(None) => match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            this.arrived = joined(std::mem::take(&mut this.arrived), data);
                        }
                        continue;
                    }
                    Some(Err(status)) => status,
                    None if matches!(this.state, State::Between) && this.arrived.is_empty() => {
                        this.state = State::Ended;
                        return Poll::Ready(None);
                    }
                    None => Status::internal("Unexpected EOF decoding stream."),
                },
            };
            this.state = State::Ended;
            return Poll::Ready(Some(Err(failed)));
        }
    }
}

fn joined(before: Bytes, data: Bytes) -> Bytes {
    if before.is_empty() {
        return data;
    }
    let mut joined = BytesMut::with_capacity(before.len() + data.len());
    joined.extend_from_slice(&before);
    joined.extend_from_slice(&data);
    joined.freeze()
}

/// What stands in a message before its data, which is the rest of it.
#[derive(Debug)]
struct Head {
    /// Bytes before the data.
    begin: usize,
    data_bytes: usize,
    /// Without the data.
    first: WriteRequest,
}

impl Head {
    /// Reads the first bytes of a message of so many; `None` where they are too few or the message is unusual.
    fn of(here: &[u8], message_bytes: usize) -> Option<Self> {
        let mut first = WriteRequest::default();
        let mut rest = here;
        loop {
            let read_bytes = here.len() - rest.len();
            let Some((tag, after)) = rest.split_first() else {
                let is_all = read_bytes == message_bytes;
                return is_all.then_some(Self { begin: read_bytes, data_bytes: 0, first });
            };
            rest = after;
            match *tag {
                NAME_TAG => {
                    let name = field(&mut rest)?;
                    str::from_utf8(name).ok()?.clone_into(&mut first.resource_name);
                }
                OFFSET_TAG => first.write_offset = i64::try_from(number(&mut rest)?).ok()?,
                FINISH_TAG => first.finish_write = number(&mut rest)? != 0,
                DATA_TAG => {
                    let data_bytes = usize::try_from(number(&mut rest)?).ok()?;
                    let begin = here.len() - rest.len();
                    let is_last = begin.checked_add(data_bytes)? == message_bytes;
                    return is_last.then_some(Self { begin, data_bytes, first });
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
