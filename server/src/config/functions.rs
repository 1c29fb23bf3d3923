//! Digest functions as settings name them: [`WeakFunction`] and [`DefaultFunction`].

use larder_protos::{DigestFunction, InstanceName};

use super::value::Value;

/// A digest function that is served although collisions are known.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct WeakFunction(pub DigestFunction);

/// What hashes mean on an instance where nothing says their function.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct DefaultFunction {
    /// May be empty.
    pub instance: InstanceName,
    /// For hashes of its length.
    pub function: DigestFunction,
}

impl DefaultFunction {
    /// Whether both say what the same hash means.
    pub(super) fn contradicts(&self, other: &Self) -> bool {
        let of = |default: &Self| default.function.hash_len_bytes();
        self.instance == other.instance && of(self) == of(other)
    }
}

impl Value for WeakFunction {
    const EXPECTED: &'static str = "a list of SHA1, MD5 and GITSHA1";

    fn read(text: &str) -> Option<Self> {
        DigestFunction::named(text).filter(|function| function.is_weak()).map(Self)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl Value for DefaultFunction {
    const EXPECTED: &'static str =
        "a list of INSTANCE=FUNCTION, such as buck=BLAKE3, or =BLAKE3 for the empty instance name";

    fn read(text: &str) -> Option<Self> {
        let (instance, function) = text.rsplit_once('=')?;
        let instance = InstanceName::parse(instance).ok()?;
        Some(Self { instance, function: DigestFunction::named(function)? })
    }

    fn show(&self) -> String {
        format!("{}={}", self.instance, self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<&str>) {
        let read = Vec::<DefaultFunction>::read(text);
        assert_eq!(read.map(|list| list.show()).as_deref(), expect, "{text:?}");
    }

    #[test]
    fn instances_have_functions() {
        check("buck=blake3", Some("buck=BLAKE3"));
        check("=BLAKE3, a/b=c=SHA256TREE", Some("=BLAKE3,a/b=c=SHA256TREE"));
        check("BLAKE3", None);
        check("buck=", None);
        check("buck=MURMUR3", None);
        check("a//b=BLAKE3", None);
        check("buck=BLAKE3,", None);
        check("", None);
    }

    #[test]
    fn only_weak_functions_need_to_be_allowed() {
        let read = |text| Vec::<WeakFunction>::read(text).map(|list| list.show());
        assert_eq!(read("sha1,GITSHA1").as_deref(), Some("SHA1,GITSHA1"));
        assert_eq!(read("SHA256"), None);
    }
}
