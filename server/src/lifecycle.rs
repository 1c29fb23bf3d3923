//! [`Lifecycle`]: starting, serving or draining, as `/readyz` tells it.

use std::sync::atomic::{AtomicU8, Ordering};

/// What the server is doing; it only moves forward.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
#[repr(u8)]
pub enum Phase {
    /// The store is being opened.
    Starting,
    /// Clients are served.
    Serving,
    /// No new connections; requests in flight may end.
    Draining,
}

/// The phase, for many readers.
#[derive(Debug, Default)]
pub struct Lifecycle(AtomicU8);

impl Phase {
    /// The word that `/readyz` and `/statusz` show.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

impl Lifecycle {
    /// The phase at this moment.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            phase if phase == Phase::Starting as u8 => Phase::Starting,
            phase if phase == Phase::Serving as u8 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// Moves on; a step back, such as serving after draining has begun, is ignored.
    pub fn advance(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moves_forward() {
        let lifecycle = Lifecycle::default();
        assert_eq!(lifecycle.phase(), Phase::Starting);
        for (step, expect) in [
            (Phase::Serving, Phase::Serving),
            (Phase::Draining, Phase::Draining),
            (Phase::Serving, Phase::Draining),
        ] {
            lifecycle.advance(step);
            assert_eq!(lifecycle.phase(), expect);
        }
    }
}
