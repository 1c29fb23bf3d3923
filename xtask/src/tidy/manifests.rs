//! A version stands in one place: the root's `[workspace.dependencies]`. A crate says `name.workspace = true`.

use toml::{Table, Value};

use super::Violation;
use super::snapshot::Package;

const RULE: &str = "workspace dependencies";
const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

pub(super) fn check(packages: &[Package]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in packages {
        for name in own_versions(&package.manifest) {
            let detail = format!("`{name}` is not inherited: say `{name}.workspace = true`");
            violations.push(Violation::new(format!("{}/Cargo.toml", package.folder), RULE, detail));
        }
    }
    violations
}

/// The dependencies that the manifest does not inherit.
fn own_versions(manifest: &Table) -> Vec<&String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let of_targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    [manifest]
        .into_iter()
        .chain(of_targets)
        .flat_map(|table| SECTIONS.iter().filter_map(|section| table.get(*section)?.as_table()))
        .flatten()
        .filter(|(_, dependency)| !is_inherited(dependency))
        .map(|(name, _)| name)
        .collect()
}

fn is_inherited(dependency: &Value) -> bool {
    dependency.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_looked_at() {
        let table: [(&str, &[&str]); 6] = [
            ("dependencies.bytes.workspace = true", &[]),
            ("dependencies.tokio = { workspace = true, features = ['fs'] }", &[]),
            ("dependencies.bytes = '1'", &["bytes"]),
            ("dev-dependencies.rand = { version = '0.10' }", &["rand"]),
            ("build-dependencies.cc = { path = '../cc' }", &["cc"]),
            ("target.'cfg(unix)'.dependencies.libc = '0.2'", &["libc"]),
        ];
        for (manifest, names) in table {
            assert_eq!(own_versions(&manifest.parse().unwrap()), names, "{manifest}");
        }
    }
}
