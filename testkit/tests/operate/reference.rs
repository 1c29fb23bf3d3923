//! `docs/operate/metrics.md` is what a server shows, and all of it obeys the naming law.

use std::fmt::Write as _;

use crate::deltas::{page_after, start};
use crate::page::{Family, Page};
use crate::traffic::{CALLS, drive};

/// The page's sections: what the names in them begin with, and the title.
const SECTIONS: [(&str, &str); 16] = [
    ("larder_rpc", "Calls"),
    ("larder_tool", "Calls by tool"),
    ("larder_task", "What it does for each kind of task"),
    ("larder_action", "Action results"),
    ("larder_blob", "Blobs"),
    ("larder_tier", "Tiers"),
    ("larder_hot", "Memory"),
    ("larder_disk", "Disk"),
    ("larder_auth", "Access"),
    ("larder_credentials", "Credentials"),
    ("larder_tls", "TLS"),
    ("larder_log", "The log"),
    ("larder_access_log", "The access log"),
    ("larder_otlp", "Traces"),
    ("larder_", "The rest"),
    ("process_", "The process"),
];

/// All labels that there are; each has a bounded set of values.
const LABELS: [&str; 12] = [
    "class",
    "code",
    "direction",
    "kind",
    "method",
    "mnemonic",
    "operation",
    "outcome",
    "reason",
    "size",
    "tier",
    "tool",
];

const INTRODUCTION: &str = "\
# Metrics

Every metric of `GET /metrics` on the admin port. Written by a test from what a server shows (`cargo test -p larder-testkit --test
operate`). Some are there only where what they are about is set up: `larder_fetches_total` and `larder_fetched_bytes_total` with
`fetch.enabled`, `larder_trace_*` with `trace_file`, `larder_auth_*` with `[auth]` or `[tls]`, `larder_credentials_*` with
`auth.credentials_file`, `larder_tls_*` with `tls.cert_file`, `larder_access_log_*` with `access_log.to`, `larder_otlp_*` with `traces.endpoint`.

The law of names: `larder_`, then what it is about, then what is counted, then the unit (`bytes`, `seconds`; nothing where things are
counted), then `total` for what only grows. Limits are metrics too, and stand beside what they bound. Help texts say what a bad value means.
Durations are histograms in seconds, so that any quantile can be computed over any number of servers.

Labels have bounded values: methods, codes, tools, kinds and tiers are closed sets, `mnemonic` has at most 32 names for each tool, the
busiest, and `other`. Instance names are what clients say, and so are no label; a label for tenants comes with tenants, for those that
are configured. Series of what has not happened yet are absent where the values of several labels multiply (calls by method and
code), and 0 elsewhere.

`/metrics` is OpenMetrics for who asks for it, as Prometheus does, else Prometheus' text format 0.0.4.
";

fn reference(page: &Page) -> String {
    let mut text = INTRODUCTION.to_owned();
    let section_of = |name: &str| SECTIONS.iter().position(|(start, _)| name.starts_with(start));
    for (number, (_, title)) in SECTIONS.iter().enumerate() {
        let head = "| metric | type | labels | what it says |\n|---|---|---|---|";
        writeln!(text, "\n## {title}\n\n{head}").expect("a string takes all");
        let of_section = page.families.iter().filter(|(name, _)| section_of(name) == Some(number));
        for (name, Family { help, kind, labels }) in of_section {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let (labels, help) = (labels.join(", "), help.trim_end_matches('.'));
            writeln!(text, "| `{name}` | {kind} | {labels} | {help} |")
                .expect("a string takes all");
        }
    }
    text
}

#[tokio::test]
async fn the_reference_is_what_a_server_shows() {
    let server = start().await;
    drive(&server).await;
    let page = page_after(&server, CALLS).await.with_guarded().await;
    server.stop().await;
    let expect = reference(&page);
    if include_str!("../../../docs/operate/metrics.md") != expect {
        let path = std::env::temp_dir().join("metrics.md");
        std::fs::write(&path, expect).expect("a temporary directory");
        panic!("the metrics have changed: cp {} docs/operate/metrics.md", path.display());
    }
    page.families.iter().for_each(|(name, family)| assert_lawful(name, family));
}

fn assert_lawful(name: &str, Family { help, kind, labels }: &Family) {
    let words: Vec<_> = name.split('_').collect();
    assert!(["larder", "process"].contains(&words[0]), "{name}");
    assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
    // A unit stands last, before `total`; other units than these are none.
    let last = words.iter().rfind(|word| **word != "total").expect("a word");
    for unit in ["bytes", "seconds"] {
        // A compound such as `round_bytes` has its unit last; `bytes` elsewhere would be a unit in the middle.
        let is_last = *last == unit;
        assert_eq!(is_last, words.contains(&unit), "{name}: {unit} is not last");
    }
    for other in ["ms", "millis", "micros", "us", "kb", "mb", "mib", "kib", "percent", "minutes"] {
        assert!(!words.contains(&other), "{name} is in {other}");
    }
    assert!(kind != "histogram" || ["seconds", "records"].contains(last), "{name} has no unit");
    assert!(["counter", "gauge", "histogram"].contains(&&**kind), "{name} is a {kind}");
    assert!(help.len() > 30, "{name}: {help} says little");
    assert!(!help.starts_with(char::is_lowercase), "{name}: {help}");
    for label in labels.iter().filter(|label| *label != "version") {
        assert!(LABELS.contains(&&**label), "{name} has the label {label}");
    }
}
