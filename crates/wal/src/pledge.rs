//! The pledge: the term and the vote of every group, in slots of their own, synced before they count.
//!
//! A term and a vote lie in the log (`record.rs`), and what is lost in the midst of a log is missed by what
//! comes after it. The last batch has nothing after it; only the mark tells that it was there, and a power
//! cut may take the mark. Of entries that are lost so, other members have copies. Of a vote nobody has, and who
//! forgets one may give a second in the same term.
//!
//! So after a batch with a term or a vote is durable, and before anybody learns of it, what each group has
//! promised is written beside the log and synced. There are two *places*, written in turn, and each has two
//! *copies*, far apart:
//!
//! ```text
//!  MARK   │ slots 0, 1: the mark │ slots 2, 3: pledges 0, 2, 4 … │ slots 4, 5: pledges 1, 3, 5 … │
//! ```
//!
//! A power cut can spoil both copies of the one that is being written; then the one before is whole, and
//! nobody has heard of more. One damaged place spoils one copy of one. So there is one to read, always, and it
//! is the last that anybody was told of, or a later one. The first is durable before the log has a segment: a
//! log without any has lost it.
//!
//! Terms and votes in the log that fall short of the pledge show that the end of the log is lost, and
//! nobody knows with what else in it. So all groups are forgotten then, and the member rejoins; and so they are
//! if no pledge can be read.

use std::collections::BTreeMap;
use std::io;

use quorate_planted::planted;
use quorate_raft::{GroupId, HardState, NodeId, Term};

use crate::disk::{Disk, MARK_SLOT_BYTES, PLEDGE_SLOTS};
use crate::record::NUMBER_LIMIT;
use crate::recover::{OpenError, failed};
use crate::salvage::Salvaged;

/// `QPLG`: the first bytes of a slot.
const MAGIC: [u8; 4] = *b"QPLG";
/// The version of a slot.
const VERSION: u8 = 1;
/// The bytes before the groups.
const HEAD_BYTES: usize = 24;
/// The bytes of a group: id, term, vote, whether it voted.
const GROUP_BYTES: usize = 32;
/// The bytes of the checksum.
const CHECKSUM_BYTES: usize = 4;
/// How many groups a slot can hold. Of more, a pledge tells nothing but its number.
const GROUPS_MAX: usize = (MARK_SLOT_BYTES - HEAD_BYTES - CHECKSUM_BYTES) / GROUP_BYTES;
/// The slots of the copies, by whether the number is odd.
const PLACES: [[usize; 2]; 2] = {
    let first = PLEDGE_SLOTS.start;
    [[first, first + 1], [first + 2, first + 3]]
};

/// What was promised once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pledge {
    /// Counts the pledges of the log.
    number: u64,
    /// The terms and votes; `None` if there were too many groups.
    groups: Option<BTreeMap<GroupId, HardState>>,
}

impl Pledge {
    /// The last one that a disk has; `None` if it has none.
    ///
    /// # Errors
    /// If not one of the slots can be read: that is no damage, and perhaps the disk is back tomorrow.
    pub(crate) fn read(disk: &mut dyn Disk) -> Result<Option<Self>, OpenError> {
        let slots: Vec<_> =
            PLACES.as_flattened().iter().map(|slot| disk.read_mark(*slot)).collect();
        if slots.iter().all(Result::is_err) {
            let error = slots.into_iter().find_map(Result::err).expect("there are slots");
            return Err(failed("read what was promised", error));
        }
        let found = slots.into_iter().flatten().filter_map(|slot| Self::parse(&slot));
        Ok(found.max_by_key(|pledge| pledge.number))
    }

    /// The slots of its copies.
    fn place(&self) -> [usize; 2] {
        PLACES[usize::from(self.number % 2 == 1)]
    }

    /// Makes it durable.
    fn write(&self, disk: &mut dyn Disk) -> io::Result<()> {
        let bytes = self.encode();
        self.place().into_iter().try_for_each(|slot| disk.write_mark(slot, &bytes))?;
        disk.sync_mark()
    }

    /// The bytes of a slot.
    fn encode(&self) -> Vec<u8> {
        let count = self.groups.as_ref().map_or(0, BTreeMap::len);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + count * GROUP_BYTES + CHECKSUM_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, u8::from(self.groups.is_some()), 0, 0]);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&(count as u64).to_le_bytes());
        for (group, HardState { term, vote }) in self.groups.iter().flatten() {
            let vote = (vote.map_or(0, |node| node.0), u64::from(vote.is_some()));
            for number in [group.0, term.0, vote.0, vote.1] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a slot. `None` if it is empty, torn, damaged or of another version.
    fn parse(slot: &[u8]) -> Option<Self> {
        let u64_at = |at: usize| Some(u64::from_le_bytes(slot.get(at..at + 8)?.try_into().ok()?));
        if slot.get(..4)? != MAGIC || *slot.get(4)? != VERSION {
            return None;
        }
        // Not proven yet, so capped by the bytes that are there.
        let count = usize::try_from(u64_at(16)?).ok().filter(|count| *count <= GROUPS_MAX)?;
        let end = HEAD_BYTES + count * GROUP_BYTES;
        let checksum = slot.get(end..end + CHECKSUM_BYTES)?;
        if checksum != crc32fast::hash(&slot[..end]).to_le_bytes() {
            return None;
        }
        let mut groups = BTreeMap::new();
        for at in (HEAD_BYTES..end).step_by(GROUP_BYTES) {
            let (term, vote) = (Term(u64_at(at + 8)?), NodeId(u64_at(at + 16)?));
            let vote = (u64_at(at + 24)? == 1).then_some(vote);
            groups.insert(GroupId(u64_at(at)?), HardState { term, vote });
        }
        let number = u64_at(8)?;
        let is_sensible =
            number < NUMBER_LIMIT && groups.values().all(|promised| promised.term.0 < NUMBER_LIMIT);
        is_sensible.then(|| Self { number, groups: (slot[5] == 1).then_some(groups) })
    }

    /// A group of which the log knows less than was promised, with both.
    pub(crate) fn broken(
        &self,
        known: impl Fn(GroupId) -> HardState,
    ) -> Option<(GroupId, HardState, HardState)> {
        let promised = self.groups.iter().flatten().map(|(group, promised)| (*group, *promised));
        let told = promised.map(|(group, promised)| (group, promised, known(group)));
        let mut told = told.filter(|_| !planted!(PledgeIgnored));
        told.find(|(_, promised, known)| !is_kept(*known, *promised))
    }

    /// Takes back what a damaged log tells, if it tells less than was promised: nobody knows what it lost.
    pub(crate) fn doubt(pledge: Option<&Self>, groups: &mut BTreeMap<GroupId, Salvaged>) {
        let told = |group| groups.get(&group).map_or_else(HardState::default, Salvaged::hard_state);
        if pledge.is_some_and(|pledge| pledge.broken(told).is_none()) {
            return;
        }
        groups.values_mut().for_each(Salvaged::forget);
        for (group, promised) in
            pledge.and_then(|pledge| pledge.groups.as_ref()).into_iter().flatten()
        {
            let salvaged = groups.entry(*group).or_insert_with(Salvaged::nothing);
            salvaged.promise(*promised);
        }
    }
}

/// Whether a term and a vote are those that were promised, or later ones.
pub(crate) fn is_kept(known: HardState, promised: HardState) -> bool {
    known.term > promised.term
        || known.term == promised.term && (promised.vote.is_none() || known.vote == promised.vote)
}

/// Writes pledges in turn.
#[derive(Debug, Default)]
pub(crate) struct Pledger {
    /// The last one.
    last: Option<Pledge>,
}

impl Pledger {
    /// Goes on after the one that was found.
    pub(crate) fn after(last: Option<Pledge>) -> Self {
        Self { last }
    }

    /// Whether there is none yet.
    pub(crate) fn is_new(&self) -> bool {
        self.last.is_none()
    }

    /// Makes durable what the groups of a log that was just opened have promised. What was found was perhaps in
    /// the cache of the system only, and the next one will take the place of the one before: so it is written
    /// to its place once more, which also mends a copy that was damaged.
    pub(crate) fn renew(
        &mut self,
        disk: &mut dyn Disk,
        groups: BTreeMap<GroupId, HardState>,
    ) -> io::Result<()> {
        let Some(last) = &self.last else { return self.pledge(disk, groups) };
        last.write(disk)?;
        if last.groups.as_ref() == Some(&groups) { Ok(()) } else { self.pledge(disk, groups) }
    }

    /// Makes durable what the groups have promised.
    pub(crate) fn pledge(
        &mut self,
        disk: &mut dyn Disk,
        groups: BTreeMap<GroupId, HardState>,
    ) -> io::Result<()> {
        let number = self.last.as_ref().map_or(0, |last| last.number + 1);
        let groups = (groups.len() <= GROUPS_MAX).then_some(groups);
        self.last.insert(Pledge { number, groups }).write(disk)
    }

    /// Whether both copies of the last one are as they were written.
    pub(crate) fn is_sound(&self, disk: &mut dyn Disk) -> bool {
        self.last.as_ref().is_none_or(|last| {
            let mut copies = last.place().into_iter().map(|slot| disk.read_mark(slot));
            copies.all(|copy| copy.is_ok_and(|copy| Pledge::parse(&copy).as_ref() == Some(last)))
        })
    }
}
