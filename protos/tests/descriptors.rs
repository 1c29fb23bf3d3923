//! The descriptors for reflection hold every method that the generated services serve.

use larder_protos::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

fn check(service: &str, methods: &[&str]) {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a descriptor set");
    let (package, name) = service.rsplit_once('.').expect("a package");
    let described = set
        .file
        .iter()
        .filter(|file| file.package() == package)
        .flat_map(|file| &file.service)
        .find(|described| described.name() == name)
        .unwrap_or_else(|| panic!("{service} is not described"));
    for method in methods {
        let found = described.method.iter().any(|described| described.name() == *method);
        assert!(found, "{service}.{method} is not described");
    }
}

#[test]
fn every_method_is_described() {
    check("google.bytestream.ByteStream", &["Read", "Write", "QueryWriteStatus"]);
    check(
        "build.bazel.remote.execution.v2.ContentAddressableStorage",
        &[
            "FindMissingBlobs",
            "BatchUpdateBlobs",
            "BatchReadBlobs",
            "GetTree",
            "SplitBlob",
            "SpliceBlob",
        ],
    );
    check(
        "build.bazel.remote.execution.v2.ActionCache",
        &["GetActionResult", "UpdateActionResult"],
    );
    check("build.bazel.remote.execution.v2.Capabilities", &["GetCapabilities"]);
    check("build.bazel.remote.asset.v1.Fetch", &["FetchBlob", "FetchDirectory"]);
    check("build.bazel.remote.asset.v1.Push", &["PushBlob", "PushDirectory"]);
}

#[test]
fn every_import_is_there() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a descriptor set");
    let names: Vec<_> = set.file.iter().map(FileDescriptorProto::name).collect();
    for file in &set.file {
        for import in &file.dependency {
            assert!(names.contains(&&**import), "{} imports {import}", file.name());
        }
    }
}
