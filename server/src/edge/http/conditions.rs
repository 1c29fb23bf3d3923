//! [`Tag`]: what a blob is called between requests, and what `If-…` headers ask of it. Pure. Source: RFC 9110, 8.8.3 and 13.
//!
//! A blob never changes, so its hash is its entity tag. Encoded bytes may differ from one answer to the next: their tag is weak.

use std::fmt::Write as _;

use ::http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use ::http::{HeaderMap, HeaderValue};
use larder_protos::Hash;

/// The entity tag of a blob.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    strong: String,
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Condition {
    /// It goes on.
    Met,
    /// The client has the blob: 304.
    NotModified,
    /// What the client insists on is not what is here: 412.
    Failed,
}

impl Tag {
    pub(super) fn of(hash: &Hash) -> Self {
        // A string that grows while it is written would be allocated three times.
        let mut strong = String::with_capacity(2 + 2 * hash.as_bytes().len());
        write!(strong, "\"{hash}\"").expect("a string takes all that is written to it");
        Self { strong }
    }

    /// Of the bytes themselves.
    pub(super) fn strong(&self) -> HeaderValue {
        HeaderValue::from_str(&self.strong).expect("hex between quotes")
    }

    /// Of the encoded bytes.
    pub(super) fn weak(&self) -> HeaderValue {
        HeaderValue::from_str(&format!("W/{}", self.strong)).expect("hex between quotes")
    }

    /// For a blob that is here, so `*` is always met.
    pub(super) fn condition(&self, headers: &HeaderMap) -> Condition {
        let strong = |tag: &str| tag == "*" || tag == self.strong;
        let weak = |tag: &str| strong(tag.strip_prefix("W/").unwrap_or(tag));
        if headers.contains_key(IF_MATCH) && !tags(headers, &IF_MATCH).any(strong) {
            Condition::Failed
        } else if tags(headers, &IF_NONE_MATCH).any(weak) {
            Condition::NotModified
        } else {
            Condition::Met
        }
    }

    /// Whether what is here, if anything is, may be replaced.
    pub(super) fn may_replace(current: Option<&Self>, headers: &HeaderMap) -> bool {
        match current {
            Some(tag) => tag.condition(headers) == Condition::Met,
            None => !headers.contains_key(IF_MATCH),
        }
    }

    /// The headers that have conditions.
    pub(super) fn conditions(headers: &HeaderMap) -> HeaderMap {
        let is_one = |name: &::http::HeaderName| *name == IF_MATCH || *name == IF_NONE_MATCH;
        let kept = headers.iter().filter(|(name, _)| is_one(name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Whether a range may be sent: what the client has a part of is this blob, in the bytes themselves.
    pub(super) fn allows_range(&self, headers: &HeaderMap) -> bool {
        headers.get(IF_RANGE).is_none_or(|range| range.as_bytes() == self.strong.as_bytes())
    }
}

fn tags<'a>(headers: &'a HeaderMap, name: &'a ::http::HeaderName) -> impl Iterator<Item = &'a str> {
    // No tag of a blob has a comma, so one within another's quotes does no harm.
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use larder_protos::{Digest, DigestFunction};

    use super::*;

    fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (::http::HeaderName::from_static(name), value.parse().expect("a good value"))
        });
        pairs.collect()
    }

    fn check(name: &'static str, pattern: &str, expect: Condition) {
        let tag = Tag::of(Digest::of(DigestFunction::Sha256, b"").hash());
        let value = pattern.replace("TAG", &tag.strong);
        let condition = tag.condition(&headers(&[(name, value)]));
        assert_eq!(condition, expect, "{name}: {pattern}");
    }

    #[test]
    fn conditions_follow_the_tag() {
        check("if-none-match", "TAG", Condition::NotModified);
        check("if-none-match", "W/TAG", Condition::NotModified);
        check("if-none-match", "\"a\", TAG", Condition::NotModified);
        check("if-none-match", "*", Condition::NotModified);
        check("if-none-match", "\"a\"", Condition::Met);
        check("if-match", "TAG", Condition::Met);
        check("if-match", "*", Condition::Met);
        check("if-match", "\"a\"", Condition::Failed);
        check("if-match", "W/TAG", Condition::Failed);
        check("if-modified-since", "Sat, 29 Oct 1994 19:43:31 GMT", Condition::Met);
    }

    fn check_replaced(is_here: bool, name: &'static str, pattern: &str, expect: bool) {
        let tag = Tag::of(Digest::of(DigestFunction::Sha256, b"").hash());
        let headers =
            headers(&[(name, pattern.replace("TAG", &tag.strong)), ("range", "x".into())]);
        let conditions = Tag::conditions(&headers);
        assert!(!conditions.contains_key("range"));
        let may_replace = Tag::may_replace(is_here.then_some(&tag), &conditions);
        assert_eq!(may_replace, expect, "{name}: {pattern}, here: {is_here}");
    }

    #[test]
    fn what_is_replaced_is_what_the_client_knows() {
        check_replaced(true, "if-none-match", "*", false);
        check_replaced(false, "if-none-match", "*", true);
        check_replaced(true, "if-match", "TAG", true);
        check_replaced(true, "if-match", "\"a\"", false);
        check_replaced(true, "if-match", "*", true);
        check_replaced(false, "if-match", "*", false);
        check_replaced(true, "accept", "*/*", true);
    }

    #[test]
    fn a_range_needs_the_strong_tag() {
        let tag = Tag::of(Digest::of(DigestFunction::Sha256, b"").hash());
        for (value, expect) in [
            (tag.strong.clone(), true),
            (format!("W/{}", tag.strong), false),
            ("\"other\"".to_owned(), false),
            ("Sat, 29 Oct 1994 19:43:31 GMT".to_owned(), false),
        ] {
            assert_eq!(
                tag.allows_range(&headers(&[("if-range", value.clone())])),
                expect,
                "{value}"
            );
        }
        assert!(tag.allows_range(&HeaderMap::new()));
    }
}
