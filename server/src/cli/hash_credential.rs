//! `larder hash-credential`: from a secret on standard input to a line of the credentials file.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use clap::{Arg, ArgMatches, Command};

use crate::auth::{LineError, Password, Role, TOKEN_BYTES_MIN, TokenHash, name_of};

/// Secrets are lines; a file that was given by mistake is not read to its end.
const INPUT_BYTES_MAX: u64 = 4096;

/// Nor is a shorter password, though the file may have it.
const PASSWORD_BYTES_MIN: usize = 8;

/// What is wrong with what was given. It shows nothing of the secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum HashCredentialError {
    #[error("NAME: {0}")]
    Name(LineError),
    #[error(
        "the secret on standard input has {actual_bytes} B, below the limit of {limit_bytes} B for a {kind}"
    )]
    TooShort { kind: String, actual_bytes: usize, limit_bytes: usize },
    #[error("the secret on standard input is over the limit of {INPUT_BYTES_MAX} B")]
    TooLong,
    #[error(
        "the secret on standard input has a line end or another control character within it, which no client can send"
    )]
    Control,
    #[error("the password cannot be hashed")]
    Hash(#[from] argon2::password_hash::Error),
    #[error("standard input or output")]
    Stream(#[from] io::Error),
}

pub(super) fn command() -> Command {
    let role = Arg::new("role")
        .long("role")
        .value_name("ROLE")
        .required(true)
        .value_parser(Role::ALL.map(Role::word))
        .help("What it lets do: each role may what those before it may");
    let kind = Arg::new("kind")
        .long("kind")
        .value_name("KIND")
        .default_value("token")
        .value_parser(["token", "password"])
        .help("token for random bytes that programs send, password for what people choose");
    Command::new("hash-credential")
        .about("Make a line of auth.credentials_file from a secret on standard input")
        .after_help(
            "openssl rand -hex 32 | tee token | larder hash-credential ci --role write >> credentials\n\n\
             The last line end is no part of the secret. A token is sent as a bearer token, or as the password of NAME; \
             a password with NAME only. A running server reads the file when it changes.",
        )
        .arg(Arg::new("NAME").required(true).help("Who it is, for messages and basic credentials"))
        .arg(role)
        .arg(kind)
}

pub(super) fn run(matches: &ArgMatches) -> Result<(), HashCredentialError> {
    let given = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let (name, role, kind) = (given("NAME"), given("role"), given("kind"));
    name_of(&name).map_err(HashCredentialError::Name)?;
    if io::stdin().is_terminal() {
        // Nobody reads it if standard error is closed.
        let _closed = writeln!(io::stderr(), "The {kind}, then Enter and Ctrl-D (it is shown):");
    }
    let mut input = Vec::new();
    io::stdin().take(INPUT_BYTES_MAX + 1).read_to_end(&mut input)?;
    if input.len() as u64 > INPUT_BYTES_MAX {
        return Err(HashCredentialError::TooLong);
    }
    let secret = input.strip_suffix(b"\n").unwrap_or(&input);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.iter().any(u8::is_ascii_control) {
        return Err(HashCredentialError::Control);
    }
    let is_token = kind == "token";
    let limit_bytes = if is_token { TOKEN_BYTES_MIN } else { PASSWORD_BYTES_MIN };
    if secret.len() < limit_bytes {
        let actual_bytes = secret.len();
        return Err(HashCredentialError::TooShort { kind, actual_bytes, limit_bytes });
    }
    let hash = if is_token {
        TokenHash::of(secret).to_string()
    } else {
        Password::of(secret)?.to_string()
    };
    writeln!(io::stdout(), "{name} {role} {kind} {hash}")?;
    Ok(())
}
