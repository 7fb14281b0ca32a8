//! The first words on a connection, both ways, before any frame.
//!
//! Whoever connects says who it is, whom it means to reach and which cluster it belongs to. Whoever
//! accepts says the same of itself, and its verdict. Each side thereby learns what is wrong in its
//! own words: most wrong connections come from an address in the wrong line of a configuration.
//!
//! The incarnation tells the processes of a member apart. When a member comes back as another
//! process, what was sent to the old one goes nowhere, though the connection to it may look alive
//! for a while longer.
//!
//! Behind a greeting that welcomes comes the speaker's card (`card.rs`): what program it is, in which zone
//! it stands, and where it is to be reached. Whoever is turned away is not told.

use std::io::{self, Read, Write};

use bytes::{Buf, BufMut};
use quorate_node::{Incarnation, News};
use quorate_raft::NodeId;

use crate::card::{CARD_BYTES_MAX, Card};
use crate::error::PeerError;
use crate::transport::Protection;

/// The version of the protocol, of this handshake as of all frames. Members speak to no other.
pub(crate) const VERSION: u16 = 1;

/// What every greeting begins with.
pub(crate) const MAGIC: [u8; 8] = *b"QUORATE\xff";

/// The bytes of a greeting: magic, version, verdict, cluster, from, to, incarnation, the length of the card,
/// checksum. A card, if there is any, comes behind it and is followed by a checksum of its own.
const GREETING_BYTES: usize = 8 + 2 + 1 + 8 + 8 + 8 + 8 + 2 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 4;

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What it says about itself: exactly when it welcomes.
    pub(crate) card: Option<Card>,
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
    /// One that welcomes.
    pub(crate) fn welcome(from: Identity, to: NodeId, card: &Card) -> Self {
        let card = Some(card.clone());
        Self { version: VERSION, verdict: Verdict::Welcome, from, to, card }
    }

    /// One that turns somebody away.
    pub(crate) fn refusal(from: Identity, to: NodeId, verdict: Verdict) -> Self {
        Self { version: VERSION, verdict, from, to, card: None }
    }

    /// What a member learns by it about the speaker.
    pub(crate) fn news(&self) -> News {
        let card = self.card.clone().unwrap_or_default();
        let process = self.from.incarnation;
        let incarnation = Incarnation { started_ms: card.started_ms, process };
        News::Met { peer: self.from.id, incarnation, about: card.about }
    }

    fn encode(&self) -> Vec<u8> {
        let card = self.card.as_ref().map(Card::encode).unwrap_or_default();
        let mut out = Vec::with_capacity(GREETING_BYTES + card.len() + CHECKSUM_BYTES);
        out.put_slice(&MAGIC);
        out.put_u16_le(self.version);
        out.put_u8(self.verdict as u8);
        out.put_u64_le(self.from.cluster_id);
        out.put_u64_le(self.from.id.0);
        out.put_u64_le(self.to.0);
        out.put_u64_le(self.from.incarnation);
        out.put_u16_le(u16::try_from(card.len()).expect("a card is small"));
        out.put_u32_le(crc32fast::hash(&out));
        if !card.is_empty() {
            out.put_slice(&card);
            out.put_u32_le(crc32fast::hash(&card));
        }
        out
    }

    /// Parses all but the card, whose length comes with it. A greeting of another version may go on
    /// differently after the version, so nothing is read beyond it.
    fn decode(bytes: &[u8; GREETING_BYTES]) -> Result<(Self, usize), PeerError> {
        let (body, mut checksum) = bytes.split_at(GREETING_BYTES - CHECKSUM_BYTES);
        let mut rest = body;
        if rest[..MAGIC.len()] != MAGIC {
            // Within a protected connection everybody begins with it, so this one is plain.
            return Err(match Protection::spoken(rest) {
                Some(theirs) => PeerError::Protection { theirs, ours: Protection::Plain },
                None => PeerError::NotAPeer,
            });
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
        let card_bytes = usize::from(rest.get_u16_le());
        if (verdict == Verdict::Welcome) != (card_bytes > 0) {
            return Err(PeerError::Malformed("a card comes with a welcome, and with nothing else"));
        }
        if card_bytes > CARD_BYTES_MAX {
            return Err(PeerError::Malformed("a card is larger than any may be"));
        }
        let from = Identity { cluster_id, id, incarnation };
        Ok((Self { version, verdict, from, to, card: None }, card_bytes))
    }

    pub(crate) fn write(&self, stream: &mut (impl Write + ?Sized)) -> io::Result<()> {
        stream.write_all(&self.encode())?;
        stream.flush()
    }

    pub(crate) fn read(stream: &mut (impl Read + ?Sized)) -> Result<Self, PeerError> {
        let io = |error: io::Error| PeerError::from_io(&error);
        let mut bytes = [0; GREETING_BYTES];
        stream.read_exact(&mut bytes).map_err(io)?;
        let (mut greeting, card_bytes) = Self::decode(&bytes)?;
        if card_bytes > 0 {
            let mut bytes = [0; CARD_BYTES_MAX + CHECKSUM_BYTES];
            let bytes = &mut bytes[..card_bytes + CHECKSUM_BYTES];
            stream.read_exact(bytes).map_err(io)?;
            let (card, mut checksum) = bytes.split_at(card_bytes);
            if crc32fast::hash(card) != checksum.get_u32_le() {
                return Err(PeerError::Malformed("the checksum of a card is wrong"));
            }
            let card = Card::decode(card).ok_or(PeerError::Malformed("a card makes no sense"))?;
            greeting.card = Some(card);
        }
        Ok(greeting)
    }
}

/// A greeting of these bytes, with a card of those behind it, and right checksums.
#[cfg(feature = "fuzz")]
pub(crate) fn signed(said: &[u8]) -> Vec<u8> {
    const HEAD_BYTES: usize = GREETING_BYTES - CHECKSUM_BYTES;
    let mut out = said.to_vec();
    out.resize(out.len().max(HEAD_BYTES), 0);
    let card = out.split_off(HEAD_BYTES);
    let length = u16::try_from(card.len()).unwrap_or(u16::MAX);
    out[HEAD_BYTES - 2..].copy_from_slice(&length.to_le_bytes());
    out.put_u32_le(crc32fast::hash(&out));
    if !card.is_empty() {
        out.put_slice(&card);
        out.put_u32_le(crc32fast::hash(&card));
    }
    out
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
    use std::sync::Arc;

    use quorate_node::About;

    use super::*;

    const OURS: Identity = Identity { cluster_id: 1, id: NodeId(2), incarnation: 3 };
    const THEIRS: Identity = Identity { cluster_id: 1, id: NodeId(4), incarnation: 5 };

    fn card() -> Card {
        let about = About {
            version: "1".into(),
            zone: "a".into(),
            addresses: vec!["b:1".into()],
            ..About::default()
        };
        Card { started_ms: 7, about: Arc::new(about) }
    }

    fn greeting() -> Greeting {
        Greeting::welcome(THEIRS, NodeId(2), &card())
    }

    #[test]
    fn a_greeting_arrives_as_it_was_said() {
        let refusals = [Verdict::Version, Verdict::Cluster, Verdict::Target, Verdict::Stranger];
        let refusals = refusals.map(|verdict| Greeting::refusal(THEIRS, NodeId(2), verdict));
        for said in refusals.into_iter().chain([greeting()]) {
            let mut bytes = Vec::new();
            said.write(&mut bytes).unwrap();
            let mut rest = &bytes[..];
            assert_eq!(Greeting::read(&mut rest), Ok(said));
            assert_eq!(rest.len(), 0, "what follows is no part of it");
        }
    }

    #[test]
    fn whoever_is_welcomed_learns_who_speaks() {
        let News::Met { peer, incarnation, about } = greeting().news() else {
            panic!("they have met");
        };
        assert_eq!((peer, about), (NodeId(4), card().about));
        assert_eq!(incarnation, Incarnation { started_ms: 7, process: 5 });
    }

    #[test]
    fn other_bytes_are_no_greeting() {
        let good = greeting().encode();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let error = Greeting::read(&mut &bad[..]).unwrap_err();
            match at {
                0..8 => assert_eq!(error, PeerError::NotAPeer),
                8..10 => assert!(matches!(error, PeerError::Version { ours: VERSION, .. })),
                _ => assert!(matches!(error, PeerError::Malformed(_)), "{at}: {error}"),
            }
            assert!(matches!(Greeting::read(&mut &good[..at]), Err(PeerError::Io(_))));
        }
        let http = &mut &b"GET / HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n"[..];
        assert_eq!(Greeting::read(http), Err(PeerError::NotAPeer));
        assert!(matches!(Greeting::read(&mut &good[1..]), Err(PeerError::NotAPeer)));
        for (first, theirs) in
            [(&b"QUORMAC\xff"[..], Protection::Authenticated), (&[22, 3, 1], Protection::Encrypted)]
        {
            let bytes = [first, &[0; GREETING_BYTES]].concat();
            let error = PeerError::Protection { theirs, ours: Protection::Plain };
            assert_eq!(Greeting::read(&mut &bytes[..]), Err(error));
        }
    }

    /// As from a peer that means harm: the checksums are right.
    #[test]
    fn a_card_is_bounded_and_checked_and_comes_with_a_welcome_only() {
        let head = GREETING_BYTES - CHECKSUM_BYTES;
        let claim = |greeting: &Greeting, length: usize, card: &[u8]| {
            let mut bytes = greeting.encode()[..head - 2].to_vec();
            bytes.put_u16_le(u16::try_from(length).unwrap());
            bytes.put_u32_le(crc32fast::hash(&bytes));
            bytes.put_slice(card);
            bytes.put_u32_le(crc32fast::hash(card));
            Greeting::read(&mut &bytes[..])
        };
        let card = card().encode();
        assert_eq!(claim(&greeting(), card.len(), &card), Ok(greeting()));
        let refusal = Greeting::refusal(THEIRS, NodeId(2), Verdict::Stranger);
        let malformed = |result| assert!(matches!(result, Err(PeerError::Malformed(_))));
        malformed(claim(&refusal, card.len(), &card));
        malformed(claim(&greeting(), 0, &[]));
        malformed(claim(&greeting(), CARD_BYTES_MAX + 1, &vec![0; CARD_BYTES_MAX + 1]));
        malformed(claim(&greeting(), card.len() + 1, &[&card[..], &[0]].concat()));
    }

    #[test]
    fn both_sides_learn_what_is_wrong() {
        let judge = |greeting: &Greeting| judge(OURS, |id| id == NodeId(4), greeting);
        assert_eq!(judge(&greeting()), Ok(()));

        let mut elsewhere = greeting();
        elsewhere.from.cluster_id = 9;
        let (verdict, error) = judge(&elsewhere).unwrap_err();
        assert_eq!(error, PeerError::Cluster { theirs: 9, ours: 1 });
        let answer = Greeting::refusal(OURS, NodeId(4), verdict);
        let heard = heed(elsewhere.from, NodeId(2), &answer);
        assert_eq!(heard, Err(PeerError::Cluster { theirs: 1, ours: 9 }));

        let astray = Greeting { to: NodeId(8), ..greeting() };
        let (verdict, error) = judge(&astray).unwrap_err();
        assert_eq!(error, PeerError::Target { meant: NodeId(8), found: NodeId(2) });
        let answer = Greeting::refusal(OURS, NodeId(4), verdict);
        assert_eq!(heed(THEIRS, NodeId(8), &answer), Err(error));

        let mut stranger = greeting();
        stranger.from.id = NodeId(5);
        let (verdict, error) = judge(&stranger).unwrap_err();
        assert_eq!(error, PeerError::Stranger(NodeId(5)));
        let answer = Greeting::refusal(OURS, NodeId(5), verdict);
        assert_eq!(heed(stranger.from, NodeId(2), &answer), Err(error));

        let answer = Greeting::welcome(OURS, NodeId(4), &card());
        assert_eq!(heed(THEIRS, NodeId(2), &answer), Ok(()));
    }
}
