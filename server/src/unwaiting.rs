//! [`Unwaiting`]: opening a file that an operator names, which may turn out to be a named pipe that nobody has open at its other end.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// Opens without waiting for anybody.
pub(crate) trait Unwaiting {
    /// As `open`, but for a named pipe whose other end nobody has: to write to it is an error, to read from it finds it empty. What is opened
    /// waits as usual.
    fn open_unwaiting(&mut self, path: &Path) -> io::Result<File>;
}

impl Unwaiting for OpenOptions {
    fn open_unwaiting(&mut self, path: &Path) -> io::Result<File> {
        let unwaiting = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open");
        let file = self.custom_flags(unwaiting).open(path)?;
        let flags = fcntl_getfl(&file)?;
        fcntl_setfl(&file, flags.difference(OFlags::NONBLOCK))?;
        Ok(file)
    }
}
