//! [`Gate`]: closed until something is done, then open for good.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// Lets threads and tasks wait for the one thing that opens it.
#[derive(Default, Debug)]
pub(crate) struct Gate {
    is_open: AtomicBool,
    /// Held while the flag is set, and from looking at it to waiting: no thread sleeps through the opening.
    turn: Mutex<()>,
    threads: Condvar,
    tasks: Notify,
}

impl Gate {
    pub(crate) fn open(&self) {
        {
            let _turn = self.turn.lock();
            self.is_open.store(true, Ordering::Release);
            self.tasks.notify_waiters();
        }
        self.threads.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Blocks until it is open.
    pub(crate) fn wait(&self) {
        let mut turn = self.turn.lock();
        while !self.is_open() {
            self.threads.wait(&mut turn);
        }
    }

    /// Resolves when it is open. Dropping the future is harmless.
    pub(crate) async fn opened(&self) {
        // Told of what happens from here on, so looked at before the flag is.
        let opening = self.tasks.notified();
        if !self.is_open() {
            opening.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn threads_and_tasks_wait_until_it_opens() {
        let gate = Arc::new(Gate::default());
        let mut opened = Box::pin(gate.opened());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(opened.as_mut().poll(&mut context), Poll::Pending);
        let waiting = {
            let gate = Arc::clone(&gate);
            std::thread::spawn(move || gate.wait())
        };
        gate.open();
        waiting.join().unwrap();
        assert_eq!(opened.as_mut().poll(&mut context), Poll::Ready(()));
        assert_eq!(Box::pin(gate.opened()).as_mut().poll(&mut context), Poll::Ready(()));
    }
}
