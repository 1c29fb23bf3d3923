//! [`Protocol`]: the ways in which Bazel can speak to a cache.

use std::fmt;
use std::net::SocketAddr;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Grpc,
    /// gRPC with zstd on `ByteStream`, since Bazel 5.
    GrpcCompressed,
    Http,
}

impl Protocol {
    pub(super) const ALL: [Self; 3] = [Self::Grpc, Self::GrpcCompressed, Self::Http];

    /// The flags that choose the protocol, beside the address; `None` where the Bazel whose `help build --long` is `options` does not
    /// offer it.
    pub(super) fn flags(self, options: &str) -> Option<&'static [&'static str]> {
        match self {
            Self::Grpc | Self::Http => Some(&[]),
            Self::GrpcCompressed if options.contains("--[no]remote_cache_compression") => {
                Some(&["--remote_cache_compression"])
            }
            Self::GrpcCompressed
                if options.contains("--[no]experimental_remote_cache_compression") =>
            {
                Some(&["--experimental_remote_cache_compression"])
            }
            Self::GrpcCompressed => None,
        }
    }

    pub(super) fn url(self, address: SocketAddr) -> String {
        match self {
            Self::Grpc | Self::GrpcCompressed => format!("grpc://{address}"),
            Self::Http => format!("http://{address}"),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "grpc",
            Self::GrpcCompressed => "grpc-zstd",
            Self::Http => "http",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_offered_under_two_names_or_not() {
        let table: [(&str, Option<&[&str]>); 3] = [
            ("  --remote_cache (a string)", None),
            (
                "  --[no]experimental_remote_cache_compression (a boolean)",
                Some(&["--experimental_remote_cache_compression"]),
            ),
            ("  --[no]remote_cache_compression (a boolean)", Some(&["--remote_cache_compression"])),
        ];
        for (options, flags) in table {
            assert_eq!(Protocol::GrpcCompressed.flags(options), flags, "{options}");
        }
    }
}
