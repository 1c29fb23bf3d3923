//! [`InstanceName`]: which instance of a service a client speaks to.

use std::fmt;
use std::sync::Arc;

use crate::ParseError;
use crate::error::shown;

/// The longest instance name.
const MAX_BYTES: usize = 255;

/// The words that resource names need for themselves. Source: "resource names" in `remote_execution.proto`.
const RESERVED: [&str; 7] = [
    "blobs",
    "uploads",
    "actions",
    "actionResults",
    "operations",
    "capabilities",
    "compressed-blobs",
];

/// An opaque name of any number of segments, none included. Cheap to clone.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InstanceName(Arc<str>);

impl InstanceName {
    /// Refuses names that are too long, or that would make resource names ambiguous.
    pub fn parse(name: &str) -> Result<Self, ParseError> {
        if name.len() > MAX_BYTES {
            return Err(ParseError::InstanceNameLength {
                shown: shown(name),
                actual_bytes: name.len(),
                limit_bytes: MAX_BYTES,
            });
        }
        for segment in name.split('/').filter(|_| !name.is_empty()) {
            if segment.is_empty() {
                return Err(ParseError::EmptySegment { shown: shown(name) });
            }
            if let Some(segment) = RESERVED.into_iter().find(|reserved| *reserved == segment) {
                return Err(ParseError::ReservedSegment { shown: shown(name), segment });
            }
        }
        Ok(Self(name.into()))
    }

    /// The name as clients write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expect: bool) {
        let parsed = InstanceName::parse(name);
        assert_eq!(parsed.is_ok(), expect, "{name:?}: {parsed:?}");
    }

    #[test]
    fn any_unambiguous_name_is_taken() {
        check("", true);
        check("main", true);
        check("a/b/c d/ü", true);
        check("blobs2", true);
        check(&"x".repeat(255), true);
        check(&"x".repeat(256), false);
        check("blobs", false);
        check("a/uploads", false);
        check("compressed-blobs/x", false);
        check("a//b", false);
        check("/a", false);
        check("a/", false);
        check("/", false);
    }
}
