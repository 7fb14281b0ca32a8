//! Files, read whole and at once, and how to tell without reading that they changed.

use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::Error;

/// The largest file that is read: a list of a hundred thousand revoked certificates fits.
const BYTES_MAX: u64 = 16 << 20;

/// What was in some files at one time. Wiped when it is dropped.
#[derive(Default)]
pub struct Files(Vec<Content>);

struct Content {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
    mode: u32,
}

impl Files {
    /// Reads files.
    ///
    /// # Errors
    /// With the first that can't be read, is no file, or is larger than 16 MiB.
    pub fn read(paths: &[&Path]) -> Result<Self, Error> {
        paths.iter().map(|path| read(path)).collect::<Result<_, _>>().map(Self)
    }

    /// What was in a file.
    ///
    /// # Panics
    /// If it is none of those that were read.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> &[u8] {
        &self.find(path).bytes
    }

    /// Whether everybody on the machine may read a file.
    ///
    /// # Panics
    /// If it is none of those that were read.
    #[must_use]
    pub fn is_open_to_all(&self, path: &Path) -> bool {
        self.find(path).mode & 0o004 != 0
    }

    fn find(&self, path: &Path) -> &Content {
        self.0
            .iter()
            .find(|file| file.path == path)
            .expect("a source names the files that it reads")
    }

    /// A number that is the same for the same contents, and hardly ever for others.
    pub(crate) fn digest(&self, keys: &RandomState) -> u64 {
        let mut hasher = keys.build_hasher();
        for file in &self.0 {
            file.bytes.hash(&mut hasher);
            file.mode.hash(&mut hasher);
        }
        hasher.finish()
    }
}

fn read(path: &Path) -> Result<Content, Error> {
    let failed = |error: io::Error| Error::of(path, error);
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(Error::of(path, "is no file"));
    }
    // With room for all of it from the start, so that nothing is left where a vector has grown out of.
    let length = about.len().min(BYTES_MAX) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0)));
    file.take(length).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Error::of(path, format!("is larger than {BYTES_MAX} bytes")));
    }
    Ok(Content { path: path.to_owned(), bytes, mode: about.mode() })
}

/// What the file system says about a file. Who rewrites a file, replaces it or turns a symbolic link changes this;
/// within one tick of the file system's clock (some milliseconds) perhaps only the contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    place: (u64, u64),
    length: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of each file, `None` where there is none.
    pub(crate) fn of_all(paths: &[&Path]) -> Vec<Option<Self>> {
        paths.iter().map(|path| fs::metadata(path).ok().map(|about| Self::of(&about))).collect()
    }

    fn of(about: &Metadata) -> Self {
        Self {
            place: (about.dev(), about.ino()),
            length: about.len(),
            written: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_too_large_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = Files::read(&[directory.path()]).err().expect("a directory is refused");
        assert!(error.to_string().ends_with("is no file"), "{error}");
        let large = directory.path().join("large");
        File::create(&large).and_then(|file| file.set_len(BYTES_MAX + 1)).expect("made");
        let error = Files::read(&[&large]).err().expect("it is refused");
        assert!(error.to_string().ends_with("is larger than 16777216 bytes"), "{error}");
        File::create(&large).and_then(|file| file.set_len(BYTES_MAX)).expect("made");
        let files = Files::read(&[&large]).expect("it fits");
        assert_eq!(files.bytes(&large).len() as u64, BYTES_MAX);
    }
}
