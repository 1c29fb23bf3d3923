//! [`Presented`]: what a request shows to say who sends it. Nothing of it is verified, and nothing of it is ever shown.
//!
//! In this order: the header `authorization` (`Bearer` or `Basic`), the header that the configuration names (a token), and
//! `user:password@` before the host, as some gRPC and HTTP clients put what stood in their URL. The first counts alone.

use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::AUTHORIZATION;
use http::{HeaderName, Request};
use percent_encoding::percent_decode_str;

/// Some clients leave the padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Longer ones are none; the hash of each is computed.
const SECRET_BYTES_MAX: usize = 4096;

/// What a request shows.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Presented {
    /// Nothing.
    Nothing,
    /// A token.
    Token(Secret),
    /// A name and a password, or a token in its place.
    Basic { user: String, password: Secret },
    /// Something that is none of these.
    Garbage,
}

/// Bytes that no log line or message shows.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Secret(pub(crate) Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Presented {
    /// What `request` shows.
    pub(crate) fn by<B>(request: &Request<B>, header: Option<&HeaderName>) -> Self {
        if let Some(value) = request.headers().get(AUTHORIZATION) {
            return Self::in_authorization(value.as_bytes());
        }
        if let Some(value) = header.and_then(|header| request.headers().get(header)) {
            return Self::token(value.as_bytes());
        }
        let authority = request.uri().authority().map_or("", |authority| authority.as_str());
        match authority.rsplit_once('@') {
            Some((user_info, _)) => Self::in_authority(user_info),
            None => Self::Nothing,
        }
    }

    fn in_authorization(value: &[u8]) -> Self {
        let value = value.trim_ascii();
        let Some(space) = value.iter().position(|byte| *byte == b' ') else { return Self::Garbage };
        let (scheme, rest) = (&value[..space], value[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return Self::token(rest);
        }
        if !scheme.eq_ignore_ascii_case(b"basic") || rest.len() > 2 * SECRET_BYTES_MAX {
            return Self::Garbage;
        }
        let decoded = BASE64.decode(rest).ok();
        decoded.and_then(|decoded| Self::basic(&decoded)).unwrap_or(Self::Garbage)
    }

    fn in_authority(user_info: &str) -> Self {
        // Decoded after it is split: a password may have an encoded colon.
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let user = percent_decode_str(user).decode_utf8();
        let password = Secret(percent_decode_str(password).collect());
        let Ok(user) = user else { return Self::Garbage };
        if password.0.is_empty() {
            // `grpc://token@host`.
            return Self::token(user.as_bytes());
        }
        Self::Basic { user: user.into_owned(), password }
    }

    fn token(value: &[u8]) -> Self {
        if (1..=SECRET_BYTES_MAX).contains(&value.len()) {
            Self::Token(Secret(value.to_vec()))
        } else {
            Self::Garbage
        }
    }

    fn basic(decoded: &[u8]) -> Option<Self> {
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let user = String::from_utf8(decoded[..colon].to_vec()).ok()?;
        let password = decoded[colon + 1..].to_vec();
        (password.len() <= SECRET_BYTES_MAX)
            .then_some(Self::Basic { user, password: Secret(password) })
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn basic_authorization(user: &str, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    }

    fn basic(user: &str, password: &str) -> Presented {
        let password = Secret(password.into());
        Presented::Basic { user: user.to_owned(), password }
    }

    fn token(token: &str) -> Presented {
        Presented::Token(Secret(token.into()))
    }

    fn by(uri: &str, headers: &[(&str, &str)]) -> Presented {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let header = HeaderName::from_static("x-key");
        Presented::by(&request.body(()).unwrap(), Some(&header))
    }

    #[test]
    fn the_first_that_is_there_counts() {
        let alice = basic_authorization("alice", "a:b");
        for (uri, headers, expect) in [
            ("/cas/0", &[][..], Presented::Nothing),
            ("http://host/cas/0", &[], Presented::Nothing),
            ("/", &[("authorization", "Bearer t")], token("t")),
            ("/", &[("authorization", "bearer  t ")], token("t")),
            ("/", &[("authorization", "Bearer")], Presented::Garbage),
            ("/", &[("authorization", "Bearer ")], Presented::Garbage),
            ("/", &[("authorization", "Digest t")], Presented::Garbage),
            ("/", &[("authorization", &alice)], basic("alice", "a:b")),
            ("/", &[("authorization", alice.trim_end_matches('='))], basic("alice", "a:b")),
            ("/", &[("authorization", "Basic !")], Presented::Garbage),
            ("/", &[("authorization", "Basic YWxpY2U=")], Presented::Garbage),
            ("/", &[("x-key", "k")], token("k")),
            ("/", &[("x-key", "k"), ("authorization", "Bearer t")], token("t")),
            ("http://bob:p%3A%40@host/", &[], basic("bob", "p:@")),
            ("http://t@host/", &[], token("t")),
            ("http://bob:p@host/", &[("x-key", "k")], token("k")),
            ("http://bob:p@host/", &[("authorization", "x")], Presented::Garbage),
        ] {
            assert_eq!(by(uri, headers), expect, "{uri} {headers:?}");
        }
        let long = "t".repeat(SECRET_BYTES_MAX + 1);
        assert_eq!(by("/", &[("authorization", &format!("Bearer {long}"))]), Presented::Garbage);
    }

    #[test]
    fn nothing_of_it_is_shown() {
        assert!(!format!("{:?} {:?}", token("hidden"), basic("a", "hidden")).contains("hidden"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(value in "[ -~]{0,64}") {
            let _any = by("/", &[("authorization", &value)]);
            let _any = Presented::in_authority(&value);
        }
    }
}
