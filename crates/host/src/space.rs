//! The room on the disk that a member's data lie on, and what is done before there is none.
//!
//! A full disk must not stop a member: space comes back by deletions, and those have to be written
//! too. So some is kept from being used up:
//!
//! - Below the **low-water mark** what would make the data grow is to be refused ([`Space::is_scarce`]).
//!   Deletions, compactions, the ends of leases, elections and reads go on; they live on what is left.
//! - A **reserve**, a file of zeros beside the data, is given back when even that is nearly gone, or when
//!   a write has found the disk full. It is taken again when there is room for it.
//! - The log begins segments, whose space is allocated at once. If there is none, it waits for it
//!   ([`PatientDisk`]): the member stands still, and as a leader hands its lead over, but it does not
//!   end, and nothing that it acknowledged is touched. The store waits likewise, by itself.
//!
//! The marks follow from the size of the disk, so that a small one can be used too. What other programs
//! write counts as well: the room that is left is asked for, not computed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use quorate_wal::{Disk, PLEDGE_SLOTS};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::retry_on_intr;

/// The file that is given back.
const RESERVE: &str = "reserve";

/// What is reserved on a disk that is not small: a segment of the log.
const RESERVE_BYTES_MAX: u64 = 64 << 20;

/// The low-water mark of a disk that is not small: what the tables take that are merged at once, and
/// the log on top.
const LOW_BYTES_MAX: u64 = 512 << 20;

/// How often somebody looks who waits for room.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How much room a disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that may still be written.
    pub free: u64,
}

impl Room {
    /// From where on growth is refused.
    #[must_use]
    pub fn low(self) -> u64 {
        LOW_BYTES_MAX.min(self.total / 4)
    }

    /// What is reserved.
    #[must_use]
    pub fn reserve(self) -> u64 {
        RESERVE_BYTES_MAX.min(self.total / 8)
    }
}

type Probe = dyn Fn(&Path) -> io::Result<Room> + Send + Sync;

/// The room of a member's data directory.
pub struct Space {
    directory: PathBuf,
    probe: Box<Probe>,
    is_scarce: AtomicBool,
    /// Nobody is to wait any more.
    closed: AtomicBool,
    /// Held by who creates or removes the reserve.
    reserve: Mutex<()>,
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scarce = self.is_scarce();
        f.debug_struct("Space")
            .field("directory", &self.directory)
            .field("scarce", &scarce)
            .finish()
    }
}

impl Space {
    /// Looks at the disk of a directory, which exists, and takes the reserve if there is room for it.
    ///
    /// # Errors
    /// If the disk can't be asked.
    pub fn open(directory: &Path) -> io::Result<Arc<Self>> {
        Self::with_probe(directory, Box::new(ask))
    }

    fn with_probe(directory: &Path, probe: Box<Probe>) -> io::Result<Arc<Self>> {
        let space = Self {
            directory: directory.to_owned(),
            probe,
            is_scarce: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            reserve: Mutex::new(()),
        };
        space.look()?;
        Ok(Arc::new(space))
    }

    /// Whether what makes the data grow is to be refused, as it was at the last look.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        self.is_scarce.load(Ordering::Relaxed)
    }

    /// Looks at the disk; to be called every second or so. Gives the reserve back or takes it, as there
    /// is room. Returns how much there is, without the reserve.
    ///
    /// # Errors
    /// If the disk can't be asked.
    pub fn look(&self) -> io::Result<Room> {
        let room = (self.probe)(&self.directory)?;
        let (low, reserve) = (room.low(), room.reserve());
        let held = self.reserve_bytes();
        // Without the reserve, the mark is as much further up: what was given back does not count as
        // room for growth. And some more to leave scarcity than to enter it, so that it does not
        // flicker.
        let mark = low + reserve.saturating_sub(held);
        let mark = if self.is_scarce() { mark + low / 8 } else { mark };
        self.is_scarce.store(room.free < mark, Ordering::Relaxed);
        if held > 0 && room.free < low / 4 {
            self.release();
        } else if held < reserve && room.free >= low + reserve {
            self.take(reserve);
        }
        Ok(room)
    }

    /// Gives the reserve back. Says whether there was one.
    pub fn release(&self) -> bool {
        let _alone = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        fs::remove_file(self.path()).is_ok()
    }

    /// Takes the reserve. One that can't be had now may be had later.
    fn take(&self, bytes: u64) {
        let _alone = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        let options = OpenOptions::new().write(true).create(true).truncate(true).clone();
        if options.open(self.path()).and_then(|file| allocate(&file, bytes)).is_err() {
            let _ = fs::remove_file(self.path());
        }
    }

    fn reserve_bytes(&self) -> u64 {
        fs::metadata(self.path()).map_or(0, |reserve| reserve.len())
    }

    fn path(&self) -> PathBuf {
        self.directory.join(RESERVE)
    }

    /// Nobody waits for room any more: the member ends.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Makes room if it can, or waits a moment for it. False if waiting has no sense any more.
    fn wait(&self) -> bool {
        self.is_scarce.store(true, Ordering::Relaxed);
        if self.closed.load(Ordering::Relaxed) {
            return false;
        }
        if !self.release() {
            thread::sleep(LOOK_AGAIN);
        }
        true
    }
}

/// The room of the file system that a directory is on.
fn ask(directory: &Path) -> io::Result<Room> {
    let answer = retry_on_intr(|| statvfs(directory))?;
    let bytes = |blocks: u64| blocks.saturating_mul(answer.f_frsize);
    Ok(Room { total: bytes(answer.f_blocks), free: bytes(answer.f_bavail) })
}

/// Allocates space for a file. Where a file system has no such call there is no reserve: zeros could be
/// compressed away, or not be there when they are needed.
fn allocate(file: &File, bytes: u64) -> Result<(), io::Error> {
    Ok(retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes))?)
}

/// A disk that waits for room instead of failing.
#[derive(Debug)]
pub(crate) struct PatientDisk<D> {
    pub(crate) disk: D,
    pub(crate) space: Arc<Space>,
}

impl<D: Disk> PatientDisk<D> {
    fn patiently(&mut self, mut attempt: impl FnMut(&mut D) -> io::Result<()>) -> io::Result<()> {
        loop {
            match attempt(&mut self.disk) {
                Err(error) if is_full(&error) && self.space.wait() => {}
                other => return other,
            }
        }
    }
}

/// Whether there is no room on the disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl<D: Disk> Disk for PatientDisk<D> {
    fn segments(&mut self) -> io::Result<Vec<u64>> {
        self.disk.segments()
    }

    fn create(&mut self, segment: u64, bytes: u64) -> io::Result<()> {
        self.patiently(|disk| {
            disk.create(segment, bytes).inspect_err(|error| {
                if is_full(error) {
                    // It may be there without its space, and then could not be created again.
                    let _ = disk.remove(segment);
                }
            })
        })
    }

    fn read(&mut self, segment: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.disk.read(segment, bytes_max)
    }

    fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // The space was allocated, but not every file system keeps that promise. Nothing was synced
        // yet, so the same bytes can be written to the same place again.
        self.patiently(|disk| disk.write(segment, offset, bytes))
    }

    fn sync_segment(&mut self, segment: u64) -> io::Result<()> {
        self.disk.sync_segment(segment)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.disk.sync_directory()
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        self.disk.remove(segment)
    }

    fn read_part(&mut self, segment: u64, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.disk.read_part(segment, offset, bytes)
    }

    fn length(&mut self, segment: u64) -> io::Result<u64> {
        self.disk.length(segment)
    }

    // A mark that is not written is an older mark, which the log can live with: not worth waiting for. A
    // pledge has to be there before anybody is answered.
    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        match PLEDGE_SLOTS.contains(&slot) {
            true => self.patiently(|disk| disk.write_mark(slot, bytes)),
            false => self.disk.write_mark(slot, bytes),
        }
    }

    fn sync_pledge(&mut self) -> io::Result<()> {
        self.disk.sync_pledge()
    }

    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        self.disk.read_mark(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use quorate_wal::MemDisk;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A disk of 1 GiB of which so many bytes are free besides the reserve.
    fn space(directory: &Path, free: &Arc<AtomicU64>) -> Arc<Space> {
        let (free, reserve) = (Arc::clone(free), directory.join(RESERVE));
        let probe = move |_: &Path| {
            let held = fs::metadata(&reserve).map_or(0, |reserve| reserve.len());
            let free = free.load(Ordering::SeqCst).saturating_sub(held);
            Ok(Room { total: 1 << 30, free })
        };
        Space::with_probe(directory, Box::new(probe)).expect("it can be asked")
    }

    #[test]
    fn growth_is_refused_before_the_reserve_goes_and_comes_back_with_room() {
        let directory = tempfile::tempdir().expect("a directory");
        let free = Arc::new(AtomicU64::new(800 * MIB));
        let space = space(directory.path(), &free);
        let look = |mib: u64| {
            free.store(mib * MIB, Ordering::SeqCst);
            // Twice: what the first look does, the second sees.
            space.look().expect("it can be asked");
            space.look().expect("it can be asked");
            (space.is_scarce(), space.reserve_bytes() / MIB)
        };
        // The mark is at a quarter of the disk, and the reserve of 64 MiB comes on top.
        assert_eq!(look(800), (false, 64));
        assert_eq!(look(330), (false, 64));
        assert_eq!(look(310), (true, 64), "less than 256 MiB without the reserve");
        assert_eq!(look(330), (true, 64), "it does not flicker");
        assert_eq!(look(120), (true, 0), "the reserve is needed");
        assert_eq!(look(300), (true, 0), "what was given back is no room for growth");
        assert_eq!(look(500), (false, 64));
        assert!(space.release() && !space.release());
    }

    #[test]
    fn a_disk_that_was_always_nearly_full_has_no_reserve() {
        let directory = tempfile::tempdir().expect("a directory");
        let space = space(directory.path(), &Arc::new(AtomicU64::new(10 * MIB)));
        assert!(space.is_scarce());
        assert_eq!(space.reserve_bytes(), 0);
    }

    /// A disk that has no room for a while.
    #[derive(Debug)]
    struct Full {
        disk: MemDisk,
        refusals: u32,
    }

    impl Full {
        fn refuse(&mut self) -> io::Result<()> {
            match self.refusals.checked_sub(1) {
                None => Ok(()),
                Some(left) => {
                    self.refusals = left;
                    Err(io::ErrorKind::StorageFull.into())
                }
            }
        }
    }

    impl Disk for Full {
        fn segments(&mut self) -> io::Result<Vec<u64>> {
            self.disk.segments()
        }

        fn create(&mut self, segment: u64, bytes: u64) -> io::Result<()> {
            self.disk.create(segment, bytes)?;
            self.refuse()
        }

        fn read(&mut self, segment: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
            self.disk.read(segment, bytes_max)
        }

        fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.refuse()?;
            self.disk.write(segment, offset, bytes)
        }

        fn sync_segment(&mut self, segment: u64) -> io::Result<()> {
            self.disk.sync_segment(segment)
        }

        fn sync_directory(&mut self) -> io::Result<()> {
            self.disk.sync_directory()
        }

        fn remove(&mut self, segment: u64) -> io::Result<()> {
            self.disk.remove(segment)
        }

        fn read_part(&mut self, segment: u64, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
            self.disk.read_part(segment, offset, bytes)
        }

        fn length(&mut self, segment: u64) -> io::Result<u64> {
            self.disk.length(segment)
        }

        fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
            self.disk.write_mark(slot, bytes)
        }

        fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
            self.disk.read_mark(slot)
        }

        fn sync_pledge(&mut self) -> io::Result<()> {
            self.disk.sync_pledge()
        }
    }

    #[test]
    fn the_log_waits_for_room_and_uses_the_reserve_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let space = space(directory.path(), &Arc::new(AtomicU64::new(800 * MIB)));
        assert!(!space.is_scarce() && space.reserve_bytes() > 0);
        let disk = Full { disk: MemDisk::new(), refusals: 3 };
        let mut disk = PatientDisk { disk, space: Arc::clone(&space) };
        disk.create(1, 4096).expect("it waited");
        assert!(space.is_scarce());
        assert_eq!(space.reserve_bytes(), 0, "the reserve was given back first");
        disk.disk.refusals = 2;
        disk.write(1, 0, b"bytes").expect("it waited");
        assert_eq!(&disk.read(1, 4096).expect("it is there")[..5], b"bytes");
        space.close();
        disk.disk.refusals = 2;
        let error = disk.create(2, 4096).expect_err("nobody waits at the end");
        assert!(is_full(&error));
    }
}
