//! curl on the HTTP cache: whole blobs, ranges, zstd in both directions, bodies of unknown length, what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::blob::Blob;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::DebianPackage;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "curl";

pub(crate) const PACKAGE: DebianPackage = DebianPackage { program: "curl", package: "curl" };

const LIMIT: Duration = Duration::from_mins(1);
/// What curl prints at the end: the code, and how many bytes of body came and went on the wire.
const WRITE_OUT: &str = "%{http_code} sent %{size_upload} received %{size_download}";
/// Enough for several messages, and for compression to show.
const LINES: usize = 200_000;

/// The cache by HTTP/1.1 as a script would use it, cold, warm and after a crash.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let log = lab.dir(NAME)?.join("install.log");
    PACKAGE.ensure(&log)?;
    let version = process::output(0, Command::new("curl").arg("--version"), &log, LIMIT)?;
    report.note(NAME, version.lines().next().unwrap_or_default());
    report.case(&format!("{NAME}/blobs"), || blobs(lab));
    report.case(&format!("{NAME}/compressed"), || compressed(lab));
    report.case(&format!("{NAME}/action-results"), || action_results(lab));
    Ok(())
}

fn blobs(lab: &Lab) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/blobs"))?;
    let mut larder = Larder::start(lab, &dir)?;
    let curl = Curl::new(&larder, &dir);
    let mut expectations = Expectations::of(&curl.log);
    let (blob, other) = (Blob::text(LINES), Blob::noise(100_000, 1));
    let len = blob.bytes.len();
    let (file, got) = (dir.join("file"), dir.join("got"));
    blob.write(&file)?;
    let path = format!("/some/instance/cas/{}", blob.hash);

    expectations.equal("GET, cold", curl.get(&path, &got, &[])?.code, 404);
    expectations.equal("PUT", curl.put(&path, &file, &[])?, Answer::sent(200, len));
    let wrong = format!("/some/instance/cas/{}", other.hash);
    expectations.equal("PUT under another hash", curl.put(&wrong, &file, &[])?.code, 400);
    expectations.equal("GET of what was refused", curl.get(&wrong, &got, &[])?.code, 404);
    expectations.equal("GET of no hash", curl.get("/cas/nohash", &got, &[])?.code, 400);
    let delete = curl.get(&path, &got, &["--request", "DELETE"])?.code;
    expectations.equal("DELETE", delete, 405);
    // A body of unknown length comes in chunks.
    other.write(&file)?;
    let chunks = curl.put(&wrong, &file, &["--header", "Transfer-Encoding: chunked"])?;
    expectations.equal("PUT in chunks", chunks.code, 200);
    expectations.equal("blobs stored", larder.metrics()?.blobs_stored(), 2);

    larder.crash_and_restart()?;
    for (blob, path) in [(&blob, &path), (&other, &wrong)] {
        let answer = curl.get(path, &got, &[])?;
        expectations.equal("GET, warm", answer, Answer::received(200, blob.bytes.len()));
        expectations.equal("GET, warm: the same bytes", blob.is_in(&got), true);
    }
    let head = curl.get(&path, &got, &["--head"])?.code;
    expectations.equal("HEAD", head, 200);
    let headers = String::from_utf8_lossy(&contents(&got)?).to_ascii_lowercase();
    expectations.says("HEAD", &headers, &format!("content-length: {len}"));
    let ranges =
        [("0-0", 0..1), ("100-199", 100..200), ("-10", len - 10..len), ("1000-", 1000..len)];
    for (range, part) in ranges {
        let answer = curl.get(&path, &got, &["--range", range])?;
        expectations.equal(range, answer, Answer::received(206, part.len()));
        expectations.equal(range, contents(&got)? == blob.bytes[part], true);
    }
    let beyond = curl.get(&path, &got, &["--range", &format!("{len}-")])?.code;
    expectations.equal("a range beyond the end", beyond, 416);
    let metrics = larder.metrics()?;
    expectations.at_least("GETs counted by the server", metrics.calls("http/GET"), 6);
    expectations.at_least("hits counted by the server", metrics.blob_hits(), 6);
    expectations.met()?;
    larder.stop()?;
    Ok("PUT whole and in chunks; after kill -9 GET, HEAD and four ranges; wrong hash refused"
        .to_owned())
}

fn compressed(lab: &Lab) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/compressed"))?;
    let larder = Larder::start(lab, &dir)?;
    let curl = Curl::new(&larder, &dir);
    let mut expectations = Expectations::of(&curl.log);
    let blob = Blob::text(LINES);
    let len = blob.bytes.len();
    let (file, got) = (dir.join("file.zst"), dir.join("got"));
    let zstd = zstd::encode_all(&*blob.bytes, 1).map_err(CompatError::io(&file))?;
    Blob::of(zstd.clone()).write(&file)?;
    let path = format!("/cas/{}", blob.hash);

    let sent = curl.put(&path, &file, &["--header", "Content-Encoding: zstd"])?;
    expectations.equal("PUT of zstd", sent, Answer::sent(200, zstd.len()));
    let plain = curl.get(&path, &got, &[])?;
    expectations.equal("GET without encodings", plain, Answer::received(200, len));
    expectations.equal("GET without encodings: the same bytes", blob.is_in(&got), true);
    let answer = curl.get(&path, &got, &["--header", "Accept-Encoding: zstd"])?;
    expectations.equal("GET of zstd", answer.code, 200);
    expectations.at_most("bytes of zstd", answer.received, len / 4);
    let decoded = zstd::decode_all(&*contents(&got)?).unwrap_or_default();
    expectations.equal("GET of zstd: the same bytes", decoded == blob.bytes, true);
    expectations.equal("blobs stored", larder.metrics()?.blobs_stored(), 1);
    expectations.met()?;
    larder.stop()?;
    Ok(format!("{len} B as {} B up and {} B down", zstd.len(), answer.received))
}

fn action_results(lab: &Lab) -> Result<String, CompatError> {
    let dir = lab.dir(&format!("{NAME}/action-results"))?;
    let mut larder = Larder::start(lab, &dir)?;
    let curl = Curl::new(&larder, &dir);
    let mut expectations = Expectations::of(&curl.log);
    let (file, got) = (dir.join("result"), dir.join("got"));
    // An ActionResult that only says `exit_code: 3`.
    let result = Blob::of([0x20, 3]);
    result.write(&file)?;
    let path = format!("/ac/{}", Blob::of("an action").hash);
    expectations.equal("GET, cold", curl.get(&path, &got, &[])?.code, 404);
    expectations.equal("PUT", curl.put(&path, &file, &[])?, Answer::sent(200, 2));
    larder.crash_and_restart()?;
    expectations.equal("GET, warm", curl.get(&path, &got, &[])?, Answer::received(200, 2));
    expectations.equal("GET, warm: the same bytes", result.is_in(&got), true);
    let other = curl.get(&format!("/other{path}"), &got, &[])?.code;
    expectations.equal("GET from another instance", other, 404);
    expectations.equal("hits counted by the server", larder.metrics()?.action_hits(), 1);
    expectations.met()?;
    larder.stop()?;
    Ok("a miss, a PUT; after kill -9 a hit, and a miss in another instance".to_owned())
}

/// What curl says of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Answer {
    code: u16,
    sent: usize,
    received: usize,
}

impl Answer {
    fn sent(code: u16, sent: usize) -> Self {
        Self { code, sent, received: 0 }
    }

    fn received(code: u16, received: usize) -> Self {
        Self { code, sent: 0, received }
    }

    /// Reads what [`WRITE_OUT`] makes curl print.
    fn parse(printed: &str) -> Option<Self> {
        let mut words = printed.lines().last()?.split(' ');
        let code = words.next()?.parse().ok()?;
        let sent = words.nth(1)?.parse().ok()?;
        let received = words.nth(1)?.parse().ok()?;
        Some(Self { code, sent, received })
    }
}

/// curl, and the server that it asks.
struct Curl {
    base: String,
    log: PathBuf,
}

impl Curl {
    fn new(larder: &Larder, dir: &Path) -> Self {
        Self { base: format!("http://{}", larder.address()), log: dir.join("curl.log") }
    }

    fn get(&self, path: &str, to: &Path, flags: &[&str]) -> Result<Answer, CompatError> {
        let mut command = self.command(path, flags);
        command.arg("--output").arg(to);
        self.run(&mut command)
    }

    fn put(&self, path: &str, from: &Path, flags: &[&str]) -> Result<Answer, CompatError> {
        let mut command = self.command(path, flags);
        command.args(["--output", "/dev/null", "--upload-file"]).arg(from);
        self.run(&mut command)
    }

    fn command(&self, path: &str, flags: &[&str]) -> Command {
        let mut command = Command::new(PACKAGE.program);
        command
            .args(["--disable", "--silent", "--show-error", "--noproxy", "*"])
            .args(["--write-out", WRITE_OUT])
            .args(flags)
            .arg(format!("{}{path}", self.base));
        command
    }

    fn run(&self, command: &mut Command) -> Result<Answer, CompatError> {
        let printed = process::output(0, command, &self.log, LIMIT)?;
        Answer::parse(&printed).ok_or_else(|| CompatError::Unreadable {
            what: "what curl printed",
            text: printed,
            log: self.log.clone(),
        })
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, CompatError> {
    fs::read(path).map_err(CompatError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let table = [
            ("200 sent 0 received 17", Some(Answer::received(200, 17))),
            ("curl: a warning\n400 sent 3 received 0", Some(Answer::sent(400, 3))),
            ("", None),
            ("200 sent x received 0", None),
        ];
        for (printed, answer) in table {
            assert_eq!(Answer::parse(printed), answer, "{printed}");
        }
    }
}
