//! Errors of the tree and of the file system, as the data model knows them.

use crate::reading::is_unreadable;
use quorate_mvcc::engine::EngineError;
use std::{fmt::Display, io, path::Path};

/// Sorts an error of the tree into "the disk refused" and "the disk lied".
pub(crate) fn of_tree(doing: impl Display, error: lsm_tree::Error) -> EngineError {
    match error {
        lsm_tree::Error::Io(error) => of_io(doing, &error),
        lsm_tree::Error::InvalidVersion(version) => {
            EngineError::Version(format!("{doing}: the files have the format {version}"))
        }
        other => EngineError::Corrupt(format!("{doing}: {other:?}")),
    }
}

/// Sorts an error of the file system: a file that is missing or too short is damage, the rest is
/// the disk's refusal.
pub(crate) fn of_io(doing: impl Display, error: &io::Error) -> EngineError {
    let text = format!("{doing}: {error}");
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
            EngineError::Corrupt(text)
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => EngineError::Full(text),
        _ => EngineError::Io(text),
    }
}

/// Sorts an error of work on the tree that only reads. As [`of_read`].
pub(crate) fn of_tree_read(doing: impl Display, error: lsm_tree::Error) -> EngineError {
    match error {
        lsm_tree::Error::Io(error) => of_read(doing, &error),
        other => of_tree(doing, other),
    }
}

/// Sorts an error of a read that was tried again. What the disk can't give back is damage, as what is
/// not there any more; were it a refusal, the member would meet it at each start, and never be whole
/// again though others are.
pub(crate) fn of_read(doing: impl Display, error: &io::Error) -> EngineError {
    if is_unreadable(error) {
        EngineError::Corrupt(format!("{doing}: it can't be read: {error}"))
    } else {
        of_io(doing, error)
    }
}

/// The bytes of a file are not what was written.
pub(crate) fn damaged(path: &Path, what: impl Display) -> EngineError {
    EngineError::Corrupt(format!("{}: {what}", path.display()))
}
