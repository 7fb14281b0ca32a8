//! *Ordered*: events come in the order of their revisions; none comes after one that follows it in time.
//!
//! etcd's guarantee "Ordered"; `validateOrdered`.

use alloc::format;
use alloc::string::String;

use super::Watch;
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, _: &Changes) -> Result<(), String> {
    let mut last = 0;
    for event in watch.events() {
        let revision = event.kv.mod_revision;
        if revision < last {
            return Err(format!("{event:?} comes after revision {last}"));
        }
        last = revision;
    }
    Ok(())
}
