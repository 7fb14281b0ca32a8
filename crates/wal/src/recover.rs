//! What a restart makes of the segments it finds.
//!
//! # Torn or damaged?
//!
//! A power cut can leave the last batch written in part: any of its sectors may hold the new bytes, the
//! others the old. Nothing in it was acknowledged, so what is torn may go. Damage looks alike: a
//! checksum that is wrong. But what is damaged *was* acknowledged, perhaps as the one copy that made a
//! quorum, and to cut the log there is to break a promise. Most logs guess. This one argues:
//!
//! 1. A batch is written only after the one before was synced with success. So at most the last batch
//!    in the log can be torn, and nothing after it exists.
//! 2. Every record says where its batch begins: the *watermark*. That a byte of the record exists
//!    proves that all before the watermark was durable. Every segment but the last is durable as a
//!    whole, as the next one would not have been begun otherwise; the head of the next one proves with
//!    its sequence and chain where the records ended.
//! 3. Hence, when a record is bad at position P of the last segment: if any intact header after P has a
//!    watermark beyond P, or the mark (`mark.rs`) says so, then P was durable, and is **damaged**. Records
//!    after P whose watermark is at or before P belong to the same batch; they show only that the disk
//!    wrote its sectors out of order, and go with it.
//! 4. If there is no such witness, P is in the last batch of the log, and the batch is cut at P: what is
//!    before P stays. That may include records that were never acknowledged, which is harmless: Raft
//!    never unlearns for lack of an answer.
//! 5. The checkpoint of a segment is cut as a whole, with its segment. The segment before is then the
//!    last; nothing it needs was removed, as removal waits until the new head is durable. It must go on to
//!    where the head, if that is there, says that it was continued.
//! 6. Where a checksum is right and yet what it covers belongs to another place, no power cut explains
//!    it: it is damage. Where what it covers makes no sense at all, no disk explains it, and the log is
//!    refused.
//!
//! Nothing is changed on a damaged log; what can be saved of it is found out by `survey.rs` and
//! `salvage.rs`. Here a log is read as one that is sound, so that a sound one is held against itself as
//! strictly as can be: each record must lead to the standing that it tells.
//!
//! # What can't be told apart
//!
//! Where both slots of the mark are lost as well, damage to the *last* batch after it was synced looks exactly
//! as a batch torn before: nothing after it exists to witness against it. So does damage that takes
//! everything from some position to the end of the log, and a last segment whose file is gone. This is the
//! limit of the promise, and the tests draw it exactly there.
//!
//! A client could put a forged witness into a command. It would have to guess the place, and then a
//! power cut would have to lose just the header before it; what it gains is that a torn tail counts as
//! damaged. A forged record is never read as one: records are found from the begin, by their lengths.
//!
//! # Before the first new record
//!
//! What was read came perhaps from the cache of the system, not from the disk: a process may have died
//! between write and sync, or *after a sync failed*, when the pages count as clean and a new sync writes
//! nothing. Raft builds on what recovery tells, so it must be durable first: the last batch is
//! written once more, which makes its pages dirty, and synced, together with the directory.
//!
//! With it, whatever is after the cut is overwritten with zeros. Otherwise old bytes could
//! resurrect: a new batch, shorter than the torn one and torn itself, might leave the header of the
//! old one's record in view where the next belongs. After the sync, a segment is records and then
//! zeros, always. A power cut in the midst of this changes nothing: the same bytes are found or zeros,
//! and the argument is repeated with the same result.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io;

use quorate_planted::planted;
use quorate_raft::{GroupId, HardState, Recovered};

use crate::disk::{Disk, MARK_SLOTS, patiently};
use crate::group::GroupLog;
use crate::mark::{Mark, Marker};
use crate::pledge::{Pledge, Pledger};
use crate::record::{Body, Cause, Flaw, Head, Header, Kind, Link, NUMBER_LIMIT};
use crate::segment::{Extent, SEGMENT_BYTES_MAX, Segment, Senseless, used_bytes};

/// Why a log was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// The disk failed. Nothing is said about what it holds.
    Io {
        /// What was tried.
        attempt: String,
        /// What the disk said.
        source: io::Error,
    },
    /// What is there makes no sense. Nothing was changed. There is no healing it: the member is to be treated
    /// as one that lost its disk.
    Corrupt(Report),
}

/// Where a log is damaged, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The segment.
    pub segment: u64,
    /// Where in the segment the damaged record begins, in bytes.
    pub offset: u64,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// Why this is no torn tail.
    pub because: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, expected, found, because } = self;
        write!(
            f,
            "segment {segment:016x} is damaged at offset {offset}: expected {expected}, found {found}; \
             this is no torn tail, because {because}"
        )
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { attempt, source } => write!(f, "the log can't {attempt}: {source}"),
            Self::Corrupt(report) => write!(f, "the log is corrupt: {report}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Corrupt(_) => None,
        }
    }
}

/// The end of the log, where the next batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) segment: u64,
    /// Where the last record ends.
    pub(crate) offset: u32,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) groups: BTreeMap<GroupId, Box<GroupLog>>,
    /// The same, for whoever opens the log.
    pub(crate) recovered: BTreeMap<GroupId, Recovered>,
    /// The segments that are needed, with their lengths.
    pub(crate) segments: BTreeMap<u64, u64>,
    /// `None` if there is no segment.
    pub(crate) tail: Option<Tail>,
    pub(crate) link: Link,
    pub(crate) syncs: u64,
    /// The first segment of all, if nothing is in it. Whoever has it never wrote another record, or lost all
    /// of them; so it goes with the first record, and no earlier.
    pub(crate) hollow: Option<u64>,
    /// What writes the next marks.
    pub(crate) marker: Marker,
    /// What writes the next pledges.
    pub(crate) pledger: Pledger,
}

/// Reads the log, makes durable what it tells, and removes what is not needed.
pub(crate) fn recover(disk: &mut dyn Disk, length_max: usize) -> Result<Found, Trouble> {
    let present = disk.segments().map_err(|e| failed("list the segments", e))?;
    let marks = read_marks(disk);
    let mark = marks.iter().max_by_key(|mark| mark.number).filter(|_| !planted!(MarkIgnored));
    if let Some(mark) = mark.filter(|mark| present.last().is_none_or(|n| *n < mark.end.segment)) {
        let flaw = Flaw::new("a segment", "no such file");
        return Err(corrupt(mark.end.segment, 0, flaw, because_of(mark)));
    }
    let mut found = Found {
        marker: Marker::after(&marks),
        pledger: Pledger::after(Pledge::read(disk)?),
        ..Found::default()
    };
    let Some((last, dropped)) = find_last(disk, &present, length_max, mark)? else {
        check_pledge(&found, (1, 0))?;
        return Ok(found);
    };
    let mut removable: Vec<u64> = Vec::new();
    let mut repair = None;
    if last.is_none() && planted!(EmptyLogRemoved) {
        removable.extend(dropped);
    } else if last.is_none() {
        found.hollow = dropped;
    }
    if let Some(Last { number, head }) = last {
        removable.extend(dropped);
        removable.extend(present.iter().filter(|present| **present < head.oldest));
        let mut before: Option<(usize, Link)> = None;
        for segment in head.oldest..=number {
            if present.binary_search(&segment).is_err() {
                return Err(corrupt(
                    segment,
                    0,
                    Flaw::new("a segment", "no such file"),
                    format!("segment {number:016x} needs those from {:016x} on", head.oldest),
                ));
            }
            let bytes = read(disk, segment)?;
            let reading = Segment { number: segment, bytes: &bytes, length_max };
            let extent = replay(&reading, before, &mut found.groups)?;
            let is_last = segment == number;
            if let Some(flaw) = &extent.flaw {
                let sealed = !is_last || dropped.is_some();
                cut(&reading, &extent, flaw, sealed, mark)?;
            }
            if let Some(mark) = mark.filter(|mark| mark.end.segment == segment) {
                check_mark(&extent, mark)?;
            }
            if let Some(torn) = dropped.filter(|_| is_last) {
                check_begin(disk, torn, length_max, &extent)?;
            }
            before = extent.link.map(|link| (extent.end, link));
            found.segments.insert(segment, bytes.len() as u64);
            if is_last {
                repair = Some((segment, extent.batch, extent.end, bytes));
            }
        }
        (_, found.link) = before.expect("the last segment has a head");
        for (group, log) in &mut found.groups {
            let recovered = log.recovered().map_err(|flaw| {
                corrupt(head.oldest, 0, flaw, format!("group {group} would have a gap"))
            })?;
            found.recovered.insert(*group, recovered);
        }
    }
    let end = repair.as_ref().map(|(segment, _, end, _)| (*segment, *end));
    check_pledge(&found, end.unwrap_or((1, 0)))?;
    // Nothing was changed so far, and no damage can be found from here on.
    if let Some((segment, batch, end, mut bytes)) = repair {
        let used = used_bytes(&bytes).max(end);
        if !planted!(TornTailNotZeroed) {
            bytes[end..used].fill(0);
        }
        disk.write(segment, batch as u64, &bytes[batch..used])
            .map_err(|e| failed(format!("write the end of segment {segment:016x} again"), e))?;
        disk.sync_segment(segment)
            .map_err(|e| failed(format!("sync segment {segment:016x}"), e))?;
        found.syncs += 1;
        let offset = u32::try_from(end).expect("a segment is capped below 4 GiB");
        found.tail = Some(Tail { segment, offset });
    }
    // Before any is removed: those that make them unneeded must be there for certain.
    disk.sync_directory().map_err(|e| failed("sync the directory", e))?;
    for segment in &removable {
        disk.remove(*segment).map_err(|e| failed(format!("remove segment {segment:016x}"), e))?;
    }
    if !removable.is_empty() {
        // A torn one that came back later would testify that the segment before it was finished.
        disk.sync_directory().map_err(|e| failed("sync the directory", e))?;
    }
    Ok(found)
}

/// The last segment whose checkpoint is whole.
struct Last {
    number: u64,
    head: Head,
}

/// Finds the last segment, and the one after it whose begin is torn, if there is. `None` if there are
/// no segments at all; no last one if the very first was never finished.
#[expect(clippy::type_complexity, reason = "read in one place, at once")]
fn find_last(
    disk: &mut dyn Disk,
    present: &[u64],
    length_max: usize,
    mark: Option<&Mark>,
) -> Result<Option<(Option<Last>, Option<u64>)>, Trouble> {
    let Some((&number, earlier)) = present.split_last() else { return Ok(None) };
    if number >= NUMBER_LIMIT {
        let flaw = Flaw::new("a number that a log can reach", format!("{number}"));
        return Err(senseless(number, Senseless { offset: 0, flaw }));
    }
    let bytes = read(disk, number)?;
    let segment = Segment { number, bytes: &bytes, length_max };
    let extent = segment.read(None, |_, _| Ok(())).map_err(|s| senseless(number, s))?;
    if let Some(head) = extent.head {
        return Ok(Some((Some(Last { number, head }), None)));
    }
    let flaw = extent.flaw.clone().unwrap_or_else(|| Flaw::torn("a checkpoint", "zeros"));
    cut(&segment, &extent, &flaw, false, mark)?;
    if number == 1 && earlier.is_empty() {
        return Ok(Some((None, Some(number))));
    }
    let Some(before) = number.checked_sub(1).filter(|before| earlier.last() == Some(before)) else {
        let because = "segments before it are gone, which happens only once it is durable";
        return Err(corrupt(number, extent.end, flaw, because.into()));
    };
    let bytes = read(disk, before)?;
    let segment = Segment { number: before, bytes: &bytes, length_max };
    let extent = segment.read(None, |_, _| Ok(())).map_err(|s| senseless(before, s))?;
    match extent.head {
        Some(head) => Ok(Some((Some(Last { number: before, head }), Some(number)))),
        None => {
            let flaw = extent.flaw.unwrap_or_else(|| Flaw::torn("a checkpoint", "zeros"));
            let because = format!("segment {number:016x} was begun after it was durable");
            Err(corrupt(before, extent.end, flaw, because))
        }
    }
}

/// Replays a segment into the groups. `before` is where the segment before ended, and what has to come
/// next.
fn replay(
    segment: &Segment<'_>,
    before: Option<(usize, Link)>,
    groups: &mut BTreeMap<GroupId, Box<GroupLog>>,
) -> Result<Extent, Trouble> {
    let known = before.is_some();
    let link = before.map(|(_, link)| link);
    let number = segment.number;
    let visit = |header: &Header, body: Body| match body {
        Body::Head(_) => Ok(()),
        Body::State { carried } => {
            groups.entry(header.group).or_default().restore(header.standing, carried, known)
        }
        Body::Carry(entries) => {
            let log = groups.entry(header.group).or_default();
            log.carry(&entries, number)?;
            log.check(header.standing)
        }
        Body::Record(record) => {
            let log = groups.entry(header.group).or_default();
            log.apply(&record, number)?;
            log.check(header.standing)
        }
    };
    segment.read(link, visit).map_err(|found| match (before, found.offset) {
        // An intact head that continues something else: what it does continue was there.
        (Some((end, link)), 0) => corrupt(
            number - 1,
            end,
            Flaw::new("the last records of the segment", format!("zeros where {link:?} belongs")),
            format!("the head of segment {number:016x} says: {}", found.flaw),
        ),
        _ => senseless(number, found),
    })
}

/// The marks that are there. One that can't be read at the last attempt counts as missing: the limit of the
/// promise (see the module) is where both are.
pub(crate) fn read_marks(disk: &mut dyn Disk) -> Vec<Mark> {
    let slots = MARK_SLOTS.filter_map(|slot| patiently(|| disk.read_mark(slot)).ok());
    slots.filter_map(|slot| Mark::parse(&slot)).collect()
}

/// Whether what the log tells, which ends in this place, is what was promised.
fn check_pledge(found: &Found, (segment, end): (u64, usize)) -> Result<(), Trouble> {
    let Some(pledge) = found.pledger.last() else {
        // The first one is durable before there is a record.
        if found.segments.is_empty() {
            return Ok(());
        }
        let flaw = Flaw::torn("what the groups have promised, beside the log", "no such thing");
        let because = "it is durable before a segment is begun, and is kept four times";
        return Err(corrupt(segment, end, flaw, because.into()));
    };
    let told =
        |group| found.recovered.get(&group).map_or_else(HardState::default, |g| g.hard_state);
    let Some((group, promised, told)) = pledge.broken(told) else { return Ok(()) };
    let flaw = Flaw::torn(format!("{promised:?} of group {group}, or more"), format!("{told:?}"));
    Err(corrupt(segment, end, flaw, "that was promised when it was durable".into()))
}

/// Whether a segment is as long as a mark in it says.
fn check_mark(extent: &Extent, mark: &Mark) -> Result<(), Trouble> {
    let Tail { segment, offset } = mark.end;
    if extent.end < offset as usize {
        let flaw = Flaw::torn("a header, which begins with QWAL", "zeros");
        return Err(corrupt(segment, extent.end, flaw, because_of(mark)));
    }
    match extent.link.filter(|link| extent.end == offset as usize && *link != mark.link) {
        Some(link) => {
            let flaw = Flaw::new(format!("{:?} next", mark.link), format!("{link:?}"));
            Err(senseless(segment, Senseless { offset: extent.end, flaw }))
        }
        None => Ok(()),
    }
}

/// Whether a segment goes on to where the next one was begun, whose checkpoint is torn but whose head may be
/// there: it was written when all before it was durable.
fn check_begin(
    disk: &mut dyn Disk,
    torn: u64,
    length_max: usize,
    before: &Extent,
) -> Result<(), Trouble> {
    let bytes = read(disk, torn)?;
    let Ok((head, _)) = Header::parse(&bytes, torn, 0) else { return Ok(()) };
    let is_sound = head.kind == Kind::Head && head.body(&bytes, length_max).is_ok();
    let Some(link) = before.link.filter(|_| is_sound && !planted!(TornHeadIgnored)) else {
        return Ok(());
    };
    let Link { sequence, .. } = head.link;
    if sequence < link.sequence || head.link == link {
        return Ok(());
    }
    let flaw = Flaw::torn(format!("records up to {:?}", head.link), format!("{link:?} next"));
    let because = format!("segment {torn:016x} was begun after it was durable");
    Err(corrupt(torn - 1, before.end, flaw, because))
}

/// Why what is before the end that a mark tells can't be torn.
pub(crate) fn because_of(mark: &Mark) -> String {
    let Tail { segment, offset } = mark.end;
    format!(
        "the mark says that everything before offset {offset} of segment {segment:016x} was durable"
    )
}

/// Whether the log may be cut at a flaw.
fn cut(
    segment: &Segment<'_>,
    extent: &Extent,
    flaw: &Flaw,
    sealed: bool,
    mark: Option<&Mark>,
) -> Result<(), Trouble> {
    let refuse = |because| Err(corrupt(segment.number, extent.end, flaw.clone(), because));
    if planted!(DamageCutAway) {
        return Ok(());
    }
    if sealed {
        return refuse("a later segment was begun after it was durable".into());
    }
    if let Some(mark) = mark.filter(|mark| mark.covers(segment.number, extent.end)) {
        return refuse(because_of(mark));
    }
    match segment.witness(extent.end) {
        Some(Header { offset, durable, link, .. }) => refuse(format!(
            "record {} at offset {offset} was written after everything before offset {durable} was \
             durable",
            link.sequence
        )),
        None => Ok(()),
    }
}

/// How much of a segment is given up where a disk can't read it.
const PIECE_BYTES: usize = 4096;

/// Everything in a segment. Where the disk can read a part of it only, the others are what no record is.
pub(crate) fn read(disk: &mut dyn Disk, segment: u64) -> Result<Vec<u8>, OpenError> {
    let failed = |error| failed(format!("read segment {segment:016x}"), error);
    let error = match disk.read(segment, SEGMENT_BYTES_MAX) {
        Ok(bytes) => return Ok(bytes),
        Err(error) => error,
    };
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) {
        return Err(failed(error));
    }
    let length = disk.length(segment).map_err(failed)?;
    if length > SEGMENT_BYTES_MAX {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let mut bytes = vec![UNREADABLE; usize::try_from(length).expect("a segment is capped")];
    let mut is_any_read = false;
    for (number, piece) in bytes.chunks_mut(PIECE_BYTES).enumerate() {
        let offset = (number * PIECE_BYTES) as u64;
        if let Ok(read) = patiently(|| disk.read_part(segment, offset, piece.len())) {
            is_any_read = true;
            let count = read.len().min(piece.len());
            piece[..count].copy_from_slice(&read[..count]);
        }
    }
    // A disk that reads nothing is not one with damage. Perhaps it is back tomorrow.
    if is_any_read { Ok(bytes) } else { Err(failed(error)) }
}

/// What stands for bytes that can't be read: neither zeros nor the begin of a record.
const UNREADABLE: u8 = 0xee;

pub(crate) fn failed(attempt: impl Into<String>, source: io::Error) -> OpenError {
    OpenError::Io { attempt: attempt.into(), source }
}

fn senseless(segment: u64, Senseless { offset, flaw }: Senseless) -> Trouble {
    let cause = flaw.cause;
    let because = "its checksum is right: it was written like this, or elsewhere";
    match corrupt(segment, offset, flaw, because.into()) {
        Trouble::Damage(report) if cause == Cause::Senseless => {
            Trouble::Fatal(OpenError::Corrupt(report))
        }
        trouble => trouble,
    }
}

fn corrupt(segment: u64, offset: usize, flaw: Flaw, because: String) -> Trouble {
    let Flaw { expected, found, cause: _ } = flaw;
    Trouble::Damage(Report { segment, offset: offset as u64, expected, found, because })
}

/// Why a log is not recovered.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Something that was durable is damaged or missing; the rest may be saved.
    Damage(Report),
    /// The disk fails, or holds what no disk makes of a log.
    Fatal(OpenError),
}

impl From<OpenError> for Trouble {
    fn from(error: OpenError) -> Self {
        Self::Fatal(error)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::time::Duration;

    use quorate_raft::{
        Config, Effects, Entry, EntryId, HardState, Index, Input, Limits, Membership, NodeId,
        Payload, Raft, Record, Remembered, Salvage, Term, Time,
    };

    use super::*;
    use crate::batch::{Batch, Frames, Title};
    use crate::heal::{HealError, Healed};
    use crate::memory::MemDisk;
    use crate::record::put_head;
    use crate::standing::Standing;
    use crate::wal::{Opened, Wal, WalOptions};

    const KINDS: [Kind; 7] = [
        Kind::Head,
        Kind::State,
        Kind::HardState,
        Kind::Append,
        Kind::Compact,
        Kind::Reset,
        Kind::Carry,
    ];

    /// A disk of a log that has promised nothing, and has no segment yet.
    fn begun() -> MemDisk {
        let disk = MemDisk::new();
        let pledged = Pledger::default().pledge(&mut disk.clone(), BTreeMap::new());
        pledged.expect("a disk in memory takes what it is given");
        disk
    }

    /// Numbers at which something could overflow, and small ones, which fit together by chance.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            8 => 0..4_u64,
            1 => Just(NUMBER_LIMIT),
            1 => Just(NUMBER_LIMIT - 1),
            1 => Just(u64::MAX),
            1 => any::<u64>(),
        ]
    }

    fn body() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(number(), 0..6)
            .prop_map(|numbers| numbers.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
    }

    fn id() -> impl Strategy<Value = EntryId> {
        (number(), number()).prop_map(|(term, index)| EntryId::new(term, index))
    }

    /// Standings, of which most are in order.
    fn standing() -> impl Strategy<Value = Standing> {
        (number(), prop::option::of(number()), [id(), id(), id()], any::<bool>()).prop_map(
            |(term, vote, mut ids, ordered)| {
                if ordered {
                    ids.sort_unstable();
                }
                let [base, turn, last] = ids;
                let hard_state = HardState { term: Term(term), vote: vote.map(NodeId) };
                Standing { hard_state, base, turn, last }
            },
        )
    }

    fn head(oldest: u64, records: u64) -> Frames {
        let mut frames = Frames::default();
        let (group, standing, first) = (GroupId(0), Standing::default(), Index(0));
        let title = Title { kind: Kind::Head, group, standing, first };
        frames.push(title, |body| put_head(body, Head { oldest, records }));
        frames
    }

    /// What is opened must also do for a member, which campaigns in the term after and appends the
    /// entry after.
    fn leads_with(recovered: Recovered) {
        let id = NodeId(1);
        let config = Config {
            id,
            group: GroupId(1),
            membership: Membership::of_voters([id]),
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1000),
            election_policy: quorate_raft::ElectionPolicy::Fixed,
            quiet_after: None,
            seed: 1,
            incarnation: 1,
            rejoining: None,
            lease: None,
            witness: false,
            limits: Limits::default(),
        };
        let base = recovered.base;
        let mut raft = Raft::new(config, recovered, base, Time(0));
        let mut effects = Effects::default();
        raft.step(Time(0), Input::Timeout, &mut effects);
        let seq = effects.persist.last().expect("a campaign is written").seq;
        raft.step(Time(0), Input::Durable(seq), &mut effects);
        assert_eq!(raft.leader(), Some(id));
    }

    const OPTIONS: WalOptions = WalOptions { segment_bytes: 4096, record_bytes_max: 1 << 10 };

    /// Whatever is on a disk, nothing panics, and what is damaged can be healed if it is healed with what it
    /// says itself.
    fn opens_or_refuses(disk: &MemDisk) {
        let open = |disk: &MemDisk| Wal::open(Box::new(disk.clone()), OPTIONS);
        match open(disk) {
            Ok(Opened::Whole(_, found)) => {
                found.values().cloned().for_each(leads_with);
                let Ok(Opened::Whole(_, again)) = open(disk) else {
                    panic!("what is opened opens again");
                };
                assert_eq!(again, found);
            }
            Ok(Opened::Damaged(damaged)) => {
                let groups: BTreeMap<_, _> = damaged
                    .groups
                    .iter()
                    .filter_map(|(group, remembered)| Some((*group, mended(remembered)?)))
                    .collect();
                let is_small = groups.len() == damaged.groups.len();
                match damaged.heal(groups) {
                    Ok(_) => {
                        let again = open(disk);
                        assert!(is_small && matches!(again, Ok(Opened::Whole(..))), "{again:?}");
                    }
                    // Of a body that is lost, the checksum is known.
                    Err(HealError::Contradiction { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Err(_) => {}
        }
    }

    /// What is remembered, with no-ops for what is lost; `None` if that is too much for a test.
    fn mended(remembered: &Remembered) -> Option<Healed> {
        match remembered.clone() {
            Remembered::Whole(recovered) | Remembered::Forgotten(recovered) => {
                Some(recovered.into())
            }
            Remembered::Damaged(Salvage { hard_state, base, mut entries, lost, .. }) => {
                for lost in lost {
                    if lost.last.index.0 - lost.first.0 > 100 {
                        return None;
                    }
                    for index in lost.first.0..=lost.last.index.0 {
                        let id = EntryId { term: lost.last.term, index: Index(index) };
                        entries.push(Entry { id, payload: Payload::Noop });
                    }
                }
                entries.sort_by_key(|entry| entry.id.index);
                Some(Recovered { hard_state, base, entries }.into())
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        /// Checksums protect from chance, not from malice and not from our own mistakes: bodies that
        /// no log would write must be refused as well.
        #[test]
        fn records_without_sense_are_refused_without_panic(
            number in prop_oneof![Just(1), Just(NUMBER_LIMIT - 1), Just(u64::MAX)],
            oldest in number(),
            states in 0..3_u64,
            sequence in number(),
            records in prop::collection::vec(
                (0..KINDS.len(), 1..3_u64, standing(), number(), body()),
                0..8,
            ),
            zeroed in prop::option::of(0..40_usize),
        ) {
            let mut frames = head(oldest, states);
            for (kind, group, standing, first, bytes) in records {
                let (kind, group, first) = (KINDS[kind], GroupId(group), Index(first));
                let title = Title { kind, group, standing, first };
                frames.push(title, |body| body.extend_from_slice(&bytes));
            }
            let link = Link { sequence: sequence.min(u64::MAX - 16), chain: 0 };
            let (bytes, _) = frames.seal(number, 0, 0, link);
            let disk = begun();
            disk.insert(number, bytes.to_vec());
            if let Some(piece) = zeroed {
                disk.damage(number, |bytes| {
                    bytes.iter_mut().skip(64 * piece).take(64).for_each(|byte| *byte = 0);
                });
            }
            opens_or_refuses(&disk);
        }
    }

    /// What a log of one segment with these records opens as.
    fn opened(records: &[Record]) -> Result<Found, Trouble> {
        let mut batch = Batch { frames: head(1, 0), ..Batch::default() };
        records.iter().for_each(|record| batch.push(GroupId(1), record, 1 << 10));
        // As a log would that takes whatever it is given.
        let mut standing = Standing::default();
        for (position, (_, record)) in batch.records.iter().enumerate() {
            match record {
                Record::HardState(hard_state) => standing.hard_state = *hard_state,
                Record::Append(entries) => standing.extend(entries.last().expect("there are").id),
                Record::Compact(id) | Record::Reset(id) => {
                    standing = Standing::empty(standing.hard_state, *id);
                }
            }
            batch.frames.stand(1 + position, standing);
        }
        let (bytes, _) = batch.frames.seal(1, 0, 0, Link::default());
        let mut disk = begun();
        disk.insert(1, bytes.to_vec());
        recover(&mut disk, 1 << 10)
    }

    #[test]
    fn terms_on_a_disk_leave_room_above_them_and_do_not_descend() {
        let term = |term| Record::HardState(HardState { term: Term(term), vote: None });
        let append = |terms: [u64; 2]| {
            let entry =
                |(index, term)| Entry { id: EntryId::new(term, index), payload: Payload::Noop };
            Record::Append((1..).zip(terms).map(entry).collect())
        };
        let last = NUMBER_LIMIT - 1;
        for (records, is_fine) in [
            ([term(last), append([1, 1])], true),
            ([term(last + 1), append([1, 1])], false),
            ([term(u64::MAX), append([1, 1])], false),
            ([term(2), append([1, 2])], true),
            ([term(2), append([2, 1])], false),
            ([term(2), append([1, NUMBER_LIMIT])], false),
            ([append([1, 1]), Record::Reset(EntryId::new(1, last))], true),
            ([append([1, 1]), Record::Reset(EntryId::new(1, last + 1))], false),
        ] {
            match opened(&records) {
                Ok(found) => {
                    assert!(is_fine, "{records:?} were taken");
                    leads_with(found.recovered[&GroupId(1)].clone());
                }
                Err(error) => assert!(!is_fine, "{records:?}: {error:?}"),
            }
        }
    }

    #[test]
    fn a_first_segment_that_was_never_finished_is_begun_anew() {
        for bytes in [vec![], vec![0; 4096], b"QWAL and nothing that makes sense".to_vec()] {
            let mut disk = MemDisk::new();
            disk.insert(1, bytes);
            let found = recover(&mut disk, 1 << 10).expect("nothing was acknowledged");
            assert_eq!((found.tail, found.hollow), (None, Some(1)));
            assert_eq!(disk.segments().unwrap(), [1], "who has begun a log misses something in it");
            let (mut wal, _) = Wal::open_whole(Box::new(disk.clone()), OPTIONS).expect("no damage");
            wal.append(GroupId(1), &Record::HardState(HardState::default()));
            wal.commit().expect("written");
            let (_, found) = Wal::open_whole(Box::new(disk), OPTIONS).expect("it is whole");
            assert_eq!(found.len(), 1);
        }
    }

    #[test]
    fn a_later_segment_alone_is_no_begin() {
        let mut disk = MemDisk::new();
        disk.insert(2, vec![0; 4096]);
        let Err(Trouble::Damage(report)) = recover(&mut disk, 1 << 10) else {
            panic!("a log without its begin is opened");
        };
        assert_eq!(report.segment, 2);
        assert_eq!(disk.segments().unwrap(), [2], "it is left as it is");
    }
}
