//! [`HttpPool`]: GET over HTTP/1.1, as many connections as there are requests at a time.

use std::cell::RefCell;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::tls::{Protocol, Tls};
use crate::error::CallError;
use crate::target::Address;

/// Connections to one server. Those that no request uses wait here.
pub(crate) struct HttpPool {
    address: Address,
    tls: Tls,
    /// What each request says beside what HTTP needs.
    headers: HeaderMap,
    idle: RefCell<Vec<SendRequest<Empty<Bytes>>>>,
    drivers: RefCell<JoinSet<()>>,
}

impl HttpPool {
    /// Connects when the first request comes.
    pub(crate) fn new(address: &Address, tls: &Tls, headers: &HeaderMap) -> Self {
        let (address, tls, headers) = (address.clone(), tls.clone(), headers.clone());
        Self { address, tls, headers, idle: RefCell::default(), drivers: RefCell::default() }
    }

    /// Fetches a path; the body goes to `sink` as it arrives.
    pub(crate) async fn get(
        &self,
        path: &str,
        sink: &mut impl FnMut(&[u8]) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let waiting = self.idle.borrow_mut().pop();
        let mut connection = match waiting.filter(|it| !it.is_closed()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let host = &self.address.authority;
        let mut request = Request::get(path).header("host", host).body(Empty::new())?;
        request.headers_mut().extend(self.headers.clone());
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(CallError::HttpStatus { path: path.to_owned(), status });
        }
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref() {
                sink(data)?;
            }
        }
        self.idle.borrow_mut().push(connection);
        Ok(())
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, CallError> {
        let stream = TcpStream::connect(&self.address.authority).await?;
        stream.set_nodelay(true)?;
        match &self.address.certified {
            None => self.shake_hands(stream).await,
            Some(name) => {
                let stream = self.tls.over(stream, name, Protocol::Http1).await?;
                self.shake_hands(stream).await
            }
        }
    }

    async fn shake_hands(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<SendRequest<Empty<Bytes>>, CallError> {
        let (sender, connection) = handshake(TokioIo::new(io)).await?;
        self.drivers.borrow_mut().spawn(async move {
            // How it ends shows in the requests that it carried.
            let _ended = connection.await;
        });
        Ok(sender)
    }
}
