//! What a step is, and that steps lead to the goal and never lose the quorum, against a naive model.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn of(voters: &[u64], learners: &[u64]) -> Membership {
    Membership { voters: ids(voters), learners: ids(learners), ..Membership::default() }
}

/// The step where these are there, of whom all learners have caught up that are not `behind`.
fn next(now: &Membership, desired: &Membership, there: &[u64], behind: &[u64]) -> Step {
    let (there, behind) = (ids(there), ids(behind));
    step(now, true, &desired.clone().into(), |id| Standing {
        is_there: there.contains(&id),
        is_level: there.contains(&id) && !behind.contains(&id),
    })
}

#[test]
fn new_voters_learn_first_and_then_take_their_places_in_one_step() {
    let (now, desired) = (of(&[1, 2, 3], &[]), of(&[1, 4, 5], &[]));
    let learning = of(&[1, 2, 3], &[4, 5]);
    assert_eq!(next(&now, &desired, &[1, 2, 3], &[]), Step::Change(learning.clone()));
    let wait = |who| Step::Wait(Waiting::Learners(ids(who)));
    assert_eq!(next(&learning, &desired, &[1, 2, 3], &[]), wait(&[4, 5]), "they were not started");
    assert_eq!(next(&learning, &desired, &[1, 2, 3, 4, 5], &[5]), wait(&[5]));
    assert_eq!(next(&learning, &desired, &[1, 2, 4, 5], &[]), Step::Change(desired.clone()));
    assert_eq!(next(&desired, &desired, &[1, 4, 5], &[]), Step::Done);
}

#[test]
fn who_is_to_learn_or_to_leave_needs_no_step_of_its_own() {
    let now = of(&[1, 2, 3], &[4, 5]);
    let desired = of(&[1, 3, 4], &[2]);
    assert_eq!(next(&now, &desired, &[1, 2, 3, 4], &[]), Step::Change(desired.clone()));
    let prepared = of(&[1, 2, 3], &[4]);
    assert_eq!(next(&now, &desired, &[1, 2, 3, 4], &[4]), Step::Change(prepared), "5 leaves");
    assert_eq!(next(&now, &of(&[1, 2, 3], &[6]), &[1, 2], &[]), Step::Change(of(&[1, 2, 3], &[6])));
}

#[test]
fn what_would_lose_the_quorum_is_refused_before_anything_is_done() {
    let refused = |missing: &[u64]| Step::Refuse(Refusal::LosesQuorum { missing: ids(missing) });
    let now = of(&[1, 2, 3], &[]);
    assert_eq!(next(&now, &of(&[1, 3], &[]), &[1, 2], &[]), refused(&[3]));
    assert_eq!(next(&now, &of(&[1, 3], &[9]), &[1, 2], &[]), refused(&[3]), "9 is not fetched");
    assert_eq!(next(&now, &of(&[1, 2], &[]), &[1, 2], &[]), Step::Change(of(&[1, 2], &[])));
    assert_eq!(next(&now, &of(&[1, 2, 3], &[4]), &[1], &[]), refused(&[2, 3]), "nor is it now");
    // The one that was fetched counts as soon as it is there.
    let with = of(&[1, 2, 3], &[4]);
    assert_eq!(
        next(&with, &of(&[1, 3, 4], &[]), &[1, 2, 4], &[]),
        Step::Change(of(&[1, 3, 4], &[]))
    );
    let Step::Refuse(why) = refused(&[2, 3]) else { panic!("as built") };
    assert!(why.to_string().ends_with("missing: n2, n3"), "{why}");
    let told = why.in_words(|id| format!("number {}", id.0));
    assert!(told.ends_with("missing: number 2, number 3"), "{told}");
}

#[test]
fn nothing_is_done_while_a_change_is_under_way() {
    let desired = of(&[1, 2], &[]);
    let standing = |_| Standing::OWN;
    let joint = Membership { outgoing: ids(&[1, 2, 3]), ..desired.clone() };
    let wanted = Desired::from(desired.clone());
    assert_eq!(step(&joint, true, &wanted, standing), Step::Wait(Waiting::Change));
    assert_eq!(step(&desired, false, &wanted, standing), Step::Wait(Waiting::Change));
    assert_eq!(Desired::from(joint), wanted, "what leaves means nothing");
}

#[test]
fn what_is_known_of_members_is_changed_where_it_is_told() {
    let about = |it: Membership, about: &[(u64, &'static str)]| Membership {
        about: about
            .iter()
            .map(|(id, text)| (NodeId(*id), Bytes::from_static(text.as_bytes())))
            .collect(),
        ..it
    };
    let now = about(of(&[1, 2], &[]), &[(1, "a"), (2, "b")]);
    assert_eq!(next(&now, &of(&[1, 2], &[]), &[1, 2], &[]), Step::Done, "as before");
    let moved = about(of(&[1, 2], &[]), &[(2, "c")]);
    let both = about(of(&[1, 2], &[]), &[(1, "a"), (2, "c")]);
    assert_eq!(next(&now, &moved, &[1, 2], &[]), Step::Change(both));
    let more = about(of(&[1, 3], &[]), &[(3, "d")]);
    let learning = about(of(&[1, 2], &[3]), &[(1, "a"), (2, "b"), (3, "d")]);
    assert_eq!(next(&now, &more, &[1, 2], &[]), Step::Change(learning.clone()));
    let end = about(of(&[1, 3], &[]), &[(1, "a"), (3, "d")]);
    assert_eq!(next(&learning, &more, &[1, 2, 3], &[]), Step::Change(end));
}

#[test]
fn what_can_be_no_membership_is_refused() {
    let now = of(&[1, 2, 3], &[]);
    let impossible = Step::Refuse(Refusal::Impossible);
    let stranger = Desired {
        witnesses: ids(&[9]),
        about: [(NodeId(9), Bytes::new())].into(),
        ..Desired::of_voters(ids(&[1, 2]))
    };
    assert_eq!(stranger.alone(), of(&[1, 2], &[]), "what is said of strangers is nothing");
    assert_eq!(next(&now, &of(&[], &[1]), &[1, 2, 3], &[]), impossible);
    assert_eq!(next(&now, &of(&[1, 2], &[2]), &[1, 2, 3], &[]), impossible);
    let many: Vec<u64> = (4..=256).collect();
    let too_many = Step::Refuse(Refusal::TooMany);
    assert!(matches!(next(&now, &of(&[1, 2, 3], &many), &[1, 2, 3], &[]), Step::Change(_)));
    let more: Vec<u64> = (4..=257).collect();
    assert_eq!(next(&now, &of(&[1, 2, 3], &more), &[1, 2, 3], &[]), too_many);
    assert_eq!(next(&now, &of(&[1], &more), &[1, 2, 3], &[]), too_many, "on the way");
    let why = Refusal::TooMany.to_string();
    assert!(
        why.starts_with("there would be more than 256 members, in the end or on the way"),
        "{why}"
    );
}

#[test]
fn a_witness_is_one_from_when_it_comes_and_stays_one() {
    let with = |it: Membership, who: &[u64]| Membership { witnesses: ids(who), ..it };
    let now = of(&[1, 2], &[]);
    let desired = with(of(&[1, 2, 3], &[]), &[3]);
    let learning = with(of(&[1, 2], &[3]), &[3]);
    assert_eq!(next(&now, &desired, &[1, 2], &[]), Step::Change(learning.clone()));
    assert_eq!(next(&learning, &desired, &[1, 2, 3], &[]), Step::Change(desired.clone()));
    let unsaid = of(&[1, 2, 3], &[]);
    assert_eq!(next(&desired, &unsaid, &[1, 2, 3], &[]), Step::Done, "it need not be named again");
    let replaced = with(of(&[1, 2, 4], &[3]), &[4]);
    let both = with(of(&[1, 2, 3], &[4]), &[3, 4]);
    assert_eq!(next(&desired, &replaced, &[1, 2, 3], &[]), Step::Change(both));
    let impossible = Step::Refuse(Refusal::Impossible);
    assert_eq!(next(&unsaid, &desired, &[1, 2, 3], &[]), impossible, "it keeps a state now");
    assert_eq!(next(&desired, &of(&[3], &[]), &[1, 2, 3], &[]), impossible, "nobody could lead");
    let lost = Step::Refuse(Refusal::LosesQuorum { missing: ids(&[1]) });
    let led = with(of(&[1, 3, 4], &[]), &[3, 4]);
    let both = with(of(&[1, 2, 3, 4], &[]), &[3, 4]);
    assert_eq!(next(&both, &led, &[2, 3, 4], &[]), lost, "only witnesses would be there");
}

/// What the algorithm says passes, or does not.
#[test]
fn a_step_that_is_not_taken_has_a_reason() {
    let wait = |why| Step::Wait(why);
    let refuse = |why| Step::Refuse(why);
    for (why, step) in [
        (ChangeError::NotLeader(Some(NodeId(2))), wait(Waiting::Leader(Some(NodeId(2))))),
        (ChangeError::Transferring(NodeId(2)), wait(Waiting::Leader(Some(NodeId(2))))),
        (ChangeError::NotReady, wait(Waiting::Change)),
        (ChangeError::InProgress, wait(Waiting::Change)),
        (ChangeError::NotCaughtUp(NodeId(4)), wait(Waiting::Learners(ids(&[4])))),
        (ChangeError::Impossible, refuse(Refusal::Impossible)),
        (ChangeError::TooMany, refuse(Refusal::TooMany)),
        (ChangeError::LosesQuorum, refuse(Refusal::LosesQuorum { missing: ids(&[]) })),
    ] {
        assert_eq!(Step::not_taken(why), step, "{why}");
    }
    let nobody = Refusal::LosesQuorum { missing: ids(&[]) };
    assert_eq!(nobody.to_string(), "too few voters would be there to decide anything");
}

/// A member's disk is asked for nothing, so a change of it alone is none.
#[test]
fn disks_are_the_leaders_business() {
    let disks = [(NodeId(2), quorate_raft::DiskId(7))].into();
    let now = Membership { disks, ..of(&[1, 2], &[]) };
    assert_eq!(next(&now, &of(&[1, 2], &[]), &[1, 2], &[]), Step::Done);
}

/// More than half, counted on the fingers.
fn most(voters: &BTreeSet<NodeId>, there: &BTreeSet<NodeId>) -> bool {
    2 * voters.iter().filter(|id| there.contains(id)).count() > voters.len()
}

/// A group as its leaders see it in turn.
#[derive(Clone, Debug)]
struct Model {
    now: Membership,
    desired: Membership,
    there: BTreeSet<NodeId>,
    level: BTreeSet<NodeId>,
    /// Whether a change stopped halfway, as its leader was lost.
    is_settled: bool,
}

impl Model {
    fn step(&self) -> Step {
        step(&self.now, self.is_settled, &self.desired.clone().into(), |id| Standing {
            is_there: self.there.contains(&id),
            is_level: self.there.contains(&id) && self.level.contains(&id),
        })
    }

    /// Takes one step, and checks it. Returns whether it changed anything.
    fn advance(&mut self, stops_halfway: bool) -> Result<bool, TestCaseError> {
        assert_eq!(self.step(), self.step());
        match self.step() {
            Step::Change(next) => {
                prop_assert!(!next.is_joint() && next.is_possible());
                prop_assert!(most(&self.now.voters, &self.there), "{:?}", self);
                let mut new = next.voters.difference(&self.now.voters);
                prop_assert!(
                    new.all(|id| self.now.learners.contains(id) && self.level.contains(id))
                );
                // The decision is one of both, before and after.
                prop_assert!(most(&next.voters, &self.there), "{:?}", self);
                prop_assert_ne!(&next, &self.now);
                if next.voters != self.now.voters && stops_halfway {
                    self.now = Membership { outgoing: self.now.voters.clone(), ..next };
                } else {
                    self.now = next;
                }
                self.is_settled = !stops_halfway;
                Ok(true)
            }
            Step::Wait(Waiting::Change) => {
                prop_assert!(self.now.is_joint() || !self.is_settled);
                // Any leader finishes what another one began.
                self.now.outgoing.clear();
                self.is_settled = true;
                Ok(true)
            }
            Step::Wait(Waiting::Learners(who)) => {
                let ready: BTreeSet<_> = self.there.intersection(&self.level).copied().collect();
                let new = self.desired.voters.difference(&self.now.voters).copied();
                let behind: BTreeSet<_> = new.filter(|id| !ready.contains(id)).collect();
                prop_assert!(who == behind && !behind.is_empty());
                prop_assert!(behind.is_subset(&self.now.learners), "they were fetched");
                Ok(false)
            }
            Step::Wait(Waiting::Leader(_)) => panic!("that is not for a step to say"),
            Step::Refuse(Refusal::LosesQuorum { missing }) => {
                prop_assert!(missing.is_disjoint(&self.there));
                // Even if all came that have no vote yet, one of both would have no majority.
                let may_come = self.desired.voters.difference(&self.now.voters);
                let at_best = self.there.iter().chain(may_come).copied().collect();
                prop_assert!(
                    !most(&self.now.voters, &self.there) || !most(&self.desired.voters, &at_best)
                );
                Ok(false)
            }
            Step::Refuse(why) => Err(TestCaseError::fail(format!("{why:?}"))),
            Step::Done => {
                prop_assert_eq!(&self.now, &self.desired);
                Ok(false)
            }
        }
    }
}

fn some(most: usize) -> impl Strategy<Value = BTreeSet<NodeId>> {
    btree_set((1..=9_u64).prop_map(NodeId), 0..=most)
}

fn membership() -> impl Strategy<Value = Membership> {
    (btree_set((1..=9_u64).prop_map(NodeId), 1..=5), some(4)).prop_map(|(voters, learners)| {
        let learners = learners.difference(&voters).copied().collect();
        Membership { voters, learners, ..Membership::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whoever comes, goes, falls behind or stops halfway meanwhile: no step loses the quorum, a refusal has a reason,
    /// and once all are there the goal is reached in a few steps.
    #[test]
    fn steps_lead_to_the_goal_and_never_lose_the_quorum(
        now in membership(),
        desired in membership(),
        turns in vec((some(9), some(9), any::<bool>(), proptest::option::weighted(0.1, membership())), 0..8),
    ) {
        let (there, level) = (BTreeSet::new(), BTreeSet::new());
        let mut model = Model { now, desired, there, level, is_settled: true };
        for (there, level, stops_halfway, other) in turns {
            (model.there, model.level) = (there, level);
            if let Some(other) = other {
                model.desired = other;
            }
            model.advance(stops_halfway)?;
        }
        model.there = (1..=9).map(NodeId).collect();
        model.level = model.there.clone();
        let mut steps = 0;
        while model.advance(false)? {
            steps += 1;
            prop_assert!(steps <= 3, "{:?}", model);
        }
        prop_assert_eq!(model.step(), Step::Done);
    }
}
