//! A client that watches everything from the first revision on, and goes on with another member where a
//! stream ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_check::watch::Watch;
use quorate_mvcc::Error;
use quorate_mvcc::watch::{Cancel, WatchCreateRequest, WatchResponse};
use quorate_proto::etcdserverpb as pb;

use crate::checks::blackbox::recorder::Recorder;
use crate::checks::blackbox::wire;
use crate::checks::client::Client;

/// How often a watcher looks whether it has seen enough.
const LOOK: Duration = Duration::from_millis(200);

/// Watches until it has seen the last revision, or its time is over.
pub(super) async fn run(number: u64, members: Vec<Client>, recorder: Arc<Recorder>) {
    let mut seen = 0;
    for turn in number as usize.. {
        if recorder.has_seen_enough(seen) {
            return;
        }
        // One of them asks for less, so that what it must not get is seen too.
        let request = WatchCreateRequest { no_delete: number == 1, ..everything(seen + 1) };
        let client = &members[turn % members.len()];
        let is_enough = |last: i64| recorder.has_seen_enough(last.max(seen));
        let watch = watch(client, request, is_enough).await;
        if let Some(last) = watch.events().map(|event| event.kv.mod_revision).max() {
            seen = last;
        }
        recorder.note_watch(number, watch);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
/// event, 0 if there was none.
pub(super) async fn watch(
    client: &Client,
    request: WatchCreateRequest,
    is_enough: impl Fn(i64) -> bool,
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
