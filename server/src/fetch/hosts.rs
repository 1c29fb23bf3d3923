//! [`HostRules`]: which hosts an origin may be. Pure.

use std::fmt;

use url::{Host, Url};

/// Which hosts may be asked: names, `*.` and a name for all below it, or `*`; each with or without a port. Without one,
/// the scheme's own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostRules(Vec<HostRule>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct HostRule {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Hosts {
    All,
    One(String),
    /// Begins with a dot.
    Below(String),
}

impl HostRules {
    /// Reads rules with commas between them.
    pub fn parse(text: &str) -> Option<Self> {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.map(HostRule::parse).collect::<Option<_>>().map(Self)
    }

    /// Whether no host may be asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the host of `url` may be asked, on its port.
    pub fn allow(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host = host.strip_suffix('.').unwrap_or(host);
        self.0.iter().any(|rule| rule.allows(host, url))
    }
}

impl HostRule {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // The colon may stand within an IPv6 address.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        let hosts = match host.strip_prefix("*.") {
            None if host == "*" => Hosts::All,
            None => Hosts::One(normal(host)?),
            Some(below) => match Host::parse(below).ok()? {
                Host::Domain(_) => Hosts::Below(format!(".{}", normal(below)?)),
                Host::Ipv4(_) | Host::Ipv6(_) => return None,
            },
        };
        Some(Self { hosts, port })
    }

    fn allows(&self, host: &str, url: &Url) -> bool {
        let port = match self.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.port().is_none(),
        };
        port && match &self.hosts {
            Hosts::All => true,
            Hosts::One(one) => host == one,
            Hosts::Below(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
        }
    }
}

/// As a URL's host is written, without a dot at its end.
fn normal(host: &str) -> Option<String> {
    let host = Host::parse(host).ok()?.to_string();
    // A star is no part of a name, wherever it stands.
    (!host.contains('*')).then(|| host.strip_suffix('.').unwrap_or(&host).to_owned())
}

impl fmt::Display for HostRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(HostRule::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::All => f.write_str("*")?,
            Hosts::One(host) => f.write_str(host)?,
            Hosts::Below(suffix) => write!(f, "*{suffix}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, url: &str, expect: bool) {
        let rules = HostRules::parse(rules).unwrap();
        assert_eq!(rules.allow(&Url::parse(url).unwrap()), expect, "{url}, {rules}");
    }

    #[test]
    fn a_host_must_be_named() {
        check("", "https://github.com/", false);
        check("github.com", "https://github.com/x", true);
        check("github.com", "http://github.com/x", true);
        check("GitHub.com", "https://GITHUB.COM./x", true);
        check("github.com", "https://github.com:443/x", true);
        check("github.com", "https://api.github.com/x", false);
        check("github.com", "https://github.com.evil.org/x", false);
        check("github.com", "https://evilgithub.com/x", false);
        check("github.com", "https://github.com@evil.org/x", false);
        check("a.com, *.example.com", "https://a.example.com/", true);
        check("a.com, *.example.com", "https://b.a.example.com/", true);
        check("a.com, *.example.com", "https://example.com/", false);
        check("a.com, *.example.com", "https://badexample.com/", false);
        check("*", "https://anything.org/", true);
        check("bücher.de", "https://xn--bcher-kva.de/", true);
    }

    #[test]
    fn a_port_must_be_the_schemes_own_or_named() {
        check("github.com", "https://github.com:22/", false);
        check("github.com", "https://github.com:80/", false);
        check("github.com", "http://github.com:443/", false);
        check("*", "https://github.com:8443/", false);
        check("github.com:8443", "https://github.com:8443/", true);
        check("github.com:8443", "https://github.com/", false);
        check("github.com:443", "https://github.com/", true);
        check("*:8080", "http://any.org:8080/", true);
    }

    #[test]
    fn addresses_are_hosts_in_every_notation() {
        for url in
            ["http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.01/"]
        {
            check("127.0.0.1", url, true);
            check("*.0.0.1.org", url, false);
        }
        check("[::1]:8080", "http://[::1]:8080/", true);
        check("[0:0::1]", "http://[::0001]/", true);
        check("[::1]", "http://[::1]:8080/", false);
        check("[::ffff:127.0.0.1]", "http://[::ffff:7f00:1]/", true);
    }

    fn check_parse(text: &str, expect: Option<&str>) {
        let shown = HostRules::parse(text).map(|rules| rules.to_string());
        assert_eq!(shown.as_deref(), expect, "{text:?}");
    }

    #[test]
    fn rules_are_read_and_shown() {
        check_parse("A.com,*.B.org:8080 , [::1]:80,*", Some("a.com, *.b.org:8080, [::1]:80, *"));
        for wrong in [
            "a b",
            "a.com:",
            "a.com:x",
            "a.com:70000",
            "*.1.2.3.4",
            "https://a.com",
            "a.*.com",
            "**",
        ] {
            check_parse(wrong, None);
        }
    }
}
