//! The dashboard: every query of every panel finds something on a server that has had some load.

use serde::Deserialize;

use super::documents;
use super::prometheus::Prometheus;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::process;

#[derive(Deserialize)]
struct Dashboard {
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct Panel {
    title: String,
    /// None for the title of a row.
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    expr: String,
}

/// Asks every query.
pub(super) fn check(prometheus: &Prometheus) -> Result<String, CompatError> {
    let path = documents().join("dashboard.json");
    let dashboard: Dashboard = serde_json::from_str(&process::read(&path)?)
        .map_err(|source| CompatError::ExecutionLog { path, source })?;
    let mut expectations = Expectations::of(prometheus.log());
    let mut queries = 0;
    for Panel { title, targets } in &dashboard.panels {
        for Target { expr } in targets {
            queries += 1;
            let found = prometheus.query(&as_shown(expr))?;
            expectations.at_least(&format!("series in {title} by {expr}"), found.len(), 1);
        }
    }
    expectations.at_least("queries", queries, 50);
    expectations.met()?;
    Ok(format!("{queries} queries in {} panels find something", dashboard.panels.len()))
}

/// A query with the variables that Grafana fills in: every job and instance, and a window of some scrapes.
fn as_shown(expression: &str) -> String {
    expression.replace("$job", ".+").replace("$instance", ".+").replace("$__rate_interval", "10s")
}
