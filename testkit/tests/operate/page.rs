//! [`Page`]: a page of `/metrics` as families and series.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use larder_testkit::TestServer;

/// A page of `/metrics` in Prometheus' text format.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) families: BTreeMap<String, Family>,
    /// Each series as it is written, with its value.
    pub(crate) series: BTreeMap<String, f64>,
}

/// What stands above the series of a family, and which labels they have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Family {
    pub(crate) help: String,
    pub(crate) kind: String,
    pub(crate) labels: BTreeSet<String>,
}

impl Page {
    /// Asks a server for its page.
    pub(crate) async fn of(server: &TestServer) -> Self {
        let page = server.admin("/metrics").await;
        assert_eq!(page.status(), StatusCode::OK);
        Self::parse(&String::from_utf8_lossy(page.body()))
    }

    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                name.clone_into(&mut current);
                let family = page.families.entry(current.clone()).or_default();
                assert!(family.help.is_empty(), "{name} stands twice");
                help.clone_into(&mut family.help);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert_eq!(name, current, "the type follows the help");
                let family = page.families.entry(current.clone()).or_default();
                kind.clone_into(&mut family.kind);
            } else {
                let (series, value) = line.rsplit_once(' ').expect("a series and its value");
                assert!(series.starts_with(&current), "{series} stands under {current}");
                let family = page.families.entry(current.clone()).or_default();
                family.labels.extend(label_names(series));
                page.series.insert(series.to_owned(), value.parse().expect("a number"));
            }
        }
        page
    }

    /// The sum of a family's series.
    pub(crate) fn sum(&self, family: &str) -> f64 {
        let of_family = |series: &str| series.split('{').next() == Some(family);
        self.series.iter().filter(|(series, _)| of_family(series)).map(|(_, value)| value).sum()
    }

    /// Each series that differs from what it was, and by how much.
    pub(crate) fn since(&self, earlier: &Self) -> BTreeMap<String, f64> {
        let grown = self.series.iter().map(|(series, value)| {
            (series.clone(), value - earlier.series.get(series).unwrap_or(&0.0))
        });
        grown.filter(|(_, by)| *by != 0.0).collect()
    }

    /// The family of a series.
    pub(crate) fn family_of(&self, series: &str) -> String {
        let name = series.split('{').next().unwrap_or(series);
        let of_histogram = ["_bucket", "_sum", "_count"];
        let whole = of_histogram.iter().find_map(|suffix| {
            name.strip_suffix(suffix).filter(|whole| self.families.contains_key(*whole))
        });
        whole.unwrap_or(name).to_owned()
    }
}

/// The names of a series' labels, without that of buckets. No value in these tests has a quote in it.
fn label_names(series: &str) -> impl Iterator<Item = String> {
    let labels = series.split_once('{').map_or("", |(_, labels)| labels);
    let names = labels.split("\",").filter_map(|label| Some(label.split_once("=\"")?.0.to_owned()));
    names.filter(|name| name != "le")
}
