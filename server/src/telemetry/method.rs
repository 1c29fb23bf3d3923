//! [`Method`]: the names of calls that metrics may carry; a client cannot invent one.

use http::Request;

/// What a request asks for, as a metric label.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) struct Method(usize);

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

/// Plain HTTP requests are known by their verb: their paths name blobs. `other` is the last.
const REST: [&str; 5] = ["http/GET", "http/HEAD", "http/PUT", "http/DELETE", "other"];

impl Method {
    /// How many there are.
    pub(super) const COUNT: usize = RPCS.len() + REST.len();

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
            let verb = request.method().as_str();
            let known = REST.iter().position(|label| label.strip_prefix("http/") == Some(verb));
            known.map(|position| RPCS.len() + position)
        };
        position.map_or(Self::OTHER, Self)
    }

    /// As an index below [`Method::COUNT`].
    pub(super) fn index(self) -> usize {
        self.0
    }

    /// The metric label.
    pub(super) fn label(self) -> &'static str {
        RPCS.get(self.0).map_or_else(|| REST[self.0 - RPCS.len()], |(_, label)| label)
    }
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
            ("DELETE", "/kv/00", false, "http/DELETE"),
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
