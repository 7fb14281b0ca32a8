//! *Filter*: an event comes only if it was asked for. Its key is in the range, its kind is not left out,
//! and its revision is not before the one that the watch begins with.
//!
//! etcd: `validateFilter`. The beginning is ours; etcd's suite sees it in `validateResumable`.

use alloc::format;
use alloc::string::String;

use super::Watch;
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, _: &Changes) -> Result<(), String> {
    for event in watch.events() {
        if !watch.wants(event) {
            return Err(format!("{event:?} was not asked for by {:?}", watch.request));
        }
        if watch.from().is_none_or(|from| event.kv.mod_revision < from) {
            return Err(format!("{event:?} comes to a watch from {:?}", watch.from()));
        }
    }
    Ok(())
}
