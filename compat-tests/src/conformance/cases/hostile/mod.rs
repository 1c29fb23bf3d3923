//! `hostile`: attacks on a server that is nobody else's. An attack may be refused, cut off or served; what counts is that
//! it ends, that nothing false is stored, and that an honest client is served all the while.
//!
//! Left to those who run the kit: the memory that the server takes meanwhile, which cannot be seen from outside.

mod frames;
mod wire;

pub(crate) mod http2;
pub(crate) mod messages;
pub(crate) mod names;
pub(crate) mod port;
pub(crate) mod slow;
pub(crate) mod zstd;

use std::time::Duration;

use crate::conformance::context::Cx;
use crate::conformance::expect;
use crate::conformance::outcome::{Halt, Outcome, violated};

/// How long an honest client waits, while a server is under attack.
const PATIENCE: Duration = Duration::from_secs(20);

/// An honest client, over a connection of its own, stores a blob and reads it back.
async fn unharmed(cx: &Cx, attack: &str) -> Outcome {
    let honest = async {
        let endpoint = cx.server.target.endpoint();
        let channel = match endpoint {
            Ok(endpoint) => endpoint.connect().await,
            Err(error) => Err(error),
        };
        let cx = match channel {
            Ok(channel) => cx.over(channel),
            Err(error) => return violated(format!("an honest client cannot connect: {error}")),
        };
        let blob = cx.blob(50_000);
        expect::ok(cx.write(&blob).await, "an honest upload")?;
        cx.expect_readable(&blob, "an honest download").await
    };
    match tokio::time::timeout(PATIENCE, honest).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Halt::Violated(found))) => violated(format!("{attack}: {found}")),
        Ok(Err(halt)) => Err(halt),
        Err(_elapsed) => violated(format!(
            "{attack}: expected an honest client to be served within {PATIENCE:?}, but it still waits"
        )),
    }
}
