//! The conformance suite on every store of this crate, alone and stacked.

use std::sync::Arc;

use larder_action_cache::{ActionMetrics, ActionStore, Complete, MeteredActions, conformance};
use prometheus_client::registry::Registry;

use crate::fixture::Fixture;

#[tokio::test]
async fn disk() {
    conformance::check_all(Fixture::new().actions).await;
}

#[tokio::test]
async fn hot_over_disk() {
    let fixture = Fixture::new();
    conformance::check_all(Arc::new(fixture.hot_actions())).await;
}

#[tokio::test]
async fn complete_over_disk() {
    let Fixture { blobs, removals, actions, .. } = &Fixture::new();
    let (actions, blobs, removals) = (Arc::clone(actions), Arc::clone(blobs), Arc::clone(removals));
    let complete = Complete::new(actions, blobs, removals, 1 << 20, &mut Registry::default());
    conformance::check_all(Arc::new(complete)).await;
}

#[tokio::test]
async fn metered_over_disk() {
    let fixture = Fixture::new();
    let metrics = ActionMetrics::register(&mut Registry::default());
    let metered = MeteredActions::new(Arc::clone(&fixture.actions), metrics);
    conformance::check_all(Arc::new(metered)).await;
}

#[tokio::test]
async fn the_whole_stack() {
    let fixture = Fixture::new();
    let mut registry = Registry::default();
    let hot = Arc::new(fixture.hot_actions());
    let complete = Complete::new(hot, fixture.blobs, fixture.removals, 1 << 20, &mut registry);
    let complete = Arc::new(complete);
    let metered: Arc<dyn ActionStore> =
        Arc::new(MeteredActions::new(complete, ActionMetrics::register(&mut registry)));
    assert_eq!(metered.to_string(), "metered(complete(hot 1 MiB > disk))");
    conformance::check_all(metered).await;
}
