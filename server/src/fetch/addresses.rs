//! [`AddressRules`]: which addresses may be connected to. Pure.
//!
//! Only what is public, and what an operator has allowed. An IPv6 address that carries an IPv4 address is judged by that.
//! Sources: IANA's registries of special-purpose addresses (RFC 6890 and its updates); RFC 6052 (NAT64), RFC 3056 (6to4).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses, such as `10.0.0.0/8`. IPv4 is kept as the IPv6 addresses that it is mapped to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    bits: u128,
    prefix: u32,
}

/// Ranges of addresses, as a setting lists them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Networks(Vec<Network>);

/// Which addresses may be connected to.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    allowed: Networks,
}

impl AddressRules {
    /// The public addresses, and those `allowed`.
    pub fn new(allowed: Networks) -> Self {
        Self { allowed }
    }

    /// What kind of address this is, if it must not be connected to.
    pub fn forbidden(&self, address: IpAddr) -> Option<&'static str> {
        let bits = mapped(address);
        if self.allowed.0.iter().any(|network| network.contains(bits)) {
            return None;
        }
        if let Some(carried) = carried(bits) {
            return self.forbidden(IpAddr::V4(carried));
        }
        let special = SPECIAL.iter().find(|(network, _)| network.contains(bits));
        match special {
            Some((_, kind)) => Some(kind),
            None if V4_MAPPED.contains(bits) || GLOBAL_UNICAST.contains(bits) => None,
            None => Some("reserved"),
        }
    }
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or one address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(width);
        (length <= width)
            .then(|| Self { bits: mapped(address), prefix: 128 - width + length }.masked())
    }

    const fn masked(self) -> Self {
        Self { bits: self.bits & mask(self.prefix), ..self }
    }

    const fn contains(&self, bits: u128) -> bool {
        bits & mask(self.prefix) == self.bits
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.bits);
        match address.to_ipv4_mapped() {
            Some(v4) if self.prefix >= 96 => write!(f, "{v4}/{}", self.prefix - 96),
            _ => write!(f, "{address}/{}", self.prefix),
        }
    }
}

impl Networks {
    /// Reads ranges with commas between them.
    pub fn parse(text: &str) -> Option<Self> {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.map(Network::parse).collect::<Option<_>>().map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(Network::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

const fn mask(prefix: u32) -> u128 {
    if prefix == 0 { 0 } else { u128::MAX << (128 - prefix) }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The IPv4 address that packets to this IPv6 address end at.
fn carried(bits: u128) -> Option<Ipv4Addr> {
    let low = |bits: u128| Ipv4Addr::from_bits(u32::try_from(bits & 0xFFFF_FFFF).unwrap_or(0));
    if NAT64.contains(bits) {
        Some(low(bits))
    } else if SIX_TO_FOUR.contains(bits) {
        Some(low(bits >> 80))
    } else {
        None
    }
}

const fn v4(address: [u8; 4], length: u32) -> Network {
    let [a, b, c, d] = address;
    let bits = Ipv4Addr::new(a, b, c, d).to_ipv6_mapped().to_bits();
    Network { bits, prefix: 96 + length }
}

const fn v6(first: u16, second: u16, third: u16, length: u32) -> Network {
    let bits = Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0).to_bits();
    Network { bits, prefix: length }
}

const V4_MAPPED: Network = v4([0, 0, 0, 0], 0);
const GLOBAL_UNICAST: Network = v6(0x2000, 0, 0, 3);
const NAT64: Network = v6(0x64, 0xFF9B, 0, 96);
const SIX_TO_FOUR: Network = v6(0x2002, 0, 0, 16);

/// What is within the public ranges, or has a name of its own. Metadata services of clouds are link-local, but for one.
const SPECIAL: [(Network, &str); 29] = [
    (v4([0, 0, 0, 0], 8), "unspecified"),
    (v4([10, 0, 0, 0], 8), "private"),
    (v4([100, 64, 0, 0], 10), "shared (carrier NAT)"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([168, 63, 129, 16], 32), "a metadata service"),
    (v4([169, 254, 0, 0], 16), "link-local"),
    (v4([172, 16, 0, 0], 12), "private"),
    (v4([192, 0, 0, 0], 24), "reserved"),
    (v4([192, 0, 2, 0], 24), "documentation"),
    (v4([192, 88, 99, 0], 24), "reserved"),
    (v4([192, 168, 0, 0], 16), "private"),
    (v4([198, 18, 0, 0], 15), "benchmarking"),
    (v4([198, 51, 100, 0], 24), "documentation"),
    (v4([203, 0, 113, 0], 24), "documentation"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([240, 0, 0, 0], 4), "reserved"),
    (Network { bits: 0, prefix: 128 }, "unspecified"),
    (Network { bits: 1, prefix: 128 }, "loopback"),
    (v6(0x64, 0xFF9B, 1, 48), "private (NAT64)"),
    (v6(0x100, 0, 0, 64), "reserved"),
    (v6(0x2001, 0, 0, 23), "reserved"),
    (v6(0x2001, 0xDB8, 0, 32), "documentation"),
    (v6(0x3FFF, 0, 0, 20), "documentation"),
    (v6(0x5F00, 0, 0, 16), "reserved"),
    (v6(0xFC00, 0, 0, 7), "private"),
    (v6(0xFE80, 0, 0, 10), "link-local"),
    (v6(0xFEC0, 0, 0, 10), "private"),
    (v6(0xFF00, 0, 0, 8), "multicast"),
    (Network { bits: 0, prefix: 96 }, "reserved"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &str, address: &str, expect: Option<&str>) {
        let rules = AddressRules::new(Networks::parse(allowed).unwrap());
        assert_eq!(rules.forbidden(address.parse().unwrap()), expect, "{address}, {allowed:?}");
    }

    #[test]
    fn only_public_addresses_may_be_connected_to() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            check("", public, None);
        }
        for (address, kind) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("10.0.0.1", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.1", "shared (carrier NAT)"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("168.63.129.16", "a metadata service"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "reserved"),
            ("192.168.1.1", "private"),
            ("198.19.255.255", "benchmarking"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::127.0.0.1", "reserved"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:169.254.169.254", "link-local"),
            ("64:ff9b::127.0.0.1", "loopback"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("64:ff9b:1::1", "private (NAT64)"),
            ("2002:7f00:1::1", "loopback"),
            ("2002:a9fe:a9fe::", "link-local"),
            ("2001::1", "reserved"),
            ("2001:db8::1", "documentation"),
            ("3fff::1", "documentation"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "private"),
            ("ff02::1", "multicast"),
            ("4000::1", "reserved"),
            ("100::1", "reserved"),
        ] {
            check("", address, Some(kind));
        }
    }

    #[test]
    fn what_is_allowed_is_no_more_than_was_said() {
        check("127.0.0.0/8", "127.0.0.1", None);
        check("127.0.0.0/8", "::ffff:127.9.9.9", None);
        check("127.0.0.0/8", "64:ff9b::127.0.0.1", None);
        check("127.0.0.0/8", "::1", Some("loopback"));
        check("127.0.0.0/8", "10.0.0.1", Some("private"));
        check("10.1.0.0/16, fd00::/8", "10.1.255.255", None);
        check("10.1.0.0/16, fd00::/8", "10.2.0.0", Some("private"));
        check("10.1.0.0/16, fd00::/8", "fd12::1", None);
        check("10.1.0.0/16, fd00::/8", "fc12::1", Some("private"));
        check("169.254.169.254", "169.254.169.254", None);
        check("169.254.169.254", "169.254.169.253", Some("link-local"));
        check("0.0.0.0/0", "10.0.0.1", None);
        check("0.0.0.0/0", "fe80::1", Some("link-local"));
        check("::/0", "127.0.0.1", None);
    }

    fn check_parse(text: &str, expect: Option<&str>) {
        let shown = Networks::parse(text).map(|networks| networks.to_string());
        assert_eq!(shown.as_deref(), expect, "{text:?}");
    }

    #[test]
    fn networks_are_read_and_shown() {
        check_parse("", Some(""));
        check_parse("10.1.2.3/8", Some("10.0.0.0/8"));
        check_parse(" ::1 ,127.0.0.1,", Some("::1/128, 127.0.0.1/32"));
        check_parse("fd00::1/8", Some("fd00::/8"));
        check_parse("0.0.0.0/0", Some("0.0.0.0/0"));
        for wrong in ["10.0.0.0/33", "::/129", "10.0.0", "x", "10.0.0.0/-1", "10.0.0.0/"] {
            check_parse(wrong, None);
        }
    }
}
