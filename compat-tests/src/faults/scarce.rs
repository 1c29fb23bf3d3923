//! What runs out: room, descriptors, and the right to write.

use std::fs;
use std::path::{Path, PathBuf};

use super::mount::Mount;
use super::{Bench, NAME, Promise, case, launch};
use crate::error::CompatError;
use crate::http::Connection;
use crate::lab::Lab;
use crate::larder::Larder;
use crate::process;
use crate::report::Report;

/// Each case; a note where nothing can be mounted.
pub(super) fn run(lab: &Lab, report: &mut Report<'_>) {
    case(lab, report, "few-descriptors", few_descriptors);
    let probe = lab.dir(&format!("{NAME}/probe")).and_then(|dir| Mount::memory(&dir, 1));
    if let Err(error) = probe {
        report.note(&format!("{NAME}/full-disk"), &format!("NOT RUN: {error}"));
        return;
    }
    case(lab, report, "full-disk", full_disk);
    case(lab, report, "read-only", read_only);
}

/// A disk smaller than the limit: what comes evicts what was; then others fill it, and go again.
fn full_disk(bench: &mut Bench<'_>) -> Result<String, CompatError> {
    let mount = Mount::memory(&bench.dir, 32)?;
    let launch = launch(&mount.point.join("data"), "sync");
    let mut server = Larder::launch(bench.lab, &bench.dir, launch)?;
    let address = server.address();
    // Some three times the disk.
    bench.oracle.load(address, |acknowledged| Ok(acknowledged >= 900))?;
    let refused = bench.oracle.codes.iter().filter(|(code, _)| **code != 200);
    let refused: u32 = refused.map(|(_, count)| count).sum();
    bench.expect(
        refused * 20 < 900,
        format!("expected room to be made, got {:?}", bench.oracle.codes),
    );
    bench.verify(&server, Promise::Nothing)?;
    bench.expect(server.is_ready(), "expected a full disk not to end readiness");

    let ballast = mount.point.join("ballast");
    let filled = fill(&ballast)?;
    let refusals = |codes: &std::collections::BTreeMap<u16, u32>| codes.get(&507).copied();
    let before = refusals(&bench.oracle.codes);
    let begun = std::time::Instant::now();
    bench.oracle.load(address, |_| Ok(begun.elapsed().as_secs() >= 1))?;
    bench.verify(&server, Promise::Nothing)?;
    let others = bench.oracle.codes.keys().filter(|code| ![200, 507].contains(*code)).count();
    bench.expect(others == 0, format!("expected 200 and 507 only, got {:?}", bench.oracle.codes));
    fs::remove_file(&ballast).map_err(CompatError::io(&ballast))?;
    // Without a restart.
    bench.oracle.load(address, |acknowledged| Ok(acknowledged >= 50))?;
    bench.verify(&server, Promise::Nothing)?;
    let after = refusals(&bench.oracle.codes);
    server.crash_and_restart()?;
    bench.verify(&server, Promise::Nothing)?;
    bench.oracle.load(address, |acknowledged| Ok(acknowledged >= 20))?;
    // Its index has rightly logged errors.
    server.crash()?;
    Ok(format!(
        "answers {:?}; ballast of {} MiB, 507 {} times before it, {} times after",
        bench.oracle.codes,
        filled >> 20,
        before.unwrap_or(0),
        after.unwrap_or(0),
    ))
}

/// Takes all room that there is.
fn fill(path: &Path) -> Result<u64, CompatError> {
    use std::io::Write;
    let mut file = fs::File::create(path).map_err(CompatError::io(path))?;
    let piece = vec![7; 64 << 10];
    let mut filled = 0;
    while file.write_all(&piece).is_ok() {
        filled += piece.len() as u64;
    }
    Ok(filled)
}

/// So few descriptors that idle clients take all places.
fn few_descriptors(bench: &mut Bench<'_>) -> Result<String, CompatError> {
    let mut launch = launch(&bench.dir.join("data"), "sync");
    let shell = "ulimit -n 72; exec \"$@\"";
    launch.wrapper = ["sh", "-c", shell, "sh"].map(str::to_owned).to_vec();
    let mut server = Larder::launch(bench.lab, &bench.dir, launch)?;
    let address = server.address();
    bench.oracle.load(address, |acknowledged| Ok(acknowledged >= 100))?;
    let mut early = Connection::open(address).map_err(CompatError::call("connect"))?;
    early.get("/cas/absent").map_err(CompatError::call("GET"))?;
    let idle: Vec<_> = (0..200).filter_map(|_| Connection::open(address).ok()).collect();
    let spent = cpu_ticks(server.pid())?;
    let begun = std::time::Instant::now();
    while begun.elapsed().as_millis() < 1_000 {
        process::pause();
    }
    let spent = cpu_ticks(server.pid())? - spent;
    // A tick is 10 ms of CPU; two spinning threads would spend 200.
    bench.expect(
        spent < 50,
        format!("expected an acceptor that waits, it took {spent} ticks in a second"),
    );
    let answer = early.get("/kv/oracle/0").map_err(CompatError::call("GET"))?;
    bench.expect(answer.code == 200, format!("expected a read to go on, got {}", answer.code));
    let count = idle.len();
    drop(idle);
    bench.verify(&server, Promise::Acknowledged)?;
    bench.oracle.load(address, |acknowledged| Ok(acknowledged >= 50))?;
    server.crash_and_restart()?;
    bench.verify(&server, Promise::Acknowledged)?;
    server.stop()?;
    Ok(format!("{count} idle connections over 72 descriptors, {spent} ticks of CPU in a second"))
}

/// The file system finds an error in itself and turns read-only.
fn read_only(bench: &mut Bench<'_>) -> Result<String, CompatError> {
    let mkfs = ["mkfs.ext4", "-q", "-F", "-e", "remount-ro"];
    let mount = Mount::image(&bench.dir, &mkfs, 128)?;
    let launch = launch(&mount.point.join("data"), "sync");
    let mut server = Larder::launch(bench.lab, &bench.dir, launch)?;
    let address = server.address();
    bench.oracle.load(address, |acknowledged| Ok(acknowledged >= 100))?;
    let trigger = PathBuf::from(format!("/sys/fs/ext4/{}/trigger_fs_error", mount.device()?));
    fs::write(&trigger, "1").map_err(CompatError::io(&trigger))?;
    let begun = std::time::Instant::now();
    bench.oracle.load(address, |_| Ok(begun.elapsed().as_millis() > 500))?;
    bench.verify(&server, Promise::Acknowledged)?;
    let codes = bench.oracle.codes.clone();
    bench.expect(codes.contains_key(&503), format!("expected refused writes, got {codes:?}"));
    server.crash()?;
    mount.unmount()?;
    mount.mount()?;
    server.restart()?;
    bench.verify(&server, Promise::Acknowledged)?;
    bench.oracle.load(address, |acknowledged| Ok(acknowledged >= 20))?;
    // It has rightly logged errors.
    server.crash()?;
    Ok(format!("answers {codes:?}, {} names kept", bench.oracle.acknowledged()))
}

/// What a process has spent, in hundredths of a second (proc(5), fields 14 and 15 of `stat`).
pub(super) fn cpu_ticks(pid: u32) -> Result<u64, CompatError> {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let stat = process::read(&path)?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |index: usize| fields.split_whitespace().nth(index)?.parse::<u64>().ok();
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok(user + system),
        _ => Err(CompatError::io(&path)(std::io::ErrorKind::InvalidData.into())),
    }
}
