//! The settings of TLS and of access control: [`TlsSettings`], [`AuthSettings`], and what must hold between them.

use std::path::PathBuf;

use http::HeaderName;

use super::check::Reader;
use super::problem::Problem;
use super::value::Value;
use crate::auth::Role;

/// How connections are encrypted.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct TlsSettings {
    /// The server's certificate and its chain.
    pub cert_file: PathBuf,
    /// The certificate's private key.
    pub key_file: PathBuf,
    /// Who signs the certificates of clients.
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients show certificates; if so, `client_ca_file` is there.
    pub client_auth: ClientAuth,
    /// Whether the admin port speaks TLS too.
    pub admin: bool,
}

/// Whether clients show certificates.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum ClientAuth {
    /// Nobody is asked.
    None,
    /// Who has none comes in all the same.
    Optional,
    /// Who has none does not come in.
    Required,
}

/// Who may do what.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct AuthSettings {
    /// Names, roles and hashed secrets.
    pub credentials_file: Option<PathBuf>,
    /// Of those who show nothing.
    pub anonymous: Option<Role>,
    /// Of certificates that no line of the file names.
    pub certificates: Option<Role>,
    /// Carries a token, beside `authorization`.
    pub header: Option<HeaderName>,
}

/// A setting cannot be read, and has left a problem.
#[derive(Debug)]
pub(super) struct ProblemLeft;

/// A role, or none.
#[derive(Copy, Clone, Eq, PartialEq, PartialOrd, Debug)]
pub(super) struct Allowance(pub(super) Option<Role>);

impl Reader {
    /// `None`: nothing is encrypted.
    pub(super) fn tls(&mut self) -> Result<Option<TlsSettings>, ProblemLeft> {
        let cert_file: Option<PathBuf> = self.value_or("tls.cert_file", || None);
        let key_file: Option<PathBuf> = self.value_or("tls.key_file", || None);
        let client_ca_file: Option<PathBuf> = self.value_or("tls.client_ca_file", || None);
        let client_auth = self.value("tls.client_auth");
        let admin = self.value("tls.admin");
        let asks = client_auth.is_some_and(|asked| asked != ClientAuth::None);
        let has_cert = cert_file.is_some();
        for (key, is_said, missing, is_there) in [
            ("tls.key_file", key_file.is_some(), "tls.cert_file", has_cert),
            ("tls.cert_file", has_cert, "tls.key_file", key_file.is_some()),
            ("tls.client_auth", asks, "tls.cert_file", has_cert),
            ("tls.client_auth", asks, "tls.client_ca_file", client_ca_file.is_some()),
            ("tls.client_ca_file", client_ca_file.is_some(), "tls.client_auth", asks),
            ("tls.admin", admin == Some(true), "tls.cert_file", has_cert),
        ] {
            // A text that could not be read is a problem of its own, not a setting that is missing.
            if is_said && !is_there && !self.is_said(missing) {
                self.problems.push(Problem::Needs { key, missing });
            }
        }
        let (client_auth, admin) = (client_auth.ok_or(ProblemLeft)?, admin.ok_or(ProblemLeft)?);
        let (Some(cert_file), Some(key_file)) = (cert_file, key_file) else { return Ok(None) };
        Ok(Some(TlsSettings { cert_file, key_file, client_ca_file, client_auth, admin }))
    }

    /// `None`: nobody is asked who he is.
    pub(super) fn auth(
        &mut self,
        client_auth: ClientAuth,
    ) -> Result<Option<AuthSettings>, ProblemLeft> {
        let credentials_file: Option<PathBuf> = self.value_or("auth.credentials_file", || None);
        let anonymous = self.value_or("auth.anonymous", || Some(Allowance(None)));
        let readers = Allowance(None)..=Allowance(Some(Role::Read));
        let anonymous = self.held(anonymous, "auth.anonymous", readers);
        let certificates = self.value("auth.certificates");
        let writers = Allowance(None)..=Allowance(Some(Role::Write));
        let certificates = self.held(certificates, "auth.certificates", writers);
        let header = self.value_or("auth.header", || None);
        let has_file = self.is_said("auth.credentials_file");
        let asks = client_auth != ClientAuth::None;
        let trusts = certificates.is_some_and(|allowance| allowance.0.is_some());
        for (key, is_said, missing, is_there) in [
            ("auth.certificates", trusts, "tls.client_auth", asks),
            ("auth.header", header.is_some(), "auth.credentials_file", has_file),
        ] {
            if is_said && !is_there {
                self.problems.push(Problem::Needs { key, missing });
            }
        }
        let anonymous = anonymous.ok_or(ProblemLeft)?.0;
        let certificates = certificates.ok_or(ProblemLeft)?.0;
        let is_anonymous_said = self.is_said("auth.anonymous");
        if !has_file && !asks && !is_anonymous_said {
            return Ok(None);
        }
        if !has_file && anonymous.is_none() && certificates.is_none() {
            let key = if is_anonymous_said { "auth.anonymous" } else { "tls.client_auth" };
            self.problems.push(Problem::NobodyAllowed { key });
        }
        Ok(Some(AuthSettings { credentials_file, anonymous, certificates, header }))
    }
}

impl Value for ClientAuth {
    const EXPECTED: &'static str = "none, optional or required";

    fn read(text: &str) -> Option<Self> {
        [Self::None, Self::Optional, Self::Required].into_iter().find(|auth| auth.show() == text)
    }

    fn show(&self) -> String {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Required => "required",
        }
        .to_owned()
    }
}

impl Value for Allowance {
    const EXPECTED: &'static str = "none, read or write";

    fn read(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self(None)),
            "read" | "write" => Some(Self(Role::named(text))),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.0.map_or("none", Role::word).to_owned()
    }
}

impl Value for HeaderName {
    const EXPECTED: &'static str = "the name of a header such as x-api-key";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}
