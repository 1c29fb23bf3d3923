//! [`Problem`]: what is wrong with a setting; [`Problems`]: all of it, found in one go.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use larder_protos::DigestFunction;

use super::ByteSize;
use super::settings::{SETTINGS, Setting};
use super::sources::VARIABLES;

/// Where a value came from, strongest first.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Debug)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The file that `--config` names.
    File {
        /// Its path.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The table of settings, or the machine.
    Default,
}

/// One thing that is wrong. The text begins with the path of the setting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text cannot be read.
    #[error("{key}: {:?} is not {expected} (from {})", without_user_info(value), origin.of(key))]
    Malformed {
        /// Which setting.
        key: &'static str,
        /// Its text.
        value: String,
        /// What would be right.
        expected: &'static str,
        /// Who said it.
        origin: Origin,
    },
    /// The value is outside its limits.
    #[error("{key}: {value} is {side} the limit of {limit} (from {})", origin.of(key))]
    OutOfRange {
        /// Which setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// `below` or `over`.
        side: &'static str,
        /// The limit that it breaks, and whose limit it is.
        limit: String,
        /// Who said it.
        origin: Origin,
    },
    /// What is to stay free leaves the cache next to nothing.
    #[error(
        "min_free_disk: {size} of a file system of {disk} leave less than {least} to the cache \
         (from {})",
        origin.of("min_free_disk")
    )]
    NoRoom {
        /// What is to stay free.
        size: ByteSize,
        /// How large the file system of the data directory is.
        disk: ByteSize,
        /// The least that a cache takes.
        least: ByteSize,
        /// Who said it.
        origin: Origin,
    },
    /// Nothing in the table of settings has this name.
    #[error("{key}: unknown setting{} (from {})", DidYouMean(key), origin.of(key))]
    Unknown {
        /// The name.
        key: String,
        /// Who said it.
        origin: Origin,
    },
    /// A variable of the environment that is named like a setting's, and is none.
    #[error("{name}: unknown setting{}", DidYouMeanVariable(name))]
    UnknownVariable {
        /// The name.
        name: String,
    },
    /// A table, an array or a date where one value belongs.
    #[error("{key}: {found} where one value belongs (from {})", origin.of(key))]
    NotOneValue {
        /// Which setting.
        key: String,
        /// With its article.
        found: &'static str,
        /// Who said it.
        origin: Origin,
    },
    /// Something else where settings belong.
    #[error("{key}: {found} where a table of settings belongs (from {})", origin.of(key))]
    NotATable {
        /// The name of the table.
        key: String,
        /// With its article.
        found: &'static str,
        /// Who said it.
        origin: Origin,
    },
    /// Something else in a list.
    #[error("{key}: its items are not all texts without commas (from {})", origin.of(key))]
    NotTexts {
        /// Which setting.
        key: String,
        /// Who said it.
        origin: Origin,
    },
    /// No default can be found on this machine.
    #[error("{key}: no default on this machine; {missing}")]
    NoDefault {
        /// Which setting.
        key: &'static str,
        /// What the default needs.
        missing: &'static str,
    },
    /// A digest function that is weak, and so has to be allowed first.
    #[error("default_digest_function: {function} is not in weak_digest_functions")]
    NotAllowed {
        /// The function.
        function: DigestFunction,
    },
    /// Two meanings of one hash.
    #[error("default_digest_function: {first} and {second} contradict each other")]
    Contradiction {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Clients and admin on one address.
    #[error("admin_listen: {address} is the address of listen as well")]
    SameAddress {
        /// The address.
        address: SocketAddr,
    },
    /// Reachable from other machines, and nobody is asked who they are.
    #[error(
        "{key}: {address} is reachable from other machines and there is no authentication; listen \
         on 127.0.0.1, give auth.credentials_file or tls.client_auth, or give --unsafe-anonymous if \
         everyone who can connect may read and write"
    )]
    Exposed {
        /// Which setting says so.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// Fetching is on, and nothing may be fetched.
    #[error("fetch.allow: names no host, but fetch.enabled is true; name those that may be asked")]
    NoHostAllowed,
    /// A setting that means nothing without another.
    #[error("{key}: needs {missing}")]
    Needs {
        /// Which setting.
        key: &'static str,
        /// The other.
        missing: &'static str,
    },
    /// Access control that lets nobody in.
    #[error(
        "{key}: nobody may do anything; give auth.credentials_file, or a role to auth.certificates \
         or auth.anonymous"
    )]
    NobodyAllowed {
        /// What turned it on.
        key: &'static str,
    },
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that a setting names cannot be read.
    #[error("{key}: {}: {source}", path.display())]
    Unreadable {
        /// Which setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
}

/// Everything that is wrong, in the order of the table; never empty.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl Origin {
    fn of(&self, key: &str) -> String {
        let setting = Setting::find(key);
        match (self, setting) {
            (Self::Flag, Some(setting)) => format!("--{}", setting.flag()),
            (Self::Environment, Some(setting)) => setting.variable(),
            (Self::File { path, line }, _) => format!("{}:{line}", path.display()),
            _ => "the default".to_owned(),
        }
    }
}

/// User and password of a URL are not shown, well formed or not: problems go to the log.
fn without_user_info(text: &str) -> Cow<'_, str> {
    let Some(end) = text.rfind('@') else { return text.into() };
    let begin = text[..end].find("://").map_or(0, |at| at + "://".len());
    format!("{}…{}", &text[..begin], &text[end..]).into()
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The nearest name, if one is near.
struct DidYouMean<'a>(&'a str);

/// Edits that still count as a slip of the finger.
const SLIP_EDITS_MAX: usize = 3;

/// The same for a variable.
struct DidYouMeanVariable<'a>(&'a str);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.setting() {
            Some(setting) => write!(f, "; did you mean {}?", setting.key),
            None => Ok(()),
        }
    }
}

impl fmt::Display for DidYouMeanVariable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.0.strip_prefix(VARIABLES).unwrap_or(self.0).to_ascii_lowercase();
        match DidYouMean(&key).setting() {
            Some(setting) => write!(f, "; did you mean {}?", setting.variable()),
            None => Ok(()),
        }
    }
}

impl DidYouMean<'_> {
    fn setting(&self) -> Option<&'static Setting> {
        // `capacity` and `hot-capacity` are not few edits away from `hot.capacity`, but meant.
        let flag = self.0.replace(['.', '_'], "-");
        let by_form = SETTINGS.iter().find(|setting| {
            let setting_flag = setting.flag();
            setting_flag == flag || setting_flag.ends_with(&format!("-{flag}"))
        });
        let by_edits = || {
            let distances = SETTINGS.iter().map(|setting| (edits(setting.key, self.0), setting));
            let nearest = distances.min_by_key(|(distance, _)| *distance);
            nearest.filter(|(distance, _)| *distance <= SLIP_EDITS_MAX).map(|(_, setting)| setting)
        };
        by_form.or_else(by_edits)
    }
}

/// Levenshtein's distance, row by row. Bounded by the callers' short names: a long `to` is cut.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (from_index, from_char) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = from_index + 1;
        for (to_index, to_char) in to.iter().enumerate() {
            let substituted = diagonal + usize::from(from_char != *to_char);
            diagonal = row[to_index + 1];
            row[to_index + 1] = substituted.min(diagonal + 1).min(row[to_index] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_meant() {
        for (key, expect) in [
            ("lisen", "; did you mean listen?"),
            ("max-size", "; did you mean max_size?"),
            ("hot_capacity", "; did you mean hot.capacity?"),
            ("capacity", "; did you mean hot.capacity?"),
            ("log.levle", "; did you mean log.level?"),
            ("flux_compensator", ""),
        ] {
            assert_eq!(DidYouMean(key).to_string(), expect, "{key}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        for (text, expect) in [
            ("http://u:secret@h:1", "http://…@h:1"),
            ("http://u:se@cr/et@h:1/x", "http://…@h:1/x"),
            ("u:secret@h", "…@h"),
            ("a, https://u:secret@h", "a, https://…@h"),
            ("http://h:1?a", "http://h:1?a"),
            ("", ""),
        ] {
            assert_eq!(without_user_info(text), expect);
        }
    }

    #[test]
    fn edits_are_counted() {
        for (from, to, expect) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)]
        {
            assert_eq!(edits(from, to), expect);
        }
    }
}
