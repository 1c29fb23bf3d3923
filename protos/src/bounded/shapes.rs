//! The shapes of the messages that are decoded from outside, and which limit each has.
//!
//! Source: `remote_execution.proto`, `remote_asset.proto`; `tests/shapes.rs` holds these tables against its descriptors.

use super::{Bounded, Field, Limit, Shape};
use crate::{asset, bytestream, hot, reapi};

const NODE_PROPERTIES: Shape = Shape { name: "NodeProperties", fields: &[(1, Field::Values)] };

const OUTPUT_FILE: Shape =
    Shape { name: "OutputFile", fields: &[(7, Field::Message(&NODE_PROPERTIES))] };

const OUTPUT_SYMLINK: Shape =
    Shape { name: "OutputSymlink", fields: &[(4, Field::Message(&NODE_PROPERTIES))] };

const EXECUTED_ACTION_METADATA: Shape =
    Shape { name: "ExecutedActionMetadata", fields: &[(11, Field::Values)] };

/// `ActionResult`.
pub(super) const ACTION_RESULT: Shape = Shape {
    name: "ActionResult",
    fields: &[
        (2, Field::Messages(&OUTPUT_FILE)),
        (3, Field::Values),
        (9, Field::Message(&EXECUTED_ACTION_METADATA)),
        (10, Field::Messages(&OUTPUT_SYMLINK)),
        (11, Field::Messages(&OUTPUT_SYMLINK)),
        (12, Field::Messages(&OUTPUT_SYMLINK)),
    ],
};

const FILE_NODE: Shape =
    Shape { name: "FileNode", fields: &[(6, Field::Message(&NODE_PROPERTIES))] };

const SYMLINK_NODE: Shape =
    Shape { name: "SymlinkNode", fields: &[(4, Field::Message(&NODE_PROPERTIES))] };

/// `Directory`.
const DIRECTORY: Shape = Shape {
    name: "Directory",
    fields: &[
        (1, Field::Messages(&FILE_NODE)),
        (2, Field::Values),
        (3, Field::Messages(&SYMLINK_NODE)),
        (5, Field::Message(&NODE_PROPERTIES)),
    ],
};

/// `Tree`.
pub(super) const TREE: Shape = Shape {
    name: "Tree",
    fields: &[(1, Field::Message(&DIRECTORY)), (2, Field::Messages(&DIRECTORY))],
};

const STATUS: Shape = Shape { name: "Status", fields: &[(3, Field::Values)] };

macro_rules! bounded {
    ($($message:ty, $name:literal, $limit:expr, [$($field:expr),*];)*) => {$(
        impl Bounded for $message {
            const SHAPE: &'static Shape = &Shape { name: $name, fields: &[$($field),*] };
            const LIMIT: Limit = $limit;
        }
    )*};
}

impl Bounded for reapi::ActionResult {
    const SHAPE: &'static Shape = &ACTION_RESULT;
    const LIMIT: Limit = Limit::OUTPUTS;
}

impl Bounded for reapi::Tree {
    const SHAPE: &'static Shape = &TREE;
    const LIMIT: Limit = Limit::OUTPUTS;
}

impl Bounded for reapi::Directory {
    const SHAPE: &'static Shape = &DIRECTORY;
    const LIMIT: Limit = Limit::OUTPUTS;
}

bounded! {
    reapi::GetActionResultRequest, "GetActionResultRequest", Limit::HINTS, [(5, Field::Values)];
    reapi::UpdateActionResultRequest, "UpdateActionResultRequest", Limit::OUTPUTS,
        [(3, Field::Message(&ACTION_RESULT))];
    // What stands in the result is counted when that is decoded.
    hot::UpdateActionResultRequest, "UpdateActionResultRequest", Limit::DIGESTS,
        [(3, Field::Values)];
    reapi::FindMissingBlobsRequest, "FindMissingBlobsRequest", Limit::DIGESTS, [(2, Field::Values)];
    reapi::FindMissingBlobsResponse, "FindMissingBlobsResponse", Limit::DIGESTS,
        [(2, Field::Values)];
    hot::BatchUpdateBlobsRequest, "BatchUpdateBlobsRequest", Limit::BATCH, [(2, Field::Values)];
    reapi::BatchUpdateBlobsResponse, "BatchUpdateBlobsResponse", Limit::OUTPUTS,
        [(1, Field::Messages(&BATCH_UPDATE_RESPONSE))];
    reapi::BatchReadBlobsRequest, "BatchReadBlobsRequest", Limit::BATCH,
        [(2, Field::Values), (3, Field::Numbers)];
    hot::BatchReadBlobsResponse, "BatchReadBlobsResponse", Limit::OUTPUTS,
        [(1, Field::Messages(&BATCH_READ_RESPONSE))];
    reapi::GetTreeRequest, "GetTreeRequest", Limit::OUTPUTS, [];
    hot::GetTreeResponse, "GetTreeResponse", Limit::OUTPUTS, [(1, Field::Values)];
    reapi::SplitBlobRequest, "SplitBlobRequest", Limit::DIGESTS, [];
    reapi::SplitBlobResponse, "SplitBlobResponse", Limit::DIGESTS, [(1, Field::Values)];
    reapi::SpliceBlobRequest, "SpliceBlobRequest", Limit::DIGESTS, [(3, Field::Values)];
    reapi::SpliceBlobResponse, "SpliceBlobResponse", Limit::DIGESTS, [];
    reapi::GetCapabilitiesRequest, "GetCapabilitiesRequest", Limit::OUTPUTS, [];
    reapi::ServerCapabilities, "ServerCapabilities", Limit::OUTPUTS,
        [(1, Field::Message(&CACHE_CAPABILITIES)), (2, Field::Message(&EXECUTION_CAPABILITIES))];
    bytestream::ReadRequest, "ReadRequest", Limit::OUTPUTS, [];
    bytestream::ReadResponse, "ReadResponse", Limit::OUTPUTS, [];
    bytestream::WriteRequest, "WriteRequest", Limit::OUTPUTS, [];
    bytestream::WriteResponse, "WriteResponse", Limit::OUTPUTS, [];
    bytestream::QueryWriteStatusRequest, "QueryWriteStatusRequest", Limit::OUTPUTS, [];
    bytestream::QueryWriteStatusResponse, "QueryWriteStatusResponse", Limit::OUTPUTS, [];
    asset::FetchBlobRequest, "FetchBlobRequest", Limit::ASSETS,
        [(4, Field::Values), (5, Field::Values)];
    asset::FetchBlobResponse, "FetchBlobResponse", Limit::ASSETS,
        [(1, Field::Message(&STATUS)), (3, Field::Values)];
    asset::FetchDirectoryRequest, "FetchDirectoryRequest", Limit::ASSETS,
        [(4, Field::Values), (5, Field::Values)];
    asset::FetchDirectoryResponse, "FetchDirectoryResponse", Limit::ASSETS,
        [(1, Field::Message(&STATUS)), (3, Field::Values)];
    asset::PushBlobRequest, "PushBlobRequest", Limit::DIGESTS,
        [(2, Field::Values), (3, Field::Values), (6, Field::Values), (7, Field::Values)];
    asset::PushBlobResponse, "PushBlobResponse", Limit::ASSETS, [];
    asset::PushDirectoryRequest, "PushDirectoryRequest", Limit::DIGESTS,
        [(2, Field::Values), (3, Field::Values), (6, Field::Values), (7, Field::Values)];
    asset::PushDirectoryResponse, "PushDirectoryResponse", Limit::ASSETS, [];
}

const PRIORITY_CAPABILITIES: Shape =
    Shape { name: "PriorityCapabilities", fields: &[(1, Field::Values)] };

const CACHE_CAPABILITIES: Shape = Shape {
    name: "CacheCapabilities",
    fields: &[
        (1, Field::Numbers),
        (3, Field::Message(&PRIORITY_CAPABILITIES)),
        (6, Field::Numbers),
        (7, Field::Numbers),
    ],
};

const EXECUTION_CAPABILITIES: Shape = Shape {
    name: "ExecutionCapabilities",
    fields: &[(3, Field::Message(&PRIORITY_CAPABILITIES)), (4, Field::Values), (5, Field::Numbers)],
};

const BATCH_UPDATE_RESPONSE: Shape =
    Shape { name: "Response", fields: &[(2, Field::Message(&STATUS))] };

const BATCH_READ_RESPONSE: Shape =
    Shape { name: "Response", fields: &[(3, Field::Message(&STATUS))] };
