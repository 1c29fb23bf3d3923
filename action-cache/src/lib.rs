//! The action port, completeness and inlining.
