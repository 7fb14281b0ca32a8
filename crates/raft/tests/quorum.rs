//! The counting functions against naive oracles, for every membership of up to seven members and
//! everything these members could have said. Members are interchangeable, so memberships that differ
//! only by their names are tried once.

use quorate_raft::quorum::{Tally, has_quorum, majority, reached_by_quorum, tally};
use quorate_raft::{Index, Membership, NodeId};

/// Every joint membership of up to seven members, up to names: so many voters before the change
/// only, in both, after it only. The second is simple if nobody was a voter before.
fn memberships() -> Vec<Membership> {
    let mut memberships = Vec::new();
    for before in 0..=7_u64 {
        for both in 0..=7 - before {
            for after in 0..=7 - before - both {
                if both + after == 0 {
                    continue;
                }
                let mut membership =
                    Membership::of_voters((before + 1..=before + both + after).map(NodeId));
                if before > 0 {
                    membership.outgoing = (1..=before + both).map(NodeId).collect();
                }
                // A learner must never make a difference.
                membership.learners = [NodeId(8)].into();
                memberships.push(membership);
            }
        }
    }
    memberships
}

/// Every way to give each of `count` members one of `choices` values.
fn assignments(count: u32, choices: u64) -> impl Iterator<Item = Vec<u64>> {
    (0..choices.pow(count)).map(move |mut number| {
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(number % choices);
            number /= choices;
        }
        values
    })
}

/// The value of a member; a learner has the best there is.
fn value(values: &[u64], id: NodeId) -> u64 {
    values.get(id.0 as usize - 1).copied().unwrap_or(u64::MAX)
}

#[test]
fn a_majority_is_more_than_half() {
    for count in 1..100 {
        assert!(2 * majority(count) > count && 2 * (majority(count) - 1) <= count);
    }
}

#[test]
fn any_two_quorums_share_a_voter() {
    for membership in memberships() {
        let quorums: Vec<u32> = (0..1_u32 << 7)
            .filter(|set| has_quorum(&membership, |id| id.0 <= 7 && set & 1 << (id.0 - 1) != 0))
            .collect();
        assert!(!quorums.is_empty(), "all together are a quorum: {membership:?}");
        for one in &quorums {
            for other in &quorums {
                assert!(one & other != 0, "{one:b} and {other:b} are quorums of {membership:?}");
            }
        }
    }
}

#[test]
fn a_joint_quorum_is_a_majority_of_both() {
    for membership in memberships() {
        for values in assignments(7, 2) {
            let naive = |voters: &std::collections::BTreeSet<NodeId>| {
                let yes = voters.iter().filter(|id| value(&values, **id) == 1).count();
                let no = voters.len() - yes;
                voters.is_empty() || yes > no
            };
            let expected = naive(&membership.voters) && naive(&membership.outgoing);
            let found = has_quorum(&membership, |id| value(&values, id) >= 1);
            assert_eq!(found, expected, "{values:?} in {membership:?}");
        }
    }
}

#[test]
fn the_commit_index_is_what_sorting_would_find() {
    for membership in memberships() {
        // Four values put four members in every order, and leave nothing new to more of them: what
        // counts is who is above, at or below some position, and three tell that.
        let (count, choices) = if membership.outgoing.is_empty() {
            let voters = membership.voters.len() as u32;
            (voters, u64::from(voters.min(4)))
        } else {
            (7, 3)
        };
        for values in assignments(count, choices.max(2)) {
            let naive = |voters: &std::collections::BTreeSet<NodeId>| {
                let mut sorted: Vec<u64> = voters.iter().map(|id| value(&values, *id)).collect();
                sorted.sort_unstable();
                // All from here to the end have reached it: more than half.
                sorted.get((voters.len().max(1) - 1) / 2).copied().unwrap_or(u64::MAX)
            };
            let expected = naive(&membership.voters).min(naive(&membership.outgoing));
            let found = reached_by_quorum(&membership, |id| Index(value(&values, id)));
            assert_eq!(found, Index(expected), "{values:?} in {membership:?}");
        }
    }
}

#[test]
fn an_election_is_decided_when_no_answer_can_change_it() {
    for membership in memberships() {
        for values in assignments(7, 3) {
            let vote = |id: NodeId| match value(&values, id) {
                0 => None,
                1 => Some(false),
                _ => Some(true),
            };
            // Whoever has not answered may still do so, either way.
            let wins = |missing: bool| has_quorum(&membership, |id| vote(id).unwrap_or(missing));
            let expected = match (wins(false), wins(true)) {
                (true, _) => Tally::Won,
                (false, true) => Tally::Open,
                (false, false) => Tally::Lost,
            };
            assert_eq!(tally(&membership, vote), expected, "{values:?} in {membership:?}");
        }
    }
}
