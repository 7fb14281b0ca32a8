//! The mark: a second, small, independent copy of how far the log is durable.
//!
//! By itself a log can't tell a last batch that was torn from one that was durable and is damaged, nor
//! whether it once went on in a segment whose file is gone. The mark tells. It lies in two *slots* of a
//! file beside the segments, far apart, and is written in turn to one and the other after the sync of a
//! commit returned:
//!
//! ```text
//!  MARK   │ slot 0: after commits 0, 2, 4 … │ … │ slot 1: after commits 1, 3, 5 … │
//! ```
//!
//! It is never synced, so it costs a commit one small write and no wait. The system's cache keeps it when
//! a process dies; a power cut may lose it, or tear it, and then an older one is found or none. All that
//! is harmless because of the one invariant: **a mark says only what is durable, for ever**. So it may say
//! too little, and then the log is judged by its own bytes; it never says too much.
//!
//! It also tells how each group stands, as each record does of its own. So a group whose last record
//! is lost is known by its mark.

use std::collections::BTreeMap;

use quorate_raft::GroupId;

use crate::disk::MARK_SLOT_BYTES;
use crate::record::{Link, NUMBER_LIMIT};
use crate::recover::Tail;
use crate::standing::{STANDING_BYTES, Standing};

/// `QMRK`: the first bytes of a slot.
const MAGIC: [u8; 4] = *b"QMRK";
/// The version of a slot.
const VERSION: u8 = 1;
/// The bytes before the groups.
const HEAD_BYTES: usize = 56;
/// The bytes of a group: id, whether it voted, standing.
const GROUP_BYTES: usize = 16 + STANDING_BYTES;
/// The bytes of the checksum.
const CHECKSUM_BYTES: usize = 4;
/// How many groups a slot can hold. Of more, a mark tells the extent only.
const GROUPS_MAX: usize = (MARK_SLOT_BYTES - HEAD_BYTES - CHECKSUM_BYTES) / GROUP_BYTES;
/// A mark up to this length is written after each commit. A longer one after as many bytes of the log as
/// make it cost a [`SHARE`]-th of them.
const CHEAP_BYTES: usize = 4096;
/// See [`CHEAP_BYTES`].
const SHARE: u64 = 16;

/// What was durable once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Counts the marks of the log. The last is in the slot `number % 2`.
    pub(crate) number: u64,
    /// The first segment that was needed.
    pub(crate) oldest: u64,
    /// Where the log ended.
    pub(crate) end: Tail,
    /// What was to come next.
    pub(crate) link: Link,
    /// How the groups stood; `None` if there were too many.
    pub(crate) groups: Option<BTreeMap<GroupId, Standing>>,
}

impl Mark {
    /// The bytes of a slot.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let count = self.groups.as_ref().map_or(0, BTreeMap::len);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + count * GROUP_BYTES + CHECKSUM_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, u8::from(self.groups.is_some()), 0, 0]);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.oldest.to_le_bytes());
        bytes.extend_from_slice(&self.end.segment.to_le_bytes());
        bytes.extend_from_slice(&self.link.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.end.offset.to_le_bytes());
        bytes.extend_from_slice(&self.link.chain.to_le_bytes());
        bytes.extend_from_slice(&(count as u64).to_le_bytes());
        for (group, standing) in self.groups.iter().flatten() {
            let (standing, voted) = standing.encode();
            bytes.extend_from_slice(&group.0.to_le_bytes());
            bytes.extend_from_slice(&u64::from(voted).to_le_bytes());
            bytes.extend_from_slice(&standing);
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a slot. `None` if it is empty, torn, damaged or of another version: it says nothing then.
    pub(crate) fn parse(slot: &[u8]) -> Option<Self> {
        let u32_at = |at: usize| Some(u32::from_le_bytes(slot.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(slot.get(at..at + 8)?.try_into().ok()?));
        if slot.get(..4)? != MAGIC || *slot.get(4)? != VERSION {
            return None;
        }
        // Not proven yet, so capped by the bytes that are there.
        let count = usize::try_from(u64_at(48)?).ok().filter(|count| *count <= GROUPS_MAX)?;
        let end = HEAD_BYTES + count * GROUP_BYTES;
        if u32_at(end)? != crc32fast::hash(slot.get(..end)?) {
            return None;
        }
        let mut groups = BTreeMap::new();
        for group in slot[HEAD_BYTES..end].chunks_exact(GROUP_BYTES) {
            let id = GroupId(u64::from_le_bytes(group[..8].try_into().ok()?));
            let standing = Standing::parse(group[16..].try_into().ok()?, group[8]).ok()?;
            groups.insert(id, standing);
        }
        let mark = Self {
            number: u64_at(8)?,
            oldest: u64_at(16)?,
            end: Tail { segment: u64_at(24)?, offset: u32_at(40)? },
            link: Link { sequence: u64_at(32)?, chain: u32_at(44)? },
            groups: (slot[5] == 1).then_some(groups),
        };
        let is_sensible = [mark.number, mark.end.segment, mark.link.sequence]
            .iter()
            .all(|number| *number < NUMBER_LIMIT)
            && mark.oldest <= mark.end.segment;
        is_sensible.then_some(mark)
    }

    /// Whether the byte at this place was durable.
    pub(crate) fn covers(&self, segment: u64, offset: usize) -> bool {
        (segment, offset as u64) < (self.end.segment, u64::from(self.end.offset))
    }
}

/// Writes marks in turn, and not too often.
#[derive(Debug, Default)]
pub(crate) struct Marker {
    /// The number of the next mark.
    next: u64,
    /// How many bytes the log had taken when the last one was written.
    written_bytes: u64,
    /// Where the log ended then.
    end: Option<Tail>,
}

impl Marker {
    /// The slot that was written last; `None` if none was since the log was opened.
    pub(crate) fn last_slot(&self) -> Option<usize> {
        self.end?;
        Some(slot_of(self.next - 1))
    }

    /// Whether these bytes are the mark that was written last.
    pub(crate) fn is_last(&self, slot: &[u8]) -> bool {
        Mark::parse(slot).is_some_and(|mark| mark.number + 1 == self.next)
    }

    /// Makes a mark due, as the last one is damaged.
    pub(crate) fn forget(&mut self) {
        self.end = None;
    }

    /// Goes on after the marks that were found.
    pub(crate) fn after(marks: &[Mark]) -> Self {
        let next = marks.iter().map(|mark| mark.number + 1).max();
        Self { next: next.unwrap_or(0), ..Self::default() }
    }

    /// Whether a mark is due, for so many groups, when the log has taken so many bytes.
    pub(crate) fn is_due(&self, end: Tail, groups: usize, written_bytes: u64) -> bool {
        let length = HEAD_BYTES + groups.min(GROUPS_MAX) * GROUP_BYTES + CHECKSUM_BYTES;
        let since = written_bytes - self.written_bytes;
        self.end != Some(end)
            && (length <= CHEAP_BYTES
                || self.end.is_none_or(|last| last.segment != end.segment)
                || since >= SHARE * length as u64)
    }

    /// The slot to write, and its bytes.
    pub(crate) fn mark(
        &mut self,
        oldest: u64,
        end: Tail,
        link: Link,
        groups: impl ExactSizeIterator<Item = (GroupId, Standing)>,
        written_bytes: u64,
    ) -> (usize, Vec<u8>) {
        let groups = (groups.len() <= GROUPS_MAX).then(|| groups.collect());
        let mark = Mark { number: self.next, oldest, end, link, groups };
        self.next += 1;
        self.end = Some(end);
        self.written_bytes = written_bytes;
        (slot_of(mark.number), mark.encode())
    }
}

/// In which slot a mark is written.
fn slot_of(number: u64) -> usize {
    usize::from(number % 2 == 1)
}
