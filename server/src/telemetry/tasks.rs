//! [`TaskMetrics`]: what the cache does for each kind of task, by the mnemonic and the tool of `RequestMetadata`.
//!
//! Mnemonics are what clients say, so of each tool's only the [`NAMES_MAX`] that call most have series of their own; the others
//! are `other`. A name that calls more often than the least of those takes its place, and begins at zero.

use std::array;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::Exposition;
use super::tally::{Lookup, Tally};
use crate::caller::Tool;

/// Mnemonics of one tool that have series of their own.
const NAMES_MAX: usize = 32;
/// Names that wait for a place; when there are more, all begin anew.
const NEWCOMERS_MAX: usize = 256;
/// Longer names, and those with other characters than these, are `other`.
const NAME_BYTES_MAX: usize = 64;

/// What the cache does for each kind of task.
#[derive(Debug)]
pub struct TaskMetrics {
    by_tool: [ToolTasks; Tool::COUNT],
}

#[derive(Debug, Default)]
struct ToolTasks {
    /// Of calls that name no task.
    unnamed: Task,
    /// Of names that have no place.
    other: Task,
    /// Guards map operations.
    names: RwLock<Names>,
}

#[derive(Debug, Default)]
struct Names {
    known: HashMap<Box<str>, Task>,
    /// How often the others have called.
    newcomers: HashMap<Box<str>, u64>,
}

/// The counters of one kind of task.
#[derive(Debug, Default)]
struct Task {
    calls: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    saved_micros: AtomicU64,
}

impl Default for TaskMetrics {
    fn default() -> Self {
        Self { by_tool: array::from_fn(|_| ToolTasks::default()) }
    }
}

impl TaskMetrics {
    /// Counts a call that has ended.
    pub(super) fn record(&self, tool: Tool, mnemonic: &str, tally: &Tally, sent_bytes: u64) {
        let tasks = &self.by_tool[tool.index()];
        if mnemonic.is_empty() {
            tasks.unnamed.add(tally, sent_bytes);
            return;
        }
        if let Some(task) = tasks.names.read().known.get(mnemonic) {
            task.add(tally, sent_bytes);
            return;
        }
        if is_name(mnemonic)
            && let Some(task) = tasks.names.write().place(mnemonic)
        {
            task.add(tally, sent_bytes);
            return;
        }
        tasks.other.add(tally, sent_bytes);
    }

    /// A value of every task that has called, by tool and mnemonic.
    fn each(&self, value: fn(&Task) -> &AtomicU64) -> Vec<([(&'static str, String); 2], u64)> {
        let mut values = Vec::new();
        for (tool, tasks) in Tool::all().zip(&self.by_tool) {
            let mut push = |mnemonic: &str, task: &Task| {
                if task.calls.load(Ordering::Relaxed) > 0 {
                    let tool = ("tool", tool.label().to_owned());
                    let labels = [tool, ("mnemonic", mnemonic.to_owned())];
                    values.push((labels, value(task).load(Ordering::Relaxed)));
                }
            };
            push("none", &tasks.unnamed);
            push("other", &tasks.other);
            let names = tasks.names.read();
            names.known.iter().for_each(|(mnemonic, task)| push(mnemonic, task));
        }
        values
    }
}

impl Names {
    /// The counters of a name that has none yet, if it gets a place.
    fn place(&mut self, mnemonic: &str) -> Option<&Task> {
        if self.known.len() >= NAMES_MAX && !self.known.contains_key(mnemonic) {
            if self.newcomers.len() >= NEWCOMERS_MAX && !self.newcomers.contains_key(mnemonic) {
                self.newcomers.clear();
            }
            let calls = self.newcomers.entry(mnemonic.into()).or_default();
            *calls += 1;
            let calls = *calls;
            let of = |task: &Task| task.calls.load(Ordering::Relaxed);
            let least = self.known.iter().min_by_key(|(_, task)| of(task));
            let (least, least_calls) = least.map(|(name, task)| (name.clone(), of(task)))?;
            if calls <= least_calls {
                return None;
            }
            self.known.remove(&least);
            self.newcomers.remove(mnemonic);
            let task = Task { calls: AtomicU64::new(calls), ..Task::default() };
            self.known.insert(mnemonic.into(), task);
        }
        Some(self.known.entry(mnemonic.into()).or_default())
    }
}

impl Task {
    fn add(&self, tally: &Tally, sent_bytes: u64) {
        let add = |counter: &AtomicU64, value: u64| {
            if value > 0 {
                counter.fetch_add(value, Ordering::Relaxed);
            }
        };
        add(&self.calls, 1);
        match tally.lookup() {
            Lookup::Hit => add(&self.hits, 1),
            Lookup::Miss => add(&self.misses, 1),
            Lookup::None => {}
        }
        add(&self.received_bytes, tally.received_bytes());
        add(&self.sent_bytes, sent_bytes);
        add(&self.saved_micros, tally.saved_micros());
    }
}

/// Whether it may be a label, and is none of our own words.
fn is_name(mnemonic: &str) -> bool {
    let is_fit = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.+:/".contains(byte);
    mnemonic.len() <= NAME_BYTES_MAX
        && mnemonic.as_bytes().iter().all(is_fit)
        && mnemonic != "none"
        && mnemonic != "other"
}

impl Collector for TaskMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(&mut encoder);
        let lookups = self
            .each(|task| &task.hits)
            .into_iter()
            .map(|hit| (hit, "hit"))
            .chain(self.each(|task| &task.misses).into_iter().map(|miss| (miss, "miss")));
        let lookups = lookups.map(|(([tool, mnemonic], count), outcome)| {
            ([tool, mnemonic, ("outcome", outcome.to_owned())], count)
        });
        exposition.counters(
            "larder_task_action_lookups",
            "Action results asked for, by the tool and mnemonic of RequestMetadata; a mnemonic that always misses has inputs that \
             change with each build",
            lookups,
        )?;
        exposition.counters(
            "larder_task_received_bytes",
            "Bytes of request bodies by tool and mnemonic; the mnemonic with the most fills the cache",
            self.each(|task| &task.received_bytes),
        )?;
        exposition.counters(
            "larder_task_sent_bytes",
            "Bytes of answers by tool and mnemonic; much for a mnemonic with short executions is not worth caching",
            self.each(|task| &task.sent_bytes),
        )?;
        exposition.seconds_counters(
            "larder_task_saved_seconds",
            "How long the actions ran once whose results were hits, as their execution_metadata says; nothing where it says nothing",
            self.each(|task| &task.saved_micros),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(metrics: &TaskMetrics, mnemonic: &str, times: usize) {
        for _ in 0..times {
            metrics.record(Tool::default(), mnemonic, &Tally::default(), 10);
        }
    }

    fn sent(metrics: &TaskMetrics) -> HashMap<String, u64> {
        let each = metrics.each(|task| &task.sent_bytes).into_iter();
        each.map(|([_, (_, mnemonic)], bytes)| (mnemonic, bytes)).collect()
    }

    #[test]
    fn names_are_bounded_and_the_busiest_have_places() {
        let metrics = TaskMetrics::default();
        for name in 0..NAMES_MAX {
            call(&metrics, &format!("Task{name}"), 5);
        }
        call(&metrics, "", 1);
        call(&metrics, "Rare", 5);
        assert_eq!(sent(&metrics)["other"], 50);
        assert_eq!(sent(&metrics)["none"], 10);
        // The sixth call is more than the least of the others had.
        call(&metrics, "Rare", 3);
        let bytes = sent(&metrics);
        assert_eq!(bytes["Rare"], 30);
        assert_eq!((bytes["other"], bytes.len()), (50, NAMES_MAX + 2));
        for garbage in 0..10_000 {
            call(&metrics, &format!("Garbage{garbage}"), 1);
        }
        assert_eq!(sent(&metrics).len(), NAMES_MAX + 2);
        let names = metrics.by_tool[Tool::default().index()].names.read();
        assert!(names.newcomers.len() <= NEWCOMERS_MAX, "{}", names.newcomers.len());
    }

    #[test]
    fn what_is_no_name_is_other() {
        let long = "M".repeat(NAME_BYTES_MAX + 1);
        for (mnemonic, expect) in [
            ("CppCompile", true),
            ("rust:compile/x86_64-linux.v1+dbg", true),
            ("a b", false),
            ("a\"b", false),
            ("ü", false),
            ("none", false),
            ("other", false),
            (&long, false),
        ] {
            assert_eq!(is_name(mnemonic), expect, "{mnemonic}");
        }
    }
}
