//! Who calls, and what he may do: credentials, roles, the need of each call.
//!
//! [`Authorized`] stands before both ports and asks [`Access`], which knows what a request shows and what its connection has
//! shown. docs/operate/security.md says it for operators, docs/adr/0011-credentials.md why.

mod access;
mod authorized;
mod certificate;
mod credentials;
mod guesses;
mod orderer;
mod peer;
mod presented;
mod refusal;
mod role;
mod rules;
mod secret;
mod verified;

pub use self::access::Access;
pub(crate) use self::access::Granted;
pub use self::authorized::{Authorized, AuthorizedFuture, Port};
pub(crate) use self::certificate::{certificate_expiry, certificate_names};
pub(crate) use self::credentials::name_of;
pub use self::credentials::{
    Credentials, CredentialsError, CredentialsFile, Identity, LineError, open_credentials,
};
pub use self::orderer::Orderer;
pub use self::peer::{Peer, WithPeer};
pub use self::refusal::{Refusal, RefusalCounts};
pub use self::role::Role;
pub use self::secret::HashError;
pub(crate) use self::secret::{Password, TOKEN_BYTES_MIN, TokenHash};
