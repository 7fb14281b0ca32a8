//! A disk that is filmed.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use quorate_wal::{Disk, MemDisk, Wal, WalOptions};

use super::{Step, write};

/// A disk that is copied before every call that changes it: what a power cut would find.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filmed {
    pub(crate) disk: MemDisk,
    /// How many batches are acknowledged.
    pub(crate) acknowledged: Arc<AtomicUsize>,
    pub(crate) film: Arc<Mutex<Vec<(usize, MemDisk)>>>,
}

impl Filmed {
    pub(crate) fn on(disk: MemDisk) -> Self {
        Self { disk, ..Self::default() }
    }

    fn shoot(&self) {
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        self.film.lock().unwrap().push((acknowledged, self.disk.copy()));
    }

    pub(crate) fn film(&self) -> Vec<(usize, MemDisk)> {
        self.shoot();
        self.film.lock().unwrap().clone()
    }
}

impl Disk for Filmed {
    fn segments(&mut self) -> io::Result<Vec<u64>> {
        self.disk.segments()
    }

    fn create(&mut self, segment: u64, bytes: u64) -> io::Result<()> {
        self.shoot();
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
        self.shoot();
        self.disk.write(segment, offset, bytes)
    }

    fn sync_segment(&mut self, segment: u64) -> io::Result<()> {
        self.shoot();
        self.disk.sync_segment(segment)
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        self.shoot();
        self.disk.sync_directory()
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        self.shoot();
        self.disk.remove(segment)
    }

    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.shoot();
        self.disk.write_mark(slot, bytes)
    }

    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        self.disk.read_mark(slot)
    }

    fn sync_pledge(&mut self) -> io::Result<()> {
        self.shoot();
        self.disk.sync_pledge()
    }
}

/// The moments of a log to which these batches are written, with the number of those that are acknowledged.
pub(crate) fn film_with(batches: &[Vec<Step>], options: WalOptions) -> Vec<(usize, MemDisk)> {
    let filmed = Filmed::default();
    let (mut wal, _) = Wal::open_whole(Box::new(filmed.clone()), options).unwrap();
    for batch in batches {
        write(&mut wal, batch).unwrap();
        filmed.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    filmed.film()
}
