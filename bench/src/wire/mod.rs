//! The wire without codecs: gRPC on frames of HTTP/2, and HTTP/1.1. What tonic would copy twice is looked at where it arrived,
//! so that the load generator takes less CPU than the server that it loads.

mod connection;
mod framing;
mod http1;
mod tls;

pub(crate) use connection::{Connection, Wire};
pub(crate) use framing::{MessageHead, ReadParser, message, write_message};
pub(crate) use http1::HttpPool;
pub(crate) use tls::{Tls, TlsError};
