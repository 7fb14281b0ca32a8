//! *Unique*: an event never comes twice.
//!
//! etcd's guarantee "Unique"; `validateUnique`.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use super::{Watch, name};
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, _: &Changes) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for event in watch.events() {
        if !seen.insert(name(event)) {
            return Err(format!("{event:?} comes twice"));
        }
    }
    Ok(())
}
