//! An [`Activity`] as lines of text. Pure.

use std::time::Duration;

use super::activity::{Activity, Calls, Found, Order, Task};
use crate::config::ByteSize;

/// How much there is room for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(super) enum Room {
    /// All lines, whole.
    Unbounded,
    /// What fits a terminal of this size, the line of its cursor left out.
    Screen { rows: usize, columns: usize },
}

/// Of the methods that fit least, only the busiest are shown.
const METHODS_MAX: usize = 8;

/// The lines to show.
pub(super) fn lines(activity: &Activity, order: Order, room: Room) -> Vec<String> {
    let mut lines = summary(activity);
    lines.push(String::new());
    lines.push(format!("{:<26} {:>10} {:>8} {:>12}", "FOUND", "per s", "hits", "since start"));
    lines.extend(activity.found.iter().map(found));
    lines.push(String::new());
    lines.push(format!(
        "{:<32} {:>10} {:>10} {:>10} {:>10}",
        "CALLS", "per s", "errors/s", "mean", "in flight"
    ));
    let methods = if room == Room::Unbounded { usize::MAX } else { METHODS_MAX };
    lines.extend(activity.calls.iter().take(methods).map(calls));
    lines.push(String::new());
    let order = match order {
        Order::Misses => "TASKS by misses",
        Order::Saved => "TASKS by time saved",
        Order::Rate => "TASKS by lookups now",
        Order::Sent => "TASKS by bytes sent",
    };
    lines.push(format!(
        "{order:<36} {:>10} {:>9} {:>9} {:>7} {:>12} {:>10} {:>10}",
        "per s", "hits", "misses", "ratio", "time saved", "received", "sent"
    ));
    lines.extend(activity.tasks.iter().map(task));
    if let Room::Screen { rows, columns } = room {
        lines.truncate(rows.saturating_sub(1));
        for line in &mut lines {
            *line = line.chars().take(columns).collect();
        }
    }
    lines
}

fn summary(Activity { in_flight, hot, disk, .. }: &Activity) -> Vec<String> {
    let free = disk.free_bytes.map_or_else(String::new, |bytes| format!(", {} free", size(bytes)));
    let retention = disk.min_retention_seconds;
    let retention = retention
        .map_or_else(String::new, |seconds| format!(", unused for {} and more", duration(seconds)));
    vec![
        format!(
            "in flight  {} calls on {} connections, {} of {}, {} waiting",
            in_flight.calls,
            in_flight.connections,
            size(in_flight.bytes),
            size(in_flight.limit_bytes),
            in_flight.waiting
        ),
        format!(
            "memory     {} of {}, {} entries, {:.1} evictions/s",
            size(hot.bytes),
            size(hot.limit_bytes),
            hot.entries,
            hot.evictions_per_second
        ),
        format!(
            "disk       {} of {}, {} dead{free}, {:.1} evictions/s{retention}",
            size(disk.stored_bytes),
            size(disk.limit_bytes),
            size(disk.dead_bytes),
            disk.evictions_per_second
        ),
    ]
}

fn found(Found { kind, lookups_per_second, hit_ratio, hit_ratio_since_start }: &Found) -> String {
    let (now, since_start) = (percent(*hit_ratio), percent(*hit_ratio_since_start));
    format!("{kind:<26} {lookups_per_second:>10.1} {now:>8} {since_start:>12}")
}

fn calls(calls: &Calls) -> String {
    let Calls { method, per_second, errors_per_second, mean_seconds, in_flight } = calls;
    let mean = mean_seconds.map_or_else(|| "-".to_owned(), |mean| format!("{:.2} ms", mean * 1e3));
    // The one service whose name is longer than all that it says.
    let method = method.trim_start_matches("ContentAddressableStorage/");
    format!("{method:<32} {per_second:>10.1} {errors_per_second:>10.1} {mean:>10} {in_flight:>10}")
}

fn task(task: &Task) -> String {
    let name = format!("{} {}", task.tool, task.mnemonic);
    format!(
        "{name:<36} {:>10.1} {:>9} {:>9} {:>7} {:>12} {:>10} {:>10}",
        task.lookups_per_second,
        task.hits,
        task.misses,
        percent(task.hit_ratio),
        duration(task.saved_seconds),
        size(task.received_bytes),
        size(task.sent_bytes)
    )
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1}%", ratio * 100.0))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast saturates, and nothing is negative"
)]
fn size(bytes: f64) -> String {
    ByteSize::bytes(bytes as u64).approximate()
}

/// Whole seconds: `3h 2m 5s`.
fn duration(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.trunc()).unwrap_or_default();
    let text = humantime::format_duration(whole).to_string();
    // Two units say enough.
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;

    const PAGE: &str = "\
larder_disk_stored_bytes 1610612736
larder_disk_limit_bytes 3221225472
larder_disk_min_retention_seconds 93784
larder_action_lookups_total{outcome=\"hit\"} 3
larder_action_lookups_total{outcome=\"miss\"} 1
larder_rpcs_total{method=\"ContentAddressableStorage/FindMissingBlobs\",code=\"OK\"} 4
larder_task_sent_bytes_total{tool=\"bazel\",mnemonic=\"CppLink\"} 2048
larder_task_saved_seconds_total{tool=\"bazel\",mnemonic=\"CppLink\"} 3725.5
";

    fn shown(room: Room) -> Vec<String> {
        let sample = Sample::read(PAGE);
        let activity = Activity::between(&Sample::default(), &sample, 2.0, Order::Saved);
        lines(&activity, Order::Saved, room)
    }

    #[test]
    fn a_table_says_what_people_ask() {
        let table = shown(Room::Unbounded).join("\n");
        for part in [
            "1.5 GiB of 3.0 GiB, 0 B dead, 0.0 evictions/s, unused for 1day 2h and more\n",
            "action results                    2.0    75.0%        75.0%\n",
            "FindMissingBlobs                        2.0        0.0          -          0\n",
            "TASKS by time saved",
            "bazel CppLink                               0.0         0         0       -        1h 2m        0 B    2.0 KiB",
        ] {
            assert!(table.contains(part), "{part:?} is not in\n{table}");
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_off() {
        let lines = shown(Room::Screen { rows: 9, columns: 20 });
        assert_eq!(lines.len(), 8);
        assert!(lines.iter().all(|line| line.chars().count() <= 20), "{lines:?}");
    }
}
