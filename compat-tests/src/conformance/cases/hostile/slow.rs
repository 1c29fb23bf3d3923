//! `hostile.slow`: clients that begin much and end nothing.

use bazel_remote_apis::google::bytestream::{ReadRequest, ReadResponse};
use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;
use tonic::Streaming;

use super::unharmed;
use crate::conformance::calls::write_request;
use crate::conformance::case::{Case, cases};
use crate::conformance::context::Cx;
use crate::conformance::outcome::Outcome;

pub(crate) const CASES: &[Case] = cases! {
    /// 200 uploads that stop after their first message do not keep others out.
    "hostile.slow.idle-uploads", Must, "ByteStream.Write", only(Hostile) => idle_uploads;
    /// 1,000 uploads that are reset after their first message harm nobody.
    "hostile.slow.reset-uploads", Must, "ByteStream.Write", only(Hostile) => reset_uploads;
    /// 100 downloads of 64 MiB that nobody reads do not keep others out.
    "hostile.slow.stalled-downloads", Must, "ByteStream.Read", only(Hostile) => stalled_downloads;
    /// 1,000 downloads that are reset after their first message harm nobody.
    "hostile.slow.reset-downloads", Must, "ByteStream.Read", only(Hostile) => reset_downloads;
};

/// Over how many connections an attacker spreads.
const CONNECTIONS: usize = 10;

/// Connections of an attacker.
fn attackers(cx: &Cx) -> Vec<Cx> {
    let endpoint = cx.server.target.endpoint();
    let endpoint = endpoint.expect("the case's own connection was made with it");
    (0..CONNECTIONS).map(|_| cx.over(endpoint.connect_lazy())).collect()
}

async fn idle_uploads(cx: &Cx) -> Outcome {
    let mut held = JoinSet::new();
    for attacker in attackers(cx).into_iter().cycle().take(200) {
        let blob = attacker.blob(1 << 20);
        let half = blob.data.get(..64 << 10).unwrap_or_default();
        let first = write_request(&attacker.write_name(&blob), 0, half, false);
        held.spawn(async move { attacker.write_unclosed(vec![first]).await });
    }
    unharmed(cx, "beside 200 idle uploads").await
}

async fn reset_uploads(cx: &Cx) -> Outcome {
    let uploads = attackers(cx).into_iter().cycle().take(1_000).map(|attacker| async move {
        let blob = attacker.blob(200_000);
        let half = blob.data.get(..100_000).unwrap_or_default();
        let first = write_request(&attacker.write_name(&blob), 0, half, false);
        attacker.write_broken_off(vec![first]).await;
    });
    stream::iter(uploads).buffer_unordered(100).collect::<Vec<()>>().await;
    unharmed(cx, "after 1,000 uploads that were reset").await
}

async fn stalled_downloads(cx: &Cx) -> Outcome {
    let blob = cx.stored(64 << 20).await?;
    let mut held = JoinSet::new();
    for attacker in attackers(cx).into_iter().cycle().take(100) {
        let name = attacker.read_name(&blob);
        // What has come to its first message is kept by the set, and with it the call.
        held.spawn(async move { begun(&attacker, name).await });
    }
    unharmed(cx, "beside 100 downloads that nobody reads").await?;
    unharmed(cx, "still beside 100 downloads that nobody reads").await
}

async fn reset_downloads(cx: &Cx) -> Outcome {
    let blob = cx.stored(8 << 20).await?;
    let downloads = attackers(cx).into_iter().cycle().take(1_000).map(|attacker| {
        let name = attacker.read_name(&blob);
        async move { drop(begun(&attacker, name).await) }
    });
    stream::iter(downloads).buffer_unordered(100).collect::<Vec<()>>().await;
    unharmed(cx, "after 1,000 downloads that were reset").await
}

/// A download that has come to its first message.
async fn begun(cx: &Cx, resource_name: String) -> Option<Streaming<ReadResponse>> {
    let request = ReadRequest { resource_name, ..Default::default() };
    let mut download = cx.byte_stream().read(request).await.ok()?.into_inner();
    download.message().await.ok()??;
    Some(download)
}
