//! A file as bbolt's reader wants it, and the hash of a part of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use quorate_bolt::ReadAt;
use sha2::{Digest as _, Sha256};

/// The first bytes of a file.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: File,
    pub(super) bytes: u64,
}

impl ReadAt for Part {
    fn size(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        self.file.read_exact_at(into, offset).map_err(|error| error.to_string())
    }
}

impl Part {
    /// Its SHA-256.
    pub(super) fn hash(&self) -> io::Result<[u8; 32]> {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < self.bytes {
            let length = (self.bytes - at).min(buffer.len() as u64) as usize;
            self.file.read_exact_at(&mut buffer[..length], at)?;
            hash.update(&buffer[..length]);
            at += length as u64;
        }
        Ok(hash.finalize().into())
    }
}
