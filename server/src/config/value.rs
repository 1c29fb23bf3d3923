//! [`Value`]: how the text of a setting is read and shown, one type after the other.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use larder_disk::EvictionPolicy;
use tracing_subscriber::EnvFilter;

use super::{ByteSize, Durability, LogFilter, LogFormat};
use crate::fetch::{HostRules, Networks};

/// A type that a setting can have. What [`Value::show`] gives, [`Value::read`] takes.
pub(super) trait Value: Sized {
    /// Completes the sentence "… is not".
    const EXPECTED: &'static str;

    fn read(text: &str) -> Option<Self>;

    fn show(&self) -> String;
}

impl Value for SocketAddr {
    const EXPECTED: &'static str = "an address such as 127.0.0.1:8980 or [::1]:8980";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// With commas between, and spaces where one likes.
impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(text: &str) -> Option<Self> {
        text.split(',').map(|item| T::read(item.trim())).collect()
    }

    fn show(&self) -> String {
        self.iter().map(Value::show).collect::<Vec<_>>().join(",")
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('\0')).then(|| Self::from(text))
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size such as 512MiB, 1.5GiB or a plain number of bytes";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a duration such as 500ms, 30s or 3h";

    fn read(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }

    fn show(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

impl Value for NonZeroUsize {
    const EXPECTED: &'static str = "a whole number from 1 on";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for i32 {
    const EXPECTED: &'static str = "a whole number";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for LogFilter {
    const EXPECTED: &'static str = "a log filter such as info or warn,larder_disk=debug";

    fn read(text: &str) -> Option<Self> {
        let readable = !text.is_empty() && EnvFilter::builder().parse(text).is_ok();
        readable.then(|| Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Value for LogFormat {
    const EXPECTED: &'static str = "auto, human or json";

    fn read(text: &str) -> Option<Self> {
        [Self::Auto, Self::Human, Self::Json].into_iter().find(|format| format.show() == text)
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
        .to_owned()
    }
}

impl Value for HostRules {
    const EXPECTED: &'static str =
        "a list of hosts such as github.com, *.example.com or mirror.corp:8443";

    fn read(text: &str) -> Option<Self> {
        Self::parse(text).filter(|list| !list.is_empty())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Networks {
    const EXPECTED: &'static str = "a list of addresses such as 10.1.0.0/16 or fd00::1";

    fn read(text: &str) -> Option<Self> {
        Self::parse(text).filter(|list| !list.is_empty())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for EvictionPolicy {
    const EXPECTED: &'static str = "lru, lfu, arc or s3-fifo";

    fn read(text: &str) -> Option<Self> {
        Self::named(text)
    }

    fn show(&self) -> String {
        self.name().to_owned()
    }
}

/// `durability` without the interval, which is a setting of its own.
#[derive(Copy, Clone)]
pub(super) enum DurabilityWord {
    Interval,
    Sync,
}

impl From<Durability> for DurabilityWord {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Interval(_) => Self::Interval,
            Durability::Sync => Self::Sync,
        }
    }
}

impl Value for DurabilityWord {
    const EXPECTED: &'static str = "interval or sync";

    fn read(text: &str) -> Option<Self> {
        match text {
            "interval" => Some(Self::Interval),
            "sync" => Some(Self::Sync),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Interval => "interval",
            Self::Sync => "sync",
        }
        .to_owned()
    }
}
