//! Many large uploads and downloads at a time, with small writes between them: what the server takes stays within what it was given.

use futures_util::future::try_join_all;
use tokio::runtime;

use super::client::{Client, Form, LargeBlob, digest};
use super::memory::Mib;
use super::{Measured, NAME};
use crate::error::CompatError;
use crate::lab::Lab;
use crate::larder::{Larder, Launch};
use crate::report::Report;

/// What the server is given: less than what the uploads ask for, 6.75 MiB each, so that some wait.
const IN_FLIGHT: Mib = Mib(64);
const HOT: Mib = Mib(16);
/// What one connection may have sent ahead (`server/src/transport/connection.rs`), which the budget does not count.
const WINDOW: Mib = Mib(64);
/// The index, buffers of the socket, what the allocator keeps for a second.
const BESIDE: Mib = Mib(48);

const BLOB: Mib = Mib(8);
/// Uploads at a time, and as many downloads.
const LARGE_CALLS: u64 = 20;
const SMALL_CALLS: u64 = 2_000;
const SMALL_BYTES: usize = 2_048;

/// The case, on a server of its own.
pub(super) fn run(lab: &Lab, report: &mut Report<'_>) {
    let name = format!("{NAME}/heavy");
    report.case(&name, || {
        let dir = lab.dir(&name)?;
        let settings = [("max_in_flight", IN_FLIGHT), ("hot.capacity", HOT)];
        let settings = settings.map(|(key, size)| (key, format!("{}MiB", size.0))).to_vec();
        let launch = Launch { wrapper: Vec::new(), settings, data_dir: dir.join("data") };
        let server = Larder::launch(lab, &dir, launch)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(CompatError::io(&dir))?;
        let mut measured = Measured::of(&server);
        let first: Vec<_> = (0..LARGE_CALLS).map(blob).collect();
        let second: Vec<_> = (LARGE_CALLS..2 * LARGE_CALLS).map(blob).collect();
        let bound = Mib(IN_FLIGHT.0 + HOT.0 + WINDOW.0 + BESIDE.0);
        measured.growth("RSS growth of 40 large calls at a time", bound, || {
            runtime.block_on(async {
                let client = Client::connect(server.address()).await?;
                try_join_all(first.iter().map(|blob| client.write_large(blob))).await?;
                let up = try_join_all(second.iter().map(|blob| client.write_large(blob)));
                let down = try_join_all(first.iter().map(|it| client.read_verified(it.digest())));
                tokio::try_join!(up, down, small(&client)).map(drop)
            })
        })?;
        drop(runtime);
        measured.verdict(server)
    });
}

fn blob(number: u64) -> LargeBlob {
    LargeBlob::new(BLOB.bytes(), number)
}

/// Small writes, one after the other.
async fn small(client: &Client) -> Result<(), CompatError> {
    for number in 0..SMALL_CALLS {
        let mut blob = vec![7; SMALL_BYTES];
        blob[..8].copy_from_slice(&number.to_le_bytes());
        let name = digest(&blob);
        client.write(Form::Identity, &name, blob).await.map_err(CompatError::call("Write"))?;
    }
    Ok(())
}
