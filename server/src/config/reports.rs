//! The settings of what the server tells about requests beside metrics: [`AccessLogSettings`], [`TraceSettings`].

use std::path::PathBuf;

use url::Url;

use super::check::Reader;
use super::problem::Problem;
use super::value::Value;

/// Where the access log goes, and how much of it.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct AccessLogSettings {
    /// The file.
    pub to: AccessLogTarget,
    /// Of the requests that went well; the others are all told.
    pub sample_ratio: Ratio,
}

/// Where the access log goes.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum AccessLogTarget {
    /// Standard error, between the lines of the log.
    StandardError,
    /// A file that is appended to.
    File(PathBuf),
}

/// Where spans go, and how many requests have them.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct TraceSettings {
    /// The collector.
    pub endpoint: Endpoint,
    /// Authorities that are trusted besides the system's, where the endpoint is `https`.
    pub ca_file: Option<PathBuf>,
    /// What it speaks.
    pub protocol: TraceProtocol,
    /// Of the requests whose client has not decided.
    pub sample_ratio: Ratio,
}

/// The base address of a collector: `http` or `https`, a host, and no more than a path.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Endpoint(Url);

/// What a collector speaks.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum TraceProtocol {
    /// gRPC, by custom on port 4317.
    Grpc,
    /// Protobuf over HTTP/1.1, by custom on port 4318.
    Http,
}

/// A share of requests, from none to all.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Ratio {
    millionths: u32,
}

impl Endpoint {
    /// As a URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Whether what is sent there is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl Ratio {
    const ONE: u32 = 1_000_000;

    /// Whether it takes what drew this number; over all numbers, its share of them.
    pub fn takes(self, drawn: u64) -> bool {
        let share = (u128::from(drawn) * u128::from(Self::ONE)) >> u64::BITS;
        share < u128::from(self.millionths)
    }
}

impl Reader {
    /// `None` where it is off, and where that has left a problem.
    pub(super) fn access_log(&mut self) -> Option<AccessLogSettings> {
        let to = self.value_or("access_log.to", || None);
        let sample_ratio = self.value("access_log.sample_ratio");
        Some(AccessLogSettings { to: to?, sample_ratio: sample_ratio? })
    }

    /// `None` where they are off, and where that has left a problem.
    pub(super) fn traces(&mut self) -> Option<TraceSettings> {
        let endpoint: Option<Endpoint> = self.value_or("traces.endpoint", || None);
        let ca_file = self.value_or("traces.ca_file", || None);
        // A text that could not be read is a problem of its own.
        let is_unread = endpoint.is_none() && self.is_said("traces.endpoint");
        if ca_file.is_some() && !is_unread && !endpoint.as_ref().is_some_and(Endpoint::is_encrypted)
        {
            let missing = "a traces.endpoint with https";
            self.problems.push(Problem::Needs { key: "traces.ca_file", missing });
        }
        let protocol = self.value("traces.protocol");
        let sample_ratio = self.value("traces.sample_ratio");
        Some(TraceSettings {
            endpoint: endpoint?,
            ca_file,
            protocol: protocol?,
            sample_ratio: sample_ratio?,
        })
    }
}

impl Value for AccessLogTarget {
    const EXPECTED: &'static str = "stderr or the path of a file";

    fn read(text: &str) -> Option<Self> {
        if text == "stderr" {
            return Some(Self::StandardError);
        }
        PathBuf::read(text).map(Self::File)
    }

    fn show(&self) -> String {
        match self {
            Self::StandardError => "stderr".to_owned(),
            Self::File(path) => path.show(),
        }
    }
}

impl Value for Endpoint {
    const EXPECTED: &'static str =
        "the address of a collector such as http://127.0.0.1:4317, without user and password";

    fn read(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let is_http = matches!(url.scheme(), "http" | "https") && url.host().is_some();
        let has_more = !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some();
        (is_http && !has_more).then_some(Self(url))
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Value for TraceProtocol {
    const EXPECTED: &'static str = "grpc or http";

    fn read(text: &str) -> Option<Self> {
        match text {
            "grpc" => Some(Self::Grpc),
            "http" => Some(Self::Http),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
        .to_owned()
    }
}

impl Value for Ratio {
    const EXPECTED: &'static str = "a share from 0 to 1 such as 0.01, with six decimals at most";

    /// Digits only, so that what is shown is what was said.
    fn read(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if part.is_empty() || part.len() > 6 || !is_digits(part) || !is_digits(whole) {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let part: u32 = format!("{part:0<6}").parse().ok()?;
        let millionths = whole.checked_mul(Self::ONE)?.checked_add(part)?;
        (millionths <= Self::ONE).then_some(Self { millionths })
    }

    fn show(&self) -> String {
        let text = format!("{}.{:06}", self.millionths / Self::ONE, self.millionths % Self::ONE);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Value + PartialEq>(text: &str, expect: Option<&str>) {
        let shown = T::read(text).map(|value| value.show());
        assert_eq!(shown.as_deref(), expect, "{text:?}");
        if let Some(shown) = shown {
            assert!(T::read(&shown) == T::read(text), "{shown:?} is read as {text:?} is");
        }
    }

    #[test]
    fn ratios() {
        for (text, expect) in [
            ("0", Some("0")),
            ("1", Some("1")),
            ("1.0", Some("1")),
            ("0.01", Some("0.01")),
            ("0.000001", Some("0.000001")),
            ("0.0000001", None),
            ("1.000001", None),
            ("2", None),
            ("-0.5", None),
            ("+0.5", None),
            ("", None),
            (".5", None),
            ("5.", None),
            ("1e-3", None),
            ("99999999999", None),
        ] {
            check::<Ratio>(text, expect);
        }
    }

    #[test]
    fn a_ratio_takes_its_share() {
        for (text, drawn, expect) in [
            ("0", 0, false),
            ("1", u64::MAX, true),
            ("0.5", 0, true),
            ("0.5", u64::MAX / 2, true),
            ("0.5", u64::MAX / 2 + 2, false),
            ("0.000001", u64::MAX / 1_000_001, true),
            ("0.000001", u64::MAX / 999_999, false),
        ] {
            assert_eq!(Ratio::read(text).unwrap().takes(drawn), expect, "{text} of {drawn}");
        }
    }

    #[test]
    fn endpoints_are_plain_addresses() {
        for (text, expect) in [
            ("http://127.0.0.1:4317", Some("http://127.0.0.1:4317")),
            ("http://[::1]:4318/", Some("http://[::1]:4318")),
            ("http://agent:4318/v1/traces", Some("http://agent:4318/v1/traces")),
            ("https://collector:4317", Some("https://collector:4317")),
            ("ftp://collector:4317", None),
            ("127.0.0.1:4317", None),
            ("http://user@host:1", None),
            ("http://host:1/?a", None),
            ("", None),
        ] {
            check::<Endpoint>(text, expect);
        }
    }
}
