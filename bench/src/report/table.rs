//! Tables for people: of rows, of ratios, of limits.

use std::fmt;

use super::ratio::Against;
use super::{Ratio, Row};
use crate::limits::Limits;
use crate::scenario::Kind;

/// The rows of a scenario, or of all.
#[derive(Debug)]
pub(crate) struct RowTable<'a>(pub(crate) &'a [Row]);

impl RowTable<'_> {
    /// What stands above all of them.
    pub(crate) const HEADER: &'static str = "\
scenario            server       conns  load            per s      MB/s      p50       p99     p99.9   \
CPU µs/unit     CPU s/GB   x limit  of its speed  client   RSS MiB";
}

impl fmt::Display for RowTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|row| writeln!(f, "{}", Line(row)))
    }
}

struct Line<'a>(&'a Row);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.0;
        let load = match (row.in_flight, row.offered_per_second) {
            (Some(in_flight), _) => format!("{in_flight} at a time"),
            (None, rate) => format!("{:.0} a s", rate.unwrap_or_default()),
        };
        let scenario = row.scenario.to_string();
        write!(f, "{scenario:<19} {:<12} {:>5}  {load:<13}", row.server, row.connections)?;
        if let Some(why) = row.unmeasured() {
            return write!(f, " not measured: {why}");
        }
        let latency = row.latency;
        write!(f, " {:>8} {:>9}", digits(row.per_second), positive(row.mb_per_second))?;
        write!(f, " {:>8} {:>9} {:>9}", Time(latency.p50), Time(latency.p99), Time(latency.p999))?;
        let (cpu, per_gb) = match row.cost {
            Some(cost) => {
                let per_gb = cost.cpu_s_per_gb.map_or("-".to_owned(), |it| format!("{it:.3}"));
                (format!("{}/{}", digits(cost.cpu_us), row.unit.name), per_gb)
            }
            None => ("-".to_owned(), "-".to_owned()),
        };
        write!(f, " {cpu:>13} {per_gb:>12}")?;
        let times = row.limit.and_then(|limit| limit.cpu_times);
        let times = times.map_or("-".to_owned(), digits);
        let speed = row.limit.map_or("-".to_owned(), |limit| percent(limit.speed));
        write!(f, " {times:>9} {speed:>13} {:>7}", percent(row.client_share))?;
        match row.cost {
            Some(cost) => write!(f, " {:>9}", cost.rss_mib)?,
            None => write!(f, " {:>9}", "-")?,
        }
        if let Some(origin) = row.origin.filter(|_| row.scenario == Kind::ReadSmallCold) {
            write!(f, "  {origin}")?;
        }
        if row.fell_behind() {
            f.write_str("  fell behind what was offered")?;
        }
        if row.client_is_limit {
            f.write_str("  the client is the limit")?;
        }
        if row.errors > 0 {
            let first = row.first_error.as_deref().unwrap_or_default();
            write!(f, "  {} ERRORS: {first}", row.errors)?;
        }
        Ok(())
    }
}

/// All ratios.
#[derive(Debug)]
pub(crate) struct RatioTable<'a>(pub(crate) &'a [Ratio]);

impl fmt::Display for RatioTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<19} {:>5}  {:<6} {:<24} {:<24} {:<24}",
            "times better", "conns", "loop", "CPU", "throughput", "p99"
        )?;
        for ratio in self.0 {
            let against = |against: &Option<Against>| {
                let shown =
                    against.as_ref().map(|it| format!("{} ({})", digits(it.times), it.server));
                shown.unwrap_or_else(|| "-".to_owned())
            };
            writeln!(
                f,
                "{:<19} {:>5}  {:<6} {:<24} {:<24} {:<24}",
                ratio.scenario.to_string(),
                ratio.connections,
                if ratio.is_open_loop { "open" } else { "closed" },
                against(&ratio.cpu),
                against(&ratio.throughput),
                against(&ratio.p99),
            )?;
        }
        Ok(())
    }
}

/// What the machine can do.
#[derive(Debug)]
pub(crate) struct LimitTable<'a>(pub(crate) &'a Limits);

impl fmt::Display for LimitTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<26} {:>16} {:>18}", "limit", "CPU", "speed")?;
        for (limit, cost) in &self.0.0 {
            let (cpu, speed) = if limit.is_per_byte() {
                (format!("{:.3} s/GB", cost.cpu_s * 1e9), format!("{:.2} GB/s", 1e-9 / cost.wall_s))
            } else {
                (
                    format!("{} µs", digits(cost.cpu_s * 1e6)),
                    format!("{:.0} a s", 1.0 / cost.wall_s),
                )
            };
            writeln!(f, "{:<26} {cpu:>16} {speed:>18}", limit.name())?;
        }
        Ok(())
    }
}

/// Microseconds, in a unit that is easy to read.
struct Time(f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            us if us < 1e3 => format!("{} µs", digits(us)),
            us if us < 1e6 => format!("{} ms", digits(us / 1e3)),
            us => format!("{} s", digits(us / 1e6)),
        };
        f.pad(&text)
    }
}

/// Three digits, or as many as there are before the point.
fn digits(number: f64) -> String {
    let decimals = match number {
        _ if number < 1.0 => 3,
        _ if number < 10.0 => 2,
        _ if number < 100.0 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}

fn positive(number: f64) -> String {
    if number > 0.0 { digits(number) } else { "-".to_owned() }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let table = [(0.01234, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (12_345.6, "12346")];
        for (number, expected) in table {
            assert_eq!(digits(number), expected);
        }
        let times = [(12.34, "12.3 µs"), (1_234.0, "1.23 ms"), (2_500_000.0, "2.50 s")];
        for (microseconds, expected) in times {
            assert_eq!(Time(microseconds).to_string(), expected);
        }
        assert_eq!(percent(0.954), "95 %");
    }
}
