//! A lease takes its keys with it: all that hang on it when it ends are deleted in one revision, and in
//! that one nothing else is.
//!
//! Seen from the list of all changes, a revision that deletes keys with a lease and is not the request
//! of a client is the end of that lease.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

use bytes::Bytes;
use quorate_mvcc::{Event, EventKind};

use crate::changes::Changes;

pub(super) fn check(changes: &Changes, is_of_client: impl Fn(i64) -> bool) -> Result<(), String> {
    // What hangs on each lease, and on which it hangs.
    let mut keys_of: BTreeMap<i64, BTreeSet<Bytes>> = BTreeMap::new();
    let mut lease_of: BTreeMap<Bytes, i64> = BTreeMap::new();
    let mut ended: BTreeMap<i64, i64> = BTreeMap::new();
    for revision in 2..=changes.last() {
        let events = changes.of(revision);
        if !is_of_client(revision) {
            ends_one_lease(revision, events, &keys_of, &lease_of, &mut ended)?;
        }
        for Event { kind, kv, .. } in events {
            if let Some(lease) = lease_of.remove(&kv.key) {
                keys_of.entry(lease).or_default().remove(&kv.key);
            }
            if *kind == EventKind::Put && kv.lease != 0 {
                if let Some(end) = ended.get(&kv.lease) {
                    return Err(format!(
                        "{:?} hangs itself on lease {} at {revision}, which ended at {end}",
                        kv.key, kv.lease
                    ));
                }
                lease_of.insert(kv.key.clone(), kv.lease);
                keys_of.entry(kv.lease).or_default().insert(kv.key.clone());
            }
        }
    }
    Ok(())
}

/// A revision that no client asked for.
fn ends_one_lease(
    revision: i64,
    events: &[Event],
    keys_of: &BTreeMap<i64, BTreeSet<Bytes>>,
    lease_of: &BTreeMap<Bytes, i64>,
    ended: &mut BTreeMap<i64, i64>,
) -> Result<(), String> {
    let lease = events.first().and_then(|event| lease_of.get(&event.kv.key));
    let Some(lease) = lease else {
        return Err(format!("nobody asked for revision {revision}: {events:?}"));
    };
    let all = &keys_of[lease];
    let deleted: BTreeSet<Bytes> = events
        .iter()
        .filter(|event| event.kind == EventKind::Delete)
        .map(|event| event.kv.key.clone())
        .collect();
    if deleted != *all || events.len() != deleted.len() {
        return Err(format!(
            "lease {lease} ends at {revision} with the keys {all:?}, and what changes is {events:?}"
        ));
    }
    ended.insert(*lease, revision);
    Ok(())
}
