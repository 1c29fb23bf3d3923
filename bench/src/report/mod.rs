//! The report: a [`Row`] for each scenario and server, their ratios, and the limits; as a table and as JSON.

mod origin;
mod ratio;
mod row;
mod table;

use serde::Serialize;

use crate::limits::Limits;

pub(crate) use origin::Origin;
pub(crate) use ratio::{Ratio, ratios};
pub(crate) use row::{Cell, Round, Row, described};
pub(crate) use table::{LimitTable, RatioTable, RowTable};

/// All that a run found, as JSON has it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) version: &'static str,
    pub(crate) limits: Limits,
    pub(crate) rows: Vec<Row>,
    pub(crate) ratios: Vec<Ratio>,
}

/// For reports, which need three digits.
#[expect(clippy::cast_precision_loss, reason = "a report needs three digits")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}
