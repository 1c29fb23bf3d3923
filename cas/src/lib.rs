//! The blob port, its tiers and its decorators.
