//! [`Team`]: whose artifacts a request is about.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::super::url_path::shown;

/// The longest name of a team.
const MAX_BYTES: usize = 128;

/// Whose artifacts a request is about. Its text is unambiguous and without control characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Team {
    Nobody,
    Id(String),
    Slug(String),
}

/// Why a query names no team.
#[derive(Debug, Error)]
pub(in crate::edge::http) enum TeamError {
    #[error("{parameter} occurs more than once")]
    Repeated { parameter: &'static str },
    #[error(
        "{parameter} {shown:?} is not a name of {MAX_BYTES} B at most without control characters"
    )]
    Malformed { parameter: &'static str, shown: String },
}

impl Team {
    /// Reads a query, in which an identifier goes before a slug, and an empty one says nothing.
    pub(super) fn parse(query: &str) -> Result<Self, TeamError> {
        if let Some(id) = parameter(query, "teamId")? {
            return Ok(Self::Id(id));
        }
        Ok(parameter(query, "slug")?.map_or(Self::Nobody, Self::Slug))
    }
}

impl fmt::Display for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => Ok(()),
            Self::Id(id) => write!(f, "id {id}"),
            Self::Slug(slug) => write!(f, "slug {slug}"),
        }
    }
}

fn parameter(query: &str, wanted: &'static str) -> Result<Option<String>, TeamError> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| value);
    let Some(raw) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(TeamError::Repeated { parameter: wanted });
    }
    let malformed = || TeamError::Malformed { parameter: wanted, shown: shown(raw) };
    let spaced = raw.replace('+', " ");
    let value: Cow<'_, str> = percent_decode_str(&spaced).decode_utf8().map_err(|_| malformed())?;
    if value.len() > MAX_BYTES || value.chars().any(char::is_control) {
        return Err(malformed());
    }
    Ok((!value.is_empty()).then(|| value.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expect: Result<Team, &str>) {
        match (Team::parse(query), expect) {
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (team, expect) => assert_eq!(
                team.map_err(|e| e.to_string()),
                expect.map_err(str::to_owned),
                "{query}"
            ),
        }
    }

    #[test]
    fn a_query_names_a_team() {
        let id = |id: &str| Ok(Team::Id(id.to_owned()));
        let slug = |slug: &str| Ok(Team::Slug(slug.to_owned()));
        check("", Ok(Team::Nobody));
        check("slug=my-team", slug("my-team"));
        check("teamId=team_x", id("team_x"));
        check("slug=a&teamId=b", id("b"));
        check("slug=a&teamId=", slug("a"));
        check("teamid=a&slugs=b&slug", Ok(Team::Nobody));
        check("slug=a+b%2Fc%26", slug("a b/c&"));
        check("slug=id+x", slug("id x"));
        check("slug=a&slug=a", Err("slug occurs more than once"));
        check("slug=a%00b", Err("control"));
        check("slug=a%0Aid", Err("control"));
        check("slug=%FF", Err("slug \"%FF\""));
        check(&format!("slug={}", "a".repeat(129)), Err("128 B"));
    }
}
