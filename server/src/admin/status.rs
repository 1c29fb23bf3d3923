//! [`Status`]: what `/statusz` says, as text for people and as JSON; one structure for both.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::usage_report::UsageReport;
use crate::config::ListenAddress;

/// Where a server really listens.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Addresses {
    /// For clients.
    #[serde(serialize_with = "joined")]
    pub listen: Vec<ListenAddress>,
    /// For health, metrics and status.
    pub admin: SocketAddr,
}

/// What `/statusz` says.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Of the package.
    pub version: &'static str,
    /// `starting`, `serving` or `draining`.
    pub phase: &'static str,
    /// Since the admin port was opened.
    pub uptime_seconds: u64,
    /// Where it listens.
    pub addresses: Addresses,
    /// The stores and their decorators; absent until they are open.
    pub stack: Option<String>,
    /// What the stores hold; absent until they are open.
    pub usage: Option<UsageReport>,
    /// The settings in effect.
    pub config: BTreeMap<&'static str, String>,
}

impl Addresses {
    /// Those for clients in one text, as the setting has them.
    pub fn listen_text(&self) -> String {
        text(&self.listen)
    }
}

fn text(listen: &[ListenAddress]) -> String {
    listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn joined<S: Serializer>(listen: &[ListenAddress], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&text(listen))
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        write_lines(f, "", &value)
    }
}

/// A value as text: a line for each that is in it.
#[derive(Debug)]
pub struct Lines<'a>(pub &'a Value);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, "", self.0)
    }
}

/// One line for each value, under its path.
fn write_lines(f: &mut fmt::Formatter<'_>, path: &str, value: &Value) -> fmt::Result {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            let separator = if path.is_empty() { "" } else { "." };
            write_lines(f, &format!("{path}{separator}{name}"), value)
        }),
        Value::String(text) => writeln!(f, "{path:<32} {text}"),
        Value::Null => Ok(()),
        other => writeln!(f, "{path:<32} {other}"),
    }
}
