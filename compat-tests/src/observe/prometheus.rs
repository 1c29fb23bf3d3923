//! [`Prometheus`]: a Prometheus that scrapes servers each second and evaluates its rules, asked over its HTTP interface.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::documents;
use crate::error::CompatError;
use crate::process;

const LIMIT: Duration = Duration::from_secs(30);

/// A running Prometheus. Dropping it kills it.
pub(super) struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    answers: PathBuf,
}

/// A rule, and how its evaluation goes.
#[derive(Debug, Deserialize)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) health: String,
    /// Of an alert.
    pub(super) state: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Found {
    result: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

impl Prometheus {
    /// Starts one with its data under `dir`, and waits until it answers.
    pub(super) fn start(dir: &Path, admins: &[SocketAddr]) -> Result<Self, CompatError> {
        let (config, log) = (dir.join("prometheus.yaml"), dir.join("prometheus.log"));
        let rules = documents().join("larder.rules.yaml");
        let targets: Vec<_> = admins.iter().map(|admin| format!("'{admin}'")).collect();
        let targets = targets.join(", ");
        let text = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: ['{}']\n\
             scrape_configs:\n- job_name: larder\n  static_configs:\n  - targets: [{targets}]\n",
            rules.display()
        );
        fs::write(&config, text).map_err(CompatError::io(&config))?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(CompatError::io(dir))?;
        let address = listener.local_addr().map_err(CompatError::io(dir))?;
        drop(listener);
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"));
        let child = process::start(&mut command, &log)?;
        let prometheus = Self { child, address, log, answers: dir.join("answers.log") };
        prometheus.await_scrapes(1)?;
        Ok(prometheus)
    }

    /// What it has logged.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Waits for so many scrapes from now on.
    pub(super) fn await_scrapes(&self, scrapes: u64) -> Result<(), CompatError> {
        let deadline = Instant::now() + LIMIT;
        let (mut seen, mut last) = (0, String::new());
        while seen <= scrapes {
            if Instant::now() >= deadline {
                let program = "prometheus".to_owned();
                return Err(CompatError::Overdue { program, limit: LIMIT, log: self.log.clone() });
            }
            process::pause();
            // Of a selector this is the time of the sample; of anything more it would be that of the query.
            let found = self.query("timestamp(up)").unwrap_or_default();
            let now = found.first().map(|series| series["value"][1].to_string());
            if let Some(now) = now.filter(|now| *now != last) {
                seen += 1;
                last = now;
            }
        }
        Ok(())
    }

    /// The series that a query finds now.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<serde_json::Value>, CompatError> {
        let answer: Envelope<Found> = self.ask("query", &[("query", expression)])?;
        Ok(answer.data.result)
    }

    /// All rules.
    pub(super) fn rules(&self) -> Result<Vec<Rule>, CompatError> {
        let answer: Envelope<Groups> = self.ask("rules", &[])?;
        Ok(answer.data.groups.into_iter().flat_map(|group| group.rules).collect())
    }

    fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, CompatError> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--get"]);
        for (name, value) in parameters {
            curl.arg("--data-urlencode").arg(format!("{name}={value}"));
        }
        curl.arg(format!("http://{}/api/v1/{what}", self.address));
        let printed = process::output(0, &mut curl, &self.answers, LIMIT)?;
        serde_json::from_str(&printed).map_err(|_| CompatError::Unreadable {
            what: "Prometheus' answer",
            text: format!("{parameters:?}: {printed}"),
            log: self.log.clone(),
        })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}
