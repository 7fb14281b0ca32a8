//! *Resumable*: a watch that begins where another one broke goes on without a gap: the first event that
//! comes is the first one from its beginning on that was asked for.
//!
//! etcd's guarantee "Resumable"; `validateResumable`. A watch whose beginning is compacted is cancelled,
//! and gets nothing.

use alloc::format;
use alloc::string::String;

use super::Watch;
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, changes: &Changes) -> Result<(), String> {
    let (Some(from), Some(first)) = (watch.from(), watch.events().find(|event| watch.wants(event)))
    else {
        return Ok(());
    };
    let before = changes
        .between(from, first.kv.mod_revision.saturating_sub(1))
        .find(|event| watch.wants(event));
    match before {
        Some(missing) => {
            Err(format!("a watch from {from} begins with {first:?}, and {missing:?} is before"))
        }
        None => Ok(()),
    }
}
