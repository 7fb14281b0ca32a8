//! What becomes of packets, over real sockets where it matters.

use std::io::{self, Read};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::*;
use crate::config::HostEvent;
use crate::transport::{Stream, Tcp};
use crate::wire::Of;

const US: Identity = Identity { cluster_id: 5, id: NodeId(1), incarnation: 10 };
const PEER: Identity = Identity { cluster_id: 5, id: NodeId(2), incarnation: 20 };
const LONG: Duration = Duration::from_secs(60);

fn packet(number: u64, bytes: usize) -> Packet {
    Packet::Ask { number, of: Of::Application, payload: Bytes::from(vec![7; bytes]) }
}

fn packets(count: u64) -> Vec<Packet> {
    (0..count).map(|number| packet(number, 0)).collect()
}

/// A writer, and the listener of the peer that it connects to.
struct Fixture {
    queue: Arc<Queue>,
    metrics: Arc<PeerMetrics>,
    events: mpsc::Receiver<HostEvent>,
    listener: TcpListener,
    writer: Option<JoinHandle<()>>,
}

impl Fixture {
    fn new(queue_bytes: usize, transport: impl Transport + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (sender, events) = mpsc::channel();
        let queue = Arc::new(Queue::new(queue_bytes));
        let metrics = Arc::new(PeerMetrics::default());
        let outgoing = Outgoing {
            identity: US,
            card: Card::default(),
            peer: PEER.id,
            addresses: Arc::new(RwLock::new([listener.local_addr().unwrap().to_string()].into())),
            transport: Arc::new(transport),
            patience: LONG,
            queue: Arc::clone(&queue),
            on_change: Arc::new(|_| {}),
            metrics: Arc::clone(&metrics),
            all: Arc::default(),
            reporter: Arc::new(Reporter::new(Arc::new(move |event: &HostEvent| {
                let _ = sender.send(event.clone());
            }))),
        };
        let writer = Some(thread::spawn(move || outgoing.run()));
        Self { queue, metrics, events, listener, writer }
    }

    /// The peer's end of the next connection, greeted, with nothing on it yet.
    fn accept(&self) -> TcpStream {
        let (mut socket, _) = self.listener.accept().unwrap();
        let greeting = Greeting::read(&mut socket).unwrap();
        assert_eq!((greeting.from, greeting.to), (US, PEER.id));
        Greeting::welcome(PEER, US.id, &Card::default()).write(&mut socket).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        self.wait_for_loan();
        socket
    }

    /// Waits until the writer has nothing to do.
    fn wait_for_loan(&self) {
        while self.queue.lock().lent.is_none() {
            thread::yield_now();
        }
    }

    fn push(&self, packet: Packet) -> Pushed {
        let pushed = self.queue.push(&mut vec![packet]);
        pushed.count(&self.metrics);
        pushed
    }

    fn sent_bytes(&self) -> u64 {
        self.metrics.sent_bytes.get()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.queue.stop();
        let end = self.writer.take().expect("it runs").join();
        assert!(end.is_ok() || thread::panicking(), "the writer panicked");
    }
}

/// The numbers of so many packets that the peer reads.
fn read(socket: &mut TcpStream, count: usize) -> Vec<u64> {
    let mut arrived = BytesMut::new();
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let mut piece = [0; 4096];
        let read = socket.read(&mut piece).unwrap();
        assert_ne!(read, 0, "the connection ended after {numbers:?}");
        arrived.extend_from_slice(&piece[..read]);
        while let Some(body) = wire::split_frame(&mut arrived).unwrap() {
            match wire::decode(body, US.id, PEER.id).unwrap() {
                Packet::Ask { number, .. } => numbers.push(number),
                other => panic!("{other:?} was not said"),
            }
        }
    }
    assert!(arrived.is_empty(), "nothing is left");
    numbers
}

fn frame_bytes(packet: &Packet) -> u64 {
    let mut frame = BytesMut::new();
    wire::encode(packet, &mut frame).unwrap();
    frame.len() as u64
}

#[test]
fn on_an_idle_connection_the_sender_writes_and_the_writer_sleeps_on() {
    let fixture = Fixture::new(1 << 20, Tcp);
    let mut socket = fixture.accept();
    for number in 0..100 {
        let sent_bytes = frame_bytes(&packet(number, 10));
        assert_eq!(fixture.push(packet(number, 10)), Pushed { dropped: 0, sent_bytes });
        assert!(fixture.queue.lock().asleep);
        assert_eq!(read(&mut socket, 1), [number]);
    }
}

#[test]
fn much_at_once_is_left_to_the_writer() {
    let fixture = Fixture::new(1 << 20, Tcp);
    let mut socket = fixture.accept();
    let large = packet(1, WRITE_NOW_BYTES);
    assert_eq!(fixture.push(large.clone()), Pushed::default());
    fixture.push(packet(2, 0));
    assert_eq!(read(&mut socket, 2), [1, 2]);
    fixture.wait_for_loan();
    assert_eq!(fixture.sent_bytes(), frame_bytes(&large) + frame_bytes(&packet(2, 0)));
}

#[test]
fn a_peer_that_does_not_read_holds_up_no_sender_and_misses_only_what_was_dropped() {
    const QUEUE_BYTES: usize = 100_000;
    let fixture = Fixture::new(QUEUE_BYTES, Tcp);
    let mut socket = fixture.accept();
    // Were a sender to wait, it would do so for ever: the reader comes after it.
    let mut accepted = Vec::new();
    let mut dropped = 0;
    for number in 0.. {
        let pushed = fixture.push(packet(number, 5_000));
        if pushed.dropped == 0 {
            accepted.push(number);
        }
        dropped += pushed.dropped;
        let state = fixture.queue.lock();
        assert!(state.bytes <= QUEUE_BYTES && state.rest.len() <= WRITE_NOW_BYTES);
        // The writer may have taken a last load before the network was full.
        if dropped >= 1_000 {
            break;
        }
    }
    assert_eq!(read(&mut socket, accepted.len()), accepted);
    fixture.wait_for_loan();
    let sent: u64 = accepted.iter().map(|number| frame_bytes(&packet(*number, 5_000))).sum();
    assert_eq!(fixture.sent_bytes(), sent);
    let pushed = fixture.push(packet(0, 0));
    assert_ne!(pushed.sent_bytes, 0, "and then it is as before");
}

/// A network that takes a few bytes at a time from those who do not wait, or an error.
struct Reluctant(Option<io::ErrorKind>);

impl Transport for Reluctant {
    fn connect(&self, address: &str, timeout: Duration) -> io::Result<Connection> {
        let socket = TcpStream::connect_timeout(&address.parse().unwrap(), timeout)?;
        let stream = Box::new(ReluctantStream(socket.try_clone()?, self.0));
        Ok(Connection { stream, socket })
    }

    fn accept(&self, _: TcpStream) -> io::Result<Connection> {
        unreachable!("only the writer is tested")
    }
}

struct ReluctantStream(TcpStream, Option<io::ErrorKind>);

impl Read for ReluctantStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for ReluctantStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for ReluctantStream {
    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.1 {
            Some(error) => Err(error.into()),
            None => self.0.write(&bytes[..bytes.len().min(3)]),
        }
    }
}

#[test]
fn what_the_network_takes_a_part_of_is_finished_before_anything_else_is_said() {
    let fixture = Fixture::new(1 << 20, Reluctant(None));
    let mut socket = fixture.accept();
    for number in 0..500 {
        assert!(fixture.push(packet(number, 10)).sent_bytes <= 3);
        if number % 50 == 0 {
            fixture.wait_for_loan(); // Then the next is taken in part again.
        }
    }
    assert_eq!(read(&mut socket, 500), (0..500).collect::<Vec<_>>());
}

#[test]
fn a_connection_that_fails_in_the_hands_of_a_sender_is_told_and_made_again() {
    let fixture = Fixture::new(1 << 20, Reluctant(Some(io::ErrorKind::ConnectionReset)));
    let first = fixture.accept();
    let event = |fixture: &Fixture| fixture.events.recv_timeout(LONG).expect("it is told");
    assert_eq!(event(&fixture), HostEvent::PeerConnected { peer: PEER.id });
    assert_eq!(fixture.push(packet(1, 0)), Pushed::default());
    let error = PeerError::from_io(&io::ErrorKind::ConnectionReset.into());
    assert_eq!(event(&fixture), HostEvent::PeerLost { peer: PEER.id, error });
    drop(first);
    fixture.accept();
    assert_eq!(event(&fixture), HostEvent::PeerConnected { peer: PEER.id });
}

#[test]
fn without_a_connection_only_the_newest_is_kept() {
    let queue = Queue::new(10_000);
    assert_eq!(queue.push(&mut packets(3)).dropped, 0);
    assert_eq!(queue.push(&mut packets(2)).dropped, 3);
    assert_eq!(queue.lock().packets.len(), 2);
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let cost = packets(1)[0].cost();
    let queue = Queue::new(2 * cost);
    assert_eq!(queue.push(&mut packets(5)).dropped, 3);
    assert_eq!(queue.lock().bytes, 2 * cost);
    queue.stop();
    assert_eq!(queue.push(&mut packets(1)).dropped, 3, "the two old ones, and the new one");
}

#[test]
fn a_pause_ends_early_when_the_peer_is_heard_of() {
    let queue = Queue::new(0);
    queue.nudge(1);
    queue.pause(Duration::from_secs(3_600));
    queue.stop();
    queue.pause(Duration::from_secs(3_600));
}
