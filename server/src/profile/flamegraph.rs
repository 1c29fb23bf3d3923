//! A [`Profile`] as a picture: functions as boxes, as wide as they were seen often, upon those that called them.
//!
//! The picture is SVG without scripts, as wide as the window; the text over a box tells what does not fit into it. Stacks with
//! the same beginning share boxes, and what is too narrow to be seen is left out, which bounds the picture.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::stacks::{Measure, Profile};
use crate::config::ByteSize;

const WIDTH: f64 = 1600.0;
const ROW_HEIGHT: f64 = 18.0;
/// For the heading.
const TOP: f64 = 30.0;
/// Narrower boxes are left out.
const WIDTH_MIN: f64 = 0.4;
/// Of a monospaced letter in the size below.
const LETTER_WIDTH: f64 = 6.7;
const STYLE: &str = "text{font:11px monospace;pointer-events:none}rect{stroke:#fff;stroke-width:.5}rect:hover{stroke:#000;stroke-width:1}";

/// What was seen in a function, and in those that it called.
#[derive(Debug, Default)]
struct Tree {
    count: u64,
    callees: BTreeMap<String, Tree>,
}

/// A box of the picture, measured in samples (of memory in bytes) and rows.
struct Place<'a> {
    name: &'a str,
    from: u64,
    count: u64,
    row: usize,
}

impl Tree {
    fn of(profile: &Profile) -> Self {
        let mut tree = Self::default();
        for (stack, count) in &profile.samples {
            tree.count += count;
            let mut at = &mut tree;
            for name in stack.thread.iter().chain(&stack.functions) {
                at = at.callees.entry(name.clone()).or_default();
                at.count += count;
            }
        }
        tree
    }

    /// The boxes that are wide enough, those of callers before those of callees.
    fn places<'a>(&'a self, name: &'a str, count_min: f64) -> Vec<Place<'a>> {
        let mut places = Vec::new();
        let mut waiting = vec![(self, Place { name, from: 0, count: self.count, row: 0 })];
        while let Some((tree, place)) = waiting.pop() {
            let mut from = place.from;
            for (name, callee) in &tree.callees {
                if exact(callee.count) >= count_min {
                    let place = Place { name, from, count: callee.count, row: place.row + 1 };
                    waiting.push((callee, place));
                }
                from += callee.count;
            }
            places.push(place);
        }
        places
    }
}

impl Profile {
    /// As a picture in SVG.
    pub fn to_flamegraph(&self) -> String {
        let mut svg = String::new();
        self.write_flamegraph(&mut svg).expect("a string takes all");
        svg
    }

    fn write_flamegraph(&self, svg: &mut String) -> fmt::Result {
        let tree = Tree::of(self);
        let per_sample = WIDTH / exact(tree.count.max(1));
        let all = match self.measure {
            Measure::Cpu { .. } => "all threads",
            Measure::Heap { .. } => "all memory",
        };
        let places = tree.places(all, WIDTH_MIN / per_sample);
        let rows = places.iter().map(|place| place.row + 1).max().unwrap_or(0);
        let height = TOP + exact(rows as u64) * ROW_HEIGHT;
        writeln!(
            svg,
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="100%" viewBox="0 0 {WIDTH} {height}">"#
        )?;
        writeln!(svg, "<style>{STYLE}</style>")?;
        writeln!(svg, r##"<rect width="{WIDTH}" height="{height}" fill="#fff"/>"##)?;
        writeln!(svg, r#"<text x="4" y="18">larder: {}</text>"#, self.heading(tree.count))?;
        for place in places {
            let x = exact(place.from) * per_sample;
            let width = exact(place.count) * per_sample;
            // Callers are below.
            let y = height - exact(place.row as u64 + 1) * ROW_HEIGHT;
            let name = Escaped(place.name);
            let percent = 100.0 * exact(place.count) / exact(tree.count.max(1));
            writeln!(
                svg,
                r#"<g><title>{name}: {}, {percent:.1} %</title><rect x="{x:.1}" y="{y}" width="{width:.1}" height="{ROW_HEIGHT}" fill="{}"/>"#,
                self.amount(place.count),
                color(place.name)
            )?;
            let fits = letters(width);
            if fits >= 3 {
                let shown: String = short(place.name).chars().take(fits).collect();
                let (x, y) = (x + 3.0, y + 13.0);
                writeln!(svg, r#"<text x="{x:.1}" y="{y}">{}</text>"#, Escaped(&shown))?;
            }
            writeln!(svg, "</g>")?;
        }
        writeln!(svg, "</svg>")
    }

    fn heading(&self, count: u64) -> String {
        let amount = self.amount(count);
        match self.measure {
            Measure::Cpu { period, length } => {
                let (period_ms, length_s) = (period.as_secs_f64() * 1e3, length.as_secs_f64());
                format!("{amount} of {period_ms:.1} ms CPU in {length_s:.1} s")
            }
            Measure::Heap { period_bytes } => {
                let period = ByteSize::bytes(period_bytes);
                format!("{amount} in use, sampled each {period}")
            }
        }
    }

    fn amount(&self, count: u64) -> String {
        match self.measure {
            Measure::Cpu { .. } => format!("{count} samples"),
            Measure::Heap { .. } => ByteSize::bytes(count).approximate(),
        }
    }
}

/// Own code stands out from that of others.
fn color(name: &str) -> String {
    // Neighbours differ a little, and the same name always looks the same.
    let shade = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31) + u32::from(byte)) % 12;
    let hue = if name.contains("larder") { 140 } else { 35 };
    format!("hsl({hue},60%,{}%)", 64 + shade)
}

/// A function's name without the path of its crate's modules, of which the last is enough where there is little room.
fn short(name: &str) -> &str {
    // Not within types in brackets.
    let end = name.find(['<', '(', ' ']).unwrap_or(name.len());
    let (path, _) = name.split_at(end);
    let mut parts = path.rmatch_indices("::").map(|(at, _)| at + 2);
    let _function = parts.next();
    parts.next().map_or(name, |at| &name[at..])
}

fn letters(width: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and the picture's width"
    )]
    let letters = ((width - 6.0) / LETTER_WIDTH).max(0.0) as usize;
    letters
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
fn exact(count: u64) -> f64 {
    count as f64
}

/// Text in XML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            letter if letter.is_control() => f.write_char('\u{fffd}'),
            letter => f.write_char(letter),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::stacks::Stack;
    use super::*;

    fn profile(stacks: &[(&[&str], u64)]) -> Profile {
        let samples = stacks.iter().map(|(functions, count)| {
            let functions = functions.iter().map(|&name| name.to_owned()).collect();
            (Stack { thread: Some("worker".to_owned()), functions }, *count)
        });
        Profile {
            begun: SystemTime::UNIX_EPOCH,
            measure: Measure::Cpu {
                period: Duration::from_millis(10),
                length: Duration::from_secs(1),
            },
            samples: samples.collect(),
        }
    }

    #[test]
    fn stacks_share_what_they_begin_with_and_callees_lie_within_callers() {
        let profile = profile(&[(&["a", "b"], 30), (&["a", "c"], 60), (&["d"], 10)]);
        let tree = Tree::of(&profile);
        let mut places: Vec<_> = tree
            .places("all", 0.0)
            .into_iter()
            .map(|Place { name, from, count, row }| (row, from, count, name))
            .collect();
        places.sort_unstable();
        assert_eq!(
            places,
            [
                (0, 0, 100, "all"),
                (1, 0, 100, "worker"),
                (2, 0, 90, "a"),
                (2, 90, 10, "d"),
                (3, 0, 30, "b"),
                (3, 30, 60, "c")
            ]
        );
        assert_eq!(tree.places("all", 50.0).len(), 4, "narrow ones are left out");
    }

    #[test]
    fn names_do_not_break_the_picture() {
        let svg = profile(&[(&["<a as b>::c & d\u{1}"], 1)]).to_flamegraph();
        assert!(
            svg.contains("<title>&lt;a as b&gt;::c &amp; d\u{fffd}: 1 samples, 100.0 %"),
            "{svg}"
        );
        assert!(
            profile(&[]).to_flamegraph().contains("0 samples"),
            "nothing seen is a picture too"
        );
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let stack = Stack { thread: None, functions: vec!["read".to_owned()] };
        let svg = Profile {
            begun: SystemTime::UNIX_EPOCH,
            measure: Measure::Heap { period_bytes: 512 << 10 },
            samples: BTreeMap::from([(stack, 3 << 20)]),
        }
        .to_flamegraph();
        assert!(svg.contains("larder: 3.0 MiB in use, sampled each 512KiB<"), "{svg}");
        assert!(svg.contains("<title>read: 3.0 MiB, 100.0 %<"), "{svg}");
    }

    #[test]
    fn names_are_cut_at_the_front() {
        for (name, expect) in [
            ("main", "main"),
            ("larder_disk::engine::Engine::read", "Engine::read"),
            (
                "tokio::runtime::task::poll<larder_server::edge::Edge>",
                "task::poll<larder_server::edge::Edge>",
            ),
            ("<a::b::C as d::e::F>::f", "<a::b::C as d::e::F>::f"),
        ] {
            assert_eq!(short(name), expect);
        }
    }
}
