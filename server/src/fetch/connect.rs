//! [`Connector`]: from a URL to a connection. The address that is checked is the one that is connected to, so a name whose
//! address changes between two questions gains nothing; and no proxy of the environment comes between.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use larder_cas::blocking;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::addresses::AddressRules;
use super::error::FetchError;
use super::settings::FetchSettings;
use crate::trust::{TrustError, tls_connector};

/// For each address of a name, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A name with more addresses than these need not be tried at all of them.
const MAX_ADDRESSES: usize = 4;

/// The system's resolver blocks a thread of the pool that reads the disk too, so few may ask at a time.
const MAX_LOOKUPS: usize = 2;

/// An open connection, plain or by TLS.
pub(super) type Connection = Box<dyn Io>;

pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Opens connections to addresses that the rules admit.
pub(super) struct Connector {
    rules: AddressRules,
    tls: TlsConnector,
    lookups: Arc<Semaphore>,
}

impl Connector {
    pub(super) fn new(settings: &FetchSettings) -> Result<Self, TrustError> {
        Ok(Self {
            rules: AddressRules::new(settings.allow_addresses.clone()),
            tls: tls_connector(settings.ca_file.as_deref())?,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        })
    }

    /// Connects to the host of an http or https URL.
    pub(super) async fn connect(&self, url: &Url) -> Result<Connection, FetchError> {
        let host = shown_host(url);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.addresses(url).await? {
            match timeout(CONNECT_TIMEOUT, self.connect_to(address, url)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(_elapsed) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(FetchError::Connect { host, source: Arc::new(last) })
    }

    /// Where the host is, as far as that may be connected to.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, FetchError> {
        let host = shown_host(url);
        let port = url.port_or_known_default().unwrap_or(0);
        let found = match url.host() {
            Some(Host::Ipv4(v4)) => vec![SocketAddr::from((v4, port))],
            Some(Host::Ipv6(v6)) => vec![SocketAddr::from((v6, port))],
            Some(Host::Domain(name)) => {
                self.look_up(name.to_owned(), port).await.map_err(|source| FetchError::Resolve {
                    host: host.clone(),
                    source: Arc::new(source),
                })?
            }
            None => Vec::new(),
        };
        admitted(&self.rules, found).map_err(|kind| FetchError::Address { host, kind })
    }

    async fn look_up(&self, name: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        // A question that nobody waits for any more keeps its place until the resolver gives up.
        let asked = blocking::run(move || {
            let _permit = permit;
            (name.as_str(), port).to_socket_addrs().map(Iterator::collect)
        });
        asked.await.map_err(io::Error::other)?
    }

    async fn connect_to(&self, address: SocketAddr, url: &Url) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if url.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        let name = match url.host() {
            Some(Host::Ipv4(v4)) => IpAddr::from(v4).into(),
            Some(Host::Ipv6(v6)) => IpAddr::from(v6).into(),
            Some(Host::Domain(name)) => name.to_owned().try_into().map_err(io::Error::other)?,
            None => return Err(io::ErrorKind::InvalidInput.into()),
        };
        Ok(Box::new(self.tls.connect(name, stream).await?))
    }
}

/// The addresses that may be connected to, or what kind the first one is if none may.
fn admitted(rules: &AddressRules, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, &'static str> {
    let mut first_kind = None;
    let mut admitted = Vec::new();
    for address in found {
        match rules.forbidden(address.ip()) {
            Some(kind) => first_kind = first_kind.or(Some(kind)),
            None => admitted.push(address),
        }
    }
    admitted.truncate(MAX_ADDRESSES);
    match first_kind {
        Some(kind) if admitted.is_empty() => Err(kind),
        _ => Ok(admitted),
    }
}

/// The host of a URL, with its port if that is not the scheme's.
pub(super) fn shown_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::super::addresses::Networks;
    use super::*;

    fn check(found: &[&str], expect: Result<&[&str], &str>) {
        let rules = AddressRules::new(Networks::parse("10.1.0.0/16").unwrap());
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let admitted = admitted(&rules, parse(found));
        assert_eq!(admitted, expect.map(parse), "{found:?}");
    }

    #[test]
    fn of_a_names_addresses_only_those_admitted_are_tried() {
        check(&[], Ok(&[]));
        check(&["8.8.8.8:80", "127.0.0.1:80", "[2a00::1]:80"], Ok(&["8.8.8.8:80", "[2a00::1]:80"]));
        check(&["10.1.2.3:80"], Ok(&["10.1.2.3:80"]));
        check(&["10.2.0.1:80", "[::1]:80"], Err("private"));
        check(&["[::ffff:127.0.0.1]:80"], Err("loopback"));
        let many = ["8.8.8.1:1", "8.8.8.2:1", "8.8.8.3:1", "8.8.8.4:1", "8.8.8.5:1"];
        check(&many, Ok(&many[..4]));
    }

    #[test]
    fn no_more_than_the_host_of_a_url_is_shown() {
        let url = |text: &str| shown_host(&Url::parse(text).unwrap());
        assert_eq!(url("https://u:p@a.org/secret?token=x"), "a.org");
        assert_eq!(url("http://[::1]:8080/"), "[::1]:8080");
    }
}
