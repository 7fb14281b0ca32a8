//! A snapshot that is being saved: the file is there when it is complete, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use quorate_host::whole_file;
use sha2::{Digest as _, Sha256};

use super::{HASH_BYTES, SECTOR_BYTES};

/// A file that is being written, under another name.
#[derive(Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    part: PathBuf,
    file: File,
    bytes: u64,
    /// Of all but the last bytes, which may be the hash itself.
    hash: Sha256,
    last: Vec<u8>,
    is_complete: bool,
}

impl SnapshotFile {
    /// Begins one, in the place of a file of that name, which stays until the new one is complete.
    ///
    /// # Errors
    /// If the system says so.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        Ok(Self {
            path: path.to_owned(),
            // It has all that is in the store, for its owner alone.
            file: options.open(&part)?,
            part,
            bytes: 0,
            hash: Sha256::new(),
            last: Vec::new(),
            is_complete: false,
        })
    }

    /// Adds what has come.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.last.extend_from_slice(bytes);
        let before = self.last.len().saturating_sub(HASH_BYTES as usize);
        self.hash.update(&self.last[..before]);
        self.last.drain(..before);
        Ok(())
    }

    /// Makes it durable under its name, if it is whole. Says how many bytes it has.
    ///
    /// # Errors
    /// If something is missing or damaged, or the disk refuses. Then there is no such file, or the one of before.
    pub fn finish(mut self) -> Result<u64, String> {
        if self.bytes % SECTOR_BYTES != HASH_BYTES {
            return Err(format!("{} bytes have come, which is not all of it", self.bytes));
        }
        let hash: [u8; 32] = self.hash.clone().finalize().into();
        if self.last != hash {
            return Err("what has come is damaged: its hash is another".to_owned());
        }
        whole_file::complete(&self.file, &self.part, &self.path)
            .map_err(|error| format!("{}: {error}", self.path.display()))?;
        self.is_complete = true;
        Ok(self.bytes)
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if !self.is_complete {
            // Whoever finds it later finds by its name that it is none.
            let _ = fs::remove_file(&self.part);
        }
    }
}
