//! What who operates a server relies on, held against the release binary: `promtool` on its metrics and on the rules, every query of
//! the dashboard on a live Prometheus that scrapes it, every command and query of the runbook.

mod dashboard;
mod load;
mod prometheus;
mod runbook;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use self::prometheus::Prometheus;
use self::runbook::Servers;
use crate::error::CompatError;
use crate::expectations::Expectations;
use crate::install::DebianPackage;
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::process;
use crate::report::Report;

/// What the command line calls it.
pub(crate) const NAME: &str = "observe";

const PROMETHEUS: DebianPackage = DebianPackage { program: "promtool", package: "prometheus" };
const CURL: DebianPackage = DebianPackage { program: "curl", package: "curl" };

const LIMIT: Duration = Duration::from_mins(2);

/// Metrics and rules by `promtool`, then a server with a Prometheus beside it.
pub(crate) fn run(lab: &Lab, report: &mut Report<'_>) -> Result<(), CompatError> {
    let dir = lab.dir(NAME)?;
    let log = dir.join("install.log");
    PROMETHEUS.ensure(&log)?;
    CURL.ensure(&log)?;
    report.note(NAME, &format!("prometheus {}", PROMETHEUS.version().unwrap_or_default()));
    report.case(&format!("{NAME}/rules"), || rules(&dir.join("rules.log")));
    let larder = Larder::start(lab, &dir)?;
    let guarded = guarded(lab, &dir.join("guarded"))?;
    load::drive(&larder)?;
    report.case(&format!("{NAME}/metrics"), || {
        metrics(&guarded, &dir.join("guarded.log"))?;
        metrics(&larder, &dir.join("metrics.log"))
    });
    let prometheus = Prometheus::start(&dir, &[larder.admin(), guarded.admin()])?;
    report.case(&format!("{NAME}/dashboard"), || {
        // Rates need a change between two scrapes.
        prometheus.await_scrapes(2)?;
        load::drive(&larder)?;
        prometheus.await_scrapes(2)?;
        dashboard::check(&prometheus)
    });
    report.case(&format!("{NAME}/runbook"), || {
        let servers = Servers { plain: &larder, guarded: &guarded };
        runbook::check(&prometheus, &servers, lab.server(), &dir)
    });
    report.case(&format!("{NAME}/alerts"), || alerts(&prometheus));
    report
        .case(&format!("{NAME}/admin"), || runbook::check_admin_page(&larder, lab.server(), &dir));
    guarded.stop()?;
    larder.stop()
}

/// A server with all that has metrics of its own and is off by default: credentials, TLS, the access log, spans. Nobody calls it.
fn guarded(lab: &Lab, dir: &Path) -> Result<Larder, CompatError> {
    fs::create_dir_all(dir).map_err(CompatError::io(dir))?;
    let credentials = dir.join("credentials");
    fs::write(&credentials, "# nobody\n").map_err(CompatError::io(&credentials))?;
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/tests/service/tls");
    let file = |path: PathBuf| path.display().to_string();
    let settings = vec![
        ("auth.credentials_file", file(credentials)),
        ("tls.cert_file", file(tls.join("server.pem"))),
        ("tls.key_file", file(tls.join("server.key"))),
        ("access_log.to", file(dir.join("access.log"))),
        // Where nobody listens.
        ("traces.endpoint", "http://127.0.0.1:1".to_owned()),
    ];
    Larder::launch(lab, dir, Launch { wrapper: Vec::new(), settings, data_dir: dir.join("data") })
}

/// Where the documents for operators are.
fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operate")
}

fn rules(log: &Path) -> Result<String, CompatError> {
    for arguments in
        [["check", "rules", "larder.rules.yaml"], ["test", "rules", "larder.rules.test.yaml"]]
    {
        let mut promtool = Command::new("promtool");
        promtool.args(arguments).current_dir(documents());
        process::run_expecting(0, &mut promtool, log, LIMIT)?;
    }
    Ok("promtool check rules, promtool test rules".to_owned())
}

fn metrics(larder: &Larder, log: &Path) -> Result<String, CompatError> {
    let page = format!("curl --silent --fail http://{}/metrics", larder.admin());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{page} | promtool check metrics")]);
    let printed = process::output(0, &mut shell, log, LIMIT)?;
    let mut expectations = Expectations::of(log);
    expectations.equal("complaints of promtool", printed.as_str(), "");
    expectations.met()?;
    Ok("promtool check metrics has no complaint".to_owned())
}

/// All rules are evaluated, and on a sound server no alert fires.
fn alerts(prometheus: &Prometheus) -> Result<String, CompatError> {
    let mut expectations = Expectations::of(prometheus.log());
    let rules = prometheus.rules()?;
    for rule in &rules {
        expectations.equal(&rule.name, rule.health.as_str(), "ok");
        let state = rule.state.as_deref().unwrap_or("inactive");
        expectations.equal(&format!("state of {}", rule.name), state, "inactive");
    }
    expectations.at_least("rules", rules.len(), 30);
    expectations.met()?;
    Ok(format!("{} rules evaluated, none fires", rules.len()))
}
