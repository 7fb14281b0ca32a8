//! The files of a log: one that was written and is changed, or whatever lies there.

use bytes::Bytes;
use quorate_raft::{
    Entry, EntryId, GroupId, HardState, NodeId, Payload, Record, Recovered, Remembered, Term,
};
use quorate_wal::{
    Disk as _, Fate, Healed, MARK_SLOT_BYTES, MemDisk, OpenError, Opened, PLEDGE_SLOTS, Wal,
    WalOptions, examine,
};

use crate::Draw;

const OPTIONS: WalOptions = WalOptions { segment_bytes: 2048, record_bytes_max: 1024 };

/// The layout, of which `docs/wal.md` tells: who means harm knows it too.
const HEADER_BYTES: usize = 128;
const MARK_HEAD_BYTES: usize = 56;
const MARK_GROUP_BYTES: usize = 80;

/// The most changes.
const CHANGES_MAX: usize = 40;

pub(super) fn run(input: &[u8]) {
    let mut draw = Draw::new(input);
    let mut disk = MemDisk::new();
    if draw.bit() {
        write(&disk, &mut draw);
    }
    for _ in 0..CHANGES_MAX {
        if !draw.more() {
            break;
        }
        change(&mut disk, &mut draw);
    }
    judge(&disk);
}

/// Commits some batches, the last of which may be torn.
fn write(disk: &MemDisk, draw: &mut Draw<'_>) {
    let (mut wal, _) = open(disk).expect("a disk that works").whole().expect("an empty log");
    let mut groups = [Recovered::default(), Recovered::default(), Recovered::default()];
    let (batches, torn) = (draw.byte() % 24, draw.byte());
    for _ in 0..batches {
        let records = draw.byte() % 4;
        for _ in 0..=records {
            let (choice, group) = (draw.byte(), usize::from(draw.byte() % 3));
            let record = record(choice, &groups[group], draw);
            take(&mut groups[group], &record);
            wal.append(GroupId(group as u64 + 1), &record);
        }
        wal.commit().expect("a disk that works");
    }
    if torn & 1 == 1 {
        let record = record(0, &groups[0], draw);
        wal.append(GroupId(1), &record);
        wal.commit().expect("a disk that works");
        let fates = [Fate::Kept, Fate::Lost, Fate::Torn(usize::from(torn))];
        disk.crash(|_| draw.of(&fates));
    }
}

fn last(log: &Recovered) -> EntryId {
    log.entries.last().map_or(log.base, |entry| entry.id)
}

/// A record that Raft could write.
fn record(choice: u8, log: &Recovered, draw: &mut Draw<'_>) -> Record {
    let HardState { term, vote } = log.hard_state;
    let newest = last(log);
    match choice % 8 {
        0..4 => {
            let term = term.max(newest.term).max(Term(1));
            let count = u64::from(choice >> 4) + 1;
            let entry = |n| Entry {
                id: EntryId { term, index: quorate_raft::Index(newest.index.0 + n) },
                payload: match draw.bytes() {
                    [] => Payload::Noop,
                    command => Payload::Command(Bytes::copy_from_slice(command)),
                },
            };
            Record::Append((1..=count).map(entry).collect())
        }
        4 if vote.is_none() => {
            Record::HardState(HardState { term, vote: Some(NodeId(draw.byte().into())) })
        }
        4 | 5 => {
            let term = Term(term.0.max(newest.term.0) + 1);
            Record::HardState(HardState { term, vote: None })
        }
        6 if !log.entries.is_empty() => {
            let at = usize::from(draw.byte()) % log.entries.len();
            Record::Compact(log.entries[at].id)
        }
        _ => {
            let term = term.max(newest.term).max(Term(1));
            let index = quorate_raft::Index(newest.index.0 + 1 + u64::from(draw.byte()));
            Record::Reset(EntryId { term, index })
        }
    }
}

fn take(log: &mut Recovered, record: &Record) {
    match record {
        Record::HardState(hard_state) => log.hard_state = *hard_state,
        Record::Append(entries) => log.entries.extend(entries.iter().cloned()),
        Record::Compact(id) => {
            log.entries.retain(|entry| entry.id.index > id.index);
            log.base = *id;
        }
        Record::Reset(id) => {
            log.entries.clear();
            log.base = *id;
        }
    }
}

fn change(disk: &mut MemDisk, draw: &mut Draw<'_>) {
    let kind = draw.byte();
    match kind % 8 {
        0 => {
            let (number, length) = (draw.byte() % 8, draw.short());
            disk.insert(number.into(), draw.take(length.into()).to_vec());
        }
        7 => {
            let numbers = disk.numbers();
            if let Some(number) = numbers.get(usize::from(draw.byte() % 8)) {
                disk.remove(*number).expect("it is there");
            }
        }
        1..4 => {
            let numbers = disk.numbers();
            let Some(number) = numbers.get(usize::from(draw.byte()) % numbers.len().max(1)) else {
                return;
            };
            disk.damage(*number, |bytes| damage(kind % 8, bytes, draw));
            if kind & 8 != 0 {
                disk.damage(*number, |bytes| seal(bytes, kind & 16 != 0));
            }
        }
        4 => {
            let slot = usize::from(draw.byte()) % PLEDGE_SLOTS.end;
            disk.write_mark(slot, draw.bytes()).expect("a disk that works");
            disk.write_back_marks();
        }
        _ => {
            let slot = usize::from(draw.byte()) % PLEDGE_SLOTS.end;
            disk.damage_mark(slot, |bytes| {
                damage(kind % 4, bytes, draw);
                if kind & 8 != 0 {
                    seal_slot(bytes);
                }
            });
        }
    }
}

fn damage(kind: u8, bytes: &mut [u8], draw: &mut Draw<'_>) {
    if bytes.is_empty() {
        return;
    }
    let at = usize::from(draw.short()) % bytes.len();
    match kind {
        1 => bytes[at] ^= draw.byte().max(1),
        2 => {
            for (byte, new) in bytes[at..].iter_mut().zip(draw.bytes()) {
                *byte = *new;
            }
        }
        _ => {
            let end = (at + usize::from(draw.short())).min(bytes.len());
            bytes[at..end].fill(0);
        }
    }
}

fn put_checksum(bytes: &mut [u8], at: usize, checksum: u32) {
    bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// Makes the checksums of the records of a segment right, as far as they are found, and the chain through them.
fn seal(segment: &mut [u8], with_chain: bool) {
    let mut at = 0;
    let mut chain = None;
    while segment.len() >= at + HEADER_BYTES && segment[at..].starts_with(b"QWAL") {
        let length = segment[at + 40..at + 44].try_into().map(u32::from_le_bytes);
        let length = length.expect("4 bytes") as usize;
        let body =
            at + HEADER_BYTES..(at + HEADER_BYTES).saturating_add(length.next_multiple_of(8));
        let next = body.end;
        if let Some(body) = segment.get(body) {
            let checksum = crc32fast::hash(body);
            put_checksum(segment, at + 120, checksum);
        }
        if let Some(chain) = chain.filter(|_| with_chain) {
            put_checksum(segment, at + 44, chain);
        }
        let checksum = crc32fast::hash(&segment[at..at + 124]);
        put_checksum(segment, at + 124, checksum);
        (chain, at) = (Some(checksum), next);
    }
}

/// The same of a slot.
fn seal_slot(slot: &mut [u8]) {
    if slot.starts_with(b"QMRK") && slot.len() >= MARK_HEAD_BYTES {
        let count = slot[48..56].try_into().map(u64::from_le_bytes).expect("8 bytes") as usize;
        let end = count.saturating_mul(MARK_GROUP_BYTES).saturating_add(MARK_HEAD_BYTES);
        if end < slot.len() - 4 {
            let checksum = crc32fast::hash(&slot[..end]);
            put_checksum(slot, end, checksum);
        }
    } else if slot.len() >= 16 {
        let length = slot[8..12].try_into().map(u32::from_le_bytes).expect("4 bytes") as usize;
        if let Some(covered) = slot.get(8..length.min(MARK_SLOT_BYTES)) {
            let checksum = crc32fast::hash(covered);
            put_checksum(slot, 4, checksum);
        }
    }
}

fn open(disk: &MemDisk) -> Result<Opened, OpenError> {
    Wal::open(Box::new(disk.clone()), OPTIONS)
}

fn judge(disk: &MemDisk) {
    let examined = examine(&mut disk.copy(), OPTIONS);
    let disk = disk.copy();
    match open(&disk) {
        Err(_) => {}
        Ok(Opened::Whole(wal, groups)) => {
            let examined = examined.expect("what can be opened can be examined");
            let whole = |(group, found): (&GroupId, &Recovered)| {
                examined.groups.get(group).map(|it| &it.remembered)
                    == Some(&Remembered::Whole(found.clone()))
            };
            assert!(examined.reports.is_empty() && groups.iter().all(whole));
            go_on(&disk, *wal, groups.into_iter().collect());
        }
        Ok(Opened::Damaged(damaged)) => {
            assert!(!damaged.reports.is_empty(), "what is damaged is told");
            let recovered = |remembered: &Remembered| match remembered {
                Remembered::Whole(log) | Remembered::Forgotten(log) => log.clone(),
                Remembered::Damaged(_) => Recovered::default(),
            };
            let groups: Vec<_> = damaged
                .groups
                .iter()
                .map(|(group, remembered)| (*group, recovered(remembered)))
                .collect();
            let healed = groups.iter().map(|(group, log)| (*group, Healed::from(log.clone())));
            if let Ok(wal) = damaged.heal(healed.collect()) {
                go_on(&disk, wal, groups);
            }
        }
    }
}

/// Uses an opened log, and opens it again.
fn go_on(disk: &MemDisk, mut wal: Wal, mut groups: Vec<(GroupId, Recovered)>) {
    // Beyond what Raft believes of anybody.
    let is_far = |log: &Recovered| {
        let numbers = [log.hard_state.term.0, last(log).term.0, last(log).index.0];
        numbers.iter().any(|number| *number > 1 << 62)
    };
    if groups.iter().any(|(_, log)| is_far(log)) {
        return;
    }
    for (group, log) in &mut groups {
        for choice in [0, 5] {
            let record = record(choice, log, &mut Draw::new(&[]));
            take(log, &record);
            wal.append(*group, &record);
        }
    }
    if wal.commit().is_err() {
        return;
    }
    let (_, again) = open(disk).expect("a disk that works").whole().expect("a log that is whole");
    for (group, log) in groups {
        assert_eq!(again.get(&group), Some(&log), "what was committed is there");
    }
}
