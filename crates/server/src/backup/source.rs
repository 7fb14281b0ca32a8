//! What is restored: a file that etcd's tools or ours saved, or the data directory of an etcd that was stopped.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::file::Part;
use super::{HASH_BYTES, SECTOR_BYTES};

/// The backend in a data directory of etcd.
const BACKEND: &str = "member/snap/db";
/// Its log.
const WAL: &str = "member/wal";

/// A file, or a data directory.
#[derive(Debug)]
pub(super) struct Source {
    /// The file of the backend, without the hash behind it.
    pub(super) image: Part,
    /// Its SHA-256.
    pub(super) hash: [u8; 32],
    /// The log that may have more than the backend, of a data directory.
    pub(super) wal: Option<PathBuf>,
}

impl Source {
    /// Opens it, and verifies its hash. `skip_hash_check` allows a file to have none, or a wrong one.
    ///
    /// # Errors
    /// If it is in use, is damaged, or can't be read. The text is meant for the operator.
    pub(super) fn open(path: &Path, skip_hash_check: bool) -> Result<Self, String> {
        let is_directory = path.is_dir();
        let file = if is_directory { path.join(BACKEND) } else { path.to_owned() };
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let opened = File::open(&file).map_err(|error| match is_directory {
            true => format!("{} is no data directory of etcd: {}", path.display(), failed(&error)),
            false => failed(&error),
        })?;
        // etcd holds it exclusively while it runs.
        flock(&opened, FlockOperation::NonBlockingLockShared)
            .map_err(|_| failed(&"it is in use: stop the etcd that has it, or save a snapshot"))?;
        let size = opened.metadata().map_err(|error| failed(&error))?.len();
        let has_hash = !is_directory && size % SECTOR_BYTES == HASH_BYTES;
        let bytes = if has_hash { size - HASH_BYTES } else { size };
        let image = Part { file: opened, bytes };
        let hash = image.hash().map_err(|error| failed(&error))?;
        if has_hash && !skip_hash_check {
            let mut told = [0; HASH_BYTES as usize];
            image.file.read_exact_at(&mut told, bytes).map_err(|error| failed(&error))?;
            if told != hash {
                return Err(failed(&"the hash behind it is another: it is damaged"));
            }
        }
        if !has_hash && !is_directory && !skip_hash_check {
            return Err(failed(
                &"there is no hash behind it, so nothing tells whether it is whole: \
                  it was cut off, or copied from a data directory (then --skip-hash-check takes it)",
            ));
        }
        let wal = is_directory.then(|| path.join(WAL));
        Ok(Self { image, hash, wal })
    }
}
