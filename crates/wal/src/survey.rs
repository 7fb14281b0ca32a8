//! Everything that can still be read of a damaged log, in order, and where something is missing.
//!
//! Recovery reads a log from its begin and stops at the first flaw. Here the reading goes on: behind a
//! flaw it looks, at every place where a record may begin, for the next intact header in its right
//! place. Sequences say whether records are missing in between, be it within a segment, at the end of
//! one, or as a whole segment.
//!
//! Where the log ends is decided by the same argument as in recovery: what a watermark or the mark
//! proves to have been durable is damaged where it is flawed, and what comes after may be a torn batch and
//! is cut at its first flaw.
//!
//! A client could put forged records into a command, for the case that just the header of the record that
//! holds them is lost. So a header behind a flaw counts only if it is *proven*: it is the first of some
//! that continue each other, up to one that a mark agrees with or that is the last of all, with a whole
//! body. Several that end in another flaw have themselves only, and a client can make up several. They count
//! if their sequences leave room for what is missing on both sides, no more and no less than the bytes there
//! may have held; where just the header before them is lost, there is none. And what makes no sense
//! behind a flaw is a flaw, no reason to refuse the log: the same client would have made it up.
//!
//! What is not proven may be the record before a torn batch. So if it says that the flaw before it was
//! durable, and nothing tells how the log went on from there, the log is not said to end before the flaw:
//! its end is lost.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use quorate_planted::planted;
use quorate_raft::GroupId;

use crate::disk::Disk;
use crate::mark::{Mark, Marker};
use crate::pledge::{Pledge, Pledger};
use crate::record::{ALIGNMENT, Body, Cause, Flaw, HEADER_BYTES, Head, Header, Link};
use crate::recover::{OpenError, Report, Tail, because_of, failed, read, read_marks};
use crate::salvage::{Salvaged, salvage};
use crate::segment::{Segment, other_link, used_bytes};
use crate::standing::Standing;

/// How many reports are kept. The first ones say where to look.
const REPORTS_MAX: usize = 16;

/// A record whose header is intact.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) header: Header,
    /// What the next one has to continue.
    next: Link,
    /// `None` if the body is lost.
    pub(crate) body: Option<Body>,
}

/// What is known, in the order in which it became true.
#[derive(Debug)]
pub(crate) enum Fact {
    Piece(Piece),
    /// Records are missing here.
    Gap,
    /// How the groups stood.
    Mark(BTreeMap<GroupId, Standing>),
}

/// What everything that can be read comes to.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) groups: BTreeMap<GroupId, Salvaged>,
    pub(crate) reports: Vec<Report>,
    /// The last segment that there is, or that there was as far as is known; 0 if none.
    pub(crate) last_segment: u64,
    /// What would come next.
    pub(crate) link: Link,
    pub(crate) marker: Marker,
    pub(crate) pledger: Pledger,
}

/// A segment, read as far as it can be.
#[derive(Debug, Default)]
struct Scan {
    pieces: Vec<Piece>,
    /// What is wrong, with its places.
    flaws: Vec<(usize, Flaw)>,
    /// Everything in the segment before this place was durable, as the records in it say.
    durable: usize,
    /// The same, as headers say that are not proven.
    hinted: usize,
}

/// Headers that continue each other, seen from one of them.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// The sequence of this one.
    sequence: u64,
    /// Where the last one ends, and the sequence of what would come next.
    end: usize,
    next: u64,
    is_single: bool,
    /// Whether they end in what is known by other means.
    is_anchored: bool,
}

/// A segment, and what proves its records.
struct Source<'a> {
    segment: Segment<'a>,
    /// How far it is written.
    used: usize,
    marks: &'a [Mark],
    /// Everything that looks like a header, by place. Looked for when there is a flaw.
    runs: OnceCell<BTreeMap<usize, Run>>,
}

impl<'a> Source<'a> {
    fn new(segment: Segment<'a>, marks: &'a [Mark]) -> Self {
        let used = used_bytes(segment.bytes);
        Self { segment, used, marks, runs: OnceCell::new() }
    }

    /// An intact header at this place.
    fn header(&self, at: usize) -> Option<(Header, u32)> {
        let Segment { number, bytes, .. } = self.segment;
        Header::may_begin(bytes, at).then(|| Header::parse(bytes, number, at).ok())?
    }

    fn runs(&self) -> &BTreeMap<usize, Run> {
        self.runs.get_or_init(|| self.find_runs())
    }

    /// From the end to the begin, so that what follows a header is known before it.
    fn find_runs(&self) -> BTreeMap<usize, Run> {
        let Segment { number, bytes, length_max } = self.segment;
        let mut runs: BTreeMap<usize, Run> = BTreeMap::new();
        let mut links: BTreeMap<usize, Link> = BTreeMap::new();
        for at in (0..self.used).step_by(ALIGNMENT).rev() {
            let Some((header, checksum)) = self.header(at) else { continue };
            let place = Tail { segment: number, offset: header.offset };
            let is_marked = |mark: &Mark| (mark.end, mark.link) == (place, header.link);
            let end = at + header.record_bytes();
            let next = Link { sequence: header.link.sequence + 1, chain: checksum };
            let is_last = end >= self.used
                && (planted!(MadeUpRecordRead) || header.body(bytes, length_max).is_ok());
            let rest = runs.get(&end).filter(|_| links.get(&end) == Some(&next));
            let run = Run {
                sequence: header.link.sequence,
                end: rest.map_or(end, |rest| rest.end),
                next: rest.map_or(next.sequence, |rest| rest.next),
                is_single: rest.is_none(),
                is_anchored: is_last
                    || self.marks.iter().any(is_marked)
                    || rest.is_some_and(|rest| rest.is_anchored),
            };
            runs.insert(at, run);
            links.insert(at, header.link);
        }
        runs
    }

    /// Whether a header behind a flaw is a record's; `before` is where the last one ended, and the sequence
    /// of what was to come next.
    fn proves(&self, at: usize, before: Option<(usize, u64)>) -> bool {
        let Some(run) = self.runs().get(&at) else { return false };
        // Whether so many records can have been there.
        let fits = |(from, next): (usize, u64), (to, sequence): (usize, u64)| {
            let most = (to.saturating_sub(from) / HEADER_BYTES) as u64;
            planted!(ForgedRunRead)
                || sequence.checked_sub(next).is_some_and(|count| (1..=most).contains(&count))
        };
        if before.is_some_and(|before| !fits(before, (at, run.sequence))) {
            return false;
        }
        let anchored = || self.runs().range(run.end..).find(|(_, run)| run.is_anchored);
        run.is_anchored
            || !run.is_single
                && anchored()
                    .is_none_or(|(at, after)| fits((run.end, run.next), (*at, after.sequence)))
    }
}

impl Scan {
    /// Reads a segment. Fails with a place that makes no sense, if there is no flaw before it.
    fn of(source: &Source<'_>) -> Result<Self, (usize, Flaw)> {
        let Source { segment: Segment { number, bytes, length_max }, used, .. } = *source;
        let mut scan = Self::default();
        let mut at = 0;
        // What the next record has to continue, if the one before it is there.
        let mut expected: Option<Link> = None;
        while at < used {
            let found = Header::parse(bytes, number, at).and_then(|(header, checksum)| {
                match expected.filter(|link| *link != header.link) {
                    Some(link) => Err(other_link(&header, link)),
                    None => Ok((header, checksum)),
                }
            });
            let sound = found.and_then(|(header, checksum)| {
                let body = header.body(bytes, length_max);
                match body.and_then(|body| Body::parse(&header, body)) {
                    Ok(body) => Ok((header, checksum, Some(body))),
                    Err(flaw) if flaw.cause == Cause::Senseless => Err(flaw),
                    Err(flaw) => {
                        scan.flaws.push((at, flaw));
                        Ok((header, checksum, None))
                    }
                }
            });
            let (header, checksum, body) = match sound {
                Ok(sound) => sound,
                Err(flaw) if flaw.cause == Cause::Senseless && scan.flaws.is_empty() => {
                    return Err((at, flaw));
                }
                Err(flaw) => {
                    scan.flaws.push((at, flaw));
                    expected = None;
                    at = scan.resume(source, at);
                    continue;
                }
            };
            let next = Link { sequence: header.link.sequence + 1, chain: checksum };
            scan.durable = scan.durable.max(header.durable as usize);
            at += header.record_bytes();
            expected = Some(next);
            scan.pieces.push(Piece { header, next, body });
        }
        Ok(scan)
    }

    /// Where the next record begins after a flaw, or the end. Notes what headers before it say that are not proven.
    fn resume(&mut self, source: &Source<'_>, flaw: usize) -> usize {
        let before = self.pieces.last().map(|Piece { header, next, .. }| {
            (header.offset as usize + header.record_bytes(), next.sequence)
        });
        let begin = flaw.next_multiple_of(ALIGNMENT) + ALIGNMENT;
        for at in (begin..source.used).step_by(ALIGNMENT) {
            let Some((header, _)) = source.header(at) else { continue };
            if source.proves(at, before) {
                return at;
            }
            self.hinted = self.hinted.max(header.durable as usize);
        }
        source.segment.bytes.len()
    }

    /// Whether more may have been in a segment of which all before a place was durable, up to `known` as
    /// something else tells.
    fn is_end_lost(&self, durable: usize, known: usize) -> bool {
        let end = self
            .pieces
            .last()
            .map_or(0, |Piece { header, .. }| header.offset as usize + header.record_bytes());
        (self.ends_in_flaw() && known.max(end) < durable && !planted!(EndCutSilently))
            || self.lacks_checkpoint() && known <= end
    }

    /// Whether records of the checkpoint are missing that was begun here. With the last of them went those of
    /// the batch behind it.
    fn lacks_checkpoint(&self) -> bool {
        let sequence = |piece: Option<&Piece>| piece.map_or(0, |piece| piece.header.link.sequence);
        self.head().filter(|_| !planted!(CheckpointCutShort)).is_some_and(|head| {
            sequence(self.pieces.last()) < sequence(self.pieces.first()) + head.records
        })
    }

    /// Whether no record is there after the last flaw, so that nobody knows what was.
    fn ends_in_flaw(&self) -> bool {
        let last = self.pieces.last().map_or(0, |piece| piece.header.offset as usize);
        self.flaws.last().is_some_and(|(at, _)| *at >= last)
    }

    fn head(&self) -> Option<Head> {
        match self.pieces.first() {
            Some(Piece { header, body: Some(Body::Head(head)), .. }) if header.offset == 0 => {
                Some(*head)
            }
            _ => None,
        }
    }

    /// Whether the whole checkpoint is there.
    fn is_begun(&self) -> bool {
        let Some(head) = self.head() else { return false };
        let flaw = self.flaws.first().map_or(usize::MAX, |(at, _)| *at);
        let sound = self.pieces.iter().take_while(|piece| (piece.header.offset as usize) < flaw);
        sound.count() as u64 > head.records
    }

    /// What is there of a checkpoint from its head on.
    fn into_begin(self) -> Vec<Piece> {
        if self.head().is_none() {
            return Vec::new();
        }
        let flaw = self.flaws.first().map_or(usize::MAX, |(at, _)| *at);
        self.pieces.into_iter().take_while(|piece| (piece.header.offset as usize) < flaw).collect()
    }

    /// Cuts what may be torn: what comes after the first flaw that isn't proven to be damage. Says whether
    /// anything is left.
    fn cut(&mut self, durable: usize) {
        let Some(position) = self.flaws.iter().position(|(at, _)| *at >= durable) else { return };
        let (at, _) = self.flaws[position];
        self.flaws.truncate(position);
        self.pieces.retain(|piece| (piece.header.offset as usize) < at);
    }
}

/// Reads everything.
pub(crate) fn survey(disk: &mut dyn Disk, length_max: usize) -> Result<Survey, OpenError> {
    let present = disk.segments().map_err(|e| failed("list the segments", e))?;
    let marks = read_marks(disk);
    let pledge = Pledge::read(disk)?;
    let mark = marks.iter().max_by_key(|mark| mark.number);
    let mut reports = Vec::new();
    let mut scans: Vec<(u64, Scan)> = Vec::new();
    // The first segment that is needed, as far as is known.
    let mut oldest = mark.map_or(0, |mark| mark.oldest);
    let mut is_oldest_known = mark.is_some();
    // The last segment that was written to is the only one in which something may be torn. One above it
    // whose checkpoint never became durable is none.
    let mut sealed_by: Option<u64> = None;
    // What of it is there nevertheless tells how the groups stood when it was begun.
    let mut void: Vec<Piece> = Vec::new();
    // Whether more may have been in the last segment than anything tells.
    let mut is_end_lost = false;
    for number in present.iter().rev().copied() {
        if number < oldest {
            break;
        }
        let bytes = read(disk, number)?;
        let segment = Segment { number, bytes: &bytes, length_max };
        let source = Source::new(segment, &marks);
        let mut scan = Scan::of(&source).map_err(|(at, flaw)| {
            let because = "its checksum is right: it was written like this, or elsewhere";
            OpenError::Corrupt(report(number, at, &flaw, because.into()))
        })?;
        let is_last = scans.is_empty() && sealed_by != Some(number);
        if is_last {
            let marked = mark.map_or(0, |mark| match mark.end.segment {
                segment if segment > number => usize::MAX,
                segment if segment == number => mark.end.offset as usize,
                _ => 0,
            });
            // Those before are removed only when the first batch is durable. How far it goes, a mark tells.
            let is_alone = number > 1 && present.first() == Some(&number);
            let is_told = marked > 0 && !planted!(MarkOfFirstBatchIgnored);
            let begun = if is_alone && scan.durable == 0 && !is_told { usize::MAX } else { 0 };
            let durable = scan.durable.max(scan.hinted).max(marked).max(begun);
            if durable == 0 && !scan.is_begun() {
                // As a segment is begun by a commit, the one before it is complete. (Healing leaves a
                // number out, so that what it leaves behind when it is interrupted says nothing.)
                sealed_by = number.checked_sub(1);
                void = scan.into_begin();
                continue;
            }
            scan.cut(durable);
            is_end_lost = scan.is_end_lost(durable, marked);
        } else if scans.is_empty() {
            is_end_lost = scan.ends_in_flaw() || scan.lacks_checkpoint();
        }
        if let Some(head) = scan.head() {
            is_oldest_known = true;
            oldest = oldest.max(head.oldest);
        }
        for (at, flaw) in &scan.flaws {
            let because = match mark.filter(|mark| mark.covers(number, *at)) {
                Some(mark) => because_of(mark),
                None if is_last => "a later record was written after it was durable".into(),
                None => "a later segment was begun after it was durable".into(),
            };
            reports.push(report(number, *at, flaw, because));
        }
        scans.push((number, scan));
    }
    scans.reverse();
    let begins = is_oldest_known
        && scans.first().is_some_and(|(number, scan)| *number == oldest && scan.head().is_some());
    let last_segment = present.last().copied().max(mark.map(|mark| mark.end.segment)).unwrap_or(0);
    let marker = Marker::after(&marks);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut before: Option<u64> = None;
    for (number, scan) in scans {
        let missing = before.map_or(oldest.max(1), |last| last + 1);
        if missing < number && (before.is_some() || is_oldest_known) {
            let because = format!("segment {number:016x} needs it");
            reports.push(report(missing, 0, &no_file(), because));
        }
        before = Some(number);
        // What a segment has of records that its successor has as well is left over from a batch that was torn
        // and cut, where the disk lost the zeros that recovery wrote over it.
        if let Some(head) = scan.head().and(scan.pieces.first()) {
            let begin = head.header.link.sequence;
            let end = pieces.partition_point(|piece| piece.header.link.sequence < begin);
            pieces.truncate(end);
        }
        pieces.extend(scan.pieces);
    }
    let end = pieces.last().map_or(0, |piece| piece.next.sequence);
    // One that healing began and did not finish doesn't say how they stood: its number is another.
    let continues = |piece: &Piece| {
        before.is_some_and(|last| last + 1 == piece.header.segment)
            && end <= piece.header.link.sequence
    };
    if void.first().is_some_and(continues) {
        // If something is missing at the end of the segment before, it is missing before these.
        is_end_lost = false;
        pieces.extend(void);
    }
    let mut line = Line::begin(marks, begins);
    for piece in pieces {
        let (segment, offset) = (piece.header.segment, piece.header.offset as usize);
        line.push(piece).map_err(|flaw| {
            let because = "its checksum is right, and so is that of an earlier record";
            OpenError::Corrupt(report(segment, offset, &flaw, because.into()))
        })?;
    }
    if let Some(mark) = line.marks.last().filter(|mark| mark.link.sequence > line.sequence()) {
        let (segment, offset) = (mark.end.segment, mark.end.offset as usize);
        let flaw = match before {
            Some(last) if last >= segment => Flaw::torn("more records", "zeros, or nothing"),
            _ => no_file(),
        };
        reports.push(report(segment, offset, &flaw, because_of(mark)));
    }
    reports.truncate(REPORTS_MAX);
    let (mut facts, link) = line.finish();
    if is_end_lost {
        facts.push(Fact::Gap);
    }
    let mut groups = salvage(facts);
    Pledge::doubt(pledge.as_ref(), &mut groups);
    let pledger = Pledger::after(pledge);
    Ok(Survey { groups, reports, last_segment, link, marker, pledger })
}

fn no_file() -> Flaw {
    Flaw::torn("a segment", "no such file")
}

fn report(segment: u64, offset: usize, flaw: &Flaw, because: String) -> Report {
    let Flaw { expected, found, cause: _ } = flaw.clone();
    Report { segment, offset: offset as u64, expected, found, because }
}

/// Facts, put in order.
struct Line {
    facts: Vec<Fact>,
    /// What the next record has to continue; `None` if nothing is known of what was before.
    expected: Option<Link>,
    /// The marks that are not among the facts yet, ascending.
    marks: Vec<Mark>,
}

impl Line {
    /// `begins` says that the first record will be the first one that is needed.
    fn begin(mut marks: Vec<Mark>, begins: bool) -> Self {
        marks.sort_unstable_by_key(|mark| mark.link.sequence);
        let facts = if begins { Vec::new() } else { vec![Fact::Gap] };
        Self { facts, expected: None, marks }
    }

    fn sequence(&self) -> u64 {
        self.expected.map_or(0, |link| link.sequence)
    }

    fn push(&mut self, piece: Piece) -> Result<(), Flaw> {
        let link = piece.header.link;
        match self.expected {
            None => self.marks.retain(|mark| mark.link.sequence >= link.sequence),
            Some(expected) if expected == link => {}
            Some(expected) if expected.sequence < link.sequence => self.gap(link.sequence),
            Some(expected) => {
                return Err(Flaw::new(format!("{expected:?}"), format!("{link:?}")));
            }
        }
        self.mark_at(link.sequence);
        self.expected = Some(piece.next);
        self.facts.push(Fact::Piece(piece));
        Ok(())
    }

    /// Notes that records up to this sequence are missing, and what marks tell of them.
    fn gap(&mut self, to: u64) {
        self.mark_at(self.sequence());
        self.facts.push(Fact::Gap);
        while self.marks.first().is_some_and(|mark| mark.link.sequence <= to) {
            let mark = self.marks.remove(0);
            let is_within = mark.link.sequence < to;
            self.facts.extend(mark.groups.map(Fact::Mark));
            if is_within {
                self.facts.push(Fact::Gap);
            }
        }
    }

    /// Takes over the marks up to this sequence.
    fn mark_at(&mut self, sequence: u64) {
        while self.marks.first().is_some_and(|mark| mark.link.sequence <= sequence) {
            self.facts.extend(self.marks.remove(0).groups.map(Fact::Mark));
        }
    }

    fn finish(mut self) -> (Vec<Fact>, Link) {
        let end = self.marks.last().map_or(0, |mark| mark.link.sequence);
        let link = match self.marks.last() {
            Some(mark) if end > self.sequence() => mark.link,
            _ => self.expected.unwrap_or_default(),
        };
        if end > self.sequence() {
            self.gap(end);
        } else {
            self.mark_at(end);
        }
        (self.facts, link)
    }
}
