//! The action stores over a real engine.

mod complete;
mod conformance;
mod fixture;
mod hot;
mod hot_over_disk;
mod memory;
