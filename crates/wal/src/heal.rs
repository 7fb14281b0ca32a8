//! A damaged log, and how it is made whole.
//!
//! The damage is left as it is, and so is everything that is sound: whoever opens the log again finds the
//! same. Healing begins a new segment whose checkpoint *carries* every group as a whole, so that no
//! segment before it is needed. A checkpoint counts as a whole or not at all, and the old segments are
//! removed after it is durable. So a crash at any moment leaves the damaged log or the healed one; but where
//! no segment is left to be damaged, a torn piece of the new one is taken for the rest of a whole log, and
//! the groups are forgotten.
//!
//! Between the number of the last segment and that of the new one, a number is left out. An ordinary
//! segment follows the one before it without a gap, and its existence testifies that that one was
//! complete; what an interrupted healing leaves behind testifies nothing.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io;

use quorate_planted::planted;
use quorate_raft::{Entry, EntryId, GroupId, Index, Recovered, Remembered, Salvage, Seal};

use crate::disk::Disk;
use crate::group::GroupLog;
use crate::mark::Marker;
use crate::pledge::Pledger;
use crate::record::{Link, NUMBER_LIMIT};
use crate::recover::{Found, OpenError, Report, Tail};
use crate::salvage::Salvaged;
use crate::segment::SEGMENT_BYTES_MAX;
use crate::survey::{Survey, survey};
use crate::wal::{Wal, WalOptions, checkpoint};

/// A log that lost something that was durable. It is as it was found, on disk, until it is healed.
#[derive(Debug)]
pub struct Damaged {
    /// What is damaged, in the order of the log; the first few places, if there are many.
    pub reports: Vec<Report>,
    /// What is known of each group. A group that isn't here may have been in the log nevertheless, if the
    /// damage took all that told of it: whoever expects one must count it as forgotten.
    pub groups: BTreeMap<GroupId, Remembered>,
    disk: Box<dyn Disk>,
    options: WalOptions,
    /// The number of the new segment.
    segment: u64,
    /// Of its first record.
    link: Link,
    marker: Marker,
    pledger: Pledger,
}

/// A group as it is to be from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healed {
    /// All of it.
    pub recovered: Recovered,
    /// Set if enough other members are known to never have had what comes after this position, so that it
    /// may be dropped although this member had it.
    pub dropped_after: Option<Index>,
}

impl From<Recovered> for Healed {
    fn from(recovered: Recovered) -> Self {
        Self { recovered, dropped_after: None }
    }
}

/// Why a log was not healed.
#[derive(Debug)]
pub enum HealError {
    /// What was given contradicts what the log knows, or is no log at all. Nothing was changed.
    Contradiction {
        /// The group.
        group: GroupId,
        /// What contradicts what.
        reason: String,
    },
    /// What was given doesn't fit into one segment, the largest that there may be. Nothing was changed. Such
    /// a member is to be treated as one that lost its disk.
    TooLarge {
        /// What it takes, in bytes.
        bytes: u64,
    },
    /// The disk failed. The log is damaged as before, or whole: a restart finds out.
    Io {
        /// What was tried.
        attempt: &'static str,
        /// What the disk said.
        source: io::Error,
    },
}

impl fmt::Display for HealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contradiction { group, reason } => {
                write!(f, "the log of group {group} can't be healed with this: {reason}")
            }
            Self::TooLarge { bytes } => write!(
                f,
                "the healed log takes {bytes} bytes, and a segment has at most {SEGMENT_BYTES_MAX}"
            ),
            Self::Io { attempt, source } => write!(f, "the log can't {attempt}: {source}"),
        }
    }
}

impl Error for HealError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Contradiction { .. } | Self::TooLarge { .. } => None,
        }
    }
}

impl Damaged {
    /// Finds out what a log still knows of which `report` is the first flaw.
    pub(crate) fn examine(
        mut disk: Box<dyn Disk>,
        options: WalOptions,
        report: Report,
    ) -> Result<Self, OpenError> {
        let survey = survey(disk.as_mut(), options.record_bytes_max)?;
        let segment = survey.last_segment + 2;
        if segment >= NUMBER_LIMIT {
            // No log gets there, and none could be written after it.
            return Err(OpenError::Corrupt(report));
        }
        let Survey { link, marker, pledger, .. } = survey;
        let reports = merged(survey.reports, report);
        let remembered = |(group, salvaged): (_, Salvaged)| (group, salvaged.remembered);
        let groups = survey.groups.into_iter().map(remembered).collect();
        Ok(Self { reports, groups, disk, options, segment, link, marker, pledger })
    }

    /// Makes the log whole, with these groups. Each is the one that was remembered, with the entries that it
    /// lost; a group that was forgotten may be anything.
    ///
    /// # Errors
    /// If a group is missing or contradicts what is known of it, or the disk fails.
    pub fn heal(self, groups: BTreeMap<GroupId, Healed>) -> Result<Wal, HealError> {
        for (group, healed) in &groups {
            is_log(&healed.recovered)
                .map_err(|reason| HealError::Contradiction { group: *group, reason })?;
        }
        for (group, remembered) in &self.groups {
            let Some(healed) = groups.get(group) else {
                let reason = "it is missing".into();
                return Err(HealError::Contradiction { group: *group, reason });
            };
            let check = match remembered {
                Remembered::Whole(known) => check(healed, &known.clone().into()),
                Remembered::Damaged(known) => check(healed, known),
                Remembered::Forgotten(_) => Ok(()),
            };
            check.map_err(|reason| HealError::Contradiction { group: *group, reason })?;
        }
        let number = self.segment;
        let logs: BTreeMap<GroupId, Box<GroupLog>> = groups
            .into_iter()
            .map(|(group, healed)| (group, GroupLog::mended(healed.recovered, number).into()))
            .collect();
        self.write(logs)
    }

    /// Writes the segment that replaces all others.
    fn write(mut self, groups: BTreeMap<GroupId, Box<GroupLog>>) -> Result<Wal, HealError> {
        let number = self.segment;
        let all = groups.iter().map(|(group, log)| (*group, &**log, true));
        let mut frames = checkpoint(all, number, self.options.record_bytes_max);
        let used = frames.len() as u64;
        let length = self.options.segment_bytes.max(used);
        if length > SEGMENT_BYTES_MAX {
            return Err(HealError::TooLarge { bytes: used });
        }
        let failed = |attempt| move |source| HealError::Io { attempt, source };
        let old = self.disk.segments().map_err(failed("list the segments"))?;
        let (bytes, link) = frames.seal(number, 0, 0, self.link);
        if let Err(error) = begin(self.disk.as_mut(), number, length, bytes) {
            // Where no other segment is left, a piece of this one looks like what is left of a log that was
            // whole. A crash in the midst of this leaves it nevertheless.
            if !planted!(PieceOfHealingLeft) {
                let _lost_or_left = self.disk.remove(number);
            }
            return Err(error);
        }
        let offset = u32::try_from(used).expect("a segment is capped below 4 GiB");
        let found = Found {
            groups,
            recovered: BTreeMap::new(),
            segments: BTreeMap::from([(number, length)]),
            tail: Some(Tail { segment: number, offset }),
            link,
            syncs: 1,
            hollow: None,
            marker: self.marker,
            pledger: self.pledger,
        };
        let (mut wal, _) = Wal::of(self.disk, self.options, found);
        // They tell that the new segment is there, and what it promises, before the old ones go.
        wal.renew_pledge().map_err(failed("write down what was promised"))?;
        wal.mark();
        wal.remove(old).map_err(failed("remove a segment"))?;
        Ok(wal)
    }
}

/// Begins a segment with these bytes, durably.
fn begin(disk: &mut dyn Disk, number: u64, length: u64, bytes: &[u8]) -> Result<(), HealError> {
    let failed = |attempt| move |source| HealError::Io { attempt, source };
    disk.create(number, length).map_err(failed("create a segment"))?;
    disk.write(number, 0, bytes).map_err(failed("write a checkpoint"))?;
    disk.sync_segment(number).map_err(failed("sync a segment"))?;
    disk.sync_directory().map_err(failed("sync the directory"))
}

/// What a survey reports, and what recovery does, which says more of its place.
pub(crate) fn merged(mut reports: Vec<Report>, first: Report) -> Vec<Report> {
    reports.retain(|other| (other.segment, other.offset) != (first.segment, first.offset));
    reports.push(first);
    reports.sort_by_key(|report| (report.segment, report.offset));
    reports
}

/// Whether a log may follow from what is known: it holds what is known, it forgets nothing, and it tells no
/// more than there was.
fn check(healed: &Healed, known: &Salvage) -> Result<(), String> {
    let Healed { recovered: Recovered { hard_state, base, entries }, dropped_after } = healed;
    if !hard_state.keeps(known.hard_state) {
        return Err(format!("{hard_state:?} can't follow {:?}", known.hard_state));
    }
    if base.index < known.base.index || base.index == known.base.index && *base != known.base {
        return Err(format!("the base was {}, and would be {base}", known.base));
    }
    let last = entries.last().map_or(*base, |entry| entry.id);
    let end = match dropped_after {
        Some(dropped_after) => known.last.index.min(*dropped_after),
        None => known.last.index,
    };
    if last.index < end || last.index > end.max(base.index) {
        return Err(format!("the log is to end at index {}, and would at {last}", end.0));
    }
    let at = |index: Index| {
        let position = index.0.checked_sub(base.index.0 + 1)?;
        entries.get(usize::try_from(position).ok()?)
    };
    for entry in known.entries.iter().filter(|entry| entry.id.index <= end) {
        if let Some(other) = at(entry.id.index).filter(|other| *other != entry) {
            return Err(format!("{} is sound, and would be replaced by {}", entry.id, other.id));
        }
    }
    let of_lost = |entry: &&Entry| known.lost.iter().any(|lost| lost.contains(entry.id));
    let is_known =
        |index: Index| known.entries.binary_search_by_key(&index, |e| e.id.index).is_ok();
    for entry in entries.iter().filter(|entry| entry.id.index <= known.last.index) {
        if !is_known(entry.id.index) && !of_lost(&entry) {
            return Err(format!("{} was never in the log", entry.id));
        }
    }
    let is_there = |seal: &&Seal| base.index < seal.first && seal.last.index <= last.index;
    for seal in known.seals.iter().filter(is_there) {
        let Seal { first, last, .. } = seal;
        let lost = entries.iter().filter(|entry| (*first..=last.index).contains(&entry.id.index));
        if !seal.is_of(lost) {
            return Err(format!("entries {} to {last} are not those that were lost", first.0));
        }
    }
    Ok(())
}

/// Whether it is a log: without a gap, with terms that don't descend.
fn is_log(recovered: &Recovered) -> Result<(), String> {
    let mut last = recovered.base;
    for entry in &recovered.entries {
        let EntryId { term, index } = entry.id;
        if index.0 != last.index.0 + 1 || term < last.term {
            return Err(format!("{} can't follow {last}", entry.id));
        }
        last = entry.id;
    }
    Ok(())
}
