//! An [`Activity`] as lines of text. Pure.

use std::fmt::Write as _;
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

/// What continues a line of the summary begins under its words.
const INDENT: &str = "           ";

/// A column of numbers beside the names.
struct Column<T> {
    title: &'static str,
    width: usize,
    /// Where there is not enough room, the greatest go first.
    rank: u8,
    show: fn(&T) -> String,
}

const FOUND: [Column<Found>; 3] = [
    Column { title: "per s", width: 10, rank: 1, show: |found| rate(found.lookups_per_second) },
    Column { title: "hits", width: 8, rank: 0, show: |found| percent(found.hit_ratio) },
    Column {
        title: "since start",
        width: 12,
        rank: 2,
        show: |found| percent(found.hit_ratio_since_start),
    },
];

const CALLS: [Column<Calls>; 4] = [
    Column { title: "per s", width: 10, rank: 0, show: |calls| rate(calls.per_second) },
    Column { title: "errors/s", width: 10, rank: 1, show: |calls| rate(calls.errors_per_second) },
    Column {
        title: "mean",
        width: 10,
        rank: 2,
        show: |calls| calls.mean_seconds.map_or_else(|| "-".to_owned(), time),
    },
    Column { title: "in flight", width: 10, rank: 3, show: |calls| calls.in_flight.to_string() },
];

const TASKS: [Column<Task>; 7] = [
    Column { title: "per s", width: 8, rank: 3, show: |task| rate(task.lookups_per_second) },
    Column { title: "hits", width: 9, rank: 1, show: |task| task.hits.to_string() },
    Column { title: "misses", width: 9, rank: 0, show: |task| task.misses.to_string() },
    Column { title: "ratio", width: 7, rank: 2, show: |task| percent(task.hit_ratio) },
    Column { title: "time saved", width: 11, rank: 4, show: |task| duration(task.saved_seconds) },
    Column { title: "received", width: 10, rank: 6, show: |task| size(task.received_bytes) },
    Column { title: "sent", width: 10, rank: 5, show: |task| size(task.sent_bytes) },
];

/// The lines to show.
pub(super) fn lines(activity: &Activity, order: Order, room: Room) -> Vec<String> {
    let (rows, columns) = match room {
        Room::Unbounded => (usize::MAX, usize::MAX),
        Room::Screen { rows, columns } => (rows.saturating_sub(1), columns),
    };
    let mut lines: Vec<_> =
        summary(activity).iter().flat_map(|line| wrapped(line, columns)).collect();
    let found = activity.found.iter().map(|found| (found.kind.to_owned(), found));
    lines.push(String::new());
    lines.extend(table("FOUND", 26, &FOUND, found, columns));
    let methods = if room == Room::Unbounded { usize::MAX } else { METHODS_MAX };
    // The one service whose name is longer than all that it says.
    let calls = activity.calls.iter().take(methods).map(|calls| {
        (calls.method.trim_start_matches("ContentAddressableStorage/").to_owned(), calls)
    });
    lines.push(String::new());
    lines.extend(table("CALLS", 32, &CALLS, calls, columns));
    let order = match order {
        Order::Misses => "TASKS by misses",
        Order::Saved => "TASKS by time saved",
        Order::Rate => "TASKS by lookups now",
        Order::Sent => "TASKS by bytes sent",
    };
    let tasks =
        activity.tasks.iter().map(|task| (format!("{} {}", task.tool, task.mnemonic), task));
    lines.push(String::new());
    lines.extend(table(order, 36, &TASKS, tasks, columns));
    lines.truncate(rows);
    lines
}

/// A heading and a line for each row. What does not fit is left out column by column, and of long names the end.
fn table<'a, T: 'a>(
    heading: &str,
    name_width: usize,
    columns: &[Column<T>],
    rows: impl Iterator<Item = (String, &'a T)>,
    room: usize,
) -> Vec<String> {
    let mut shown: Vec<_> = columns.iter().collect();
    let width = |shown: &[&Column<T>]| shown.iter().map(|column| column.width + 1).sum::<usize>();
    // Names keep room for the longest heading.
    let name_min = name_width.min(20);
    while !shown.is_empty() && width(&shown).saturating_add(name_min) > room {
        let last = shown.iter().map(|column| column.rank).max();
        shown.retain(|column| Some(column.rank) != last);
    }
    let name_width = name_width.min(room.saturating_sub(width(&shown)));
    let line = |name: &str, show: &dyn Fn(&Column<T>) -> String| {
        let mut line = name.chars().take(name_width).collect::<String>();
        line = format!("{line:<name_width$}");
        for column in &shown {
            let width = column.width;
            let _infallible = write!(line, " {:>width$}", show(column));
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![line(heading, &|column| column.title.to_owned())];
    lines.extend(rows.map(|(name, row)| line(&name, &|column| (column.show)(row))));
    lines
}

/// In lines that fit, broken behind commas.
pub(super) fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut current = String::new();
    for part in line.split_inclusive(", ") {
        let length = current.chars().count() + part.trim_end().chars().count();
        if !current.is_empty() && length > columns {
            lines.push(current.trim_end().to_owned());
            INDENT.clone_into(&mut current);
        }
        current.push_str(part);
    }
    lines.push(current);
    // A part that alone is too long is cut.
    lines.iter().map(|line| line.chars().take(columns).collect()).collect()
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

fn rate(per_second: f64) -> String {
    format!("{per_second:.1}")
}

/// In a unit that leaves some digits before the point.
fn time(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 1.0 => format!("{seconds:.2} s"),
        _ if seconds >= 1e-3 => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.1} µs", seconds * 1e6),
    }
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
larder_rpc_duration_seconds_sum{method=\"ContentAddressableStorage/FindMissingBlobs\"} 0.0001648
larder_rpc_duration_seconds_count{method=\"ContentAddressableStorage/FindMissingBlobs\"} 4
larder_disk_free_bytes 32212254720
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
            "1.5 GiB of 3.0 GiB, 0 B dead, 30.0 GiB free, 0.0 evictions/s, unused for 1day 2h and more\n",
            "action results                    2.0    75.0%        75.0%\n",
            "FindMissingBlobs                        2.0        0.0    41.2 µs          0\n",
            "TASKS by time saved",
            "bazel CppLink                             0.0         0         0       -       1h 2m        0 B    2.0 KiB",
        ] {
            assert!(table.contains(part), "{part:?} is not in\n{table}");
        }
    }

    #[test]
    fn a_terminal_of_80_columns_cuts_nothing_off() {
        let lines = shown(Room::Screen { rows: 50, columns: 80 });
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        for line in [
            "disk       1.5 GiB of 3.0 GiB, 0 B dead, 30.0 GiB free, 0.0 evictions/s,",
            "           unused for 1day 2h and more",
            "FOUND                           per s     hits  since start",
            "CALLS                                 per s   errors/s       mean  in flight",
            "TASKS by time saved     per s      hits    misses   ratio  time saved       sent",
            "bazel CppLink             0.0         0         0       -       1h 2m    2.0 KiB",
        ] {
            assert!(lines.contains(&line.to_owned()), "{line:?} is not in {lines:#?}");
        }
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        for (seconds, expect) in [
            (0.0, "0.0 µs"),
            (0.000_004_2, "4.2 µs"),
            (0.000_999, "999.0 µs"),
            (0.001, "1.00 ms"),
            (0.25, "250.00 ms"),
            (1.5, "1.50 s"),
            (30.0, "30.00 s"),
        ] {
            assert_eq!(time(seconds), expect);
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_off() {
        let lines = shown(Room::Screen { rows: 9, columns: 20 });
        assert_eq!(lines.len(), 8);
        assert!(lines.iter().all(|line| line.chars().count() <= 20), "{lines:?}");
    }
}
