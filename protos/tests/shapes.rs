//! The shapes name every list of their messages, and nothing else.

use larder_protos::bounded::{Bounded, Field, Shape};
use larder_protos::{FILE_DESCRIPTOR_SET, asset, hot, reapi};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

const PACKAGE: &str = ".build.bazel.remote.execution.v2";
const ASSET_PACKAGE: &str = ".build.bazel.remote.asset.v1";

struct Descriptors(FileDescriptorSet);

impl Descriptors {
    /// The message of this full name, which begins with a dot.
    fn message(&self, name: &str) -> &DescriptorProto {
        let found = self.0.file.iter().find_map(|file| {
            let nested = name.strip_prefix(&format!(".{}.", file.package()))?;
            let mut parts = nested.split('.');
            let first = parts.next();
            let mut message = file.message_type.iter().find(|of| Some(of.name()) == first)?;
            for part in parts {
                message = message.nested_type.iter().find(|of| of.name() == part)?;
            }
            Some(message)
        });
        found.unwrap_or_else(|| panic!("{name} is not described"))
    }

    fn has_lists(&self, name: &str) -> bool {
        let holds = |field: &FieldDescriptorProto| match field.r#type() {
            _ if field.label() == Label::Repeated => true,
            Type::Message => self.has_lists(field.type_name()),
            _ => false,
        };
        self.message(name).field.iter().any(holds)
    }

    fn check(&self, name: &str, shape: &Shape) {
        let message = self.message(name);
        assert_eq!(message.name(), shape.name);
        let mut named = shape.fields.len();
        for field in &message.field {
            let number = u32::try_from(field.number()).expect("numbers are positive");
            let found = shape.fields.iter().find(|(named, _)| *named == number);
            let found = found.map(|(_, field)| *field);
            let list = field.label() == Label::Repeated;
            let holder = field.r#type() == Type::Message && self.has_lists(field.type_name());
            named -= usize::from(found.is_some());
            match (list, holder, found) {
                (false, false, None) => {}
                (true, true, Some(Field::Messages(shape)))
                | (false, true, Some(Field::Message(shape))) => {
                    self.check(field.type_name(), shape);
                }
                (true, false, Some(Field::Numbers)) => assert_eq!(field.r#type(), Type::Enum),
                (true, false, Some(Field::Values)) => {
                    let lengthy = [Type::Message, Type::String, Type::Bytes];
                    assert!(lengthy.contains(&field.r#type()), "{name}.{}", field.name());
                }
                _ => panic!("{name}.{} is {found:?}", field.name()),
            }
        }
        assert_eq!(named, 0, "the shape of {name} names fields that there are not");
    }

    fn check_asset<T: Bounded>(&self) {
        self.check(&format!("{ASSET_PACKAGE}.{}", T::SHAPE.name), T::SHAPE);
    }

    fn check_message<T: Bounded>(&self) {
        self.check(&format!("{PACKAGE}.{}", T::SHAPE.name), T::SHAPE);
    }
}

#[test]
fn every_list_is_in_its_shape() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a descriptor set");
    let descriptors = Descriptors(set);
    descriptors.check_message::<reapi::ActionResult>();
    descriptors.check_message::<reapi::Directory>();
    descriptors.check_message::<reapi::Tree>();
    descriptors.check_message::<reapi::GetActionResultRequest>();
    descriptors.check_message::<reapi::UpdateActionResultRequest>();
    descriptors.check_message::<reapi::FindMissingBlobsRequest>();
    descriptors.check_message::<reapi::FindMissingBlobsResponse>();
    descriptors.check_message::<hot::BatchUpdateBlobsRequest>();
    descriptors.check_message::<reapi::BatchUpdateBlobsResponse>();
    descriptors.check_message::<reapi::BatchReadBlobsRequest>();
    descriptors.check_message::<hot::BatchReadBlobsResponse>();
    descriptors.check_message::<reapi::GetTreeRequest>();
    descriptors.check_message::<reapi::SplitBlobRequest>();
    descriptors.check_message::<reapi::SplitBlobResponse>();
    descriptors.check_message::<reapi::SpliceBlobRequest>();
    descriptors.check_message::<reapi::SpliceBlobResponse>();
    descriptors.check_message::<reapi::GetCapabilitiesRequest>();
    descriptors.check_message::<reapi::ServerCapabilities>();
    descriptors.check_asset::<asset::FetchBlobRequest>();
    descriptors.check_asset::<asset::FetchBlobResponse>();
    descriptors.check_asset::<asset::FetchDirectoryRequest>();
    descriptors.check_asset::<asset::FetchDirectoryResponse>();
    descriptors.check_asset::<asset::PushBlobRequest>();
    descriptors.check_asset::<asset::PushBlobResponse>();
    descriptors.check_asset::<asset::PushDirectoryRequest>();
    descriptors.check_asset::<asset::PushDirectoryResponse>();
}
