//! The binary from outside: its words, its exit codes, its life from start to drain.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod life;
mod profiles;
mod running;
mod terminal;

use std::io::Write as _;
use std::process::{Output, Stdio};

use larder_server::config::SETTINGS;

use crate::running::{ABSENT, Running, check, get, home, larder, text};

#[test]
fn wrong_words_are_usage() {
    for (arguments, stderr) in [
        (&[][..], "Usage: larder"),
        (&["sevre"], "unrecognized subcommand"),
        (&["serve", "--lisen=x"], "unexpected argument"),
        (&["check-config"], "required arguments"),
        (&["serve", "--workers=many"], "workers: \"many\" is not a whole number"),
    ] {
        check(&larder(&home(), arguments).output().unwrap(), 2, stderr);
    }
}

#[test]
fn version_goes_to_standard_output() {
    let output = larder(&home(), &["--version"]).output().unwrap();
    check(&output, 0, "");
    assert_eq!(text(&output.stdout), concat!("larder ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn help_names_every_setting_in_all_its_forms() {
    let output = larder(&home(), &["serve", "--help"]).output().unwrap();
    let help = text(&output.stdout);
    for setting in SETTINGS {
        for form in [
            format!("--{}", setting.flag()),
            format!("[env: {}]", setting.variable()),
            format!("[key: {}]", setting.key),
        ] {
            assert!(help.contains(&form), "{form} is not in {help}");
        }
    }
}

#[test]
fn every_setting_is_a_flag_and_a_variable() {
    // No setting takes an empty text, so each that is read complains; all of them at once.
    let flags: Vec<_> = SETTINGS.iter().map(|setting| format!("--{}=", setting.flag())).collect();
    let home = home();
    let mut by_flag = larder(&home, &["serve"]);
    by_flag.args(&flags);
    let mut by_variable = larder(&home, &["serve"]);
    by_variable.envs(SETTINGS.iter().map(|setting| (setting.variable(), "")));
    for (mut command, prefix) in [(by_flag, "--"), (by_variable, "LARDER_")] {
        let output = command.output().unwrap();
        check(&output, 2, prefix);
        let problems = text(&output.stderr);
        assert_eq!(problems.lines().count(), SETTINGS.len(), "{problems}");
        for setting in SETTINGS {
            let name = match prefix {
                "--" => format!("--{}", setting.flag()),
                _ => setting.variable(),
            };
            let mut lines = problems.lines();
            assert!(
                lines.any(|line| line.starts_with(&format!("{}: \"\" is not ", setting.key))
                    && line.ends_with(&format!("(from {name})"))),
                "{name} is not in {problems}"
            );
        }
    }
}

#[test]
fn listening_beyond_loopback_is_refused() {
    for arguments in [["serve", "--listen=0.0.0.0:0"], ["serve", "--listen=[::]:0"]] {
        check(&larder(&home(), &arguments).output().unwrap(), 2, "--unsafe-anonymous");
    }
}

#[test]
fn check_config_shows_every_problem_or_what_is_in_effect() {
    let home = home();
    let path = home.path().join("larder.toml");
    let arguments = ["check-config", path.to_str().unwrap()];
    check(&larder(&home, &arguments).output().unwrap(), 1, "larder.toml: No such file");

    std::fs::write(&path, "lisen = 'x'\nworkers = 0\n[hot]\ncapacity = '12 apples'\n").unwrap();
    let output = larder(&home, &arguments).output().unwrap();
    let at = |line| format!(" (from {}:{line})\n", path.display());
    check(&output, 1, &format!("lisen: unknown setting; did you mean listen?{}", at(1)));
    check(&output, 1, &format!("workers: \"0\" is not a whole number from 1 on{}", at(2)));
    check(&output, 1, "hot.capacity: \"12 apples\" is not a size");
    check(&output, 1, &at(4));
    assert_eq!(text(&output.stderr).lines().count(), 3);

    std::fs::write(&path, "max_size = '20MiB'\n[hot]\ncapacity = 0\n").unwrap();
    let output = larder(&home, &arguments).output().unwrap();
    check(&output, 0, "");
    let shown = text(&output.stdout).strip_prefix("ok\n").unwrap();
    assert!(shown.contains("max_size = \"20MiB\"\n"), "{shown}");

    // What it shows is a configuration again, with the same effect.
    std::fs::write(&path, shown).unwrap();
    let again = larder(&home, &arguments).output().unwrap();
    assert_eq!(text(&again.stdout).strip_prefix("ok\n"), Some(shown));
}

#[test]
fn files_that_are_missing_are_told_at_once() {
    let home = home();
    let mut command = larder(&home, &["serve"]);
    for setting in ["tls.cert_file", "tls.key_file", "auth.credentials_file", "traces.ca_file"] {
        command.arg(format!("--{}=/none/{setting}", setting.replace(['.', '_'], "-")));
    }
    let output = command.arg("--traces-endpoint=https://127.0.0.1:1").output().unwrap();
    check(&output, 1, "");
    let expect =
        |setting| format!("{setting}: /none/{setting}: No such file or directory (os error 2)\n");
    let expect =
        ["tls.cert_file", "tls.key_file", "auth.credentials_file", "traces.ca_file"].map(expect);
    assert_eq!(text(&output.stderr), expect.concat());
}

/// What `hash-credential` makes of a secret.
fn hash_credential(arguments: &[&str], secret: &str) -> Output {
    let mut command = larder(&home(), &["hash-credential"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments does not read.
    let _closed = child.stdin.take().unwrap().write_all(secret.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_secret_becomes_a_line_of_the_credentials_file() {
    let token = "0123456789abcdef01234567\n";
    let output = hash_credential(&["ci", "--role=write"], token);
    check(&output, 0, "");
    let line = text(&output.stdout).to_owned();
    assert!(line.starts_with("ci write token sha256:"), "{line}");
    let password = hash_credential(&["alice", "--role=read", "--kind=password"], "long enough\n");
    assert!(text(&password.stdout).starts_with("alice read password $argon2id$v=19$"));
    for (arguments, secret, code, stderr) in [
        (&["ci"][..], token, 2, "--role"),
        (&["ci", "--role=root"], token, 2, "root"),
        (&["c:i", "--role=read"], token, 1, "NAME: the name is not"),
        (&["ci", "--role=read"], "hunter2\n", 1, "has 7 B, below the limit of 24 B for a token"),
        (&["ci", "--role=read"], "0123456789ab\n0123456789ab\n", 1, "which no client can send"),
        (
            &["a", "--role=read", "--kind=password"],
            "longer\r\nthan 8\n",
            1,
            "which no client can send",
        ),
    ] {
        let output = hash_credential(arguments, secret);
        check(&output, code, stderr);
        assert!(!text(&output.stderr).contains(secret.trim()), "{:?}", text(&output.stderr));
    }

    let home = home();
    let path = home.path().join("credentials");
    std::fs::write(&path, line).unwrap();
    let file = format!("--auth-credentials-file={}", path.display());
    let running = Running::start(&home, &[&file]);
    assert_eq!(get(running.address, ABSENT, "").0, 401);
    let bearer = format!("authorization: Bearer {token}\r\n").replace("\n\r", "\r");
    assert_eq!(get(running.address, ABSENT, &bearer).0, 404);
    assert_eq!(get(running.admin, "/readyz", "").0, 200);
    assert_eq!(get(running.admin, "/statusz", "").0, 401);
    assert_eq!(get(running.admin, "/statusz", &bearer).0, 200);
}
