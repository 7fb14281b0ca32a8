//! The directory of a store: its lock, and the pointer to the generation in force.
//!
//! ```text
//! lock                     held by the process that has the store open
//! generation               which tree is in force: magic | number | checksum
//! 0000000000000001.tree/   one tree; a higher number only while a snapshot is being installed
//! ```
//!
//! A process may end between giving a file its name and making that name durable. The next one finds the
//! name in the memory of the kernel; before it builds on it, or removes what it replaces, it makes it
//! durable itself.
//!
//! Installing a snapshot builds the next generation beside the current one and then switches the
//! pointer, so a crash leaves one or the other, never a mixture.

use crate::{
    error::{damaged, of_io, of_read},
    reading::{is_unreadable, read_file},
};
use lsm_tree::file::{fsync_directory, rewrite_atomic};
use quorate_mvcc::engine::EngineError;
use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) const LOCK: &str = "lock";
const POINTER: &str = "generation";
const TREE_SUFFIX: &str = ".tree";
const MAGIC: &[u8; 8] = b"quorate1";
const POINTER_BYTES: usize = 8 + 8 + 8;

/// Keeps a directory to ourselves, as long as one clone lives.
#[derive(Clone)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] Arc<File>);

/// Creates a directory and those above it, as far as they are missing. All of their names are durable then,
/// its own also if it was there.
fn create_durably(dir: &Path) -> std::io::Result<()> {
    let named = dir.ancestors().take_while(|path| !path.as_os_str().is_empty());
    let missing = named.take_while(|path| !path.is_dir()).count();
    fs::create_dir_all(dir)?;
    let dir = dir.canonicalize()?;
    dir.ancestors().skip(1).take(missing.max(1)).try_for_each(fsync_directory)
}

/// A store's directory, locked against everybody else.
pub(crate) struct Files {
    dir: PathBuf,
    lock: Lock,
}

impl Files {
    /// Creates the directory if need be, and locks it.
    ///
    /// # Errors
    /// If somebody has it open, which includes views of an engine in this process that was dropped;
    /// or the disk refuses.
    pub(crate) fn lock(dir: &Path) -> Result<Self, EngineError> {
        let io = |error: std::io::Error| of_io(dir.display(), &error);
        create_durably(dir).map_err(io)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK))
            .map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), lock: Lock(Arc::new(lock)) }),
            Err(TryLockError::WouldBlock) => Err(EngineError::Io(format!(
                "{}: this store is in use, by another process or by a view of this one",
                dir.display()
            ))),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    /// Extends the lock to whoever holds what this returns.
    pub(crate) fn share_lock(&self) -> Lock {
        self.lock.clone()
    }

    /// Where the tree of a generation lives.
    pub(crate) fn tree(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("{generation:016x}{TREE_SUFFIX}"))
    }

    /// The generation in force, or `None` in a store that was never used.
    ///
    /// # Errors
    /// If the pointer is damaged, or missing although there is a tree with content; or the disk refuses.
    pub(crate) fn generation(&self) -> Result<Option<u64>, EngineError> {
        fsync_directory(&self.dir).map_err(|error| of_io(self.dir.display(), &error))?;
        let path = self.dir.join(POINTER);
        let read = match read_file(&path) {
            Err(error) if is_unreadable(&error) => read_file(&path),
            other => other,
        };
        let pointer = match read {
            Ok(pointer) => pointer,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.refuse_orphans().map(|()| None);
            }
            Err(error) => return Err(of_read(path.display(), &error)),
        };
        if pointer.len() != POINTER_BYTES || !pointer.starts_with(MAGIC) {
            return Err(damaged(&path, "not a pointer to a generation"));
        }
        let (content, checksum) = pointer.split_at(POINTER_BYTES - 8);
        if xxh3_64(content).to_le_bytes() != checksum {
            return Err(damaged(&path, "the checksum does not match"));
        }
        let number = content[8..].try_into().expect("eight bytes");
        Ok(Some(u64::from_le_bytes(number)))
    }

    /// Verifies that the pointer on disk, which nobody else reads before the next start, is to this
    /// generation.
    ///
    /// # Errors
    /// If it is damaged, or gone.
    pub(crate) fn verify_pointer(&self, generation: u64) -> Result<(), EngineError> {
        match self.generation()? {
            Some(number) if number == generation => Ok(()),
            _ => Err(damaged(&self.dir.join(POINTER), "it is not what was written")),
        }
    }

    /// Without a pointer there may be the empty tree of a first start that was cut short, but
    /// nothing that holds data.
    fn refuse_orphans(&self) -> Result<(), EngineError> {
        for tree in self.trees()? {
            let tables = tree.join("tables");
            let has_tables = fs::read_dir(&tables).is_ok_and(|mut files| files.next().is_some());
            if has_tables {
                return Err(damaged(&tree, "it has tables, but the pointer to it is missing"));
            }
        }
        Ok(())
    }

    /// Makes a generation the one in force, atomically and durably.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn switch_to(&self, generation: u64) -> Result<(), EngineError> {
        let path = self.dir.join(POINTER);
        let mut pointer = Vec::with_capacity(POINTER_BYTES);
        pointer.extend_from_slice(MAGIC);
        pointer.extend_from_slice(&generation.to_le_bytes());
        let checksum = xxh3_64(&pointer);
        pointer.extend_from_slice(&checksum.to_le_bytes());
        // The entry of the tree's directory is durable before anything points to it.
        fsync_directory(&self.dir)
            .and_then(|()| rewrite_atomic(&path, &pointer))
            .map_err(|error| of_io(path.display(), &error))
    }

    /// Removes the trees of all other generations: what an interrupted installation left.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn remove_all_but(&self, generation: u64) -> Result<(), EngineError> {
        let current = self.tree(generation);
        for tree in self.trees()?.into_iter().filter(|tree| *tree != current) {
            fs::remove_dir_all(&tree).map_err(|error| of_io(tree.display(), &error))?;
        }
        Ok(())
    }

    fn trees(&self) -> Result<Vec<PathBuf>, EngineError> {
        let io = |error: std::io::Error| of_io(self.dir.display(), &error);
        let mut trees = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.to_string_lossy().ends_with(TREE_SUFFIX) {
                trees.push(path);
            }
        }
        Ok(trees)
    }
}
