//! [`in_order`]: many small pieces of work of which nearly all are done as soon as they are begun.

use std::pin::Pin;
use std::task::Poll;

use futures_util::poll;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::yield_now;

/// Pieces that are begun before others have their turn: some hundred microseconds of a worker.
const TURN: usize = 256;

/// What came of each piece of work, in their order; at most `limit` of them wait at a time. One that need not wait costs no more than
/// its own future.
pub(super) async fn in_order<F: Future>(
    work: impl ExactSizeIterator<Item = F>,
    limit: usize,
) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = Vec::with_capacity(work.len());
    let mut waiting = FuturesUnordered::new();
    for (index, piece) in work.enumerate() {
        if index % TURN == TURN - 1 {
            yield_now().await;
        }
        let mut piece = Box::pin(piece);
        done.push(match poll!(&mut piece) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => {
                waiting.push(numbered(index, piece));
                None
            }
        });
        while waiting.len() >= limit {
            fill(&mut done, waiting.next().await);
        }
    }
    while !waiting.is_empty() {
        fill(&mut done, waiting.next().await);
    }
    done.into_iter().map(|output| output.expect("each is done")).collect()
}

async fn numbered<F: Future>(index: usize, piece: Pin<Box<F>>) -> (usize, F::Output) {
    (index, piece.await)
}

fn fill<T>(done: &mut [Option<T>], ended: Option<(usize, T)>) {
    if let Some((index, output)) = ended {
        done[index] = Some(output);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Pieces that need so many polls each; how many waited at a time, at most.
    async fn check(polls: &[usize], limit: usize, expect_most: usize) {
        let (waiting, most) = (Cell::new(0_usize), Cell::new(0));
        let (waiting, most) = (&waiting, &most);
        let work = polls.iter().enumerate().map(|(index, polls)| async move {
            waiting.set(waiting.get() + 1);
            for _ in 1..*polls {
                most.set(most.get().max(waiting.get()));
                tokio::task::yield_now().await;
            }
            waiting.set(waiting.get() - 1);
            index
        });
        let done = in_order(work, limit).await;
        assert_eq!(done, (0..polls.len()).collect::<Vec<_>>(), "{polls:?}");
        assert_eq!(most.get(), expect_most, "{polls:?}");
    }

    #[tokio::test]
    async fn all_are_done_in_their_order_and_few_wait_at_a_time() {
        check(&[], 2, 0).await;
        check(&[1, 1, 1], 2, 0).await;
        check(&[9, 1, 3, 1, 2], 9, 3).await;
        check(&[9, 3, 5, 1, 2, 7], 2, 2).await;
        check(&[3, 3, 3], 1, 1).await;
    }
}
