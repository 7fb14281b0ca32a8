//! A client that watches everything from the first revision on, and goes on with another member where a
//! stream ended, as etcd's clients do: behind what it was told of, or with the oldest revision that is left
//! if that is compacted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_check::watch::Watch;
use quorate_mvcc::Error;
use quorate_mvcc::watch::{Cancel, WatchCreateRequest, WatchResponse};
use quorate_proto::etcdserverpb as pb;

use crate::checks::blackbox::recorder::Recorder;
use crate::checks::blackbox::wire;
use crate::checks::client::{Client, Roster};
use crate::checks::dice::Dice;

/// So many look on all the time. The others are absent now and then, and so come upon compactions.
const STEADY: u64 = 3;

/// So long at most they look on, and so long they are absent, in milliseconds.
const PRESENT: u64 = 5_000;
const ABSENT: u64 = 4_000;

/// A watch, and whose it was.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(super) watcher: u64,
    pub(super) watch: Watch,
    /// The latest revision that anybody had wanted to compact when each response came.
    pub(super) compacted: Vec<i64>,
}

/// How often a watcher looks whether it has seen enough.
const LOOK: Duration = Duration::from_millis(200);

/// Watches until it has seen the last revision, or its time is over.
pub(crate) async fn run(watcher: u64, members: Roster, recorder: Arc<Recorder>, mut dice: Dice) {
    let mut next = 1;
    for turn in watcher.. {
        if recorder.has_seen_enough(next - 1) {
            return;
        }
        // One of them asks for less, so that what it must not get is seen too.
        let no_delete = watcher == 1;
        let request = WatchCreateRequest { no_delete, ..everything(next) };
        let client = members.pick(turn);
        let leaves = Instant::now() + Duration::from_millis(dice.roll(PRESENT));
        let has_left = || watcher >= STEADY && Instant::now() > leaves;
        let is_enough = |last: i64| has_left() || recorder.has_seen_enough(last.max(next - 1));
        let mut compacted = Vec::new();
        let hear = |response: &WatchResponse| {
            compacted.push(recorder.compacted());
            if !no_delete {
                recorder.told(&response.events);
            }
        };
        let watch = watch(&client, request, is_enough, hear).await;
        next = next_of(&watch.request, &watch.responses);
        recorder.note_watch(Watched { watcher, watch, compacted });
        let absent = if has_left() && !recorder.is_over() { dice.roll(ABSENT) } else { 0 };
        tokio::time::sleep(Duration::from_millis(50 + absent)).await;
    }
}

/// The revision with which somebody goes on who has asked so, and was told so much: the next one, or the
/// oldest that is left.
pub(super) fn next_of(request: &WatchCreateRequest, told: &[WatchResponse]) -> i64 {
    told.iter().fold(request.start_revision, |next, response| {
        next.max(match (&response.cancel, response.events.last()) {
            (Some(Cancel::Compacted { compact_revision }), _) => *compact_revision,
            (None, Some(event)) => event.kv.mod_revision + 1,
            (None, None) if !response.created => response.revision + 1,
            _ => next,
        })
    })
}

/// A wish to see every change from a revision on.
pub(super) fn everything(start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        start_revision,
        prev_kv: true,
        progress_notify: true,
        ..WatchCreateRequest::default()
    }
}

/// Watches until the stream or the watch ends, or it has seen enough: asked with the revision of the last
/// event, 0 if there was none. Each response is heard when it comes.
pub(super) async fn watch(
    client: &Client,
    request: WatchCreateRequest,
    is_enough: impl Fn(i64) -> bool,
    mut hear: impl FnMut(&WatchResponse),
) -> Watch {
    let wish = pb::WatchCreateRequest {
        key: request.key.clone(),
        range_end: request.range_end.clone(),
        start_revision: request.start_revision,
        progress_notify: request.progress_notify,
        prev_kv: request.prev_kv,
        filters: if request.no_delete { vec![1] } else { Vec::new() },
        ..pb::WatchCreateRequest::default()
    };
    let mut watch = Watch { request, responses: Vec::new() };
    let Ok(mut stream) = client.watch(wish).await else { return watch };
    let mut last = 0;
    while !is_enough(last) {
        match tokio::time::timeout(LOOK, stream.message()).await {
            Err(_) => {}
            Ok(Ok(Some(response))) => {
                let response = response_of(response);
                hear(&response);
                let is_end = response.cancel.is_some();
                last = response.events.last().map_or(last, |event| event.kv.mod_revision);
                watch.responses.push(response);
                if is_end {
                    break;
                }
            }
            Ok(Ok(None) | Err(_)) => break,
        }
    }
    watch
}

fn response_of(response: pb::WatchResponse) -> WatchResponse {
    let compact_revision = response.compact_revision;
    let cancel = match (response.canceled, compact_revision) {
        (false, _) => None,
        (true, 0) => Some(Cancel::Refused(Error::WatchRangeEmpty)),
        (true, _) => Some(Cancel::Compacted { compact_revision }),
    };
    WatchResponse {
        revision: response.header.map_or(0, |header| header.revision),
        watch_id: response.watch_id,
        created: response.created,
        cancel,
        fragment: response.fragment,
        events: response.events.into_iter().map(wire::event).collect(),
    }
}

#[cfg(test)]
mod tests {
    use quorate_mvcc::{Event, EventKind, KeyValue};

    use super::*;

    #[test]
    fn a_watch_goes_on_behind_what_it_was_told_or_with_what_is_left() {
        let told = |mod_revision| {
            let kv = KeyValue { mod_revision, ..KeyValue::default() };
            let event = Event { kind: EventKind::Put, kv, prev_kv: None };
            WatchResponse { events: vec![event], ..WatchResponse::default() }
        };
        let created = WatchResponse { created: true, revision: 90, ..WatchResponse::default() };
        let progress = WatchResponse { revision: 9, ..WatchResponse::default() };
        let cancel = Some(Cancel::Compacted { compact_revision: 30 });
        let compacted = WatchResponse { cancel, ..WatchResponse::default() };
        let next = |told: &[WatchResponse]| next_of(&everything(3), told);
        assert_eq!(next(&[]), 3);
        assert_eq!(
            next(std::slice::from_ref(&created)),
            3,
            "that it began says nothing of the past"
        );
        assert_eq!(next(&[created.clone(), told(5)]), 6);
        assert_eq!(next(&[created.clone(), told(5), progress]), 10);
        assert_eq!(next(&[created, told(5), compacted]), 30);
    }
}
