//! [`About`]: what a request is about, as far as only those who serve it find out.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use http::Extensions;

/// The instance, and the blob or action, of a request that is reported. It is among the request's extensions.
#[derive(Debug, Default)]
pub(crate) struct About {
    instance: OnceLock<String>,
    digest: OnceLock<String>,
}

/// Where those who serve a request note what it is about. Where the request is not reported, that costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Option<Arc<About>>);

impl About {
    pub(crate) fn instance(&self) -> Option<&str> {
        self.instance.get().map(String::as_str)
    }

    pub(crate) fn digest(&self) -> Option<&str> {
        self.digest.get().map(String::as_str)
    }
}

impl Notes {
    /// Those of a request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        Self(extensions.get::<Arc<About>>().cloned())
    }

    /// Notes the instance. The first word counts.
    pub(crate) fn instance(&self, instance: impl Display) -> &Self {
        if let Some(about) = &self.0 {
            about.instance.get_or_init(|| instance.to_string());
        }
        self
    }

    /// Notes the digest of the one blob or action that is meant. The first word counts.
    pub(crate) fn digest(&self, digest: impl Display) -> &Self {
        if let Some(about) = &self.0 {
            about.digest.get_or_init(|| digest.to_string());
        }
        self
    }
}
