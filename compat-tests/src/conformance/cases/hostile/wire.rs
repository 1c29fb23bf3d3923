//! [`Wire`]: a bare connection, for bytes that no client library would send.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::conformance::outcome::{Halt, violated};
use crate::conformance::target::Target;

/// A server that takes nothing for so long has pushed back.
const STALLED: Duration = Duration::from_secs(2);
/// More than any answer to an attack.
const ANSWER_LIMIT_BYTES: usize = 1 << 20;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection without a protocol.
pub(super) struct Wire(Box<dyn Duplex>);

/// How a flood ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flooded {
    /// The server ended the connection.
    Cut,
    /// The server stopped reading.
    Stalled,
    /// The server took it all.
    Taken,
}

/// What an attacker does with the answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answers {
    Read,
    /// Left in the connection's buffers, which fill up.
    Ignored,
}

impl Wire {
    pub(super) async fn connect(target: &Target) -> Result<Self, Halt> {
        let connected = match target {
            Target::Tcp(authority) => {
                TcpStream::connect(authority.as_str()).await.map(|tcp| Self(Box::new(tcp)))
            }
            Target::Unix(path) => UnixStream::connect(path).await.map(|unix| Self(Box::new(unix))),
        };
        connected.or_else(|error| violated(format!("an attacker cannot connect: {error}")))
    }

    /// Sends `block` again and again.
    pub(super) async fn flood(self, block: &[u8], times: usize, answers: Answers) -> Flooded {
        let (mut read, mut write) = tokio::io::split(self.0);
        let sends = async {
            for _ in 0..times {
                match timeout(STALLED, write.write_all(block)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Flooded::Cut,
                    Err(_elapsed) => return Flooded::Stalled,
                }
            }
            Flooded::Taken
        };
        let drains = async {
            if answers == Answers::Ignored {
                return std::future::pending().await;
            }
            let mut buffer = vec![0; 64 << 10];
            while read.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
            Flooded::Cut
        };
        tokio::select! {
            biased;
            flooded = sends => flooded,
            cut = drains => cut,
        }
    }

    /// Sends `bytes` as far as the server takes them, and stays connected.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Flooded {
        match timeout(STALLED, self.0.write_all(bytes)).await {
            Ok(Ok(())) => Flooded::Taken,
            Ok(Err(_)) => Flooded::Cut,
            Err(_elapsed) => Flooded::Stalled,
        }
    }

    /// What the server says until it ends the connection or says nothing more.
    pub(super) async fn answer(&mut self) -> Vec<u8> {
        let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        while answer.len() < ANSWER_LIMIT_BYTES {
            match timeout(STALLED, self.0.read(&mut buffer)).await {
                Ok(Ok(length)) if length > 0 => {
                    answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                _ => break,
            }
        }
        answer
    }
}
