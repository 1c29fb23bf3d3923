//! [`FetchSettings`]: what an operator allows to be fetched.

use std::path::PathBuf;
use std::time::Duration;

use super::{HostRules, Networks};
use crate::config::ByteSize;

/// What may be fetched from origins, the section `fetch` of the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FetchSettings {
    /// Which hosts may be asked.
    pub allow: HostRules,
    /// Which addresses that are not public may be connected to.
    pub allow_addresses: Networks,
    /// How long a retrieval may take.
    pub timeout: Duration,
    /// The largest body.
    pub max_size: ByteSize,
    /// Whether what comes without a checksum is taken.
    pub unchecked: bool,
    /// Certificates of authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}
