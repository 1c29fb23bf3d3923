//! What documents name exists, and what exists is named in one: metrics, alerts, settings, commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use larder_server::cli;
use larder_server::config::{CONFIG_VARIABLE, Setting};

use crate::deltas::{page_after, start};
use crate::page::Page;
use crate::traffic::{CALLS, drive};

/// Names of crates, which filters of the log and links take.
const CRATES: [&str; 6] = [
    "larder_action_cache",
    "larder_cas",
    "larder_disk",
    "larder_protos",
    "larder_server",
    "larder_testkit",
];

/// What tests take from the environment.
const OF_TESTS: [&str; 3] = ["LARDER_MUTATIONS", "LARDER_SIM_FIRST", "LARDER_SIM_SEEDS"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8(bytes).expect("a text")
}

/// The documents of the repository, and what is generated of the settings.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<_> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "server/larder.example.toml"]
            .map(|name| root().join(name))
            .into();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { paths.push(path) }
        }
    }
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// Words of letters, digits and `_` that begin so, each with the character behind it.
fn words<'a>(text: &'a str, beginning: &'a str) -> impl Iterator<Item = (&'a str, Option<char>)> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(beginning).filter_map(move |(at, _)| {
        if text[..at].ends_with(is_of_word) {
            return None;
        }
        let rest = &text[at..];
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        Some((&rest[..end], rest[end..].chars().next()))
    })
}

fn is_metric(page: &Page, word: &str) -> bool {
    // What ends with `_` stands for all that begin so.
    let is_beginning =
        word.ends_with('_') && page.families.keys().any(|name| name.starts_with(word));
    let is_family = |name: &str| page.families.contains_key(name);
    // OpenMetrics leaves `_total` out where it says the type.
    is_family(&page.family_of(word)) || is_family(&format!("{word}_total")) || is_beginning
}

#[tokio::test]
async fn every_metric_that_is_named_exists_and_every_one_is_used() {
    let server = start().await;
    drive(&server).await;
    let page = page_after(&server, CALLS).await.with_guarded().await;
    server.stop().await;
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        for (word, _) in words(&text, "larder_").chain(words(&text, "process_")) {
            if !CRATES.contains(&word) && !is_metric(&page, word) {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "no such metric:\n{}", wrong.join("\n"));
    // The page that is generated names all; a dashboard that leaves one out shows less than there is.
    let dashboard = read(&root().join("docs/operate/dashboard.json"));
    let shown: BTreeSet<_> = words(&dashboard, "larder_")
        .chain(words(&dashboard, "process_"))
        .map(|(word, _)| page.family_of(word))
        .collect();
    let is_optional = |name: &&String| {
        name.starts_with("larder_fetch")
            || name.starts_with("larder_trace")
            || shown.contains(*name)
    };
    let unseen: Vec<_> = page.families.keys().filter(|name| !is_optional(name)).collect();
    assert!(unseen.is_empty(), "the dashboard shows nothing of {unseen:?}");
}

#[test]
fn every_alert_has_a_page_and_is_tested_both_ways() {
    let operate = root().join("docs/operate");
    let rules = read(&operate.join("larder.rules.yaml"));
    let cases = read(&operate.join("larder.rules.test.yaml"));
    let alerts: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        assert!(rules.contains(&format!("runbook: docs/operate/runbook/{alert}.md")), "{alert}");
        for case in ["fires", "is quiet"] {
            assert!(cases.contains(&format!("- name: {alert} {case}\n")), "{alert} {case}");
        }
    }
    let pages = fs::read_dir(operate.join("runbook")).expect("a folder").map(|entry| {
        entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()
    });
    let pages: BTreeSet<_> = pages.collect();
    assert_eq!(pages, alerts.into_iter().map(str::to_owned).collect());
}

/// What stands in a text as code: spans, and lines of blocks, continued lines joined.
fn code(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    let mut is_fenced = false;
    for line in joined.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced {
            found.push(line.trim().to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// A command of ours and its flags, if that is what a line calls.
fn called(line: &str) -> Option<(&str, Vec<&str>)> {
    let mut words = line.split_ascii_whitespace().skip_while(|word| ["$", "sudo"].contains(word));
    let program = words.next()?;
    if program != "larder" && !program.ends_with("/larder") {
        return None;
    }
    let command = words.next()?;
    // What follows a pipe or an ampersand is another program's.
    let own = words.take_while(|word| !["|", "&", "&&", ";", "#"].contains(word));
    let flags = own.filter_map(|word| word.trim_matches(['[', ']']).strip_prefix("--"));
    let names = flags.map(|flag| flag.split(['=', ',', ')']).next().unwrap_or(flag));
    Some((command, names.filter(|name| !name.is_empty()).collect()))
}

#[test]
fn every_command_that_is_named_exists_and_every_one_is_named() {
    let program = cli::command();
    let mut named = BTreeSet::new();
    for (path, text) in documents() {
        for line in code(&text) {
            let Some((name, flags)) = called(&line) else { continue };
            if name.starts_with('-') || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
                continue;
            }
            let command = program.find_subcommand(name);
            let command = command.unwrap_or_else(|| panic!("{}: {line}", path.display()));
            named.insert(name.to_owned());
            for flag in flags.iter().filter(|flag| **flag != "help") {
                let is_known = command.get_arguments().any(|arg| arg.get_long() == Some(flag));
                assert!(is_known, "{}: {line}: no flag --{flag}", path.display());
            }
        }
    }
    let all: BTreeSet<_> = program.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    assert_eq!(named, all, "commands that documents name, and those that there are");
}

#[test]
fn every_setting_that_is_named_exists() {
    let variables: BTreeSet<_> =
        larder_server::config::SETTINGS.iter().map(Setting::variable).collect();
    let operate = root().join("docs/operate");
    for (path, text) in documents() {
        for (word, behind) in words(&text, "LARDER_") {
            let is_beginning = word.ends_with('_') || behind == Some('<');
            let is_other = word == CONFIG_VARIABLE || OF_TESTS.contains(&word);
            let is_known = variables.contains(word) || is_other || is_beginning;
            assert!(is_known, "{}: {word}", path.display());
        }
        // Elsewhere such words are of the protocol too; here they are settings.
        let is_for_operators =
            path.starts_with(&operate) && path.extension().is_some_and(|e| e == "md");
        if is_for_operators {
            for span in code(&text).iter().filter(|span| is_key(span)) {
                assert!(Setting::find(span).is_some(), "{}: no setting {span}", path.display());
            }
        }
    }
}

/// Whether a span looks like the key of a setting: two words or more, and neither a metric nor a span's attribute.
fn is_key(span: &str) -> bool {
    let is_of_key = |c: char| c.is_ascii_lowercase() || ['_', '.'].contains(&c);
    let is_other =
        ["larder_", "process_", "larder.", "rpc."].iter().any(|start| span.starts_with(start))
            || [".md", ".yaml", ".json", ".toml"].iter().any(|end| span.ends_with(end));
    let is_of_words = span.split(['_', '.']).all(|word| !word.is_empty());
    span.chars().all(is_of_key) && span.contains(['_', '.']) && is_of_words && !is_other
}

#[test]
fn code_is_told_from_prose() {
    let text = "Run `larder verify --data-dir DIR`.\n\n```sh\nx/larder serve \\\n  --listen=a | b --c\n```\n";
    let calls = code(text);
    assert_eq!(called(&calls[0]), Some(("verify", vec!["data-dir"])));
    assert_eq!(called(&calls[1]), Some(("serve", vec!["listen"])));
    for (span, expect) in [
        ("max_size", true),
        ("hot.capacity", true),
        ("larder_panics", false),
        ("larder.digest", false),
        ("sync", false),
    ] {
        assert_eq!(is_key(span), expect, "{span}");
    }
}
