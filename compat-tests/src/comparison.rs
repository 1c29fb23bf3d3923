//! Larder beside the servers that registries have, buildbox-casd and `BuildGrid`, under `larder-bench`, in turn within one run.
//!
//! All start with empty stores on the same disk, and end with the run. The figures are the load generator's.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::bgd::{self, Bgd, Storage};
use crate::buildbox;
use crate::error::CompatError;
use crate::lab::Lab;
use crate::larder::{Larder, Launch};

/// Room for what a run writes before Larder evicts: the peers keep all of it.
const MAX_SIZE: &str = "20GiB";

/// What bounds a run on three servers to minutes. Options that come later win.
const BOUNDS: &str = "--duration 2s --warm-up 500ms --rounds 2";

/// What is compared, and where.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// Larder's binary.
    pub server: &'a Path,
    /// The load generator.
    pub bench: &'a Path,
    /// Where peers are installed and all servers keep their data; emptied first, but for what is installed.
    pub work_dir: &'a Path,
    /// Where `table.txt` and `report.json` go.
    pub report_dir: &'a Path,
    /// Larder's setting.
    pub durability: Durability,
    /// Larder's memory for blobs, such as `8MiB`, where the default would hold all that is read.
    pub hot: Option<&'a str>,
    /// What else the load generator is told.
    pub options: &'a [String],
}

/// When Larder answers an upload.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Durability {
    /// The kernel has it; synced once a second
    Interval,
    /// It is synced
    Sync,
}

/// Runs a comparison and prints its table to `out` as it comes; the answer is whether all went well. What did not is told there.
pub fn compare(comparison: &Comparison<'_>, out: &mut dyn Write) -> bool {
    comparison.run(out).unwrap_or_else(|error| {
        // With nobody to read it, the answer still tells.
        let _unread = writeln!(out, "error: {error}");
        false
    })
}

impl Comparison<'_> {
    fn run(&self, out: &mut dyn Write) -> Result<bool, CompatError> {
        let lab = Lab::set_up(self.server, self.work_dir, 1)?;
        let dirs = ["larder", "casd", "buildgrid"].map(|name| lab.dir(&format!("compare/{name}")));
        let [larder_dir, casd_dir, buildgrid_dir] = dirs;
        let (larder_dir, casd_dir, buildgrid_dir) = (larder_dir?, casd_dir?, buildgrid_dir?);
        let log = lab.dir("compare")?.join("install.log");
        let (casd, casd_version) = buildbox::install(&lab, &log)?;
        let bgd = Bgd::install(&lab, &log)?;

        let casd = buildbox::cache(&casd, &casd_dir)?;
        let buildgrid = bgd::cache(&bgd, &buildgrid_dir, Storage::Disk)?;
        let mut settings = vec![
            ("max_size", MAX_SIZE.to_owned()),
            ("durability", self.durability.setting().to_owned()),
        ];
        settings.extend(self.hot.map(|hot| ("hot.capacity", hot.to_owned())));
        let data_dir = larder_dir.join("data");
        let larder =
            Larder::launch(&lab, &larder_dir, Launch { wrapper: Vec::new(), settings, data_dir })?;

        let address = larder.address();
        let servers = [
            format!("larder=grpc://{address},pid={},http=http://{address}", larder.pid()),
            format!("casd=grpc://{},pid={}", casd.address(), casd.pid()),
            format!("buildgrid=grpc://{},pid={}", buildgrid.address(), buildgrid.pid()),
        ];
        let versions = format!(
            "larder with {} durability and {} of memory for blobs, {casd_version}, {} with files on disk\n",
            self.durability.setting(),
            self.hot.unwrap_or("the default"),
            bgd::server_version()
        );
        let went_well = self.load(&servers, &larder_dir, &versions, out)?;
        larder.stop()?;
        drop((casd, buildgrid));
        for store in [larder_dir.join("data"), casd_dir.join("cache"), buildgrid_dir.join("store")]
        {
            fs::remove_dir_all(&store).map_err(CompatError::io(&store))?;
        }
        Ok(went_well)
    }

    /// Runs the load generator; its table goes to `out` and into a file, its progress to standard error.
    fn load(
        &self,
        servers: &[String],
        scratch: &Path,
        versions: &str,
        out: &mut dyn Write,
    ) -> Result<bool, CompatError> {
        fs::create_dir_all(self.report_dir).map_err(CompatError::io(self.report_dir))?;
        let table = self.report_dir.join("table.txt");
        let failed = || CompatError::io(&table);
        let mut file = File::create(&table).map_err(failed())?;
        let mut command = Command::new(self.bench);
        command
            .arg("--compare")
            .args(servers)
            .args(BOUNDS.split_whitespace())
            .arg("--scratch")
            .arg(scratch)
            .arg("--json")
            .arg(self.report_dir.join("report.json"))
            .args(self.options)
            .stdout(Stdio::piped());
        let program = self.bench.display().to_string();
        let start = |source| CompatError::Start { program, source };
        let mut child = command.spawn().map_err(start)?;
        let lines = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
        for line in std::iter::once(Ok(versions.to_owned())).chain(lines) {
            let line = line.map_err(failed())?;
            writeln!(out, "{line}").and_then(|()| writeln!(file, "{line}")).map_err(failed())?;
        }
        let ended = child.wait().map_err(failed())?;
        Ok(ended.success())
    }
}

impl Durability {
    /// As in Larder's settings.
    fn setting(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Sync => "sync",
        }
    }
}
