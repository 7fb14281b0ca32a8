//! *Atomic*: what one revision changed comes in one response, unless the client allowed fragments: then
//! each response that the revision goes on after says so.
//!
//! etcd's guarantee "Atomic"; `validateAtomic`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Watch;
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, _: &Changes) -> Result<(), String> {
    // The revisions of the responses before, in their order, and those of the fragments that this response
    // may go on. As a rule they ascend, so that each is put at the end.
    let mut before: Vec<i64> = Vec::new();
    let mut together: Vec<i64> = Vec::new();
    for response in &watch.responses {
        if response.fragment && !watch.request.fragment {
            return Err(format!("a fragment comes to who did not ask for fragments: {response:?}"));
        }
        let revisions = || response.events.iter().map(|event| event.kv.mod_revision);
        if let Some(split) = revisions().find(|revision| before.binary_search(revision).is_ok()) {
            return Err(format!("revision {split} comes in more than one response"));
        }
        together.extend(revisions());
        if !response.fragment {
            together.sort_unstable();
            let follows = together.first().is_none_or(|first| before.last() <= Some(first));
            before.append(&mut together);
            if !follows {
                before.sort_unstable();
            }
        }
    }
    Ok(())
}
