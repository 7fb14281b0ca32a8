//! Random workloads with random power cuts, and bytes that nobody wrote.

mod common;

use std::ops::Range;

use common::{
    Model, SMALL, Step, append, apply, check_groups, compact, entries, hard_state, healed,
    is_prefix, open, reopen, reset,
};
use proptest::prelude::*;
use proptest::sample::Index;
use quorate_raft::{EntryId, GroupId};
use quorate_wal::{Disk as _, Fate, MemDisk, Opened, Wal, WalOptions};

/// What a test does, drawn without knowledge of the state; made possible when it is done.
#[derive(Clone, Debug)]
enum Act {
    Vote { group: u64, terms: u64, vote: Option<u64> },
    Append { group: u64, back: u64, count: u64 },
    Compact { group: u64, back: u64 },
    Reset { group: u64, ahead: u64 },
}

#[derive(Clone, Debug)]
enum Turn {
    Commit(Vec<Act>),
    Reopen,
    /// The power goes while a batch is under way; what is kept follows from the number.
    Crash {
        batch: Vec<Act>,
        luck: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let group = 1..5_u64;
    prop_oneof![
        2 => (group.clone(), 0..3_u64, prop::option::of(1..4_u64))
            .prop_map(|(group, terms, vote)| Act::Vote { group, terms, vote }),
        5 => (group.clone(), 0..6_u64, 1..9_u64)
            .prop_map(|(group, back, count)| Act::Append { group, back, count }),
        2 => (group.clone(), 0..4_u64).prop_map(|(group, back)| Act::Compact { group, back }),
        1 => (group, 0..20_u64).prop_map(|(group, ahead)| Act::Reset { group, ahead }),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    let batch = || prop::collection::vec(act(), 1..6);
    prop_oneof![
        8 => batch().prop_map(Turn::Commit),
        1 => Just(Turn::Reopen),
        3 => (batch(), any::<u64>()).prop_map(|(batch, luck)| Turn::Crash { batch, luck }),
    ]
}

/// The records that the acts mean in this state.
fn steps(model: &Model, acts: &[Act]) -> Vec<Step> {
    let mut model = model.clone();
    let mut steps = Vec::new();
    for act in acts {
        let (Act::Vote { group, .. }
        | Act::Append { group, .. }
        | Act::Compact { group, .. }
        | Act::Reset { group, .. }) = *act;
        let log = model.get(&GroupId(group)).cloned().unwrap_or_default();
        let last = log.entries.last().map_or(log.base, |entry| entry.id);
        let step = match *act {
            Act::Vote { terms, vote, .. } => {
                let before = log.hard_state;
                let vote = if terms == 0 { before.vote.map_or(vote, |n| Some(n.0)) } else { vote };
                hard_state(group, before.term.0 + terms, vote)
            }
            Act::Append { back, count, .. } => {
                let after = last.index.0.saturating_sub(back).max(log.base.index.0);
                append(group, last.term.0 + u64::from(back > 0), after, after + count)
            }
            Act::Compact { back, .. } => {
                let ids: Vec<EntryId> = log.entries.iter().map(|entry| entry.id).collect();
                let back = usize::try_from(back).unwrap();
                let id = ids.iter().rev().nth(back).copied().unwrap_or(log.base);
                compact(group, id.term.0, id.index.0)
            }
            Act::Reset { ahead, .. } => reset(group, last.term.0, last.index.0 + ahead),
        };
        apply(&mut model, &step);
        steps.push(step);
    }
    steps
}

/// One fault of a disk, anywhere.
#[derive(Clone, Debug)]
enum Damage {
    /// A sector or block of zeros.
    Zeroed { place: Index, length: usize },
    /// A sector, block or byte with other bits.
    Flipped { place: Index, length: usize },
    /// A sector or block that went to another place; zeros are where it belongs.
    Astray { from: Index, to: Index, length: usize },
    /// A file that is gone.
    Gone { place: Index },
    /// A slot of the mark.
    Mark { slot: usize },
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<Index>;
    let length = || prop_oneof![3 => Just(512_usize), 1 => Just(4096), 1 => Just(1)];
    prop_oneof![
        6 => (place(), length()).prop_map(|(place, length)| Damage::Zeroed { place, length }),
        3 => (place(), length()).prop_map(|(place, length)| Damage::Flipped { place, length }),
        3 => (place(), place(), length())
            .prop_map(|(from, to, length)| Damage::Astray { from, to, length }),
        1 => place().prop_map(|place| Damage::Gone { place }),
        1 => (0..2_usize).prop_map(|slot| Damage::Mark { slot }),
    ]
}

/// A piece of this length, aligned to it, somewhere in a segment.
fn piece(place: Index, length: usize, images: &[(u64, Vec<u8>)]) -> (u64, Range<usize>) {
    let pieces = images.iter().flat_map(|(segment, bytes)| {
        let begins = (0..bytes.len()).step_by(length);
        begins.map(|begin| (*segment, begin..(begin + length).min(bytes.len())))
    });
    let pieces: Vec<_> = pieces.collect();
    place.get(&pieces).clone()
}

fn inflict(disk: &MemDisk, damage: &Damage) {
    let images = common::images(disk);
    if images.is_empty() {
        return;
    }
    match *damage {
        Damage::Zeroed { place, length } => {
            let (segment, range) = piece(place, length, &images);
            disk.damage(segment, |bytes| bytes[range].fill(0));
        }
        Damage::Flipped { place, length } => {
            let (segment, range) = piece(place, length, &images);
            disk.damage(segment, |bytes| bytes[range].iter_mut().for_each(|byte| *byte ^= 0x5a));
        }
        Damage::Astray { from, to, length } => {
            let (home, from) = piece(from, length, &images);
            let (away, to) = piece(to, length, &images);
            let length = from.len().min(to.len());
            let (_, bytes) = images.iter().find(|(segment, _)| *segment == home).unwrap();
            let written = &bytes[from.start..from.start + length];
            disk.damage(home, |bytes| bytes[from.start..from.start + length].fill(0));
            disk.damage(away, |bytes| {
                bytes[to.start..to.start + length].copy_from_slice(written);
            });
        }
        Damage::Gone { place } => disk.clone().remove(place.get(&images).0).unwrap(),
        Damage::Mark { slot } => disk.damage_mark(slot, |bytes| bytes.fill(0xa5)),
    }
}

/// A generator that is good enough to draw fates.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn run(turns: &[Turn], options: WalOptions) {
    let disk = MemDisk::new();
    let (mut wal, mut model) = reopen(&disk, options);
    for turn in turns {
        match turn {
            Turn::Commit(acts) => {
                let batch = steps(&model, acts);
                common::write(&mut wal, &batch).unwrap();
                batch.iter().for_each(|step| apply(&mut model, step));
            }
            Turn::Reopen => {
                let found;
                (wal, found) = reopen(&disk, options);
                assert_eq!(found, model);
            }
            Turn::Crash { batch, luck } => {
                let batch = steps(&model, batch);
                let mut luck = *luck;
                // One of its calls fails, and the power with it.
                let failing = common::Failing::new(
                    disk.clone(),
                    4 + next(&mut luck) % 12,
                    std::io::ErrorKind::Other,
                );
                let opened = Wal::open_whole(Box::new(failing), options);
                let whole =
                    opened.is_ok_and(|(mut wal, _)| common::write(&mut wal, &batch).is_ok());
                disk.crash(|_| match next(&mut luck) % 5 {
                    0 | 1 => Fate::Lost,
                    2 | 3 => Fate::Kept,
                    _ => Fate::Torn(usize::try_from(next(&mut luck) % 512).unwrap()),
                });
                let found;
                (wal, found) = reopen(&disk, options);
                if whole {
                    batch.iter().for_each(|step| apply(&mut model, step));
                    assert_eq!(found, model);
                } else {
                    assert!(is_prefix(&found, &model, &batch), "found {found:#?}");
                    model = found;
                }
            }
        }
    }
    assert_eq!(reopen(&disk, options).1, model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_acknowledged_survives(turns in prop::collection::vec(turn(), 1..40)) {
        run(&turns, SMALL);
    }

    #[test]
    fn so_it_does_where_hardly_anything_fits_a_segment(turns in prop::collection::vec(turn(), 1..40)) {
        run(&turns, WalOptions { segment_bytes: 600, record_bytes_max: 1024 });
    }

    #[test]
    fn what_is_told_of_a_damaged_log_is_true_and_heals_it(
        turns in prop::collection::vec(prop::collection::vec(act(), 1..6), 1..40),
        damages in prop::collection::vec(damage(), 1..4),
        segment_bytes in prop_oneof![Just(600_u64), Just(2048), Just(8192)],
    ) {
        let options = WalOptions { segment_bytes, record_bytes_max: 1024 };
        let disk = MemDisk::new();
        let (mut wal, mut model) = reopen(&disk, options);
        let mut batches = Vec::new();
        for acts in &turns {
            let batch = steps(&model, acts);
            common::write(&mut wal, &batch).unwrap();
            batch.iter().for_each(|step| apply(&mut model, step));
            batches.push(batch);
        }
        damages.iter().for_each(|damage| inflict(&disk, damage));
        // The last mark is there, so that the end of the log is known.
        let last = (wal.stats().marks + 1) % 2;
        let is_marked =
            !damages.iter().any(|damage| matches!(damage, Damage::Mark { slot } if *slot as u64 == last));
        match Wal::open(Box::new(disk.clone()), options) {
            Ok(Opened::Whole(_, found)) if found == model => {}
            Ok(Opened::Whole(_, found)) => {
                prop_assert!(!is_marked, "acknowledged records were cut");
                let mut state = Model::new();
                let was = batches.iter().flatten().any(|step| {
                    let was = state == found;
                    apply(&mut state, step);
                    was
                });
                prop_assert!(was, "this was never in the log: {:#?}", found);
            }
            Ok(Opened::Damaged(damaged)) => {
                if is_marked {
                    check_groups(&damaged, &model, &entries(&batches), "damaged");
                    damaged.heal(healed(&model)).unwrap();
                    prop_assert_eq!(reopen(&disk, options).1, model);
                }
            }
            Err(error) => prop_assert!(!is_marked, "{}", error),
        }
    }

    #[test]
    fn any_bytes_are_opened_or_refused(
        segments in prop::collection::btree_map(1..4_u64, prop::collection::vec(any::<u8>(), 0..300), 1..3)
    ) {
        let disk = MemDisk::new();
        for (segment, bytes) in segments {
            disk.insert(segment, bytes);
        }
        // Either is fine; a panic is not. What is opened can be opened again.
        if let Ok((_, found)) = open(&disk, SMALL) {
            prop_assert_eq!(reopen(&disk, SMALL).1, found);
        }
    }

    #[test]
    fn changed_bytes_never_yield_what_was_not_written(
        turns in prop::collection::vec(prop::collection::vec(act(), 1..6), 1..20),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let disk = MemDisk::new();
        let (mut wal, mut model) = reopen(&disk, SMALL);
        let mut history = vec![model.clone()];
        for acts in &turns {
            let batch = steps(&model, acts);
            common::write(&mut wal, &batch).unwrap();
            for step in &batch {
                apply(&mut model, step);
                history.push(model.clone());
            }
        }
        let images = common::images(&disk);
        for (at, byte) in changes {
            let (segment, bytes) = &images[at.index(images.len())];
            disk.damage(*segment, |image| image[at.index(bytes.len())] = byte);
        }
        if let Ok((_, found)) = open(&disk, SMALL) {
            prop_assert!(history.contains(&found), "found {:#?}", found);
        }
    }
}
