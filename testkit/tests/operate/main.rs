//! What an operator relies on: metrics that count exactly, and documents that say what is so.

mod deltas;
mod documents;
mod guarded;
mod page;
mod reference;
mod traffic;
