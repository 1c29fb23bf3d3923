//! A long way between client and server: how much of a large blob is under way at a time is what a round trip moves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use larder_protos::bytestream::ReadRequest;
use larder_protos::services::byte_stream_client::ByteStreamClient;
use larder_testkit::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use crate::client::{chunked, digest, sample, upload_name};

const BLOB_BYTES: usize = 32 << 20;
/// What is to be under way at a time: at 50 ms a round trip that is 80 MB/s.
const WINDOW_BYTES: usize = 4 << 20;
/// The one who sends waits for the other.
const SILENCE: Duration = Duration::from_millis(100);
/// Less is no part of a blob.
const MUCH_BYTES: usize = 64 << 10;

/// The middle of one connection, where what a side sends stays until it sends nothing more: nobody hears an answer before all
/// that may be under way is. So a crossing is what a round trip moves, however long the way and however busy the machine is.
struct LongWay {
    address: SocketAddr,
    crossings_up: Arc<AtomicUsize>,
    crossings_down: Arc<AtomicUsize>,
    /// Both directions end with it.
    _pumps: JoinSet<()>,
}

impl LongWay {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (up, down) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (crossings_up, crossings_down) = (Arc::clone(&up), Arc::clone(&down));
        let mut pumps = JoinSet::new();
        pumps.spawn(async move {
            let (client, _) = listener.accept().await.expect("the client");
            let server = TcpStream::connect(server).await.expect("the server");
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::join!(pump(from_client, to_server, &up), pump(from_server, to_client, &down));
        });
        Self { address, crossings_up, crossings_down, _pumps: pumps }
    }

    async fn client(&self) -> ByteStreamClient<Channel> {
        let window = u32::try_from(WINDOW_BYTES).expect("4 MiB");
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("a URL");
        let endpoint = endpoint.initial_stream_window_size(window);
        let channel = endpoint.initial_connection_window_size(4 * window).connect().await;
        ByteStreamClient::new(channel.expect("connected"))
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, crossings: &AtomicUsize) {
    let mut held = Vec::new();
    loop {
        match timeout(SILENCE, from.read_buf(&mut held)).await {
            Ok(Ok(1..)) => {}
            Ok(_) => return,
            Err(_silence) => {
                if held.len() >= MUCH_BYTES {
                    crossings.fetch_add(1, Ordering::Relaxed);
                }
                if to.write_all(&held).await.is_err() {
                    return;
                }
                held.clear();
            }
        }
    }
}

/// The blob took less than twice the crossings that its windows are: a busy machine may have cut some of them in two.
fn assert_filled(crossings: &AtomicUsize) {
    let crossings = crossings.load(Ordering::Relaxed);
    assert!(crossings > 0, "it came another way");
    assert!(crossings < 2 * BLOB_BYTES / WINDOW_BYTES, "{crossings} crossings");
}

#[tokio::test]
async fn one_large_blob_fills_the_way_in_both_directions() {
    let server = TestServer::start().await;
    let way = LongWay::to(server.address()).await;
    let mut client = way.client().await;
    let blob = sample(BLOB_BYTES);
    let digest = digest(&blob);
    let messages = chunked(&upload_name("blobs", digest), &blob, 1 << 20);
    client.write(stream::iter(messages)).await.expect("stored");
    assert_filled(&way.crossings_up);

    let resource_name = format!("blobs/{digest}");
    let request = ReadRequest { resource_name, ..ReadRequest::default() };
    let mut parts = client.read(request).await.expect("present").into_inner();
    let mut rest = &blob[..];
    while let Some(part) = parts.message().await.expect("a part") {
        rest = rest.strip_prefix(&part.data[..]).expect("the blob's bytes");
    }
    assert!(rest.is_empty());
    assert_filled(&way.crossings_down);
    drop(client);
    server.stop().await;
}
