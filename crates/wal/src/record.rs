//! How a record lies in a segment: a header, then a body, both checksummed.
//!
//! The header says where the record belongs (segment and offset), when it was written (sequence),
//! what came before it (chain), **how much of the segment was durable already when it was written**,
//! and **how its group stands after it**. The watermark is what recovery needs to tell a torn tail from
//! damage; see `recover.rs`. The standing is what it needs to name what damage took; see `salvage.rs`.
//! The whole layout is in `docs/wal.md`.
//!
//! Whatever fits into the standing is told by it alone. Only entries have a body, and all entries of one
//! record have one term, so that the header of an append whose body is lost still names each of them.
//!
//! Bytes from a disk are never trusted: the length is used after the checksum of the header proved
//! it, and is capped besides.

use std::fmt;

use bytes::Bytes;
use quorate_planted::planted;
use quorate_raft::{Entry, EntryId, GroupId, Index, Membership, Payload, Record};

use crate::standing::Standing;

/// `QWAL`: the first bytes of every record.
pub(crate) const MAGIC: [u8; 4] = *b"QWAL";
/// The version of the format. A reader refuses others.
pub(crate) const VERSION: u8 = 3;
/// The length of a header.
pub(crate) const HEADER_BYTES: usize = 128;
/// Records begin at multiples of this. Bodies are filled up with zeros.
pub(crate) const ALIGNMENT: usize = 8;

/// Sequences, indexes, terms and segments stay below it, so that none of them can overflow. No log gets
/// so far in a million years, and what a peer says is believed only up to 2^62.
pub(crate) const NUMBER_LIMIT: u64 = 1 << 63;

/// What a record is about. The number is the one on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Begins a segment: what is needed to do without the earlier ones.
    Head = 1,
    /// A group as it stood when its segment began.
    State = 2,
    /// [`Record::HardState`].
    HardState = 3,
    /// [`Record::Append`], or a part of one.
    Append = 4,
    /// [`Record::Compact`].
    Compact = 5,
    /// [`Record::Reset`].
    Reset = 6,
    /// Entries that earlier segments hold already, written anew in a checkpoint.
    Carry = 7,
}

impl Kind {
    fn parse(number: u8) -> Option<Self> {
        use Kind::{Append, Carry, Compact, HardState, Head, Reset, State};
        [Head, State, HardState, Append, Compact, Reset, Carry]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// What comes next in the log, wherever it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// The number of the next record, ascending by one over the whole log.
    pub(crate) sequence: u64,
    /// The checksum of the header before it, which covers the one of its body and the one before it.
    pub(crate) chain: u32,
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Whose record; 0 in a [`Kind::Head`].
    pub(crate) group: GroupId,
    pub(crate) link: Link,
    pub(crate) segment: u64,
    /// Where in the segment the header begins.
    pub(crate) offset: u32,
    /// Where in the segment the batch of this record begins. Everything before was synced, with
    /// success, before any byte of the batch was written, and so was every earlier segment.
    pub(crate) durable: u32,
    /// The length of the body, without the zeros that fill it up.
    pub(crate) length: u32,
    /// How the group stands after this record. In a [`Kind::Carry`], as far as it is written anew.
    pub(crate) standing: Standing,
    /// In an append or a carry, the first entry; those up to the last of the standing are in the body,
    /// and have its term. In a state, the first entry of those that follow anew, or 0 if none do.
    pub(crate) first: Index,
    /// The checksum of the body, with the zeros that fill it up.
    pub(crate) body_checksum: u32,
}

impl Header {
    /// The bytes of the header, and its checksum.
    pub(crate) fn encode(&self) -> ([u8; HEADER_BYTES], u32) {
        let (standing, voted) = self.standing.encode();
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.kind as u8;
        bytes[6] = voted;
        bytes[8..16].copy_from_slice(&self.group.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.link.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.segment.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.offset.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.durable.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.length.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.link.chain.to_le_bytes());
        bytes[48..112].copy_from_slice(&standing);
        bytes[112..120].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[120..124].copy_from_slice(&self.body_checksum.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..124]);
        bytes[124..128].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// Whether there may be a header at an offset. Cheap, for whoever looks for one.
    pub(crate) fn may_begin(segment: &[u8], offset: usize) -> bool {
        segment.get(offset..).is_some_and(|bytes| bytes.starts_with(&MAGIC))
    }

    /// Reads the header at an offset of a segment, and its checksum.
    pub(crate) fn parse(segment: &[u8], number: u64, offset: usize) -> Result<(Self, u32), Flaw> {
        Self::parse_at(segment.get(offset..).unwrap_or_default(), number, offset)
    }

    /// Reads the header that these bytes, from an offset of a segment, begin with, and its checksum.
    pub(crate) fn parse_at(bytes: &[u8], number: u64, offset: usize) -> Result<(Self, u32), Flaw> {
        let Some(bytes) = bytes.get(..HEADER_BYTES) else {
            return Err(Flaw::torn("a header", "the end of the file"));
        };
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        if bytes[0..4] != MAGIC {
            let found = if bytes.iter().all(|byte| *byte == 0) { "zeros" } else { "other bytes" };
            return Err(Flaw::torn("a header, which begins with QWAL", found));
        }
        let checksum = crc32fast::hash(&bytes[..124]);
        if u32_at(124) != checksum {
            return Err(Flaw::torn(
                format!("a header with the checksum {:08x} that it says it has", u32_at(124)),
                format!("one with {checksum:08x}"),
            ));
        }
        if bytes[4] != VERSION {
            return Err(Flaw::new(format!("version {VERSION}"), format!("version {}", bytes[4])));
        }
        let Some(kind) = Kind::parse(bytes[5]) else {
            return Err(Flaw::new("a known kind of record", format!("kind {}", bytes[5])));
        };
        let header = Self {
            kind,
            group: GroupId(u64_at(8)),
            link: Link { sequence: u64_at(16), chain: u32_at(44) },
            segment: u64_at(24),
            offset: u32_at(32),
            durable: u32_at(36),
            length: u32_at(40),
            standing: Standing::parse(bytes[48..112].try_into().expect("64 bytes"), bytes[6])?,
            first: Index(u64_at(112)),
            body_checksum: u32_at(120),
        };
        // The header is intact, but is it ours? A misdirected write puts a good one in a wrong place.
        if header.segment != number || header.offset as usize != offset {
            return Err(Flaw::misplaced(
                format!("the record of segment {number}, offset {offset}"),
                format!("that of segment {}, offset {}", header.segment, header.offset),
            ));
        }
        if header.link.sequence >= NUMBER_LIMIT {
            let found = format!("{}", header.link.sequence);
            return Err(Flaw::new("a sequence that a log can reach", found));
        }
        if header.durable > header.offset {
            let found = format!("one that begins at {}, after it", header.durable);
            return Err(Flaw::new("a batch that begins before its record", found));
        }
        header.check_entries()?;
        Ok((header, checksum))
    }

    /// Whether the entries that the header names can be there, of which a body holds some.
    fn check_entries(&self) -> Result<(), Flaw> {
        let Standing { base, turn, last, .. } = self.standing;
        let first = self.first;
        let fits = match self.kind {
            Kind::Append | Kind::Carry => turn.index < first && first <= last.index,
            Kind::State => first.0 == 0 || first == base.index.next(),
            Kind::Head | Kind::HardState | Kind::Compact | Kind::Reset => first.0 == 0,
        };
        if fits {
            return Ok(());
        }
        let expected =
            format!("a first entry that a {:?} of {base}, {turn}, {last} has", self.kind);
        Err(Flaw::new(expected, format!("{first}")))
    }

    /// The entry before the first of an append or a carry.
    pub(crate) fn before(&self) -> EntryId {
        let Standing { turn, last, .. } = self.standing;
        let index = Index(self.first.0 - 1);
        if index == turn.index { turn } else { EntryId { term: last.term, index } }
    }

    /// How many bytes the record takes.
    pub(crate) fn record_bytes(&self) -> usize {
        HEADER_BYTES + padded(self.length as usize)
    }

    /// The body, if it is whole.
    pub(crate) fn body<'a>(&self, segment: &'a [u8], length_max: usize) -> Result<&'a [u8], Flaw> {
        if self.length as usize > length_max {
            let expected = format!("a body of at most {length_max} bytes");
            return Err(Flaw::new(expected, format!("one of {}", self.length)));
        }
        let begin = self.offset as usize + HEADER_BYTES;
        let Some(body) = segment.get(begin..begin + padded(self.length as usize)) else {
            let expected = format!("a body of {} bytes", self.length);
            return Err(Flaw::torn(expected, "the end of the file"));
        };
        let checksum = crc32fast::hash(body);
        if checksum != self.body_checksum && !planted!(BodyChecksumIgnored) {
            return Err(Flaw::torn(
                format!("a body with the checksum {:08x}", self.body_checksum),
                format!("one with {checksum:08x}"),
            ));
        }
        Ok(&body[..self.length as usize])
    }
}

/// A length, filled up to where the next record may begin.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

/// What can explain that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An interrupted write, or damage.
    Torn,
    /// A write that went to a wrong place: the checksum is right, and it is another record.
    Misplaced,
    /// Nothing that a disk does: the checksum is right, and what it covers makes no sense.
    Senseless,
}

/// What is wrong at some place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) expected: String,
    pub(crate) found: String,
    pub(crate) cause: Cause,
}

impl Flaw {
    /// What makes no sense.
    pub(crate) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into(), cause: Cause::Senseless }
    }

    /// What an interrupted write can leave.
    pub(crate) fn torn(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { cause: Cause::Torn, ..Self::new(expected, found) }
    }

    /// What a misdirected write can leave.
    pub(crate) fn misplaced(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { cause: Cause::Misplaced, ..Self::new(expected, found) }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

/// The body of a [`Kind::Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The first segment that is still needed once this head is durable.
    pub(crate) oldest: u64,
    /// How many records after the head belong to the checkpoint. Without all of them the head is
    /// void.
    pub(crate) records: u64,
}

/// What a record says, with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Head(Head),
    /// The group stands as the header says; `carried` if its entries follow anew.
    State {
        carried: bool,
    },
    /// Entries that follow anew.
    Carry(Vec<Entry>),
    Record(Record),
}

/// The bytes that an entry takes in a body besides its command or membership.
const ENTRY_BYTES: usize = 8;

/// How many bytes an entry takes in the body of an append.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_BYTES
        + match &entry.payload {
            Payload::Noop => 0,
            Payload::Command(command) => command.len(),
            Payload::Membership(membership) => membership.encoded_bytes(),
        }
}

/// How many of these entries, of which there is at least one, go into one body: as many as fit and are of
/// one term.
///
/// # Panics
/// If the first one doesn't fit: whoever lets commands in must cap them.
pub(crate) fn entries_that_fit(entries: &[Entry], length_max: usize) -> usize {
    let mut length = 0;
    let term = entries[0].id.term;
    let fit = entries
        .iter()
        .take_while(|entry| {
            length += entry_bytes(entry);
            length <= length_max && entry.id.term == term
        })
        .count();
    assert!(
        fit > 0,
        "entry {} takes {length} bytes of a record, and {length_max} is the limit",
        entries[0].id
    );
    fit
}

pub(crate) fn put_head(out: &mut Vec<u8>, Head { oldest, records }: Head) {
    out.extend_from_slice(&oldest.to_le_bytes());
    out.extend_from_slice(&records.to_le_bytes());
}

/// Writes entries of one term.
pub(crate) fn put_entries<'a>(out: &mut Vec<u8>, entries: impl Iterator<Item = &'a Entry>) {
    for entry in entries {
        let (tag, bytes) = match &entry.payload {
            Payload::Noop => (0_u32, Bytes::new()),
            Payload::Command(command) => (1, command.clone()),
            Payload::Membership(membership) => (2, membership.encode().into()),
        };
        let length = u32::try_from(bytes.len()).expect("an entry is capped below 4 GiB");
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&bytes);
    }
}

impl Body {
    /// Reads a body whose checksum is right. It is nevertheless not trusted: what it says must make
    /// sense, to the last byte.
    pub(crate) fn parse(header: &Header, body: &[u8]) -> Result<Self, Flaw> {
        let mut fields = Fields(body);
        let Standing { hard_state, base, .. } = header.standing;
        let body = match header.kind {
            Kind::Head => Self::Head(Head { oldest: fields.u64()?, records: fields.u64()? }),
            Kind::State => Self::State { carried: header.first.0 != 0 },
            Kind::HardState => Self::Record(Record::HardState(hard_state)),
            Kind::Append => Self::Record(Record::Append(fields.entries(header)?)),
            Kind::Compact => Self::Record(Record::Compact(base)),
            Kind::Reset => Self::Record(Record::Reset(base)),
            Kind::Carry => Self::Carry(fields.entries(header)?),
        };
        if !fields.0.is_empty() {
            let found = format!("{} bytes more", fields.0.len());
            return Err(Flaw::new(format!("the end of the body of a {:?}", header.kind), found));
        }
        Ok(body)
    }
}

/// What of a body is left to read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else {
            let expected = format!("{count} bytes more of the body");
            return Err(Flaw::new(expected, format!("{}", self.0.len())));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("4 bytes")))
    }

    fn u64(&mut self) -> Result<u64, Flaw> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("8 bytes")))
    }

    /// The entries that the header names.
    fn entries(&mut self, header: &Header) -> Result<Vec<Entry>, Flaw> {
        let (first, last) = (header.first.0, header.standing.last);
        // Each takes its share of the bytes that are there, so the header can't ask for more memory.
        if last.index.0 - first >= (self.0.len() / ENTRY_BYTES) as u64 {
            let expected = format!("entries from {first} to {last}");
            return Err(Flaw::new(expected, format!("{} bytes", self.0.len())));
        }
        (first..=last.index.0)
            .map(|index| {
                let id = EntryId { term: last.term, index: Index(index) };
                let payload = match (self.u32()?, self.u32()?) {
                    (0, 0) => Payload::Noop,
                    // A copy, so that an entry doesn't keep the whole segment in memory.
                    (1, length) => {
                        Payload::Command(Bytes::copy_from_slice(self.take(length as usize)?))
                    }
                    (2, length) => {
                        let membership = Membership::decode(self.take(length as usize)?);
                        let nonsense = || Flaw::new("a membership", "bytes that are none");
                        Payload::Membership(membership.ok_or_else(nonsense)?.into())
                    }
                    (tag, length) => {
                        let found = format!("tag {tag}, length {length}");
                        return Err(Flaw::new("a command, a membership or nothing", found));
                    }
                };
                Ok(Entry { id, payload })
            })
            .collect()
    }
}
