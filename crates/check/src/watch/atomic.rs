//! *Atomic*: what one revision changed comes in one response, unless the client allowed fragments: then
//! each response that the revision goes on after says so.
//!
//! etcd's guarantee "Atomic"; `validateAtomic`.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use super::Watch;
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, _: &Changes) -> Result<(), String> {
    // The revisions of the responses before, and those of the fragments that this response may go on.
    let mut before: BTreeSet<i64> = BTreeSet::new();
    let mut together: BTreeSet<i64> = BTreeSet::new();
    for response in &watch.responses {
        if response.fragment && !watch.request.fragment {
            return Err(format!("a fragment comes to who did not ask for fragments: {response:?}"));
        }
        let revisions = || response.events.iter().map(|event| event.kv.mod_revision);
        if let Some(split) = revisions().find(|revision| before.contains(revision)) {
            return Err(format!("revision {split} comes in more than one response"));
        }
        together.extend(revisions());
        if !response.fragment {
            before.append(&mut together);
        }
    }
    Ok(())
}
