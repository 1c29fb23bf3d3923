//! Calls whose messages are bytes: of methods that nobody has, and messages that no client would send.

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

use crate::conformance::context::{Answer, Cx};

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let size = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(size).to_vec()))
    }
}

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Cx {
    /// One message to a method such as `/google.bytestream.ByteStream/Read`, and the one that comes back.
    pub(crate) async fn call_raw(&self, method: &'static str, message: Vec<u8>) -> Answer<Vec<u8>> {
        let mut client = Grpc::new(self.connection());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(method);
        Ok(client.unary(Request::new(message), path, Raw).await?.into_inner())
    }
}
