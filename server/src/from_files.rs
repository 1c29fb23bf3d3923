//! [`FromFiles`]: a value made of small files, made anew when they change.
//!
//! Promise: a change that cannot be used leaves the value as it was, and is tried again at each look, since what stands in its way may
//! pass: a file that another one does not fit to yet, or a want of descriptors. Files are compared by content, so that a link which is
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
    seen: Mutex<Seen>,
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
    /// They are as they were, and could not be used at this look either.
    StillRefused(E),
}

/// The files as they were at the last look.
struct Seen {
    contents: Vec<Content>,
    /// The value is not of these.
    is_refused: bool,
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
        let seen = Seen { contents: contents(&paths), is_refused: false };
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
        let is_same = seen.contents == now;
        if is_same && !seen.is_refused {
            return Refreshed::Same;
        }
        let loaded = (self.load)();
        *seen = Seen { contents: now, is_refused: loaded.is_err() };
        match loaded {
            Ok(value) => {
                *self.current.write() = Arc::new(value);
                self.replaced.fetch_add(1, Ordering::Relaxed);
                Refreshed::Replaced
            }
            Err(error) if is_same => Refreshed::StillRefused(error),
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
    use std::num::ParseIntError;
    use std::sync::atomic::AtomicBool;
    use std::{fs, io};

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
        check(Some("x"), "StillRefused", 2);
        check(None, "Refused", 2);
        check(Some("3"), "Replaced", 3);
        assert_eq!((number.replaced(), number.refused()), (2, 2));
    }

    #[test]
    fn what_could_not_be_read_for_a_while_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        fs::write(&path, "1").unwrap();
        let has_descriptors = Arc::new(AtomicBool::new(true));
        let (read, can_read) = (path.clone(), Arc::clone(&has_descriptors));
        let number = FromFiles::<String, io::Error>::open(vec![path.clone()], move || {
            if !can_read.load(Ordering::Relaxed) {
                return Err(io::Error::other("too many open files"));
            }
            bounded_read(&read, 100)
        });
        let number = number.unwrap();
        fs::write(&path, "2").unwrap();
        has_descriptors.store(false, Ordering::Relaxed);
        assert!(matches!(number.refresh(), Refreshed::Refused(_)));
        assert!(matches!(number.refresh(), Refreshed::StillRefused(_)));
        has_descriptors.store(true, Ordering::Relaxed);
        assert!(matches!(number.refresh(), Refreshed::Replaced));
        assert!(matches!(number.refresh(), Refreshed::Same));
        assert_eq!((number.current().as_str(), number.replaced(), number.refused()), ("2", 1, 1));
    }
}
