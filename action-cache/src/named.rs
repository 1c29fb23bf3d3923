//! [`Named`]: what an action result names, read off the message alone.

use larder_protos::reapi::{self, ActionResult, OutputDirectory, OutputFile};
use larder_protos::{Digest, DigestFunction};

use crate::MalformedResult;

/// Every digest in an action result.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Named {
    /// Output files, stdout and stderr.
    pub(crate) files: Vec<Digest>,
    /// `Tree` messages, which name more.
    pub(crate) trees: Vec<Digest>,
    /// `Directory` messages, each the root of a hierarchy that names more.
    pub(crate) roots: Vec<Digest>,
}

impl Named {
    /// What `result` names; an error where a digest is malformed, or absent where one must be.
    pub(crate) fn by(
        result: &ActionResult,
        function: DigestFunction,
    ) -> Result<Self, MalformedResult> {
        let mut named = Self::default();
        for (index, file) in result.output_files.iter().enumerate() {
            named.add_file(file, function, index)?;
        }
        for (index, directory) in result.output_directories.iter().enumerate() {
            named.add_directory(directory, function, index)?;
        }
        let streams =
            [("stdout_digest", &result.stdout_digest), ("stderr_digest", &result.stderr_digest)];
        for (field, digest) in streams {
            named.files.extend(parse(field, 0, digest.as_ref(), function)?);
        }
        Ok(named)
    }

    fn add_file(
        &mut self,
        file: &OutputFile,
        function: DigestFunction,
        index: usize,
    ) -> Result<(), MalformedResult> {
        let field = "output_files";
        match parse(field, index, file.digest.as_ref(), function)? {
            Some(digest) => self.files.push(digest),
            None if file.contents.is_empty() => {
                return Err(MalformedResult::NoDigest { field, index });
            }
            None => {}
        }
        Ok(())
    }

    fn add_directory(
        &mut self,
        directory: &OutputDirectory,
        function: DigestFunction,
        index: usize,
    ) -> Result<(), MalformedResult> {
        let field = "output_directories";
        let tree = parse(field, index, directory.tree_digest.as_ref(), function)?;
        let root = parse(field, index, directory.root_directory_digest.as_ref(), function)?;
        if tree.is_none() && root.is_none() {
            return Err(MalformedResult::NoDigest { field, index });
        }
        self.trees.extend(tree);
        self.roots.extend(root);
        Ok(())
    }
}

fn parse(
    field: &'static str,
    index: usize,
    digest: Option<&reapi::Digest>,
    function: DigestFunction,
) -> Result<Option<Digest>, MalformedResult> {
    digest
        .map(|digest| Digest::from_proto(digest, function))
        .transpose()
        .map_err(|source| MalformedResult::Digest { field, index, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: DigestFunction = DigestFunction::Sha256;

    fn digest(bytes: &[u8]) -> Digest {
        Digest::of(FUNCTION, bytes)
    }

    fn file(digest: Option<reapi::Digest>, contents: &[u8]) -> ActionResult {
        let file = OutputFile { digest, contents: contents.to_vec(), ..OutputFile::default() };
        ActionResult { output_files: vec![OutputFile { ..file }], ..ActionResult::default() }
    }

    fn check(result: &ActionResult, expect: Result<Named, &str>) {
        let named = Named::by(result, FUNCTION).map_err(|error| error.to_string());
        match (named, expect) {
            (Ok(named), Ok(expect)) => assert_eq!(named, expect),
            (Err(error), Err(expect)) => assert!(error.starts_with(expect), "{error}"),
            (named, expect) => panic!("{named:?}, not {expect:?}"),
        }
    }

    #[test]
    fn every_digest_is_found() {
        let result = ActionResult {
            output_directories: vec![OutputDirectory {
                tree_digest: Some(digest(b"tree").to_proto()),
                root_directory_digest: Some(digest(b"root").to_proto()),
                ..OutputDirectory::default()
            }],
            stdout_digest: Some(digest(b"out").to_proto()),
            stderr_digest: Some(digest(b"err").to_proto()),
            ..file(Some(digest(b"file").to_proto()), b"")
        };
        let expect = Named {
            files: vec![digest(b"file"), digest(b"out"), digest(b"err")],
            trees: vec![digest(b"tree")],
            roots: vec![digest(b"root")],
        };
        check(&result, Ok(expect));
        check(&ActionResult::default(), Ok(Named::default()));
        check(&file(None, b"inlined"), Ok(Named::default()));
    }

    #[test]
    fn malformed_digests_are_refused_with_their_place() {
        let upper = reapi::Digest { hash: "AB".repeat(32), size_bytes: 1 };
        check(&file(Some(upper), b""), Err("output_files[0]: "));
        let negative = reapi::Digest { size_bytes: -1, ..digest(b"x").to_proto() };
        check(&file(Some(negative), b""), Err("output_files[0]: "));
        check(&file(None, b""), Err("output_files[0] has neither a digest nor contents"));
        let directory = ActionResult {
            output_directories: vec![OutputDirectory::default()],
            ..ActionResult::default()
        };
        check(&directory, Err("output_directories[0] has neither"));
    }
}
