//! Tells an operator what happened, without repeating itself.
//!
//! A wrong address is tried again every second, for as long as it is wrong. Each cause is told once
//! and then not again before the connection was made. What strangers send is part of the causes, so
//! the memory for those is bounded, and beyond it they are counted in silence.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quorate_raft::NodeId;

use crate::config::HostEvent;
use crate::error::PeerError;

/// The causes remembered for strangers, and for each peer.
const CAUSES: usize = 64;

/// Tells an operator what happened.
pub(crate) struct Reporter {
    tell: Arc<dyn Fn(&HostEvent) + Send + Sync>,
    /// What was told, by the connection it is about.
    told: Mutex<BTreeMap<About, Vec<PeerError>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// The connection to a peer.
    To(NodeId),
    /// Connections from a peer, or from somebody unknown.
    From(Option<NodeId>),
}

impl Reporter {
    pub(crate) fn new(tell: Arc<dyn Fn(&HostEvent) + Send + Sync>) -> Self {
        Self { tell, told: Mutex::new(BTreeMap::new()) }
    }

    pub(crate) fn tell(&self, event: &HostEvent) {
        (self.tell)(event);
    }

    /// The connection to a peer was made.
    pub(crate) fn connected(&self, peer: NodeId) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&About::To(peer));
        self.tell(&HostEvent::PeerConnected { peer });
    }

    /// The connection to a peer can't be made, or was lost.
    pub(crate) fn lost(&self, peer: NodeId, error: PeerError) {
        if self.is_news(About::To(peer), &error) {
            self.tell(&HostEvent::PeerLost { peer, error });
        }
    }

    /// Somebody connected and was accepted.
    pub(crate) fn accepted(&self, peer: NodeId) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.remove(&About::From(Some(peer)));
    }

    /// Somebody who connected was turned away. `peer` is one of the group, if anybody.
    pub(crate) fn refused(&self, peer: Option<NodeId>, error: PeerError) {
        if self.is_news(About::From(peer), &error) {
            self.tell(&HostEvent::Refused { peer, error });
        }
    }

    fn is_news(&self, about: About, error: &PeerError) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let causes = told.entry(about).or_default();
        let news = causes.len() < CAUSES && !causes.contains(error);
        if news {
            causes.push(error.clone());
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once_until_the_connection_is_made() {
        let events = Arc::new(Mutex::new(Vec::new()));
        let reporter = Reporter::new({
            let events = Arc::clone(&events);
            Arc::new(move |event: &HostEvent| events.lock().unwrap().push(event.clone()))
        });
        let peer = NodeId(2);
        let lost = |error| HostEvent::PeerLost { peer, error };
        reporter.lost(peer, PeerError::NotAPeer);
        reporter.lost(peer, PeerError::NotAPeer);
        reporter.lost(peer, PeerError::Stranger(peer));
        reporter.connected(peer);
        reporter.lost(peer, PeerError::NotAPeer);
        assert_eq!(
            *events.lock().unwrap(),
            [
                lost(PeerError::NotAPeer),
                lost(PeerError::Stranger(peer)),
                HostEvent::PeerConnected { peer },
                lost(PeerError::NotAPeer),
            ]
        );
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let count = Arc::new(Mutex::new(0));
        let reporter = Reporter::new({
            let count = Arc::clone(&count);
            Arc::new(move |_: &HostEvent| *count.lock().unwrap() += 1)
        });
        for theirs in 0..1_000 {
            reporter.refused(None, PeerError::Cluster { theirs, ours: 1 });
        }
        assert_eq!(*count.lock().unwrap(), CAUSES);
    }
}
