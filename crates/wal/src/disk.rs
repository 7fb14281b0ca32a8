//! What the log needs from a disk, and the real one.
//!
//! The trait is small so that a disk of a test is small, and so that whoever reads the log sees
//! every way in which it can touch the outside. Segments are files named by a number; the log never
//! renames one and never writes to one that is not its last.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use quorate_planted::planted;

/// A directory of segments, with a mark beside them.
///
/// *Durable* means: there after a power cut. Nothing is, until the sync that covers it has returned
/// `Ok`; after a sync that failed, nobody knows, and asking again gives no better answer (the
/// kernel marks the pages clean, whether they were written or not). Two things become durable
/// separately, as on a real file system: what is in a segment, and that there is a segment of that
/// name.
pub trait Disk: Send + Debug {
    /// The numbers of the segments, ascending.
    ///
    /// # Errors
    /// If the directory can't be read.
    fn segments(&mut self) -> io::Result<Vec<u64>>;

    /// Creates a segment of this many zero bytes, and takes the space for them from the disk now, so
    /// that it isn't missing later. Nothing is durable yet.
    ///
    /// # Errors
    /// If there is one of that name, or no space.
    fn create(&mut self, segment: u64, bytes: u64) -> io::Result<()>;

    /// Everything in a segment.
    ///
    /// # Errors
    /// If it can't be read, or with [`io::ErrorKind::FileTooLarge`] if it is longer than `bytes_max`.
    fn read(&mut self, segment: u64, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// The length of a segment, in bytes.
    ///
    /// # Errors
    /// If the system says so.
    fn length(&mut self, segment: u64) -> io::Result<u64>;

    /// A part of a segment, as it is on the disk itself where the system can be asked for that. It is
    /// shorter where the segment ends.
    ///
    /// # Errors
    /// If it can't be read.
    fn read_part(&mut self, segment: u64, offset: u64, bytes: usize) -> io::Result<Vec<u8>>;

    /// Overwrites a part of a segment. Not durable yet: after a power cut, any of the sectors may
    /// hold the old bytes, others the new ones.
    ///
    /// # Errors
    /// If not all of it could be written; a part of it may be.
    fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was written to a segment, and its length.
    ///
    /// # Errors
    /// If that isn't certain. It must not be called again then.
    fn sync_segment(&mut self, segment: u64) -> io::Result<()>;

    /// Makes durable which segments there are.
    ///
    /// # Errors
    /// If that isn't certain.
    fn sync_directory(&mut self) -> io::Result<()>;

    /// Removes a segment. Until the directory is synced, it may come back.
    ///
    /// # Errors
    /// If there is none of that name, or it can't be removed.
    fn remove(&mut self, segment: u64) -> io::Result<()>;

    /// Overwrites the begin of a slot beside the segments, one of [`MARK_SLOTS`] or [`PLEDGE_SLOTS`], with at
    /// most [`MARK_SLOT_BYTES`]. The slots lie so far apart that one damaged place is in one of them. Those of
    /// the pledge have their room once one is written. Not durable yet.
    ///
    /// # Errors
    /// If not all of it could be written; a part of it may be.
    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()>;

    /// What was written to a slot, perhaps with other bytes after it, as it is on the disk itself where the
    /// system can be asked for that; nothing if none ever was.
    ///
    /// # Errors
    /// If it can't be read.
    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>>;

    /// Makes durable what was written to the slots of the pledge; that they are there at all is an affair of the
    /// directory. (The slots of the mark become durable with time.)
    ///
    /// # Errors
    /// If that isn't certain. It must not be called again then.
    fn sync_pledge(&mut self) -> io::Result<()>;
}

/// The most bytes of a slot.
pub const MARK_SLOT_BYTES: usize = 1 << 20;
/// The slots of the mark, which is never synced.
pub const MARK_SLOTS: Range<usize> = 0..2;
/// The slots of the pledge, which always is.
pub const PLEDGE_SLOTS: Range<usize> = 2..6;

/// How often it is tried to read something before it counts as lost.
const ATTEMPTS: usize = 3;

/// Reads, and again if that fails: what a disk does not read now and then only is not damaged.
///
/// # Errors
/// What the disk said at the last attempt.
pub(crate) fn patiently<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let attempts = if planted!(ReadOnce) { 1 } else { ATTEMPTS };
    (1..attempts).find_map(|_| read().ok()).map_or_else(read, Ok)
}

/// Creates a directory and those above it, as far as they are missing, durably: a new directory is an
/// entry of its parent and becomes durable with that. Nobody but the owner may look into it: what is written
/// there are other people's data.
///
/// # Errors
/// If the system says so.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|path| !path.as_os_str().is_empty());
    let mut missing: Vec<&Path> = missing.take_while(|path| !path.is_dir()).collect();
    if missing.is_empty() {
        // It may have been created by a process that did not live to make it durable.
        missing.push(path);
    }
    for directory in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if !directory.is_dir() => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if let Some(parent) = directory.canonicalize()?.parent() {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

/// A directory of a real file system, held by this process alone.
#[derive(Debug)]
pub struct FileDisk {
    path: PathBuf,
    /// Open segments. The log writes to the last one only, so there are one or two.
    open: BTreeMap<u64, File>,
    /// The directory itself, for [`Disk::sync_directory`].
    directory: File,
    /// The mark and the pledge, once they were written to. Each has a file of its own, so that what becomes of
    /// the one, which is not synced, is not told as a failure of the other.
    beside: [Option<File>; 2],
    /// Locked as long as it is open.
    _lock: File,
}

impl FileDisk {
    /// The file that is locked. It stays there, empty.
    const LOCK: &str = "LOCK";
    /// The files of the slots, with the slots that lie in them at multiples of [`MARK_SLOT_BYTES`].
    const BESIDE: [(&str, Range<usize>); 2] = [("MARK", MARK_SLOTS), ("PLEDGE", PLEDGE_SLOTS)];

    /// Opens a directory, which is created if missing.
    ///
    /// # Errors
    /// With [`io::ErrorKind::WouldBlock`] if another process holds it; else if the system says so.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        create_directory(&path)?;
        let lock = File::create(path.join(Self::LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("the log in {} is in use by another process", path.display()),
            ),
        })?;
        let directory = File::open(&path)?;
        Ok(Self { path, open: BTreeMap::new(), directory, beside: [None, None], _lock: lock })
    }

    /// The file of a segment.
    fn path_of(&self, segment: u64) -> PathBuf {
        self.path.join(format!("{segment:016x}.wal"))
    }

    /// The number of a segment from its file name; `None` for a name that [`Self::path_of`] doesn't
    /// give, as the lock's.
    fn number_of(path: &Path) -> Option<u64> {
        let digits = path.file_name()?.to_str()?.strip_suffix(".wal")?;
        let number = u64::from_str_radix(digits, 16).ok()?;
        (format!("{number:016x}") == digits).then_some(number)
    }

    /// Where a slot lies: which file, by number and by name, and where in it.
    fn beside(slot: usize) -> (usize, &'static str, u64) {
        let mut files = Self::BESIDE.into_iter().enumerate();
        let (number, (name, slots)) =
            files.find(|(_, (_, slots))| slots.contains(&slot)).expect("there is such a slot");
        (number, name, ((slot - slots.start) * MARK_SLOT_BYTES) as u64)
    }

    fn file(&mut self, segment: u64) -> io::Result<&File> {
        use std::collections::btree_map::Entry;
        let path = self.path_of(segment);
        Ok(match self.open.entry(segment) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                entry.insert(OpenOptions::new().read(true).write(true).open(path)?)
            }
        })
    }
}

impl Disk for FileDisk {
    fn segments(&mut self) -> io::Result<Vec<u64>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            segments.extend(Self::number_of(&entry?.path()));
        }
        segments.sort_unstable();
        Ok(segments)
    }

    fn create(&mut self, segment: u64, bytes: u64) -> io::Result<()> {
        let path = self.path_of(segment);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        allocate(&file, 0, bytes)?;
        // Those before are full.
        self.open.clear();
        self.open.insert(segment, file);
        Ok(())
    }

    fn read(&mut self, segment: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = File::open(self.path_of(segment))?;
        let length = file.metadata()?.len();
        let too_large = || {
            let message = format!("more than {bytes_max} bytes");
            io::Error::new(io::ErrorKind::FileTooLarge, message)
        };
        if length > bytes_max {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| too_large())?);
        // The limit once more, should the file grow meanwhile.
        file.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn length(&mut self, segment: u64) -> io::Result<u64> {
        Ok(fs::metadata(self.path_of(segment))?.len())
    }

    fn read_part(&mut self, segment: u64, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path_of(segment))?;
        forget_cached(&file, offset, bytes);
        file.seek(io::SeekFrom::Start(offset))?;
        let mut part = Vec::with_capacity(bytes);
        file.take(bytes as u64).read_to_end(&mut part)?;
        Ok(part)
    }

    fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(segment)?.write_all_at(bytes, offset)
    }

    fn sync_segment(&mut self, segment: u64) -> io::Result<()> {
        sync(self.file(segment)?)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        self.open.remove(&segment);
        fs::remove_file(self.path_of(segment))
    }

    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        let (number, name, offset) = Self::beside(slot);
        let file = match &mut self.beside[number] {
            Some(file) => file,
            none => {
                let path = self.path.join(name);
                // What is there stays: another slot may hold the only one that is whole.
                let file =
                    OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
                if PLEDGE_SLOTS.contains(&slot) {
                    let bytes = (PLEDGE_SLOTS.len() * MARK_SLOT_BYTES) as u64;
                    allocate(&file, file.metadata()?.len(), bytes)?;
                }
                none.insert(file)
            }
        };
        file.write_all_at(bytes, offset)
    }

    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        let (number, name, offset) = Self::beside(slot);
        let mut file = match File::open(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // One that has lost its name is no place to write to.
                self.beside[number] = None;
                return Ok(Vec::new());
            }
            file => file?,
        };
        forget_cached(&file, offset, MARK_SLOT_BYTES);
        file.seek(io::SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(MARK_SLOT_BYTES as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn sync_pledge(&mut self) -> io::Result<()> {
        let [_, pledge] = &self.beside;
        pledge.as_ref().map_or(Ok(()), sync)
    }
}

/// Lets the system forget what it holds in memory of a part of a file and has on disk as well, so that the next
/// read tells what is on the disk. It is a hint: where it isn't taken, the read tells less.
fn forget_cached(file: &File, offset: u64, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Advice, fadvise};
        let length = std::num::NonZeroU64::new(bytes as u64);
        let _ = fadvise(file, offset, length, Advice::DontNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, bytes);
}

/// The one data sync of the repository. Without the "data", the kernel would also journal the time of the last
/// write, which costs a second write per batch and tells nobody anything; what is needed to read the data
/// back, as the length, is covered.
fn sync(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Takes space from the disk now for what lies after the first `length` bytes of a file, up to `bytes`. A write into it later changes neither the length nor the
/// allocation, so that its sync has less to journal; and a full disk shows here, at the beginning of
/// a segment, not in the midst of a batch.
fn allocate(file: &File, length: u64, bytes: u64) -> io::Result<()> {
    if length >= bytes {
        return Ok(());
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        // A signal may come at any time, and says nothing about the disk. The standard library's own calls
        // that can be interrupted are tried again within it.
        match rustix::io::retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes)) {
            Ok(()) => return Ok(()),
            // Not every file system can; then zeros are written.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let zeros = vec![0; 1 << 20];
    let mut offset = length;
    while offset < bytes {
        let part = (bytes - offset).min(zeros.len() as u64);
        file.write_all_at(&zeros[..part as usize], offset)?;
        offset += part;
    }
    Ok(())
}
