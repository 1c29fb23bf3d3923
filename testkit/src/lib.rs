//! An in-process server, fault injection, a log checker.
