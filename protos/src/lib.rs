//! The protocol's messages and services, and the spec's words as pure types.
