//! *Bookmarkable*: a report of progress with a revision says that every event up to it has come. So none
//! up to it comes later, and none is missing.
//!
//! etcd's guarantee "Bookmarkable"; `validateBookmarkable`, which demands the first half.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use super::{Watch, is_progress, name};
use crate::changes::Changes;

pub(super) fn check(watch: &Watch, changes: &Changes) -> Result<(), String> {
    let mut bookmark = 0;
    let mut came = BTreeSet::new();
    // What has been demanded already.
    let mut through = watch.from().unwrap_or(i64::MAX).saturating_sub(1);
    for response in &watch.responses {
        for event in &response.events {
            if event.kv.mod_revision <= bookmark {
                return Err(format!("{event:?} comes after progress was reported to {bookmark}"));
            }
            came.insert(name(event));
        }
        if is_progress(response) {
            bookmark = bookmark.max(response.revision);
            let mut demanded = changes.between(through.saturating_add(1), bookmark);
            let missing = demanded.find(|event| watch.wants(event) && !came.contains(&name(event)));
            if let Some(event) = missing {
                return Err(format!(
                    "progress is reported to {bookmark}, and {event:?} never came"
                ));
            }
            through = through.max(bookmark);
        }
    }
    Ok(())
}
