//! What is made of files, and made anew when they change.

use std::hash::RandomState;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::files::Stamp;
use crate::{Error, Files};

/// Something that is made of files.
pub trait Source {
    /// What is made of them.
    type Value;

    /// The files, all of which are needed. Always the same.
    fn files(&self) -> Vec<&Path>;

    /// Makes it of what was read from them.
    ///
    /// # Errors
    /// What is wrong with the files.
    fn load(&self, files: &Files) -> Result<Self::Value, Error>;
}

/// The latest that could be made of some files. Whoever uses it asks for it each time ([`Reloading::current`]);
/// somebody looks at the files in a rhythm ([`Reloading::look`]).
#[derive(Debug)]
pub struct Reloading<S: Source> {
    source: S,
    current: RwLock<Arc<S::Value>>,
    seen: Mutex<Seen>,
    keys: RandomState,
    reloads: AtomicU64,
    failures: AtomicU64,
}

/// What was seen of the files.
#[derive(Debug)]
struct Seen {
    stamps: Vec<Option<Stamp>>,
    /// Whether the files were read once more after they looked so: what is written within a tick of the file
    /// system's clock after they were read does not show in the stamps.
    settled: bool,
    /// What was last made use of, or was last found wrong.
    digest: Option<u64>,
    /// What is wrong with it.
    wrong: Option<Error>,
}

/// What a look at the files has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Same,
    /// They have changed, and what is made of them from now on is new.
    Reloaded,
    /// They have changed and something is wrong with them. What was there stays, and the files are tried again.
    Kept(Error),
}

impl<S: Source> Reloading<S> {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(source: S) -> Result<Self, Error> {
        let keys = RandomState::new();
        let stamps = Stamp::of_all(&source.files());
        let files = Files::read(&source.files())?;
        let value = source.load(&files)?;
        let digest = Some(files.digest(&keys));
        Ok(Self {
            current: RwLock::new(Arc::new(value)),
            seen: Mutex::new(Seen { stamps, settled: false, digest, wrong: None }),
            keys,
            source,
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// What was made of the files as they last were in order.
    #[must_use]
    pub fn current(&self) -> Arc<S::Value> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it is made of.
    #[must_use]
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Looks whether the files have changed, and makes use of what is in them. Cheap as long as they have not; it
    /// waits for the file system all the same. What is wrong is told once for each way of being wrong. Looks are to
    /// be further apart than the ticks of the file system's clock, by which it tells that a file was written: some
    /// milliseconds.
    pub fn look(&self) -> Look {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = self.source.files();
        let stamps = Stamp::of_all(&paths);
        let has_moved = stamps != seen.stamps;
        // What is wrong may be the reading itself, which no stamp tells of.
        if !has_moved && seen.settled && seen.wrong.is_none() {
            return Look::Same;
        }
        seen.stamps = stamps;
        seen.settled = !has_moved;
        let (digest, loaded) = match Files::read(&paths) {
            Ok(files) => {
                let digest = Some(files.digest(&self.keys));
                if digest == seen.digest {
                    return Look::Same;
                }
                (digest, self.source.load(&files))
            }
            Err(error) => (None, Err(error)),
        };
        seen.digest = digest;
        match loaded {
            Ok(value) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                seen.wrong = None;
                self.reloads.fetch_add(1, Ordering::Relaxed);
                Look::Reloaded
            }
            Err(error) => {
                let is_known = seen.wrong.as_ref() == Some(&error);
                seen.wrong = Some(error.clone());
                if is_known {
                    return Look::Same;
                }
                self.failures.fetch_add(1, Ordering::Relaxed);
                Look::Kept(error)
            }
        }
    }

    /// What is wrong with the files as they are now.
    #[must_use]
    pub fn wrong(&self) -> Option<Error> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).wrong.clone()
    }

    /// How often they were read anew.
    #[must_use]
    pub fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// How often they were found wrong.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// Two files with a number each, which must be the same.
    #[derive(Debug)]
    struct Twins(PathBuf, PathBuf);

    impl Source for Twins {
        type Value = u32;

        fn files(&self) -> Vec<&Path> {
            vec![&self.0, &self.1]
        }

        fn load(&self, files: &Files) -> Result<u32, Error> {
            let number = |path: &Path| {
                let text = str::from_utf8(files.bytes(path)).unwrap_or_default();
                text.parse::<u32>().map_err(|_| Error::of(path, "is no number"))
            };
            let (left, right) = (number(&self.0)?, number(&self.1)?);
            if left == right { Ok(left) } else { Err(Error::new("they differ")) }
        }
    }

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().expect("a directory"));
            folder.write("a", "1");
            folder.write("b", "1");
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).expect("written");
        }

        fn reloading(&self) -> Reloading<Twins> {
            Reloading::new(Twins(self.path("a"), self.path("b"))).expect("in order")
        }
    }

    #[test]
    fn files_that_stay_are_the_same() {
        let folder = Folder::new();
        let twins = folder.reloading();
        for _ in 0..3 {
            assert_eq!(twins.look(), Look::Same);
        }
        // Touched, with the same in them.
        folder.write("a", "1");
        assert_eq!((twins.look(), twins.reloads()), (Look::Same, 0));
    }

    #[test]
    fn a_change_counts_when_all_of_it_is_there() {
        let folder = Folder::new();
        let twins = folder.reloading();
        folder.write("a", "2");
        assert_eq!(twins.look(), Look::Kept(Error::new("they differ")));
        assert_eq!(twins.look(), Look::Same, "it was told");
        assert_eq!((*twins.current(), twins.wrong()), (1, Some(Error::new("they differ"))));
        folder.write("b", "2");
        assert_eq!((twins.look(), *twins.current()), (Look::Reloaded, 2));
        assert_eq!((twins.wrong(), twins.reloads(), twins.failures()), (None, 1, 1));
    }

    #[test]
    fn what_was_undone_is_in_order() {
        let folder = Folder::new();
        let twins = folder.reloading();
        folder.write("a", "x");
        assert!(matches!(twins.look(), Look::Kept(_)));
        folder.write("a", "1");
        assert_eq!((twins.look(), twins.wrong()), (Look::Reloaded, None));
        fs::remove_file(folder.path("b")).expect("removed");
        assert!(matches!(twins.look(), Look::Kept(_)));
        assert_eq!((twins.look(), *twins.current()), (Look::Same, 1));
        folder.write("b", "1");
        assert_eq!((twins.look(), twins.wrong()), (Look::Reloaded, None));
    }

    /// Whatever the clock of the file system shows: they are read once more.
    #[test]
    fn a_change_within_the_tick_of_the_first_reading_is_seen() {
        let folder = Folder::new();
        for number in 2..50 {
            let twins = folder.reloading();
            folder.write("a", &number.to_string());
            folder.write("b", &number.to_string());
            assert_eq!((twins.look(), *twins.current()), (Look::Reloaded, number));
        }
    }

    /// As Kubernetes replaces what it mounts.
    #[test]
    fn a_link_that_is_turned_is_seen() {
        let folder = Folder::new();
        for (directory, number) in [("old", "1"), ("new", "2")] {
            fs::create_dir(folder.path(directory)).expect("made");
            folder.write(&format!("{directory}/n"), number);
        }
        symlink("old", folder.path("data")).expect("linked");
        let path = folder.path("data/n");
        let twins = Reloading::new(Twins(path.clone(), path)).expect("in order");
        assert_eq!(
            (twins.look(), twins.look(), twins.look()),
            (Look::Same, Look::Same, Look::Same)
        );
        symlink("new", folder.path("turned")).expect("linked");
        fs::rename(folder.path("turned"), folder.path("data")).expect("turned");
        assert_eq!((twins.look(), *twins.current()), (Look::Reloaded, 2));
    }

    #[test]
    fn the_first_look_must_succeed() {
        let folder = Folder::new();
        folder.write("b", "2");
        let error = Reloading::new(Twins(folder.path("a"), folder.path("b"))).expect_err("wrong");
        assert_eq!(error, Error::new("they differ"));
    }
}
