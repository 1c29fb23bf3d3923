//! [`FaultyServer`]: a small REAPI cache in memory, over SHA256 and without compression, that is honest or wrong in one way.

mod services;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream::byte_stream_server::ByteStreamServer;
use reapi::action_cache_server::ActionCacheServer;
use reapi::capabilities_server::CapabilitiesServer;
use reapi::content_addressable_storage_server::ContentAddressableStorageServer;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use store::Store;

/// In which way a server is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    EmptyPastEnd,
    LimitIgnored,
    FlippedByte,
    AbsentIsEmpty,
    HashUnchecked,
    OffsetsUnchecked,
    NothingCommitted,
    UploadLost,
    NothingMissing,
    SizeIgnored,
    BatchLost,
    BatchAllOrNothing,
    FirstResultStays,
    ResultsUnchecked,
    NoEmptyBlob,
    ReadHangs,
}

/// Runs until it is dropped.
pub(crate) struct FaultyServer {
    address: SocketAddr,
    _runtime: Runtime,
}

impl FaultyServer {
    /// Starts it on a free port of the loopback.
    pub(crate) fn start(fault: Option<Fault>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let bound = tokio::net::TcpListener::bind("127.0.0.1:0");
        let listener = runtime.block_on(bound).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let store = Arc::new(Store::new(fault));
        let router = Server::builder()
            .add_service(CapabilitiesServer::from_arc(Arc::clone(&store)))
            .add_service(ByteStreamServer::from_arc(Arc::clone(&store)))
            .add_service(ContentAddressableStorageServer::from_arc(Arc::clone(&store)))
            .add_service(ActionCacheServer::from_arc(store));
        // Ends with the runtime.
        let _serving = runtime.spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, _runtime: runtime }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
