//! What all streams of answers have in common: how they end although the client goes on.

use std::sync::Arc;
use std::time::Duration;

use quorate_host::HostStatus;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;

use super::Failure;
use crate::member::Member;
use crate::shutdown::Shutdown;

/// The reasons of this member to end a stream.
#[derive(Debug)]
pub(crate) struct Ending {
    stop: Shutdown,
    /// For a client that wants a leader: the status to watch, and the patience without one.
    leader: Option<(watch::Receiver<Arc<HostStatus>>, Duration)>,
}

impl Ending {
    /// For a stream that was opened with this metadata.
    pub(crate) fn new(member: &Member, metadata: &MetadataMap) -> Self {
        let leader = super::wants_leader(metadata.as_ref())
            .then(|| (member.handle.subscribe(), member.limits.leaderless_max));
        Self { stop: member.stop.clone(), leader }
    }

    /// Resolves when the stream is to end, with the reason. May be called again after it was dropped.
    pub(crate) async fn reached(&mut self) -> Failure {
        let Self { stop, leader } = self;
        tokio::select! {
            () = stop.requested() => Failure::Stopped,
            () = leaderless(leader) => Failure::NoLeader,
        }
    }
}

/// Resolves when no leader was known for too long.
async fn leaderless(leader: &mut Option<(watch::Receiver<Arc<HostStatus>>, Duration)>) {
    let Some((status, patience)) = leader else { return std::future::pending().await };
    loop {
        if status.wait_for(|status| status.leader.is_none()).await.is_err() {
            // The host is gone, and so is the server in a moment.
            return std::future::pending().await;
        }
        let returned = status.wait_for(|status| status.leader.is_some());
        if tokio::time::timeout(*patience, returned).await.is_err() {
            return;
        }
    }
}
