//! [`Activity`]: what a server does, from two samples of its metrics. Pure.
//!
//! Units: rates are per second between the two samples; what is called so counts since the server's start. A server that was
//! started anew in between is compared with nothing.

use serde::Serialize;

use super::sample::Sample;

/// Codes that are no fault of anybody: a miss is `NOT_FOUND`.
const FINE: [&str; 2] = ["OK", "NOT_FOUND"];

/// What a server does.
#[derive(Debug, Serialize)]
pub(super) struct Activity {
    /// Between the samples.
    pub(super) seconds: f64,
    pub(super) in_flight: InFlight,
    pub(super) hot: Hot,
    pub(super) disk: Disk,
    pub(super) found: Vec<Found>,
    /// The busiest first.
    pub(super) calls: Vec<Calls>,
    /// In the order that was asked for.
    pub(super) tasks: Vec<Task>,
}

#[derive(Debug, Serialize)]
pub(super) struct InFlight {
    pub(super) calls: f64,
    pub(super) connections: f64,
    pub(super) bytes: f64,
    pub(super) limit_bytes: f64,
    pub(super) waiting: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Hot {
    pub(super) entries: f64,
    pub(super) bytes: f64,
    pub(super) limit_bytes: f64,
    pub(super) evictions_per_second: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Disk {
    pub(super) stored_bytes: f64,
    pub(super) dead_bytes: f64,
    pub(super) limit_bytes: f64,
    pub(super) free_bytes: Option<f64>,
    pub(super) evictions_per_second: f64,
    /// `None` where nothing was evicted lately.
    pub(super) min_retention_seconds: Option<f64>,
}

/// Lookups of one kind of thing.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub(super) kind: &'static str,
    pub(super) lookups_per_second: f64,
    /// Between the samples; `None` where nothing was looked up.
    pub(super) hit_ratio: Option<f64>,
    pub(super) hit_ratio_since_start: Option<f64>,
}

/// Calls of one method.
#[derive(Debug, Serialize)]
pub(super) struct Calls {
    pub(super) method: String,
    pub(super) per_second: f64,
    /// Other codes than `OK` and `NOT_FOUND`.
    pub(super) errors_per_second: f64,
    /// From the request to the end of the answer, of the calls that ended between the samples.
    pub(super) mean_seconds: Option<f64>,
    pub(super) in_flight: f64,
}

/// What the cache does for the tasks of one tool with one mnemonic, since the start.
#[derive(Debug, Serialize)]
pub(super) struct Task {
    pub(super) tool: String,
    pub(super) mnemonic: String,
    pub(super) lookups_per_second: f64,
    pub(super) hits: f64,
    pub(super) misses: f64,
    pub(super) hit_ratio: Option<f64>,
    pub(super) saved_seconds: f64,
    pub(super) received_bytes: f64,
    pub(super) sent_bytes: f64,
}

/// Which tasks come first.
#[derive(Copy, Clone, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Order {
    /// Those that miss most.
    Misses,
    /// Those whose hits have saved most execution time.
    Saved,
    /// Those that are asked for most now.
    Rate,
    /// Those that take most bytes out of the cache.
    Sent,
}

/// Lookups that are counted.
struct Lookups {
    /// Of what.
    kind: &'static str,
    metric: &'static str,
    /// Which of the metric's series.
    labels: &'static [(&'static str, &'static str)],
    /// The outcome that is a hit.
    hit: &'static str,
}

const LOOKUPS: [Lookups; 6] = [
    Lookups::of("action results", "larder_action_lookups_total", "hit"),
    Lookups::of("blobs read", "larder_blob_reads_total", "hit"),
    Lookups::of("blobs asked for", "larder_blob_lookups_total", "present"),
    Lookups::in_memory("in memory: blobs", &[HOT, ("kind", "blob")]),
    Lookups::in_memory("in memory: action results", &[HOT, ("kind", "action_result")]),
    Lookups::in_memory("in memory: trees", &[HOT, ("kind", "tree")]),
];
const HOT: (&str, &str) = ("tier", "hot");

/// Two samples of one server.
struct Span<'a> {
    earlier: &'a Sample,
    now: &'a Sample,
    seconds: f64,
}

impl Lookups {
    const fn of(kind: &'static str, metric: &'static str, hit: &'static str) -> Self {
        Self { kind, metric, labels: &[], hit }
    }

    const fn in_memory(
        kind: &'static str,
        labels: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { kind, metric: "larder_tier_reads_total", labels, hit: "hit" }
    }
}

impl Activity {
    /// What happened in the time from `earlier` to `now`.
    pub(super) fn between(earlier: &Sample, now: &Sample, seconds: f64, order: Order) -> Self {
        let started = |sample: &Sample| sample.sum("process_start_time_seconds", &[]);
        let nothing = Sample::default();
        let is_same = (started(earlier) - started(now)).abs() < 1.0;
        let span = Span { earlier: if is_same { earlier } else { &nothing }, now, seconds };
        Self {
            seconds,
            in_flight: span.in_flight(),
            hot: span.hot(),
            disk: span.disk(),
            found: LOOKUPS.iter().map(|lookups| span.found(lookups)).collect(),
            calls: span.calls(),
            tasks: span.tasks(order),
        }
    }
}

impl Span<'_> {
    fn grown(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        // A task that lost its place among those that are counted, and got it again, begins anew.
        (self.now.sum(metric, labels) - self.earlier.sum(metric, labels)).max(0.0)
    }

    fn rate(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        self.grown(metric, labels) / self.seconds
    }

    fn in_flight(&self) -> InFlight {
        let now = |metric| self.now.sum(metric, &[]);
        InFlight {
            calls: now("larder_rpcs_in_flight"),
            connections: now("larder_connections"),
            bytes: now("larder_in_flight_bytes"),
            limit_bytes: now("larder_in_flight_limit_bytes"),
            waiting: now("larder_in_flight_waiting"),
        }
    }

    fn hot(&self) -> Hot {
        let now = |metric| self.now.sum(metric, &[]);
        Hot {
            entries: now("larder_hot_entries"),
            bytes: now("larder_hot_bytes"),
            limit_bytes: now("larder_hot_limit_bytes"),
            evictions_per_second: self.rate("larder_hot_evictions_total", &[]),
        }
    }

    fn disk(&self) -> Disk {
        let now = |metric| self.now.sum(metric, &[]);
        Disk {
            stored_bytes: now("larder_disk_stored_bytes"),
            dead_bytes: now("larder_disk_dead_bytes"),
            limit_bytes: now("larder_disk_limit_bytes"),
            free_bytes: self.now.find("larder_disk_free_bytes", &[]),
            evictions_per_second: self.rate("larder_disk_evictions_total", &[]),
            min_retention_seconds: self.now.find("larder_disk_min_retention_seconds", &[]),
        }
    }

    fn found(&self, &Lookups { kind, metric, labels, hit }: &Lookups) -> Found {
        let hits = [labels, &[("outcome", hit)]].concat();
        let lookups = self.grown(metric, labels);
        let (all_hits, all) = (self.now.sum(metric, &hits), self.now.sum(metric, labels));
        Found {
            kind,
            lookups_per_second: lookups / self.seconds,
            hit_ratio: ratio(self.grown(metric, &hits), lookups),
            hit_ratio_since_start: ratio(all_hits, all),
        }
    }

    fn calls(&self) -> Vec<Calls> {
        let methods = self.now.values("larder_rpcs_total", ["method"]);
        let mut calls: Vec<_> = methods.into_iter().map(|[method]| self.calls_of(method)).collect();
        calls.sort_by(|a, b| b.per_second.total_cmp(&a.per_second));
        calls
    }

    fn calls_of(&self, method: &str) -> Calls {
        let all = [("method", method)];
        let fine = FINE.map(|code| self.rate("larder_rpcs_total", &[all[0], ("code", code)]));
        let per_second = self.rate("larder_rpcs_total", &all);
        Calls {
            method: method.to_owned(),
            per_second,
            errors_per_second: (per_second - fine.iter().sum::<f64>()).max(0.0),
            mean_seconds: ratio(
                self.grown("larder_rpc_duration_seconds_sum", &all),
                self.grown("larder_rpc_duration_seconds_count", &all),
            ),
            in_flight: self.now.sum("larder_rpcs_in_flight", &all),
        }
    }

    fn tasks(&self, order: Order) -> Vec<Task> {
        let names = self.now.values("larder_task_sent_bytes_total", ["tool", "mnemonic"]);
        let mut tasks: Vec<_> = names.into_iter().map(|name| self.task(name)).collect();
        let weight = |task: &Task| match order {
            Order::Misses => task.misses,
            Order::Saved => task.saved_seconds,
            Order::Rate => task.lookups_per_second,
            Order::Sent => task.sent_bytes,
        };
        tasks.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
        tasks
    }

    fn task(&self, [tool, mnemonic]: [&str; 2]) -> Task {
        let labels = [("tool", tool), ("mnemonic", mnemonic)];
        let lookups = "larder_task_action_lookups_total";
        let now = |metric| self.now.sum(metric, &labels);
        let ended = |word| self.now.sum(lookups, &[labels[0], labels[1], ("outcome", word)]);
        Task {
            tool: tool.to_owned(),
            mnemonic: mnemonic.to_owned(),
            lookups_per_second: self.rate(lookups, &labels),
            hits: ended("hit"),
            misses: ended("miss"),
            hit_ratio: ratio(ended("hit"), now(lookups)),
            saved_seconds: now("larder_task_saved_seconds_total"),
            received_bytes: now("larder_task_received_bytes_total"),
            sent_bytes: now("larder_task_sent_bytes_total"),
        }
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(started: u32, hits: u32, misses: u32) -> Sample {
        let compile = "tool=\"bazel\",mnemonic=\"CppCompile\"";
        let link = "tool=\"bazel\",mnemonic=\"CppLink\"";
        let (errors, count) = (hits / 10, hits * 10);
        Sample::read(&format!(
            "process_start_time_seconds {started}\n\
             larder_task_action_lookups_total{{{compile},outcome=\"hit\"}} {hits}\n\
             larder_task_action_lookups_total{{{compile},outcome=\"miss\"}} {misses}\n\
             larder_task_action_lookups_total{{{link},outcome=\"hit\"}} 1\n\
             larder_task_action_lookups_total{{{link},outcome=\"miss\"}} 100\n\
             larder_task_sent_bytes_total{{{compile}}} 900\n\
             larder_task_sent_bytes_total{{{link}}} 30\n\
             larder_action_lookups_total{{outcome=\"hit\"}} {hits}\n\
             larder_action_lookups_total{{outcome=\"miss\"}} {misses}\n\
             larder_rpcs_total{{method=\"Get\",code=\"OK\"}} {hits}\n\
             larder_rpcs_total{{method=\"Get\",code=\"NOT_FOUND\"}} {misses}\n\
             larder_rpcs_total{{method=\"Get\",code=\"INTERNAL\"}} {errors}\n\
             larder_rpc_duration_seconds_sum{{method=\"Get\"}} {hits}\n\
             larder_rpc_duration_seconds_count{{method=\"Get\"}} {count}\n"
        ))
    }

    fn close(actual: f64, expect: f64) -> bool {
        (actual - expect).abs() < 1e-9
    }

    #[test]
    fn rates_are_differences_over_the_time_between() {
        let activity =
            Activity::between(&sample(1, 10, 10), &sample(1, 40, 20), 2.0, Order::Misses);
        let results = &activity.found[0];
        assert!(close(results.lookups_per_second, 20.0), "{results:?}");
        assert!(close(results.hit_ratio.unwrap(), 0.75), "{results:?}");
        assert!(close(results.hit_ratio_since_start.unwrap(), 40.0 / 60.0), "{results:?}");
        assert_eq!(activity.found[1].hit_ratio, None);
        let calls = &activity.calls[0];
        assert!(close(calls.per_second, 21.5) && close(calls.errors_per_second, 1.5), "{calls:?}");
        assert!(close(calls.mean_seconds.unwrap(), 0.1), "{calls:?}");
    }

    #[test]
    fn tasks_come_in_the_order_that_is_asked_for() {
        for (order, first) in
            [(Order::Misses, "CppLink"), (Order::Rate, "CppCompile"), (Order::Sent, "CppCompile")]
        {
            let activity = Activity::between(&sample(1, 10, 10), &sample(1, 40, 20), 1.0, order);
            assert_eq!(activity.tasks[0].mnemonic, first, "{order:?}");
        }
    }

    #[test]
    fn a_server_that_was_started_anew_is_compared_with_nothing() {
        let activity =
            Activity::between(&sample(1, 1000, 1000), &sample(90, 3, 1), 1.0, Order::Misses);
        assert!(close(activity.found[0].lookups_per_second, 4.0), "{:?}", activity.found[0]);
    }
}
