//! [`Ratio`]: the first server beside the best of the others, scenario by scenario. Pure.

use serde::Serialize;

use super::Row;
use crate::scenario::Kind;

/// How many times better the first server is than the best other; below 1 it is worse.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) scenario: Kind,
    pub(crate) connections: usize,
    pub(crate) is_open_loop: bool,
    pub(crate) cpu: Option<Against>,
    pub(crate) throughput: Option<Against>,
    /// Not of servers that fell behind in an open loop: their queue grows as long as the load lasts.
    pub(crate) p99: Option<Against>,
}

/// One figure against the server that has the best of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Against {
    pub(crate) server: String,
    pub(crate) times: f64,
}

/// The ratios of all scenarios that the server `first` and another one went through.
pub(crate) fn ratios(rows: &[Row], first: &str) -> Vec<Ratio> {
    let measured = |row: &&Row| row.operations > 0;
    let of_first = rows.iter().filter(|row| row.server == first).filter(measured);
    of_first
        .filter_map(|row| {
            let same = |other: &&Row| {
                other.server != first
                    && other.scenario == row.scenario
                    && other.connections == row.connections
                    && other.in_flight.is_some() == row.in_flight.is_some()
            };
            let others: Vec<&Row> = rows.iter().filter(same).filter(measured).collect();
            let is_open_loop = row.in_flight.is_none();
            (!others.is_empty()).then(|| Ratio {
                scenario: row.scenario,
                connections: row.connections,
                is_open_loop,
                cpu: least(row, &others, |row| row.cost.map(|cost| cost.cpu_us)),
                throughput: least(row, &others, |row| Some(row.per_second.recip())),
                p99: least(row, &others, |row| (!row.fell_behind()).then_some(row.latency.p99)),
            })
        })
        .collect()
}

/// How many times less `row` has than the other that has least.
fn least(row: &Row, others: &[&Row], figure: impl Fn(&Row) -> Option<f64>) -> Option<Against> {
    let usable = |figure: &f64| figure.is_finite() && *figure > 0.0;
    let own = figure(row).filter(usable)?;
    let others = others.iter().filter_map(|other| Some((other, figure(other).filter(usable)?)));
    let (best, least) = others.min_by(|(_, one), (_, other)| one.total_cmp(other))?;
    Some(Against { server: best.server.clone(), times: least / own })
}

#[cfg(test)]
mod tests {
    use super::super::row::{Latency, ServerCost};
    use super::*;
    use crate::limits::Limits;
    use crate::load::Pace;
    use crate::report::Cell;

    fn row(server: &str, scenario: Kind, cpu_us: Option<f64>, per_second: f64) -> Row {
        let cell = Cell {
            scenario,
            server: server.to_owned(),
            connections: 1,
            pace: Pace::Closed { in_flight: 1 },
            rounds: Vec::new(),
            failure: None,
        };
        let cost = |cpu_us| ServerCost { cpu_us, cpu_s_per_gb: None, rss_mib: 0, peak_rss_mib: 0 };
        let latency = Latency { p99: 1e6 / per_second, ..Latency::default() };
        let row = cell.row(&Limits::default());
        Row { operations: 1, per_second, latency, cost: cpu_us.map(cost), ..row }
    }

    #[test]
    fn the_first_stands_against_the_best_other_of_each_figure() {
        let rows = [
            row("a", Kind::ReadSmall, Some(10.0), 100.0),
            row("b", Kind::ReadSmall, Some(30.0), 25.0),
            row("c", Kind::ReadSmall, Some(40.0), 50.0),
            row("a", Kind::WriteSmall, Some(10.0), 100.0),
            row("b", Kind::WriteSmall, None, 200.0),
            row("a", Kind::GetResult, Some(10.0), 100.0),
            Row { operations: 0, ..row("b", Kind::GetResult, Some(1.0), 1.0) },
        ];
        let against = |server: &str, times| Some(Against { server: server.to_owned(), times });
        let found = ratios(&rows, "a");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].cpu, against("b", 3.0));
        assert_eq!(found[0].throughput, against("c", 2.0));
        assert_eq!(found[0].p99, against("c", 2.0));
        assert_eq!((&found[1].cpu, &found[1].throughput), (&None, &against("b", 0.5)));
        assert!(ratios(&rows[..1], "a").is_empty());

        let open = |row: &Row, offered| Row {
            in_flight: None,
            offered_per_second: Some(offered),
            ..row.clone()
        };
        let p99 = |rows: &[Row]| ratios(rows, "a")[0].p99.clone();
        assert_eq!(p99(&[open(&rows[0], 100.0), open(&rows[1], 25.0)]), against("b", 4.0));
        assert_eq!(p99(&[open(&rows[0], 100.0), open(&rows[1], 50.0)]), None);
    }
}
