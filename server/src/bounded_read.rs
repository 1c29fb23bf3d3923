//! [`bounded_read`]: a small text file, and not a byte more than is said.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::path::Path;

use crate::unwaiting::Unwaiting as _;

/// The text of a file of at most `limit_bytes`; a longer one is an error.
pub(crate) fn bounded_read(path: &Path, limit_bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    let file = OpenOptions::new().read(true).open_unwaiting(path)?;
    file.take(limit_bytes.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() as u64 > limit_bytes {
        let message = format!("longer than the limit of {limit_bytes} B");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_exact() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(bounded_read(&path, 5).unwrap(), "12345");
        let error = bounded_read(&path, 4).unwrap_err();
        assert_eq!(error.to_string(), "longer than the limit of 4 B");
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        assert_eq!(bounded_read(&path, 5).unwrap(), "");
    }
}
