//! [`Sources`]: a C++ workspace of some three hundred actions, and edits of it as developers make them.
//!
//! Pure but for [`Sources::write`], and the same each time: what a file says follows from its place and its version alone.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

const PACKAGES: usize = 24;
/// Sources of a package's library.
const SOURCES: usize = 8;
/// Of each package: its sources, the one with `main`, its header, and what another header is generated from.
const FILES: usize = SOURCES + 3;
const MAIN: usize = SOURCES;
const HEADER: usize = SOURCES + 1;
const TABLE: usize = SOURCES + 2;

/// Each fourth source uses the standard library's containers, which makes larger objects.
const CONTAINERS_EACH: usize = 4;

/// The rules of a package; `NAME` is its name, `PARENT` the library that it uses.
const BUILD: &str = r##"package(default_visibility = ["//visibility:public"])

genrule(
    name = "table",
    srcs = ["table.txt"],
    outs = ["table.h"],
    cmd = "awk '{ print \"#define \" $$1 \" \" $$2 }' $< > $@",
)

cc_library(
    name = "NAME",
    srcs = glob(["part*.cc"]),
    hdrs = ["NAME.h", ":table"],
    linkstatic = True,
    deps = [PARENT],
)

cc_binary(
    name = "main",
    srcs = ["main.cc"],
    deps = [":NAME"],
)

genrule(
    name = "report",
    srcs = [":main"],
    outs = ["report.txt"],
    cmd = "$(location :main) > $@",
)
"##;

/// The workspace as one line of development has it: the version of each file.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    versions: Vec<u32>,
}

impl Sources {
    /// Before any edit.
    pub(super) fn new() -> Self {
        Self { versions: vec![0; PACKAGES * FILES] }
    }

    /// Changes what a developer changes before build `number`: one to four sources, those of the first packages oftener, and each
    /// sixth time a header.
    pub(super) fn edit(&mut self, number: u32) {
        let count = PACKAGES * SOURCES;
        for nth in 0..=number as usize % 4 {
            let place = (number as usize * 37 + nth * 101) % count;
            let skewed = place * place / count;
            self.versions[skewed / SOURCES * FILES + skewed % SOURCES] = number;
        }
        if number.is_multiple_of(6) {
            self.versions[(number as usize * 7) % PACKAGES * FILES + HEADER] = number;
        }
    }

    /// Writes all files to `dir`.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("WORKSPACE"), "workspace(name = \"larder_recording\")\n")?;
        for package in 0..PACKAGES {
            let dir = dir.join(name(package));
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("BUILD"), build(package))?;
            for file in 0..FILES {
                let text = self.text(package, file);
                fs::write(dir.join(file_name(package, file)), text)?;
            }
        }
        Ok(())
    }

    fn text(&self, package: usize, file: usize) -> String {
        let version = self.versions[package * FILES + file];
        match file {
            HEADER => header(package, version),
            TABLE => format!("{}_SHIFT {}\n", name(package).to_uppercase(), version % 7 + 1),
            MAIN => main(package, version),
            part => source(package, part, version),
        }
    }
}

fn name(package: usize) -> String {
    format!("pack{package}")
}

fn file_name(package: usize, file: usize) -> String {
    match file {
        HEADER => format!("{}.h", name(package)),
        TABLE => "table.txt".to_owned(),
        MAIN => "main.cc".to_owned(),
        part => format!("part{part}.cc"),
    }
}

/// A tree of libraries: each uses the one with half its number.
fn parent(package: usize) -> Option<String> {
    (package > 0).then(|| name(package / 2)).filter(|parent| *parent != name(package))
}

fn build(package: usize) -> String {
    let parent = parent(package).map_or_else(String::new, |parent| format!("\"//{parent}\""));
    BUILD.replace("NAME", &name(package)).replace("PARENT", &parent)
}

fn header(package: usize, version: u32) -> String {
    let name = name(package);
    let mut text = format!("#pragma once\n// Version {version}.\n");
    for part in 0..SOURCES {
        // A string takes what is written.
        let _infallible = writeln!(text, "int {name}_part{part}(int number);");
    }
    text
}

fn main(package: usize, version: u32) -> String {
    let name = name(package);
    let calls = sum(SOURCES, |part| format!("{name}_part{part}(2)"));
    format!(
        "#include <cstdio>\n#include \"{name}/{name}.h\"\n\n\
         int main() {{\n  std::printf(\"%d\\n\", {version}{calls});\n}}\n"
    )
}

fn source(package: usize, part: usize, version: u32) -> String {
    let name = name(package);
    let macro_name = name.to_uppercase();
    let mut text = format!("#include \"{name}/{name}.h\"\n#include \"{name}/table.h\"\n");
    let parent = parent(package);
    if let Some(parent) = &parent {
        let _infallible = writeln!(text, "#include \"{parent}/{parent}.h\"");
    }
    let has_containers = part.is_multiple_of(CONTAINERS_EACH);
    if has_containers {
        text.push_str(
            "#include <algorithm>\n#include <map>\n#include <string>\n#include <vector>\n",
        );
    }
    text.push_str("\nnamespace {\n\n");
    // From a few functions to some dozens, so that objects differ in size.
    let steps = 4 + (package * 31 + part * 17) % 60;
    for step in 0..steps {
        let _infallible = writeln!(
            text,
            "int step{step}(int number) {{ return (number ^ {}) % {} << {macro_name}_SHIFT; }}",
            step * 7_919 + part + version as usize,
            step + 11,
        );
    }
    if has_containers {
        text.push_str(
            "\nint words(const std::string& text) {\n  std::map<std::string, std::vector<int>> places;\n  \
             for (int at = 0; at < static_cast<int>(text.size()); ++at) {\n    \
             places[text.substr(at, 3)].push_back(at);\n  }\n  std::vector<std::string> sorted;\n  \
             for (const auto& place : places) sorted.push_back(place.first);\n  \
             std::sort(sorted.rbegin(), sorted.rend());\n  return static_cast<int>(sorted.size());\n}\n",
        );
    }
    let calls = sum(steps, |step| format!("step{step}(number)"));
    let words = if has_containers { " + words(std::to_string(number))" } else { "" };
    let below = parent.filter(|_| part == 0).map(|parent| format!(" + {parent}_part0(number)"));
    let below = below.unwrap_or_default();
    let _infallible = write!(
        text,
        "\n}}  // namespace\n\nint {name}_part{part}(int number) {{\n  return number{calls}{words}{below};\n}}\n"
    );
    text
}

/// What is added to something else: so many terms.
fn sum(count: usize, term: impl Fn(usize) -> String) -> String {
    (0..count).map(|nth| [" + ", &term(nth)].concat()).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_changes_a_few_files() {
        let before = Sources::new();
        for number in 1..100 {
            let mut after = before.clone();
            after.edit(number);
            let changed = (0..PACKAGES * FILES).filter(|file| {
                let text = |sources: &Sources| sources.text(file / FILES, file % FILES);
                text(&before) != text(&after)
            });
            assert!((1..=5).contains(&changed.count()), "edit {number}");
        }
    }

    #[test]
    fn libraries_make_a_tree() {
        let parents: Vec<_> = (0..4).map(parent).collect();
        let named = |package| Some(name(package));
        assert_eq!(parents, [None, named(0), named(1), named(1)]);
    }
}
