//! Reading files so that the disk itself answers, and telling what it can't give back.
//!
//! Most damage of a medium does not arrive as other bytes. A drive knows that a sector is bad, and a
//! file system that keeps checksums knows that a block is; both say so instead of answering. As they do
//! when a cable has come loose. So a read is tried once more: what can't be read the second time either
//! is as lost as if it were something else that stands there.

use crate::error::of_read;
use quorate_mvcc::engine::EngineError;
use quorate_planted::planted;
use rustix::io::Errno;
use std::{
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Whether an error of a *read* says that the disk can't give back what was written to it. What else
/// can go wrong with a read, as with the memory or the number of open files, says nothing about it.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    if planted!(BadSectorIsNoDamage) {
        return false;
    }
    #[cfg(target_os = "linux")]
    if let Some(Errno::UCLEAN | Errno::REMOTEIO) = Errno::from_io_error(error) {
        return true;
    }
    matches!(
        Errno::from_io_error(error),
        // The drive's word, and where a layer in between passes its kind on; a checksum of the file
        // system's; another file than was written.
        Some(Errno::IO | Errno::NODATA | Errno::ILSEQ | Errno::BADMSG | Errno::ISDIR)
    )
}

/// The same for an error of the tree.
pub(crate) fn is_tree_unreadable(error: &lsm_tree::Error) -> bool {
    matches!(error, lsm_tree::Error::Io(error) if is_unreadable(error))
}

/// Reads from the tree, once more if the disk could not.
///
/// # Errors
/// The last one.
pub(crate) fn twice<T>(mut read: impl FnMut() -> lsm_tree::Result<T>) -> lsm_tree::Result<T> {
    match read() {
        Err(error) if is_tree_unreadable(&error) => read(),
        other => other,
    }
}

/// Reads from a file, once more if the disk could not.
///
/// # Errors
/// The last one.
pub(crate) fn read_twice<T>(
    what: impl Display,
    mut read: impl FnMut() -> io::Result<T>,
) -> Result<T, EngineError> {
    let answer = match read() {
        Err(error) if is_unreadable(&error) => read(),
        other => other,
    };
    answer.map_err(|error| of_read(what, &error))
}

/// All of a small file, from the disk itself.
///
/// # Errors
/// If it can't be read.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    forget_cached(&file, 0, 0);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file to its end and keeps nothing, to find out whether that can be done.
///
/// # Errors
/// If it can't be read.
pub(crate) fn read_through(path: &Path) -> Result<(), EngineError> {
    let mut piece = vec![0; 1 << 20];
    read_twice(path.display(), || {
        let mut file = File::open(path)?;
        forget_cached(&file, 0, 0);
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    })
}

/// Lets the system forget what it holds in memory of a part of a file and has on disk as well, so that
/// the next read tells what is on the disk; of all from there on, if `bytes` is 0. It is a hint: where
/// it isn't taken, the read tells less.
pub(crate) fn forget_cached(file: &File, offset: u64, bytes: u64) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Advice, fadvise};
        let _ = fadvise(file, offset, std::num::NonZeroU64::new(bytes), Advice::DontNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, bytes);
}

/// Tells the system not to read ahead in a file: what it would bring is asked for too late to be of use,
/// and would be in memory then.
pub(crate) fn do_not_read_ahead(file: &File) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Advice, fadvise};
        let _ = fadvise(file, 0, None, Advice::Random);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn what_a_disk_says_of_a_bad_sector_is_damage_and_other_refusals_are_none() {
        for errno in [Errno::IO, Errno::BADMSG, Errno::ILSEQ, Errno::NODATA] {
            let answer = read_twice("a table", || Err::<(), _>(refused(errno)));
            assert!(matches!(&answer, Err(EngineError::Corrupt(_))), "{answer:?}");
        }
        #[cfg(target_os = "linux")]
        assert!(is_unreadable(&refused(Errno::UCLEAN)));
        for errno in [Errno::NOMEM, Errno::MFILE, Errno::ACCESS, Errno::INTR] {
            let answer = read_twice("a table", || Err::<(), _>(refused(errno)));
            assert!(matches!(&answer, Err(EngineError::Io(_))), "{answer:?}");
        }
    }

    #[test]
    fn what_can_be_read_at_the_second_attempt_is_whole() {
        let mut errors = vec![refused(Errno::IO)];
        let answer = read_twice("a table", || errors.pop().map_or(Ok(7), Err));
        assert_eq!(answer, Ok(7));
        let mut errors = vec![lsm_tree::Error::Io(refused(Errno::IO))];
        assert!(matches!(twice(|| errors.pop().map_or(Ok(7), Err)), Ok(7)));
    }

    /// The first page of a process is never there, and the system says of it what it says of a bad sector.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_can_t_be_read_is_damage() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("bad");
        std::os::unix::fs::symlink("/proc/self/mem", &path).expect("linked");
        let error = read_through(&path).expect_err("a bad sector");
        assert!(matches!(&error, EngineError::Corrupt(what) if what.contains("bad")), "{error}");
    }
}
