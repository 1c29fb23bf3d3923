//! [`AccessMetrics`]: calls that were refused, how credentials and certificates were read again, and when these expire; asked at each
//! scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::exposition::Exposition;
use crate::auth::Access;
use crate::transport::Tls;

/// Calls that were refused, how credentials and certificates were read again, and when these expire; asked at each scrape.
#[derive(Debug)]
pub struct AccessMetrics {
    /// Who is let do what.
    pub access: Arc<Access>,
    /// The certificates, where there are any.
    pub tls: Option<Arc<Tls>>,
}

impl Collector for AccessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut exposition = Exposition(&mut encoder);
        exposition.counters(
            "larder_auth_refusals",
            "Calls refused for who made them; many unknown ones are guesses, or a client whose token was replaced",
            self.access.refusals().each().map(|(reason, count)| ([("reason", reason)], count)),
        )?;
        if let Some(file) = self.access.credentials() {
            exposition.counters(
                "larder_credentials_reloads",
                "Changes of the credentials file; a refused one has a mistake, and what was before holds",
                by_outcome(file.replaced(), file.refused()),
            )?;
        }
        if let Some(tls) = &self.tls {
            exposition.counters(
                "larder_tls_reloads",
                "Changes of certificates and keys; a refused one cannot be used, and what was before holds until it expires",
                by_outcome(tls.replaced(), tls.refused()),
            )?;
            exposition.gauge_if(
                "larder_tls_certificate_expiry_timestamp_seconds",
                "When the certificate that clients are shown expires, in seconds since 1970; a week before is time to renew it",
                tls.current().expiry.map(|expiry| expiry.as_secs()),
            )?;
        }
        Ok(())
    }
}

fn by_outcome(replaced: u64, refused: u64) -> [([(&'static str, &'static str); 1], u64); 2] {
    [("replaced", replaced), ("refused", refused)].map(|(outcome, n)| ([("outcome", outcome)], n))
}
