//! [`Outcome`]: how a case ends.

/// What a case returns; `?` ends it at the first broken expectation.
pub(crate) type Outcome = Result<(), Halt>;

/// Why a case ended before its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Halt {
    /// The server breaks the rule: what was expected, and what was seen.
    Violated(String),
    /// The rule says nothing about this server: why.
    NotApplicable(String),
}

/// Ends a case with what was expected and what was seen.
pub(crate) fn violated<T>(found: impl Into<String>) -> Result<T, Halt> {
    Err(Halt::Violated(found.into()))
}

/// Ends a case that does not apply to this server, with the reason.
pub(crate) fn not_applicable<T>(reason: impl Into<String>) -> Result<T, Halt> {
    Err(Halt::NotApplicable(reason.into()))
}
