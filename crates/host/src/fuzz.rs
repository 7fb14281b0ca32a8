//! Doors for the fuzzer: what is said between members, as any bytes.
//!
//! Each function takes bytes as they would come from a socket, or nearly so: where a checksum or a tag would keep
//! everybody out who does not compute one, it is made right, as somebody would who means harm. They panic if what was
//! read is not what is written of it.

use bytes::{Bytes, BytesMut};
use quorate_node::Envelope;
use quorate_raft::NodeId;

pub use crate::transport::fuzz::{Call, Link, call, link};

use crate::handshake::{Greeting, signed};
use crate::wire::{self, Packet};
use crate::{reconcile, transport};

/// Members of connections.
const FROM: NodeId = NodeId(2);
const TO: NodeId = NodeId(1);

/// A connection on which these pieces arrive. Hands out what is for a group.
pub fn frames(pieces: &[Bytes], mut take: impl FnMut(Envelope)) {
    let mut arrived = BytesMut::new();
    for piece in pieces {
        arrived.extend_from_slice(piece);
        loop {
            let missing = wire::missing_bytes(&arrived);
            match wire::split_frame(&mut arrived) {
                Ok(Some(body)) => {
                    assert_eq!(
                        missing,
                        Ok(Some(0)),
                        "a frame is there when nothing of it is missing"
                    );
                    take_packet(body, FROM, &mut take);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// The body of a frame from some member, whose checksum was right.
pub fn body(body: &[u8], from: NodeId, mut take: impl FnMut(Envelope)) {
    take_packet(Bytes::copy_from_slice(body), from, &mut take);
}

fn take_packet(body: Bytes, from: NodeId, take: &mut impl FnMut(Envelope)) {
    let Ok(packet) = wire::decode(body, from, TO) else { return };
    assert!(packet.cost() > 0, "nothing is for nothing");
    let mut out = BytesMut::new();
    wire::encode(&packet, &mut out).expect("what fitted into a frame fits into one");
    let again = wire::split_frame(&mut out).expect("it is a frame").expect("it is all there");
    assert_eq!(wire::decode(again, from, TO).as_ref(), Ok(&packet));
    if let Packet::Envelope(envelope) = packet {
        take(envelope);
    }
}

/// A greeting as it is read from a connection; with right checksums, if they are to be made.
pub fn greeting(said: &[u8], make_checksums: bool) {
    let signed = if make_checksums { signed(said) } else { said.to_vec() };
    let Ok(greeting) = Greeting::read(&mut &signed[..]) else { return };
    let mut written = Vec::new();
    greeting.write(&mut written).expect("a vector takes all");
    assert_eq!(signed.get(..written.len()), Some(&written[..]), "{greeting:?}");
    let _ = greeting.news();
}

/// What a member answers that was asked for the next step of a change of members.
pub fn step(answer: &[u8]) {
    let Some(step) = reconcile::decode(Bytes::copy_from_slice(answer)) else { return };
    assert_eq!(reconcile::decode(reconcile::encode(&step)), Some(step));
}

/// The file of the secrets that members share.
pub fn secrets(text: &[u8]) {
    let _ = transport::parse_secrets(text);
}
