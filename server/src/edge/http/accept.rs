//! [`Accepted`]: which content codings a client takes, by its `Accept-Encoding`. Pure. Source: RFC 9110, 12.5.3.

use ::http::HeaderMap;
use ::http::header::ACCEPT_ENCODING;

/// What the client takes of what there is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Accepted {
    /// Whether the bytes themselves may be sent. True unless they are ruled out.
    pub(super) identity: bool,
    /// Whether zstd may be sent, and is liked no less.
    pub(super) zstd: bool,
}

impl Accepted {
    /// Reads the header, in all its lines. Without it anything may be sent, and the bytes themselves are what any client takes.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let (mut identity, mut zstd, mut any) = (None, None, None);
        let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        for coding in lines.flat_map(|line| line.split(',')) {
            let (name, parameter) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = match name.trim().to_ascii_lowercase().as_str() {
                "identity" => &mut identity,
                "zstd" => &mut zstd,
                "*" => &mut any,
                _ => continue,
            };
            *weight = Some(self::weight(parameter));
        }
        let identity_allowed = identity.or(any).is_none_or(|weight| weight > 0);
        let zstd = if identity_allowed {
            // A wildcard promises little: many that send it decode no zstd.
            zstd.is_some_and(|zstd| zstd > 0 && identity.is_none_or(|identity| zstd >= identity))
        } else {
            zstd.or(any).is_some_and(|weight| weight > 0)
        };
        Self { identity: identity_allowed, zstd }
    }
}

/// A weight in thousandths. What is none is read as 1, as if nothing had been said.
fn weight(parameter: &str) -> u32 {
    let value = parameter
        .trim()
        .strip_prefix(['q', 'Q'])
        .and_then(|rest| rest.trim_start().strip_prefix('=')?.trim().parse::<f32>().ok());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    value.map_or(1_000, |value| (value.clamp(0.0, 1.0) * 1_000.0).ceil() as u32)
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    fn check(lines: &[&'static str], identity: bool, zstd: bool) {
        let lines = lines.iter().map(|line| (ACCEPT_ENCODING, HeaderValue::from_static(line)));
        let mut headers = HeaderMap::new();
        lines.for_each(|(name, line)| {
            headers.append(name, line);
        });
        assert_eq!(Accepted::of(&headers), Accepted { identity, zstd }, "{headers:?}");
    }

    #[test]
    fn codings_have_weights() {
        check(&[], true, false);
        check(&[""], true, false);
        check(&["zstd"], true, true);
        check(&["gzip, ZSTD;q=0.5"], true, true);
        check(&["gzip,zstd ;q=1"], true, true);
        check(&["gzip", "zstd"], true, true);
        check(&["zstd;q=0"], true, false);
        check(&["zstd;q=0.000"], true, false);
        check(&["zstd;q=0.001"], true, true);
        check(&["gzip, deflate"], true, false);
        check(&["*"], true, false);
        check(&["identity, zstd;q=0.5"], true, false);
        check(&["identity;q=0.5, zstd"], true, true);
        check(&["identity;q=0.5, zstd;q=0.5"], true, true);
        check(&["identity;q=0"], false, false);
        check(&["identity;q=0, zstd"], false, true);
        check(&["zstd, *;q=0"], false, true);
        check(&["*;q=0"], false, false);
        check(&["identity, *;q=0"], true, false);
        check(&["identity; Q = 0, *"], false, true);
        check(&["zstd;q=x"], true, true);
    }
}
