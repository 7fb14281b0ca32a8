//! Connections from peers: a thread that accepts, and one for each connection that reads.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_node::News;
use quorate_raft::NodeId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::ask::{PeerReply, Reply};
use crate::card::Card;
use crate::error::PeerError;
use crate::handle::{Shared, Signal};
use crate::handshake::{self, Greeting, Identity, Verdict};
use crate::inquiry;
use crate::metrics::PeerMetrics;
use crate::peer::{self, Directory, Peer};
use crate::report::Reporter;
use crate::transport::{Connection, Hurried, Transport};
use crate::wire::{self, Of, Packet};

/// Connections that have not said yet who they are. More are closed at once.
const STRANGERS_MAX: usize = 64;

/// A piece of memory to read into, in bytes, unless a frame is known to be larger. The messages that
/// arrive in one such piece share it until the last of them is gone.
const READ_BYTES: usize = 64 << 10;

/// What is read at once, in bytes, unless a frame is known to be larger.
const WINDOW_BYTES: usize = 16 << 10;

/// What a piece of memory must have left to be read into, in bytes.
const SPARE_BYTES_MIN: usize = 2 << 10;

/// The most that is reserved for a frame before its bytes arrive.
const RESERVE_BYTES_MAX: usize = 1 << 20;

/// The pause after the process ran out of file descriptors or memory for another connection.
const ACCEPT_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What every connection from a peer needs.
pub(crate) struct Incoming<O> {
    /// Who accepts.
    pub(crate) identity: Identity,
    /// What it says about itself.
    pub(crate) card: Card,
    /// How.
    pub(crate) transport: Arc<dyn Transport>,
    /// How long to wait for a greeting, to its last byte.
    pub(crate) patience: Duration,
    /// The raft thread's inbox, and who answers questions.
    pub(crate) shared: Arc<Shared<O>>,
    /// The peers: where answers go, and who is told that one is there.
    pub(crate) directory: Arc<Directory>,
    /// Whether this member has a new disk: it knows little of its group then, and hears whoever says that it
    /// belongs to the same cluster.
    pub(crate) rejoining: bool,
    /// Events.
    pub(crate) reporter: Arc<Reporter>,
    /// The connections there are.
    pub(crate) connections: Mutex<Connections>,
}

/// The connections there are.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// The number of the last one.
    last: u64,
    /// All of them, by number.
    sockets: BTreeMap<u64, TcpStream>,
    /// The one of each peer.
    current: BTreeMap<NodeId, u64>,
    /// How many have not said who they are.
    strangers: usize,
    /// Their threads, and a few that have ended.
    threads: Vec<JoinHandle<()>>,
    stopped: bool,
}

/// The thread that accepts, from outside.
#[derive(Debug)]
pub(crate) struct Listening {
    thread: JoinHandle<()>,
    /// Closed to end it.
    wake: UnixStream,
}

impl Listening {
    /// Ends the thread and waits for that.
    pub(crate) fn stop(self) {
        drop(self.wake);
        // It holds nothing that a panic could leave half done.
        let _ = self.thread.join();
    }
}

impl<O: Send + 'static> Incoming<O> {
    /// Accepts connections on all listeners, until stopped.
    pub(crate) fn listen(
        self: &Arc<Self>,
        listeners: Vec<TcpListener>,
    ) -> std::io::Result<Listening> {
        for listener in &listeners {
            // Whoever connected may be gone by the time that it is accepted.
            listener.set_nonblocking(true)?;
        }
        let (wake, end) = UnixStream::pair()?;
        let incoming = Arc::clone(self);
        let thread = thread::Builder::new()
            .name("quorate-accept".into())
            .spawn(move || incoming.accept_all(&listeners, &end))?;
        Ok(Listening { thread, wake })
    }

    fn accept_all(self: &Arc<Self>, listeners: &[TcpListener], end: &UnixStream) {
        loop {
            let mut waits: Vec<PollFd<'_>> = vec![PollFd::new(end, PollFlags::IN)];
            waits.extend(listeners.iter().map(|l| PollFd::new(l, PollFlags::IN)));
            let woken = poll(&mut waits, None);
            if !waits[0].revents().is_empty() {
                return;
            }
            if woken.is_err() {
                continue; // A signal arrived.
            }
            for (listener, wait) in listeners.iter().zip(&waits[1..]) {
                if wait.revents().is_empty() {
                    continue;
                }
                let accepted = listener.accept().and_then(|(socket, _)| self.take_in(socket));
                if accepted.is_err_and(|error| is_lasting(error.kind())) {
                    let mut waits = [PollFd::new(end, PollFlags::IN)];
                    let _ = poll(&mut waits, Some(&ACCEPT_PAUSE));
                }
            }
        }
    }

    /// Gives a connection a thread.
    fn take_in(self: &Arc<Self>, socket: TcpStream) -> std::io::Result<()> {
        socket.set_nonblocking(false)?;
        let handle = socket.try_clone()?;
        let connection = match self.transport.accept(socket) {
            Ok(connection) => connection,
            Err(error) => match PeerError::from_io(&error) {
                PeerError::Io(_) => return Err(error),
                refusal => {
                    self.refuse(None, refusal);
                    return Ok(());
                }
            },
        };
        let mut connections = self.lock();
        connections.threads.retain(|thread| !thread.is_finished());
        if connections.stopped || connections.strangers >= STRANGERS_MAX {
            return Ok(());
        }
        connections.last += 1;
        let number = connections.last;
        let incoming = Arc::clone(self);
        let thread = thread::Builder::new().name("quorate-peer-in".into()).spawn(move || {
            incoming.serve(number, connection);
        })?;
        connections.threads.push(thread);
        connections.sockets.insert(number, handle);
        connections.strangers += 1;
        Ok(())
    }

    /// Ends all connections, and waits for their threads. No more are taken in.
    pub(crate) fn stop(&self) {
        let mut connections = self.lock();
        connections.stopped = true;
        for socket in connections.sockets.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        let threads = std::mem::take(&mut connections.threads);
        drop(connections);
        for thread in threads {
            // A panic in a reader ended its connection and nothing else.
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Greets and reads until the connection ends.
    fn serve(&self, number: u64, mut connection: Connection) {
        let greeted = self.greet(&mut connection);
        let mut connections = self.lock();
        connections.strangers -= 1;
        let (peer, end) = match greeted {
            Ok(greeting) => {
                let peer = greeting.from.id;
                // A later connection of a peer means that it gave up the earlier ones. Which is the
                // later is told by the order in which they came, not in which they are served.
                let current = connections.current.entry(peer).or_insert(number);
                let stale = (*current).min(number);
                *current = (*current).max(number);
                if stale < *current
                    && let Some(socket) = connections.sockets.get(&stale)
                {
                    let _ = socket.shutdown(Shutdown::Both);
                }
                drop(connections);
                self.reporter.accepted(peer);
                self.shared.inbox.push_own([Signal::Node(greeting.news())]);
                let end = match self.directory.peer(peer) {
                    Some(known) => {
                        known.queue.nudge(greeting.from.incarnation);
                        self.read(peer, &known, &mut connection)
                    }
                    // It left the group in the meantime.
                    None => Ok(()),
                };
                (Some(peer), end)
            }
            Err((peer, error)) => {
                drop(connections);
                (peer, Err(error))
            }
        };
        let mut connections = self.lock();
        connections.sockets.remove(&number);
        if let Some(peer) = peer
            && connections.current.get(&peer) == Some(&number)
        {
            connections.current.remove(&peer);
        }
        drop(connections);
        match end {
            // That a connection ends is told by the one who writes on it.
            Ok(()) | Err(PeerError::Io(_)) => {}
            Err(error) => self.refuse(peer, error),
        }
    }

    /// Counts and tells of somebody who is not heard, or not any more.
    fn refuse(&self, peer: Option<NodeId>, error: PeerError) {
        let metrics = &self.shared.metrics;
        match error.is_unauthenticated() {
            true => metrics.unauthenticated.add(1),
            false => metrics.malformed.add(1),
        }
        self.reporter.refused(peer, error);
    }

    /// Hears who connects, and answers. With an error comes the peer, if it is one.
    fn greet(&self, connection: &mut Connection) -> Result<Greeting, (Option<NodeId>, PeerError)> {
        let io = |error: std::io::Error| (None, PeerError::from_io(&error));
        connection.socket.set_write_timeout(Some(self.patience)).map_err(io)?;
        let refuse = |connection: &mut Connection, to, verdict| {
            // Whether it arrives or not, the connection ends here.
            let _ = Greeting::refusal(self.identity, to, verdict).write(&mut connection.stream);
        };
        let mut hurried = Hurried::new(connection, self.patience);
        let greeting = Greeting::read(&mut hurried).map_err(|error| {
            if matches!(error, PeerError::Version { .. } | PeerError::Protection { .. }) {
                refuse(connection, NodeId(0), Verdict::Version);
            }
            (None, error)
        })?;
        if inquiry::is_inquiry(&greeting) {
            let us = (self.identity, &self.card);
            let membership = self.directory.membership();
            inquiry::answer(us, &greeting, &membership, &mut connection.stream).map_err(io)?;
            return Err((None, PeerError::Io(std::io::ErrorKind::ConnectionAborted)));
        }
        let from = greeting.from.id;
        let is_peer = |id| self.directory.contains(id);
        if self.rejoining
            && greeting.from.cluster_id == self.identity.cluster_id
            && let Some(card) = &greeting.card
        {
            let addresses = card.about.addresses.join("\n");
            // Without a thread there is no connection to it, which is nothing that it would notice.
            let _ = self.directory.meet(greeting.from.id, &peer::addresses(addresses.as_bytes()));
        }
        if let Err((verdict, error)) = handshake::judge(self.identity, is_peer, &greeting) {
            refuse(connection, from, verdict);
            return Err((Some(from).filter(|id| is_peer(*id)), error));
        }
        Greeting::welcome(self.identity, from, &self.card)
            .write(&mut connection.stream)
            .map_err(io)?;
        connection.socket.set_read_timeout(None).map_err(io)?;
        rustix::net::sockopt::set_socket_keepalive(&connection.socket, true)
            .map_err(|error| io(error.into()))?;
        Ok(greeting)
    }

    /// Reads packets until the connection ends.
    fn read(
        &self,
        peer: NodeId,
        known: &Arc<Peer>,
        connection: &mut Connection,
    ) -> Result<(), PeerError> {
        let metrics = &*known.metrics;
        let mut arrived = BytesMut::new();
        let mut signals = Vec::new();
        loop {
            let bytes = read_some(connection, &mut arrived, metrics)?;
            if bytes == 0 {
                return Ok(());
            }
            let mut cost = 0;
            let outcome = self.parse((peer, known), &mut arrived, &mut signals, &mut cost);
            // What came before a malformed frame is as good as ever.
            if !signals.is_empty() && !self.shared.hear(&mut signals, cost) {
                return Ok(());
            }
            outcome.map_err(|wire::Malformed(reason)| PeerError::Malformed(reason))?;
        }
    }

    /// Parses all frames that have arrived whole.
    fn parse(
        &self,
        (peer, known): (NodeId, &Arc<Peer>),
        arrived: &mut BytesMut,
        signals: &mut Vec<Signal<O>>,
        cost: &mut usize,
    ) -> Result<(), wire::Malformed> {
        while let Some(body) = wire::split_frame(arrived)? {
            let packet = wire::decode(body, peer, self.identity.id)?;
            match packet {
                Packet::Ask { number, of, payload } => {
                    self.answer((peer, known), number, of, payload);
                }
                Packet::Answer { number, answer } => {
                    let answer = answer.filter(|a| a.len() <= self.shared.limits.ask_bytes);
                    *cost += answer.as_ref().map_or(0, Bytes::len);
                    signals.push(Signal::Answer { from: peer, number, answer });
                }
                Packet::View(view) => {
                    *cost += packet.cost();
                    signals.push(Signal::Node(News::Told { by: peer, view }));
                }
                Packet::Envelope(envelope) => {
                    let packet = Packet::Envelope(envelope);
                    *cost += packet.cost();
                    let Packet::Envelope(envelope) = packet else { unreachable!("as built") };
                    signals.push(Signal::Peer(envelope));
                }
            }
        }
        Ok(())
    }

    /// Lets the application, or the raft thread, answer a peer's question. Questions are bounded in size, and those under
    /// way by permits, as those of our own callers are; beyond, the answer is that there is none.
    fn answer(&self, (peer, known): (NodeId, &Arc<Peer>), number: u64, of: Of, payload: Bytes) {
        let known = Arc::clone(known);
        let answer_bytes_max = self.shared.limits.ask_bytes;
        let fits = payload.len() <= answer_bytes_max;
        let permit = self.shared.answers.take(payload.len()).filter(|_| fits);
        let admitted = permit.is_some();
        let send = Box::new(move |answer: Option<Bytes>| {
            let answer = answer.filter(|answer| answer.len() <= answer_bytes_max);
            let pushed = known.queue.push(&mut vec![Packet::Answer { number, answer }]);
            pushed.count(&known.metrics);
            drop(permit);
        });
        let reply = Reply::peer(PeerReply { send });
        if admitted {
            match of {
                Of::Application => self.shared.answer(peer, payload, reply),
                Of::Host => self.shared.inbox.push_own([Signal::Step(payload, reply)]),
            }
        }
    }
}

/// Reads what there is, at least a byte unless the connection ends.
fn read_some(
    connection: &mut Connection,
    arrived: &mut BytesMut,
    metrics: &PeerMetrics,
) -> Result<usize, PeerError> {
    let before = arrived.len();
    let missing = wire::missing_bytes(arrived)
        .map_err(|wire::Malformed(reason)| PeerError::Malformed(reason))?
        .unwrap_or(0);
    // What is left of the present piece of memory is used up first: messages that stay, as entries
    // do, must not each hold on to a piece of their own.
    let wanted = missing.clamp(WINDOW_BYTES, RESERVE_BYTES_MAX);
    if arrived.capacity() - before < missing.clamp(SPARE_BYTES_MIN, RESERVE_BYTES_MAX) {
        arrived.reserve(piece_bytes(before + wanted) - before);
    }
    arrived.resize(arrived.capacity().min(before + wanted), 0);
    let read = loop {
        match connection.stream.read(&mut arrived[before..]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    arrived.truncate(before + *read.as_ref().unwrap_or(&0));
    let read = read.map_err(|error| PeerError::from_io(&error))?;
    metrics.received_bytes.add(read as u64);
    Ok(read)
}

/// How large a piece of memory for so many bytes is. There are few sizes, since the memory of one piece is used again
/// only for another one of its size.
fn piece_bytes(wanted: usize) -> usize {
    const LARGE: usize = 4 * READ_BYTES;
    if wanted > LARGE {
        wanted.next_multiple_of(LARGE)
    } else {
        wanted.next_power_of_two().max(READ_BYTES)
    }
}

/// Whether an accept failed for a reason that is there at once the next time, too.
fn is_lasting(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind;
    !matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted)
}

#[cfg(test)]
mod tests;
