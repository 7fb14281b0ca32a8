//! A segment, read: its head, its checkpoint, its records, and where they end.
//!
//! ```text
//!  ┌──────┬───────┬─────┬───────┬────────┬─────┬────────┬────────────┐
//!  │ head │ state │  …  │ carry │ record │  …  │ record │ zeros      │
//!  └──────┴───────┴─────┴───────┴────────┴─────┴────────┴────────────┘
//!  └──────── checkpoint ────────┘└ rest of the first batch, others ┘
//! ```
//!
//! The checkpoint tells of every group what is needed to do without the segments before
//! [`Head::oldest`](crate::record::Head). It counts as a whole or not at all.

use quorate_planted::planted;

use crate::record::{ALIGNMENT, Body, Cause, Flaw, Head, Header, Link};

/// No segment is longer. A longer file is not ours, and not read into memory.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// The bytes of a segment.
#[derive(Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) number: u64,
    pub(crate) bytes: &'a [u8],
    /// The longest body.
    pub(crate) length_max: usize,
}

/// What was found by reading a segment from its begin.
#[derive(Debug)]
pub(crate) struct Extent {
    /// The end of the last record that is good.
    pub(crate) end: usize,
    /// Where the batch of that record begins.
    pub(crate) batch: usize,
    /// What would come next.
    pub(crate) link: Option<Link>,
    /// The head, if the checkpoint is there as a whole.
    pub(crate) head: Option<Head>,
    /// What is wrong at `end`; `None` if nothing but zeros follows.
    pub(crate) flaw: Option<Flaw>,
}

/// A record with good checksums in its right place that nevertheless makes no sense. No power cut
/// does that.
#[derive(Debug)]
pub(crate) struct Senseless {
    pub(crate) offset: usize,
    pub(crate) flaw: Flaw,
}

impl Segment<'_> {
    /// Reads record after record, as long as they are good. `link` is what the first one has to
    /// continue, if known.
    pub(crate) fn read(
        &self,
        link: Option<Link>,
        mut visit: impl FnMut(&Header, Body) -> Result<(), Flaw>,
    ) -> Result<Extent, Senseless> {
        let mut extent = Extent { end: 0, batch: 0, link, head: None, flaw: None };
        // The head as read, and how many records of its checkpoint are yet to come.
        let mut checkpoint: Option<(Head, u64)> = None;
        loop {
            if is_zero(&self.bytes[extent.end..]) {
                return Ok(extent);
            }
            let (header, body, next) = match self.record(&extent) {
                Ok(record) => record,
                Err(flaw) if flaw.cause == Cause::Torn => {
                    extent.flaw = Some(flaw);
                    return Ok(extent);
                }
                Err(flaw) => return Err(Senseless { offset: extent.end, flaw }),
            };
            let senseless = |flaw| Senseless { offset: extent.end, flaw };
            let body = Body::parse(&header, body).map_err(senseless)?;
            checkpoint = Some(match (checkpoint, &body) {
                (None, Body::Head(head)) if (1..=self.number).contains(&head.oldest) => {
                    (*head, head.records)
                }
                (Some((head, left @ 1..)), Body::State { .. } | Body::Carry(_)) => (head, left - 1),
                (Some((head, 0)), Body::Record(_)) => (head, 0),
                (_, body) => {
                    let expected = if extent.end == 0 { "a head" } else { "another record" };
                    return Err(senseless(Flaw::new(expected, format!("{body:?}"))));
                }
            });
            visit(&header, body).map_err(senseless)?;
            extent.head = checkpoint.and_then(|(head, left)| (left == 0).then_some(head));
            extent.end += header.record_bytes();
            extent.batch = header.durable as usize;
            extent.link = Some(next);
        }
    }

    /// The record after those read, if it is good.
    fn record(&self, extent: &Extent) -> Result<(Header, &[u8], Link), Flaw> {
        let (header, checksum) = Header::parse(self.bytes, self.number, extent.end)?;
        if let Some(link) = extent.link.filter(|link| *link != header.link) {
            return Err(other_link(&header, link));
        }
        let batch_is_right =
            header.durable as usize == extent.batch || header.durable as usize == extent.end;
        if !batch_is_right {
            let expected = format!("a batch from {} or {}", extent.batch, extent.end);
            return Err(Flaw::new(expected, format!("one from {}", header.durable)));
        }
        let body = header.body(self.bytes, self.length_max)?;
        Ok((header, body, Link { sequence: header.link.sequence + 1, chain: checksum }))
    }

    /// A header that proves that the bytes before `offset + 1` were durable once: one from a batch that
    /// began after them.
    pub(crate) fn witness(&self, offset: usize) -> Option<Header> {
        let mut at = offset + ALIGNMENT;
        // A good header with a bad body: what lies in the body is a client's, and no header.
        if let Ok((header, _)) = Header::parse(self.bytes, self.number, offset) {
            at = at.max(offset.saturating_add(header.record_bytes()));
        }
        let places = (at..self.bytes.len()).step_by(ALIGNMENT);
        places.filter(|at| Header::may_begin(self.bytes, *at)).find_map(|at| {
            let (header, _) = Header::parse(self.bytes, self.number, at).ok()?;
            (header.durable as usize > offset).then_some(header)
        })
    }
}

/// What it means that a header in its right place doesn't continue the record before it. It may be left over
/// from a batch that was torn and cut, if the disk lost the zeros that recovery wrote over it. Then it says
/// that it belongs to a batch that began earlier. If it begins a batch, it says that the record before it was
/// durable, and no disk explains that it is another one.
pub(crate) fn other_link(header: &Header, link: Link) -> Flaw {
    let (expected, found) = (format!("{link:?}"), format!("{:?}", header.link));
    if header.durable < header.offset && !planted!(LeftoverIsSenseless) {
        Flaw::torn(expected, found)
    } else {
        Flaw::new(expected, found)
    }
}

/// A piece of zeros to compare with. A segment ends with many megabytes of them; compared piece by
/// piece, they cost next to nothing in any build.
const ZEROS: [u8; 4096] = [0; 4096];

/// Whether there are zeros only.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|piece| piece == &ZEROS[..piece.len()])
}

/// How many bytes there are up to the last that is not zero.
pub(crate) fn used_bytes(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    for piece in bytes.rchunks(ZEROS.len()) {
        end -= piece.len();
        if !is_zero(piece) {
            let last = piece.iter().rposition(|byte| *byte != 0);
            return end + last.map_or(0, |at| at + 1);
        }
    }
    0
}
