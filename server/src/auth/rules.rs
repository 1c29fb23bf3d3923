//! [`Need`]: what each call needs. One table for gRPC, one rule for HTTP, one for the admin port.
//!
//! What is in no table needs the most that its port has, so that a method which somebody adds and forgets here is refused, and
//! the matrix test of `testkit` fails.

use http::{Method, Request};

use super::role::Role;
use crate::edge::{Dialect, Place, is_grpc};

/// What a call needs.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Need {
    /// Nothing: probes cannot say who they are.
    Nothing,
    /// A role.
    Role(Role),
}

const READ: Need = Need::Role(Role::Read);
const WRITE: Need = Need::Role(Role::Write);

/// Of the gRPC services. `SplitBlob` stores chunks, but only of what is there, and cuts it as the server likes: who reads may ask.
/// `FetchBlob` and `FetchDirectory` need more where they store what an origin sends; they see to it themselves.
const GRPC: [(&str, Need); 21] = [
    ("/google.bytestream.ByteStream/Read", READ),
    ("/google.bytestream.ByteStream/Write", WRITE),
    ("/google.bytestream.ByteStream/QueryWriteStatus", WRITE),
    ("/build.bazel.remote.execution.v2.ActionCache/GetActionResult", READ),
    ("/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult", WRITE),
    ("/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs", READ),
    ("/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs", READ),
    ("/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs", WRITE),
    ("/build.bazel.remote.execution.v2.ContentAddressableStorage/GetTree", READ),
    ("/build.bazel.remote.execution.v2.ContentAddressableStorage/SplitBlob", READ),
    ("/build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob", WRITE),
    ("/build.bazel.remote.execution.v2.Capabilities/GetCapabilities", READ),
    ("/build.bazel.remote.asset.v1.Fetch/FetchBlob", READ),
    ("/build.bazel.remote.asset.v1.Fetch/FetchDirectory", READ),
    ("/build.bazel.remote.asset.v1.Push/PushBlob", WRITE),
    ("/build.bazel.remote.asset.v1.Push/PushDirectory", WRITE),
    ("/grpc.health.v1.Health/Check", Need::Nothing),
    ("/grpc.health.v1.Health/Watch", Need::Nothing),
    ("/grpc.health.v1.Health/List", Need::Nothing),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", READ),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", READ),
];

/// On the client port.
pub(crate) fn client_need<B>(request: &Request<B>) -> Need {
    let path = request.uri().path();
    if is_grpc(request) {
        return GRPC.iter().find(|(known, _)| *known == path).map_or(WRITE, |(_, need)| *need);
    }
    http_need(request.method(), path)
}

fn http_need(method: &Method, path: &str) -> Need {
    match method.as_str() {
        "GET" | "HEAD" | "OPTIONS" | "PROPFIND" => READ,
        // Turborepo asks about many hashes, and tells events, which are not kept.
        "POST" => {
            let place = Place::of(path.strip_prefix('/').unwrap_or(path));
            let asks = place.is_some_and(|place| place.dialect == Dialect::Turborepo);
            if asks { READ } else { WRITE }
        }
        _ => WRITE,
    }
}

/// On the admin port: probes and scrapers need nothing, people who look need to read, what acts needs an admin.
pub(crate) fn admin_need<B>(request: &Request<B>) -> Need {
    match request.uri().path() {
        "/livez" | "/readyz" | "/metrics" => Need::Nothing,
        "/statusz" => READ,
        _ => Need::Role(Role::Admin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_thought_of_needs_the_most() {
        let need = |method: &str, path: &str, content_type: &str| {
            let request = Request::builder().method(method).uri(path);
            client_need(&request.header("content-type", content_type).body(()).unwrap())
        };
        let grpc = "application/grpc+proto";
        assert_eq!(need("POST", "/google.bytestream.ByteStream/Read", grpc), READ);
        assert_eq!(need("POST", "/google.bytestream.ByteStream/ReadX", grpc), WRITE);
        assert_eq!(need("POST", "/google.bytestream.ByteStream/Read", "text/plain"), WRITE);
        assert_eq!(need("BREW", "/cas/0", ""), WRITE);
        assert_eq!(need("POST", "/v8/artifacts/events", ""), READ);
        assert_eq!(need("POST", "/kv/v8/artifacts/events", ""), WRITE);
        let admin = |path: &str| admin_need(&Request::get(path).body(()).unwrap());
        assert_eq!(admin("/metrics"), Need::Nothing);
        assert_eq!(admin("/metrics/"), Need::Role(Role::Admin));
        assert_eq!(admin("/debug/pprof/profile"), Need::Role(Role::Admin));
    }
}
