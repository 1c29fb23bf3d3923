//! Every digest function against published answers.

use larder_protos::{Digest, DigestFunction, DigestHasher};

fn check(function: DigestFunction, bytes: &[u8], hex: &str) {
    let digest = Digest::of(function, bytes);
    assert_eq!(digest.to_string(), format!("{hex}/{}", bytes.len()), "{function}");
    for chunk_bytes in [1, 3, 64, 1000, 1024, 1025] {
        let mut hasher = DigestHasher::new(function, bytes.len() as u64);
        bytes.chunks(chunk_bytes).for_each(|chunk| hasher.update(chunk));
        assert_eq!(hasher.finish(), digest, "{function} in chunks of {chunk_bytes} B");
    }
}

/// Sources: FIPS 180-4's examples, RFC 1321, the BLAKE3 reference test vectors' "abc", `git hash-object`.
#[test]
fn published_answers() {
    use DigestFunction::{Blake3, GitSha1, Md5, Sha1, Sha256, Sha256Tree, Sha384, Sha512};
    let sha256_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    check(Sha256, b"abc", sha256_abc);
    check(Sha256Tree, b"abc", sha256_abc);
    check(Sha256, b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check(Sha1, b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
    check(Md5, b"abc", "900150983cd24fb0d6963f7d28e17f72");
    check(Sha1, b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check(
        Sha1,
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
    );
    check(Md5, b"", "d41d8cd98f00b204e9800998ecf8427e");
    check(Md5, b"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b");
    check(
        Sha384,
        b"abc",
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
         8086072ba1e7cc2358baeca134c825a7",
    );
    check(
        Sha512,
        b"abc",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    );
    check(Blake3, b"abc", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    check(GitSha1, b"", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    check(GitSha1, b"hello world\n", "3b18e512dba79e4c8300dd08aeb37f8e728b8dad");
}

/// Sources: the BLAKE3 reference test vectors; `sha1sum` and `md5sum` of coreutils, and `git hash-object` of git. All over
/// the bytes 0 to 250, again and again.
#[test]
fn published_answers_over_more_than_a_block() {
    use DigestFunction::{Blake3, GitSha1, Md5, Sha1};
    for (function, size, hex) in [
        (Blake3, 0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (Blake3, 1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
        (Blake3, 1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
        (Blake3, 102_400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
        (Sha1, 102_400, "f18b928d893ae172a000efa19b80e1c04fb36414"),
        (Md5, 102_400, "1a0f81547e5ba2e9c4a4b94a74731993"),
        (GitSha1, 1, "f76dd238ade08917e6712764a16a22005a50573d"),
        (GitSha1, 102_400, "23dcf2f4c2c1bbd38fc8da2840cd0e024ac6589e"),
    ] {
        let bytes: Vec<u8> = (0..=250).cycle().take(size).collect();
        check(function, &bytes, hex);
    }
}

/// Source: `sha256tree_test_vectors.txt` of the remote-apis repository: the bytes 0 to 250, over and over.
#[test]
fn the_published_trees() {
    let vectors = [
        (1025, "36c0998b21839ef74300b9de47d96d1f62323dc81f2b4231e98ce70cd6ffe750"),
        (2048, "b584996386f01793751c5cf0c39561f51b7e9924b818943b3cb2f6928cea0fa9"),
        (2049, "7318d2029b0392edf4cf109edb5a086b4bdadbb7950f710a1483eb881d9e5d44"),
        (3073, "517d20c0e5835f060a1bd6388ed68574f63424bdac2a2c3a35a5c2ef859d8fe2"),
        (8193, "113c6e3a2452f388b6fad13dfab66ee0bff597a0a9a517ad8d0165f7190b603e"),
        (16384, "a7a10149a8cb00be537000560edb83b196306b780b72fad8af218f369f75fc19"),
        (31744, "2cdf7662636c173d4b236f6ea03bf84c65e7f6487b53b2a61c420e26cf8a98c7"),
        (102_400, "0668d69e5331840d2f1823d717b7b3f5d1fdc8a09504cddb692b87ff83d50e5f"),
    ];
    for (size, hex) in vectors {
        let bytes: Vec<u8> = (0..=250).cycle().take(size).collect();
        check(DigestFunction::Sha256Tree, &bytes, hex);
    }
}

#[test]
fn only_the_right_hash_names_the_empty_blob() {
    for function in DigestFunction::ALL {
        assert!(Digest::empty(function).is_empty_blob(), "{function}");
        let other = Digest::new(*Digest::of(function, b"x").hash(), 0);
        assert!(!other.is_empty_blob(), "{function}");
    }
}
