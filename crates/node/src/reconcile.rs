//! From the members that a group has to those that it is to have, one step after the other.
//!
//! ```text
//!   has {1 2 3}, is to have {1 4 5}
//!      │ Change   4 and 5 come, as learners: they get the data, and nothing hangs on them
//!      │ Wait     until both have caught up
//!      │ Change   4 and 5 in the place of 2 and 3, in one joint step
//!      ▼ Done
//! ```
//!
//! What is to be done next follows from who belongs to the group, from what its leader knows of them, and from the
//! goal. Nothing is remembered. So whoever asks may crash between any two steps, and under the next leader the same
//! call goes on where it stood.
//!
//! **No step loses the quorum.** A step is taken only if of the voters before it and of those after it more than
//! half are there, as far as the leader can tell; else it is refused, and the refusal says who is missing. If that is to
//! be so in the end, it is refused before anything is done, and not when new members have been fetched in vain. What the
//! leader believes may be wrong, and then a step is refused that could be taken, or a group waits for a member that
//! has just died: Raft's majorities, before and after, hold whatever is believed here.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use quorate_planted::planted;
use quorate_raft::{ChangeError, Membership, NodeId, PeerStatus, RoleKind, Status, quorum};

use crate::detector::Detector;

/// The members that somebody wants a group to have. What else there is in a [`Membership`], who is outgoing and with which
/// disks, follows from how it came about, and nobody can wish for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Who is to vote.
    pub voters: BTreeSet<NodeId>,
    /// Who else is to be a member.
    pub learners: BTreeSet<NodeId>,
    /// Who of them is to be a witness. Whoever is one stays one, without being named again.
    pub witnesses: BTreeSet<NodeId>,
    /// What is to be known of them. Of whom it says nothing, that is known which is known now.
    pub about: BTreeMap<NodeId, Bytes>,
}

impl Desired {
    /// These voters, and nobody else.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// All of them.
    #[must_use]
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.voters.union(&self.learners).copied().collect()
    }

    /// The membership that it is by itself, as if there were none now.
    #[must_use]
    pub fn alone(&self) -> Membership {
        self.after(&Membership::default())
    }

    /// The membership that it comes to after this one.
    fn after(&self, now: &Membership) -> Membership {
        let is_member = |id| self.voters.contains(&id) || self.learners.contains(&id);
        Membership {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            witnesses: witnesses([&now.witnesses, &self.witnesses], is_member),
            about: known([&now.about, &self.about], is_member),
            ..Membership::default()
        }
    }
}

impl From<Membership> for Desired {
    fn from(membership: Membership) -> Self {
        let Membership { voters, learners, witnesses, about, outgoing: _, disks: _ } = membership;
        Self { voters, learners, witnesses, about }
    }
}

/// What a leader knows of another member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it is there, as far as anybody can tell, and would count as a voter.
    pub is_there: bool,
    /// Whether it is a learner that may become a voter: it has nearly all of the log, and is there.
    pub is_level: bool,
}

impl Standing {
    /// The leader's own.
    pub const OWN: Self = Self { is_there: true, is_level: true };

    /// That of a member of whom the leader's algorithm and its detector say this.
    #[must_use]
    pub fn of(peer: &PeerStatus, detector: &Detector) -> Self {
        let is_there = peer.active && peer.counts && detector.is_good(peer.id);
        Self { is_there, is_level: is_there && peer.caught_up }
    }
}

/// The same of all members, as a leader says how it stands.
pub(crate) fn standing<'a>(
    leader: &'a Status,
    detector: &'a Detector,
) -> impl Fn(NodeId) -> Standing + 'a {
    move |id| match leader.peers.iter().find(|peer| peer.id == id) {
        Some(peer) => Standing::of(peer, detector),
        None if id == leader.id => Standing::OWN,
        None => Standing::default(),
    }
}

/// The next step of a group, if this is how the member stands that is asked, and who belongs to it.
pub(crate) fn toward(
    status: &Status,
    now: &Membership,
    desired: &Desired,
    detector: &Detector,
) -> Step {
    if status.role != RoleKind::Leader {
        return Step::Wait(Waiting::Leader(status.leader));
    }
    step(now, is_settled(status), desired, standing(status, detector))
}

/// Whether the last change of members is committed.
pub(crate) fn is_settled(status: &Status) -> bool {
    status.membership_since <= status.commit
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: these are the members that there are to be.
    Done,
    /// These are to be the members next.
    Change(Membership),
    /// Something has to happen first, and will if the members it needs are there.
    Wait(Waiting),
    /// It can't be done as things stand.
    Refuse(Refusal),
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Another member leads, perhaps this one, and knows more.
    Leader(Option<NodeId>),
    /// The change before is not over.
    Change,
    /// These learners are to be voters, and have not caught up, or are not there.
    Learners(BTreeSet<NodeId>),
}

/// Why it can't be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There can be no such membership: nobody would vote, or witnesses alone, somebody would be a voter and a
    /// learner, a member would become a witness, or too much would be known of somebody.
    Impossible,
    /// There would be more than [`Membership::MEMBERS_MAX`], at the end or on the way, where those who leave and those who
    /// come are members at the same time.
    TooMany,
    /// Too few voters would be there to decide anything.
    LosesQuorum {
        /// The voters, present and future, that are not there. Nobody, if that is what the algorithm says of a step: it
        /// names none.
        missing: BTreeSet<NodeId>,
    },
}

impl Step {
    /// What is to be said in the place of a [`Step::Change`] that the leader's algorithm did not take, for this reason. It
    /// knows of what is under way at this moment, and hears of a silent member later.
    #[must_use]
    pub fn not_taken(why: ChangeError) -> Self {
        match why {
            ChangeError::NotLeader(leader) => Self::Wait(Waiting::Leader(leader)),
            ChangeError::Transferring(to) => Self::Wait(Waiting::Leader(Some(to))),
            ChangeError::NotReady | ChangeError::InProgress => Self::Wait(Waiting::Change),
            ChangeError::NotCaughtUp(id) => Self::Wait(Waiting::Learners([id].into())),
            ChangeError::Impossible => Self::Refuse(Refusal::Impossible),
            ChangeError::TooMany => Self::Refuse(Refusal::TooMany),
            ChangeError::LosesQuorum => {
                Self::Refuse(Refusal::LosesQuorum { missing: BTreeSet::new() })
            }
            ChangeError::Unchanged => unreachable!("a step changes something"),
        }
    }
}

impl Waiting {
    /// The same in words, in which the members have the names that the reader knows.
    #[must_use]
    pub fn in_words(&self, name: impl Fn(NodeId) -> String) -> String {
        match self {
            Self::Leader(Some(leader)) => format!("{} leads", name(*leader)),
            Self::Leader(None) => "nobody leads".to_owned(),
            Self::Change => "another change of members is under way".to_owned(),
            Self::Learners(who) => format!("not caught up yet: {}", names(who, name)),
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words(|id| id.to_string()))
    }
}

impl Refusal {
    /// The same in words, in which the members have the names that the reader knows.
    #[must_use]
    pub fn in_words(&self, name: impl Fn(NodeId) -> String) -> String {
        let few = "too few voters would be there to decide anything";
        match self {
            Self::Impossible => "there can be no such membership".to_owned(),
            Self::TooMany => format!(
                "there would be more than {} members, in the end or on the way: who is to leave stays until who is \
                 to come has caught up",
                Membership::MEMBERS_MAX
            ),
            Self::LosesQuorum { missing } if missing.is_empty() => few.to_owned(),
            Self::LosesQuorum { missing } => format!("{few}; missing: {}", names(missing, name)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_words(|id| id.to_string()))
    }
}

fn names(ids: &BTreeSet<NodeId>, name: impl Fn(NodeId) -> String) -> String {
    let names: Vec<String> = ids.iter().map(|id| name(*id)).collect();
    names.join(", ")
}

/// The next step from these members to the desired ones. `is_settled` says that the last change is committed;
/// `standing` tells what the leader knows of each member, itself among them ([`Standing::OWN`]).
pub fn step(
    now: &Membership,
    is_settled: bool,
    desired: &Desired,
    standing: impl Fn(NodeId) -> Standing,
) -> Step {
    let goal = desired.after(now);
    if !goal.is_possible() || !now.keeps_witnesses(&goal) {
        return Step::Refuse(Refusal::Impossible);
    }
    if now.is_joint() || !is_settled {
        return Step::Wait(Waiting::Change);
    }
    if is_reached(now, &goal) {
        return Step::Done;
    }
    let prepared = prepared(now, &goal);
    let is_too_large = |it: &Membership| it.members().len() > Membership::MEMBERS_MAX;
    if is_too_large(&goal) || is_too_large(&prepared) {
        return Step::Refuse(Refusal::TooMany);
    }
    let is_there = |id| standing(id).is_there || planted!(ReconcileLosesQuorum);
    // Whoever is not a voter yet does not become one before it is there.
    let will_be_there = |id| !now.voters.contains(&id) || is_there(id);
    let can_lead = goal.voters.iter().any(|id| !goal.is_witness(*id) && will_be_there(*id));
    let is_quorum = quorum::has_quorum(now, is_there) && quorum::has_quorum(&goal, will_be_there);
    if !can_lead || !is_quorum {
        let voters = now.voters.union(&goal.voters).copied();
        let missing = voters.filter(|id| !will_be_there(*id)).collect();
        return Step::Refuse(Refusal::LosesQuorum { missing });
    }
    let new_voters = goal.voters.difference(&now.voters).copied();
    let behind: BTreeSet<NodeId> = new_voters
        .filter(|id| !now.learners.contains(id) || !standing(*id).is_level)
        .filter(|_| !planted!(ReconcileSkipsLearners))
        .collect();
    if behind.is_empty() {
        Step::Change(goal)
    } else if !is_reached(now, &prepared) {
        Step::Change(prepared)
    } else {
        Step::Wait(Waiting::Learners(behind))
    }
}

/// The membership before the voters change: all who are to be members are there, as learners if they have no vote, and
/// learners who are not to be members have left.
fn prepared(now: &Membership, goal: &Membership) -> Membership {
    let learners = goal.members().into_iter().filter(|id| !now.voters.contains(id)).collect();
    let mut prepared = Membership { learners, about: BTreeMap::new(), ..now.clone() };
    prepared.about = known([&now.about, &goal.about], |id| prepared.contains(id));
    prepared.witnesses = witnesses([&now.witnesses, &goal.witnesses], |id| prepared.contains(id));
    prepared
}

/// Who of these members is a witness, of those who are and those who are to be.
fn witnesses(
    [now, goal]: [&BTreeSet<NodeId>; 2],
    is_member: impl Fn(NodeId) -> bool,
) -> BTreeSet<NodeId> {
    now.union(goal).copied().filter(|id| is_member(*id)).collect()
}

/// What is known of these members, now or from now on.
fn known(
    [now, goal]: [&BTreeMap<NodeId, Bytes>; 2],
    is_member: impl Fn(NodeId) -> bool,
) -> BTreeMap<NodeId, Bytes> {
    let all = now.iter().chain(goal);
    all.filter(|(id, _)| is_member(**id)).map(|(id, about)| (*id, about.clone())).collect()
}

/// Whether the members are these, and the same is known of them.
fn is_reached(now: &Membership, wanted: &Membership) -> bool {
    *now == Membership { disks: now.disks.clone(), ..wanted.clone() }
}

#[cfg(test)]
mod tests;
