//! Bazel's execution log (`--execution_log_json_file`): one JSON object for each spawn, one after the other.

use serde::Deserialize;

/// A command that Bazel ran, or had answered for by the cache.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spawn {
    pub(super) mnemonic: String,
    /// How it was executed: `local`, `remote cache hit`, …
    pub(super) runner: String,
    pub(super) remote_cacheable: bool,
    pub(super) remote_cache_hit: bool,
    pub(super) exit_code: i32,
    pub(super) listed_outputs: Vec<String>,
    pub(super) environment_variables: Vec<Variable>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

impl Spawn {
    /// The label of the test that this spawn belongs to, if it belongs to one.
    pub(super) fn test_target(&self) -> Option<&str> {
        self.environment_variables
            .iter()
            .find(|variable| variable.name == "TEST_TARGET")
            .map(|variable| variable.value.as_str())
    }

    /// What tells this spawn from every other one of the same build.
    pub(super) fn identity(&self) -> String {
        let output = self.listed_outputs.first().map_or("no output", String::as_str);
        format!("{} {output}", self.mnemonic)
    }
}

/// All spawns of a log.
pub(super) fn parse(log: &str) -> Result<Vec<Spawn>, serde_json::Error> {
    serde_json::Deserializer::from_str(log).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_one_after_the_other_are_read_and_unknown_fields_passed_over() {
        let log = r#"{"mnemonic": "Genrule", "runner": "remote cache hit", "remoteCacheHit": true,
            "remoteCacheable": true, "listedOutputs": ["out/a"], "commandArgs": ["x"]}{
            "mnemonic": "TestRunner", "runner": "local", "exitCode": 1,
            "environmentVariables": [{"name": "TEST_TARGET", "value": "//a:test"}]}"#;
        let spawns = parse(log).unwrap();
        assert_eq!(spawns.len(), 2);
        assert_eq!(spawns[0].identity(), "Genrule out/a");
        assert!(spawns[0].remote_cache_hit && spawns[0].remote_cacheable);
        assert_eq!((spawns[1].test_target(), spawns[1].exit_code), (Some("//a:test"), 1));
    }

    #[test]
    fn a_log_that_was_cut_is_an_error() {
        assert!(parse(r#"{"mnemonic": "Genrule"}{"mnem"#).is_err());
    }
}
