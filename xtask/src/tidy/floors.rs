//! Dependencies run downhill: the table of DESIGN.md, and who may depend on whom.

use super::Violation;
use super::snapshot::Package;

const RULE: &str = "floors";

/// Where a folder stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Floor {
    /// May depend on every lower floor.
    Of(u8),
    /// May depend on no crate of ours but these.
    OnlyOn(u8, &'static [&'static str]),
    /// Stands beside the house: depends on what it likes, and nothing depends on it.
    Beside,
}

/// The table of DESIGN.md. A crate that is not here has no place in the workspace.
const FLOORS: &[(&str, Floor)] = &[
    ("protos", Floor::Of(0)),
    ("disk", Floor::Of(1)),
    ("cas", Floor::Of(2)),
    ("action-cache", Floor::Of(3)),
    ("client", Floor::Of(4)),
    ("upstream", Floor::Of(5)),
    ("server", Floor::Of(6)),
    ("testkit", Floor::Of(7)),
    ("compat-tests", Floor::OnlyOn(8, &["larder-testkit"])),
    ("bench", Floor::Of(8)),
    ("fuzz", Floor::Beside),
    ("xtask", Floor::Beside),
];

pub(super) fn check(packages: &[Package]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in packages {
        let Some(floor) = floor_of(&package.folder) else {
            let detail = "the folder is not in the table of floors";
            violations.push(Violation::new(&package.folder, RULE, detail));
            continue;
        };
        for dependency in &package.internal_dependencies {
            let below = packages.iter().find(|other| other.name == *dependency);
            let below = below.and_then(|other| floor_of(&other.folder));
            // On itself: only as a dev-dependency, for a feature with its conformance suite; cargo refuses all else.
            let is_itself = *dependency == package.name;
            if !is_itself && !below.is_some_and(|below| may_depend(floor, below, dependency)) {
                let detail = format!("{} must not depend on {dependency}", package.name);
                violations.push(Violation::new(&package.folder, RULE, detail));
            }
        }
    }
    violations
}

fn floor_of(folder: &str) -> Option<Floor> {
    FLOORS.iter().find(|(name, _)| *name == folder).map(|(_, floor)| *floor)
}

fn may_depend(from: Floor, on: Floor, name: &str) -> bool {
    let (Floor::Of(below) | Floor::OnlyOn(below, _)) = on else { return false };
    match from {
        Floor::Of(floor) => below < floor,
        Floor::OnlyOn(floor, allowed) => below < floor && allowed.contains(&name),
        Floor::Beside => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, dependencies: &[&str]) -> Package {
        let name = if folder == "xtask" { folder.to_owned() } else { format!("larder-{folder}") };
        Package {
            name,
            folder: folder.to_owned(),
            internal_dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
            ..Package::default()
        }
    }

    #[test]
    fn only_lower_floors_may_be_depended_on() {
        let table = [
            ("cas", "larder-disk", true),
            ("cas", "larder-protos", true),
            ("cas", "larder-cas", true),
            ("disk", "larder-cas", false),
            ("server", "larder-testkit", false),
            ("bench", "larder-compat-tests", false),
            ("compat-tests", "larder-testkit", true),
            ("compat-tests", "larder-server", false),
            ("xtask", "larder-server", true),
            ("server", "xtask", false),
        ];
        for (folder, dependency, allowed) in table {
            let folders = ["protos", "disk", "cas", "server", "testkit", "compat-tests", "xtask"];
            let mut packages = vec![package(folder, &[dependency])];
            packages.extend(folders.iter().filter(|f| **f != folder).map(|f| package(f, &[])));
            assert_eq!(check(&packages).is_empty(), allowed, "{folder} on {dependency}");
        }
    }

    #[test]
    fn a_folder_without_a_floor_is_refused() {
        assert_eq!(check(&[package("attic", &[])]).len(), 1);
    }
}
