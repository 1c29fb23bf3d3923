//! Memory: what the control group and the kernel say of it, and what the hot tier may therefore hold.

mod control_group;
mod hot_limit;
mod pressure;

pub use self::control_group::{ControlGroup, GroupMemory};
pub use self::hot_limit::HotLimit;
pub use self::pressure::{MemoryReader, MemoryReading};
