//! The first words on a connection, both ways, before any frame.
//!
//! Whoever connects says who it is, whom it means to reach and which cluster it belongs to. Whoever
//! accepts says the same of itself, and its verdict. Each side thereby learns what is wrong in its
//! own words: most wrong connections come from an address in the wrong line of a configuration.
//!
//! The incarnation tells the processes of a member apart. When a member comes back as another
//! process, what was sent to the old one goes nowhere, though the connection to it may look alive
//! for a while longer.

use std::io::{self, Read, Write};

use bytes::{Buf, BufMut};
use quorate_raft::NodeId;

use crate::error::PeerError;

/// The version of the protocol, of this handshake as of all frames. Members speak to no other.
pub(crate) const VERSION: u16 = 1;

/// What every greeting begins with.
const MAGIC: [u8; 8] = *b"QUORATE\xff";

/// The bytes of a greeting: magic, version, verdict, cluster, from, to, incarnation, checksum.
const GREETING_BYTES: usize = 8 + 2 + 1 + 8 + 8 + 8 + 8 + 4;

/// Who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The cluster.
    pub(crate) cluster_id: u64,
    /// The member.
    pub(crate) id: NodeId,
    /// The member's process.
    pub(crate) incarnation: u64,
}

/// What either side says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// The version that the speaker speaks.
    pub(crate) version: u16,
    /// What the speaker thinks of the other's greeting; whoever connects has not heard one yet and
    /// says [`Verdict::Welcome`].
    pub(crate) verdict: Verdict,
    /// The speaker.
    pub(crate) from: Identity,
    /// Whom it speaks to.
    pub(crate) to: NodeId,
}

/// What somebody thinks of a greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    /// Go on.
    Welcome = 0,
    /// Another version.
    Version = 1,
    /// Another cluster.
    Cluster = 2,
    /// Another member was meant.
    Target = 3,
    /// Not a member of the group, as far as the speaker knows.
    Stranger = 4,
}

impl Greeting {
    pub(crate) fn new(from: Identity, to: NodeId, verdict: Verdict) -> Self {
        Self { version: VERSION, verdict, from, to }
    }

    fn encode(&self) -> [u8; GREETING_BYTES] {
        let mut bytes = [0; GREETING_BYTES];
        let mut out = &mut bytes[..];
        out.put_slice(&MAGIC);
        out.put_u16_le(self.version);
        out.put_u8(self.verdict as u8);
        out.put_u64_le(self.from.cluster_id);
        out.put_u64_le(self.from.id.0);
        out.put_u64_le(self.to.0);
        out.put_u64_le(self.from.incarnation);
        let checksum = crc32fast::hash(&bytes[..GREETING_BYTES - 4]);
        bytes[GREETING_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// A greeting of another version may go on differently after the version, so nothing is read
    /// beyond it.
    fn decode(bytes: &[u8; GREETING_BYTES]) -> Result<Self, PeerError> {
        let (body, mut checksum) = bytes.split_at(GREETING_BYTES - 4);
        let mut rest = body;
        if rest[..MAGIC.len()] != MAGIC {
            return Err(PeerError::NotAPeer);
        }
        rest.advance(MAGIC.len());
        let version = rest.get_u16_le();
        if version != VERSION {
            return Err(PeerError::Version { theirs: version, ours: VERSION });
        }
        if crc32fast::hash(body) != checksum.get_u32_le() {
            return Err(PeerError::Malformed("the checksum of a greeting is wrong"));
        }
        let verdict = match rest.get_u8() {
            0 => Verdict::Welcome,
            1 => Verdict::Version,
            2 => Verdict::Cluster,
            3 => Verdict::Target,
            4 => Verdict::Stranger,
            _ => return Err(PeerError::Malformed("a greeting has an unknown verdict")),
        };
        let cluster_id = rest.get_u64_le();
        let id = NodeId(rest.get_u64_le());
        let to = NodeId(rest.get_u64_le());
        let incarnation = rest.get_u64_le();
        Ok(Self { version, verdict, from: Identity { cluster_id, id, incarnation }, to })
    }

    pub(crate) fn write(&self, stream: &mut (impl Write + ?Sized)) -> io::Result<()> {
        stream.write_all(&self.encode())?;
        stream.flush()
    }

    pub(crate) fn read(stream: &mut (impl Read + ?Sized)) -> Result<Self, PeerError> {
        let mut bytes = [0; GREETING_BYTES];
        stream.read_exact(&mut bytes).map_err(|error| PeerError::from_io(&error))?;
        Self::decode(&bytes)
    }
}

/// What the one who accepts thinks of a greeting.
pub(crate) fn judge(
    ours: Identity,
    is_peer: impl Fn(NodeId) -> bool,
    greeting: &Greeting,
) -> Result<(), (Verdict, PeerError)> {
    let Greeting { from, to, .. } = *greeting;
    if from.cluster_id != ours.cluster_id {
        let error = PeerError::Cluster { theirs: from.cluster_id, ours: ours.cluster_id };
        Err((Verdict::Cluster, error))
    } else if to != ours.id {
        Err((Verdict::Target, PeerError::Target { meant: to, found: ours.id }))
    } else if !is_peer(from.id) {
        Err((Verdict::Stranger, PeerError::Stranger(from.id)))
    } else {
        Ok(())
    }
}

/// What the one who connected to reach `meant` makes of the answer.
pub(crate) fn heed(ours: Identity, meant: NodeId, answer: &Greeting) -> Result<(), PeerError> {
    let Greeting { verdict, from, .. } = *answer;
    if from.cluster_id != ours.cluster_id || verdict == Verdict::Cluster {
        Err(PeerError::Cluster { theirs: from.cluster_id, ours: ours.cluster_id })
    } else if from.id != meant || verdict == Verdict::Target {
        Err(PeerError::Target { meant, found: from.id })
    } else {
        match verdict {
            Verdict::Welcome => Ok(()),
            Verdict::Stranger => Err(PeerError::Stranger(ours.id)),
            Verdict::Version | Verdict::Cluster | Verdict::Target => {
                Err(PeerError::Version { theirs: answer.version, ours: VERSION })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Identity = Identity { cluster_id: 1, id: NodeId(2), incarnation: 3 };
    const THEIRS: Identity = Identity { cluster_id: 1, id: NodeId(4), incarnation: 5 };

    fn greeting() -> Greeting {
        Greeting::new(THEIRS, NodeId(2), Verdict::Welcome)
    }

    #[test]
    fn a_greeting_arrives_as_it_was_said() {
        for verdict in [
            Verdict::Welcome,
            Verdict::Version,
            Verdict::Cluster,
            Verdict::Target,
            Verdict::Stranger,
        ] {
            let said = Greeting { verdict, ..greeting() };
            let mut bytes = Vec::new();
            said.write(&mut bytes).unwrap();
            assert_eq!(Greeting::read(&mut &bytes[..]), Ok(said));
        }
    }

    #[test]
    fn other_bytes_are_no_greeting() {
        let good = greeting().encode();
        for at in 0..GREETING_BYTES {
            let mut bad = good;
            bad[at] ^= 1;
            let error = Greeting::decode(&bad).unwrap_err();
            match at {
                0..8 => assert_eq!(error, PeerError::NotAPeer),
                8..10 => assert!(matches!(error, PeerError::Version { ours: VERSION, .. })),
                _ => assert!(matches!(error, PeerError::Malformed(_))),
            }
        }
        let http = &mut &b"GET / HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n"[..];
        assert_eq!(Greeting::read(http), Err(PeerError::NotAPeer));
        assert!(matches!(Greeting::read(&mut &good[1..]), Err(PeerError::Io(_))));
    }

    #[test]
    fn both_sides_learn_what_is_wrong() {
        let judge = |greeting: &Greeting| judge(OURS, |id| id == NodeId(4), greeting);
        assert_eq!(judge(&greeting()), Ok(()));

        let mut elsewhere = greeting();
        elsewhere.from.cluster_id = 9;
        let (verdict, error) = judge(&elsewhere).unwrap_err();
        assert_eq!(error, PeerError::Cluster { theirs: 9, ours: 1 });
        let answer = Greeting::new(OURS, NodeId(4), verdict);
        let heard = heed(elsewhere.from, NodeId(2), &answer);
        assert_eq!(heard, Err(PeerError::Cluster { theirs: 1, ours: 9 }));

        let astray = Greeting { to: NodeId(8), ..greeting() };
        let (verdict, error) = judge(&astray).unwrap_err();
        assert_eq!(error, PeerError::Target { meant: NodeId(8), found: NodeId(2) });
        let answer = Greeting::new(OURS, NodeId(4), verdict);
        assert_eq!(heed(THEIRS, NodeId(8), &answer), Err(error));

        let mut stranger = greeting();
        stranger.from.id = NodeId(5);
        let (verdict, error) = judge(&stranger).unwrap_err();
        assert_eq!(error, PeerError::Stranger(NodeId(5)));
        let answer = Greeting::new(OURS, NodeId(5), verdict);
        assert_eq!(heed(stranger.from, NodeId(2), &answer), Err(error));

        let answer = Greeting::new(OURS, NodeId(4), Verdict::Welcome);
        assert_eq!(heed(THEIRS, NodeId(2), &answer), Ok(()));
    }
}
