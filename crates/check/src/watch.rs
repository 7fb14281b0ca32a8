//! What a watch promises: the nine checks of etcd's robustness suite (`tests/robustness/validate/watch.go`),
//! one file each.
//!
//! Six are [etcd's guarantees for watches](https://etcd.io/docs/v3.6/learning/api_guarantees/#watch-apis):
//! ordered, unique, reliable, atomic, resumable, bookmarkable. Three say what an event is: filter,
//! is_create, prev_kv. A watch is what was asked for and all that came; the truth is the list of all
//! [`Changes`].
//!
//! Each check looks at one thing only, so that what is reported is what is wrong: a history that
//! breaks one promise and no other is rejected by that check and no other. The tests hold them to it.
//!
//! Liveness is not among them: that an event comes at all, before the watch ends, only a progress
//! report promises ([`bookmarkable`]).

pub mod atomic;
pub mod bookmarkable;
pub mod filter;
pub mod is_create;
pub mod ordered;
pub mod prev_kv;
pub mod reliable;
pub mod resumable;
pub mod unique;

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_mvcc::watch::{WatchCreateRequest, WatchResponse};
use quorate_mvcc::{Event, EventKind};

use crate::Violation;
use crate::changes::Changes;
use crate::range::Range;

/// One watch: what was asked for, and what came until it ended or the recording did. One that is
/// resumed by the client is another watch.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The request.
    pub request: WatchCreateRequest,
    /// The responses, in the order of their arrival, beginning with the answer to the request. Reports
    /// of progress for the whole stream are noted for each watch of it that was not cancelled.
    pub responses: Vec<WatchResponse>,
}

/// A check: what it demands is said in its file.
type Check = fn(&Watch, &Changes) -> Result<(), String>;

/// The nine checks, by the name of their files.
const CHECKS: [(&str, Check); 9] = [
    ("watch_filter", filter::check),
    ("watch_ordered", ordered::check),
    ("watch_unique", unique::check),
    ("watch_atomic", atomic::check),
    ("watch_bookmarkable", bookmarkable::check),
    ("watch_resumable", resumable::check),
    ("watch_is_create", is_create::check),
    ("watch_reliable", reliable::check),
    ("watch_prev_kv", prev_kv::check),
];

/// All promises that a watch breaks.
#[must_use]
pub fn violations(watch: &Watch, changes: &Changes) -> Vec<Violation> {
    CHECKS
        .iter()
        .filter_map(|(name, check)| {
            check(watch, changes).err().map(|what| Violation::new(name, what))
        })
        .collect()
}

/// Holds a watch against all nine.
///
/// # Errors
/// The first promise that it breaks.
pub fn check(watch: &Watch, changes: &Changes) -> Result<(), Violation> {
    violations(watch, changes).into_iter().next().map_or(Ok(()), Err)
}

impl Watch {
    /// All events, in the order of their arrival.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.responses.iter().flat_map(|response| &response.events)
    }

    /// The first revision that it is to tell of: the one asked for, or the one after the revision at
    /// which it was created. `None` if it never was.
    #[must_use]
    pub fn from(&self) -> Option<i64> {
        let created = self.responses.iter().find(|response| response.created)?;
        match self.request.start_revision {
            0 => Some(created.revision.saturating_add(1)),
            start => Some(start),
        }
    }

    /// Whether an event is one that was asked for, by its key and its kind.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let WatchCreateRequest { key, range_end, no_put, no_delete, .. } = &self.request;
        let is_left_out = match event.kind {
            EventKind::Put => *no_put,
            EventKind::Delete => *no_delete,
        };
        // Of a watch an empty key is the lowest one.
        let from = if key.is_empty() { Bytes::from_static(&[0]) } else { key.clone() };
        !is_left_out && Range::between(from, range_end.clone()).contains(&event.kv.key)
    }
}

/// What names an event: a revision changes a key once. (But for two holes in etcd's check of transactions,
/// through which one can delete a key in a range and put it.)
fn name(event: &Event) -> (i64, &Bytes, bool) {
    (event.kv.mod_revision, &event.kv.key, event.kind == EventKind::Put)
}

/// Whether a response says how far the watch is, and nothing else.
fn is_progress(response: &WatchResponse) -> bool {
    response.events.is_empty() && !response.created && response.cancel.is_none()
}
