//! Memory: what the control group and the kernel say of it, what the caches in memory may therefore hold, and what each has of it.

mod control_group;
mod hot_limit;
mod hot_memory;
mod pressure;

pub use self::control_group::{ControlGroup, GroupMemory};
pub use self::hot_limit::HotLimit;
pub use self::hot_memory::{HotMemory, HotShares};
pub use self::pressure::{MemoryReader, MemoryReading};
