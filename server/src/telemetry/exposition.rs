//! [`Exposition`]: writes metric families, so that each collector is a list of names, help texts and values.

use std::fmt;

use larder_disk::Histogram;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Writes metric families.
pub(super) struct Exposition<'a, 'b>(pub(super) &'a mut DescriptorEncoder<'b>);

/// What a histogram's whole numbers are in the unit of its family.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Scale {
    One,
    /// Microseconds under a name in seconds.
    Micros,
}

impl Exposition<'_, '_> {
    /// A gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A gauge that is absent where there is nothing to tell.
    pub(super) fn gauge_if(&mut self, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        value.map_or(Ok(()), |value| family.encode_gauge(&value))
    }

    /// A counter without labels; its name goes without `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// A gauge for each set of labels.
    pub(super) fn gauges<L: AsRef<[(&'static str, S)]>, S: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&texts(labels.as_ref()))?.encode_gauge(&value)
        })
    }

    /// A counter for each set of labels.
    pub(super) fn counters<L: AsRef<[(&'static str, S)]>, S: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.into_iter().try_for_each(|(labels, value)| {
            let labels = texts(labels.as_ref());
            let mut counter = family.encode_family(&labels)?;
            counter.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    /// The same for microseconds under a name in seconds.
    pub(super) fn seconds_counters<L: AsRef<[(&'static str, S)]>, S: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        micros: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        micros.into_iter().try_for_each(|(labels, micros)| {
            let labels = texts(labels.as_ref());
            let mut counter = family.encode_family(&labels)?;
            let seconds = Scale::Micros.apply(micros);
            counter.encode_counter::<NoLabelSet, _, u64>(&seconds, None)
        })
    }

    /// A histogram for each set of labels; without labels, one.
    pub(super) fn histograms<'h, L: AsRef<[(&'static str, S)]>, S: AsRef<str>>(
        &mut self,
        (name, help): (&str, &str),
        scale: Scale,
        values: impl IntoIterator<Item = (L, &'h Histogram)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in values {
            let buckets: Vec<(f64, u64)> = histogram
                .buckets()
                .map(|(bound, count)| (bound.map_or(f64::INFINITY, |b| scale.apply(b)), count))
                .collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = scale.apply(histogram.sum());
            let labels = texts(labels.as_ref());
            if labels.is_empty() {
                family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            } else {
                let mut series = family.encode_family(&labels)?;
                series.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        Ok(())
    }
}

impl Scale {
    #[expect(clippy::cast_precision_loss, reason = "a histogram is no ledger")]
    fn apply(self, value: u64) -> f64 {
        match self {
            Self::One => value as f64,
            Self::Micros => value as f64 / 1e6,
        }
    }
}

fn texts<'a, S: AsRef<str>>(labels: &'a [(&'static str, S)]) -> Vec<(&'static str, &'a str)> {
    labels.iter().map(|(key, value)| (*key, value.as_ref())).collect()
}
