//! [`Case`]: one rule of the protocol, where it is written, and the function that tries it. [`Topic`]: the cases of one kind.

use std::fmt;

use clap::ValueEnum;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::announced::Need;
use super::context::Cx;
use super::outcome::Outcome;

/// How binding a rule is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// The specification says that it is so.
    Must,
    /// The specification advises it.
    Should,
    /// Not in the specification, but a named client works badly, or not at all, without it.
    Client,
}

impl Level {
    /// All, the most binding first.
    pub(crate) const ALL: [Self; 3] = [Self::Must, Self::Should, Self::Client];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::Client => "CLIENT",
        })
    }
}

/// A client whose habits are tried.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    Bazel,
    Buck2,
    Cuenv,
    GoSdk,
    Siso,
    Pants,
    #[value(name = "buildstream")]
    #[serde(rename = "buildstream")]
    BuildStream,
}

/// Cases that run only when they are asked for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OptIn {
    /// Takes longer than the time limit of usual cases.
    Slow,
    /// Attacks the server: not for one that others use.
    Hostile,
}

/// One rule, and how it is tried.
pub(crate) struct Case {
    /// `topic.what-is-so`, for ever: other people's lists of known failures name it.
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    /// The clients that rely on it; those of a CLIENT case, and of others that a client's profile includes.
    pub(crate) profiles: &'static [Profile],
    /// Where the rule is written.
    pub(crate) source: &'static str,
    /// The rule in a sentence, as the comment above the case has it: see [`Case::rule`].
    pub(crate) rule: &'static str,
    /// What a server must offer for the case to mean anything, beside what its topic needs.
    pub(crate) needs: &'static [Need],
    /// Set where the case must be asked for.
    pub(crate) opt_in: Option<OptIn>,
    pub(crate) run: for<'a> fn(&'a Cx) -> BoxFuture<'a, Outcome>,
}

impl Case {
    /// The rule, without the space that a comment begins with.
    pub(crate) fn rule(&self) -> &'static str {
        self.rule.trim()
    }
}

/// Cases of one kind. The names of its cases begin with its own and a dot.
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    /// What each of its cases needs.
    pub(crate) needs: &'static [Need],
    pub(crate) cases: &'static [Case],
}

/// A table of cases. Each is written as
///
/// ```text
/// /// The rule, in a sentence.
/// "topic.name", Must, "where it is written", needs[Need::Zstd], only(Hostile) => function(argument);
/// ```
///
/// A CLIENT case names the clients: `Client[Bazel, Siso]`; so may others. `needs`, `only` and the arguments are left out
/// where there are none. The function is `async fn function(cx: &Cx, argument: …) -> Outcome`.
macro_rules! cases {
    ($(
        #[doc = $rule:literal]
        $name:expr, $level:ident $([$($profile:ident),+])?, $source:literal
        $(, needs[$($need:expr),+])? $(, only($opt_in:ident))?
        => $run:ident $(($($argument:expr),*))?;
    )+) => {
        &[$($crate::conformance::case::Case {
            name: $name,
            level: $crate::conformance::case::Level::$level,
            profiles: &[$($($crate::conformance::case::Profile::$profile),+)?],
            source: $source,
            rule: $rule,
            needs: &[$($($need),+)?],
            opt_in: {
                #[allow(unused_mut, unused_assignments, reason = "depends on the case")]
                let mut opt_in = None;
                $(opt_in = Some($crate::conformance::case::OptIn::$opt_in);)?
                opt_in
            },
            run: |cx| Box::pin($run(cx $($(, $argument)*)?)),
        }),+]
    };
}

pub(crate) use cases;
