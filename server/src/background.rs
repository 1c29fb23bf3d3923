//! [`Background`]: the work that no request waits for, on a thread of its own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// A piece of background work; it is dropped where it waits when the server ends.
pub type Chore = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Owns the chores' thread; dropping it ends them.
#[derive(Debug)]
pub struct Background {
    stopping: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts all of them, on one thread that they take turns on.
    pub fn start(chores: Vec<Chore>) -> io::Result<Self> {
        let runtime =
            runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build()?;
        let stopping = CancellationToken::new();
        let until = stopping.clone();
        let thread =
            std::thread::Builder::new().name("background".to_owned()).spawn(move || {
                runtime.block_on(until.run_until_cancelled(join_all(chores)));
            })?;
        Ok(Self { stopping, thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stopping.cancel();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            // ERROR: a defect; the panic hook has logged where.
            tracing::error!("the background thread ended by a panic");
        }
    }
}

/// Does `work` at each `period`. What was missed while the machine was busy is not made up for.
pub fn every(period: Duration, mut work: impl FnMut() + Send + 'static) -> Chore {
    Box::pin(async move {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            work();
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn chores_run_until_it_is_dropped() {
        let (sender, receiver) = mpsc::channel();
        let ticks = every(Duration::from_millis(1), move || {
            let _ = sender.send(());
        });
        let background = Background::start(vec![ticks, Box::pin(std::future::pending())]).unwrap();
        for _ in 0..3 {
            receiver.recv().unwrap();
        }
        drop(background);
        while receiver.try_recv().is_ok() {}
        assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }
}
