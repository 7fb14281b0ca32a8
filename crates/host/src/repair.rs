//! What becomes of a damaged log that nobody else has.
//!
//! The log of a member among others is healed by them (`node/src/heal.rs`). A member alone that lost
//! entries has lost them for ever: it does not start, since to go on without them would be to decide for
//! its operator that they don't matter. He may decide that. What he needs for it is here: what is lost,
//! told before anything is done, and a new log that goes on where the old one is sound.
//!
//! ```text
//!  state machine   ………………│ up to 40
//!  the old log     30 ……… 40 41 42 43 ?? ?? 46 47 48      44 and 45 are lost
//!  the new log               41 42 43                    46 to 48 stand on them, and are given up
//! ```
//!
//! Entries after a hole are sound and yet useless: each was carried out on the state that all before it
//! had led to. The new log begins where the machine ends, in a term above all that were known, so that no
//! entry to come has the name of one that is gone.
//!
//! The old log is only read. It stays as it is, for whoever wants to get more out of it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use quorate_node::begin;
use quorate_raft::{
    Entry, EntryId, HardState, Index, Membership, NodeId, Record, Recovered, Remembered, Term,
};
use quorate_wal::{Disk, Examined, ExaminedGroup, FileDisk, LostRecord, Wal, WalOptions, examine};

use crate::config::HostConfig;
use crate::wal_thread::{BATCH_BYTES, wal_options};

/// What is handed to the new log at once, in bytes, give or take one entry.
const APPEND_BYTES: usize = 1 << 20;

/// The log of a member that doesn't run, and can't be started while this value lives.
#[derive(Debug)]
pub struct IdleLog {
    path: PathBuf,
    /// `None` if there is no such directory.
    disk: Option<FileDisk>,
}

impl IdleLog {
    /// Takes hold of the log in a directory, which need not exist and is not created.
    ///
    /// # Errors
    /// If another process has it, or the system says so. The text is meant for the operator.
    pub fn hold(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| error.to_string();
        let is_there = path.try_exists().map_err(failed)?;
        let disk = is_there.then(|| FileDisk::open(path)).transpose().map_err(failed)?;
        Ok(Self { path: path.to_owned(), disk })
    }

    /// Whether there is a log, in whatever state.
    ///
    /// # Errors
    /// If the directory can't be read. The text is meant for the operator.
    pub fn exists(&mut self) -> Result<bool, String> {
        let Some(disk) = &mut self.disk else { return Ok(false) };
        let segments = disk.segments();
        segments.map(|segments| !segments.is_empty()).map_err(|error| self.failed(&error))
    }

    /// Reads the log of a member that is alone and whose state machine durably reaches `machine`, and
    /// changes nothing. `has_begun` is what a host is told of it: [`HostConfig::has_begun`].
    ///
    /// # Errors
    /// If it can't be read, or is no log of this member. The text is meant for the operator.
    pub fn examine(&mut self, machine: EntryId, has_begun: bool) -> Result<Repair, String> {
        let found = match &mut self.disk {
            Some(disk) => examine(disk, wal_options()),
            None => Ok(Examined { reports: Vec::new(), groups: Default::default() }),
        };
        let found = found.map_err(|error| self.failed(&error))?;
        Repair::new(found, machine, has_begun).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &dyn fmt::Display) -> String {
        format!("the log in {}: {error}", self.path.display())
    }
}

/// What a log needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it is whole.
    Whole,
    /// Nothing: the state machine has all that it lost, and the member mends it when it starts.
    MendsItself,
    /// Something that was acknowledged may be lost, and the member does not start.
    Damaged,
}

/// Consecutive entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The position of the first.
    pub first: Index,
    /// The position of the last.
    pub last: Index,
    /// The lowest and the highest term that one of them may have.
    pub terms: (Term, Term),
    /// What they take on disk, in bytes, if that is known.
    pub bytes: Option<u64>,
}

impl Stretch {
    fn of(entries: &[Entry]) -> Option<Self> {
        let (first, last) = (entries.first()?.id, entries.last()?.id);
        let bytes = entries.iter().map(|entry| entry.cost() as u64).sum();
        let terms = (first.term, last.term);
        Some(Self { first: first.index, last: last.index, terms, bytes: Some(bytes) })
    }

    /// How many entries.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.last.0 - self.first.0 + 1
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count() {
            1 => write!(f, "entry {}", self.first.0)?,
            _ => write!(f, "entries {} to {}", self.first.0, self.last.0)?,
        }
        match self.terms {
            (first, last) if first == last => write!(f, " of term {}", first.0)?,
            (first, last) => write!(f, " of terms {} to {}", first.0, last.0)?,
        }
        match self.bytes {
            Some(bytes) => write!(f, " ({bytes} bytes)"),
            None => f.write_str(" (of unknown size)"),
        }
    }
}

/// How the log of a member that is alone stands, and what a repair makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// What it needs.
    pub verdict: Verdict,
    /// What is wrong, place by place, in words.
    pub damage: Vec<String>,
    /// Up to where the state machine reaches. The new log begins after it.
    pub machine: EntryId,
    /// The entry before the first of the log that was read.
    pub base: EntryId,
    /// The entries after the machine's that are sound, without a hole: the new log.
    pub kept: Vec<Entry>,
    /// What is lost of those that come after, ascending.
    pub lost: Vec<Stretch>,
    /// What is sound of them, ascending.
    pub given_up: Vec<Stretch>,
    /// Whether nothing came after all these.
    pub is_end_known: bool,
    /// The term in which the new log begins.
    pub term: Term,
}

impl Repair {
    /// Holds what a log holds against the state machine.
    ///
    /// # Errors
    /// If the two do not belong together. The text is meant for the operator.
    pub(crate) fn new(found: Examined, machine: EntryId, has_begun: bool) -> Result<Self, String> {
        let Examined { reports, mut groups } = found;
        let own = groups.remove(&HostConfig::GROUP);
        if let Some(group) = groups.keys().next() {
            return Err(format!("it holds group {}, which is none of this program", group.0));
        }
        let has_nothing = own.is_none() && reports.is_empty();
        let own = own.unwrap_or_else(|| ExaminedGroup {
            remembered: Remembered::of_nothing(has_begun || !has_nothing, machine),
            beyond: Vec::new(),
            lost: Vec::new(),
        });
        let ExaminedGroup { remembered, beyond, lost: records } = own;
        let verdict = verdict(remembered.clone(), !reports.is_empty(), machine);
        let is_end_known = !matches!(remembered, Remembered::Forgotten(_));
        let mut lost = Vec::new();
        let (hard_state, base, end, mut sound) = match remembered {
            Remembered::Whole(Recovered { hard_state, base, entries })
            | Remembered::Forgotten(Recovered { hard_state, base, entries }) => {
                let end = entries.last().map_or(base, |entry| entry.id);
                (hard_state, base, end, entries)
            }
            Remembered::Damaged(salvage) => {
                lost = salvage.lost;
                (salvage.hard_state, salvage.base, salvage.last, salvage.entries)
            }
        };
        sound.extend(beyond);
        let ids = sound.iter().map(|entry| entry.id).chain([base]);
        if let Some(id) = ids.into_iter().find(|id| id.index == machine.index && *id != machine) {
            return Err(format!(
                "it has {id} where the store ends with {machine}: the two do not belong together"
            ));
        }
        let known = sound.iter().map(|entry| entry.id.term);
        let known = known.chain([hard_state.term, base.term, end.term, machine.term]);
        let term = Term(known.max().expect("there are some").0 + 1);

        let mut damage: Vec<String> = reports.iter().map(ToString::to_string).collect();
        if has_nothing && verdict == Verdict::Damaged {
            damage.push("there is no log, though the member has written one".to_owned());
        }
        if machine.index < base.index {
            damage.push(format!(
                "the log begins after entry {base}, and the store ends with entry {machine}"
            ));
        }
        let after = sound.partition_point(|entry| entry.id.index <= machine.index);
        let mut rest = sound.split_off(after);
        let mut before = machine;
        let run = rest.iter().take_while(|entry| {
            let follows = entry.id.index == before.index.next() && entry.id.term >= before.term;
            before = entry.id;
            follows
        });
        let run = run.count();
        let given_up = rest.split_off(run);
        let kept = rest;
        let kept_to = kept.last().map_or(machine, |entry| entry.id);
        let mut gaps = gaps(kept_to, &given_up, end);
        for gap in &mut gaps {
            // Their names are known, and perhaps their size.
            let named =
                lost.iter().find(|lost| lost.first <= gap.first && gap.last <= lost.last.index);
            if let Some(named) = named {
                gap.terms = (named.last.term, named.last.term);
            }
            gap.bytes = size_of(gap, &records);
        }
        let given_up = given_up.chunk_by(|a, b| a.id.index.next() == b.id.index);
        let given_up = given_up.filter_map(Stretch::of).collect();
        Ok(Self { verdict, damage, machine, base, kept, lost: gaps, given_up, is_end_known, term })
    }

    /// The log of a group that begins anew after an entry, of a term above all that were known, which its state
    /// machine holds: a term, a begin, and nothing else.
    #[must_use]
    pub fn anew(machine: EntryId) -> Self {
        Self {
            verdict: Verdict::Whole,
            damage: Vec::new(),
            machine,
            base: machine,
            kept: Vec::new(),
            lost: Vec::new(),
            given_up: Vec::new(),
            is_end_known: true,
            term: machine.term,
        }
    }

    /// The last entry that is there after a repair.
    #[must_use]
    pub fn end(&self) -> EntryId {
        self.kept.last().map_or(self.machine, |entry| entry.id)
    }

    /// Whether a repair keeps everything that the log ever had.
    #[must_use]
    pub fn loses_nothing(&self) -> bool {
        self.is_end_known && self.lost.is_empty() && self.given_up.is_empty()
    }

    /// The entries that are kept, at a glance.
    #[must_use]
    pub fn kept_stretch(&self) -> Option<Stretch> {
        Stretch::of(&self.kept)
    }

    /// Writes the new log into a directory that does not exist, and reads it back. Returns when it is
    /// durable.
    ///
    /// # Errors
    /// If the system says so, or what is read is something else. The text is meant for the operator.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let failed = |error: &dyn fmt::Display| {
            format!("can't write a new log in {}: {error}", path.display())
        };
        let open = || -> io::Result<Box<dyn Disk>> { Ok(Box::new(FileDisk::open(path)?)) };
        let disk = open().map_err(|error| failed(&error))?;
        self.write_on(disk, wal_options()).map_err(|error| failed(&error))?;
        let mut disk = open().map_err(|error| failed(&error))?;
        self.verify(disk.as_mut(), wal_options()).map_err(|error| failed(&error))
    }

    /// Writes the new log on an empty disk.
    fn write_on(&self, disk: Box<dyn Disk>, options: WalOptions) -> Result<(), String> {
        let group = HostConfig::GROUP;
        let (mut wal, found) = Wal::open_whole(disk, options).map_err(|error| error.to_string())?;
        if !found.is_empty() {
            return Err("there is one already".into());
        }
        let hard_state = HardState { term: self.term, vote: None };
        wal.append(group, &Record::HardState(hard_state));
        if self.machine != EntryId::ZERO {
            wal.append(group, &Record::Reset(self.machine));
        }
        let mut rest = &self.kept[..];
        while !rest.is_empty() {
            if wal.batch_bytes() >= BATCH_BYTES {
                wal.commit().map_err(|error| error.to_string())?;
            }
            let mut bytes = 0;
            let fit = rest.iter().take_while(|entry| {
                bytes += entry.cost();
                bytes <= APPEND_BYTES
            });
            let (entries, after) = rest.split_at(fit.count().max(1));
            wal.append(group, &Record::Append(entries.to_vec()));
            rest = after;
        }
        wal.commit().map_err(|error| error.to_string())?;
        wal.mark();
        Ok(())
    }

    /// Reads the new log back.
    fn verify(&self, disk: &mut dyn Disk, options: WalOptions) -> Result<(), String> {
        let Examined { reports, groups } =
            examine(disk, options).map_err(|error| error.to_string())?;
        let hard_state = HardState { term: self.term, vote: None };
        let (base, entries) = (self.machine, self.kept.clone());
        let expected = Remembered::Whole(Recovered { hard_state, base, entries });
        let own = groups.get(&HostConfig::GROUP).map(|own| &own.remembered);
        if own == Some(&expected) && reports.is_empty() {
            Ok(())
        } else {
            Err("it is read otherwise than it was written".into())
        }
    }
}

/// What a log needs whose member is alone.
fn verdict(remembered: Remembered, is_damaged: bool, machine: EntryId) -> Verdict {
    let alone = NodeId(1);
    let begin = begin(&Membership::of_voters([alone]), alone, remembered, machine);
    match (begin.is_ok(), is_damaged) {
        (true, false) => Verdict::Whole,
        (true, true) => Verdict::MendsItself,
        (false, _) => Verdict::Damaged,
    }
}

/// What is missing after an entry, between others, and up to the end.
fn gaps(mut before: EntryId, others: &[Entry], end: EntryId) -> Vec<Stretch> {
    let mut gaps = Vec::new();
    let after_end = EntryId { term: end.term, index: end.index.next() };
    for next in others.iter().map(|entry| entry.id).chain([after_end]) {
        if before.index.next() < next.index {
            let last = next.index.previous().expect("it is not the first");
            let terms = (before.term.min(next.term), next.term);
            gaps.push(Stretch { first: before.index.next(), last, terms, bytes: None });
        }
        before = next;
    }
    gaps
}

/// What the entries of a gap took, if records of known size account for each of them.
fn size_of(gap: &Stretch, records: &[LostRecord]) -> Option<u64> {
    let within = |record: &&LostRecord| gap.first <= record.first && record.last.index <= gap.last;
    let mut records: Vec<&LostRecord> = records.iter().filter(within).collect();
    records.sort_by_key(|record| record.first);
    let mut next = gap.first;
    for record in &records {
        if record.first != next {
            return None;
        }
        next = record.last.index.next();
    }
    (next > gap.last).then(|| records.iter().map(|record| record.bytes).sum())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use quorate_raft::Payload;
    use quorate_wal::memory::SECTOR_BYTES;
    use quorate_wal::{Fate, MemDisk, Opened};

    use super::*;
    use crate::error::StartError;
    use crate::open::{Owner, open_log};

    const OPTIONS: WalOptions = WalOptions { segment_bytes: 4096, record_bytes_max: 1024 };
    const GROUP: quorate_raft::GroupId = HostConfig::GROUP;

    fn entry(index: u64) -> Entry {
        let payload = match index % 5 {
            0 => Payload::Noop,
            n => Payload::Command(Bytes::from(vec![index as u8; 20 * n as usize])),
        };
        Entry { id: EntryId::new(1 + index / 7, index), payload }
    }

    /// The log of a member alone, which began anew in some terms and compacted once; and all entries that it
    /// ever had.
    fn log() -> (MemDisk, Vec<Entry>) {
        let disk = MemDisk::new();
        let (mut wal, _) = Wal::open_whole(Box::new(disk.clone()), OPTIONS).expect("a new log");
        let mut term = 0;
        for index in 1..=40 {
            let entry = entry(index);
            if entry.id.term.0 != term {
                term = entry.id.term.0;
                let vote = Some(NodeId(7));
                let hard_state = HardState { term: Term(term), vote };
                wal.append(GROUP, &Record::HardState(hard_state));
            }
            wal.append(GROUP, &Record::Append(vec![entry]));
            wal.commit().expect("written");
            wal.mark();
            if index == 12 {
                wal.append(GROUP, &Record::Compact(self::entry(4).id));
            }
        }
        (disk, (1..=40).map(entry).collect())
    }

    /// What a start makes of it, on a copy.
    fn starts(disk: &MemDisk, machine: EntryId) -> Result<(), StartError> {
        let membership = Membership::of_voters([NodeId(7)]);
        let owner = Owner {
            id: NodeId(7),
            group: GROUP,
            membership: &membership,
            has_begun: true,
            applied: machine,
        };
        open_log(Box::new(disk.copy()), Path::new("wal"), owner, wal_options()).map(|_| ())
    }

    fn examined(disk: &MemDisk, machine: EntryId) -> Result<Repair, String> {
        let found = examine(&mut disk.clone(), OPTIONS).map_err(|error| error.to_string())?;
        Repair::new(found, machine, true)
    }

    /// Every entry after the machine is in one of the three lists, and what is said of it is true.
    fn check_lists(repair: &Repair, entries: &[Entry], what: &str) {
        let mut told: BTreeMap<u64, &str> = BTreeMap::new();
        for entry in &repair.kept {
            assert_eq!(*entry, entries[entry.id.index.0 as usize - 1], "{what}");
            told.insert(entry.id.index.0, "kept");
        }
        for (name, stretches) in [("lost", &repair.lost), ("given up", &repair.given_up)] {
            for stretch in stretches {
                for index in stretch.first.0..=stretch.last.0 {
                    let term = entries[index as usize - 1].id.term;
                    assert!(
                        stretch.terms.0 <= term && term <= stretch.terms.1,
                        "{what}: {stretch}"
                    );
                    assert_eq!(told.insert(index, name), None, "{what}: {index}");
                }
            }
        }
        let after = repair.machine.index.0 + 1;
        let end = told.keys().next_back().map_or(after, |last| last + 1);
        assert!(told.keys().copied().eq(after..end), "{what}: {told:?} has a hole");
        if repair.is_end_known {
            assert_eq!(end, 41, "{what}: {told:?}");
        }
        assert!(entries.iter().all(|entry| entry.id.term < repair.term), "{what}");
    }

    /// The new log is durable when it is written, and the member begins with it and the same machine.
    fn check_new_log(repair: &Repair, what: &str) {
        let disk = MemDisk::new();
        repair.write_on(Box::new(disk.clone()), OPTIONS).expect("written");
        disk.crash(|_| Fate::Lost);
        repair.verify(&mut disk.clone(), OPTIONS).expect("as it was written");
        starts(&disk, repair.machine).unwrap_or_else(|error| panic!("{what}: {error}"));
        let again = examined(&disk, repair.machine).expect("it is a log");
        assert_eq!((again.verdict, again.end()), (Verdict::Whole, repair.end()), "{what}");
        assert_eq!((&again.kept, &again.lost, &again.given_up), (&repair.kept, &vec![], &vec![]));
    }

    #[test]
    fn what_any_damage_takes_is_told_and_the_rest_is_a_log() {
        let (pristine, entries) = log();
        let segments = pristine.clone().segments().expect("listed");
        assert!(segments.len() > 1, "damage within the log and at its end");
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for segment in segments {
            let length = pristine.clone().length(segment).expect("known") as usize;
            for at in (0..length).step_by(SECTOR_BYTES) {
                for (is_marked, sectors) in [(true, 1), (false, 1), (true, 6), (false, 6)] {
                    let disk = pristine.copy();
                    let end = (at + sectors * SECTOR_BYTES).min(length);
                    disk.damage(segment, |bytes| bytes[at..end].fill(0xa5));
                    if !is_marked {
                        (0..2).for_each(|slot| disk.damage_mark(slot, |bytes| bytes.fill(0)));
                    }
                    for machine in [4, 20, 40] {
                        let what = format!("{segment}: {at} to {end}, mark {is_marked}, {machine}");
                        let machine = entry(machine).id;
                        let repair = examined(&disk, machine).expect("it can be read");
                        let started = starts(&disk, machine);
                        match repair.verdict {
                            Verdict::Whole | Verdict::MendsItself => {
                                started.unwrap_or_else(|error| panic!("{what}: {error}"));
                                *seen.entry("starts").or_default() += 1;
                                continue;
                            }
                            Verdict::Damaged => assert!(started.is_err(), "{what}: it starts"),
                        }
                        assert!(!repair.damage.is_empty(), "{what}");
                        check_lists(&repair, &entries, &what);
                        check_new_log(&repair, &what);
                        let kind = match (repair.is_end_known, repair.kept.is_empty()) {
                            (true, true) => "named, none kept",
                            (true, false) => "named",
                            (false, _) => "end unknown",
                        };
                        *seen.entry(kind).or_default() += 1;
                    }
                }
            }
        }
        for kind in ["starts", "named", "end unknown"] {
            assert!(seen.contains_key(kind), "{kind} was never seen: {seen:?}");
        }
    }

    #[test]
    fn a_log_that_is_gone_begins_after_the_machine() {
        let machine = EntryId::new(3, 20);
        let repair = examined(&MemDisk::new(), machine).expect("nothing to read");
        assert_eq!(
            (repair.verdict, repair.term, repair.end()),
            (Verdict::Damaged, Term(4), machine)
        );
        assert!(!repair.is_end_known && repair.lost.is_empty() && repair.given_up.is_empty());
        check_new_log(&repair, "no log");
        for (has_begun, verdict) in [(false, Verdict::Whole), (true, Verdict::Damaged)] {
            let found = examine(&mut MemDisk::new(), OPTIONS).expect("nothing to read");
            let repair = Repair::new(found, EntryId::ZERO, has_begun).expect("it can be told");
            assert_eq!(repair.verdict, verdict, "has begun: {has_begun}");
        }
        let started = starts(&MemDisk::new(), EntryId::ZERO);
        assert!(matches!(started, Err(StartError::LogForgotten { .. })), "{started:?}");
    }

    #[test]
    fn a_log_of_which_nothing_is_left_is_given_up() {
        let (disk, _) = log();
        for segment in disk.clone().segments().expect("listed") {
            disk.damage(segment, |bytes| bytes.fill(0xa5));
        }
        (0..2).for_each(|slot| disk.damage_mark(slot, |bytes| bytes.fill(0)));
        let machine = EntryId::new(2, 20);
        assert!(matches!(starts(&disk, machine), Err(StartError::LogForgotten { .. })));
        let repair = examined(&disk, machine).expect("damage is no error");
        assert_eq!((repair.verdict, repair.end()), (Verdict::Damaged, machine));
        assert!(!repair.damage.is_empty() && !repair.is_end_known);
        check_new_log(&repair, "nothing left");
    }

    #[test]
    fn a_machine_that_ends_before_the_log_begins_keeps_nothing_of_it() {
        let (disk, entries) = log();
        let repair = examined(&disk, EntryId::new(1, 2)).expect("it can be read");
        assert_eq!((repair.verdict, repair.kept.len()), (Verdict::Damaged, 0));
        let lost: Vec<String> = repair.lost.iter().map(ToString::to_string).collect();
        assert_eq!(lost, ["entries 3 to 4 of term 1 (of unknown size)"]);
        check_lists(&repair, &entries, "behind");
        check_new_log(&repair, "behind");
    }

    #[test]
    fn a_log_of_somebody_else_is_refused() {
        let (disk, _) = log();
        let why = examined(&disk, EntryId::new(9, 20)).expect_err("another entry 20");
        assert!(why.contains("do not belong together"), "{why}");
        let Opened::Whole(mut wal, _) =
            Wal::open(Box::new(disk.clone()), OPTIONS).expect("it is whole")
        else {
            panic!("it is whole");
        };
        wal.append(quorate_raft::GroupId(9), &Record::HardState(HardState::default()));
        wal.commit().expect("written");
        let why = examined(&disk, EntryId::new(2, 20)).expect_err("another group");
        assert!(why.contains("group 9"), "{why}");
    }

    #[test]
    fn a_log_that_begins_anew_is_one_to_start_with() {
        check_new_log(&Repair::anew(EntryId::new(9, 41)), "anew");
    }

    #[test]
    fn a_new_log_is_not_written_over_another_one() {
        let (disk, _) = log();
        let repair = examined(&MemDisk::new(), EntryId::new(1, 1)).expect("nothing to read");
        repair.write_on(Box::new(disk), OPTIONS).expect_err("there is one");
    }
}
