//! [`Mount`]: a file system of a case's own, in a file or in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::CompatError;
use crate::process;

const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// A mounted file system; dropping it unmounts it.
pub(super) struct Mount {
    image: PathBuf,
    pub(super) point: PathBuf,
    log: PathBuf,
}

impl Mount {
    /// A new file system on a loop device, made by `mkfs` (a program and its arguments).
    pub(super) fn image(dir: &Path, mkfs: &[&str], size_mib: u64) -> Result<Self, CompatError> {
        let image = dir.join("disk.img");
        let file = fs::File::create(&image).map_err(CompatError::io(&image))?;
        file.set_len(size_mib << 20).map_err(CompatError::io(&image))?;
        let mount = Self { point: dir.join("mnt"), log: dir.join("mount.log"), image };
        fs::create_dir_all(&mount.point).map_err(CompatError::io(&mount.point))?;
        let (program, arguments) = mkfs.split_first().unwrap_or((&"mkfs", &[]));
        mount.run(Command::new(program).args(arguments).arg(&mount.image))?;
        mount.mount()?;
        Ok(mount)
    }

    /// A file system in memory.
    pub(super) fn memory(dir: &Path, size_mib: u64) -> Result<Self, CompatError> {
        let mount =
            Self { image: PathBuf::new(), point: dir.join("mnt"), log: dir.join("mount.log") };
        fs::create_dir_all(&mount.point).map_err(CompatError::io(&mount.point))?;
        let options = format!("size={size_mib}m");
        mount.run(
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "larder"]).arg(&mount.point),
        )?;
        Ok(mount)
    }

    pub(super) fn mount(&self) -> Result<(), CompatError> {
        self.run(Command::new("mount").args(["-o", "loop"]).args([&self.image, &self.point]))
    }

    pub(super) fn unmount(&self) -> Result<(), CompatError> {
        self.run(Command::new("umount").arg(&self.point))
    }

    /// What was not flushed is gone: nothing more reaches the device.
    pub(super) fn cut_power(&self) -> Result<(), CompatError> {
        self.run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.point))
    }

    /// The device behind it, without its directory.
    pub(super) fn device(&self) -> Result<String, CompatError> {
        let mounts = process::read(Path::new("/proc/mounts"))?;
        let point = self.point.display().to_string();
        let device = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let device = words.next()?;
            (words.next()? == point).then(|| device.trim_start_matches("/dev/").to_owned())
        });
        device.ok_or_else(|| CompatError::io(&self.point)(std::io::ErrorKind::NotFound.into()))
    }

    fn run(&self, command: &mut Command) -> Result<(), CompatError> {
        process::run_expecting(0, command, &self.log, COMMAND_LIMIT)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // After a failed case something may still have it open; lazily it goes when that has ended.
        let _gone = self.run(Command::new("umount").arg("--lazy").arg(&self.point));
    }
}
