//! Damage found while nobody asks for the data.
//!
//! A log is read when it is opened, perhaps once in a year. What went bad in between is found then, and in
//! the worst case on several members at once. So the scrubber reads everything that is durable, a piece at a
//! time, round and round, and holds it against its checksums and its chain.
//!
//! What it finds is healed at once and without anybody's help: a running log holds all entries in memory
//! (`group.rs`). A new segment carries every group that has something in the damaged segment or in one
//! before it, and these are removed, as in any checkpoint (`carry.rs`).

use std::collections::BTreeMap;

use crc32fast::Hasher;

use crate::disk::{Disk, patiently};
use crate::record::{Flaw, HEADER_BYTES, Header, Link, padded};
use crate::recover::{Report, Tail};

/// The least that is read at once, in bytes.
const PIECE_BYTES_MIN: usize = 4096;

/// What a [`Wal::scrub`](crate::Wal::scrub) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// How many bytes were read.
    pub bytes: u64,
    /// Whether a round ended: everything that was durable when it began has been read since, or is gone.
    pub is_round: bool,
    /// What was damaged. It is healed: a new segment holds what was there.
    pub damage: Option<Report>,
    /// Whether the mark or a copy of the pledge was damaged. It is written anew.
    pub is_mark_damaged: bool,
}

/// How far the reading is.
#[derive(Debug, Default)]
pub(crate) struct Scrubber {
    segment: u64,
    /// The next byte.
    offset: u64,
    /// What the next record has to continue; `None` if the one before it isn't known.
    link: Option<Link>,
    within: Within,
}

/// In the midst of what the next byte is.
#[derive(Debug, Default)]
enum Within {
    /// Where a record begins, or the zeros do.
    #[default]
    Records,
    /// A body.
    Body {
        /// Where the record begins.
        begin: u64,
        /// How many bytes of it are left, with the zeros that fill it up.
        left: usize,
        hasher: Hasher,
        checksum: u32,
    },
    /// The zeros after the last record.
    Zeros,
}

/// What came out of reading a piece.
pub(crate) enum Step {
    /// There is more.
    More,
    /// The last segment was read to the end of the log.
    End,
    Damage(Report),
}

impl Scrubber {
    /// Reads a piece: what there is of the segments, with their lengths, up to the end of the log. Adds the
    /// bytes to `read`.
    pub(crate) fn step(
        &mut self,
        disk: &mut dyn Disk,
        segments: &BTreeMap<u64, u64>,
        tail: Tail,
        next: Link,
        bytes_max: usize,
        read: &mut u64,
    ) -> Step {
        let Some((&segment, &length)) = segments.range(self.segment..).next() else {
            return self.end();
        };
        if segment != self.segment {
            *self = Self { segment, ..Self::default() };
        }
        let is_last = segment == tail.segment;
        let end = if is_last { u64::from(tail.offset) } else { length };
        let piece = bytes_max
            .max(PIECE_BYTES_MIN)
            .min(usize::try_from(end - self.offset).unwrap_or(usize::MAX));
        let bytes = match patiently(|| disk.read_part(segment, self.offset, piece)) {
            Ok(bytes) if bytes.len() == piece => bytes,
            Ok(bytes) => {
                let found = format!("{}", bytes.len());
                return self.damage(self.offset, Flaw::torn(format!("{piece} bytes"), found));
            }
            Err(error) => {
                let found = format!("an error: {error}");
                return self.damage(self.offset, Flaw::torn(format!("{piece} bytes"), found));
            }
        };
        *read += bytes.len() as u64;
        if let Err((offset, flaw)) = self.check(&bytes, self.offset + piece as u64 == end) {
            return self.damage(offset, flaw);
        }
        if self.offset < end {
            return Step::More;
        }
        let is_right = match self.within {
            Within::Records => !is_last || self.link == Some(next),
            // A record that is gone at the end of a segment is missed by the head of the next.
            Within::Zeros => !is_last,
            Within::Body { .. } => false,
        };
        if !is_right {
            return self.damage(end, Flaw::torn("the end of the last record", "another one"));
        }
        if is_last {
            return self.end();
        }
        *self = Self { segment: segment + 1, link: self.link, ..Self::default() };
        Step::More
    }

    /// Goes through the bytes, and on to where the next piece begins. `is_end` says that nothing follows.
    fn check(&mut self, mut bytes: &[u8], is_end: bool) -> Result<(), (u64, Flaw)> {
        while !bytes.is_empty() {
            let taken = match &mut self.within {
                Within::Zeros => {
                    if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
                        let place = self.offset + at as u64;
                        return Err((place, Flaw::torn("zeros", "other bytes")));
                    }
                    bytes.len()
                }
                Within::Body { begin, left, hasher, checksum } => {
                    let taken = bytes.len().min(*left);
                    hasher.update(&bytes[..taken]);
                    *left -= taken;
                    if *left == 0 {
                        let (begin, checksum, found) =
                            (*begin, *checksum, hasher.clone().finalize());
                        if found != checksum {
                            let expected = format!("a body with the checksum {checksum:08x}");
                            return Err((
                                begin,
                                Flaw::torn(expected, format!("one with {found:08x}")),
                            ));
                        }
                        self.within = Within::Records;
                    }
                    taken
                }
                Within::Records if bytes.iter().take(HEADER_BYTES).all(|byte| *byte == 0) => {
                    self.within = Within::Zeros;
                    0
                }
                Within::Records if bytes.len() < HEADER_BYTES && !is_end => return Ok(()),
                Within::Records => {
                    let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
                    let (header, checksum) = Header::parse_at(bytes, self.segment, offset)
                        .map_err(|flaw| (self.offset, flaw))?;
                    if let Some(link) = self.link.filter(|link| *link != header.link) {
                        let flaw = Flaw::new(format!("{link:?}"), format!("{:?}", header.link));
                        return Err((self.offset, flaw));
                    }
                    let sequence = header.link.sequence + 1;
                    self.link = Some(Link { sequence, chain: checksum });
                    let left = padded(header.length as usize);
                    if left > 0 {
                        let (begin, checksum) = (self.offset, header.body_checksum);
                        self.within = Within::Body { begin, left, hasher: Hasher::new(), checksum };
                    }
                    HEADER_BYTES
                }
            };
            self.offset += taken as u64;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    fn damage(&mut self, offset: u64, flaw: Flaw) -> Step {
        let Flaw { expected, found, cause: _ } = flaw;
        let because = "it was durable before it was read again".into();
        let report = Report { segment: self.segment, offset, expected, found, because };
        *self = Self::default();
        Step::Damage(report)
    }

    fn end(&mut self) -> Step {
        *self = Self::default();
        Step::End
    }
}
