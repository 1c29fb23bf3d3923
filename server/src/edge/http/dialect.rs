//! [`Dialect`]: whose protocol a path belongs to. One decision, for routing and for metrics.

/// A protocol over HTTP. Each has a keyspace of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    /// Blobs and action results, as Bazel has them.
    Cache,
    /// Any bytes under any path: ccache, curl.
    KeyValue,
    /// Gradle's build cache.
    Gradle,
    /// Turborepo's remote cache.
    Turborepo,
    /// Nx's self-hosted cache.
    Nx,
    /// sccache, over WebDAV.
    Sccache,
}

/// A path in a dialect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place<'a> {
    pub(crate) dialect: Dialect,
    /// What stands before the dialect's own words.
    pub(crate) instance: &'a str,
    /// What follows them; of [`Dialect::Cache`], with its word: `ac/{hex}`.
    pub(crate) rest: &'a str,
}

/// The words that end an instance name wherever they stand, since any path may follow them.
const OPEN: [(&str, Dialect); 2] = [("kv", Dialect::KeyValue), ("sccache", Dialect::Sccache)];

/// The words before a last segment, and how many segments of them belong to the rest.
const CLOSED: [(&[&str], Dialect); 5] = [
    (&["cas"], Dialect::Cache),
    (&["ac"], Dialect::Cache),
    (&["gradle"], Dialect::Gradle),
    (&["v1", "cache"], Dialect::Nx),
    (&["v8", "artifacts"], Dialect::Turborepo),
];

impl<'a> Place<'a> {
    /// What `path`, which has no slash at its start, is in. No two dialects claim one path.
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        // The last segment is most often a hash, longer than all others, so it is looked for from the end, and once.
        let (folder, last) = match path.rsplit_once('/') {
            Some((folder, last)) => (Some(folder), last),
            None => (None, path),
        };
        Self::open(path, folder, last).or_else(|| Self::closed(path, folder?, last))
    }

    fn open(path: &'a str, folder: Option<&'a str>, last: &'a str) -> Option<Self> {
        let segments = folder.into_iter().flat_map(|folder| folder.split('/'));
        let mut begin = 0;
        for segment in segments.chain([last]) {
            if let Some((word, dialect)) = OPEN.into_iter().find(|(word, _)| *word == segment) {
                let instance = path[..begin].trim_end_matches('/');
                let rest = path[begin + word.len()..].trim_start_matches('/');
                return Some(Self { dialect, instance, rest });
            }
            begin += segment.len() + 1;
        }
        None
    }

    fn closed(path: &'a str, folder: &'a str, last: &'a str) -> Option<Self> {
        // Turborepo asks the folder itself too.
        if let Some(instance) = strip(path, &["v8", "artifacts"]) {
            return Some(Self { dialect: Dialect::Turborepo, instance, rest: "" });
        }
        CLOSED.into_iter().find_map(|(words, dialect)| {
            let instance = strip(folder, words)?;
            let rest = match dialect {
                Dialect::Cache => path[instance.len()..].trim_start_matches('/'),
                _ => last,
            };
            Some(Self { dialect, instance, rest })
        })
    }
}

/// What stands before `words` at the end of `path`, if they stand there.
fn strip<'a>(path: &'a str, words: &[&str]) -> Option<&'a str> {
    words.iter().rev().try_fold(path, |path, word| {
        let rest = path.strip_suffix(word)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_suffix('/') }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expect: Option<(Dialect, &str, &str)>) {
        let place = Place::of(path).map(|place| (place.dialect, place.instance, place.rest));
        assert_eq!(place, expect, "{path}");
    }

    #[test]
    fn a_path_is_in_one_dialect() {
        use Dialect::{Cache, Gradle, KeyValue, Nx, Sccache, Turborepo};
        check("cas/00", Some((Cache, "", "cas/00")));
        check("a/b/ac/00", Some((Cache, "a/b", "ac/00")));
        check("v1/cache/cas/00", Some((Cache, "v1/cache", "cas/00")));
        check("gradle/00", Some((Gradle, "", "00")));
        check("a/gradle/00", Some((Gradle, "a", "00")));
        check("gradle/ac/00", Some((Cache, "gradle", "ac/00")));
        check("gradle/gradle", Some((Gradle, "", "gradle")));
        check("v1/cache/00", Some((Nx, "", "00")));
        check("a/v1/cache/00", Some((Nx, "a", "00")));
        check("v8/artifacts", Some((Turborepo, "", "")));
        check("v8/artifacts/00", Some((Turborepo, "", "00")));
        check("a/b/v8/artifacts/status", Some((Turborepo, "a/b", "status")));
        check("kv", Some((KeyValue, "", "")));
        check("kv/ac/00", Some((KeyValue, "", "ac/00")));
        check("a/kv/v1/cache/00", Some((KeyValue, "a", "v1/cache/00")));
        check("kv/kv/sccache", Some((KeyValue, "", "kv/sccache")));
        check("sccache/kv/00", Some((Sccache, "", "kv/00")));
        check("a/b/sccache/c/d", Some((Sccache, "a/b", "c/d")));
        for path in ["", "00", "cas", "xcas/00", "a/xv1/cache/00", "v1/cache", "v8", "xkv/00"] {
            check(path, None);
        }
        for path in ["v1/cache/a/00", "v8/artifacts/a/b", "gradle/a/00", "CAS/00", "cas/00/a"] {
            check(path, None);
        }
    }
}
