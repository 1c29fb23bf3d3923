//! [`AccessMetrics`]: calls that were refused, and how credentials and certificates were read again; asked at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::auth::Access;
use crate::transport::Tls;

/// Calls that were refused, and how credentials and certificates were read again; asked at each scrape.
#[derive(Debug)]
pub struct AccessMetrics {
    /// Who is let do what.
    pub access: Arc<Access>,
    /// The certificates, where there are any.
    pub tls: Option<Arc<Tls>>,
}

impl Collector for AccessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls refused for who made them; many unknown ones are guesses, or a client whose token was replaced";
        let mut refused =
            encoder.encode_descriptor("larder_auth_refusals", help, None, MetricType::Counter)?;
        for (reason, count) in self.access.refusals().each() {
            let labels = [("reason", reason)];
            refused.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        if let Some(file) = self.access.credentials() {
            let help = "Changes of the credentials file; a refused one has a mistake, and what was before holds";
            let counts = [file.replaced(), file.refused()];
            encode_reloads(&mut encoder, "larder_credentials_reloads", help, counts)?;
        }
        if let Some(tls) = &self.tls {
            let help = "Changes of certificates and keys; a refused one cannot be used, and what was before holds until it expires";
            let counts = [tls.replaced(), tls.refused()];
            encode_reloads(&mut encoder, "larder_tls_reloads", help, counts)?;
        }
        Ok(())
    }
}

fn encode_reloads(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: [u64; 2],
) -> fmt::Result {
    let mut reloads = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (outcome, count) in ["replaced", "refused"].into_iter().zip(counts) {
        let labels = [("outcome", outcome)];
        reloads.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}
