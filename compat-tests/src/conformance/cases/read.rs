//! `bytestream.read`: downloads as they are.

use futures_util::future::join_all;
use tonic::Code;

use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::digest::signed;
use crate::conformance::expect;
use crate::conformance::outcome::Outcome;

pub(crate) const CASES: &[Case] = cases! {
    /// A read gives the bytes that were written.
    "bytestream.read.whole", Must, "ByteStream.Read" => whole(100);
    /// The same for a single byte.
    "bytestream.read.one-byte", Must, "ByteStream.Read" => whole(1);
    /// The same for a blob of several messages.
    "bytestream.read.large", Must, "ByteStream.Read" => whole(9_000_001);
    /// No message is above 4 MiB, the most that clients take by default.
    "bytestream.read.message-size", Client[Bazel, GoSdk, Siso, Pants, BuildStream], "gRPC's default limit of messages" => message_size;
    /// A read from an offset on gives the rest.
    "bytestream.read.offset", Must, "google.bytestream.ReadRequest.read_offset" => offsets;
    /// A read from the end on is OK and empty.
    "bytestream.read.offset-at-end", Must, "google.bytestream.ReadRequest.read_offset" => offset_at_end;
    /// An offset past the end is OUT_OF_RANGE, never an empty OK.
    "bytestream.read.offset-past-end", Must, "google.bytestream.ReadRequest.read_offset" => out_of_range(&[101]);
    /// An offset far past the end is OUT_OF_RANGE.
    "bytestream.read.offset-far-past-end", Must, "google.bytestream.ReadRequest.read_offset" => out_of_range(&[1 << 40, i64::MAX]);
    /// A negative offset is OUT_OF_RANGE.
    "bytestream.read.offset-negative", Must, "google.bytestream.ReadRequest.read_offset" => out_of_range(&[-1, i64::MIN]);
    /// An offset into a blob of several messages gives the rest.
    "bytestream.read.offset-large", Must, "google.bytestream.ReadRequest.read_offset" => offset_large;
    /// A limit cuts the answer off.
    "bytestream.read.limit", Must, "google.bytestream.ReadRequest.read_limit" => limits(&[(0, 1, 1), (0, 50, 50), (0, 99, 99)]);
    /// A limit of 0 means no limit.
    "bytestream.read.limit-zero", Must, "google.bytestream.ReadRequest.read_limit" => limits(&[(0, 0, 100)]);
    /// A limit at or above the size gives all.
    "bytestream.read.limit-above-size", Must, "google.bytestream.ReadRequest.read_limit" => limits(&[(0, 100, 100), (0, 101, 100), (0, i64::MAX, 100)]);
    /// A limit counts from the offset.
    "bytestream.read.limit-with-offset", Must, "google.bytestream.ReadRequest.read_limit" => limits(&[(10, 20, 20), (99, 1, 1), (99, 2, 1), (100, 5, 0)]);
    /// A limit holds over several messages.
    "bytestream.read.limit-large", Must, "google.bytestream.ReadRequest.read_limit" => limit_large;
    /// A negative limit is an error.
    "bytestream.read.limit-negative", Must, "google.bytestream.ReadRequest.read_limit" => limit_negative;
    /// A blob that is not there is NOT_FOUND.
    "bytestream.read.absent", Must, "google.rpc.Code.NOT_FOUND" => absent;
    /// A blob that is not there is NOT_FOUND from an offset on, too: a client resumes nothing then.
    "bytestream.read.absent-with-offset", Must, "google.rpc.Code.NOT_FOUND" => absent_with_offset;
    /// The size is part of a blob's name: the right hash with another size is not found.
    "bytestream.read.other-size", Must, "Digest.size_bytes" => other_size;
    /// A name that does not parse is refused.
    "bytestream.read.bad-name", Must, "ContentAddressableStorage, ReadRequest.resource_name" => bad_names(false);
    /// A name that does not parse is INVALID_ARGUMENT: NOT_FOUND would have the client upload under it.
    "bytestream.read.bad-name-code", Should, "google.rpc.Code.INVALID_ARGUMENT" => bad_names(true);
    /// A name is no path: dots lead nowhere.
    "bytestream.read.name-is-no-path", Must, "ContentAddressableStorage, ReadRequest.resource_name" => no_path;
    /// Hashes are in lower case; in upper case they name nothing.
    "bytestream.read.hash-in-upper-case", Must, "Digest.hash" => upper_case;
    /// A blob can be read by many at once.
    "bytestream.read.concurrent", Must, "ByteStream.Read" => concurrent;
    /// A download that the client gives up does not end its connection.
    "bytestream.read.given-up", Must, "gRPC, cancellation" => given_up;
    /// What is acknowledged can be read at once.
    "bytestream.read.after-write", Must, "ByteStream.Write" => after_write;
    /// The resource name may also come as a header.
    "bytestream.read.resource-name-header", Must, "ContentAddressableStorage, build.bazel.remote.execution.v2.resource-name" => with_header;
};

async fn whole(cx: &Cx, size: usize) -> Outcome {
    let blob = cx.stored(size).await?;
    cx.expect_readable(&blob, &format!("a read of {size} B")).await
}

async fn message_size(cx: &Cx) -> Outcome {
    let blob = cx.stored(9_000_000).await?;
    let mut client = cx.byte_stream().max_decoding_message_size(4 << 20);
    let request = bazel_remote_apis::google::bytestream::ReadRequest {
        resource_name: cx.read_name(&blob),
        ..Default::default()
    };
    let read = async {
        let mut stream = client.read(request).await?.into_inner();
        let mut data = Vec::new();
        while let Some(message) = stream.message().await? {
            data.extend_from_slice(&message.data);
        }
        Ok(data)
    };
    let what = "a read of 9000000 B by a client that takes messages up to 4 MiB";
    expect::bytes(&expect::ok(read.await, what)?, &blob.data, what)
}

async fn offsets(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    for offset in [1, 50, 99] {
        let what = format!("read_offset {offset} of a 100 B blob");
        let at = signed(offset);
        let rest = expect::ok(cx.read_range(&cx.read_name(&blob), at, 0).await, &what)?;
        expect::bytes(&rest, blob.data.get(offset..).unwrap_or(&[]), &what)?;
    }
    Ok(())
}

async fn offset_at_end(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    let what = "read_offset 100 of a 100 B blob";
    let rest = expect::ok(cx.read_range(&cx.read_name(&blob), 100, 0).await, what)?;
    expect::bytes(&rest, &[], what)
}

async fn out_of_range(cx: &Cx, offsets: &[i64]) -> Outcome {
    let blob = cx.stored(100).await?;
    for offset in offsets {
        let answer = cx.read_range(&cx.read_name(&blob), *offset, 0).await;
        let what = format!("read_offset {offset} of a 100 B blob");
        expect::code(&answer, Code::OutOfRange, what)?;
    }
    Ok(())
}

async fn offset_large(cx: &Cx) -> Outcome {
    let blob = cx.stored(5_000_000).await?;
    for offset in [1, 65_536, 2_097_151, 4_999_999] {
        let what = format!("read_offset {offset} of a 5000000 B blob");
        let at = signed(offset);
        let rest = expect::ok(cx.read_range(&cx.read_name(&blob), at, 0).await, &what)?;
        expect::bytes(&rest, blob.data.get(offset..).unwrap_or(&[]), &what)?;
    }
    Ok(())
}

/// Offsets, limits, and how many bytes come of a blob of 100 B.
async fn limits(cx: &Cx, table: &[(i64, i64, usize)]) -> Outcome {
    let blob = cx.stored(100).await?;
    for (offset, limit, size) in table {
        let what = format!("read_offset {offset} and read_limit {limit} of a 100 B blob");
        let data = expect::ok(cx.read_range(&cx.read_name(&blob), *offset, *limit).await, &what)?;
        let expected = blob.data.iter().copied();
        let from = usize::try_from(*offset).unwrap_or(usize::MAX);
        let expected: Vec<_> = expected.skip(from).take(*size).collect();
        expect::bytes(&data, &expected, &what)?;
    }
    Ok(())
}

async fn limit_large(cx: &Cx) -> Outcome {
    let blob = cx.stored(5_000_000).await?;
    let what = "read_offset 1000000 and read_limit 3000000 of a 5000000 B blob";
    let data = cx.read_range(&cx.read_name(&blob), 1_000_000, 3_000_000).await;
    let expected = blob.data.get(1_000_000..4_000_000).unwrap_or(&[]);
    expect::bytes(&expect::ok(data, what)?, expected, what)
}

async fn limit_negative(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    for limit in [-1, i64::MIN] {
        let answer = cx.read_range(&cx.read_name(&blob), 0, limit).await;
        expect::refused(&answer, format!("read_limit {limit}"))?;
    }
    Ok(())
}

async fn absent(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let answer = cx.read(&cx.read_name(&blob)).await;
    expect::code(&answer, Code::NotFound, "a read of a blob that was never stored")
}

async fn absent_with_offset(cx: &Cx) -> Outcome {
    let blob = cx.blob(100);
    let answer = cx.read_range(&cx.read_name(&blob), 50, 0).await;
    expect::code(&answer, Code::NotFound, "read_offset 50 of a 100 B blob that was never stored")
}

async fn other_size(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    for size in [99, 101] {
        let name = cx.read_name(&blob).replace("/100", &format!("/{size}"));
        let what = format!("the hash of a 100 B blob with size {size}");
        expect::one_of(&cx.read(&name).await, &[Code::NotFound, Code::InvalidArgument], what)?;
    }
    Ok(())
}

async fn bad_names(cx: &Cx, with_code: bool) -> Outcome {
    let blob = cx.stored(100).await?;
    let hash = &blob.hash;
    let short = hash.get(1..).unwrap_or("");
    let names = [
        String::new(),
        "nonsense".to_owned(),
        format!("blobs/{hash}"),
        format!("{hash}/100"),
        format!("blobs/{hash}/"),
        format!("blobs/{hash}/-100"),
        format!("blobs/{hash}/one"),
        format!("blobs/{hash}/99999999999999999999"),
        format!("blobs/{short}/100"),
        format!("blobs/{short}g/100"),
        "blobs//100".to_owned(),
    ];
    for name in names {
        let answer = cx.read(&cx.name(&name)).await;
        let what = format!("the resource name {name:?}");
        if with_code {
            expect::code(&answer, Code::InvalidArgument, what)?;
        } else {
            expect::refused(&answer, what)?;
        }
    }
    Ok(())
}

async fn no_path(cx: &Cx) -> Outcome {
    for name in [
        "blobs/../../../../etc/passwd/100",
        "../blobs/etc/passwd",
        "blobs/%2e%2e%2f%2e%2e%2fetc%2fpasswd/100",
        "/etc/passwd",
    ] {
        expect::refused(&cx.read(name).await, format!("the resource name {name:?}"))?;
    }
    Ok(())
}

async fn upper_case(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    let name = cx.read_name(&blob).replace(&blob.hash, &blob.hash.to_ascii_uppercase());
    let what = "a hash in upper case";
    expect::one_of(&cx.read(&name).await, &[Code::InvalidArgument, Code::NotFound], what)
}

async fn concurrent(cx: &Cx) -> Outcome {
    let blob = cx.stored(300_000).await?;
    let reads = (0..32).map(|_| cx.expect_readable(&blob, "one of 32 reads at once"));
    join_all(reads).await.into_iter().collect()
}

async fn given_up(cx: &Cx) -> Outcome {
    let blob = cx.stored(9_000_000).await?;
    let request = bazel_remote_apis::google::bytestream::ReadRequest {
        resource_name: cx.read_name(&blob),
        ..Default::default()
    };
    for _ in 0..5 {
        let mut client = cx.byte_stream();
        let stream = client.read(request.clone()).await.map(tonic::Response::into_inner);
        let mut stream = expect::ok(stream.map(Begun), "a read")?.0;
        let first = stream.message().await.map(|message| message.map_or(vec![], |m| m.data));
        expect::ok(first, "the first message of a read")?;
    }
    cx.expect_readable(&blob, "a read after five that were given up").await
}

/// A stream whose messages are still to come.
struct Begun<T>(T);

impl<T> expect::Seen for Begun<T> {
    fn seen(&self) -> String {
        "a stream".to_owned()
    }
}

async fn after_write(cx: &Cx) -> Outcome {
    for size in [10, 1_000, 100_000, 20, 2_000, 200_000] {
        let blob = cx.stored(size).await?;
        cx.expect_readable(&blob, &format!("a read right after the write of {size} B")).await?;
    }
    Ok(())
}

async fn with_header(cx: &Cx) -> Outcome {
    let blob = cx.stored(100).await?;
    let name = cx.read_name(&blob);
    let value = name.parse();
    let cx = cx.with_header(|headers| {
        if let Ok(value) = value {
            headers.insert("build.bazel.remote.execution.v2.resource-name", value);
        }
    });
    cx.expect_readable(&blob, "a read with the resource name in a header too").await
}
