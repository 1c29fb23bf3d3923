//! Real clients against the built binary, and the conformance kit.
