//! The connection to a peer: a queue, and a thread that writes what is in it.
//!
//! A thread that sleeps takes tens of microseconds to wake up, which is a good part of what a lone
//! write takes. While there is nothing to write, the writer therefore leaves the connection with
//! its queue, and whoever comes next with a few bytes hands them to the network itself, if it takes
//! them without a wait. What it does not take is left to the writer, and so is all that comes
//! behind, until the writer has nothing to write again.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use quorate_node::News;
use quorate_raft::NodeId;

use crate::card::Card;
use crate::error::PeerError;
use crate::handshake::{self, Greeting, Identity};
use crate::metrics::{Metrics, PeerMetrics};
use crate::report::Reporter;
use crate::transport::{Connection, Hurried, Transport};
use crate::wire::{self, Packet};

/// The pause after the first failure to connect. It doubles with each.
const BACKOFF_MIN: Duration = Duration::from_millis(10);

/// The longest pause. Short, since a member is missed while it lasts, and a refused connection costs
/// next to nothing.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What is written at once, in bytes, give or take one packet. Also what is kept of the buffer.
const WRITE_BYTES: usize = 1 << 20;

/// The most that is written past the writer at once, in bytes. More is better encoded while the raft
/// thread does something else.
const WRITE_NOW_BYTES: usize = 16 << 10;

/// What waits to be sent to a peer. The raft thread and whoever answers a question put it in; the
/// writer takes it out.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrival: Condvar,
    bytes_max: usize,
}

#[derive(Debug)]
struct State {
    packets: Vec<Packet>,
    bytes: usize,
    /// Whether the writer waits on `arrival`.
    asleep: bool,
    /// The connection, if there is one: its socket, and the process of the peer that it leads to.
    connection: Option<(TcpStream, u64)>,
    /// The connection itself, while the writer waits on `arrival`.
    lent: Option<Connection>,
    /// What the network did not take at once; the packets come behind it.
    rest: BytesMut,
    /// How the connection ended when somebody else than the writer wrote on it.
    failure: Option<std::io::Error>,
    /// The peer was heard of: not worth waiting for the end of a pause.
    nudged: bool,
    stopped: bool,
}

/// What became of packets that were put into a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// How many were dropped.
    pub(crate) dropped: u64,
    /// How many bytes are with the network already.
    pub(crate) sent_bytes: u64,
}

impl Pushed {
    /// Counts it.
    pub(crate) fn count(self, metrics: &PeerMetrics) {
        metrics.dropped.add(self.dropped);
        metrics.sent_bytes.add(self.sent_bytes);
    }
}

impl Queue {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                packets: Vec::new(),
                bytes: 0,
                asleep: false,
                connection: None,
                lent: None,
                rest: BytesMut::new(),
                failure: None,
                nudged: false,
                stopped: false,
            }),
            arrival: Condvar::new(),
            bytes_max,
        }
    }

    /// The state. Whole after a panic elsewhere: every change is a plain assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts packets in, or writes them if nobody else has anything to write.
    ///
    /// While there is no connection, only what came last is kept: by the time there is one, the rest
    /// is out of date, and a peer that was away for hours is not greeted with old heartbeats.
    pub(crate) fn push(&self, packets: &mut Vec<Packet>) -> Pushed {
        let mut state = self.lock();
        let mut pushed = Pushed::default();
        if state.connection.is_none() {
            pushed.dropped += state.packets.len() as u64;
            state.packets.clear();
            state.bytes = 0;
        }
        for packet in packets.drain(..) {
            let cost = packet.cost();
            if state.stopped || state.bytes + cost > self.bytes_max {
                pushed.dropped += 1;
            } else {
                state.bytes += cost;
                state.packets.push(packet);
            }
        }
        state.write_now(&mut pushed);
        let wake = state.asleep && state.connection.is_some() && state.needs_writer();
        drop(state);
        if wake {
            self.arrival.notify_one();
        }
        pushed
    }

    /// The peer is there, in this process of its: it just connected to us. Ends a pause, and a
    /// connection that leads to a process before.
    pub(crate) fn nudge(&self, incarnation: u64) {
        let mut state = self.lock();
        match &state.connection {
            Some((_, current)) if *current == incarnation => {}
            Some((socket, _)) => {
                let _ = socket.shutdown(Shutdown::Both);
                state.connection = None;
            }
            None => state.nudged = true,
        }
        drop(state);
        self.arrival.notify_one();
    }

    /// Whether there is a connection, and something that is not with the network yet.
    pub(crate) fn has_more(&self) -> bool {
        let state = self.lock();
        let is_idle = state.lent.is_some() && !state.needs_writer();
        state.connection.is_some() && !state.stopped && !is_idle
    }

    /// Ends the writer.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        if let Some((socket, _)) = &state.connection {
            let _ = socket.shutdown(Shutdown::Both);
        }
        drop(state);
        self.arrival.notify_one();
    }

    fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits for a while, or for less if the peer is heard of or the host stops.
    fn pause(&self, duration: Duration) {
        let mut state = self.lock();
        if !state.stopped && !state.nudged {
            state.asleep = true;
            let (woken, _) =
                self.arrival.wait_timeout(state, duration).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.asleep = false;
        }
        state.nudged = false;
    }

    /// Lends the connection until there is something to write that needs the writer, and takes all of
    /// that: packets, and in the buffer what comes before them. Nothing if the connection leads to a
    /// process before or the host stops; an error if it failed while it was lent.
    fn take(
        &self,
        mut connection: Connection,
        buffer: &mut BytesMut,
        packets: &mut Vec<Packet>,
    ) -> std::io::Result<Option<Connection>> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.connection.is_none() {
                return Ok(None);
            }
            if let Some(error) = state.failure.take() {
                return Err(error);
            }
            if state.needs_writer() {
                std::mem::swap(&mut state.rest, buffer);
                std::mem::swap(&mut state.packets, packets);
                state.bytes = 0;
                return Ok(Some(connection));
            }
            state.lent = Some(connection);
            state.asleep = true;
            state = self.arrival.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep = false;
            connection = state.lent.take().expect("only the writer takes it back");
        }
    }

    /// A connection was made, to this process of the peer.
    fn set_connection(&self, connection: Option<(TcpStream, u64)>) {
        let mut state = self.lock();
        if state.stopped
            && let Some((socket, _)) = &connection
        {
            let _ = socket.shutdown(Shutdown::Both);
        }
        state.connection = connection;
        state.rest.clear();
        state.failure = None;
    }
}

impl State {
    /// Whether there is something to do for the writer.
    fn needs_writer(&self) -> bool {
        !self.packets.is_empty() || !self.rest.is_empty() || self.failure.is_some()
    }

    /// Writes all packets, if the connection is there and they are few. Not behind the rest of others:
    /// the writer is on its way for it, and takes what has come in the meantime.
    fn write_now(&mut self, pushed: &mut Pushed) {
        let may = self.connection.is_some() && self.rest.is_empty() && self.failure.is_none();
        let Some(connection) = self.lent.as_mut().filter(|_| may) else { return };
        if self.bytes > WRITE_NOW_BYTES {
            return;
        }
        for packet in self.packets.drain(..) {
            if wire::encode(&packet, &mut self.rest).is_err() {
                pushed.dropped += 1;
            }
        }
        self.bytes = 0;
        match connection.stream.write_now(&self.rest) {
            Ok(written) => {
                pushed.sent_bytes += written as u64;
                if written == self.rest.len() {
                    self.rest.clear(); // Which, other than to advance, keeps all of the memory.
                } else {
                    self.rest.advance(written);
                }
            }
            Err(error) => {
                self.rest.clear();
                self.failure = Some(error);
            }
        }
    }
}

/// The writer of a connection.
pub(crate) struct Outgoing {
    /// Who connects.
    pub(crate) identity: Identity,
    /// What it says about itself.
    pub(crate) card: Card,
    /// To whom.
    pub(crate) peer: NodeId,
    /// Where it may be, to be tried in turn. It may be nowhere yet.
    pub(crate) addresses: Arc<RwLock<Arc<[String]>>>,
    /// How.
    pub(crate) transport: Arc<dyn Transport>,
    /// How long to wait for a connection, for a greeting, and for the acknowledgement of bytes.
    pub(crate) patience: Duration,
    /// What is written.
    pub(crate) queue: Arc<Queue>,
    /// Told whenever a connection is made or lost, and who is at its other end.
    pub(crate) on_change: Arc<dyn Fn(News) + Send + Sync>,
    /// Counts.
    pub(crate) metrics: Arc<PeerMetrics>,
    /// Those of all peers together.
    pub(crate) all: Arc<Metrics>,
    /// Events.
    pub(crate) reporter: Arc<Reporter>,
}

impl Outgoing {
    /// Connects, writes, connects again, until the queue is stopped.
    pub(crate) fn run(self) {
        let metrics = &*self.metrics;
        let mut backoff = BACKOFF_MIN;
        let mut attempt = 0;
        while !self.queue.is_stopped() {
            let addresses =
                Arc::clone(&self.addresses.read().unwrap_or_else(PoisonError::into_inner));
            if addresses.is_empty() {
                self.queue.pause(BACKOFF_MAX);
                continue;
            }
            let address = &addresses[attempt % addresses.len()];
            attempt += 1;
            let error = match self.connect(address) {
                Ok((connection, news)) => {
                    backoff = BACKOFF_MIN;
                    metrics.connects.add(1);
                    self.reporter.connected(self.peer);
                    (self.on_change)(news);
                    (self.on_change)(News::Connected { peer: self.peer, up: true });
                    let end = self.write(connection, metrics);
                    self.queue.set_connection(None);
                    (self.on_change)(News::Connected { peer: self.peer, up: false });
                    let Err(error) = end else { continue };
                    PeerError::from_io(&error)
                }
                Err(error) => error,
            };
            if self.queue.is_stopped() {
                return;
            }
            if error.is_unauthenticated() {
                self.all.unauthenticated.add(1);
            }
            self.reporter.lost(self.peer, error);
            self.queue.pause(backoff);
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    fn connect(&self, address: &str) -> Result<(Connection, News), PeerError> {
        let io = |error: std::io::Error| PeerError::from_io(&error);
        let mut connection = self.transport.connect(address, self.patience).map_err(io)?;
        let socket = connection.socket.try_clone().map_err(io)?;
        give_up_after(&socket, self.patience).map_err(io)?;
        Greeting::welcome(self.identity, self.peer, &self.card)
            .write(&mut connection.stream)
            .map_err(io)?;
        let answer = Greeting::read(&mut Hurried::new(&mut connection, self.patience))?;
        handshake::heed(self.identity, self.peer, &answer)?;
        self.queue.set_connection(Some((socket, answer.from.incarnation)));
        Ok((connection, answer.news()))
    }

    /// Writes what comes until the connection or the host ends; an error if it was the connection.
    fn write(&self, mut connection: Connection, metrics: &PeerMetrics) -> std::io::Result<()> {
        let mut packets = Vec::new();
        let mut buffer = BytesMut::new();
        loop {
            match self.queue.take(connection, &mut buffer, &mut packets)? {
                Some(back) => connection = back,
                None => return Ok(()),
            }
            for packet in packets.drain(..) {
                if wire::encode(&packet, &mut buffer).is_err() {
                    metrics.dropped.add(1);
                }
                if buffer.len() >= WRITE_BYTES {
                    flush(&mut connection, &mut buffer, metrics)?;
                }
            }
            flush(&mut connection, &mut buffer, metrics)?;
        }
    }
}

/// Writes the buffer and empties it.
fn flush(
    connection: &mut Connection,
    buffer: &mut BytesMut,
    metrics: &PeerMetrics,
) -> std::io::Result<()> {
    if buffer.is_empty() {
        return Ok(());
    }
    connection.stream.write_all(buffer)?;
    connection.stream.flush()?;
    metrics.sent_bytes.add(buffer.len() as u64);
    if buffer.capacity() > 2 * WRITE_BYTES {
        *buffer = BytesMut::new(); // One large snapshot or command does not keep its memory.
    }
    buffer.clear();
    Ok(())
}

/// Ends a connection whose bytes stay unacknowledged for so long. Left to itself, TCP doubles its
/// patience with each retry, and after a partition of a minute the peer is missed for another.
fn give_up_after(socket: &TcpStream, patience: Duration) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(socket, millis)?;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = patience;
    rustix::net::sockopt::set_socket_keepalive(socket, true)?;
    Ok(())
}

#[cfg(test)]
mod tests;
