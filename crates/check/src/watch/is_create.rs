//! *IsCreate*: an event says rightly whether it created its key, and which put since the creation it is:
//! its `create_revision` and its `version`.
//!
//! etcd: `validateIsCreate`, which derives the flag from the two.

use alloc::format;
use alloc::string::String;

use quorate_mvcc::EventKind;

use super::Watch;
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, changes: &Changes) -> Result<(), String> {
    for event in watch.events().filter(|event| event.kind == EventKind::Put) {
        let kv = &event.kv;
        let before = changes.at(&kv.key, kv.mod_revision.saturating_sub(1));
        let expected = before
            .map_or((kv.mod_revision, 1), |kv| (kv.create_revision, kv.version.saturating_add(1)));
        if (kv.create_revision, kv.version) != expected {
            return Err(format!(
                "{event:?}: its creation and version should be {expected:?}, after {before:?}"
            ));
        }
    }
    Ok(())
}
