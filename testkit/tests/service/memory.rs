//! Memory: what the hot tier shows of itself, and the budget of bytes in flight.

use larder_testkit::TestServer;

use crate::client::{read, sample, store};

/// The value of a metric without labels.
async fn metric(server: &TestServer, name: &str) -> u64 {
    let page = server.admin("/metrics").await;
    let page = String::from_utf8_lossy(page.body()).into_owned();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is not in {page}")).parse().expect("a number")
}

#[tokio::test]
async fn the_hot_tier_shows_what_it_does() {
    let server = TestServer::start_with(&[("hot.capacity", "8MiB")]).await;
    let digest = store(&server, &sample(10_000)).await;
    read(&server, digest).await.expect("present");
    read(&server, digest).await.expect("present");
    let large = store(&server, &sample(2_000_000)).await;
    read(&server, large).await.expect("present");
    assert_eq!(metric(&server, "larder_hot_hits_total").await, 2);
    assert_eq!(metric(&server, "larder_hot_misses_total").await, 1);
    assert_eq!(metric(&server, "larder_hot_blobs").await, 1);
    let bytes = metric(&server, "larder_hot_bytes").await;
    assert!((10_000..11_000).contains(&bytes), "{bytes} B");
    // A quarter is for action results and trees.
    assert_eq!(metric(&server, "larder_hot_capacity_bytes").await, 6 << 20);
    assert_eq!(metric(&server, "larder_hot_limit_bytes").await, 6 << 20);
    for number in 0..1_000 {
        store(&server, &sample(20_000 + number)).await;
    }
    assert!(metric(&server, "larder_hot_bytes").await <= 6 << 20);
    assert!(metric(&server, "larder_hot_evictions_total").await > 0);
    server.stop().await;
}
