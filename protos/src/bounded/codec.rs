//! [`BoundedCodec`]: the codec of all services.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::{Bounded, BoundedError, decode};

/// Encodes `T` as tonic's own codec does, and decodes `U` within its bounds.
#[derive(Debug)]
pub struct BoundedCodec<T, U>(PhantomData<(T, U)>);

/// The half of [`BoundedCodec`] that encodes, into a buffer that has room for the whole message: one that grows under it is copied
/// each time it does.
#[derive(Debug)]
pub struct WholeEncoder<T>(PhantomData<T>);

/// The half of [`BoundedCodec`] that decodes.
#[derive(Debug)]
pub struct BoundedDecoder<U>(PhantomData<U>);

impl<T> Default for WholeEncoder<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Bounded + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = WholeEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        WholeEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

impl<T: Message> Encoder for WholeEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        message.encode_raw(buffer);
        Ok(())
    }
}

impl<U: Bounded> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, encoded: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // Splits the message off the buffer that it arrived in, without a copy.
        let encoded = encoded.copy_to_bytes(encoded.remaining());
        Ok(Some(decode(encoded)?))
    }
}

/// For a request that cannot be decoded.
impl From<BoundedError> for Status {
    fn from(error: BoundedError) -> Self {
        // gRPC's own libraries say INTERNAL here, which would make the client's fault look like the server's.
        Self::invalid_argument(error.to_string())
    }
}
