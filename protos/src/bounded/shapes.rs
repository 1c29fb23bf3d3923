//! The shapes of the messages that are decoded from outside, and which limit each has.
//!
//! Source: `remote_execution.proto`; `tests/shapes.rs` holds these tables against its descriptors.

use super::{Bounded, Field, MAX_BATCH_ELEMENTS, MAX_ELEMENTS, Shape};
use crate::{hot, reapi};

const NODE_PROPERTIES: Shape = Shape { name: "NodeProperties", fields: &[(1, Field::Values)] };

const OUTPUT_FILE: Shape =
    Shape { name: "OutputFile", fields: &[(7, Field::Message(&NODE_PROPERTIES))] };

const OUTPUT_SYMLINK: Shape =
    Shape { name: "OutputSymlink", fields: &[(4, Field::Message(&NODE_PROPERTIES))] };

const EXECUTED_ACTION_METADATA: Shape =
    Shape { name: "ExecutedActionMetadata", fields: &[(11, Field::Values)] };

/// `ActionResult`.
pub const ACTION_RESULT: Shape = Shape {
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
pub const DIRECTORY: Shape = Shape {
    name: "Directory",
    fields: &[
        (1, Field::Messages(&FILE_NODE)),
        (2, Field::Values),
        (3, Field::Messages(&SYMLINK_NODE)),
        (5, Field::Message(&NODE_PROPERTIES)),
    ],
};

/// `Tree`.
pub const TREE: Shape = Shape {
    name: "Tree",
    fields: &[(1, Field::Message(&DIRECTORY)), (2, Field::Messages(&DIRECTORY))],
};

const STATUS: Shape = Shape { name: "Status", fields: &[(3, Field::Values)] };

macro_rules! bounded {
    ($($message:ty, $name:literal, $limit:expr, [$($field:expr),*];)*) => {$(
        impl Bounded for $message {
            const SHAPE: &'static Shape = &Shape { name: $name, fields: &[$($field),*] };
            const MAX_ELEMENTS: usize = $limit;
        }
    )*};
}

impl Bounded for reapi::ActionResult {
    const SHAPE: &'static Shape = &ACTION_RESULT;
    const MAX_ELEMENTS: usize = MAX_ELEMENTS;
}

impl Bounded for reapi::Directory {
    const SHAPE: &'static Shape = &DIRECTORY;
    const MAX_ELEMENTS: usize = MAX_ELEMENTS;
}

bounded! {
    reapi::GetActionResultRequest, "GetActionResultRequest", MAX_BATCH_ELEMENTS,
        [(5, Field::Values)];
    reapi::UpdateActionResultRequest, "UpdateActionResultRequest", MAX_ELEMENTS,
        [(3, Field::Message(&ACTION_RESULT))];
    reapi::FindMissingBlobsRequest, "FindMissingBlobsRequest", MAX_ELEMENTS, [(2, Field::Values)];
    reapi::FindMissingBlobsResponse, "FindMissingBlobsResponse", MAX_ELEMENTS, [(2, Field::Values)];
    hot::BatchUpdateBlobsRequest, "BatchUpdateBlobsRequest", MAX_BATCH_ELEMENTS,
        [(2, Field::Values)];
    reapi::BatchUpdateBlobsResponse, "BatchUpdateBlobsResponse", MAX_ELEMENTS,
        [(1, Field::Messages(&BATCH_UPDATE_RESPONSE))];
    reapi::BatchReadBlobsRequest, "BatchReadBlobsRequest", MAX_BATCH_ELEMENTS,
        [(2, Field::Values), (3, Field::Numbers)];
    hot::BatchReadBlobsResponse, "BatchReadBlobsResponse", MAX_ELEMENTS,
        [(1, Field::Messages(&BATCH_READ_RESPONSE))];
    reapi::GetTreeRequest, "GetTreeRequest", MAX_ELEMENTS, [];
    hot::GetTreeResponse, "GetTreeResponse", MAX_ELEMENTS, [(1, Field::Values)];
}

const BATCH_UPDATE_RESPONSE: Shape =
    Shape { name: "Response", fields: &[(2, Field::Message(&STATUS))] };

const BATCH_READ_RESPONSE: Shape =
    Shape { name: "Response", fields: &[(3, Field::Message(&STATUS))] };
