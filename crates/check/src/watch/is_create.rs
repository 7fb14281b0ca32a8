//! *IsCreate*: an event says rightly whether it created its key, and which put since the creation it is:
//! its `create_revision` and its `version`.
//!
//! etcd: `validateIsCreate`, which derives the flag from the two.

use alloc::format;
use alloc::string::String;

use quorate_mvcc::{Event, EventKind};

use super::{Watch, name};
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, changes: &Changes) -> Result<(), String> {
    for event in watch.events().filter(|event| event.kind == EventKind::Put) {
        // What never happened is told by another check.
        let truth = changes.of(event.kv.mod_revision).iter().find(|it| name(it) == name(event));
        let Some(Event { kv: truth, .. }) = truth else { continue };
        let expected = (truth.create_revision, truth.version);
        if (event.kv.create_revision, event.kv.version) != expected {
            return Err(format!("{event:?}: its creation and version should be {expected:?}"));
        }
    }
    Ok(())
}
