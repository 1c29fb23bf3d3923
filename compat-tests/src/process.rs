//! Other programs: run to their end with a log and a limit, and waited for.
//!
//! This crate drives processes from one thread, so that blocking is its business; the pause stands here once.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::error::CompatError;

/// Runs `command` to its end, its output appended to `log`. Past `limit` it is killed.
pub(crate) fn run(
    command: &mut Command,
    log: &Path,
    limit: Duration,
) -> Result<ExitStatus, CompatError> {
    let mut child = start(command, log)?;
    let ended = wait(&mut child, limit).map_err(CompatError::io(log))?;
    ended.ok_or_else(|| {
        // A child that is gone already needs no killing.
        let _gone = child.kill().and_then(|()| child.wait());
        CompatError::Overdue { program: name(command), limit, log: log.to_path_buf() }
    })
}

/// Like [`run`], for a program whose exit code is known beforehand.
pub(crate) fn run_expecting(
    expected: i32,
    command: &mut Command,
    log: &Path,
    limit: Duration,
) -> Result<(), CompatError> {
    let actual = run(command, log, limit)?;
    if actual.code() == Some(expected) {
        return Ok(());
    }
    Err(CompatError::Exit { program: name(command), expected, actual, log: log.to_path_buf() })
}

/// Like [`run_expecting`]; the answer is what the program printed, to both of its outputs.
pub(crate) fn output(
    expected: i32,
    command: &mut Command,
    log: &Path,
    limit: Duration,
) -> Result<String, CompatError> {
    let before = fs::metadata(log).map_or(0, |metadata| metadata.len());
    run_expecting(expected, command, log, limit)?;
    let mut file = File::open(log).map_err(CompatError::io(log))?;
    let mut printed = Vec::new();
    file.seek(SeekFrom::Start(before))
        .and_then(|_position| file.read_to_end(&mut printed))
        .map_err(CompatError::io(log))?;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}

/// Starts `command` with no input, its output appended to `log`.
pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Child, CompatError> {
    let output = append_to(log)?;
    let errors = output.try_clone().map_err(CompatError::io(log))?;
    command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|source| CompatError::Start { program: name(command), source })
}

/// Waits for the end of `child`, at most for `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(Some(status)),
            None if Instant::now() >= deadline => return Ok(None),
            None => pause(),
        }
    }
}

/// Lets other processes get on.
#[expect(
    clippy::disallowed_methods,
    reason = "a program of one thread that waits for another process"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// The whole of a log or of a file that a program wrote.
#[expect(clippy::disallowed_methods, reason = "files that our own runs wrote a moment ago")]
pub(crate) fn read(path: &Path) -> Result<String, CompatError> {
    fs::read_to_string(path).map_err(CompatError::io(path))
}

fn append_to(log: &Path) -> Result<File, CompatError> {
    OpenOptions::new().create(true).append(true).open(log).map_err(CompatError::io(log))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
