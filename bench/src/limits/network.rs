//! Limits of loopback TCP, between two threads of this process.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use super::Cost;
use super::stopwatch::Stopwatch;

/// What one system call moves.
const BUFFER_BYTES: usize = 256 << 10;
const REQUEST_BYTES: usize = 128;
const ANSWER_BYTES: usize = 2 << 10;
const UNDER_WAY: usize = 64;

/// Whose CPU time counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Sender,
    Receiver,
}

/// Bytes in one direction, as fast as they go.
pub(super) fn stream(counted: Side) -> io::Result<Cost> {
    let (sender, receiver) = pair()?;
    let (sent, received) = thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(receiver));
        let sent = send(sender);
        (sent, receiving.join())
    });
    let received = received.map_err(|_| io::Error::other(ThreadPanicked))??;
    let sent = sent?;
    Ok(if counted == Side::Sender { sent } else { received })
}

fn send(mut stream: TcpStream) -> io::Result<Cost> {
    let buffer = vec![7; BUFFER_BYTES];
    let (watch, mut sent) = (Stopwatch::start(), 0);
    while !watch.is_over() {
        stream.write_all(&buffer)?;
        sent += buffer.len() as u64;
    }
    Ok(watch.cost(sent))
}

fn receive(mut stream: TcpStream) -> io::Result<Cost> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (watch, mut received) = (Stopwatch::start(), 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(watch.cost(received)),
            length => received += length as u64,
        }
    }
}

/// Small requests, each read by itself and answered by itself.
pub(super) fn exchange() -> io::Result<Cost> {
    let (client, server) = pair()?;
    let (asked, cost) = thread::scope(|scope| {
        let answering = scope.spawn(|| answer(server));
        (ask(client), answering.join())
    });
    asked?;
    cost.map_err(|_| io::Error::other(ThreadPanicked))?
}

fn ask(mut stream: TcpStream) -> io::Result<()> {
    let requests = vec![1; REQUEST_BYTES * UNDER_WAY];
    let mut answers = vec![0; ANSWER_BYTES * UNDER_WAY];
    stream.write_all(&requests)?;
    let (watch, mut partial_bytes) = (Stopwatch::start(), 0);
    while !watch.is_over() {
        // As many new requests as answers have come.
        let got_bytes = partial_bytes + stream.read(&mut answers)?;
        stream.write_all(&requests[..got_bytes / ANSWER_BYTES * REQUEST_BYTES])?;
        partial_bytes = got_bytes % ANSWER_BYTES;
    }
    stream.shutdown(Shutdown::Write)?;
    while stream.read(&mut answers)? > 0 {}
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<Cost> {
    let (mut request, answer) = ([0; REQUEST_BYTES], [2; ANSWER_BYTES]);
    let (watch, mut answered) = (Stopwatch::start(), 0);
    loop {
        match stream.read(&mut request)? {
            0 => return Ok(watch.cost(answered)),
            length => stream.read_exact(&mut request[length..])?,
        }
        stream.write_all(&answer)?;
        answered += 1;
    }
}

fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

#[derive(Debug, thiserror::Error)]
#[error("a thread panicked")]
struct ThreadPanicked;
