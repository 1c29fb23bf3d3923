//! What is read in certificates. [`certificate_names`]: the names, each with its kind: `URI:spiffe://org/ci`,
//! `DNS:ci.example.com`, `EMAIL:ci@example.com`, `CN:ci`. [`certificate_expiry`]: when it ends.
//!
//! The certificate has been verified before, or is our own; here it is only read. What cannot be read has no names and no end.

use std::time::Duration;

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The names in a certificate: its alternative names, then the common name of its subject.
pub(crate) fn certificate_names(der: &[u8]) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(der) else { return Vec::new() };
    let certificate = certificate.tbs_certificate();
    let mut names = Vec::new();
    if let Ok(Some((_, alternatives))) = certificate.get_extension::<SubjectAltName>() {
        names.extend(alternatives.0.iter().filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(format!("URI:{}", uri.as_str())),
            GeneralName::DnsName(name) => Some(format!("DNS:{}", name.as_str())),
            GeneralName::Rfc822Name(address) => Some(format!("EMAIL:{}", address.as_str())),
            _ => None,
        }));
    }
    if let Ok(Some(name)) = certificate.subject().common_name() {
        names.push(format!("CN:{}", name.value()));
    }
    names
}

/// Up to when a certificate is valid, since 1970.
pub(crate) fn certificate_expiry(der: &[u8]) -> Option<Duration> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_unix_duration())
}
