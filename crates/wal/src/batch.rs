//! Group commit: records are collected, written at once and made durable by one sync.
//!
//! A sync costs the same for one record as for a thousand, so whatever arrives while one is under way
//! shares the next. Bodies are encoded as records arrive, command bytes are copied once; headers need
//! the place in the segment and how the group stands, which is known at the commit, and are filled in
//! then.

use quorate_raft::{Entry, GroupId, Index, Record};

use crate::record::{HEADER_BYTES, Header, Kind, Link, entries_that_fit, padded, put_entries};
use crate::standing::Standing;

/// Room for as many records is kept from one batch to the next.
const KEPT_RECORDS: usize = 1024;

/// A header that is not filled in yet.
#[derive(Debug)]
struct Blank {
    /// Where in the buffer.
    at: usize,
    kind: Kind,
    group: GroupId,
    standing: Standing,
    first: Index,
    length: u32,
    body_checksum: u32,
}

/// What a header says besides its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Title {
    pub(crate) kind: Kind,
    pub(crate) group: GroupId,
    pub(crate) standing: Standing,
    /// See [`Header::first`].
    pub(crate) first: Index,
}

/// Records, one after the other, in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    blanks: Vec<Blank>,
}

impl Frames {
    /// Memory kept from one batch to the next. A burst larger than this gives it back, and small batches give back the
    /// half of what is far more than they need.
    const KEPT_BYTES: usize = 4 << 20;

    /// Adds a record whose body is what `write` appends.
    pub(crate) fn push(&mut self, title: Title, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.bytes.len();
        let begin = at + HEADER_BYTES;
        self.bytes.resize(begin, 0);
        write(&mut self.bytes);
        let length = self.bytes.len() - begin;
        self.bytes.resize(begin + padded(length), 0);
        let Title { kind, group, standing, first } = title;
        self.blanks.push(Blank {
            at,
            kind,
            group,
            standing,
            first,
            length: u32::try_from(length).expect("a record is capped below 4 GiB"),
            body_checksum: crc32fast::hash(&self.bytes[begin..]),
        });
    }

    /// Makes room for so many bytes more at once: room that is made little by little is there twice for a moment.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Replaces the body of a record by one of the same length.
    pub(crate) fn rewrite(&mut self, position: usize, body: &[u8]) {
        let blank = &mut self.blanks[position];
        let begin = blank.at + HEADER_BYTES;
        assert_eq!(body.len(), blank.length as usize, "a body of another length");
        self.bytes[begin..begin + body.len()].copy_from_slice(body);
        blank.body_checksum = crc32fast::hash(&self.bytes[begin..begin + padded(body.len())]);
    }

    /// Says how the group stands after a record.
    pub(crate) fn stand(&mut self, position: usize, standing: Standing) {
        self.blanks[position].standing = standing;
    }

    /// How many records there are.
    pub(crate) fn count(&self) -> usize {
        self.blanks.len()
    }

    /// How many bytes they take.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes there is memory for.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.bytes.capacity()
    }

    /// Fills in the headers for a place in a segment, where the batch begins at `durable`. Returns the
    /// bytes and what comes next.
    pub(crate) fn seal(
        &mut self,
        segment: u64,
        offset: u32,
        durable: u32,
        mut link: Link,
    ) -> (&[u8], Link) {
        for blank in &self.blanks {
            let place = u32::try_from(blank.at).ok().and_then(|at| offset.checked_add(at));
            let (header, checksum) = Header {
                kind: blank.kind,
                group: blank.group,
                link,
                segment,
                offset: place.expect("a segment is capped below 4 GiB"),
                durable,
                length: blank.length,
                standing: blank.standing,
                first: blank.first,
                body_checksum: blank.body_checksum,
            }
            .encode();
            self.bytes[blank.at..blank.at + HEADER_BYTES].copy_from_slice(&header);
            link = Link { sequence: link.sequence + 1, chain: checksum };
        }
        (&self.bytes, link)
    }

    pub(crate) fn clear(&mut self) {
        self.blanks.clear();
        self.blanks.shrink_to(KEPT_RECORDS);
        let (used, room) = (self.bytes.len(), self.bytes.capacity());
        self.bytes.clear();
        self.bytes.shrink_to(if used < room / 8 { room / 2 } else { room }.min(Self::KEPT_BYTES));
    }
}

/// Cuts entries into pieces that make one record each.
pub(crate) fn pieces(entries: &[Entry], length_max: usize) -> impl Iterator<Item = &[Entry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, others) = rest.split_at(entries_that_fit(rest, length_max));
        rest = others;
        Some(piece)
    })
}

/// The records since the last commit.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) frames: Frames,
    /// The same records, one by one, for what the log remembers of the groups.
    pub(crate) records: Vec<(GroupId, Record)>,
}

impl Batch {
    pub(crate) fn push(&mut self, group: GroupId, record: &Record, length_max: usize) {
        match record {
            Record::Append(entries) => {
                for piece in pieces(entries, length_max) {
                    self.push_one(group, Record::Append(piece.to_vec()));
                }
            }
            Record::HardState(_) | Record::Compact(_) | Record::Reset(_) => {
                self.push_one(group, record.clone());
            }
        }
    }

    fn push_one(&mut self, group: GroupId, record: Record) {
        let (kind, entries): (_, &[Entry]) = match &record {
            Record::HardState(_) => (Kind::HardState, &[]),
            Record::Append(entries) => (Kind::Append, entries),
            Record::Compact(_) => (Kind::Compact, &[]),
            Record::Reset(_) => (Kind::Reset, &[]),
        };
        let first = entries.first().map_or(Index(0), |entry| entry.id.index);
        let title = Title { kind, group, standing: Standing::default(), first };
        self.frames.push(title, |body| put_entries(body, entries.iter()));
        self.records.push((group, record));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.count() == 0
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.records.clear();
        self.records.shrink_to(KEPT_RECORDS);
    }
}
