//! What may arrive on the peer port, over real sockets.

use std::io::{Read, Write};
use std::sync::mpsc;

use quorate_node::{About, Envelope, EnvelopeBody, Incarnation, PeerState, View};
use quorate_raft::{Body, GroupId, Message, Term};

use super::*;
use crate::clock::Clock;
use crate::config::{HostEvent, Limits};
use crate::fatal::Fatal;
use crate::metrics::Metrics;
use crate::peer::Dialing;
use crate::transport::{Authenticated, Secret, Secrets, Tcp};

const US: Identity = Identity { cluster_id: 5, id: NodeId(1), incarnation: 10 };
const PEER: Identity = Identity { cluster_id: 5, id: NodeId(2), incarnation: 20 };
const LONG: Duration = Duration::from_secs(60);

struct Fixture {
    incoming: Arc<Incoming<()>>,
    listening: Option<Listening>,
    address: std::net::SocketAddr,
    events: mpsc::Receiver<HostEvent>,
}

impl Fixture {
    fn new() -> Self {
        Self::with_patience(LONG)
    }

    fn with_patience(patience: Duration) -> Self {
        Self::with_transport(patience, Arc::new(Tcp))
    }

    fn with_transport(patience: Duration, transport: Arc<dyn Transport>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, events) = mpsc::channel();
        let metrics = Arc::new(Metrics::default());
        let reporter = Arc::new(Reporter::new(Arc::new(move |event: &HostEvent| {
            let _ = sender.send(event.clone());
        })));
        let directory = Arc::new(Directory::new(Dialing {
            identity: US,
            card: Card::default(),
            transport: Arc::clone(&transport),
            patience,
            queue_bytes: 1 << 20,
            on_change: Arc::new(|_| {}),
            metrics: Arc::clone(&metrics),
            reporter: Arc::clone(&reporter),
            fatal: Arc::new(Fatal::new(Box::new(|| {}), Arc::new(|_| {}))),
        }));
        directory.meet(PEER.id, &[]).unwrap();
        let incoming = Arc::new(Incoming {
            identity: US,
            card: Card::default(),
            transport,
            patience,
            shared: Arc::new(Shared::new(US.id, Limits::default(), metrics)),
            directory,
            rejoining: false,
            reporter,
            connections: Mutex::default(),
        });
        let listening = Some(incoming.listen(vec![listener]).unwrap());
        Self { incoming, listening, address, events }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket
    }

    /// Connects and says this; returns the connection and the verdict.
    fn greet(&self, from: Identity, to: NodeId) -> (TcpStream, Verdict) {
        let mut socket = self.connect();
        Greeting::welcome(from, to, &Card::default()).write(&mut socket).unwrap();
        let answer = Greeting::read(&mut socket).unwrap();
        assert_eq!(answer.from, US);
        (socket, answer.verdict)
    }

    fn received(&self) -> Vec<Envelope> {
        loop {
            let envelopes: Vec<_> = self
                .signals()
                .into_iter()
                .map(|signal| match signal {
                    Signal::Peer(envelope) => envelope,
                    other => panic!("{other:?} is no message"),
                })
                .collect();
            if !envelopes.is_empty() {
                return envelopes;
            }
        }
    }

    /// What has arrived, but for who has met whom.
    fn signals(&self) -> Vec<Signal<()>> {
        let mut signals = Vec::new();
        self.incoming.shared.inbox.take(LONG, &mut signals);
        signals.retain(|signal| !matches!(signal, Signal::Node(News::Met { .. })));
        signals
    }

    fn refused(&self) -> (Option<NodeId>, PeerError) {
        match self.events.recv_timeout(LONG).expect("the refusal is told") {
            HostEvent::Refused { peer, error } => (peer, error),
            other => panic!("{other} is no refusal"),
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.listening.take().expect("it listens").stop();
        self.incoming.stop();
    }
}

fn envelope(term: u64) -> Envelope {
    let (from, to) = (PEER.id, US.id);
    let message = Message { from, to, term: Term(term), rejoining: None, body: Body::TimeoutNow };
    Envelope { group: GroupId(1), from, to, body: EnvelopeBody::Raft(message) }
}

fn frame(term: u64) -> BytesMut {
    let mut bytes = BytesMut::new();
    wire::encode(&Packet::Envelope(envelope(term)), &mut bytes).unwrap();
    bytes
}

fn is_closed(socket: &mut TcpStream) -> bool {
    match socket.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn messages_of_a_peer_arrive_in_order_however_they_are_cut() {
    let fixture = Fixture::new();
    let (mut socket, verdict) = fixture.greet(PEER, US.id);
    assert_eq!(verdict, Verdict::Welcome);
    let bytes: Vec<u8> = (0..100).flat_map(frame).collect();
    for piece in bytes.chunks(7) {
        socket.write_all(piece).unwrap();
    }
    let mut received = Vec::new();
    while received.len() < 100 {
        received.extend(fixture.received());
    }
    assert_eq!(received, (0..100).map(envelope).collect::<Vec<_>>());
    assert_eq!(fixture.incoming.shared.metrics.malformed.get(), 0);
}

#[test]
fn garbage_after_the_handshake_ends_the_connection_and_is_counted() {
    let fixture = Fixture::new();
    let (mut socket, _) = fixture.greet(PEER, US.id);
    let mut bytes = frame(1);
    bytes.extend_from_slice(&frame(2));
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    socket.write_all(&bytes).unwrap();
    assert_eq!(fixture.received(), [envelope(1)], "what came before is as good as ever");
    assert!(is_closed(&mut socket));
    let (peer, error) = fixture.refused();
    assert_eq!(peer, Some(PEER.id));
    assert!(matches!(error, PeerError::Malformed(_)), "{error}");
    assert_eq!(fixture.incoming.shared.metrics.malformed.get(), 1);

    let (mut socket, verdict) = fixture.greet(PEER, US.id);
    assert_eq!(verdict, Verdict::Welcome, "the peer may come back");
    socket.write_all(&frame(3)).unwrap();
    assert_eq!(fixture.received(), [envelope(3)]);
}

#[test]
fn a_length_without_end_is_refused() {
    let fixture = Fixture::new();
    let (mut socket, _) = fixture.greet(PEER, US.id);
    socket.write_all(&[0xff; 8]).unwrap();
    assert!(is_closed(&mut socket));
    assert!(matches!(fixture.refused(), (Some(_), PeerError::Malformed(_))));
}

#[test]
fn whoever_speaks_something_else_is_turned_away() {
    let fixture = Fixture::new();
    let mut socket = fixture.connect();
    socket.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n").unwrap();
    assert!(is_closed(&mut socket));
    assert_eq!(fixture.refused(), (None, PeerError::NotAPeer));
}

/// With this transport, what somebody says who connects is not waited for beyond the patience.
fn assert_hurried(transport: Arc<dyn Transport>, said: &[u8]) {
    let fixture = Fixture::with_transport(Duration::from_millis(50), transport);
    let mut socket = fixture.connect();
    let clock = Clock::start();
    let began = clock.now();
    // Each byte comes well within the time, and all of them do not.
    let cut_off = said.iter().any(|byte| {
        thread::sleep(Duration::from_millis(10));
        socket.write_all(&[*byte]).is_err()
    });
    assert!(cut_off || is_closed(&mut socket));
    assert!(clock.now().since(began) >= Duration::from_millis(50));
}

#[test]
fn a_greeting_that_drips_in_is_not_waited_for() {
    let mut greeting = Vec::new();
    Greeting::welcome(PEER, US.id, &Card::default()).write(&mut greeting).unwrap();
    assert_hurried(Arc::new(Tcp), &greeting);
}

#[test]
fn a_call_that_drips_in_is_not_waited_for() {
    let secret = Secret::new(b"0123456789abcdefghijklmnopqrstuv").unwrap();
    let secrets = Arc::new(Secrets::fixed(secret, []));
    // The beginning of one: what comes later does not matter.
    let call = [&b"QUORMAC\xff\x01\x00"[..], &[0; 60]].concat();
    assert_hurried(Arc::new(Authenticated::new(secrets)), &call);
}

/// A transport that speaks with nobody.
struct Closed;

impl Transport for Closed {
    fn connect(&self, _: &str, _: Duration) -> std::io::Result<Connection> {
        unreachable!("only who accepts is tested")
    }

    fn accept(&self, socket: TcpStream) -> std::io::Result<Connection> {
        Err(PeerError::Unprotected(socket.peer_addr()?.ip()).into())
    }
}

#[test]
fn whom_the_transport_does_not_speak_with_is_counted_and_told_once() {
    let fixture = Fixture::with_transport(LONG, Arc::new(Closed));
    for _ in 0..20 {
        assert!(is_closed(&mut fixture.connect()));
    }
    let unprotected = PeerError::Unprotected([127, 0, 0, 1].into());
    assert_eq!(fixture.refused(), (None, unprotected));
    assert!(fixture.events.try_recv().is_err(), "it is told once");
    assert_eq!(fixture.incoming.shared.metrics.unauthenticated.get(), 20);
}

#[test]
fn strangers_and_strays_are_told_why() {
    let fixture = Fixture::new();
    let elsewhere = Identity { cluster_id: 6, ..PEER };
    let (mut socket, verdict) = fixture.greet(elsewhere, US.id);
    assert_eq!(verdict, Verdict::Cluster);
    assert!(is_closed(&mut socket));
    let error = PeerError::Cluster { theirs: 6, ours: 5 };
    assert_eq!(fixture.refused(), (Some(PEER.id), error));

    let (_socket, verdict) = fixture.greet(PEER, NodeId(3));
    assert_eq!(verdict, Verdict::Target);
    let error = PeerError::Target { meant: NodeId(3), found: US.id };
    assert_eq!(fixture.refused(), (Some(PEER.id), error));

    let stranger = Identity { id: NodeId(9), ..PEER };
    let (_socket, verdict) = fixture.greet(stranger, US.id);
    assert_eq!(verdict, Verdict::Stranger);
    assert_eq!(fixture.refused(), (None, PeerError::Stranger(NodeId(9))));
}

#[test]
fn who_comes_and_what_it_says_of_others_is_told() {
    let fixture = Fixture::new();
    let mut socket = fixture.connect();
    let about = About { zone: "a".into(), ..About::default() };
    let card = Card { started_ms: 7, about: Arc::new(about) };
    Greeting::welcome(PEER, US.id, &card).write(&mut socket).unwrap();
    Greeting::read(&mut socket).unwrap();
    let incarnation = Incarnation { started_ms: 7, process: PEER.incarnation };
    let (of, state) = (NodeId(3), PeerState::Failed);
    let view = View { of, incarnation, state, age: Duration::from_secs(1) };
    let mut bytes = BytesMut::new();
    wire::encode(&Packet::View(view), &mut bytes).unwrap();
    socket.write_all(&bytes).unwrap();
    let mut signals = Vec::new();
    while signals.len() < 2 {
        fixture.incoming.shared.inbox.take(LONG, &mut signals);
    }
    let Signal::Node(News::Met { peer, incarnation: met, about }) = &signals[0] else {
        panic!("{signals:?}");
    };
    assert_eq!((*peer, *met, &about.zone[..]), (PEER.id, incarnation, "a"));
    let Signal::Node(News::Told { by, view: told }) = &signals[1] else { panic!("{signals:?}") };
    assert_eq!((*by, *told), (PEER.id, view));
}

#[test]
fn a_second_connection_of_a_peer_ends_the_first() {
    let fixture = Fixture::new();
    let (mut first, _) = fixture.greet(PEER, US.id);
    let (mut second, _) = fixture.greet(PEER, US.id);
    assert!(is_closed(&mut first));
    second.write_all(&frame(1)).unwrap();
    assert_eq!(fixture.received(), [envelope(1)]);
}

#[test]
fn silent_strangers_are_bounded_and_do_not_hold_up_a_stop() {
    let fixture = Fixture::new();
    let mut silent: Vec<_> = (0..STRANGERS_MAX).map(|_| fixture.connect()).collect();
    while fixture.incoming.lock().strangers < STRANGERS_MAX {
        thread::yield_now();
    }
    let mut one_more = fixture.connect();
    assert!(is_closed(&mut one_more));
    drop(fixture);
    assert!(silent.iter_mut().all(is_closed));
}

#[test]
fn the_largest_question_and_answer_are_taken_and_larger_ones_are_not() {
    let fixture = Fixture::new();
    let (asked, questions) = mpsc::channel();
    let handler = move |_, payload: Bytes, reply: Reply| {
        asked.send(payload.len()).unwrap();
        reply.send(Bytes::new());
    };
    *fixture.incoming.shared.ask_handler.write().unwrap() = Some(Arc::new(handler));
    let (mut socket, _) = fixture.greet(PEER, US.id);
    let largest = fixture.incoming.shared.limits.ask_bytes;
    let mut bytes = BytesMut::new();
    for (number, length) in [(1, largest + 1), (2, largest)] {
        let payload = Bytes::from(vec![0; length]);
        wire::encode(
            &Packet::Ask { number, of: Of::Application, payload: payload.clone() },
            &mut bytes,
        )
        .unwrap();
        wire::encode(&Packet::Answer { number, answer: Some(payload) }, &mut bytes).unwrap();
    }
    socket.write_all(&bytes).unwrap();
    assert_eq!(questions.recv_timeout(LONG), Ok(largest), "the first was not asked");
    let mut answers = Vec::new();
    while answers.len() < 2 {
        answers.extend(fixture.signals().into_iter().map(|signal| match signal {
            Signal::Answer { number, answer, .. } => (number, answer.map(|bytes| bytes.len())),
            other => panic!("{other:?} is no answer"),
        }));
    }
    assert_eq!(answers, [(1, None), (2, Some(largest))]);
}
