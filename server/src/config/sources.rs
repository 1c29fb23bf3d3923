//! [`Sources`]: what flags, environment and file say, as text, before anything is checked.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};
use super::settings::{SETTINGS, Setting};
use crate::bounded_read::bounded_read;

/// The environment's `--config`.
pub const CONFIG_VARIABLE: &str = "LARDER_CONFIG";

/// What all variables of this program begin with.
pub(super) const VARIABLES: &str = "LARDER_";

/// A longer configuration file is a mistake, such as `--config` with the path of a log.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// The texts of all settings that some source gives; flags win over the environment, the
/// environment over the file.
#[derive(Debug, Default)]
pub struct Sources {
    texts: BTreeMap<&'static str, BTreeMap<Origin, String>>,
    pub(super) problems: Vec<Problem>,
}

impl Sources {
    /// Adds one value, as its source writes it. A key that no setting has becomes a problem.
    pub fn set(&mut self, origin: Origin, key: &str, text: impl Into<String>) {
        match Setting::find(key) {
            Some(setting) => {
                self.texts.entry(setting.key).or_default().insert(origin, text.into());
            }
            None => self.problems.push(Problem::Unknown { key: key.to_owned(), origin }),
        }
    }

    /// Takes what begins with `LARDER_` out of the environment. What no setting has becomes a problem, except
    /// [`CONFIG_VARIABLE`] and what Kubernetes sets for a service named `larder` or `larder-…`.
    pub fn add_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, text) in variables {
            if !name.starts_with(VARIABLES) || name == CONFIG_VARIABLE || is_of_kubernetes(&name) {
                continue;
            }
            match SETTINGS.iter().find(|setting| setting.variable() == name) {
                Some(setting) => self.set(Origin::Environment, setting.key, text),
                None => self.problems.push(Problem::UnknownVariable { name }),
            }
        }
    }

    /// Reads a TOML file; what is wrong with it becomes problems.
    pub fn add_file(&mut self, path: &Path) {
        match bounded_read(path, FILE_LIMIT_BYTES) {
            Ok(text) => self.add_toml(path, &text),
            Err(source) => self.problems.push(Problem::File { path: path.to_owned(), source }),
        }
    }

    /// Whether any source gives a setting.
    pub(crate) fn says(&self, key: &str) -> bool {
        self.texts.contains_key(key)
    }

    /// The strongest source's text for a setting.
    pub(super) fn strongest(&self, key: &'static str) -> Option<(&Origin, &str)> {
        let (origin, text) = self.texts.get(key)?.first_key_value()?;
        Some((origin, text))
    }

    /// Reads the text of such a file.
    pub(crate) fn add_toml(&mut self, path: &Path, text: &str) {
        let line_of =
            |offset: usize| text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        match DeTable::parse(text) {
            Ok(table) => {
                let place = |offset| Origin::File { path: path.to_owned(), line: line_of(offset) };
                self.add_table(&place, "", table.get_ref());
            }
            Err(error) => {
                let line = line_of(error.span().map_or(0, |span| span.start));
                let message = error.message().to_owned();
                self.problems.push(Problem::Syntax { path: path.to_owned(), line, message });
            }
        }
    }

    /// `place` is where something begins at an offset.
    fn add_table(&mut self, place: &dyn Fn(usize) -> Origin, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let origin = place(name.span().start);
            match value.get_ref() {
                DeValue::Table(inner) if is_section(&key) => {
                    self.add_table(place, &format!("{key}."), inner);
                }
                DeValue::Table(pairs) if is_list(&key) => {
                    let pairs = pairs.iter().map(|(name, value)| {
                        Some(format!("{}={}", name.get_ref(), item_text(value.get_ref())?))
                    });
                    self.set_list(origin, &key, pairs.collect());
                }
                DeValue::Array(items) if is_list(&key) => {
                    let items = items.iter().map(|item| item_text(item.get_ref()));
                    self.set_list(origin, &key, items.collect());
                }
                value if is_section(&key) => {
                    let found = kind(value);
                    self.problems.push(Problem::NotATable { key, found, origin });
                }
                value => match one_value(value) {
                    Some(text) => self.set(origin, &key, text),
                    None => self.not_one_value(key, kind(value), origin),
                },
            }
        }
    }

    /// Nothing in a list says nothing.
    fn set_list(&mut self, origin: Origin, key: &str, items: Option<Vec<String>>) {
        match items {
            Some(items) if items.is_empty() => {}
            Some(items) => self.set(origin, key, items.join(",")),
            None => self.problems.push(Problem::NotTexts { key: key.to_owned(), origin }),
        }
    }

    fn not_one_value(&mut self, key: String, found: &'static str, origin: Origin) {
        self.problems.push(match Setting::find(&key) {
            Some(_) => Problem::NotOneValue { key, found, origin },
            None => Problem::Unknown { key, origin },
        });
    }
}

/// A text, a number or a truth value as text. Numbers are written plainly, whatever their base or exponent.
fn one_value(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let value = i64::from_str_radix(number.as_str(), number.radix());
            Some(value.map_or_else(|_| number.to_string(), |value| value.to_string()))
        }
        DeValue::Float(number) => {
            let value = number.as_str().parse::<f64>();
            Some(value.map_or_else(|_| number.to_string(), |value| value.to_string()))
        }
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Table(_) => "a table",
        DeValue::Array(_) => "an array",
        DeValue::Datetime(_) => "a date",
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
            "one value"
        }
    }
}

fn is_list(key: &str) -> bool {
    Setting::find(key).is_some_and(Setting::is_list)
}

/// A comma would make it two.
fn item_text(item: &DeValue<'_>) -> Option<String> {
    item.as_str().filter(|text| !text.contains(',')).map(str::to_owned)
}

/// For each service there are `X_SERVICE_HOST`, `X_SERVICE_PORT`, `X_SERVICE_PORT_NAME`, `X_PORT` and `X_PORT_80_TCP` with
/// `_PROTO`, `_PORT` and `_ADDR`. Source: "Environment variables" of a service in Kubernetes' documentation.
fn is_of_kubernetes(name: &str) -> bool {
    let of_port = |rest: &str| {
        let rest = rest.trim_start_matches(|character: char| character.is_ascii_digit());
        ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| rest.starts_with(protocol))
    };
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split("_PORT_").skip(1).any(of_port)
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.starts_with(&format!("{name}.")))
}
