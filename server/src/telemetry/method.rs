//! [`Method`]: the names of calls that metrics may carry; a client cannot invent one.

use http::Request;

use crate::edge::{Dialect, Place};

/// What a request asks for, as a metric label.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Method(usize);

/// Calls known by name, the frequent ones first: the package of the path, and the label, which is
/// the rest of it.
const RPCS: [(&str, &str); 19] = [
    ("/google.bytestream.", "ByteStream/Read"),
    ("/google.bytestream.", "ByteStream/Write"),
    ("/build.bazel.remote.execution.v2.", "ActionCache/GetActionResult"),
    ("/build.bazel.remote.execution.v2.", "ActionCache/UpdateActionResult"),
    ("/build.bazel.remote.execution.v2.", "ContentAddressableStorage/FindMissingBlobs"),
    ("/build.bazel.remote.execution.v2.", "ContentAddressableStorage/BatchReadBlobs"),
    ("/build.bazel.remote.execution.v2.", "ContentAddressableStorage/BatchUpdateBlobs"),
    ("/build.bazel.remote.execution.v2.", "ContentAddressableStorage/GetTree"),
    ("/build.bazel.remote.execution.v2.", "ContentAddressableStorage/SplitBlob"),
    ("/build.bazel.remote.execution.v2.", "ContentAddressableStorage/SpliceBlob"),
    ("/build.bazel.remote.execution.v2.", "Capabilities/GetCapabilities"),
    ("/google.bytestream.", "ByteStream/QueryWriteStatus"),
    ("/build.bazel.remote.asset.v1.", "Fetch/FetchBlob"),
    ("/build.bazel.remote.asset.v1.", "Fetch/FetchDirectory"),
    ("/build.bazel.remote.asset.v1.", "Push/PushBlob"),
    ("/build.bazel.remote.asset.v1.", "Push/PushDirectory"),
    ("/grpc.health.v1.", "Health/Check"),
    ("/grpc.health.v1.", "Health/Watch"),
    ("/grpc.reflection.v1.", "ServerReflection/ServerReflectionInfo"),
];

/// Plain HTTP requests are known by their dialect and verb: the rest of their paths names blobs. What is in no dialect is
/// counted as the cache's own.
const HTTP: [(Dialect, &str); 28] = [
    (Dialect::Cache, "http/GET"),
    (Dialect::Cache, "http/HEAD"),
    (Dialect::Cache, "http/PUT"),
    (Dialect::Cache, "http/DELETE"),
    (Dialect::KeyValue, "kv/GET"),
    (Dialect::KeyValue, "kv/HEAD"),
    (Dialect::KeyValue, "kv/PUT"),
    (Dialect::KeyValue, "kv/DELETE"),
    (Dialect::Gradle, "gradle/GET"),
    (Dialect::Gradle, "gradle/HEAD"),
    (Dialect::Gradle, "gradle/PUT"),
    (Dialect::Gradle, "gradle/DELETE"),
    (Dialect::Turborepo, "turborepo/GET"),
    (Dialect::Turborepo, "turborepo/HEAD"),
    (Dialect::Turborepo, "turborepo/PUT"),
    (Dialect::Turborepo, "turborepo/POST"),
    (Dialect::Turborepo, "turborepo/OPTIONS"),
    (Dialect::Nx, "nx/GET"),
    (Dialect::Nx, "nx/HEAD"),
    (Dialect::Nx, "nx/PUT"),
    (Dialect::Nx, "nx/DELETE"),
    (Dialect::Sccache, "sccache/GET"),
    (Dialect::Sccache, "sccache/HEAD"),
    (Dialect::Sccache, "sccache/PUT"),
    (Dialect::Sccache, "sccache/DELETE"),
    (Dialect::Sccache, "sccache/PROPFIND"),
    (Dialect::Sccache, "sccache/MKCOL"),
    (Dialect::Sccache, "sccache/OPTIONS"),
];

impl Method {
    /// How many there are.
    pub(super) const COUNT: usize = RPCS.len() + HTTP.len() + 1;

    const OTHER: Self = Self(Self::COUNT - 1);

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// What `request` asks for.
    pub(super) fn of<B>(request: &Request<B>, is_grpc: bool) -> Self {
        let position = if is_grpc {
            let path = request.uri().path();
            RPCS.iter().position(|(package, label)| path.strip_prefix(package) == Some(label))
        } else {
            let path = request.uri().path();
            let place = Place::of(path.strip_prefix('/').unwrap_or(path));
            let dialect = place.map_or(Dialect::Cache, |place| place.dialect);
            let verb = request.method().as_str();
            let known = HTTP.iter().position(|(of, label)| {
                *of == dialect && label.rsplit_once('/').is_some_and(|(_, known)| known == verb)
            });
            known.map(|position| RPCS.len() + position)
        };
        position.map_or(Self::OTHER, Self)
    }

    /// As an index below [`Method::COUNT`].
    pub(super) fn index(self) -> usize {
        self.0
    }

    /// The metric label.
    pub(crate) fn label(self) -> &'static str {
        let rpc = RPCS.get(self.0).map(|(_, label)| *label);
        let http = || Some(HTTP.get(self.0 - RPCS.len())?.1);
        rpc.or_else(http).unwrap_or("other")
    }
}

/// The labels of all methods there are, the last of them for whatever is none.
pub fn method_labels() -> impl Iterator<Item = &'static str> {
    Method::all().map(Method::label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded() {
        let cas = "/build.bazel.remote.execution.v2.ContentAddressableStorage";
        for (verb, path, is_grpc, expect) in [
            ("POST", "/google.bytestream.ByteStream/Read", true, "ByteStream/Read"),
            ("POST", &format!("{cas}/GetTree"), true, "ContentAddressableStorage/GetTree"),
            ("POST", &format!("{cas}/GetTreeX"), true, "other"),
            ("POST", "/build.bazel.remote.asset.v1.Push/PushBlob", true, "Push/PushBlob"),
            ("POST", "/google.bytestream.ByteStream/Read", false, "other"),
            ("GET", "/cas/00", false, "http/GET"),
            ("PUT", "/any/instance/ac/00", false, "http/PUT"),
            ("DELETE", "/cas/00", false, "http/DELETE"),
            ("GET", "/", false, "http/GET"),
            ("DELETE", "/kv/00", false, "kv/DELETE"),
            ("GET", "/any/kv/cas/00", false, "kv/GET"),
            ("PUT", "/gradle/00", false, "gradle/PUT"),
            ("POST", "/v8/artifacts/events", false, "turborepo/POST"),
            ("GET", "/any/v1/cache/00", false, "nx/GET"),
            ("PROPFIND", "/sccache/a/", false, "sccache/PROPFIND"),
            ("PROPFIND", "/cas/00", false, "other"),
            ("BREW", "/cas/00", false, "other"),
        ] {
            let request = Request::builder().method(verb).uri(path).body(()).unwrap();
            assert_eq!(Method::of(&request, is_grpc).label(), expect, "{verb} {path}");
        }
    }

    #[test]
    fn no_label_stands_twice() {
        let labels: std::collections::HashSet<_> = Method::all().map(Method::label).collect();
        assert_eq!(labels.len(), Method::COUNT);
    }
}
