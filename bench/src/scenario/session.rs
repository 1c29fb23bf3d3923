//! A session of a build, replayed: each operation is one action with all its calls.

use std::collections::HashMap;

use async_trait::async_trait;
use larder_protos::Digest;

use super::resident::{self, Blob};
use super::{Moved, Scenario, action};
use crate::blobs::{self, Content};
use crate::client::Client;
use crate::error::CallError;
use crate::session::{BlobName, Call, Session};

const NOT_FOUND: i32 = 5;

/// A session. What it writes is new with each replay, all else is stored before.
#[derive(Debug)]
pub(super) struct Replay {
    session: Session,
    stored: HashMap<BlobName, Blob>,
    salt: u64,
}

impl Replay {
    pub(super) fn new(session: Session, salt: u64) -> Self {
        let written = session.written();
        let calls = session.actions.iter().flatten();
        let named = calls.flat_map(|call| match call {
            Call::Hit { outputs, .. } | Call::Update { outputs, .. } => &outputs[..],
            Call::Find { blobs } => &blobs[..],
            Call::Read { blob } => std::slice::from_ref(blob),
            Call::Miss { .. } | Call::Write { .. } => &[],
        });
        let stored = named.filter(|name| !written.contains(name));
        let stored = stored.map(|name| (name.clone(), made(name, 0))).collect();
        drop(written);
        Self { session, stored, salt }
    }

    /// The blobs that an action writes, in this replay.
    fn written(&self, calls: &[Call], replay: u64) -> HashMap<BlobName, Blob> {
        let salt = self.salt.wrapping_add(replay);
        let names = calls.iter().filter_map(|call| match call {
            Call::Write { blob } => Some(blob),
            _ => None,
        });
        names.map(|name| (name.clone(), made(name, salt))).collect()
    }

    async fn call(
        &self,
        client: &Client,
        call: &Call,
        replay: u64,
        written: &HashMap<BlobName, Blob>,
    ) -> Result<Moved, CallError> {
        let blob = |name: &BlobName| -> Blob {
            let known = self.stored.get(name).or_else(|| written.get(name)).cloned();
            // Another action writes it.
            known.unwrap_or_else(|| made(name, self.salt.wrapping_add(replay)))
        };
        let digests =
            |names: &[BlobName]| names.iter().map(|name| blob(name).digest).collect::<Vec<_>>();
        match call {
            Call::Hit { action, outputs } => {
                let stored = action::outputs(digests(outputs).into_iter());
                action::expect_same(&client.get_result(&hit_key(action)).await?, &stored)?;
            }
            Call::Miss { action } => match client.get_result(&self.key(action, replay)).await {
                Err(CallError::Status { code: NOT_FOUND, .. }) => {}
                Err(error) => return Err(error),
                Ok(_) => return Err(CallError::Different { what: "a result nobody stored" }),
            },
            Call::Find { blobs } => {
                let most = blobs.iter().filter(|name| !self.stored.contains_key(name)).count();
                let missing = client.count_missing(&digests(blobs)).await?;
                if missing > most {
                    return Err(CallError::Different { what: "the blobs that are present" });
                }
            }
            Call::Read { blob: name } => {
                let blob = blob(name);
                client.read_expecting(&blob.digest, &blob.bytes).await?;
                return Ok(Moved::plain(blob.digest.size_bytes()));
            }
            Call::Write { blob: name } => {
                let blob = blob(name);
                client.write_blob(&blob.digest, blob.bytes).await?;
                return Ok(Moved::plain(blob.digest.size_bytes()));
            }
            Call::Update { action, outputs } => {
                let result = action::outputs(digests(outputs).into_iter());
                client.update_result(&self.key(action, replay), result).await?;
            }
        }
        Ok(Moved::default())
    }

    /// Of an action that no replay has run before.
    fn key(&self, action: &str, replay: u64) -> Digest {
        action::key(&format!("{action} of replay {}", self.salt.wrapping_add(replay)))
    }
}

#[async_trait(?Send)]
impl Scenario for Replay {
    async fn prepare(&self, client: &Client) -> Result<(), CallError> {
        resident::store(client, self.stored.values().cloned()).await?;
        for call in self.session.actions.iter().flatten() {
            if let Call::Hit { action, outputs } = call {
                let digests = outputs.iter().filter_map(|name| self.stored.get(name));
                let result = action::outputs(digests.map(|blob| blob.digest));
                client.update_result(&hit_key(action), result).await?;
            }
        }
        Ok(())
    }

    async fn operate(&self, client: &Client, number: u64) -> Result<Moved, CallError> {
        let actions = self.session.actions.len() as u64;
        let place = usize::try_from(number % actions).unwrap_or_default();
        let (calls, replay) = (&self.session.actions[place], number / actions);
        let written = self.written(calls, replay);
        let mut moved = Moved::default();
        for call in calls {
            moved.add(self.call(client, call, replay, &written).await?);
        }
        Ok(moved)
    }
}

fn hit_key(action: &str) -> Digest {
    action::key(&format!("{action} of every replay"))
}

/// The bytes that a name stands for in a replay; 0 is that of what is there before.
fn made(name: &BlobName, replay: u64) -> Blob {
    let named = blobs::digest(name.name.as_bytes());
    let seed =
        named.hash().as_bytes().iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    Blob::of(Content::Half, seed ^ replay.rotate_left(32), name.size_bytes)
}
