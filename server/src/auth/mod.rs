//! Who calls, and what he may do: roles, credentials, the rule of each method.

mod role;

pub use self::role::Role;
