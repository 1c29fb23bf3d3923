//! [`FromFiles`]: a value made of small files, made anew when they change.
//!
//! Promise: a change that cannot be used leaves the value as it was. Files are compared by content, so that a link which is
//! turned to another file, as Kubernetes does it with secrets, counts, and a `touch` does not.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use sha2::{Digest as _, Sha256};

use crate::bounded_read::bounded_read;

/// Certificates and credentials of thousands take less.
pub(crate) const FILE_BYTES_MAX: u64 = 4 << 20;

/// A value made of small files.
pub struct FromFiles<T, E> {
    paths: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<T, E> + Send + Sync>,
    /// Held to copy the pointer.
    current: RwLock<Arc<T>>,
    /// Held while the files are read, so that two changes do not overtake each other; nothing waits in it.
    seen: Mutex<Vec<Content>>,
    replaced: AtomicU64,
    refused: AtomicU64,
}

/// What a look at the files led to.
#[derive(Debug)]
pub enum Refreshed<E> {
    /// They are as they were.
    Same,
    /// There is a new value.
    Replaced,
    /// They changed into something that cannot be used; the value is the old one.
    Refused(E),
}

/// What is in a file; `None` where it cannot be read.
type Content = Option<[u8; 32]>;

impl<T, E> FromFiles<T, E> {
    /// Makes the first value by `load`, which reads `paths`.
    pub fn open(
        paths: Vec<PathBuf>,
        load: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // Read before the value is made: what changes in between is seen as a change later.
        let seen = contents(&paths);
        let first = load()?;
        Ok(Self {
            paths,
            load: Box::new(load),
            current: RwLock::new(Arc::new(first)),
            seen: Mutex::new(seen),
            replaced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// The value at this moment.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read())
    }

    /// Looks whether the files have changed, and makes the value anew if so. Reads files.
    pub fn refresh(&self) -> Refreshed<E> {
        let mut seen = self.seen.lock();
        let now = contents(&self.paths);
        if *seen == now {
            return Refreshed::Same;
        }
        *seen = now;
        match (self.load)() {
            Ok(value) => {
                *self.current.write() = Arc::new(value);
                self.replaced.fetch_add(1, Ordering::Relaxed);
                Refreshed::Replaced
            }
            Err(error) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Refreshed::Refused(error)
            }
        }
    }

    /// Changes that led to a new value, since the start.
    pub fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Changes that could not be used, since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl<T, E> fmt::Debug for FromFiles<T, E> {
    // Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFiles").field("paths", &self.paths).finish_non_exhaustive()
    }
}

fn contents(paths: &[PathBuf]) -> Vec<Content> {
    let content = |path: &PathBuf| {
        let text = bounded_read(path, FILE_BYTES_MAX).ok()?;
        Some(Sha256::digest(text).into())
    };
    paths.iter().map(content).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::num::ParseIntError;

    use super::*;

    #[test]
    fn a_change_is_taken_over_and_a_bad_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        fs::write(&path, "1").unwrap();
        let read = path.clone();
        let number = FromFiles::<u32, ParseIntError>::open(vec![path.clone()], move || {
            bounded_read(&read, 100).unwrap_or_default().parse()
        });
        let number = number.unwrap();
        let check = |text: Option<&str>, expect: &str, value: u32| {
            match text {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let refreshed = format!("{:?}", number.refresh());
            assert!(refreshed.starts_with(expect), "{text:?}: {refreshed}");
            assert_eq!(*number.current(), value, "{text:?}");
        };
        check(Some("1"), "Same", 1);
        check(Some("2"), "Replaced", 2);
        check(Some("x"), "Refused", 2);
        check(Some("x"), "Same", 2);
        check(None, "Refused", 2);
        check(Some("3"), "Replaced", 3);
        assert_eq!((number.replaced(), number.refused()), (2, 2));
    }
}
