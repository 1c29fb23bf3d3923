//! Packages are called after their folders, and modules after what they hold: a module named `util` holds anything.

use super::Violation;
use super::snapshot::{Package, Text};

const RULE: &str = "names";
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 9] =
    ["common", "core", "helper", "helpers", "misc", "shared", "types", "util", "utils"];

pub(super) fn check(packages: &[Package], sources: &[Text]) -> Vec<Violation> {
    let misnamed = packages.iter().filter_map(|package| {
        let expected = expected_name(&package.folder);
        let detail = format!("the package is {}, expected {expected}", package.name);
        (package.name != expected).then(|| Violation::new(&package.folder, RULE, detail))
    });
    let empty = sources.iter().filter_map(|source| {
        let name = empty_name(source)?;
        let detail = format!("a module named `{name}` says nothing; name it after what it holds");
        Some(Violation::new(&source.path, RULE, detail))
    });
    misnamed.chain(empty).collect()
}

fn expected_name(folder: &str) -> String {
    if folder == "xtask" { folder.to_owned() } else { format!("larder-{folder}") }
}

/// The first empty name among the file's folders, itself and its inline modules.
fn empty_name(source: &Text) -> Option<&str> {
    let from_path = source.path.trim_end_matches(".rs").split('/');
    let inline = source.content.lines().filter_map(|line| {
        without_visibility(line.trim_start()).strip_prefix("mod ")?.strip_suffix(" {")
    });
    from_path.chain(inline).find(|name| EMPTY_NAMES.contains(name))
}

/// What follows `pub` or `pub(…)`, if it stands there.
fn without_visibility(line: &str) -> &str {
    let Some(public) = line.strip_prefix("pub") else { return line };
    let scoped = public.strip_prefix('(').and_then(|scoped| scoped.split_once(')'));
    scoped.map_or(public, |(_, rest)| rest).trim_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_after_their_folders() {
        let table = [
            ("cas", "larder-cas", true),
            ("xtask", "xtask", true),
            ("cas", "cas", false),
            ("action-cache", "larder-ac", false),
        ];
        for (folder, name, fine) in table {
            let (name, folder) = (name.to_owned(), folder.to_owned());
            let package = Package { name, folder, ..Package::default() };
            assert_eq!(check(&[package], &[]).is_empty(), fine);
        }
    }

    #[test]
    fn empty_names_are_refused_wherever_they_stand() {
        let table = [
            ("cas/src/payload.rs", "", true),
            ("cas/src/corelation.rs", "mod utility {\n", true),
            ("cas/src/util.rs", "", false),
            ("cas/src/helpers/mod.rs", "", false),
            ("cas/tests/common/mod.rs", "", false),
            ("cas/src/lib.rs", "pub(crate) mod types {\n", false),
            ("cas/src/lib.rs", "    pub(super) mod common {\n", false),
            ("cas/src/lib.rs", "pub(in crate::chunked) mod util {\n", false),
            ("cas/src/lib.rs", "pub mod misc {\n", false),
            ("cas/src/lib.rs", "pub(super) mod commons {\n", true),
        ];
        for (path, content, fine) in table {
            let source = Text { path: path.to_owned(), content: content.to_owned() };
            assert_eq!(check(&[], &[source]).is_empty(), fine, "{path}");
        }
    }
}
