//! *PrevKV*: an event carries the key as it was before its revision, if that was asked for and the key
//! was there; or nothing, if that state may have been compacted.
//!
//! etcd: `validatePrevKV`.

use alloc::format;
use alloc::string::String;

use super::Watch;
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, changes: &Changes) -> Result<(), String> {
    for event in watch.events() {
        let before = event.kv.mod_revision.saturating_sub(1);
        let truth = changes.at(&event.kv.key, before).filter(|_| watch.request.prev_kv);
        let is_right = match &event.prev_kv {
            None => truth.is_none() || changes.may_be_compacted(before),
            told => told.as_ref() == truth,
        };
        if !is_right {
            return Err(format!("{event:?}: before it was {truth:?}"));
        }
    }
    Ok(())
}
