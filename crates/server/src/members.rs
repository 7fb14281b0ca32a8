//! Who belongs to the cluster, and how clients change it.
//!
//! Any member takes a wish; the leader grants it. What a membership says about a member is where others reach it,
//! a URL on each line, and whether it is to become a voter as soon as it can be one: whoever is added as a voter is a
//! learner until it has caught up, so that a cluster never waits for one that was not even started.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_host::{
    AskError, ChangeError, HostStatus, MembersError, Membership, NodeId, Replacement, Replacer,
    Step, wall_clock,
};
use quorate_mvcc::MemberAttributes;
use quorate_proto::etcdserverpb as pb;
use tokio::time::{sleep, timeout};

use crate::config::{InitialMember, Url};
use crate::identity::Identity;
use crate::log::Line;
use crate::member::{Member, State};
use crate::reconcile::urls_of;
use crate::rpc::Failure;
use crate::sha1::sha1_prefix;

/// How long to wait before something is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// How often a leader looks whether a learner can become a voter, if nothing else happens.
const LOOK_AT_LEARNERS: Duration = Duration::from_millis(200);

/// Stands behind the URLs of a learner that is to become a voter. An empty line ends the addresses. The id of a voter
/// may follow, which then leaves in the same step.
const WANTS_VOTE: &str = "\n\nvote ";

/// Stands behind the URLs of a learner that waits for a voter to fail.
const IS_SPARE: &str = "\n\nspare";

/// What is to become of a learner when it has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    /// Nothing by itself.
    Stays,
    /// It becomes a voter.
    Votes,
    /// It becomes a voter in the place of this one.
    Replaces(u64),
    /// It may take the place of a voter that has failed. Not every learner may: one that serves reads on another
    /// continent should not vote because somebody pulled a plug here.
    Spare,
}

/// What a membership says about a member.
pub(crate) fn about(peer_urls: &[String], later: Later) -> Bytes {
    let urls = peer_urls.join("\n");
    match later {
        Later::Stays => urls.into(),
        Later::Votes => format!("{urls}{WANTS_VOTE}").into(),
        Later::Replaces(old) => format!("{urls}{WANTS_VOTE}{old:x}").into(),
        Later::Spare => format!("{urls}{IS_SPARE}").into(),
    }
}

/// Where others reach a member.
pub(crate) fn peer_urls(about: &[u8]) -> Vec<String> {
    let text = str::from_utf8(about).unwrap_or_default();
    text.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn later(about: &[u8]) -> Later {
    let text = str::from_utf8(about).unwrap_or_default();
    match text.split_once(WANTS_VOTE) {
        None if text.ends_with(IS_SPARE) => Later::Spare,
        None => Later::Stays,
        Some((_, old)) => u64::from_str_radix(old, 16).map_or(Later::Votes, Later::Replaces),
    }
}

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

/// Whoever is a voter no longer waits to be one.
fn forget_wish(wanted: &mut Membership, id: NodeId) {
    if let Some(told) = wanted.about.get_mut(&id) {
        *told = about(&peer_urls(told), Later::Stays);
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

    /// Those of the members that are witnesses, ascending.
    pub(crate) fn witnesses(&self, state: &State) -> Result<Vec<u64>, Failure> {
        let membership = state.read(|state| Ok(state.membership()?))?;
        Ok(match membership.and_then(|bytes| Membership::decode(&bytes)) {
            Some(membership) => membership.witnesses.iter().map(|id| id.0).collect(),
            None => {
                let founders = self.identity.members.iter();
                founders.filter(|it| it.is_witness).map(|it| it.id).collect()
            }
        })
    }

    /// The members of the cluster, with what they have told about themselves.
    pub(crate) fn members(&self, state: &State) -> Result<Vec<pb::Member>, Failure> {
        let (told, membership) = state.read(|state| Ok((state.members()?, state.membership()?)))?;
        let mut told: BTreeMap<u64, MemberAttributes> =
            told.into_iter().map(|attributes| (attributes.id, attributes)).collect();
        let mut member = |id: u64, peer_urls: Vec<String>, is_learner| {
            // A member that has not started yet has told nothing.
            let attributes = told.remove(&id).unwrap_or_default();
            pb::Member {
                id,
                name: attributes.name,
                peer_ur_ls: peer_urls,
                client_ur_ls: attributes.client_urls,
                is_learner,
            }
        };
        // As long as the cluster is as it was founded, nothing stands in the store.
        let Some(membership) = membership.and_then(|bytes| Membership::decode(&bytes)) else {
            let urls = |urls: &[Url]| urls.iter().map(ToString::to_string).collect();
            let founders = self.identity.members.iter();
            return Ok(founders.map(|it| member(it.id, urls(&it.peer_urls), false)).collect());
        };
        let ids = membership.voters.union(&membership.learners);
        let members = ids.map(|id| {
            let urls = membership.about.get(id).map(|about| peer_urls(about));
            member(id.0, urls.unwrap_or_default(), membership.learners.contains(id))
        });
        Ok(members.collect())
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

/// Makes voters of those who are to be some, and of a spare if one has failed for so long, if that is wished; and notes
/// who belongs to the cluster beside the data. Ends with the server.
pub(crate) async fn follow(
    member: Arc<Member>,
    data_dir: std::path::PathBuf,
    replace_after: Option<Duration>,
) {
    let mut replacer = replace_after.map(Replacer::new);
    let mut stop = member.stop.clone();
    let mut status = member.handle.subscribe();
    let mut noted = None;
    loop {
        let now = status.borrow_and_update().clone();
        if now.stopped {
            return;
        }
        if !now.is_changing() && noted.as_ref() != Some(&now.membership) {
            note(&member, &data_dir, &now);
            noted = Some(Arc::clone(&now.membership));
        }
        if let Some(wanted) = with_one_more_voter(&now) {
            // Whether it worked is seen the next time.
            let _ = member.handle.change_members(wanted).await;
        } else if let Some(replacer) = &mut replacer {
            replace_failed(&member, replacer, &now).await;
        }
        tokio::select! {
            () = sleep(LOOK_AT_LEARNERS) => {}
            changed = status.changed() => if changed.is_err() { return },
            () = stop.requested() => return,
        }
    }
}

/// The members with one more voter, if this member leads and there is a learner that is to be one and seems ready.
fn with_one_more_voter(status: &HostStatus) -> Option<Membership> {
    if !status.is_leader() || status.is_changing() {
        return None;
    }
    let now = &status.membership;
    let later = |id: &NodeId| later_of(now, *id);
    let waits = |id: &NodeId| matches!(later(id), Later::Votes | Later::Replaces(_));
    let is_ready = |id: &NodeId| status.standing(*id).is_level;
    let next = *now.learners.iter().find(|id| waits(id) && is_ready(id))?;
    let mut wanted = Membership::clone(now);
    wanted.learners.remove(&next);
    wanted.voters.insert(next);
    if let Later::Replaces(old) = later(&next) {
        wanted.voters.remove(&NodeId(old));
    }
    forget_wish(&mut wanted, next);
    match status.toward(&wanted) {
        Step::Change(next) => Some(next),
        Step::Done | Step::Wait(_) | Step::Refuse(_) => None,
    }
}

/// Puts a spare in the place of a voter that has failed for long, if this member leads. The two change roles, and the one
/// that failed is a spare from then on.
async fn replace_failed(member: &Member, replacer: &mut Replacer, status: &HostStatus) {
    if !status.is_leader() {
        return replacer.pauses();
    }
    let (now, clock) = (&status.membership, member.handle.clock());
    let is_spare = |id| later_of(now, id) == Later::Spare;
    let found = replacer.look(clock.now(), &status.group_view(), is_spare);
    let Some(Replacement { failed, spare, members: mut wanted }) = found else { return };
    for (id, later) in [(failed, Later::Spare), (spare, Later::Stays)] {
        wanted.about.insert(id, about(&urls_of(id, now, &member.identity), later));
    }
    let log = |line: Line| {
        drop(
            line.with("peer-id", format!("{:x}", failed.0)).with("spare", format!("{:x}", spare.0)),
        );
    };
    match member.handle.change_members(wanted).await {
        Ok(()) => {
            replacer.replaced(clock.now());
            member.metrics.members_replaced.fetch_add(1, Ordering::Relaxed);
            log(member.log.warn("a voter that had failed for long made way for a spare"));
        }
        // It is tried again, for as long as it is to be done.
        Err(error) => log(member
            .log
            .debug("a voter that has failed is not replaced yet")
            .with("error", error)),
    }
}

/// What is to become of a member.
fn later_of(members: &Membership, id: NodeId) -> Later {
    members.about.get(&id).map_or(Later::Stays, |about| later(about))
}

/// Writes down where the members are, for the next start of this one.
fn note(member: &Member, data_dir: &std::path::Path, status: &HostStatus) {
    if !status.belongs() {
        return;
    }
    let known = |id: u64| member.identity.members.iter().find(|it| it.id == id);
    let members = status.membership.members().into_iter().filter_map(|id| {
        let urls = status.membership.about.get(&id).map(|about| peer_urls(about));
        let urls: Option<Vec<Url>> =
            urls.and_then(|urls| urls.iter().map(|url| Url::parse(url).ok()).collect());
        let known = known(id.0);
        let name = known.map(|it| it.name.clone()).unwrap_or_default();
        let peer_urls = urls.filter(|urls| !urls.is_empty());
        let peer_urls = peer_urls.or_else(|| known.map(|it| it.peer_urls.clone()))?;
        let is_witness = status.membership.is_witness(id);
        Some(InitialMember { id: id.0, name, peer_urls, is_witness })
    });
    let members: Vec<_> = members.collect();
    let changed = tokio::task::block_in_place(|| {
        Identity::change(data_dir, |identity| identity.members = members)
    });
    if let Err(error) = changed {
        // It finds them by those that it knew, as long as one of them is there.
        member.log.warn("who belongs to the cluster could not be noted").with("error", error);
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

    #[test]
    fn the_address_ends_where_the_wish_begins() {
        for later in [Later::Stays, Later::Votes, Later::Replaces(0xabc), Later::Spare] {
            let told = about(&urls(&["http://a:1", "http://a:2"]), later);
            assert_eq!(peer_urls(&told), urls(&["http://a:1", "http://a:2"]));
            assert_eq!(super::later(&told), later);
        }
    }
}
