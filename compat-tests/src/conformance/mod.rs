//! `larder-conformance`: does a REAPI cache keep the protocol's rules? Black box, one named case for each rule.
//!
//! Nothing here knows Larder: what the kit sees of a server is its address. How it is laid out:
//!
//! - `case` says what a case is, `cases/` has them all by topic, `catalogue` lists the topics.
//! - A case gets a `context::Cx`: connections and random bytes of its own, and the calls of `calls/`. `expect` judges answers.
//! - `runner` tries the selected cases, each with a time limit; `report` says what came of it.
//!
//! A case never depends on another, nor on an empty server: its blobs are its own, from a seed that is printed.

#![allow(clippy::doc_markdown, reason = "rules are printed, and full of the specification's names")]

mod announced;
mod calls;
mod case;
mod cases;
mod catalogue;
mod compression;
mod context;
mod digest;
mod entropy;
mod expect;
mod options;
mod outcome;
mod report;
mod runner;
mod selection;
mod target;

pub use options::{Arguments, run};
