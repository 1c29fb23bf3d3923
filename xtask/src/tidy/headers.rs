//! How files begin: every one with what it is (`//!`), and a `lib.rs` holds nothing but a table of contents.
//!
//! Relies on rustfmt's layout, which CI checks before: an item begins its line, and a line holds no second one.

use super::Violation;
use super::snapshot::Text;

const HEADER: &str = "header";
const CONTENTS: &str = "table of contents";

/// What begins an item that has a body of its own.
const BODIES: [&str; 10] = [
    "async fn ",
    "const fn ",
    "enum ",
    "fn ",
    "impl ",
    "impl<",
    "macro_rules!",
    "static ",
    "struct ",
    "trait ",
];

pub(super) fn check(sources: &[Text]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in sources {
        if !source.content.starts_with("//! ") {
            let detail = "begins without `//!` and a sentence on what it is";
            violations.push(Violation::new(&source.path, HEADER, detail));
        }
        if !source.path.ends_with("src/lib.rs") {
            continue;
        }
        for (index, line) in source.content.lines().enumerate() {
            if let Some(item) = body(line) {
                let path = format!("{}:{}", source.path, index + 1);
                let detail = format!("`{}` belongs in a module", item.trim_end());
                violations.push(Violation::new(path, CONTENTS, detail));
            }
        }
    }
    violations
}

/// The word that makes `line` the beginning of an item with a body.
fn body(line: &str) -> Option<&'static str> {
    let line = line.trim_start();
    let line = ["pub ", "pub(crate) ", "pub(super) "]
        .iter()
        .find_map(|visibility| line.strip_prefix(visibility))
        .unwrap_or(line);
    BODIES.into_iter().find(|word| line.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, content: &str) -> Vec<&'static str> {
        let source = Text { path: path.to_owned(), content: content.to_owned() };
        check(&[source]).iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn every_file_says_what_it_is() {
        let table: [(&str, &[&str]); 4] = [
            ("//! What it is.\n", &[]),
            ("#![allow(x)]\n//! What it is.\n", &[HEADER]),
            ("use std::fmt;\n", &[HEADER]),
            ("", &[HEADER]),
        ];
        for (content, violated) in table {
            assert_eq!(rules("cas/src/payload.rs", content), violated, "{content}");
        }
    }

    #[test]
    fn a_lib_holds_modules_uses_and_constants() {
        let table: [(&str, &[&str]); 7] = [
            ("mod payload;\npub use payload::Payload;\npub const BYTES: &[u8] = b\"\";", &[]),
            ("pub mod reapi {\n    pub use apis::v2::*;\n}", &[]),
            ("// impl stands elsewhere", &[]),
            ("pub struct Payload;", &[CONTENTS]),
            ("impl<T> Payload<T> {", &[CONTENTS]),
            ("pub mod reapi {\n    pub(crate) fn name() {}\n}", &[CONTENTS]),
            ("pub const fn zero() -> u8 {", &[CONTENTS]),
        ];
        for (items, violated) in table {
            let content = format!("//! What it is.\n\n{items}\n");
            assert_eq!(rules("cas/src/lib.rs", &content), violated, "{items}");
            assert_eq!(rules("cas/src/payload.rs", &content), [""; 0], "{items}");
        }
    }
}
