//! A disk in memory that can lose its power.
//!
//! It keeps two images of everything: what a reader sees, and what is durable. A write changes the first;
//! a sync copies to the second what is *dirty*. [`MemDisk::crash`] lets the caller decide the fate of
//! every sector, length and name that is not durable, one by one, so that a test can try them all and
//! a simulator can draw them from its seed.
//!
//! The model of a sector is the usual one: 512 bytes that hold, after a power cut, the old bytes, the
//! new ones, or new ones followed by old ones. It doesn't turn to garbage, and its neighbours are left
//! alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Disk, MARK_SLOTS, PLEDGE_SLOTS};
use crate::faults::{Call, Fault, Faults};

/// The bytes of a sector.
pub const SECTOR_BYTES: usize = 512;

/// Something that is not durable when the power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// That there is a segment of this name, or that there is none.
    Name {
        /// The segment.
        segment: u64,
    },
    /// That there is a file of slots beside the segments.
    Slots {
        /// The first of the slots in it.
        first: usize,
    },
    /// The length of a segment. If lost, it is the former one.
    Length {
        /// The segment.
        segment: u64,
    },
    /// A sector that was written to.
    Sector {
        /// The segment.
        segment: u64,
        /// Where the sector begins, in bytes.
        offset: u64,
    },
    /// A sector of a slot beside the segments that was written to.
    Mark {
        /// The slot.
        slot: usize,
        /// Where in the slot the sector begins, in bytes.
        offset: u64,
    },
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is as it was before.
    Lost,
    /// It had become durable already.
    Kept,
    /// So many of the first bytes of a sector had. For a name or a length, this is [`Fate::Lost`].
    Torn(usize),
}

/// A file: its name is not its own affair.
#[derive(Clone, Default)]
struct Node {
    visible: Vec<u8>,
    durable: Vec<u8>,
    /// The sectors that the next sync copies, by number.
    dirty: BTreeSet<usize>,
}

/// A file of slots.
#[derive(Clone, Copy, Default)]
struct Beside {
    visible: bool,
    durable: bool,
}

/// The files of slots.
const BESIDE: [Range<usize>; 2] = [MARK_SLOTS, PLEDGE_SLOTS];

#[derive(Clone, Default)]
struct State {
    nodes: BTreeMap<u64, Node>,
    /// The number of the next file.
    next: u64,
    /// Segments by name: numbers of files.
    visible: BTreeMap<u64, u64>,
    durable: BTreeMap<u64, u64>,
    /// The slots beside the segments.
    marks: [Node; PLEDGE_SLOTS.end],
    /// Whether the files of the mark and of the pledge are there, and whether that is durable.
    beside: [Beside; 2],
    syncs: u64,
    directory_syncs: u64,
}

/// A disk in memory. A clone is another handle of the same disk, so that a test can keep one while
/// the log has the other.
#[derive(Clone, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
    /// Asked before the state is locked, so that it may look at the disk.
    faults: Arc<Mutex<Option<Box<dyn Faults>>>>,
}

impl fmt::Debug for MemDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let segments: BTreeMap<_, _> =
            state.visible.iter().map(|(name, at)| (name, state.nodes[at].visible.len())).collect();
        f.debug_struct("MemDisk").field("segments", &segments).field("syncs", &state.syncs).finish()
    }
}

impl MemDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds the same and shares nothing. It has no faults.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = Arc::new(Mutex::new(self.state().clone()));
        Self { state, faults: Arc::default() }
    }

    /// From now on, this decides what goes wrong, on all handles of this disk. It must not call the disk's
    /// own calls, of which each would ask it again.
    pub fn set_faults(&self, faults: impl Faults + 'static) {
        *self.faults() = Some(Box::new(faults));
    }

    /// From now on nothing goes wrong.
    pub fn clear_faults(&self) {
        *self.faults() = None;
    }

    fn faults(&self) -> MutexGuard<'_, Option<Box<dyn Faults>>> {
        self.faults.lock().expect("nobody panics while deciding on a fault")
    }

    /// What goes wrong with a call; failures are returned as such.
    fn before(&self, call: Call) -> io::Result<Option<Fault>> {
        let fault = self.faults().as_mut().and_then(|faults| faults.before(call));
        match (fault, call) {
            (Some(Fault::Fails(kind)), call) => {
                match call {
                    Call::SyncSegment { segment } => self.forget_dirty(segment),
                    Call::SyncPledge => {
                        let slots = &mut self.state().marks[PLEDGE_SLOTS];
                        slots.iter_mut().for_each(|slot| slot.dirty.clear());
                    }
                    _ => {}
                }
                Err(kind.into())
            }
            (None, _)
            | (
                Some(Fault::Lost),
                Call::SyncSegment { .. } | Call::SyncDirectory | Call::SyncPledge,
            )
            | (
                Some(Fault::Short { .. } | Fault::Lost),
                Call::Write { .. } | Call::WriteMark { .. },
            )
            | (Some(Fault::Misdirected { .. }), Call::Write { .. }) => Ok(fault),
            (Some(fault), call) => panic!("{fault:?} can't happen to {call:?}"),
        }
    }

    /// Cuts the power: asks for the fate of everything that is not durable, in ascending order, names
    /// first. What is left is durable. Logs that use the disk must not be used again.
    pub fn crash(&self, mut fate: impl FnMut(Unsynced) -> Fate) {
        let mut state = self.state();
        let State { nodes, visible, durable, marks, beside, .. } = &mut *state;
        let names: BTreeSet<u64> = visible.keys().chain(durable.keys()).copied().collect();
        for segment in names {
            let (new, old) = (visible.get(&segment).copied(), durable.get(&segment).copied());
            if new != old && fate(Unsynced::Name { segment }) == Fate::Kept {
                match new {
                    Some(node) => durable.insert(segment, node),
                    None => durable.remove(&segment),
                };
            }
        }
        visible.clone_from(durable);
        for (segment, node) in visible {
            let node = nodes.get_mut(node).expect("a name has a file");
            let grown = node.visible.len() != node.durable.len();
            if grown && fate(Unsynced::Length { segment: *segment }) == Fate::Kept {
                node.durable.resize(node.visible.len(), 0);
            }
            node.crash(|offset| fate(Unsynced::Sector { segment: *segment, offset }));
        }
        for (slots, beside) in BESIDE.into_iter().zip(beside) {
            if beside.visible && !beside.durable {
                if fate(Unsynced::Slots { first: slots.start }) != Fate::Kept {
                    slots.for_each(|slot| marks[slot] = Node::default());
                    beside.visible = false;
                }
                beside.durable = beside.visible;
            }
        }
        for (slot, node) in marks.iter_mut().enumerate() {
            // A hole in the file reads as zeros.
            node.durable.resize(node.visible.len(), 0);
            node.crash(|offset| fate(Unsynced::Mark { slot, offset }));
        }
    }

    /// Changes the durable bytes of a slot beside the segments behind the log's back. They stay as many.
    pub fn damage_mark(&self, slot: usize, change: impl FnOnce(&mut [u8])) {
        let Node { visible, durable, dirty } = &mut self.state().marks[slot];
        durable.clone_from(visible);
        change(durable);
        visible.clone_from(durable);
        dirty.clear();
    }

    /// Makes the slots durable as they are, as a system does by itself after a while.
    pub fn write_back_marks(&self) {
        let mut state = self.state();
        state.marks.iter_mut().for_each(Node::sync);
        state.beside.iter_mut().for_each(|file| file.durable = file.visible);
    }

    /// Lets the next sync of a segment skip whatever is dirty, as a system does whose sync failed:
    /// readers see the bytes, the disk doesn't have them, and nothing will bring them there unless
    /// they are written again.
    pub fn forget_dirty(&self, segment: u64) {
        let mut state = self.state();
        if let Ok(node) = state.node(segment) {
            node.dirty.clear();
        }
    }

    /// Changes the durable bytes of a segment behind the log's back. They stay as many. Readers see the
    /// change, but in sectors of which the system has something else in its cache.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn damage(&self, segment: u64, change: impl FnOnce(&mut [u8])) {
        let mut state = self.state();
        let Node { visible, durable, .. } =
            state.node(segment).expect("the segment to damage exists");
        let before = durable.clone();
        change(durable);
        let sectors = visible.chunks_mut(SECTOR_BYTES).zip(before.chunks(SECTOR_BYTES));
        for ((visible, before), durable) in sectors.zip(durable.chunks(SECTOR_BYTES)) {
            if visible == before {
                visible.copy_from_slice(durable);
            }
        }
    }

    /// Makes a segment out of bytes, durably, instead of the one that there may be.
    pub fn insert(&self, segment: u64, bytes: Vec<u8>) {
        let mut state = self.state();
        let node = Node { visible: bytes.clone(), durable: bytes, dirty: BTreeSet::new() };
        let number = state.add(segment, node);
        state.durable.insert(segment, number);
    }

    /// The numbers of the segments as readers see them, whatever goes wrong with calls.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        self.state().visible.keys().copied().collect()
    }

    /// How many data syncs there were.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// How many syncs of the directory there were.
    #[must_use]
    pub fn directory_syncs(&self) -> u64 {
        self.state().directory_syncs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the disk")
    }
}

impl Node {
    /// Asks for the fate of each sector that is not durable, given where it begins.
    fn crash(&mut self, mut fate: impl FnMut(u64) -> Fate) {
        let Self { visible, durable, dirty } = self;
        for number in std::mem::take(dirty) {
            let begin = number * SECTOR_BYTES;
            let end = (begin + SECTOR_BYTES).min(durable.len()).min(visible.len());
            // A sector beyond a length that was lost is lost with it.
            if begin >= end || visible[begin..end] == durable[begin..end] {
                continue;
            }
            let kept = match fate(begin as u64) {
                Fate::Lost => begin,
                Fate::Kept => end,
                Fate::Torn(bytes) => end.min(begin + bytes),
            };
            durable[begin..kept].copy_from_slice(&visible[begin..kept]);
        }
        visible.clone_from(durable);
    }

    fn write(&mut self, begin: usize, bytes: &[u8]) -> io::Result<()> {
        self.show(begin, bytes)?;
        let end = begin + bytes.len();
        self.dirty.extend(begin / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        Ok(())
    }

    /// Lets readers see bytes that no sync will make durable.
    fn show(&mut self, begin: usize, bytes: &[u8]) -> io::Result<()> {
        let end = begin.checked_add(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        if end > self.visible.len() {
            self.visible.resize(end, 0);
        }
        self.visible[begin..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) {
        let Self { visible, durable, dirty } = self;
        durable.resize(visible.len(), 0);
        for number in std::mem::take(dirty) {
            let begin = number * SECTOR_BYTES;
            let end = (begin + SECTOR_BYTES).min(visible.len());
            durable[begin..end].copy_from_slice(&visible[begin..end]);
        }
    }
}

impl State {
    fn node(&mut self, segment: u64) -> io::Result<&mut Node> {
        match self.visible.get(&segment) {
            Some(number) => Ok(self.nodes.get_mut(number).expect("a name has a file")),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Gives a name to a new file. Returns its number.
    fn add(&mut self, segment: u64, node: Node) -> u64 {
        let number = self.next;
        self.next += 1;
        self.nodes.insert(number, node);
        self.visible.insert(segment, number);
        number
    }
}

impl State {
    /// Writes to a place of the disk itself, behind the back of everybody, as far as there is one.
    fn write_astray(&mut self, segment: u64, offset: u64, bytes: &[u8]) {
        let Ok(Node { visible, durable, .. }) = self.node(segment) else { return };
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        for image in [visible, durable] {
            let begin = begin.min(image.len());
            let end = begin.saturating_add(bytes.len()).min(image.len());
            image[begin..end].copy_from_slice(&bytes[..end - begin]);
        }
    }
}

impl Disk for MemDisk {
    fn segments(&mut self) -> io::Result<Vec<u64>> {
        self.before(Call::Segments)?;
        Ok(self.state().visible.keys().copied().collect())
    }

    fn create(&mut self, segment: u64, bytes: u64) -> io::Result<()> {
        self.before(Call::Create { segment, bytes })?;
        let mut state = self.state();
        if state.visible.contains_key(&segment) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let length = usize::try_from(bytes).map_err(|_| io::ErrorKind::StorageFull)?;
        state.add(segment, Node { visible: vec![0; length], ..Node::default() });
        Ok(())
    }

    fn read(&mut self, segment: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.before(Call::Read { segment })?;
        let mut state = self.state();
        let node = state.node(segment)?;
        if node.visible.len() as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(node.visible.clone())
    }

    fn length(&mut self, segment: u64) -> io::Result<u64> {
        Ok(self.state().node(segment)?.visible.len() as u64)
    }

    fn read_part(&mut self, segment: u64, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.before(Call::ReadPart { segment, offset, bytes })?;
        let mut state = self.state();
        let image = &state.node(segment)?.visible;
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(image.len());
        let end = begin.saturating_add(bytes).min(image.len());
        Ok(image[begin..end].to_vec())
    }

    fn write(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let fault = self.before(Call::Write { segment, offset, bytes: bytes.len() })?;
        let begin = usize::try_from(offset).map_err(|_| io::ErrorKind::StorageFull)?;
        let mut state = self.state();
        match fault {
            None => state.node(segment)?.write(begin, bytes),
            Some(Fault::Short { written, kind }) => {
                let written = written.min(bytes.len());
                state.node(segment)?.write(begin, &bytes[..written])?;
                Err(kind.into())
            }
            Some(Fault::Misdirected { segment: other, offset }) => {
                state.node(segment)?.show(begin, bytes)?;
                state.write_astray(other, offset, bytes);
                Ok(())
            }
            Some(Fault::Lost | Fault::Fails(_)) => state.node(segment)?.show(begin, bytes),
        }
    }

    fn sync_segment(&mut self, segment: u64) -> io::Result<()> {
        let fault = self.before(Call::SyncSegment { segment })?;
        let mut state = self.state();
        let node = state.node(segment)?;
        if fault.is_none() {
            node.sync();
        }
        state.syncs += 1;
        Ok(())
    }

    fn sync_directory(&mut self) -> io::Result<()> {
        let fault = self.before(Call::SyncDirectory)?;
        let mut state = self.state();
        let State { nodes, visible, durable, beside, directory_syncs, .. } = &mut *state;
        *directory_syncs += 1;
        if fault.is_none() {
            beside.iter_mut().for_each(|file| file.durable = file.visible);
            durable.clone_from(visible);
            // Files without a name are gone for good.
            let named: BTreeSet<u64> = visible.values().copied().collect();
            nodes.retain(|number, _| named.contains(number));
        }
        Ok(())
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        self.before(Call::Remove { segment })?;
        match self.state().visible.remove(&segment) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn write_mark(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        let fault = self.before(Call::WriteMark { slot, bytes: bytes.len() })?;
        let mut state = self.state();
        let files = BESIDE.into_iter().zip(&mut state.beside);
        files.filter(|(slots, _)| slots.contains(&slot)).for_each(|(_, file)| file.visible = true);
        let node = &mut state.marks[slot];
        match fault {
            None => node.write(0, bytes),
            Some(Fault::Short { written, kind }) => {
                node.write(0, &bytes[..written.min(bytes.len())])?;
                Err(kind.into())
            }
            Some(Fault::Lost | Fault::Fails(_) | Fault::Misdirected { .. }) => node.show(0, bytes),
        }
    }

    fn read_mark(&mut self, slot: usize) -> io::Result<Vec<u8>> {
        self.before(Call::ReadMark { slot })?;
        Ok(self.state().marks[slot].visible.clone())
    }

    fn sync_pledge(&mut self) -> io::Result<()> {
        let fault = self.before(Call::SyncPledge)?;
        let mut state = self.state();
        if fault.is_none() {
            state.marks[PLEDGE_SLOTS].iter_mut().for_each(Node::sync);
        }
        Ok(())
    }
}
