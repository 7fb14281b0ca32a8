//! The envelope of a command inside a log entry: who asked.
//!
//! Every member sees every committed entry. The one whose client asked recognises its own by this
//! name and answers from its own state machine, so no answer travels back from the leader and none
//! can be lost on the way.

use bytes::{BufMut, Bytes, BytesMut};
use quorate_raft::NodeId;

/// Names a command for ever: the node, its process, and the process's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProposalId {
    /// The node whose client asked.
    pub origin: NodeId,
    /// The process of that node, drawn at random at its start.
    pub incarnation: u64,
    /// Counts up within the process.
    pub number: u64,
}

/// Numbers from here on are not of clients' commands: the node counts those from zero. What stands under
/// such a number is for the group itself ([`crate::audit`]), and no machine is given it.
pub const OWN: u64 = 1 << 63;

/// The version of the encoding below, its first byte.
const VERSION: u8 = 1;

/// The same, of what is for the group itself.
const OWN_VERSION: u8 = 2;

/// The bytes that the name takes in front of the command.
pub const HEADER_BYTES: usize = 1 + 3 * 8;

/// Puts the name in front of the command.
#[must_use]
pub fn encode(id: ProposalId, command: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + command.len());
    bytes.put_u8(if id.number < OWN { VERSION } else { OWN_VERSION });
    bytes.put_u64_le(id.origin.0);
    bytes.put_u64_le(id.incarnation);
    bytes.put_u64_le(id.number);
    bytes.put_slice(command);
    bytes.freeze()
}

/// Parts the name from a client's command; `None` if the bytes are no such pair. They come from the log,
/// so every member decides alike.
#[must_use]
pub fn decode(entry: &Bytes) -> Option<(ProposalId, Bytes)> {
    parted(entry, VERSION)
}

/// The same of what is for the group itself.
#[must_use]
pub fn decode_own(entry: &Bytes) -> Option<(ProposalId, Bytes)> {
    parted(entry, OWN_VERSION)
}

fn parted(entry: &Bytes, version: u8) -> Option<(ProposalId, Bytes)> {
    if entry.len() < HEADER_BYTES || entry[0] != version {
        return None;
    }
    let word = |at: usize| {
        let bytes: [u8; 8] = entry[at..at + 8].try_into().expect("the range is eight bytes long");
        u64::from_le_bytes(bytes)
    };
    let id = ProposalId { origin: NodeId(word(1)), incarnation: word(9), number: word(17) };
    Some((id, entry.slice(HEADER_BYTES..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let id = ProposalId { origin: NodeId(1), incarnation: u64::MAX, number: OWN - 1 };
        for command in [&b""[..], b"x", b"a longer command"] {
            let (back, rest) = decode(&encode(id, command)).expect("it was encoded here");
            assert_eq!((back, &rest[..]), (id, command));
            assert_eq!(decode_own(&encode(id, command)), None, "it is a client's");
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = encode(ProposalId { origin: NodeId(1), incarnation: 2, number: 3 }, b"x");
        for length in 0..HEADER_BYTES {
            assert_eq!(decode(&good.slice(..length)), None, "{length} bytes are too few");
        }
        let mut other = BytesMut::from(&good[..]);
        other[0] = OWN_VERSION + 1;
        let other = other.freeze();
        assert_eq!(decode(&other), None, "a later version is not guessed at");
        assert_eq!(decode_own(&other), None, "nor is it for the group");
        let own = encode(ProposalId { origin: NodeId(1), incarnation: 2, number: OWN }, b"x");
        assert_eq!(decode(&own), None, "what is for the group is no client's");
        assert!(decode_own(&own).is_some());
    }
}
