//! Settings as TOML text: the example file, and what is in effect.

use std::fmt::Write as _;

use super::settings::{Fallback, SETTINGS};

const WIDTH: usize = 100;

/// Settings with their values, as a file that says the same.
pub fn settings_toml(settings: &[(&str, String)]) -> String {
    let mut text = String::new();
    let mut section = "";
    for (key, value) in settings {
        let name = enter_section(&mut text, &mut section, key);
        let _infallible = writeln!(text, "{name} = {}", toml_value(value));
    }
    text
}

/// A file that sets every setting to its default; what the machine decides is commented out.
pub fn example_toml() -> String {
    let mut text = "# Every setting of Larder, with its default. Written by a test from the table \
                    in\n# server/src/config/settings.rs, from which `larder serve --help` comes \
                    too.\n"
        .to_owned();
    let mut section = "";
    for setting in SETTINGS {
        let name = enter_section(&mut text, &mut section, setting.key);
        text.push('\n');
        write_comment(&mut text, &format!("{} {}", setting.help, setting.advice));
        let _infallible = match setting.fallback {
            Fallback::Text(value) => writeln!(text, "{name} = {}", toml_value(value)),
            Fallback::Machine(how) => writeln!(text, "# {name} = … # default: {how}"),
            Fallback::Off => writeln!(text, "# {name} = …"),
        };
    }
    text
}

/// Begins the table of `key` if it is another, and gives the name of `key` within it.
fn enter_section<'a>(text: &mut String, section: &mut &'a str, key: &'a str) -> &'a str {
    let (of_key, name) = key.split_once('.').unwrap_or(("", key));
    if of_key != *section {
        *section = of_key;
        let _infallible = writeln!(text, "\n[{of_key}]");
    }
    name
}

/// Numbers and truth values stand bare.
fn toml_value(value: &str) -> String {
    let is_number = value.parse::<i64>().is_ok_and(|number| number.to_string() == value);
    if is_number || value.parse::<bool>().is_ok() {
        return value.to_owned();
    }
    toml::Value::from(value).to_string()
}

fn write_comment(text: &mut String, sentences: &str) {
    let mut column = usize::MAX;
    for word in sentences.split_ascii_whitespace() {
        let word_length = word.chars().count();
        if column.saturating_add(1 + word_length) > WIDTH {
            text.push_str(if column == usize::MAX { "#" } else { "\n#" });
            column = 1;
        }
        text.push(' ');
        text.push_str(word);
        column += 1 + word_length;
    }
    text.push('\n');
}
