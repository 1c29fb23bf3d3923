//! [`TokenHash`] and [`Password`]: how secrets are kept, and compared without telling how far two agree.
//!
//! A token has more entropy than can be guessed, so one round of SHA-256 hides it. A password has not, so it is hashed with
//! Argon2id, which takes some 20 ms of a core: docs/adr/0011-credentials.md.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// So long a token cannot be guessed, whatever it is made of but words.
pub(crate) const TOKEN_BYTES_MIN: usize = 24;

/// What a line of the file may ask of the server for one password: 256 MiB and 16 rounds.
const PASSWORD_KIB_MAX: u32 = 256 << 10;
const PASSWORD_ROUNDS_MAX: u32 = 16;

/// The SHA-256 of a token.
#[derive(Copy, Clone, Debug)]
pub(crate) struct TokenHash([u8; 32]);

/// A hashed password.
#[derive(Clone)]
pub(crate) struct Password(PasswordHash);

/// What a line of the file has in place of a hash.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum HashError {
    /// Neither of the two forms.
    #[error(
        "is neither sha256: with 64 hexadecimal digits nor $argon2id$… as larder hash-credential writes them"
    )]
    Form,
    /// A hash that takes too long or too much memory to check.
    #[error(
        "takes {memory_kib} KiB and {rounds} rounds to check, over the limit of {} KiB and {} rounds",
        PASSWORD_KIB_MAX,
        PASSWORD_ROUNDS_MAX
    )]
    Cost {
        /// Its memory.
        memory_kib: u32,
        /// Its rounds.
        rounds: u32,
    },
}

impl TokenHash {
    const PREFIX: &str = "sha256:";

    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    pub(crate) fn parse(text: &str) -> Result<Self, HashError> {
        let digits = text.strip_prefix(Self::PREFIX).ok_or(HashError::Form)?;
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() || digits.bytes().any(|digit| !digit.is_ascii_hexdigit())
        {
            return Err(HashError::Form);
        }
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| HashError::Form)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| HashError::Form)?;
        }
        Ok(Self(hash))
    }

    /// Chooses a place in a table. The rest is compared by `==`.
    pub(crate) fn prefix(&self) -> [u8; 8] {
        *self.0.first_chunk().expect("8 of 32 bytes")
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Password {
    /// Hashes a password with a salt from the system. Blocks for some 20 ms.
    pub(crate) fn of(password: &[u8]) -> Result<Self, argon2::password_hash::Error> {
        Argon2::default().hash_password(password).map(Self)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, HashError> {
        let hash = PasswordHash::new(text).map_err(|_| HashError::Form)?;
        let is_argon2id = hash.algorithm == Algorithm::Argon2id.ident() && hash.hash.is_some();
        let params = Params::try_from(&hash).map_err(|_| HashError::Form)?;
        if !is_argon2id || hash.version != Some(Version::V0x13.into()) {
            return Err(HashError::Form);
        }
        let (memory_kib, rounds) = (params.m_cost(), params.t_cost());
        if memory_kib > PASSWORD_KIB_MAX || rounds > PASSWORD_ROUNDS_MAX {
            return Err(HashError::Cost { memory_kib, rounds });
        }
        Ok(Self(hash))
    }

    /// Whether it is this one. Blocks for some 20 ms.
    pub(crate) fn is(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, &self.0).is_ok()
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let token = TokenHash::of(b"hello");
        let text = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(token.to_string(), text);
        assert_eq!(TokenHash::parse(text), Ok(token));
        assert_ne!(TokenHash::of(b"hellp"), token);
        let password = Password::of(b"correct horse").unwrap().to_string();
        assert!(password.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{password}");
        let password = Password::parse(&password).unwrap();
        assert!(password.is(b"correct horse"));
        assert!(!password.is(b"correct horsf"));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in ["", "sha256:", "hello", "sha256:ü", &format!("sha256:{}", "g".repeat(64))] {
            assert_eq!(TokenHash::parse(text), Err(HashError::Form), "{text}");
        }
        let tail = "$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let check = |head: &str, expect: Option<HashError>| {
            assert_eq!(Password::parse(&format!("{head}{tail}")).err(), expect, "{head}");
        };
        check("$argon2id$v=19$m=19456,t=2,p=1", None);
        check("$argon2i$v=19$m=19456,t=2,p=1", Some(HashError::Form));
        check("$argon2id$v=16$m=19456,t=2,p=1", Some(HashError::Form));
        check("$bcrypt$v=19$m=19456,t=2,p=1", Some(HashError::Form));
        let cost = HashError::Cost { memory_kib: 1_000_000, rounds: 2 };
        check("$argon2id$v=19$m=1000000,t=2,p=1", Some(cost));
        assert_eq!(Password::parse("$argon2id$v=19$m=19456,t=2,p=1").err(), Some(HashError::Form));
    }
}
