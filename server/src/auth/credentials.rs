//! [`Credentials`]: the file that says who may do what.
//!
//! A line for each way to show who one is: `NAME ROLE KIND VALUE`, with spaces between.
//!
//! ```text
//! ci       write  token        sha256:2cf2…
//! alice    read   password     $argon2id$v=19$…
//! builder  write  certificate  DNS:builder.example.com
//! ```
//!
//! A name may have several lines, as when a token is about to be replaced. `#` begins a comment. Errors name the line and
//! never show it, since somebody may have written a secret where its hash belongs.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::role::Role;
use super::secret::{HashError, Password, TokenHash};
use super::verified::{MemoryKey, Verified};
use crate::bounded_read::bounded_read;
use crate::from_files::{FILE_BYTES_MAX, FromFiles};

/// The file, read again when it changes.
pub type CredentialsFile = FromFiles<Credentials, CredentialsError>;

/// Who somebody is, and what he may do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// As the file has it.
    pub name: Arc<str>,
    /// What he may do.
    pub role: Role,
}

/// Everybody the file knows.
#[derive(Debug, Default)]
pub struct Credentials {
    /// By the beginnings of their hashes.
    tokens: HashMap<[u8; 8], Vec<(TokenHash, Identity)>>,
    /// By name.
    passwords: HashMap<Arc<str>, Vec<Arc<PasswordEntry>>>,
    certificates: HashMap<String, Identity>,
}

/// One password of somebody.
#[derive(Debug)]
pub(crate) struct PasswordEntry {
    pub(crate) password: Password,
    pub(crate) identity: Identity,
    /// What showed to be this password, so that it need not be hashed slowly again.
    pub(crate) verified: Verified,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("auth.credentials_file: {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is empty, as it is for a moment while somebody writes it.
    #[error(
        "auth.credentials_file: {} is empty; where nobody shall come in, let it have a comment",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom {
        /// What it said.
        source: getrandom::Error,
    },
    /// A line that is no credential.
    #[error("{}:{line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: LineError,
    },
}

/// What is wrong with a line. Nothing of the line is shown: it may be a secret.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// Fewer than four words, or more where none belong.
    #[error("a line is NAME ROLE KIND VALUE, and only the value of a certificate has blanks in it")]
    Words,
    /// A name with other signs in it.
    #[error("the name is not 1 to 64 letters, digits and any of .-_@")]
    Name,
    /// No role.
    #[error("the role is not read, write or admin")]
    Role,
    /// No kind.
    #[error("the kind is not token, password or certificate")]
    Kind,
    /// The value of a token or a password.
    #[error("the value {0}")]
    Hash(#[from] HashError),
    /// The value of a certificate.
    #[error("the value does not begin with DNS:, URI:, EMAIL: or CN:")]
    CertificateName,
    /// A token or a name of a certificate that another line has.
    #[error("another line has the same value")]
    Twice,
}

const CERTIFICATE_KINDS: [&str; 4] = ["DNS:", "URI:", "EMAIL:", "CN:"];

/// Reads the file, and watches over it.
pub fn open_credentials(path: &Path) -> Result<CredentialsFile, CredentialsError> {
    let path = path.to_owned();
    let mut key = MemoryKey::default();
    getrandom::fill(&mut key.0).map_err(|source| CredentialsError::NoRandom { source })?;
    FromFiles::open(vec![path.clone()], move || {
        let text = bounded_read(&path, FILE_BYTES_MAX);
        let text = text.map_err(|source| CredentialsError::File { path: path.clone(), source })?;
        if text.trim().is_empty() {
            return Err(CredentialsError::Empty { path: path.clone() });
        }
        Credentials::parse(&text, key).map_err(|(line, source)| CredentialsError::Line {
            path: path.clone(),
            line,
            source,
        })
    })
}

impl Credentials {
    /// Reads the lines; of the first that is wrong, its number and why.
    pub(crate) fn parse(text: &str, key: MemoryKey) -> Result<Self, (usize, LineError)> {
        let mut credentials = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = uncommented(line);
            if !line.is_empty() {
                credentials.add(line, key).map_err(|error| (index + 1, error))?;
            }
        }
        Ok(credentials)
    }

    fn add(&mut self, line: &str, key: MemoryKey) -> Result<(), LineError> {
        let (name, rest) = first_word(line)?;
        let (role, rest) = first_word(rest)?;
        let (kind, value) = first_word(rest)?;
        if kind != "certificate" && value.contains(is_blank) {
            return Err(LineError::Words);
        }
        let name = name_of(name)?;
        let role = Role::named(role).ok_or(LineError::Role)?;
        let identity = Identity { name, role };
        match kind {
            "token" => {
                let hash = TokenHash::parse(value)?;
                let place = self.tokens.entry(hash.prefix()).or_default();
                if place.iter().any(|(other, _)| *other == hash) {
                    return Err(LineError::Twice);
                }
                place.push((hash, identity));
            }
            "password" => {
                let password = Password::parse(value)?;
                let of_name = self.passwords.entry(Arc::clone(&identity.name)).or_default();
                let verified = Verified::new(key);
                of_name.push(Arc::new(PasswordEntry { password, identity, verified }));
            }
            "certificate" => {
                if !CERTIFICATE_KINDS.iter().any(|kind| value.starts_with(kind)) {
                    return Err(LineError::CertificateName);
                }
                if self.certificates.insert(value.to_owned(), identity).is_some() {
                    return Err(LineError::Twice);
                }
            }
            _ => return Err(LineError::Kind),
        }
        Ok(())
    }

    /// Whose token it is.
    pub(crate) fn by_token(&self, token: &[u8]) -> Option<&Identity> {
        let hash = TokenHash::of(token);
        let place = self.tokens.get(&hash.prefix())?;
        place.iter().find(|(other, _)| *other == hash).map(|(_, identity)| identity)
    }

    /// The passwords of that name.
    pub(crate) fn passwords_of(&self, name: &str) -> &[Arc<PasswordEntry>] {
        self.passwords.get(name).map_or(&[], Vec::as_slice)
    }

    /// Some password, to be checked in place of one of a name that does not exist, which then takes as long.
    pub(crate) fn decoy(&self) -> Option<&Arc<PasswordEntry>> {
        self.passwords.values().next()?.first()
    }

    /// Whose certificate has one of these names; the first that anybody has counts.
    pub(crate) fn by_certificate(&self, names: &[String]) -> Option<&Identity> {
        names.iter().find_map(|name| self.certificates.get(name))
    }
}

/// What stands before a comment, which begins with `#` at the start or after a blank: URIs may have one within.
fn uncommented(line: &str) -> &str {
    let begins = |at: &usize| line[..*at].chars().next_back().is_none_or(is_blank);
    let end = line.match_indices('#').map(|(at, _)| at).find(begins).unwrap_or(line.len());
    line[..end].trim_matches(is_blank)
}

/// The first word of a line, and the rest, of which there must be some.
fn first_word(line: &str) -> Result<(&str, &str), LineError> {
    let (word, rest) = line.split_once(is_blank).ok_or(LineError::Words)?;
    Ok((word, rest.trim_start_matches(is_blank)))
}

fn is_blank(character: char) -> bool {
    character.is_ascii_whitespace()
}

/// The name that a line may have.
pub(crate) fn name_of(text: &str) -> Result<Arc<str>, LineError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(text.into());
    }
    Err(LineError::Name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_files::Refreshed;

    fn line_error(text: &str) -> Option<(usize, LineError)> {
        Credentials::parse(text, MemoryKey::default()).err()
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        let hash = TokenHash::of(b"secret");
        let good = format!("ci write token {hash}");
        assert_eq!(line_error(&format!("# comment\n\n{good} # why\n")), None);
        assert_eq!(line_error(""), None);
        for (line, expect) in [
            ("ci write token", LineError::Words),
            ("ci write token secret more", LineError::Words),
            ("c:i write token x", LineError::Name),
            ("ci root token x", LineError::Role),
            ("ci write secret x", LineError::Kind),
            ("ci write token secret", LineError::Hash(HashError::Form)),
            ("ci write password secret", LineError::Hash(HashError::Form)),
            ("ci write certificate ci", LineError::CertificateName),
            (&good.replace("ci", "other"), LineError::Twice),
        ] {
            let error = line_error(&format!("{good}\n{line}"));
            assert!(!format!("{error:?}").contains("secret"), "{line}");
            assert_eq!(error, Some((2, expect)), "{line}");
        }
    }

    #[test]
    fn a_file_that_is_being_written_locks_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        std::fs::write(&path, "\n").unwrap();
        let error = open_credentials(&path).unwrap_err();
        assert!(matches!(error, CredentialsError::Empty { .. }), "{error}");
        std::fs::write(&path, format!("ci write token {}", TokenHash::of(b"one"))).unwrap();
        let file = open_credentials(&path).unwrap();
        let may_ci = || file.current().by_token(b"one").is_some();
        std::fs::write(&path, "").unwrap();
        assert!(matches!(file.refresh(), Refreshed::Refused(_)));
        assert!(may_ci());
        std::fs::write(&path, "# nobody").unwrap();
        assert!(matches!(file.refresh(), Refreshed::Replaced));
        assert!(!may_ci());
    }

    #[test]
    fn everybody_is_found_by_what_is_his() {
        let text = format!(
            "ci write token {}\n\tci  read certificate DNS:ci.org#1 # why\nboss admin certificate\tCN:The Boss \t# him\n",
            TokenHash::of(b"one")
        );
        let credentials = Credentials::parse(&text, MemoryKey::default()).unwrap();
        let role = |identity: Option<&Identity>| identity.map(|identity| identity.role);
        assert_eq!(role(credentials.by_token(b"one")), Some(Role::Write));
        assert_eq!(role(credentials.by_token(b"two")), None);
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (certificate, expect) in [
            (names(&["DNS:other.org", "DNS:ci.org#1", "CN:The Boss"]), Some(Role::Read)),
            (names(&["CN:The Boss"]), Some(Role::Admin)),
            (names(&["CN:The"]), None),
            (names(&["CN:ci.org"]), None),
            (names(&[]), None),
        ] {
            assert_eq!(role(credentials.by_certificate(&certificate)), expect, "{certificate:?}");
        }
    }
}
