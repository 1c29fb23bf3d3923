//! What a decoded request is about, noted for the access log and its span.

use larder_protos::reapi;
use tonic::Request;

use crate::report::Notes;

/// Notes whose request it is.
pub(super) fn note_instance<T>(request: &Request<T>, name: impl FnOnce(&T) -> &String) {
    Notes::of(request.extensions()).instance(name(request.get_ref()));
}

/// Notes what the request is about, as its client writes it.
pub(super) fn note_digest<T>(
    request: &Request<T>,
    digest: impl FnOnce(&T) -> Option<&reapi::Digest>,
) {
    if let Some(digest) = digest(request.get_ref()) {
        let reapi::Digest { hash, size_bytes } = digest;
        Notes::of(request.extensions()).digest(format_args!("{hash}/{size_bytes}"));
    }
}
