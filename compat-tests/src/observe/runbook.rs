//! The runbook: each command of each page runs and prints what the page says, each query is understood.
//!
//! In a page, a block `sh` is a command, the block `text` behind it what it prints on a sound server, where `…` stands for
//! anything; a block `promql` is a query.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::documents;
use super::prometheus::Prometheus;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::larder::Larder;
use crate::process;

const LIMIT: Duration = Duration::from_secs(20);

/// What a server without settings has no metrics of.
const OFF_BY_DEFAULT: [&str; 3] = ["larder_tls_", "larder_access_log_", "larder_otlp_"];

/// A fenced block.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    text: String,
}

/// What pages are about.
pub(super) struct Servers<'a> {
    /// As it is without settings.
    pub(super) plain: &'a Larder,
    /// With what pages about access, the access log and spans look at.
    pub(super) guarded: &'a Larder,
}

impl Servers<'_> {
    /// The one that a page is about.
    fn of(&self, page: &str) -> &Larder {
        let is_off_by_default = OFF_BY_DEFAULT.iter().any(|metrics| page.contains(metrics));
        if is_off_by_default { self.guarded } else { self.plain }
    }
}

/// Runs all pages against sound servers.
pub(super) fn check(
    prometheus: &Prometheus,
    servers: &Servers<'_>,
    binary: &Path,
    dir: &Path,
) -> Result<String, CompatError> {
    let (pages, log) = (documents().join("runbook"), dir.join("runbook.log"));
    let mut expectations = Expectations::of(&log);
    let (mut commands, mut queries) = (0, 0);
    for entry in fs::read_dir(&pages).map_err(CompatError::io(&pages))? {
        let path = entry.map_err(CompatError::io(&pages))?.path();
        let page = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = process::read(&path)?;
        let larder = servers.of(&text);
        let blocks = blocks(&text);
        for (number, Block { language, text }) in blocks.iter().enumerate() {
            match language.as_str() {
                "promql" => {
                    queries += 1;
                    prometheus.query(text)?;
                }
                "sh" => {
                    commands += 1;
                    let expected = blocks.get(number + 1).filter(|next| next.language == "text");
                    let mut shell = Command::new("sh");
                    shell
                        .args(["-euc", text])
                        .env("ADMIN", larder.admin().to_string())
                        .env("DATA_DIR", larder.data_dir())
                        .env("PATH", path_with(binary));
                    let printed = process::output(0, &mut shell, &log, LIMIT)?;
                    let expected = expected.map_or("a block `text`", |block| &block.text);
                    if let Some(line) = first_absent(expected, &printed) {
                        expectations.says(
                            &format!("{page}: {text}, which printed {printed}"),
                            "",
                            line,
                        );
                    }
                }
                _ => {}
            }
        }
    }
    expectations.at_least("commands", commands, 15);
    expectations.at_least("queries", queries, 15);
    expectations.met()?;
    Ok(format!("{commands} commands print what the pages say, {queries} queries are understood"))
}

/// Runs each command of the page about the admin port against a server, which has nothing to lose.
pub(super) fn check_admin_page(
    larder: &Larder,
    binary: &Path,
    dir: &Path,
) -> Result<String, CompatError> {
    let (page, log) = (documents().join("admin.md"), dir.join("admin.log"));
    let text = process::read(&page)?;
    let mut commands = 0;
    let shell_blocks = blocks(&text).into_iter().filter(|block| block.language == "sh");
    for line in
        shell_blocks.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>())
    {
        if line.trim_start().starts_with('#') {
            continue;
        }
        // As the page says it, but for where the server is.
        let script =
            format!("larder() {{ command larder \"$@\" --admin http://$ADMIN; }}\n{line}\n");
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", &script])
            .env("ADMIN", larder.admin().to_string())
            .env("PATH", path_with(binary));
        process::output(0, &mut shell, &log, LIMIT)?;
        commands += 1;
    }
    let mut expectations = Expectations::of(&log);
    expectations.at_least("commands", commands, 10);
    expectations.met()?;
    Ok(format!("{commands} commands of admin.md run"))
}

/// The directory of the binary under test comes first.
fn path_with(binary: &Path) -> OsString {
    let first = binary.parent().map(Path::to_path_buf);
    let others = env::var_os("PATH").unwrap_or_default();
    let all = first.into_iter().chain(env::split_paths(&others));
    env::join_paths(all).unwrap_or(others.clone())
}

/// The fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block { language: language.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// The first line of `expected` that `printed` does not have, behind those before it.
fn first_absent<'a>(expected: &'a str, printed: &str) -> Option<&'a str> {
    let mut lines = printed.lines();
    expected.lines().find(|expected| !lines.any(|line| is_as(expected, line)))
}

/// Whether a line is what is expected, where one `…` stands for anything.
fn is_as(expected: &str, line: &str) -> bool {
    match expected.split_once('…') {
        None => expected == line,
        Some((before, behind)) => {
            let rest = line.strip_prefix(before);
            rest.is_some_and(|rest| rest.ends_with(behind))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_languages() {
        let page = "# A\n\n```sh\nls\nps\n```\nthen\n\n```text\nx …\n```\n";
        let expect = [("sh", "ls\nps\n"), ("text", "x …\n")];
        let expect = expect
            .map(|(language, text)| Block { language: language.to_owned(), text: text.to_owned() });
        assert_eq!(blocks(page), expect);
    }

    #[test]
    fn lines_are_expected_in_order() {
        for (expected, printed, absent) in [
            ("a 0\nb 1\n", "a 0\nx\nb 1\n", None),
            ("a 0\n", "a 01\n", Some("a 0")),
            ("a …\n", "a 01\n", None),
            ("a{v=\"…\"} 1\n", "a{v=\"0.1\"} 1\n", None),
            ("a{v=\"…\"} 1\n", "a{v=\"0.1\"} 2\n", Some("a{v=\"…\"} 1")),
            ("b\na\n", "a\nb\n", Some("a")),
        ] {
            assert_eq!(first_absent(expected, printed), absent, "{expected:?} in {printed:?}");
        }
    }
}
