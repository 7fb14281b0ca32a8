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
//!  PLEDGE │ pledges 0, 2, 4 … │ the same │ pledges 1, 3, 5 … │ the same │
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

use crate::disk::{Disk, MARK_SLOT_BYTES, PLEDGE_SLOTS, patiently};
use crate::record::NUMBER_LIMIT;
use crate::recover::{OpenError, Report, failed};
use crate::salvage::Salvaged;

/// `QPLG`: the first bytes of a slot.
const MAGIC: [u8; 4] = *b"QPLG";
/// The version of a slot. What all versions share is the place of it, of the length and of the checksum.
const VERSION: u8 = 1;
/// Where what the checksum covers begins, in bytes: after the magic and the checksum.
const COVERED_FROM: usize = 8;
/// The bytes before the groups.
const HEAD_BYTES: usize = 24;
/// The bytes of a group: id, term, vote, whether it voted.
const GROUP_BYTES: usize = 32;
/// How many groups a slot can hold.
pub(crate) const GROUPS_MAX: usize = (MARK_SLOT_BYTES - HEAD_BYTES) / GROUP_BYTES;
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
    /// The terms and votes.
    groups: BTreeMap<GroupId, HardState>,
}

/// What lies in a slot.
enum Slot {
    Pledge(Pledge),
    /// What a program of another version wrote there.
    Foreign(u8),
    /// Nothing, or what is torn or damaged.
    Bad,
}

impl Pledge {
    /// The last one that a disk has; `None` if it has none.
    ///
    /// # Errors
    /// If neither copy of a place is there, and the disk doesn't read one of them: it may hold the last pledge,
    /// and that is no damage, perhaps it is back tomorrow. And if a program of another version wrote it.
    ///
    /// (A copy that can't be read beside one that a lost write left as it was is beyond what can be told.)
    pub(crate) fn read(disk: &mut dyn Disk) -> Result<Option<Self>, OpenError> {
        let mut last: Option<Self> = None;
        for place in PLACES {
            let (mut own, mut unread) = (None, None);
            for copy in place.map(|slot| patiently(|| disk.read_mark(slot))) {
                match copy.map(|bytes| Self::parse(&bytes)) {
                    Ok(Slot::Pledge(pledge)) => own = Self::later(own, Some(pledge)),
                    Ok(Slot::Foreign(version)) => return Err(foreign(version)),
                    Ok(Slot::Bad) => {}
                    Err(error) => unread = Some(error),
                }
            }
            if own.is_none()
                && let Some(error) = unread
                && !planted!(UnreadPledgePassedOver)
            {
                return Err(failed("read what was promised", error));
            }
            last = Self::later(last, own);
        }
        Ok(last)
    }

    fn later(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).max_by_key(|pledge| pledge.number)
    }

    /// The slots of its copies.
    fn place(&self) -> [usize; 2] {
        PLACES[usize::from(self.number % 2 == 1)]
    }

    /// Makes it durable.
    fn write(&self, disk: &mut dyn Disk) -> io::Result<()> {
        let bytes = self.encode();
        self.place().into_iter().try_for_each(|slot| disk.write_mark(slot, &bytes))?;
        disk.sync_pledge()
    }

    /// The bytes of a slot.
    fn encode(&self) -> Vec<u8> {
        let length = HEAD_BYTES + self.groups.len() * GROUP_BYTES;
        let mut covered = Vec::with_capacity(length - COVERED_FROM);
        covered.extend_from_slice(&u32::try_from(length).expect("a slot is capped").to_le_bytes());
        covered.extend_from_slice(&[VERSION, 0, 0, 0]);
        covered.extend_from_slice(&self.number.to_le_bytes());
        for (group, HardState { term, vote }) in &self.groups {
            let (vote, voted) = (vote.map_or(0, |node| node.0), u64::from(vote.is_some()));
            for number in [group.0, term.0, vote, voted] {
                covered.extend_from_slice(&number.to_le_bytes());
            }
        }
        let checksum = crc32fast::hash(&covered).to_le_bytes();
        [&MAGIC[..], &checksum, &covered].concat()
    }

    /// Reads a slot.
    fn parse(slot: &[u8]) -> Slot {
        match covered(slot) {
            None => Slot::Bad,
            Some((VERSION, rest)) => Self::of(rest).map_or(Slot::Bad, Slot::Pledge),
            Some((version, _)) => Slot::Foreign(version),
        }
    }

    /// What the bytes after the version say, of which the checksum is right.
    fn of(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let (number, numbers) = numbers.split_first()?;
        let (groups, []) = numbers.as_chunks::<4>() else { return None };
        let number = u64::from_le_bytes(*number);
        let groups = groups.iter().map(|group| {
            let [group, term, vote, voted] = group.map(u64::from_le_bytes);
            let vote = (voted == 1).then_some(NodeId(vote));
            (GroupId(group), HardState { term: Term(term), vote })
        });
        let groups: BTreeMap<_, _> = groups.collect();
        let is_sensible =
            number < NUMBER_LIMIT && groups.values().all(|promised| promised.term.0 < NUMBER_LIMIT);
        is_sensible.then_some(Self { number, groups })
    }

    /// A group of which the log knows less than was promised, with both.
    pub(crate) fn broken(
        &self,
        known: impl Fn(GroupId) -> HardState,
    ) -> Option<(GroupId, HardState, HardState)> {
        let promised = self.groups.iter().map(|(group, promised)| (*group, *promised));
        let told = promised.map(|(group, promised)| (group, promised, known(group)));
        let mut told = told.filter(|_| !planted!(PledgeIgnored));
        told.find(|(_, promised, known)| !known.keeps(*promised))
    }

    /// Takes back what a damaged log tells, if it tells less than was promised: nobody knows what it lost.
    pub(crate) fn doubt(pledge: Option<&Self>, groups: &mut BTreeMap<GroupId, Salvaged>) {
        let told = |group| groups.get(&group).map_or_else(HardState::default, Salvaged::hard_state);
        if pledge.is_some_and(|pledge| pledge.broken(told).is_none()) {
            return;
        }
        groups.values_mut().for_each(Salvaged::forget);
        for (group, promised) in pledge.iter().flat_map(|pledge| &pledge.groups) {
            let salvaged = groups.entry(*group).or_insert_with(Salvaged::nothing);
            salvaged.promise(*promised);
        }
    }
}

/// What the checksum of a slot covers after the version, which is given as well; `None` if it isn't right.
fn covered(slot: &[u8]) -> Option<(u8, &[u8])> {
    let (magic, rest) = slot.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*rest.first_chunk::<4>()?)).ok()?;
    // Not proven yet, so capped by the bytes that are there.
    let covered = rest.get(..length.checked_sub(COVERED_FROM)?)?;
    let is_right = *magic == MAGIC && crc32fast::hash(covered).to_le_bytes() == *checksum;
    let (head, rest) = covered.split_first_chunk::<8>()?;
    is_right.then_some((head[4], rest))
}

/// What another version of the program wrote is whole, and perhaps all members have it.
fn foreign(version: u8) -> OpenError {
    OpenError::Corrupt(Report {
        segment: 0,
        offset: 0,
        expected: format!("version {VERSION} of what was promised"),
        found: format!("version {version}"),
        because: "its checksum is right: it was written like this".into(),
    })
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

    /// The last one; `None` if there is none yet.
    pub(crate) fn last(&self) -> Option<&Pledge> {
        self.last.as_ref()
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
        if last.groups == groups { Ok(()) } else { self.pledge(disk, groups) }
    }

    /// Makes durable what the groups have promised.
    pub(crate) fn pledge(
        &mut self,
        disk: &mut dyn Disk,
        groups: BTreeMap<GroupId, HardState>,
    ) -> io::Result<()> {
        let number = self.last.as_ref().map_or(0, |last| last.number + 1);
        self.last.insert(Pledge { number, groups }).write(disk)
    }

    /// Whether both copies of the last one are as they were written.
    pub(crate) fn is_sound(&self, disk: &mut dyn Disk) -> bool {
        self.last.as_ref().is_none_or(|last| {
            let read = |slot| patiently(|| disk.read_mark(slot));
            let mut copies = last.place().into_iter().map(read);
            copies.all(|copy| {
                copy.is_ok_and(
                    |copy| matches!(Pledge::parse(&copy), Slot::Pledge(found) if found == *last),
                )
            })
        })
    }
}
