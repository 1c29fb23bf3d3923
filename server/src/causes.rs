//! [`with_causes`]: an error and what caused it, in one line.

use std::error::Error;

/// Each after the other, with colons between.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
