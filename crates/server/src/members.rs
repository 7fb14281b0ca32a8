//! Who belongs to the cluster, and how clients change it.
//!
//! Any member takes a wish; the leader grants it. What a membership says about a member (`about.rs`) is where others
//! reach it, a URL on each line, and whether it is to become a voter as soon as it can be one: whoever is added as a
//! voter is a learner until it has caught up, so that a cluster never waits for one that was not even started. Who makes
//! a voter of it is the `caretaker.rs` of the leader; `listed.rs` is what clients see.

mod about;
mod caretaker;
mod listed;

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_host::{AskError, ChangeError, MembersError, Membership, NodeId, wall_clock};
use tokio::time::{sleep, timeout};

pub(crate) use self::about::{Later, about, peer_urls, urls_of};
pub(crate) use self::caretaker::Caretaker;

use self::about::{forget_wish, later, later_of};
use crate::member::Member;
use crate::rpc::Failure;
use crate::sha1::sha1_prefix;

/// How long to wait before something is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// What a client wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// One more member, perhaps a witness.
    Add { id: u64, peer_urls: Vec<String>, later: Later, is_witness: bool },
    /// One less.
    Remove { id: u64 },
    /// One that is found elsewhere.
    Update { id: u64, peer_urls: Vec<String> },
    /// A learner that is to be a voter.
    Promote { id: u64 },
}

impl Wish {
    /// A new member, whose id nobody ever had: etcd makes it of the URLs, the token and the time.
    pub(crate) fn add(peer_urls: Vec<String>, later: Later, is_witness: bool, token: &str) -> Self {
        let seconds = wall_clock().as_secs();
        let text = format!("{}{token}{seconds}", peer_urls.concat());
        Self::Add { id: sha1_prefix(text.as_bytes()), peer_urls, later, is_witness }
    }

    /// The members that the cluster would have then.
    fn granted(&self, now: &Membership) -> Result<Membership, Failure> {
        let mut wanted = Membership { outgoing: [].into(), ..now.clone() };
        let is_known = |id: u64| match now.contains(NodeId(id)) {
            true => Ok(()),
            false => Err(Failure::MemberNotFound),
        };
        let is_free = |id: u64, urls: &[String]| {
            let mut others = now.about.iter().filter(|(other, _)| other.0 != id);
            match others.any(|(_, about)| peer_urls(about).iter().any(|url| urls.contains(url))) {
                true => Err(Failure::PeerUrlExists),
                false => Ok(()),
            }
        };
        match self {
            Self::Add { id, peer_urls: urls, later, is_witness } => {
                is_free(*id, urls)?;
                if let Later::Replaces(old) = later
                    && !now.voters.contains(&NodeId(*old))
                {
                    return Err(Failure::MemberNotFound);
                }
                let known = now.about.get(&NodeId(*id)).map(|about| peer_urls(about));
                if is_known(*id).is_ok() {
                    // Granted before, and the answer was lost; anybody else has another id.
                    return match known.as_ref() == Some(urls) {
                        true => Ok(wanted),
                        false => Err(Failure::MemberIdExists),
                    };
                }
                wanted.learners.insert(NodeId(*id));
                wanted.about.insert(NodeId(*id), about(urls, *later));
                if *is_witness {
                    wanted.witnesses.insert(NodeId(*id));
                }
            }
            Self::Remove { id } => {
                is_known(*id)?;
                wanted.voters.remove(&NodeId(*id));
                wanted.learners.remove(&NodeId(*id));
                wanted.witnesses.remove(&NodeId(*id));
            }
            Self::Update { id, peer_urls: urls } => {
                is_known(*id)?;
                is_free(*id, urls)?;
                let later = later_of(now, NodeId(*id));
                wanted.about.insert(NodeId(*id), about(urls, later));
            }
            Self::Promote { id } => {
                is_known(*id)?;
                if !wanted.learners.remove(&NodeId(*id)) {
                    return Err(Failure::NotALearner);
                }
                wanted.voters.insert(NodeId(*id));
                forget_wish(&mut wanted, NodeId(*id));
            }
        }
        Ok(wanted)
    }

    fn encode(&self) -> Bytes {
        let (kind, id, about) = match self {
            Self::Add { id, peer_urls, later, is_witness } => {
                (if *is_witness { 20 } else { 16 }, id, about(peer_urls, *later))
            }
            Self::Remove { id } => (17, id, Bytes::new()),
            Self::Update { id, peer_urls } => (18, id, about(peer_urls, Later::Stays)),
            Self::Promote { id } => (19, id, Bytes::new()),
        };
        let mut bytes = BytesMut::new();
        bytes.put_u8(kind);
        bytes.put_u64(*id);
        bytes.put_slice(&about);
        bytes.freeze()
    }

    /// `None` if it is no wish.
    fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < 9 {
            return None;
        }
        let (kind, id) = (bytes.get_u8(), bytes.get_u64());
        let peer_urls = peer_urls(&bytes);
        match kind {
            16 | 20 => {
                let is_witness = kind == 20;
                Some(Self::Add { id, peer_urls, later: later(&bytes), is_witness })
            }
            17 => Some(Self::Remove { id }),
            18 => Some(Self::Update { id, peer_urls }),
            19 => Some(Self::Promote { id }),
            _ => None,
        }
    }
}

/// What became of a wish at the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Granted,
    /// Somebody else leads, or will.
    AskAgain,
    Refused(Failure),
}

/// The refusals that travel, by number.
const REFUSALS: [Failure; 9] = [
    Failure::MemberNotFound,
    Failure::MemberIdExists,
    Failure::PeerUrlExists,
    Failure::NotALearner,
    Failure::LearnerNotReady,
    Failure::TooManyLearners,
    Failure::UnhealthyCluster,
    Failure::BadPeerUrls,
    Failure::Timeout,
];

impl Answer {
    fn encode(self) -> Bytes {
        match self {
            Self::Granted => Bytes::from_static(&[0]),
            Self::AskAgain => Bytes::from_static(&[1]),
            Self::Refused(why) => {
                let number = REFUSALS.iter().position(|refusal| *refusal == why);
                let number = number.and_then(|number| u8::try_from(number + 2).ok());
                number.map_or(Self::AskAgain.encode(), |number| Bytes::from(vec![number]))
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0] => Some(Self::Granted),
            [1] => Some(Self::AskAgain),
            [number] => REFUSALS.get(usize::from(*number) - 2).copied().map(Self::Refused),
            _ => None,
        }
    }
}

impl Member {
    /// Has the leader grant a wish, and returns when it is committed.
    pub(crate) async fn wish(&self, wish: &Wish) -> Result<(), Failure> {
        let mut asked_before = false;
        let granted = timeout(self.limits.request_timeout, async {
            loop {
                let answer = self.handle.ask_leader(wish.encode()).await;
                match answer.map(|answer| Answer::decode(&answer)) {
                    Ok(Some(Answer::Granted)) => return Ok(()),
                    // It may have been granted before, and that it was did not arrive.
                    Ok(Some(Answer::Refused(Failure::MemberNotFound | Failure::NotALearner)))
                        if asked_before
                            && matches!(wish, Wish::Remove { .. } | Wish::Promote { .. }) =>
                    {
                        return Ok(());
                    }
                    Ok(Some(Answer::Refused(why))) => return Err(why),
                    Ok(Some(Answer::AskAgain) | None)
                    | Err(AskError::Unanswered | AskError::Unreachable | AskError::NoSuchMember) => {
                    }
                    Err(error) => return Err(error.into()),
                }
                asked_before = true;
                sleep(TRY_AGAIN).await;
            }
        });
        granted.await.unwrap_or(Err(Failure::Timeout))?;
        // What was granted is seen here by who reads next.
        self.handle.read_barrier().await.map_err(Failure::from)
    }

    /// Answers the wish of a member's client, if it is one.
    pub(crate) async fn grant(&self, question: &Bytes) -> Option<Bytes> {
        let wish = Wish::decode(question.clone())?;
        Some(self.grant_here(&wish).await.encode())
    }

    async fn grant_here(&self, wish: &Wish) -> Answer {
        let granted = timeout(self.limits.request_timeout, async {
            loop {
                let status = self.handle.status();
                if !status.is_leader() {
                    return Answer::AskAgain;
                }
                if !status.is_changing() {
                    let wanted = match wish.granted(&status.membership) {
                        Ok(wanted) => wanted,
                        Err(why) => return Answer::Refused(why),
                    };
                    match self.handle.change_members(wanted).await {
                        Ok(()) | Err(MembersError::Refused(ChangeError::Unchanged)) => {
                            return Answer::Granted;
                        }
                        Err(MembersError::Refused(why)) => {
                            if let Some(why) = refusal(why) {
                                return Answer::Refused(why);
                            }
                        }
                        Err(MembersError::Timeout) => return Answer::Refused(Failure::Timeout),
                        Err(_) => return Answer::AskAgain,
                    }
                }
                sleep(TRY_AGAIN).await;
            }
        });
        granted.await.unwrap_or(Answer::Refused(Failure::Timeout))
    }
}

/// What a client is told; nothing if it is worth trying again.
fn refusal(why: ChangeError) -> Option<Failure> {
    match why {
        ChangeError::NotLeader(_)
        | ChangeError::Transferring(_)
        | ChangeError::NotReady
        | ChangeError::InProgress
        | ChangeError::Unchanged => None,
        ChangeError::NotCaughtUp(_) => Some(Failure::LearnerNotReady),
        ChangeError::LosesQuorum => Some(Failure::UnhealthyCluster),
        ChangeError::TooMany => Some(Failure::TooManyLearners),
        // The last voter is to go, or a URL is longer than any.
        ChangeError::Impossible => Some(Failure::UnhealthyCluster),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(urls: &[&str]) -> Vec<String> {
        urls.iter().map(ToString::to_string).collect()
    }

    fn add(id: u64, url: &str, later: Later, is_witness: bool) -> Wish {
        Wish::Add { id, peer_urls: urls(&[url]), later, is_witness }
    }

    fn cluster() -> Membership {
        let mut members = Membership::of_voters([1, 2].map(NodeId));
        members.learners.insert(NodeId(3));
        for (id, url) in [(1, "http://a:1"), (2, "http://b:1"), (3, "http://c:1")] {
            let later = if id == 3 { Later::Votes } else { Later::Stays };
            members.about.insert(NodeId(id), about(&urls(&[url]), later));
        }
        members
    }

    #[test]
    fn wishes_and_answers_arrive_as_they_were_sent() {
        for wish in [
            Wish::Add {
                id: 7,
                peer_urls: urls(&["http://a:1", "http://b:2"]),
                later: Later::Votes,
                is_witness: false,
            },
            add(7, "http://a:1", Later::Stays, false),
            add(7, "http://a:1", Later::Replaces(u64::MAX), false),
            add(7, "http://a:1", Later::Votes, true),
            add(7, "http://a:1", Later::Spare, true),
            Wish::Remove { id: u64::MAX },
            Wish::Update { id: 1, peer_urls: urls(&["http://a:1"]) },
            Wish::Promote { id: 2 },
        ] {
            assert_eq!(Wish::decode(wish.encode()), Some(wish));
        }
        assert_eq!(Wish::decode(Bytes::from_static(&[16])), None);
        assert_eq!(Wish::decode(Bytes::from_static(&[9; 9])), None, "that is another question");
        for answer in
            [Answer::Granted, Answer::AskAgain].into_iter().chain(REFUSALS.map(Answer::Refused))
        {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
        assert_eq!(Answer::decode(&[99]), None);
    }

    #[test]
    fn a_wish_is_granted_or_refused_in_etcds_words() {
        let now = cluster();
        let grant = |wish: Wish| wish.granted(&now);
        let add = |id, url: &str, later| add(id, url, later, false);
        let more = grant(add(9, "http://d:1", Later::Votes)).expect("nobody has them");
        assert!(
            more.learners.contains(&NodeId(9)) && later(&more.about[&NodeId(9)]) == Later::Votes
        );
        assert_eq!(peer_urls(&more.about[&NodeId(9)]), urls(&["http://d:1"]));
        assert!(more.witnesses.is_empty(), "it was not to be one");
        let witness = self::add(9, "http://d:1", Later::Votes, true);
        let with_witness = grant(witness).expect("nobody has them");
        assert!(with_witness.is_witness(NodeId(9)) && with_witness.learners.contains(&NodeId(9)));
        let learner = grant(add(9, "http://d:1", Later::Stays)).expect("nobody has them");
        assert!(later(&learner.about[&NodeId(9)]) == Later::Stays);
        assert_eq!(grant(add(9, "http://b:1", Later::Stays)), Err(Failure::PeerUrlExists));
        assert_eq!(grant(add(2, "http://d:1", Later::Stays)), Err(Failure::MemberIdExists));
        assert_eq!(grant(add(2, "http://b:1", Later::Stays)), Ok(now.clone()), "once more");
        assert_eq!(grant(add(9, "http://d:1", Later::Replaces(8))), Err(Failure::MemberNotFound));

        let without = grant(Wish::Remove { id: 2 }).expect("it is one");
        assert_eq!(without.members(), [1, 3].map(NodeId).into());
        assert_eq!(grant(Wish::Remove { id: 9 }), Err(Failure::MemberNotFound));

        let moved = |id, url: &str| grant(Wish::Update { id, peer_urls: urls(&[url]) });
        let elsewhere = moved(3, "http://e:1").expect("it is free");
        assert_eq!(later(&elsewhere.about[&NodeId(3)]), Later::Votes, "as before");
        assert_eq!(moved(3, "http://a:1"), Err(Failure::PeerUrlExists));
        assert_eq!(moved(9, "http://e:1"), Err(Failure::MemberNotFound));

        let voter = grant(Wish::Promote { id: 3 }).expect("it is a learner");
        assert!(
            voter.voters.contains(&NodeId(3)) && later(&voter.about[&NodeId(3)]) == Later::Stays
        );
        assert_eq!(grant(Wish::Promote { id: 2 }), Err(Failure::NotALearner));
        assert_eq!(grant(Wish::Promote { id: 9 }), Err(Failure::MemberNotFound));
    }
}
