//! Two ends of a connection over real sockets, and somebody between them.

use std::net::TcpListener;
use std::thread;

use super::*;
use crate::handshake::{Greeting, Identity};
use crate::transport::{Protection, Secret};
use crate::{card::Card, transport::record::Sealer};

const LONG: Duration = Duration::from_secs(60);

fn secret(first: u8) -> Secret {
    let bytes: Vec<u8> = (0..40).map(|n| n + first).collect();
    Secret::new(&bytes).unwrap()
}

/// One that speaks with the first of these.
fn transport(secrets: &[u8]) -> Authenticated {
    let others = secrets[1..].iter().map(|first| secret(*first));
    Authenticated::new(Arc::new(Secrets::fixed(secret(secrets[0]), others)))
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// The end of who accepts, with nothing read from it yet.
fn accept(transport: &Authenticated, listener: &TcpListener) -> Connection {
    let (socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    transport.accept(socket).unwrap()
}

/// Both ends: who connects says so in its first bytes, as on any connection.
fn pair(ours: &Authenticated, theirs: &Authenticated) -> (Connection, Connection) {
    let (listener, address) = listen();
    thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            let mut connection = ours.connect(&address, LONG).unwrap();
            connection.stream.write_all(b"first").unwrap();
            connection
        });
        let mut accepted = accept(theirs, &listener);
        assert_eq!(&read_exact::<5>(&mut accepted).unwrap(), b"first");
        (connecting.join().unwrap(), accepted)
    })
}

fn read_exact<const N: usize>(connection: &mut Connection) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    connection.stream.read_exact(&mut bytes).map(|()| bytes)
}

fn error_of<T>(result: io::Result<T>) -> PeerError {
    PeerError::from_io(&result.err().expect("it is refused"))
}

/// A connection whose one end is in the hands of the test, and the keys of that end.
fn tapped(transport: &Authenticated) -> (TcpStream, Keys, Connection) {
    let (listener, address) = listen();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let call = hello::call(&secret(1), &[5; 32]);
    socket.write_all(&call).unwrap();
    let mut accepted = accept(transport, &listener);
    let read = accepted.stream.read(&mut [0]);
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::Interrupted, "the call, and nothing more");
    let mut answer = [0; ANSWER_BYTES];
    socket.read_exact(&mut answer).unwrap();
    let keys = hello::heed(&secret(1), &call, &answer).expect("a good answer");
    (socket, keys, accepted)
}

#[test]
fn bytes_pass_both_ways_in_any_portions() {
    let (mut ours, mut theirs) = pair(&transport(&[1]), &transport(&[1]));
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for piece in bytes.chunks(300_007) {
                ours.stream.write_all(piece).unwrap();
            }
        });
        let mut arrived = vec![0; bytes.len()];
        for piece in arrived.chunks_mut(70_001) {
            theirs.stream.read_exact(piece).unwrap();
        }
        assert!(arrived == bytes);
    });
    theirs.stream.write_all(b"back").unwrap();
    assert_eq!(&read_exact::<4>(&mut ours).unwrap(), b"back");
}

#[test]
fn while_the_secret_is_changed_everybody_hears_everybody() {
    for (ours, theirs) in
        [(&[1][..], &[1, 2][..]), (&[1, 2], &[2, 1]), (&[2, 1], &[1, 2]), (&[2], &[2, 1])]
    {
        pair(&transport(ours), &transport(theirs));
        pair(&transport(theirs), &transport(ours));
    }
}

#[test]
fn who_has_another_secret_is_not_heard_and_both_sides_are_told() {
    let (listener, address) = listen();
    let connecting = thread::spawn(move || transport(&[1]).connect(&address, LONG));
    let mut accepted = accept(&transport(&[2]), &listener);
    let error = error_of(read_exact::<1>(&mut accepted));
    assert_eq!(error, PeerError::Unauthentic("the other side knows none of our secrets"));
    assert_eq!(
        error_of(read_exact::<1>(&mut accepted)),
        PeerError::Io(io::ErrorKind::NotConnected)
    );
    let error = error_of(connecting.join().unwrap());
    assert_eq!(error, PeerError::Unauthentic("the other side does not know our secret"));
}

#[test]
fn who_speaks_plainly_is_not_heard_and_both_sides_are_told() {
    let (listener, address) = listen();
    let us = Identity { cluster_id: 1, id: quorate_raft::NodeId(1), incarnation: 1 };
    let greeting = Greeting::welcome(us, quorate_raft::NodeId(2), &Card::default());
    let mut socket = TcpStream::connect(&address).unwrap();
    greeting.write(&mut socket).unwrap();
    let mut accepted = accept(&transport(&[1]), &listener);
    let (plain, authenticated) = (Protection::Plain, Protection::Authenticated);
    let error = error_of(read_exact::<1>(&mut accepted));
    assert_eq!(error, PeerError::Protection { theirs: plain, ours: authenticated });
    let error = Greeting::read(&mut socket).unwrap_err();
    assert_eq!(error, PeerError::Protection { theirs: authenticated, ours: plain });

    // And the reverse: who answers plainly.
    let answering = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let called = Greeting::read(&mut socket).unwrap_err();
        greeting.write(&mut socket).unwrap();
        (called, socket)
    });
    let error = error_of(transport(&[1]).connect(&address, LONG));
    assert_eq!(error, PeerError::Protection { theirs: plain, ours: authenticated });
    let (called, _socket) = answering.join().unwrap();
    assert_eq!(called, PeerError::Protection { theirs: authenticated, ours: plain });
}

#[test]
fn what_is_changed_repeated_or_sent_back_ends_the_connection_and_is_not_handed_on() {
    let wrong_tag = PeerError::Unauthentic("the tag of a record is wrong");
    let with = |tamper: &dyn Fn(Vec<u8>, &mut Keys) -> Vec<u8>| {
        let (mut socket, mut keys, mut accepted) = tapped(&transport(&[1]));
        let mut record = Vec::new();
        keys.sealer.seal(b"one", &mut record);
        socket.write_all(&tamper(record, &mut keys)).unwrap();
        (read_exact::<3>(&mut accepted), read_exact::<3>(&mut accepted))
    };
    let (first, second) = with(&|mut record, keys| {
        keys.sealer.seal(b"two", &mut record);
        record
    });
    assert_eq!((&first.unwrap(), &second.unwrap()), (b"one", b"two"));
    let (first, second) = with(&|record, _| [&record[..], &record].concat());
    assert_eq!(&first.unwrap(), b"one");
    assert_eq!(error_of(second), wrong_tag, "repeated");
    let (first, second) = with(&|mut record, _| {
        record[5] ^= 1;
        record
    });
    assert_eq!(error_of(first), wrong_tag, "changed");
    assert_eq!(error_of(second), PeerError::Io(io::ErrorKind::NotConnected), "it has ended");
    let (first, _) = with(&|record, keys| {
        let mut next = Vec::new();
        keys.sealer.seal(b"two", &mut next);
        [next, record].concat()
    });
    assert_eq!(error_of(first), wrong_tag, "reordered");

    // What the acceptor said itself.
    let (mut socket, _, mut accepted) = tapped(&transport(&[1]));
    accepted.stream.write_all(b"one").unwrap();
    let mut record = [0; 3 + super::super::record::OVERHEAD_BYTES];
    socket.read_exact(&mut record).unwrap();
    socket.write_all(&record).unwrap();
    assert_eq!(error_of(read_exact::<3>(&mut accepted)), wrong_tag, "sent back");
}

#[test]
fn a_record_that_is_cut_off_is_not_handed_on() {
    let (mut socket, mut keys, mut accepted) = tapped(&transport(&[1]));
    let mut record = Vec::new();
    keys.sealer.seal(b"one", &mut record);
    socket.write_all(&record[..record.len() - 1]).unwrap();
    drop(socket);
    assert_eq!(
        error_of(read_exact::<1>(&mut accepted)),
        PeerError::Io(io::ErrorKind::UnexpectedEof)
    );
}

/// The call is repeated by somebody who heard it and does not know the secret.
#[test]
fn a_repeated_call_does_not_help_whoever_can_make_no_record() {
    let (mut socket, _, mut accepted) = tapped(&transport(&[1]));
    let mut record = Vec::new();
    Sealer::new(&[0; 32]).seal(b"one", &mut record);
    socket.write_all(&record).unwrap();
    assert!(matches!(error_of(read_exact::<1>(&mut accepted)), PeerError::Unauthentic(_)));
}

#[test]
fn who_does_not_answer_is_not_waited_for() {
    let (_listener, address) = listen();
    let error = error_of(transport(&[1]).connect(&address, Duration::from_millis(50)));
    assert_eq!(error, PeerError::Io(io::ErrorKind::TimedOut));
}

#[test]
fn what_the_network_does_not_take_at_once_is_sent_with_what_comes_next() {
    let (mut ours, mut theirs) = pair(&transport(&[1]), &transport(&[1]));
    let piece = [7; 10_000];
    let mut said = 0;
    while ours.stream.write_now(&piece).unwrap() != 0 {
        said += piece.len();
    }
    assert_eq!(ours.stream.write_now(&piece).unwrap(), 0, "it does not wait");
    said += piece.len() + 3;
    thread::scope(|scope| {
        scope.spawn(|| ours.stream.write_all(&[&piece[..], b"end"].concat()).unwrap());
        let mut arrived = vec![0; said];
        theirs.stream.read_exact(&mut arrived).unwrap();
        assert!(arrived.ends_with(b"\x07end") && arrived[..said - 3].iter().all(|byte| *byte == 7));
    });
    assert_eq!(ours.stream.write_now(b"more").unwrap(), 4, "and then it is as before");
    assert_eq!(&read_exact::<4>(&mut theirs).unwrap(), b"more");
}
