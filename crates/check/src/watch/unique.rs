//! *Unique*: an event never comes twice. A revision changes a key once, so the two name an event.
//!
//! etcd's guarantee "Unique"; `validateUnique`. (A transaction that deletes a key in one way and puts it
//! in another is refused, but for two holes that etcd's check of transactions has; what goes through
//! them would be reported here.)

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use super::Watch;
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, _: &Changes) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for event in watch.events() {
        if !seen.insert((event.kv.mod_revision, &event.kv.key)) {
            return Err(format!("{event:?} comes twice"));
        }
    }
    Ok(())
}
