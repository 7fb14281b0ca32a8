//! "Who am I?": what one that is about to join asks before it is anybody.
//!
//! Its configuration says where it will be found, and where others of the cluster are. By its addresses, as the
//! membership has them, any of those can tell it which member it is, and who else belongs to the cluster.
//!
//! ```text
//! → a greeting of nobody (id 0) to nobody, whose card has the addresses of who asks
//! ← a greeting to whom these addresses belong (0: to no member) · length (4) · membership · crc32 (4)
//! ```

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use quorate_node::About;
use quorate_raft::{Membership, NodeId};

use crate::card::Card;
use crate::error::PeerError;
use crate::handshake::{Greeting, Identity};
use crate::peer::addresses;
use crate::transport::{Hurried, Transport};

/// More than any membership takes, in bytes.
const MEMBERSHIP_BYTES_MAX: usize = 1 << 20;

/// What a member of the cluster said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The cluster.
    pub cluster_id: u64,
    /// The member that has the addresses that were asked for, if any has.
    pub id: Option<NodeId>,
    /// Who belongs to the cluster, as far as the one asked knows.
    pub membership: Membership,
}

/// Asks the member at this address (`host:port`) which member is found at `own` addresses, as many as a card has. Waits
/// about `patience` for each step.
///
/// # Errors
/// If there is no answer, or none that makes sense.
pub fn inquire(
    transport: &dyn Transport,
    address: &str,
    own: &[String],
    patience: Duration,
) -> Result<Found, PeerError> {
    let io = |error: std::io::Error| PeerError::from_io(&error);
    let mut connection = transport.connect(address, patience).map_err(io)?;
    connection.socket.set_write_timeout(Some(patience)).map_err(io)?;
    let about = About { addresses: own.to_vec(), ..About::default() };
    let card = Card { started_ms: 0, about: Arc::new(about) };
    Greeting::welcome(NOBODY, NOBODY.id, &card).write(&mut connection.stream).map_err(io)?;
    let mut hurried = Hurried::new(&mut connection, patience);
    let answer = Greeting::read(&mut hurried)?;
    let mut length = [0; 4];
    hurried.read_exact(&mut length).map_err(io)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MEMBERSHIP_BYTES_MAX {
        return Err(PeerError::Malformed("a membership is larger than any may be"));
    }
    let mut bytes = vec![0; length + 4];
    hurried.read_exact(&mut bytes).map_err(io)?;
    let (membership, mut checksum) = bytes.split_at(length);
    if crc32fast::hash(membership) != checksum.get_u32_le() {
        return Err(PeerError::Malformed("the checksum of a membership is wrong"));
    }
    let membership = Membership::decode(membership)
        .ok_or(PeerError::Malformed("a membership makes no sense"))?;
    let id = Some(answer.to).filter(|id| *id != NOBODY.id);
    Ok(Found { cluster_id: answer.from.cluster_id, id, membership })
}

/// Who asks, and whom.
const NOBODY: Identity = Identity { cluster_id: 0, id: NodeId(0), incarnation: 0 };

/// Whether somebody asks who it is.
pub(crate) fn is_inquiry(greeting: &Greeting) -> bool {
    (greeting.from.id, greeting.to, greeting.card.is_some()) == (NOBODY.id, NOBODY.id, true)
}

/// Answers.
pub(crate) fn answer(
    (ours, card): (Identity, &Card),
    asked: &Greeting,
    membership: &Membership,
    out: &mut (impl Write + ?Sized),
) -> std::io::Result<()> {
    let sorted = |mut addresses: Vec<String>| {
        addresses.sort();
        addresses
    };
    let theirs = asked.card.as_ref().map(|card| card.about.addresses.join("\n"));
    let theirs = sorted(addresses(theirs.unwrap_or_default().as_bytes()));
    let has_them = |about: &[u8]| !theirs.is_empty() && sorted(addresses(about)) == theirs;
    let found = membership.about.iter().find(|(_, about)| has_them(about));
    let id = found.map_or(NOBODY.id, |(id, _)| *id);
    let encoded = membership.encode();
    let mut bytes = Vec::with_capacity(encoded.len() + 8);
    bytes.put_u32_le(u32::try_from(encoded.len()).expect("a membership is small"));
    bytes.put_slice(&encoded);
    bytes.put_u32_le(crc32fast::hash(&encoded));
    Greeting::welcome(ours, id, card).write(out)?;
    out.write_all(&bytes)?;
    out.flush()
}
