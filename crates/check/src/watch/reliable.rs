//! *Reliable*: between two events that came, none is missing that was asked for; and what came is what
//! happened.
//!
//! etcd's guarantee "Reliable"; `validateReliable`.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use quorate_mvcc::Event;

use super::{Watch, name};
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, changes: &Changes) -> Result<(), String> {
    let mut came = BTreeSet::new();
    for event in watch.events() {
        let did_happen =
            changes.of(event.kv.mod_revision).iter().any(|truth| is_same(truth, event));
        if !did_happen {
            return Err(format!("{event:?} never happened"));
        }
        came.insert(name(event));
    }
    let (Some(first), Some(last)) = (came.first(), came.last()) else {
        return Ok(());
    };
    let mut between = changes.between(first.0, last.0).filter(|event| watch.wants(event));
    match between.find(|event| !came.contains(&name(event))) {
        Some(missing) => {
            Err(format!("{missing:?} is missing between revision {} and {}", first.0, last.0))
        }
        None => Ok(()),
    }
}

/// What an event says of its own; the rest follows from the events before it and has checks of its own.
fn is_same(a: &Event, b: &Event) -> bool {
    a.kind == b.kind && a.kv.key == b.kv.key && a.kv.value == b.kv.value && a.kv.lease == b.kv.lease
}
