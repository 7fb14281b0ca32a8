//! What a leader sends a follower, and when (Raft §5.3).
//!
//! Three kinds of appends look alike on the wire. Most carry entries. One without entries tells a
//! follower that is in step how far the log is committed, or asks it for an answer where one is
//! overdue. A probe finds out where two logs agree, and waits for its answer.

use alloc::vec::Vec;

use crate::core::Core;
use crate::message::{Append, Body, Entry};
use crate::progress::{Attempt, Inflight, Peer, Progress};
use crate::types::{EntryId, Index, NodeId};
use crate::witness;

/// Sends a follower all that its progress allows.
pub(crate) fn replicate_to(core: &mut Core, id: NodeId, peer: &mut Peer) {
    let limits = core.limits;
    let base = core.log.base().index;
    if let Progress::Probe { next, .. } | Progress::Replicate(Inflight { next, .. }) =
        &peer.progress
        && *next <= base
    {
        // What it needs next is compacted. It gets a snapshot, but not before it has shown by its
        // answer that it is there, and that it lacks even the first entry left.
        peer.progress = Progress::probe(base.next());
    }
    match &mut peer.progress {
        Progress::Probe { next, attempt } => {
            let previous = Index(next.0 - 1);
            let entries = match attempt {
                Attempt::Fresh => core.log.batch_after(previous, limits.append_bytes_max).0,
                Attempt::Again => Vec::new(),
                Attempt::Sent => return,
            };
            *attempt = Attempt::Sent;
            send_append(core, id, previous, entries);
        }
        Progress::Replicate(inflight) => {
            let messages_max = limits.inflight_messages_max.min(peer.appends_max);
            let mut bytes_max = limits.inflight_bytes_max;
            if core.membership().is_witness(id) {
                bytes_max = bytes_max.min(witness::INFLIGHT_BYTES_MAX);
            }
            while inflight.next <= core.log.last().index
                && !inflight.is_full(messages_max, bytes_max)
            {
                let previous = Index(inflight.next.0 - 1);
                let (entries, bytes) = core.log.batch_after(previous, limits.append_bytes_max);
                let last = entries.last().expect("there is an entry to send").id.index;
                inflight.sent(last, bytes);
                peer.commit_sent = core.commit.min(last);
                send_append(core, id, previous, entries);
            }
        }
        Progress::Snapshot(_) => {}
    }
}

/// Tells a follower that is in step of a commit index that no append has carried to it. Followers
/// serve reads and watches from what they know to be committed, so this does not wait for the next
/// append or heartbeat.
pub(crate) fn share_commit(core: &mut Core, id: NodeId, peer: &mut Peer) {
    if let Progress::Replicate(inflight) = &peer.progress
        && peer.commit_sent < core.commit.min(Index(inflight.next.0 - 1))
    {
        send_empty_append(core, id, peer);
    }
}

/// Sends a follower that is in step the commit index, and a reason to answer.
pub(crate) fn send_empty_append(core: &mut Core, id: NodeId, peer: &mut Peer) {
    let Progress::Replicate(inflight) = &peer.progress else { return };
    let previous = Index(inflight.next.0 - 1);
    if previous < core.log.base().index {
        return replicate_to(core, id, peer);
    }
    peer.commit_sent = core.commit.min(previous);
    send_append(core, id, previous, Vec::new());
}

fn send_append(core: &mut Core, to: NodeId, previous: Index, entries: Vec<Entry>) {
    let term = core.log.term_at(previous).expect("the entry before an append is known");
    let previous = EntryId { term, index: previous };
    core.send(to, Body::Append(Append { previous, entries, commit: core.commit }));
}
