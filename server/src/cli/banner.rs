//! What a user needs to know once the server is up: a few set lines, or one JSON event.

use std::net::SocketAddr;

use crate::config::{ByteSize, Config, ListenAddress};
use crate::run::RunningServer;
use crate::telemetry::{LogHandle, LogStyle};

/// Tells on standard error, where the log goes too.
pub(super) fn announce(server: &RunningServer, config: &Config, log: &LogHandle) {
    let addresses = server.addresses();
    let listen = addresses.listen_text();
    let clients = clients(&addresses.listen);
    let admin = reachable(addresses.admin);
    let used = ByteSize::bytes(server.usage().stored_bytes);
    let version = env!("CARGO_PKG_VERSION");
    let data_dir = config.data_dir.display();
    match log.style() {
        LogStyle::Json => tracing::info!(
            version,
            address = %listen,
            admin_address = %addresses.admin,
            %data_dir,
            max_size_bytes = config.max_size.as_bytes(),
            used_bytes = used.as_bytes(),
            bazel = clients.first(),
            "listening"
        ),
        LogStyle::Human => {
            let limit = config.max_size.approximate();
            let used = used.approximate();
            let bazel = clients.join("\n          ");
            log.tell(format!(
                "\n  larder {version} is listening on {listen}\n\
                 \n  data    {data_dir} ({used} of {limit})\
                 \n  bazel   {bazel}\
                 \n  admin   http://{admin}/statusz\n\n",
            ));
        }
    }
}

/// What to tell Bazel for each address.
fn clients(listen: &[ListenAddress]) -> Vec<String> {
    let flags = listen.iter().flat_map(|address| match address {
        ListenAddress::Tcp(address) => {
            let host = reachable(*address);
            vec![format!("--remote_cache=grpc://{host}"), format!("--remote_cache=http://{host}")]
        }
        ListenAddress::Unix(path) => {
            vec![format!("--remote_cache=grpc://larder --remote_proxy=unix:{}", path.display())]
        }
    });
    flags.collect()
}

/// What a client can connect to: a server that listens everywhere is reached by its host's name.
fn reachable(address: SocketAddr) -> String {
    if !address.ip().is_unspecified() {
        return address.to_string();
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_connects_to_the_unspecified_address() {
        assert_eq!(reachable("127.0.0.1:80".parse().unwrap()), "127.0.0.1:80");
        assert_eq!(reachable("[::1]:80".parse().unwrap()), "[::1]:80");
        let everywhere = reachable("0.0.0.0:80".parse().unwrap());
        assert!(everywhere.ends_with(":80") && !everywhere.contains("0.0.0.0"), "{everywhere}");
    }
}
