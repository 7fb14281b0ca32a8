//! The disk between the log and [`MemDisk`]: what depends on the machine around a disk and not on the disk.
//!
//! The power fails after so many calls, in the midst of a commit; a sabotaged system confirms syncs that were
//! not done; and a host that finds no room waits and tries again. What the disk itself suffers from is in
//! `ills.rs`, and asked for by `MemDisk` beneath this. What was written where is noted, for `rot.rs` to spoil.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quorate_wal::{Disk, MemDisk};

use crate::ills::Ills;

/// What was written where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
}

/// How much longer a disk has power, and whether it tells the truth.
#[derive(Clone, Debug)]
pub(crate) struct Power {
    calls_left: Arc<AtomicU64>,
    lies: Arc<AtomicBool>,
    /// Whether a sync that fails is said to have been done.
    hides_failures: Arc<AtomicBool>,
    pub(crate) ills: Ills,
    writes: Arc<Mutex<Vec<Written>>>,
}

impl Default for Power {
    fn default() -> Self {
        Self {
            calls_left: Arc::new(AtomicU64::new(u64::MAX)),
            lies: Arc::default(),
            hides_failures: Arc::default(),
            ills: Ills::default(),
            writes: Arc::default(),
        }
    }
}

impl Power {
    /// The power fails after so many calls.
    pub(crate) fn lasts(&self, calls: u64) {
        self.calls_left.store(calls, Ordering::Relaxed);
    }

    pub(crate) fn lie(&self) {
        self.lies.store(true, Ordering::Relaxed);
    }

    pub(crate) fn hide_failures(&self) {
        self.hides_failures.store(true, Ordering::Relaxed);
    }

    /// What was written to segments since the last time that somebody asked.
    pub(crate) fn take_writes(&self) -> Vec<Written> {
        std::mem::take(&mut *self.writes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// See the module.
pub(crate) struct PoweredDisk {
    pub(crate) disk: MemDisk,
    pub(crate) power: Power,
}

impl fmt::Debug for PoweredDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl PoweredDisk {
    fn call(&self) -> io::Result<()> {
        let left = self.power.calls_left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("there is no power"));
        }
        self.power.calls_left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&mut self, sync: impl FnOnce(&mut MemDisk) -> io::Result<()>) -> io::Result<()> {
        self.call()?;
        if self.power.lies.load(Ordering::Relaxed) {
            return Ok(());
        }
        match sync(&mut self.disk) {
            Err(_) if self.power.hides_failures.load(Ordering::Relaxed) => Ok(()),
            other => other,
        }
    }

    /// Attempts something in vain as long as there is no room, and waits, as a host does (`PatientDisk` of
    /// `quorate-host`, which can't be had here: it waits for a real disk in real time). The time of
    /// waiting has passed before the call is made.
    ///
    /// # Errors
    /// If there will be no room: the process ends before that.
    fn wait_for_room(
        &mut self,
        is_new: bool,
        mut attempt: impl FnMut(&mut MemDisk) -> io::Result<()>,
    ) -> io::Result<()> {
        while self.power.ills.refuses_room(is_new) {
            attempt(&mut self.disk)?;
            if self.power.ills.is_full() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(())
    }
}

impl Disk for PoweredDisk {
    fn segments(&mut self) -> io::Result<Vec<u64>> {
        self.disk.segments()
    }

    fn create(&mut self, segment: u64, bytes: u64) -> io::Result<()> {
        self.call()?;
        // The file is there without its space, and is removed again.
        self.wait_for_room(true, |disk| {
            disk.create(segment, bytes)?;
            disk.remove(segment)
        })?;
        self.disk.create(segment, bytes)
    }

    fn read(&mut self, segment: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.disk.read(segment, bytes_max)
    }

    fn length(&mut self, segment: u64) -> io::Result<u64> {
        self.disk.length(segment)
    }

    fn read_part(&mut self, segment: u64, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.disk.read_part(segment, offset, bytes)
    }

    fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call()?;
        // Not every file system keeps the promise of space. A part is written, and then all of it.
        let half = &bytes[..bytes.len() / 2];
        self.wait_for_room(false, |disk| disk.write(segment, offset, half))?;
        self.disk.write(segment, offset, bytes)?;
        let mut writes = self.power.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.push(Written { segment, offset, bytes: bytes.len() });
        Ok(())
    }

    fn sync_segment(&mut self, segment: u64) -> io::Result<()> {
        self.sync(|disk| disk.sync_segment(segment))
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.call()?;
        self.disk.sync_directory()
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        self.call()?;
        self.disk.remove(segment)
    }

    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.call()?;
        self.disk.write_mark(slot, bytes)
    }

    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        self.disk.read_mark(slot)
    }

    fn sync_pledge(&mut self) -> io::Result<()> {
        self.sync(MemDisk::sync_pledge)
    }
}
