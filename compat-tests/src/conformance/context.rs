//! [`Cx`]: what a case works with: connections of its own, random blobs of its own, and the names that go with them.

use std::sync::Arc;

use parking_lot::Mutex;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::announced::Announced;
use super::digest::{Blob, Function};
use super::entropy::Entropy;
use super::target::Target;

/// A gRPC connection whose calls carry the headers that the user gave.
pub(crate) type Connection = InterceptedService<Channel, Headers>;

/// What a call answered.
pub(crate) type Answer<T> = Result<T, Status>;

/// Headers that every call carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers(pub(crate) MetadataMap);

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for header in self.0.iter() {
            match header {
                KeyAndValueRef::Ascii(name, value) => {
                    request.metadata_mut().append(name, value.clone());
                }
                KeyAndValueRef::Binary(name, value) => {
                    request.metadata_mut().append_bin(name, value.clone());
                }
            }
        }
        Ok(request)
    }
}

/// The server under test, as all cases see it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) target: Target,
    /// Where it speaks HTTP/1.1, and what paths begin with there.
    pub(crate) http: Option<(Target, String)>,
    pub(crate) instance: String,
    pub(crate) headers: Headers,
    pub(crate) announced: Announced,
}

/// What one case works with.
#[derive(Clone)]
pub(crate) struct Cx {
    pub(crate) server: Arc<Server>,
    channel: Channel,
    headers: Headers,
    instance: String,
    entropy: Arc<Mutex<Entropy>>,
}

impl Cx {
    /// For the case called `name`. The connection is made when it is first used.
    pub(crate) fn new(
        server: Arc<Server>,
        seed: u64,
        name: &str,
    ) -> Result<Self, tonic::transport::Error> {
        let channel = server.target.endpoint()?.connect_lazy();
        let (headers, instance) = (server.headers.clone(), server.instance.clone());
        let entropy = Arc::new(Mutex::new(Entropy::new(seed, name)));
        Ok(Self { server, channel, headers, instance, entropy })
    }

    /// The case's connection.
    pub(crate) fn connection(&self) -> Connection {
        InterceptedService::new(self.channel.clone(), self.headers.clone())
    }

    /// The same over another channel.
    pub(crate) fn over(&self, channel: Channel) -> Self {
        Self { channel, ..self.clone() }
    }

    /// The same, speaking to another instance.
    pub(crate) fn at_instance(&self, instance: &str) -> Self {
        Self { instance: instance.to_owned(), ..self.clone() }
    }

    /// The same with another header on every call.
    pub(crate) fn with_header(&self, add: impl FnOnce(&mut MetadataMap)) -> Self {
        let mut cx = self.clone();
        add(&mut cx.headers.0);
        cx
    }

    /// The instance name that requests carry.
    pub(crate) fn instance(&self) -> String {
        self.instance.clone()
    }

    /// What the server offers.
    pub(crate) fn announced(&self) -> &Announced {
        &self.server.announced
    }

    /// The digest function of cases that are about something else.
    pub(crate) fn function(&self) -> Function {
        self.announced().usual_function()
    }

    /// A blob of random bytes that no server has.
    pub(crate) fn blob(&self, size: usize) -> Blob {
        self.blob_of(self.bytes(size))
    }

    /// A blob that compresses well.
    pub(crate) fn text(&self, size: usize) -> Blob {
        let text = self.entropy.lock().text(size);
        self.blob_of(text)
    }

    /// A blob of these bytes.
    pub(crate) fn blob_of(&self, data: Vec<u8>) -> Blob {
        Blob::new(self.function(), data)
    }

    /// Random bytes.
    pub(crate) fn bytes(&self, size: usize) -> Vec<u8> {
        self.entropy.lock().bytes(size)
    }

    /// A fresh UUID.
    pub(crate) fn uuid(&self) -> String {
        self.entropy.lock().uuid()
    }

    /// `{instance/}rest`.
    pub(crate) fn name(&self, rest: &str) -> String {
        if self.instance.is_empty() { rest.to_owned() } else { format!("{}/{rest}", self.instance) }
    }

    /// What a download of the blob is called.
    pub(crate) fn read_name(&self, blob: &Blob) -> String {
        self.name(&format!("blobs/{}", blob.path()))
    }

    /// What a zstd download of the blob is called.
    pub(crate) fn zstd_read_name(&self, blob: &Blob) -> String {
        self.name(&format!("compressed-blobs/zstd/{}", blob.path()))
    }

    /// What an upload of the blob is called; each time another upload.
    pub(crate) fn write_name(&self, blob: &Blob) -> String {
        self.name(&format!("uploads/{}/blobs/{}", self.uuid(), blob.path()))
    }

    /// What a zstd upload of the blob is called; each time another upload.
    pub(crate) fn zstd_write_name(&self, blob: &Blob) -> String {
        self.name(&format!("uploads/{}/compressed-blobs/zstd/{}", self.uuid(), blob.path()))
    }
}
