//! [`Relay`]: a connection's middle, which counts the bytes that pass: what a client says of compression, weighed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// Passes every connection on to the server. Dropping it cuts them and waits for their threads.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    up: AtomicU64,
    down: AtomicU64,
    ended: AtomicBool,
}

impl Relay {
    pub(crate) fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = Some(thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, server, &shared)
        }));
        Ok(Self { address, shared, accepting })
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that went to the server, and bytes that came back.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.shared.up.load(Ordering::Relaxed), self.shared.down.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let _woken = TcpStream::connect(self.address);
        let _joined = self.accepting.take().map(JoinHandle::join);
    }
}

/// Until the relay ends: two threads for each connection, which end with it.
fn accept(listener: &TcpListener, server: SocketAddr, shared: &Arc<Shared>) {
    let mut pumps = Vec::new();
    let mut streams = Vec::new();
    for client in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            break;
        }
        let connected = client.and_then(|client| {
            let server = TcpStream::connect(server)?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            Ok([client.try_clone()?, server.try_clone()?, client, server])
        });
        let Ok([client, server, client_again, server_again]) = connected else { continue };
        let clones = [client.try_clone(), server.try_clone()];
        streams.extend(clones.into_iter().flatten());
        let (up, down) = (Arc::clone(shared), Arc::clone(shared));
        pumps.push(thread::spawn(move || pump(client, server, &up.up)));
        pumps.push(thread::spawn(move || pump(server_again, client_again, &down.down)));
    }
    for stream in streams {
        // One that is closed already needs no shutting down.
        let _closed = stream.shutdown(Shutdown::Both);
    }
    for pump in pumps {
        let _joined = pump.join();
    }
}

/// Copies until one side closes, and closes the other then.
fn pump(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        counter.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _closed = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_counted_in_both_directions() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::start(server.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect(relay.address()).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        client.write_all(b"four").unwrap();
        let mut got = [0; 4];
        accepted.read_exact(&mut got).unwrap();
        accepted.write_all(b"seventh").unwrap();
        drop(accepted);
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!((&got[..], &back[..]), (&b"four"[..], &b"seventh"[..]));
        assert_eq!(relay.passed(), (4, 7));
    }
}
