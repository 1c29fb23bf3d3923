//! [`TransportMetrics`]: connections open, refused, and failures to accept one.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Connections open, refused, and failures to accept one.
#[derive(Debug, Default)]
pub struct TransportMetrics {
    pub(super) connections: Gauge,
    pub(super) refused: Counter,
    pub(super) accept_errors: Counter,
    pub(super) handshake_errors: Counter,
}

impl TransportMetrics {
    /// Shows them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Client connections that are open; at half of process_max_fds, or 8192, more are refused";
        registry.register("larder_connections", help, self.connections.clone());
        let help = "Connections closed at once because too many were open; any means that clients must share connections, or few open files";
        registry.register("larder_connections_refused", help, self.refused.clone());
        let help = "Failures to accept a connection; any means too few file descriptors or memory";
        registry.register("larder_accept_errors", help, self.accept_errors.clone());
    }

    /// Shows in `registry` what there is with TLS only.
    pub fn register_encrypted(&self, registry: &mut Registry) {
        let help = "TLS handshakes that failed: clients that trust another authority, show no certificate or speak plain text";
        registry.register("larder_tls_handshake_errors", help, self.handshake_errors.clone());
    }
}
