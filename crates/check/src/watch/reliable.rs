//! *Reliable*: between two events that came, none is missing that was asked for; and what came is what
//! happened. Of a revision whose last fragment did not come before the stream ended, more may be missing.
//!
//! etcd's guarantee "Reliable"; `validateReliable`.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use quorate_mvcc::Event;
use quorate_mvcc::watch::WatchResponse;

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
    let told_to = if ends_with_fragment(watch) { last.0 - 1 } else { last.0 };
    let mut between = changes.between(first.0, told_to).filter(|event| watch.wants(event));
    match between.find(|event| !came.contains(&name(event))) {
        Some(missing) => {
            Err(format!("{missing:?} is missing between revision {} and {told_to}", first.0))
        }
        None => Ok(()),
    }
}

/// Whether the last events that came are to be followed by others of the same revision.
fn ends_with_fragment(watch: &Watch) -> bool {
    let with_events = |response: &&WatchResponse| !response.events.is_empty();
    watch.responses.iter().rfind(with_events).is_some_and(|response| response.fragment)
}

/// What an event says of its own; the rest follows from the events before it and has checks of its own.
fn is_same(a: &Event, b: &Event) -> bool {
    a.kind == b.kind && a.kv.key == b.kv.key && a.kv.value == b.kv.value && a.kv.lease == b.kv.lease
}
