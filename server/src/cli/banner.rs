//! What a user needs to know once the server is up: a few set lines, or one JSON event.

use std::net::SocketAddr;

use crate::config::{ByteSize, Config, ListenAddress, TlsSettings};
use crate::run::RunningServer;
use crate::telemetry::{LogHandle, LogStyle};

/// Tells on standard error, where the log goes too.
pub(super) fn announce(server: &RunningServer, config: &Config, log: &LogHandle) {
    let addresses = server.addresses();
    let listen = addresses.listen_text();
    let tls = config.tls.as_ref();
    let clients = clients(&addresses.listen, tls);
    let admin = admin(addresses.admin, tls);
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
                 \n  admin   {admin}/statusz\n\n",
            ));
        }
    }
}

/// What to tell Bazel for each address.
fn clients(listen: &[ListenAddress], tls: Option<&TlsSettings>) -> Vec<String> {
    let schemes = if tls.is_some() { ["grpcs", "https"] } else { ["grpc", "http"] };
    let flags = listen.iter().flat_map(|address| match address {
        ListenAddress::Tcp(address) => {
            let host = reachable(*address);
            schemes.map(|scheme| format!("--remote_cache={scheme}://{host}")).to_vec()
        }
        // Nothing is encrypted there.
        ListenAddress::Unix(path) => {
            vec![format!("--remote_cache=grpc://larder --remote_proxy=unix:{}", path.display())]
        }
    });
    flags.collect()
}

fn admin(address: SocketAddr, tls: Option<&TlsSettings>) -> String {
    let scheme = if tls.is_some_and(|tls| tls.admin) { "https" } else { "http" };
    format!("{scheme}://{}", reachable(address))
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
    use crate::config::ClientAuth;

    #[test]
    fn what_is_encrypted_is_told_so() {
        let listen = ["127.0.0.1:80".parse().map(ListenAddress::Tcp).unwrap()];
        let unix = [ListenAddress::Unix("/run/l".into())];
        let of_socket = ["--remote_cache=grpc://larder --remote_proxy=unix:/run/l"];
        let check = |tls: Option<&TlsSettings>, grpc: &str, http: &str, admin_scheme: &str| {
            let expect =
                [grpc, http].map(|scheme| format!("--remote_cache={scheme}://127.0.0.1:80"));
            assert_eq!(clients(&listen, tls), expect);
            assert_eq!(clients(&unix, tls), of_socket);
            let expect = format!("{admin_scheme}://127.0.0.1:81");
            assert_eq!(admin("127.0.0.1:81".parse().unwrap(), tls), expect);
        };
        let tls = TlsSettings {
            cert_file: "c".into(),
            key_file: "k".into(),
            client_ca_file: None,
            client_auth: ClientAuth::None,
            admin: false,
        };
        check(None, "grpc", "http", "http");
        check(Some(&tls), "grpcs", "https", "http");
        check(Some(&TlsSettings { admin: true, ..tls }), "grpcs", "https", "https");
    }

    #[test]
    fn nobody_connects_to_the_unspecified_address() {
        assert_eq!(reachable("127.0.0.1:80".parse().unwrap()), "127.0.0.1:80");
        assert_eq!(reachable("[::1]:80".parse().unwrap()), "[::1]:80");
        let everywhere = reachable("0.0.0.0:80".parse().unwrap());
        assert!(everywhere.ends_with(":80") && !everywhere.contains("0.0.0.0"), "{everywhere}");
    }
}
