//! When a voter has failed for long: a spare takes its place, though nobody asks.
//!
//! A spare is a learner that has been told to wait for this. It has the data already, so the group is whole again
//! with one joint step, at four in the morning, and not when somebody has found another machine.
//!
//! **It decides nothing that safety hangs on.** The [`detector`](crate::detector) may be wrong, and then two members
//! change roles that need not have. They *change* roles: the voter becomes a learner and a spare in turn, and no member
//! is removed, so that one that comes back goes on with what it has.
//!
//! - A voter has to look [`PeerState::Failed`] to the leader for all of a while, of which only what this leader saw
//!   itself counts. A good word of anybody ends it. Who says that it ends, as for an upgrade, has not failed.
//! - The step is one of [`reconcile`](crate::reconcile), so it is not taken if it would lose the quorum, and the spare
//!   has caught up.
//! - A witness takes the place of a witness, and nobody else's.
//! - One at a time, and after each a pause that is as long as the while.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use quorate_planted::planted;
use quorate_raft::{Membership, NodeId, Status, Time};

use crate::detector::{Detector, PeerState};
use crate::reconcile::{self, Standing, Step};

/// The most that counts from one look to the next: whoever did not look saw no failure.
const UNSEEN_MAX: Duration = Duration::from_secs(1);

/// Who takes whose place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The voter that has failed, a learner from then on.
    pub failed: NodeId,
    /// The learner that votes from then on.
    pub spare: NodeId,
    /// The members as they are to be.
    pub members: Membership,
}

/// A group as its leader sees it.
#[derive(Clone, Debug)]
pub struct GroupView<'a> {
    /// Who belongs to it.
    pub members: &'a Membership,
    /// Whether the last change of members is committed.
    pub is_settled: bool,
    /// How each of them is seen. The leader sees itself as [`Standing::OWN`].
    pub seen: BTreeMap<NodeId, Seen>,
}

/// How a leader sees a member.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// What its detector says of it.
    pub state: PeerState,
    /// What is known of it when members change.
    pub standing: Standing,
}

impl<'a> GroupView<'a> {
    /// What this leader's algorithm and its detector say of these members.
    pub(crate) fn of(leader: &Status, members: &'a Membership, detector: &Detector) -> Self {
        let standing = reconcile::standing(leader, detector);
        let state = |id| detector.peer(id).map_or(PeerState::Idle, |peer| peer.state);
        let seen = |id| (id, Seen { state: state(id), standing: standing(id) });
        let seen = members.members().into_iter().map(seen).collect();
        Self { members, is_settled: reconcile::is_settled(leader), seen }
    }

    fn standing(&self, id: NodeId) -> Standing {
        self.seen.get(&id).map_or(Standing::default(), |seen| seen.standing)
    }

    fn has_failed(&self, id: NodeId) -> bool {
        self.seen.get(&id).is_some_and(|seen| match seen.state {
            PeerState::Failed => true,
            PeerState::Suspect => planted!(SuspectReplaced),
            PeerState::Idle | PeerState::Active | PeerState::Leaving => false,
        })
    }

    /// The step by which a learner takes the place of a voter that has failed, if it can be taken.
    fn replaced(&self, failed: NodeId, is_spare: impl Fn(NodeId) -> bool) -> Option<Replacement> {
        let members = self.members;
        let is_alike = |id| members.is_witness(id) == members.is_witness(failed);
        let mut spares = members.learners.iter().copied().filter(|id| is_spare(*id));
        let spare = spares.find(|id| is_alike(*id) && self.standing(*id).is_level)?;
        let mut wanted = members.clone();
        wanted.voters.remove(&failed);
        wanted.voters.insert(spare);
        wanted.learners.remove(&spare);
        wanted.learners.insert(failed);
        match reconcile::step(members, self.is_settled, &wanted.into(), |id| self.standing(id)) {
            Step::Change(members) => Some(Replacement { failed, spare, members }),
            Step::Done | Step::Wait(_) | Step::Refuse(_) => None,
        }
    }
}

/// Watches for voters that have failed, while this member leads.
#[derive(Debug)]
pub struct Replacer {
    /// How long a voter must have failed.
    after: Duration,
    /// For how long this leader has seen which voters as failed.
    failed_for: BTreeMap<NodeId, Duration>,
    /// When it looked last.
    looked: Option<Time>,
    /// When the next one may be replaced.
    pause_until: Time,
}

impl Replacer {
    /// Replaces who has failed for so long.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        Self { after, failed_for: BTreeMap::new(), looked: None, pause_until: Time(0) }
    }

    /// This member does not lead.
    pub fn pauses(&mut self) {
        self.failed_for.clear();
        self.looked = None;
    }

    /// Looks around. To be called by a leader every second or more often; `is_spare` tells whether a learner waits for
    /// this. Returns what is to be done now, if anything is: for as long as it is not done, again and again.
    pub fn look(
        &mut self,
        now: Time,
        group: &GroupView<'_>,
        is_spare: impl Fn(NodeId) -> bool,
    ) -> Option<Replacement> {
        let seen = self.looked.map_or(Duration::ZERO, |looked| now.since(looked).min(UNSEEN_MAX));
        self.looked = Some(now);
        let voters = &group.members.voters;
        self.failed_for.retain(|id, _| voters.contains(id) && group.has_failed(*id));
        for id in voters.iter().copied().filter(|id| group.has_failed(*id)) {
            // The first look says when it began, and no more.
            self.failed_for.entry(id).and_modify(|so_far| *so_far += seen).or_default();
        }
        if now < self.pause_until && !planted!(ReplacedWithoutPause) {
            return None;
        }
        let due = self.failed_for.iter().filter(|(_, so_far)| **so_far >= self.after);
        let mut due: Vec<_> = due.map(|(id, so_far)| (*so_far, *id)).collect();
        due.sort_unstable();
        // Whoever has failed for longest comes first, and does not stand in the way if no spare is for it.
        due.into_iter().rev().find_map(|(_, failed)| group.replaced(failed, &is_spare))
    }

    /// One was replaced just now.
    pub fn replaced(&mut self, now: Time) {
        self.pause_until = now + self.after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    /// Three voters, led by the first, and two spares. All are level, and there but for those that failed.
    struct Scene {
        replacer: Replacer,
        now: Time,
        members: Membership,
        states: BTreeMap<NodeId, PeerState>,
        behind: Option<NodeId>,
    }

    impl Scene {
        fn new() -> Self {
            let members = Membership {
                learners: [4, 5, 6].map(NodeId).into(),
                ..Membership::of_voters([1, 2, 3].map(NodeId))
            };
            let (replacer, states) = (Replacer::new(AFTER), BTreeMap::new());
            Self { replacer, now: Time(0), members, states, behind: None }
        }

        fn is(&mut self, id: u64, state: PeerState) {
            self.states.insert(NodeId(id), state);
        }

        fn look(&mut self) -> Option<Replacement> {
            let seen = |id| {
                let state = self.states.get(&id).copied().unwrap_or(PeerState::Active);
                let (is_there, is_behind) = (state.is_good(), self.behind == Some(id));
                (
                    id,
                    Seen {
                        state,
                        standing: Standing { is_there, is_level: is_there && !is_behind },
                    },
                )
            };
            let seen = self.members.members().into_iter().map(seen).collect();
            let group = GroupView { members: &self.members, is_settled: true, seen };
            // The last learner was not told to wait for anything.
            let is_spare = |id: NodeId| id.0 < 6;
            self.replacer.look(self.now, &group, is_spare)
        }

        /// Looks every half second for so long, and says who takes whose place.
        fn passes(&mut self, seconds: u64) -> Option<(u64, u64)> {
            for _ in 0..2 * seconds {
                self.now = self.now + Duration::from_millis(500);
                if let Some(it) = self.look() {
                    return Some((it.failed.0, it.spare.0));
                }
            }
            None
        }
    }

    #[test]
    fn a_voter_that_has_failed_for_long_changes_roles_with_a_spare() {
        let mut scene = Scene::new();
        assert_eq!(scene.passes(60), None, "all is well");
        scene.is(2, PeerState::Failed);
        assert_eq!(scene.passes(9), None, "not long enough");
        assert_eq!(scene.passes(2), Some((2, 4)));
        let it = scene.look().expect("until it is done");
        assert_eq!(it.members.voters, [1, 3, 4].map(NodeId).into());
        assert_eq!(it.members.learners, [2, 5, 6].map(NodeId).into());
        scene.behind = Some(NodeId(4));
        assert_eq!(scene.passes(1), Some((2, 5)), "a spare that has caught up");
        scene.is(5, PeerState::Suspect);
        assert_eq!(scene.passes(60), None, "the third learner is no spare");
    }

    #[test]
    fn a_witness_takes_the_place_of_a_witness() {
        let mut scene = Scene::new();
        scene.members.witnesses = [3, 4].map(NodeId).into();
        scene.is(2, PeerState::Failed);
        assert_eq!(scene.passes(20), Some((2, 5)));
        scene.is(2, PeerState::Active);
        scene.is(3, PeerState::Failed);
        assert_eq!(scene.passes(20), Some((3, 4)));
    }

    #[test]
    fn who_has_no_spare_does_not_stand_in_the_way_of_another() {
        let mut scene = Scene::new();
        scene.members.voters.extend([7, 8].map(NodeId));
        scene.members.witnesses = [3].map(NodeId).into();
        scene.is(3, PeerState::Failed);
        assert_eq!(scene.passes(20), None, "no spare is a witness");
        scene.is(2, PeerState::Failed);
        assert_eq!(scene.passes(20), Some((2, 4)));
    }

    #[test]
    fn who_is_there_again_in_between_begins_anew() {
        let mut scene = Scene::new();
        scene.is(2, PeerState::Failed);
        assert_eq!(scene.passes(9), None);
        scene.is(2, PeerState::Idle);
        assert_eq!(scene.passes(1), None);
        scene.is(2, PeerState::Failed);
        assert_eq!(scene.passes(9), None);
        scene.replacer.pauses();
        assert_eq!(scene.passes(9), None, "it led again only then");
        assert_eq!(scene.passes(3), Some((2, 4)));
    }

    #[test]
    fn who_is_suspected_or_leaves_is_not_replaced() {
        for state in [PeerState::Suspect, PeerState::Leaving, PeerState::Idle] {
            let mut scene = Scene::new();
            scene.is(2, state);
            assert_eq!(scene.passes(600), None, "{state:?}");
        }
    }

    #[test]
    fn what_nobody_saw_does_not_count() {
        let mut scene = Scene::new();
        scene.is(2, PeerState::Failed);
        assert_eq!(scene.passes(5), None);
        scene.now = scene.now + Duration::from_secs(3_600);
        assert_eq!(scene.passes(3), None, "it slept for an hour");
        assert_eq!(scene.passes(3), Some((2, 4)));
    }

    #[test]
    fn one_at_a_time_with_a_pause_between() {
        let mut scene = Scene::new();
        scene.members.voters.extend([7, 8].map(NodeId));
        scene.is(2, PeerState::Failed);
        scene.is(3, PeerState::Failed);
        assert_eq!(scene.passes(11), Some((3, 4)));
        scene.members = scene.look().expect("as before").members;
        scene.replacer.replaced(scene.now);
        assert_eq!(scene.passes(9), None, "a pause");
        assert_eq!(scene.passes(2), Some((2, 5)));
    }

    #[test]
    fn nothing_is_done_that_would_lose_the_quorum() {
        let mut scene = Scene::new();
        scene.is(2, PeerState::Failed);
        scene.is(3, PeerState::Failed);
        assert_eq!(scene.passes(60), None, "the leader is about to step down");
        scene.is(3, PeerState::Active);
        assert_eq!(scene.passes(1), Some((2, 4)));
        scene.members.learners.clear();
        assert_eq!(scene.passes(60), None, "there is no spare");
    }
}
