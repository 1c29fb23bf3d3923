//! `larder verify`: reads all that a stopped server's directory holds; each finding is a line, the counts come last.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use larder_disk::{DiskError, Io, RealIo, Repair, Verified, Watch, verify};

use crate::config::ByteSize;

/// What ends `larder verify` before it has seen everything.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerifyError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("standard output")]
    Output(#[from] io::Error),
}

/// Whether the directory is sound, mended parts included.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Verdict {
    Sound,
    Wrong,
}

/// Reads `data_dir`, and mends it if asked.
pub(super) fn run(data_dir: &Path, repair: Repair) -> Result<Verdict, VerifyError> {
    let io: Arc<dyn Io> = Arc::new(RealIo);
    let bar = bar();
    let watch = Arc::new(BarWatch(bar.clone()));
    let mut out = io::stdout();
    let mut printed = Ok(());
    let verified = verify(data_dir, repair, &io, watch, &mut |finding| {
        if printed.is_ok() {
            // A terminal may show both: the bar makes way for the line.
            printed = bar.suspend(|| writeln!(out, "{finding}"));
        }
    });
    bar.finish_and_clear();
    let verified = verified?;
    printed?;
    write!(out, "{}", counts(&verified, repair))?;
    Ok(if verified.is_sound() { Verdict::Sound } else { Verdict::Wrong })
}

/// On standard error, where that is a terminal; it shows nothing otherwise.
fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template =
        "{bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Moves the bar.
#[derive(Debug)]
struct BarWatch(ProgressBar);

impl Watch for BarWatch {
    fn planned(&self, bytes: u64) {
        self.0.set_length(bytes);
    }
    fn read(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

fn counts(verified: &Verified, repair: Repair) -> String {
    let Verified { packs, blob_files, records, removals, bytes, .. } = *verified;
    let Verified { bad_records, wrong, mended, foreign, half_written, .. } = *verified;
    let size = ByteSize::bytes(bytes).approximate();
    let verdict = match (wrong, verified.is_sound(), repair) {
        (0, ..) => "sound",
        (_, true, _) => "mended: it is sound now",
        (_, false, Repair::Yes) => "not sound: some of it could not be mended",
        (_, false, Repair::No) => "not sound: --repair mends it",
    };
    format!(
        "read          {records} records and {removals} removals in {packs} packs and {blob_files} blob files, {size}\n\
         wrong         {wrong} ({bad_records} bad records), {mended} mended\n\
         left alone    {foreign} foreign; {half_written} half-written\n\
         {verdict}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_verdict() {
        let check = |wrong: u64, mended: u64, repair: Repair, expect: &str| {
            let verified = Verified { wrong, mended, ..Verified::default() };
            let text = counts(&verified, repair);
            assert_eq!(text.lines().last(), Some(expect), "{wrong} {mended}");
        };
        check(0, 0, Repair::No, "sound");
        check(0, 0, Repair::Yes, "sound");
        check(2, 0, Repair::No, "not sound: --repair mends it");
        check(2, 2, Repair::Yes, "mended: it is sound now");
        check(2, 1, Repair::Yes, "not sound: some of it could not be mended");
    }
}
