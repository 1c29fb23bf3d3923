//! [`Keys`]: authorities, certificates and credentials, made anew for each run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::CompatError;
use crate::install::DebianPackage;
use crate::lab::Lab;
use crate::process;

const OPENSSL: DebianPackage = DebianPackage { program: "openssl", package: "openssl" };
const LIMIT: Duration = Duration::from_secs(20);

/// The token of `ci`, who writes.
pub(super) const WRITER: &str = "of-ci-0123456789abcdef0123456789";
/// The token of `dev`, who reads.
pub(super) const READER: &str = "of-dev-0123456789abcdef012345678";
/// The password of `alice`, who writes.
pub(super) const PASSWORD: &str = "correct horse battery staple";

/// Who, with which secret, of which kind, may do what.
const CREDENTIALS: [(&str, &str, &str, &str); 3] = [
    ("ci", WRITER, "token", "write"),
    ("dev", READER, "token", "read"),
    ("alice", PASSWORD, "password", "write"),
];

/// Who signs whom, and for what. The two authorities have nothing to do with each other.
const CERTIFICATES: [(&str, &str, &str); 3] = [
    ("server", "servers", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    ("client", "clients", "extendedKeyUsage=clientAuth"),
    ("stranger", "servers", "extendedKeyUsage=clientAuth"),
];

/// A directory with `servers.crt`, `clients.crt`, a `.crt` and a `.key` of `server`, `client` and `stranger`, and `credentials`.
pub(super) struct Keys {
    dir: PathBuf,
    log: PathBuf,
}

impl Keys {
    pub(super) fn make(lab: &Lab, dir: &Path) -> Result<Self, CompatError> {
        let keys = Self { dir: dir.join("keys"), log: dir.join("openssl.log") };
        fs::create_dir_all(&keys.dir).map_err(CompatError::io(&keys.dir))?;
        OPENSSL.ensure(&keys.log)?;
        for authority in ["servers", "clients"] {
            keys.request(authority, &["-x509", "-days", "1"], "crt")?;
        }
        for (name, authority, extension) in CERTIFICATES {
            keys.request(name, &[], "csr")?;
            keys.sign(name, authority, extension)?;
        }
        keys.write_credentials(lab)?;
        Ok(keys)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A new key, and what openssl calls a request, or with `-x509` a certificate by itself.
    fn request(&self, name: &str, more: &[&str], ending: &str) -> Result<(), CompatError> {
        let mut command = Command::new(OPENSSL.program);
        command
            .args(["req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", &format!("/CN={name}")])
            .args(more)
            .arg("-keyout")
            .arg(self.path(&format!("{name}.key")))
            .arg("-out")
            .arg(self.path(&format!("{name}.{ending}")));
        process::run_expecting(0, &mut command, &self.log, LIMIT)
    }

    fn sign(&self, name: &str, authority: &str, extension: &str) -> Result<(), CompatError> {
        let extensions = self.path(&format!("{name}.ext"));
        fs::write(&extensions, extension).map_err(CompatError::io(&extensions))?;
        let mut command = Command::new(OPENSSL.program);
        command.args(["x509", "-req", "-days", "1", "-extfile"]).arg(extensions);
        for (flag, file) in [
            ("-in", format!("{name}.csr")),
            ("-CA", format!("{authority}.crt")),
            ("-CAkey", format!("{authority}.key")),
            ("-out", format!("{name}.crt")),
        ] {
            command.arg(flag).arg(self.path(&file));
        }
        process::run_expecting(0, &mut command, &self.log, LIMIT)
    }

    fn write_credentials(&self, lab: &Lab) -> Result<(), CompatError> {
        let mut lines = Vec::new();
        for (name, secret, kind, role) in CREDENTIALS {
            let file = self.path(name);
            fs::write(&file, secret).map_err(CompatError::io(&file))?;
            let mut command = Command::new(lab.server());
            command.args(["hash-credential", name, "--kind", kind, "--role", role]);
            command.stdin(File::open(&file).map_err(CompatError::io(&file))?);
            let output = command.output().map_err(CompatError::io(lab.server()))?;
            lines.extend(output.stdout);
        }
        let file = self.path("credentials");
        fs::write(&file, lines).map_err(CompatError::io(&file))
    }
}
