//! curl by HTTPS: by token, by password, by certificate, and turned away in each way that there is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::keys::{Keys, PASSWORD, READER, WRITER};
use super::{Clients, NAME, start};
use crate::blob::Blob;
use crate::curl::PACKAGE;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

const LIMIT: Duration = Duration::from_secs(30);
/// curl's exit code where the server's certificate is of no authority that it knows.
const EXIT_UNKNOWN_AUTHORITY: i32 = 60;

pub(super) fn run(lab: &Lab, keys: &Keys, report: &mut Report<'_>) -> Result<(), CompatError> {
    PACKAGE.ensure(&lab.dir(NAME)?.join("install.log"))?;
    report.case(&format!("{NAME}/curl-credentials"), || credentials(lab, keys));
    report.case(&format!("{NAME}/curl-certificates"), || certificates(lab, keys));
    Ok(())
}

fn credentials(lab: &Lab, keys: &Keys) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/curl-credentials"))?;
    let larder = start(lab, &dir, keys, Clients::ShowNone)?;
    let curl = Curl::new(&larder, &dir, keys);
    let mut expectations = Expectations::of(&curl.log);
    let bearer = |token: &str| ["--header".to_owned(), format!("authorization: Bearer {token}")];
    let basic = |name: &str, secret: &str| ["--user".to_owned(), format!("{name}:{secret}")];
    for (who, flags, put, get) in [
        ("nobody", &[][..], 401, 401),
        ("a wrong token", &bearer("of-nobody-0123456789abcdef0123"), 401, 401),
        ("a wrong password", &basic("alice", "incorrect horse"), 401, 401),
        ("a reader before the upload", &bearer(READER), 403, 404),
        ("a writer by token", &bearer(WRITER), 200, 200),
        ("a writer by password", &basic("alice", PASSWORD), 200, 200),
        ("a writer's token as password", &basic("ci", WRITER), 200, 200),
        ("a reader", &bearer(READER), 403, 200),
    ] {
        expectations.equal(&format!("PUT by {who}"), curl.put(flags)?, Ended::with(put));
        expectations.equal(&format!("GET by {who}"), curl.get(flags)?, Ended::with(get));
    }
    expectations.equal("the bytes read", curl.blob.is_in(&curl.got), true);
    let distrusting = Curl { authority: keys.path("clients.crt"), ..curl };
    let ended = distrusting.get(&bearer(READER))?;
    let expected = Ended { exit: EXIT_UNKNOWN_AUTHORITY, code: 0 };
    expectations.equal("GET by who does not know the authority", ended, expected);
    let metrics = larder.metrics()?;
    expectations.equal(
        "PUTs turned away, unknown",
        metrics.ended("http/PUT", "UNAUTHENTICATED"),
        3,
    );
    expectations.equal(
        "PUTs turned away, known",
        metrics.ended("http/PUT", "PERMISSION_DENIED"),
        2,
    );
    expectations.met()?;
    larder.stop()?;
    Ok("tokens and passwords let in, 401 without, 403 for a reader's PUT".to_owned())
}

fn certificates(lab: &Lab, keys: &Keys) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/curl-certificates"))?;
    let larder = start(lab, &dir, keys, Clients::ShowCertificates)?;
    let curl = Curl::new(&larder, &dir, keys);
    let mut expectations = Expectations::of(&curl.log);
    let shows = |name: &str| {
        let path = |ending: &str| keys.path(&format!("{name}.{ending}")).display().to_string();
        ["--cert".to_owned(), path("crt"), "--key".to_owned(), path("key")]
    };
    for (who, flags) in [("nobody", &[][..]), ("a stranger", &shows("stranger"))] {
        let ended = curl.put(flags)?;
        let is_refused = ended.code == 0 && ended.exit != 0;
        expectations.equal(&format!("PUT by {who} ends in the handshake"), is_refused, true);
    }
    expectations.equal("PUT by a client", curl.put(&shows("client"))?, Ended::with(200));
    expectations.equal("GET by a client", curl.get(&shows("client"))?, Ended::with(200));
    expectations.equal("the bytes read", curl.blob.is_in(&curl.got), true);
    expectations.met()?;
    larder.stop()?;
    Ok("a client's certificate lets in; without one, or with another's, no handshake".to_owned())
}

/// How curl ended, and with which status; 0 where there was none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Ended {
    exit: i32,
    code: u16,
}

impl Ended {
    fn with(code: u16) -> Self {
        Self { exit: 0, code }
    }
}

/// curl, a blob, and the server that is to have it.
struct Curl {
    url: String,
    blob: Blob,
    file: PathBuf,
    got: PathBuf,
    authority: PathBuf,
    log: PathBuf,
}

impl Curl {
    fn new(larder: &Larder, dir: &Path, keys: &Keys) -> Self {
        let blob = Blob::text(1_000);
        Self {
            url: format!("https://{}/main/cas/{}", larder.address(), blob.hash),
            blob,
            file: dir.join("file"),
            got: dir.join("got"),
            authority: keys.path("servers.crt"),
            log: dir.join("curl.log"),
        }
    }

    fn get(&self, flags: &[String]) -> Result<Ended, CompatError> {
        let mut command = self.command(flags);
        command.arg("--output").arg(&self.got);
        self.run(&mut command)
    }

    fn put(&self, flags: &[String]) -> Result<Ended, CompatError> {
        self.blob.write(&self.file)?;
        let mut command = self.command(flags);
        command.args(["--output", "/dev/null", "--upload-file"]).arg(&self.file);
        self.run(&mut command)
    }

    fn command(&self, flags: &[String]) -> Command {
        let mut command = Command::new(PACKAGE.program);
        command
            .args(["--disable", "--silent", "--noproxy", "*", "--write-out", "%{http_code}\n"])
            // curl 7.88 hangs now and then where the answer to an upload over HTTP/2 comes before all of it is sent.
            .arg("--http1.1")
            .arg("--cacert")
            .arg(&self.authority)
            .args(flags)
            .arg(&self.url);
        command
    }

    fn run(&self, command: &mut Command) -> Result<Ended, CompatError> {
        let status = process::run(command, &self.log, LIMIT)?;
        let log = process::read(&self.log)?;
        let code = log.lines().last().and_then(|line| line.parse().ok());
        let code = code.ok_or_else(|| CompatError::Unreadable {
            what: "what curl printed",
            text: log.clone(),
            log: self.log.clone(),
        })?;
        Ok(Ended { exit: status.code().unwrap_or(-1), code })
    }
}
