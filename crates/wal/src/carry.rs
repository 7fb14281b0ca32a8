//! Which segments are kept, and what is written anew so that others can go.
//!
//! A segment is needed as long as some group has an entry in it that isn't compacted. A group that
//! never writes again would so keep a segment, and all that follow it, for ever. Hence the begin of a
//! new segment *carries* entries: they are written there once more, and the old ones are not needed.
//! That is the cleaning of a log-structured file system, with one rule: carry where it frees at least
//! [`GAIN`] times as many bytes as it writes.
//!
//! So carrying adds at most a `GAIN`-th to what is written, and the log is never much longer than
//! `GAIN` times what is live: if it is, freeing it by carrying everything is worth it.
//!
//! Term, vote and base of every group are in every checkpoint, and keep no segment.

use std::collections::{BTreeMap, BTreeSet};

use quorate_raft::GroupId;

use crate::group::GroupLog;
use crate::record::HEADER_BYTES;
use crate::segment::SEGMENT_BYTES_MAX;

/// How many bytes must be freed for each that is carried.
const GAIN: u64 = 4;

/// What a new segment has to carry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The groups whose entries are written anew.
    pub(crate) groups: BTreeSet<GroupId>,
    /// The first segment that is needed then.
    pub(crate) oldest: u64,
}

/// Decides what segment `next` carries; `segments` are those there are, with their lengths.
pub(crate) fn plan(
    groups: &BTreeMap<GroupId, Box<GroupLog>>,
    segments: &BTreeMap<u64, u64>,
    next: u64,
) -> Plan {
    let mut pins: Vec<(u64, GroupId, u64)> = groups
        .iter()
        .filter_map(|(id, log)| {
            Some((log.oldest_segment()?, *id, log.bytes() + HEADER_BYTES as u64))
        })
        .collect();
    // The group with the oldest entry first: only carrying that one lets the oldest segment go.
    pins.sort_unstable();
    let oldest_after = |count: usize| pins.get(count).map_or(next, |(segment, _, _)| *segment);
    let oldest = oldest_after(0);
    let mut carried = 0;
    let mut count = 0;
    for (position, (_, _, bytes)) in pins.iter().enumerate() {
        carried += bytes;
        let freed: u64 = segments.range(oldest..oldest_after(position + 1)).map(|(_, n)| n).sum();
        if carried <= SEGMENT_BYTES_MAX / 4 && freed / GAIN >= carried {
            count = position + 1;
        }
    }
    let groups = pins[..count].iter().map(|(_, group, _)| *group).collect();
    Plan { groups, oldest: oldest_after(count) }
}

/// What a new segment `next` has to carry so that no segment up to `damaged` is needed.
pub(crate) fn evacuation(
    groups: &BTreeMap<GroupId, Box<GroupLog>>,
    damaged: u64,
    next: u64,
) -> Plan {
    let mut plan = Plan { groups: BTreeSet::new(), oldest: next };
    for (group, log) in groups {
        match log.oldest_segment() {
            Some(oldest) if oldest <= damaged => {
                plan.groups.insert(*group);
            }
            Some(oldest) => plan.oldest = plan.oldest.min(oldest),
            None => {}
        }
    }
    plan
}
