//! The members to whom this one keeps a connection, as they come and go.
//!
//! Which they are is decided by the raft thread, from the membership that counts and from whom the leader still has to
//! tell something. Where they are is said by the membership too ([`addresses`]); the configuration names the
//! first ones, and those of a member of whom nothing else is known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use quorate_node::News;
use quorate_raft::{Membership, NodeId};

use crate::card::Card;
use crate::clock::Clock;
use crate::fatal::Fatal;
use crate::handshake::Identity;
use crate::metrics::{Metrics, PeerMetrics};
use crate::peer::{Outgoing, Queue};
use crate::report::Reporter;
use crate::transport::Transport;

/// The most that there may be beside the members, because a leader still has to tell them something.
const EXTRA_MAX: usize = Membership::MEMBERS_MAX;

/// A member to whom this one keeps a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    /// What waits for it.
    pub(crate) queue: Arc<Queue>,
    /// What was exchanged with it.
    pub(crate) metrics: Arc<PeerMetrics>,
    /// Where it may be, to be tried in turn.
    addresses: Arc<RwLock<Arc<[String]>>>,
}

/// What every connection to a peer needs.
pub(crate) struct Dialing {
    /// Who connects.
    pub(crate) identity: Identity,
    /// What it says about itself.
    pub(crate) card: Card,
    /// How.
    pub(crate) transport: Arc<dyn Transport>,
    /// See [`Outgoing::patience`].
    pub(crate) patience: Duration,
    /// See [`Queue`].
    pub(crate) queue_bytes: usize,
    /// Told of connections.
    pub(crate) on_change: Arc<dyn Fn(News) + Send + Sync>,
    /// Counts.
    pub(crate) metrics: Arc<Metrics>,
    /// Events.
    pub(crate) reporter: Arc<Reporter>,
    /// The end of everything, if a writer panics.
    pub(crate) fatal: Arc<Fatal>,
}

/// The members to whom this one keeps a connection.
pub(crate) struct Directory {
    dialing: Dialing,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    /// Who belongs to the group.
    membership: RwLock<Arc<Membership>>,
    writers: Mutex<Writers>,
}

#[derive(Debug, Default)]
struct Writers {
    threads: Vec<JoinHandle<()>>,
    stopped: bool,
}

impl Directory {
    pub(crate) fn new(dialing: Dialing) -> Self {
        let (peers, membership) = (RwLock::default(), RwLock::default());
        Self { dialing, peers, membership, writers: Mutex::default() }
    }

    /// Who belongs to the group.
    pub(crate) fn membership(&self) -> Arc<Membership> {
        Arc::clone(&self.membership.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// These belong to the group from now on.
    pub(crate) fn set_membership(&self, membership: Arc<Membership>) {
        *self.membership.write().unwrap_or_else(PoisonError::into_inner) = membership;
    }

    /// All of them. Whole after a panic elsewhere: every change is one step.
    pub(crate) fn peers(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Arc<Peer>>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them.
    pub(crate) fn peer(&self, id: NodeId) -> Option<Arc<Peer>> {
        self.peers().get(&id).cloned()
    }

    /// Whether this is one of them.
    pub(crate) fn contains(&self, id: NodeId) -> bool {
        self.peers().contains_key(&id)
    }

    fn writers(&self) -> MutexGuard<'_, Writers> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps connections to these members at these addresses, and to no others. Without an address, what was known
    /// stays.
    ///
    /// # Errors
    /// If there can't be another thread. The rest is done.
    pub(crate) fn follow(&self, wanted: &BTreeMap<NodeId, Vec<String>>) -> std::io::Result<()> {
        let gone: Vec<_> = {
            let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
            peers.extract_if(.., |id, _| !wanted.contains_key(id)).collect()
        };
        for (id, peer) in gone {
            peer.queue.stop();
            self.dialing.metrics.forget(id);
        }
        wanted.iter().map(|(id, addresses)| self.meet(*id, addresses)).fold(Ok(()), Result::and)
    }

    /// One more, or other addresses of one.
    ///
    /// # Errors
    /// If there can't be another thread.
    pub(crate) fn meet(&self, id: NodeId, addresses: &[String]) -> std::io::Result<()> {
        if let Some(peer) = self.peer(id) {
            let mut known = peer.addresses.write().unwrap_or_else(PoisonError::into_inner);
            if !addresses.is_empty() && **known != *addresses {
                *known = addresses.into();
            }
            return Ok(());
        }
        if id == self.dialing.identity.id
            || self.peers().len() >= 2 * Membership::MEMBERS_MAX + EXTRA_MAX
        {
            return Ok(());
        }
        let peer = Arc::new(Peer {
            queue: Arc::new(Queue::new(self.dialing.queue_bytes)),
            metrics: self.dialing.metrics.peer(id),
            addresses: Arc::new(RwLock::new(addresses.into())),
        });
        let outgoing = self.outgoing(id, &peer);
        let fatal = Arc::clone(&self.dialing.fatal);
        let mut writers = self.writers();
        writers.threads.retain(|thread| !thread.is_finished());
        if writers.stopped {
            return Ok(());
        }
        let thread = thread::Builder::new()
            .name("quorate-peer-out".into())
            .spawn(move || fatal.guard("peer-out", || outgoing.run()))?;
        writers.threads.push(thread);
        drop(writers);
        self.peers.write().unwrap_or_else(PoisonError::into_inner).insert(id, peer);
        Ok(())
    }

    fn outgoing(&self, peer: NodeId, to: &Peer) -> Outgoing {
        let dialing = &self.dialing;
        Outgoing {
            identity: dialing.identity,
            card: dialing.card.clone(),
            peer,
            addresses: Arc::clone(&to.addresses),
            transport: Arc::clone(&dialing.transport),
            patience: dialing.patience,
            queue: Arc::clone(&to.queue),
            on_change: Arc::clone(&dialing.on_change),
            metrics: Arc::clone(&to.metrics),
            all: Arc::clone(&dialing.metrics),
            reporter: Arc::clone(&dialing.reporter),
        }
    }

    /// Waits until what was said to those who are connected is with the network, but not for long.
    pub(crate) fn drain(&self, patience: Duration) {
        let (clock, has_more) = (Clock::start(), |peer: &Arc<Peer>| peer.queue.has_more());
        let until = clock.now() + patience;
        while clock.now() < until && self.peers().values().any(has_more) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends all connections, and waits for their threads. There will be no more.
    pub(crate) fn stop(&self) {
        let threads = {
            let mut writers = self.writers();
            writers.stopped = true;
            std::mem::take(&mut writers.threads)
        };
        for peer in self.peers().values() {
            peer.queue.stop();
        }
        for thread in threads {
            // A panic in it was caught and told by its guard.
            let _ = thread.join();
        }
    }
}

/// Where a member is found, by what a membership says about it: one address on each line, `host:port`, perhaps with a
/// scheme in front as in a URL. What comes behind an empty line is for others.
pub(crate) fn addresses(about: &[u8]) -> Vec<String> {
    let text = str::from_utf8(about).unwrap_or_default();
    let address = |line: &str| {
        let address = line.split_once("://").map_or(line, |(_, address)| address);
        address.trim_end_matches('/').to_owned()
    };
    text.lines()
        .take_while(|line| !line.is_empty())
        .map(address)
        .filter(|address| crate::card::is_address(address))
        .collect()
}
