//! [`Selection`]: which cases are tried.

use super::case::{Case, Level, OptIn, Profile, Topic};

/// What the user asked for. Each empty list asks for everything of its kind, opt-in groups apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Patterns, see [`matches`]; a case needs one of them.
    pub(crate) only: Vec<String>,
    /// Patterns of cases that are left out.
    pub(crate) skip: Vec<String>,
    pub(crate) levels: Vec<Level>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) include: Vec<OptIn>,
}

impl Selection {
    /// Whether the case is tried.
    pub(crate) fn takes(&self, case: &Case) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|p| matches(p, case.name));
        let of_level = self.levels.is_empty() || self.levels.contains(&case.level);
        let of_profile = self.profiles.is_empty()
            || self.profiles.iter().any(|profile| case.profiles.contains(profile));
        let opted_in = case.opt_in.is_none_or(|group| self.include.contains(&group));
        (self.only.is_empty() || named(&self.only))
            && !named(&self.skip)
            && of_level
            && of_profile
            && opted_in
    }

    /// The cases that are tried, with their topics, in the catalogue's order.
    pub(crate) fn of(&self, topics: &'static [Topic]) -> Vec<(&'static Topic, &'static Case)> {
        let all = topics.iter().flat_map(|topic| topic.cases.iter().map(move |case| (topic, case)));
        all.filter(|(_, case)| self.takes(case)).collect()
    }
}

/// Whether a pattern means this name. `*` stands for any run of characters. Without one the pattern is a name, or its
/// beginning up to a dot: `bytestream.read` means `bytestream.read.whole` but not `bytestream.reader`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        let rest = name.strip_prefix(pattern.trim_end_matches('.'));
        return rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or(""),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let name = "bytestream.read.offset-past-end";
        let table = [
            (name, true),
            ("bytestream.read", true),
            ("bytestream.read.", true),
            ("bytestream", true),
            ("bytestream.re", false),
            ("read", false),
            ("*", true),
            ("*.read.*", true),
            ("*past-end", true),
            ("bytestream.*end", true),
            ("bytestream.*past*", true),
            ("*past", false),
            ("write*", false),
            ("*end*end*", false),
            ("", false),
        ];
        for (pattern, expect) in table {
            assert_eq!(matches(pattern, name), expect, "{pattern:?}");
        }
    }

    #[test]
    fn every_filter_counts() {
        let case = Case {
            name: "client.bazel.x",
            level: Level::Client,
            profiles: &[Profile::Bazel],
            source: "",
            rule: "",
            needs: &[],
            opt_in: Some(OptIn::Hostile),
            run: |_| Box::pin(async { Ok(()) }),
        };
        let asked = Selection { include: vec![OptIn::Hostile], ..Selection::default() };
        assert!(asked.takes(&case));
        let strings = |text: &str| vec![text.to_owned()];
        let refusing = [
            Selection::default(),
            Selection { include: vec![OptIn::Slow], ..asked.clone() },
            Selection { only: strings("cas"), ..asked.clone() },
            Selection { skip: strings("client.*"), ..asked.clone() },
            Selection { levels: vec![Level::Must], ..asked.clone() },
            Selection { profiles: vec![Profile::Siso], ..asked },
        ];
        for selection in refusing {
            assert!(!selection.takes(&case), "{selection:?}");
        }
    }
}
