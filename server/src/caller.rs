//! [`Caller`]: who calls, as far as the request says: its `RequestMetadata`.
//!
//! Nothing of it is believed: it names log lines and metrics, and chooses between two right answers. Garbage is no caller.
//! Source: `RequestMetadata` in `remote_execution.proto`, and gRPC's "Custom-Metadata" for headers that end in `-bin`.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName};
use larder_protos::reapi::RequestMetadata;
use prost::Message as _;
use tracing::Span;
use tracing::field::Empty;

use crate::report::TraceId;
use crate::spans;

/// What carries it.
pub(crate) static HEADER: HeaderName =
    HeaderName::from_static("build.bazel.remote.execution.v2.requestmetadata-bin");

/// Real ones take some hundred bytes.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// Of each text, so much is logged.
const LOGGED_BYTES_MAX: usize = 200;

/// gRPC wants both forms accepted.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller(Option<RequestMetadata>);

/// The program that calls, one of a known set, so that it can label a metric.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tool(usize);

/// How the tools name themselves, and their label. `none` is first, `other` last.
const TOOLS: [(&str, &[&str]); 15] = [
    ("none", &[]),
    ("bazel", &["bazel"]),
    ("buck2", &["buck2"]),
    ("siso", &["siso"]),
    ("re-client", &["re-client", "reclient", "reproxy", "rewrapper"]),
    ("remotetool", &["remotetool"]),
    ("goma", &["goma", "goma/exec-server"]),
    ("pants", &["pants"]),
    ("buildstream", &["buildstream", "bst"]),
    ("buildbox", &["buildbox", "buildbox-casd", "buildbox-run", "casupload", "casdownload"]),
    ("recc", &["recc"]),
    ("buildgrid", &["buildgrid", "bgd"]),
    ("moon", &["moon"]),
    ("please", &["please", "plz"]),
    ("other", &[]),
];

/// Those that take only the size of the blob for `committed_size` of a compressed upload: Siso, and what the newer uploader
/// of the Go SDK is in. Source: <https://github.com/bazelbuild/bazel/pull/30000>.
const COUNT_BLOB_BYTES: [&str; 3] = ["siso", "re-client", "remotetool"];

/// The span of a request: its target is fixed where it stands, and its fields with it.
macro_rules! request_span {
    ($caller:expr, $target:expr, $trace_id:expr $(, $($more:tt)+)?) => {{
        let metadata = $caller.0.as_ref();
        let details = metadata.and_then(|metadata| metadata.tool_details.as_ref());
        tracing::error_span!(
            target: $target,
            "request",
            trace_id = $trace_id,
            $($($more)+,)?
            tool = details.and_then(|details| logged(&details.tool_name)),
            tool_version = details.and_then(|details| logged(&details.tool_version)),
            tool_invocation_id = metadata.and_then(|metadata| logged(&metadata.tool_invocation_id)),
            correlated_invocations_id =
                metadata.and_then(|metadata| logged(&metadata.correlated_invocations_id)),
            action_id = metadata.and_then(|metadata| logged(&metadata.action_id)),
            action_mnemonic = metadata.and_then(|metadata| logged(&metadata.action_mnemonic)),
            target_id = metadata.and_then(|metadata| logged(&metadata.target_id)),
            configuration_id =
                metadata.and_then(|metadata| logged(&metadata.configuration_id)),
        )
    }};
}

impl Caller {
    /// Reads the header, the first one if there are several.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.get(&HEADER).and_then(|value| parse(value.as_bytes())))
    }

    /// The program.
    pub(crate) fn tool(&self) -> Tool {
        let details = self.0.as_ref().and_then(|metadata| metadata.tool_details.as_ref());
        details.map_or(Tool::default(), |details| Tool::named(&details.tool_name))
    }

    /// The kind of action that it calls for; empty where it does not say.
    pub(crate) fn into_mnemonic(self) -> String {
        self.0.map(|metadata| metadata.action_mnemonic).unwrap_or_default()
    }

    /// What log lines of the request carry. At the highest level, since a line of any level needs it.
    pub(crate) fn span(&self, trace_id: Option<TraceId>) -> Span {
        if self.0.is_none() && trace_id.is_none() {
            return Span::none();
        }
        request_span!(self, module_path!(), trace_id.map(display))
    }

    /// The same for a request whose span goes to a collector. Its trace is recorded once it is known.
    pub(crate) fn sampled_span(&self, method: &'static str) -> Span {
        request_span!(self, spans::REQUEST, Empty, otel.name = method, otel.kind = "server")
    }
}

impl Tool {
    /// How many there are.
    pub(crate) const COUNT: usize = TOOLS.len();

    const OTHER: Self = Self(TOOLS.len() - 1);

    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    fn named(name: &str) -> Self {
        if name.is_empty() {
            return Self::default();
        }
        let is_it = |names: &&[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        TOOLS.iter().position(|(_, names)| is_it(names)).map_or(Self::OTHER, Self)
    }

    /// As an index below [`Tool::COUNT`].
    pub(crate) fn index(self) -> usize {
        self.0
    }

    /// The metric label.
    pub(crate) fn label(self) -> &'static str {
        TOOLS[self.0].0
    }

    /// Whether its `committed_size` counts the bytes of the blob where what was sent is compressed.
    pub(crate) fn counts_blob_bytes(self) -> bool {
        COUNT_BLOB_BYTES.contains(&self.label())
    }
}

fn parse(value: &[u8]) -> Option<RequestMetadata> {
    // Several values of one name may come as one, with commas between.
    let mut values = value.split(|byte| *byte == b',');
    let first = values.next().filter(|first| first.len() <= HEADER_BYTES_MAX)?;
    let metadata = BASE64.decode(first).ok()?;
    RequestMetadata::decode(&metadata[..]).ok()
}

fn logged(text: &str) -> Option<&str> {
    let end = text.floor_char_boundary(LOGGED_BYTES_MAX);
    (!text.is_empty()).then_some(&text[..end])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use larder_protos::reapi::ToolDetails;
    use proptest::prelude::*;

    use super::*;

    fn caller(value: &[u8]) -> Caller {
        let value = HeaderValue::from_bytes(value).expect("a good value");
        Caller::of(&HeaderMap::from_iter([(HEADER.clone(), value)]))
    }

    fn encoded(name: &str) -> String {
        let details = ToolDetails { tool_name: name.to_owned(), ..ToolDetails::default() };
        let metadata =
            RequestMetadata { tool_details: Some(details), ..RequestMetadata::default() };
        BASE64.encode(metadata.encode_to_vec())
    }

    fn check(value: &str, label: &str) {
        assert_eq!(caller(value.as_bytes()).tool().label(), label, "{value}");
    }

    #[test]
    fn tools_are_of_a_known_set() {
        check(&encoded("bazel"), "bazel");
        check(&encoded("Bazel"), "bazel");
        check(&encoded("reproxy"), "re-client");
        check(&encoded("bst"), "buildstream");
        check(&encoded("other"), "other");
        check(&encoded("none"), "other");
        check(&encoded("my tool"), "other");
        check(&encoded(""), "none");
        check(encoded("buck2").trim_end_matches('='), "buck2");
        check(&format!("{},{}", encoded("buck2"), encoded("bazel")), "buck2");
        check("", "none");
        check("not base64!", "none");
        check(&BASE64.encode([0xff; 20]), "none");
        check(&"A".repeat(100_000), "none");
        assert_eq!(Caller::of(&HeaderMap::new()).tool().label(), "none");
    }

    #[test]
    fn the_go_sdk_and_siso_count_blobs() {
        for (name, expect) in
            [("siso", true), ("reproxy", true), ("bazel", false), ("buck2", false), ("x", false)]
        {
            assert_eq!(Tool::named(name).counts_blob_bytes(), expect, "{name}");
        }
        let labels = || Tool::all().map(Tool::label);
        assert!(COUNT_BLOB_BYTES.iter().all(|label| labels().any(|known| known == *label)));
    }

    #[test]
    fn little_of_a_text_is_logged() {
        assert_eq!(logged(""), None);
        assert_eq!(logged("id"), Some("id"));
        assert_eq!(logged(&"ü".repeat(200)).map(str::len), Some(200));
    }

    proptest! {
        #[test]
        fn garbage_is_no_caller(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let caller = caller(BASE64.encode(&bytes).as_bytes());
            let _span = caller.span(None);
            prop_assert!(caller.tool().index() < Tool::COUNT);
        }
    }
}
