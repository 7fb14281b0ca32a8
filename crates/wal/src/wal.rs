//! The log: append, commit, and the begin of a new segment.
//!
//! A batch lies in one segment: where it doesn't fit, a new one is begun with it. So a commit writes
//! to one file and syncs it once, be it the first of its segment or not:
//!
//! ```text
//!  commit, as a rule            commit that begins a segment
//!  write the batch              create the segment, with its space
//!  sync the segment             write the checkpoint and the batch
//!                               sync the segment
//!                               sync the directory
//!                               remove the segments that are no longer needed
//! ```
//!
//! Where a term or a vote is in it, the pledge is written and synced after that (`pledge.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::io;

use quorate_planted::planted;
use quorate_raft::{Entry, GroupId, HardState, Index, Record, Recovered};

use crate::batch::{Batch, Frames, Title, pieces};
use crate::carry::{Plan, evacuation, plan};
use crate::disk::{Disk, patiently};
use crate::group::GroupLog;
use crate::heal::Damaged;
use crate::mark::Marker;
use crate::pledge::{self, Pledger};
use crate::record::{ALIGNMENT, HEADER_BYTES, Head, Kind, Link, put_entries, put_head};
use crate::recover::{self, Found, OpenError, Tail, Trouble, recover};
use crate::scrub::{Scrubbed, Scrubber, Step};
use crate::segment::SEGMENT_BYTES_MAX;
use crate::standing::Standing;

/// How a log is laid out. Both may differ from one opening to the next, as long as `record_bytes_max`
/// doesn't descend below a record that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// The length of a segment, in bytes. One that begins with a larger batch is longer.
    pub segment_bytes: u64,
    /// The longest body of a record, in bytes. Appends are split; a single entry must fit, with 8
    /// bytes besides its command.
    pub record_bytes_max: usize,
}

impl Default for WalOptions {
    /// 64 MiB, so that a segment lasts and yet is soon given back; and records of up to 16 MiB, which
    /// is more than a client may send.
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, record_bytes_max: 16 << 20 }
    }
}

/// Why a commit failed. What it would have made durable may be so or not.
#[derive(Debug)]
pub enum WalError {
    /// The disk failed. The process has to end; a restart finds out what is durable.
    Io {
        /// What was tried.
        attempt: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// An earlier commit failed. Nothing was tried.
    Poisoned,
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { attempt, source } => write!(f, "the log can't {attempt}: {source}"),
            Self::Poisoned => f.write_str("the log failed before and takes no more"),
        }
    }
}

impl Error for WalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Poisoned => None,
        }
    }
}

/// What an opening found.
#[derive(Debug)]
pub enum Opened {
    /// A log that is as it was left, and what it remembers.
    Whole(Box<Wal>, BTreeMap<GroupId, Recovered>),
    /// A log that lost something that was durable.
    Damaged(Box<Damaged>),
}

impl Opened {
    /// A log that is as it was left.
    ///
    /// # Errors
    /// If the log is damaged, with the first place.
    pub fn whole(self) -> Result<(Wal, BTreeMap<GroupId, Recovered>), OpenError> {
        match self {
            Self::Whole(wal, groups) => Ok((*wal, groups)),
            Self::Damaged(damaged) => {
                let report = damaged.reports.into_iter().next();
                Err(OpenError::Corrupt(report.expect("a damaged log has a damaged place")))
            }
        }
    }
}

/// Figures about a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many segments there are.
    pub segments: u64,
    /// What they take on disk, in bytes.
    pub bytes: u64,
    /// What of it the entries take that are not compacted, in bytes.
    pub live_bytes: u64,
    /// How many groups there are.
    pub groups: u64,
    /// How many records were made durable since the log was opened, without checkpoints.
    pub records: u64,
    /// How many bytes were written since the log was opened, with checkpoints.
    pub written_bytes: u64,
    /// How many data syncs were made, with the one of opening.
    pub syncs: u64,
    /// How many segments were begun since the log was opened.
    pub rolls: u64,
    /// How many pledges were made durable since the log was opened, without that of opening. Each takes a sync of
    /// its own, which is none of [`Self::syncs`].
    pub pledges: u64,
    /// How many marks were written since the log was opened.
    pub marks: u64,
    /// How many marks could not be written. Each is a loss of caution, not of data.
    pub marks_failed: u64,
}

/// A log of many groups.
#[derive(Debug)]
pub struct Wal {
    disk: Box<dyn Disk>,
    options: WalOptions,
    /// What is durable of each group. Boxed: a node of the map has room for eleven, and half of it is empty.
    groups: BTreeMap<GroupId, Box<GroupLog>>,
    /// The segments, with their lengths in bytes.
    segments: BTreeMap<u64, u64>,
    /// `None` as long as there is no segment.
    tail: Option<Tail>,
    /// A first segment with nothing in it, which stands where the first one is to be.
    hollow: Option<u64>,
    link: Link,
    batch: Batch,
    marker: Marker,
    pledger: Pledger,
    scrubber: Scrubber,
    /// Set by the first failure, for ever. What the disk holds is unknown from then on, and so is what
    /// another sync would tell.
    poisoned: bool,
    stats: Stats,
}

impl Wal {
    /// How many groups a log can hold: what they promise has to fit beside it.
    pub const GROUPS_MAX: usize = pledge::GROUPS_MAX;

    /// The largest batch, in bytes: half a segment of the largest size. The other half is for what
    /// begins a segment, of which entries that are carried take at most a quarter.
    pub const BATCH_BYTES_MAX: usize = (SEGMENT_BYTES_MAX / 2) as usize;

    /// Opens a log, or begins one where there is none. Whatever is returned is durable.
    ///
    /// A tail that an interrupted write left torn is cut. Nothing else ever is: where something that was
    /// durable is damaged or missing, what is left is returned, and the log is left as it is.
    ///
    /// # Errors
    /// If the disk fails, or holds what is no log.
    pub fn open(mut disk: Box<dyn Disk>, options: WalOptions) -> Result<Opened, OpenError> {
        match recover(disk.as_mut(), options.record_bytes_max) {
            Ok(found) => {
                let (mut wal, groups) = Self::of(disk, options, found);
                wal.renew_pledge()
                    .map_err(|e| recover::failed("write down what was promised", e))?;
                // All of it was made durable. A power cut may have taken the mark.
                wal.mark();
                Ok(Opened::Whole(Box::new(wal), groups))
            }
            Err(Trouble::Damage(report)) => {
                Ok(Opened::Damaged(Box::new(Damaged::examine(disk, options, report)?)))
            }
            Err(Trouble::Fatal(error)) => Err(error),
        }
    }

    /// The same for whoever has nothing to heal a log with: a damaged one is refused.
    ///
    /// # Errors
    /// As [`Self::open`], and if the log is damaged.
    pub fn open_whole(
        disk: Box<dyn Disk>,
        options: WalOptions,
    ) -> Result<(Self, BTreeMap<GroupId, Recovered>), OpenError> {
        Self::open(disk, options)?.whole()
    }

    /// A log as it was found.
    pub(crate) fn of(
        disk: Box<dyn Disk>,
        options: WalOptions,
        found: Found,
    ) -> (Self, BTreeMap<GroupId, Recovered>) {
        let Found { groups, recovered, segments, tail, link, syncs, hollow, marker, pledger } =
            found;
        let stats = Stats { syncs, ..Stats::default() };
        let batch = Batch::default();
        let (scrubber, poisoned) = (Scrubber::default(), false);
        let wal = Self {
            disk,
            options,
            groups,
            segments,
            tail,
            hollow,
            link,
            batch,
            marker,
            pledger,
            scrubber,
            poisoned,
            stats,
        };
        (wal, recovered)
    }

    /// Adds a record to the batch. It is durable after the next [`Self::commit`], and not before.
    ///
    /// # Panics
    /// If an entry is larger than a record may be.
    pub fn append(&mut self, group: GroupId, record: &Record) {
        self.batch.push(group, record, self.options.record_bytes_max);
    }

    /// What the batch takes on disk so far, in bytes. Whoever appends commits before it comes near
    /// a segment's largest size, [`Self::BATCH_BYTES_MAX`].
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.batch.frames.len()
    }

    /// Whether the next commit begins a segment, for which the disk needs room; any other writes to
    /// where there is some already.
    #[must_use]
    pub fn needs_room(&self) -> bool {
        !self.batch.is_empty() && self.room().is_none() && !planted!(RoomUnasked)
    }

    /// Makes everything appended durable, with one write and one data sync; with none if nothing was. A term or
    /// a vote takes another two writes and one sync: it is written down twice beside the log.
    ///
    /// # Errors
    /// If that isn't certain. The log fails from then on: nothing appended may be acknowledged, and
    /// the process has to end. A restart reads from the disk what there is.
    ///
    /// # Panics
    /// If a record can't follow the ones of its group before it: a term that descends, a vote that
    /// changes, entries that leave a gap. And if the batch is larger than [`Self::BATCH_BYTES_MAX`], or brings
    /// more than [`Self::GROUPS_MAX`] groups.
    pub fn commit(&mut self) -> Result<(), WalError> {
        if self.poisoned && !planted!(FailedSyncRetried) {
            return Err(WalError::Poisoned);
        }
        if self.batch.is_empty() {
            self.batch.clear();
            return Ok(());
        }
        let bytes = self.batch_bytes();
        assert!(bytes <= Self::BATCH_BYTES_MAX, "a batch of {bytes} bytes is too large");
        let new = self.batch.records.iter().map(|(group, _)| group);
        let new: BTreeSet<_> = new.filter(|group| !self.groups.contains_key(group)).collect();
        let groups = self.groups.len() + new.len();
        assert!(
            groups <= Self::GROUPS_MAX,
            "{groups} groups, and a log has at most {}",
            Self::GROUPS_MAX
        );
        // Set first, so that a panic on the way leaves it set as well.
        self.poisoned = true;
        match self.room() {
            Some(tail) => self.extend(tail)?,
            None => {
                let plan = plan(&self.groups, &self.segments, self.next_segment());
                self.roll(&plan)?;
            }
        }
        let mut records = self.batch.records.iter();
        if records.any(|(_, record)| matches!(record, Record::HardState(_)))
            && !planted!(VoteNotPledged)
        {
            self.pledge()?;
        }
        self.poisoned = false;
        self.stats.records += self.batch.frames.count() as u64;
        self.batch.clear();
        Ok(())
    }

    /// Makes durable, beside the log, what the groups have promised.
    fn pledge(&mut self) -> Result<(), WalError> {
        let promised = self.promised();
        self.pledger
            .pledge(self.disk.as_mut(), promised)
            .map_err(|e| failed("write down what was promised", e))?;
        self.stats.pledges += 1;
        Ok(())
    }

    /// The same for a log that was just opened or healed. One that nobody has written to gets its first pledge
    /// when somebody does.
    pub(crate) fn renew_pledge(&mut self) -> io::Result<()> {
        if self.tail.is_none() && self.pledger.last().is_none() {
            return Ok(());
        }
        let promised = self.promised();
        self.pledger.renew(self.disk.as_mut(), promised)?;
        self.disk.sync_directory()
    }

    /// What the groups have promised.
    fn promised(&self) -> BTreeMap<GroupId, HardState> {
        self.groups.iter().map(|(group, log)| (*group, log.standing().hard_state)).collect()
    }

    /// Writes down how far the log is durable, beside it (`mark.rs`). To be called after a commit, when its
    /// acknowledgement is on its way already: it is one small write without a sync, and nobody has to wait
    /// for it. It may be left out now and then, and it may fail: the log is then judged by its own
    /// bytes.
    pub fn mark(&mut self) {
        let Some(end) = self.tail.filter(|_| !self.poisoned) else { return };
        let written = self.stats.written_bytes;
        if !self.marker.is_due(end, self.groups.len(), written) {
            return;
        }
        let oldest = *self.segments.keys().next().expect("the log ends in a segment");
        let groups = self.groups.iter().map(|(group, log)| (*group, log.standing()));
        let (slot, bytes) = self.marker.mark(oldest, end, self.link, groups, written);
        match self.disk.write_mark(slot, &bytes) {
            Ok(()) => self.stats.marks += 1,
            Err(_) => self.stats.marks_failed += 1,
        }
    }

    /// Reads the next piece of what is durable, about so many bytes, and holds it against its checksums
    /// (`scrub.rs`). What is damaged is healed at once, by a commit of its own. Called again and again, it
    /// reads everything, and begins anew.
    ///
    /// # Errors
    /// If healing fails, as a commit does. That something is damaged is no error.
    ///
    /// # Panics
    /// If records were appended and not committed.
    pub fn scrub(&mut self, bytes_max: usize) -> Result<Scrubbed, WalError> {
        if self.poisoned {
            return Err(WalError::Poisoned);
        }
        assert!(self.batch.is_empty(), "a log is scrubbed between commits");
        let mut scrubbed = Scrubbed::default();
        let Some(tail) = self.tail else { return Ok(scrubbed) };
        let step = self.scrubber.step(
            self.disk.as_mut(),
            &self.segments,
            tail,
            self.link,
            bytes_max,
            &mut scrubbed.bytes,
        );
        match step {
            Step::More => {}
            Step::End => {
                scrubbed.is_round = true;
                scrubbed.is_mark_damaged = self.scrub_mark() | self.scrub_pledge()?;
            }
            Step::Damage(report) => {
                let plan = evacuation(&self.groups, report.segment, self.next_segment());
                self.poisoned = true;
                self.roll(&plan)?;
                self.poisoned = false;
                scrubbed.damage = Some(report);
                self.mark();
            }
        }
        Ok(scrubbed)
    }

    /// Reads the last mark, and writes another one if it is damaged. Says so.
    fn scrub_mark(&mut self) -> bool {
        let Some(slot) = self.marker.last_slot() else { return false };
        let found = patiently(|| self.disk.read_mark(slot));
        if found.is_ok_and(|bytes| self.marker.is_last(&bytes)) {
            return false;
        }
        self.marker.forget();
        self.mark();
        true
    }

    /// Reads both copies of the last pledge, and makes another one if one is damaged. Says so.
    fn scrub_pledge(&mut self) -> Result<bool, WalError> {
        if self.pledger.is_sound(self.disk.as_mut()) {
            return Ok(false);
        }
        self.poisoned = true;
        self.pledge()?;
        // The file may have been gone.
        self.disk.sync_directory().map_err(|e| failed("sync the directory", e))?;
        self.poisoned = false;
        Ok(true)
    }

    /// Figures about the log.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            segments: self.segments.len() as u64,
            bytes: self.segments.values().sum(),
            live_bytes: self.groups.values().map(|log| log.bytes()).sum(),
            groups: self.groups.len() as u64,
            ..self.stats
        }
    }

    /// The end of the log, if the batch fits behind it.
    fn room(&self) -> Option<Tail> {
        let tail = self.tail?;
        let length = self.segments[&tail.segment];
        (u64::from(tail.offset) + self.batch.frames.len() as u64 <= length).then_some(tail)
    }

    /// Writes the batch behind the last one.
    fn extend(&mut self, Tail { segment, offset }: Tail) -> Result<(), WalError> {
        self.remember(segment);
        self.write_batch(segment, offset, offset)?;
        if planted!(BatchNotSynced) { Ok(()) } else { self.sync(segment) }
    }

    fn next_segment(&self) -> u64 {
        self.tail.map_or(1, |tail| tail.segment + 1)
    }

    /// Begins a segment with the batch.
    fn roll(&mut self, plan: &Plan) -> Result<(), WalError> {
        let segment = self.next_segment();
        let mut checkpoint = self.checkpoint(plan);
        let used = (checkpoint.len() + self.batch.frames.len()) as u64;
        let length = self.options.segment_bytes.max(used);
        if length > SEGMENT_BYTES_MAX {
            // A batch is capped, and so is what a plan carries to save space; what it carries away from
            // damage is not.
            let message = format!("{used} bytes, and a segment has at most {SEGMENT_BYTES_MAX}");
            return Err(failed("begin a segment", io::Error::other(message)));
        }
        if let Some(hollow) = self.hollow.take() {
            self.remove([hollow]).map_err(|e| failed("remove an empty segment", e))?;
            self.disk.sync_directory().map_err(|e| failed("sync the directory", e))?;
        }
        if self.pledger.last().is_none() {
            self.pledge()?;
            self.disk.sync_directory().map_err(|e| failed("sync the directory", e))?;
        }
        self.disk.create(segment, length).map_err(|e| failed("create a segment", e))?;
        self.segments.insert(segment, length);
        let (bytes, link) = checkpoint.seal(segment, 0, 0, self.link);
        self.disk.write(segment, 0, bytes).map_err(|e| failed("write a checkpoint", e))?;
        self.link = link;
        self.stats.written_bytes += checkpoint.len() as u64;
        for group in &plan.groups {
            self.groups.get_mut(group).expect("the plan is of our groups").moved_to(segment);
        }
        // After the checkpoint, which tells how things stood before the batch.
        self.remember(segment);
        let offset = u32::try_from(checkpoint.len()).expect("a segment is capped below 4 GiB");
        self.write_batch(segment, offset, 0)?;
        if !planted!(SegmentNotSynced) {
            self.sync(segment)?;
        }
        if !planted!(DirectoryNotSynced) {
            self.disk.sync_directory().map_err(|e| failed("sync the directory", e))?;
        }
        self.stats.rolls += 1;
        let needed = self.segments.split_off(&plan.oldest);
        let removable = std::mem::replace(&mut self.segments, needed);
        self.remove(removable.into_keys()).map_err(|e| failed("remove a segment", e))
    }

    /// Removes segments that are not needed. Not synced: one that comes back is removed again by recovery.
    pub(crate) fn remove(&mut self, segments: impl IntoIterator<Item = u64>) -> io::Result<()> {
        segments.into_iter().try_for_each(|segment| self.disk.remove(segment))
    }

    /// What begins a segment.
    fn checkpoint(&self, plan: &Plan) -> Frames {
        let carried = |group| plan.groups.contains(&group);
        let groups = self.groups.iter().map(|(group, log)| (*group, &**log, carried(*group)));
        checkpoint(groups, plan.oldest, self.options.record_bytes_max)
    }

    /// Applies the batch to what is known of the groups.
    fn remember(&mut self, segment: u64) {
        for (position, (group, record)) in self.batch.records.iter().enumerate() {
            let log = self.groups.entry(*group).or_default();
            if let Err(flaw) = log.apply(record, segment) {
                panic!("a record of group {group} can't follow those before it: {flaw}");
            }
            self.batch.frames.stand(position, log.standing());
        }
    }

    /// Writes the batch, of whose segment everything before `durable` is durable.
    fn write_batch(&mut self, segment: u64, offset: u32, durable: u32) -> Result<(), WalError> {
        let (bytes, link) = self.batch.frames.seal(segment, offset, durable, self.link);
        self.disk
            .write(segment, u64::from(offset), bytes)
            .map_err(|e| failed("write a batch", e))?;
        let end = offset + u32::try_from(bytes.len()).expect("a segment is capped below 4 GiB");
        self.stats.written_bytes += bytes.len() as u64;
        self.link = link;
        self.tail = Some(Tail { segment, offset: end });
        Ok(())
    }

    fn sync(&mut self, segment: u64) -> Result<(), WalError> {
        self.stats.syncs += 1;
        self.disk.sync_segment(segment).map_err(|e| failed("sync a segment", e))
    }
}

/// What begins a segment that makes those before `oldest` unneeded. Of the groups with a `true`, the
/// entries are written anew.
pub(crate) fn checkpoint<'a>(
    groups: impl Iterator<Item = (GroupId, &'a GroupLog, bool)>,
    oldest: u64,
    length_max: usize,
) -> Frames {
    let mut frames = Frames::default();
    let head = |records: usize| {
        let mut body = Vec::new();
        put_head(&mut body, Head { oldest, records: records as u64 });
        body
    };
    let title = Title {
        kind: Kind::Head,
        group: GroupId(0),
        standing: Standing::default(),
        first: Index(0),
    };
    // How many records follow is not known yet.
    frames.push(title, |body| body.extend(head(0)));
    for (group, log, carried) in groups {
        let standing = log.standing();
        let first = if carried { standing.base.index.next() } else { Index(0) };
        frames.push(Title { kind: Kind::State, group, standing, first }, |_| ());
        if !carried {
            continue;
        }
        let entries: Vec<Entry> = log.entries().cloned().collect();
        let records: Vec<&[Entry]> = pieces(&entries, length_max).collect();
        let bytes = usize::try_from(log.bytes()).expect("it is in memory");
        frames.reserve(bytes + records.len() * (HEADER_BYTES + ALIGNMENT) + HEADER_BYTES);
        let mut standing = Standing::empty(standing.hard_state, standing.base);
        for record in records {
            let first = record[0].id.index;
            standing.extend(record[record.len() - 1].id);
            let title = Title { kind: Kind::Carry, group, standing, first };
            frames.push(title, |body| put_entries(body, record.iter()));
        }
    }
    frames.rewrite(0, &head(frames.count() - 1));
    frames
}

fn failed(attempt: &'static str, source: io::Error) -> WalError {
    WalError::Io { attempt, source }
}

#[cfg(test)]
mod tests {
    use quorate_raft::{EntryId, Payload};

    use super::*;

    /// Memory that grew as it is filled would be there twice, and then be half empty.
    #[test]
    fn a_checkpoint_takes_the_memory_of_what_it_carries() {
        let entries: Vec<Entry> = (1..=200_u64)
            .map(|index| Entry {
                id: EntryId::new(1, index),
                payload: Payload::Command(vec![7; 1000].into()),
            })
            .collect();
        let mut log = GroupLog::default();
        log.apply(&Record::Append(entries), 1).expect("it follows");
        let frames = checkpoint([(GroupId(0), &log, true)].into_iter(), 1, 4096);
        assert!(frames.count() > 50, "the entries take many records");
        let (room, length) = (frames.room(), frames.len());
        assert!(room < length + length / 50, "{length} bytes in {room}");
    }
}
