//! A load generator for any REAPI cache.
