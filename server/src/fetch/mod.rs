//! Fetching from an origin over HTTP(S), for Remote Asset. Off unless configured.
//!
//! Whoever names a URI decides where this server connects, from inside its network. So the rules of what may be asked
//! ([`HostRules`]) and of where may be connected to ([`AddressRules`]) hold for the first URL and for every redirect, and
//! the address that is checked is the one that is connected to. The rules are pure; `connect` and `origin` do the I/O.

mod addresses;
mod connect;
mod error;
mod headers;
mod hosts;
mod integrity;
mod origin;
mod settings;
mod stats;

pub use addresses::{AddressRules, Network, Networks};
pub use error::{FetchError, FetchFault};
pub use headers::{HeaderError, OriginHeaders};
pub use hosts::HostRules;
pub use integrity::{Integrity, IntegrityError};
pub use origin::{Origin, OriginBody};
pub use settings::FetchSettings;
pub use stats::FetchStats;
