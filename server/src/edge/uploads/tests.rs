//! Uploads over a store that collects, without any connection.

use futures_util::StreamExt;
use futures_util::poll;
use larder_protos::DigestFunction;
use tokio::sync::oneshot;

use super::*;
use crate::edge::Budget;

const LIMITS: UploadLimits = UploadLimits {
    count: 3,
    disk_bytes: 1_000_000,
    memory_bytes: 1_000,
    age: Duration::from_mins(10),
};

struct Fixture {
    uploads: Arc<Uploads>,
    budget: Budget,
}

impl Fixture {
    fn new() -> Self {
        Self { uploads: Arc::new(Uploads::new(LIMITS)), budget: Budget::new(1 << 20) }
    }

    /// Begins an upload that holds so much; what its store has seen comes when it ends.
    async fn begin(&self, number: u64, held_bytes: u64) -> (Lease, oneshot::Receiver<Vec<u8>>) {
        let (seen, sight) = oneshot::channel();
        let hold = self.budget.hold(None, held_bytes).await.unwrap();
        let lease = self.uploads.begin(name(number), hold, |mut arriving| async move {
            let mut whole = Vec::new();
            while let Some(chunk) = arriving.next().await {
                whole.extend_from_slice(&chunk.unwrap());
            }
            let _ = seen.send(whole);
            Ok(PutOutcome::Stored)
        });
        (lease, sight)
    }

    /// Begins an upload, feeds it and loses its connection.
    async fn lose(&self, number: u64, bytes: usize, held_bytes: u64) {
        let (lease, _) = self.begin(number, held_bytes).await;
        assert_eq!(lease.feed(vec![7; bytes].into()).await, Ok(Fed::Taken));
    }

    fn committed(&self, numbers: std::ops::Range<u64>) -> Vec<u64> {
        numbers.map(|number| self.uploads.committed_bytes(&name(number))).collect()
    }
}

fn name(number: u64) -> UploadName {
    let digest = Digest::of(DigestFunction::Sha256, &number.to_le_bytes());
    UploadName { instance: InstanceName::default(), upload_id: "id".to_owned(), digest }
}

fn refused(asked_bytes: u64, kept_bytes: u64) -> LeaseError {
    LeaseError::Offset { asked_bytes, kept_bytes }
}

#[tokio::test]
async fn an_upload_goes_on_where_it_was_cut_off() {
    let fixture = Fixture::new();
    let (lease, seen) = fixture.begin(1, 10).await;
    lease.feed(Bytes::from_static(b"abc")).await.unwrap();
    lease.feed(Bytes::from_static(b"de")).await.unwrap();
    drop(lease);
    let stats = UploadStats { kept: 1, kept_bytes: 5, resumed: 0, dropped: 0 };
    assert_eq!(fixture.uploads.stats(), stats);
    assert_eq!(fixture.budget.stats().held_bytes, 10, "its memory stays counted");
    for offset_bytes in [0, 3, 6] {
        let resumed = fixture.uploads.resume(name(1), offset_bytes).await;
        assert_eq!(resumed.map(drop), Err(refused(offset_bytes, 5)));
    }
    assert_eq!(fixture.uploads.resume(name(2), 5).await.map(drop), Err(refused(5, 0)));
    let lease = fixture.uploads.resume(name(1), 5).await.unwrap();
    assert_eq!(fixture.uploads.stats(), UploadStats { resumed: 1, ..UploadStats::default() });
    lease.feed(Bytes::from_static(b"f")).await.unwrap();
    assert_eq!(lease.finish().await.unwrap().unwrap(), PutOutcome::Stored);
    assert_eq!(seen.await.unwrap(), b"abcdef");
    assert_eq!(fixture.committed(1..2), [0], "it has ended");
    assert_eq!(fixture.budget.stats().held_bytes, 0);
    assert!(fixture.uploads.lists.lock().by_name.is_empty());
}

#[tokio::test]
async fn of_two_connections_one_feeds() {
    let fixture = Fixture::new();
    let (first, seen) = fixture.begin(1, 0).await;
    first.feed(Bytes::from_static(b"ab")).await.unwrap();
    let second = fixture.uploads.resume(name(1), 2).await.unwrap();
    assert_eq!(first.feed(Bytes::from_static(b"XX")).await, Err(LeaseError::TakenOver));
    second.feed(Bytes::from_static(b"cd")).await.unwrap();
    assert_eq!(first.finish().await.map(drop), Err(LeaseError::TakenOver));
    assert_eq!(fixture.uploads.stats().kept, 0, "the second still feeds it");
    let late = fixture.uploads.resume(name(1), 2).await;
    assert_eq!(late.map(drop), Err(refused(2, 4)));
    second.finish().await.unwrap().unwrap();
    assert_eq!(seen.await.unwrap(), b"abcd");
}

#[tokio::test]
async fn many_that_resume_at_once_mix_nothing() {
    let fixture = Fixture::new();
    let (lease, seen) = fixture.begin(1, 0).await;
    drop(lease);
    let mut expect = Vec::new();
    for round in 0..50_u8 {
        let offset_bytes = expect.len() as u64;
        let resumes = (0..4_u8).map(|number| {
            let uploads = &fixture.uploads;
            async move {
                let lease = uploads.resume(name(1), offset_bytes).await.ok()?;
                tokio::task::yield_now().await;
                let chunk = Bytes::from(vec![round, number]);
                (lease.feed(chunk.clone()).await == Ok(Fed::Taken)).then_some(chunk)
            }
        });
        let fed: Vec<_> =
            futures_util::future::join_all(resumes).await.into_iter().flatten().collect();
        assert!(fed.len() <= 1, "{fed:?}");
        expect.extend(fed.concat());
    }
    assert!(!expect.is_empty());
    let lease = fixture.uploads.resume(name(1), expect.len() as u64).await.unwrap();
    lease.finish().await.unwrap().unwrap();
    assert_eq!(seen.await.unwrap(), expect);
}

#[tokio::test]
async fn an_upload_that_begins_anew_replaces_the_one_before() {
    let fixture = Fixture::new();
    fixture.lose(1, 100, 5).await;
    let (lease, seen) = fixture.begin(1, 7).await;
    assert_eq!((fixture.committed(1..2), fixture.uploads.stats().kept), (vec![0], 0));
    tokio::task::yield_now().await;
    assert_eq!(fixture.budget.stats().held_bytes, 7, "the first is gone");
    // While one is fed another of its name goes its own way.
    let (other, other_seen) = fixture.begin(1, 0).await;
    lease.feed(Bytes::from_static(b"one")).await.unwrap();
    other.feed(Bytes::from_static(b"other")).await.unwrap();
    assert_eq!(fixture.committed(1..2), [5], "the latest is the one that is kept");
    lease.finish().await.unwrap().unwrap();
    assert_eq!(seen.await.unwrap(), b"one");
    assert_eq!(fixture.committed(1..2), [5]);
    other.finish().await.unwrap().unwrap();
    assert_eq!(other_seen.await.unwrap(), b"other");
}

#[tokio::test]
async fn a_connection_lost_while_the_store_ends_loses_nothing() {
    let fixture = Fixture::new();
    let (go, gone) = oneshot::channel::<()>();
    let hold = fixture.budget.nothing(None);
    let lease = fixture.uploads.begin(name(1), hold, |mut arriving| async move {
        while arriving.next().await.is_some() {}
        gone.await.unwrap();
        Ok(PutOutcome::Stored)
    });
    lease.feed(Bytes::from_static(b"all")).await.unwrap();
    let mut finish = Box::pin(lease.finish());
    assert!(poll!(&mut finish).is_pending());
    drop(finish);
    assert_eq!((fixture.committed(1..2), fixture.uploads.stats().kept), (vec![3], 1));
    let lease = fixture.uploads.resume(name(1), 3).await.unwrap();
    assert_eq!(lease.feed(Bytes::from_static(b"more")).await, Ok(Fed::Enough));
    go.send(()).unwrap();
    assert_eq!(lease.finish().await.unwrap().unwrap(), PutOutcome::Stored);
}

#[tokio::test]
async fn what_the_store_says_early_is_the_outcome() {
    let fixture = Fixture::new();
    let lease =
        fixture.uploads.begin(name(1), fixture.budget.nothing(None), |arriving| async move {
            drop(arriving);
            Err(StoreError::ShuttingDown)
        });
    tokio::task::yield_now().await;
    assert_eq!(lease.feed(Bytes::from_static(b"abc")).await, Ok(Fed::Enough));
    assert!(matches!(lease.finish().await, Ok(Err(StoreError::ShuttingDown))));
    assert_eq!(fixture.committed(1..2), [0]);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_make_room_and_the_old_go() {
    let fixture = Fixture::new();
    for number in 0..5 {
        fixture.lose(number, 100, 1).await;
        tokio::time::advance(Duration::from_mins(1)).await;
    }
    assert_eq!(fixture.committed(0..5), [0, 0, 100, 100, 100], "at most three");
    fixture.lose(5, 999_850, 1).await;
    assert_eq!(fixture.committed(2..6), [0, 0, 100, 999_850], "at most a million bytes on disk");
    fixture.lose(6, 1, 999).await;
    assert_eq!(fixture.committed(4..7), [0, 999_850, 1], "at most a thousand bytes in memory");
    fixture.lose(7, 2_000_000, 1).await;
    assert_eq!(fixture.committed(5..8), [0, 0, 0], "one alone may be too much");
    assert_eq!(fixture.uploads.stats(), UploadStats { dropped: 8, ..UploadStats::default() });

    fixture.lose(8, 100, 1).await;
    tokio::time::advance(Duration::from_mins(9)).await;
    fixture.lose(9, 100, 1).await;
    let lease = fixture.uploads.resume(name(8), 100).await.unwrap();
    tokio::time::advance(Duration::from_mins(9)).await;
    fixture.uploads.expire();
    assert_eq!(fixture.committed(8..10), [100, 100], "one is fed, the other not old enough");
    drop(lease);
    tokio::time::advance(Duration::from_mins(1)).await;
    fixture.uploads.expire();
    assert_eq!(fixture.committed(8..10), [100, 0]);
    tokio::time::advance(Duration::from_mins(9)).await;
    fixture.uploads.expire();
    assert_eq!(fixture.committed(8..10), [0, 0]);
    tokio::task::yield_now().await;
    assert_eq!(fixture.budget.stats().held_bytes, 0);
    assert!(fixture.uploads.lists.lock().by_name.is_empty());
}
