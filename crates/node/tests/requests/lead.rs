//! A leader that gives the lead away though nobody asked, and to whom it does not.

use std::sync::Arc;

use quorate_node::{About, Incarnation, News};

use super::*;

fn voters() -> Membership {
    Membership::of_voters([1, 2, 3].map(NodeId))
}

/// Three members who know how much each is wanted as the leader.
fn with_priorities(membership: &Membership, priorities: [u16; 3]) -> Cluster {
    let priorities = priorities.map(|value| Priority::new(value).expect("it is one"));
    let mut cluster = Cluster::of(membership, Limits::default(), priorities);
    for member in 0..3 {
        for (id, leader_priority) in (1..).map(NodeId).zip(priorities) {
            let incarnation = Incarnation { started_ms: 1, process: 100 + id.0 };
            let about = Arc::new(About { leader_priority, ..About::default() });
            let news = News::Met { peer: id, incarnation, about };
            cluster.input(member, Input::Node(news));
        }
    }
    cluster
}

/// The member that leads in the latest term, as far as it knows itself.
fn leader(cluster: &Cluster) -> Option<usize> {
    let status = |member: &Member| member.node.status(GROUP).expect("the group is there").raft;
    let leaders = cluster.members.iter().map(status).enumerate();
    let leaders = leaders.filter(|(_, status)| status.role == RoleKind::Leader);
    leaders.max_by_key(|(_, status)| status.term).map(|(member, _)| member)
}

fn term(cluster: &Cluster) -> u64 {
    cluster.members[0].node.status(GROUP).expect("the group is there").raft.term.0
}

#[test]
fn the_lead_goes_to_the_highest_priority_and_stays_and_no_client_notices() {
    let mut cluster = with_priorities(&voters(), [5, 1, 0]);
    // Somebody else is elected first.
    cluster.cut.insert(NodeId(1));
    assert_ne!(cluster.elect(), 0);
    cluster.cut.clear();
    for heartbeat in 0..200 {
        cluster.propose(heartbeat % 3, "a");
        cluster.pass(HEARTBEAT);
    }
    assert_eq!(leader(&cluster), Some(0));
    let before = term(&cluster);
    cluster.pass(ELECTION * 300);
    assert_eq!((leader(&cluster), term(&cluster)), (Some(0), before), "there it stays");
    assert_eq!((cluster.failed.len(), cluster.outcomes.len()), (0, 200));
    // When it is gone, any other leads, and then the better one of them.
    cluster.cut.insert(NodeId(1));
    assert_ne!(cluster.elect(), 0);
    cluster.pass(ELECTION * 40);
    assert_eq!(leader(&cluster), Some(1));
}

#[test]
fn where_all_are_wanted_alike_the_lead_stays() {
    let mut cluster = with_priorities(&voters(), [7; 3]);
    let first = cluster.elect();
    let before = term(&cluster);
    for heartbeat in 0..3_000 {
        cluster.propose(heartbeat % 3, "a");
        cluster.pass(HEARTBEAT);
    }
    assert_eq!((leader(&cluster), term(&cluster)), (Some(first), before));
}

#[test]
fn who_lags_behind_gets_the_lead_when_it_is_level() {
    let mut cluster = with_priorities(&voters(), [1, 1, 5]);
    cluster.cut.insert(NodeId(3));
    let first = cluster.elect();
    cluster.cut.clear();
    cluster.pass(HEARTBEAT * 5);
    // It answers, and what it is sent does not get on its disk.
    cluster.hung.insert(2);
    let transferring = |cluster: &Cluster| {
        let status = cluster.members[first].node.status(GROUP).expect("the group is there").raft;
        (status.role, status.transferring)
    };
    for _ in 0..600 {
        cluster.propose(first, "a");
        cluster.pass(HEARTBEAT);
        assert_eq!(transferring(&cluster), (RoleKind::Leader, None));
    }
    assert_eq!((cluster.failed.len(), cluster.outcomes.len()), (0, 600), "and nobody waits for it");
    cluster.hung.clear();
    for _ in 0..200 {
        cluster.propose(first, "a");
        cluster.pass(HEARTBEAT);
    }
    assert_eq!(leader(&cluster), Some(2));
    assert_eq!(cluster.failed, []);
}

#[test]
fn a_leader_whose_clients_are_elsewhere_follows_them_and_no_client_notices() {
    let mut cluster = with_priorities(&voters(), [1; 3]);
    let first = cluster.elect();
    let busy = (first + 1) % 3;
    let mut asked = 0;
    for _ in 0..700 {
        for _ in 0..3 {
            cluster.propose(busy, "a");
            asked += 1;
        }
        cluster.read(busy, "r");
        cluster.pass(HEARTBEAT);
    }
    assert_eq!(leader(&cluster), Some(busy));
    let before = term(&cluster);
    for _ in 0..700 {
        cluster.propose(busy, "a");
        asked += 1;
        cluster.pass(HEARTBEAT);
    }
    assert_eq!((leader(&cluster), term(&cluster)), (Some(busy), before));
    assert_eq!(
        (cluster.failed.len(), cluster.outcomes.len(), cluster.reads.len()),
        (0, asked, 700)
    );
}

#[test]
fn a_leader_of_a_higher_priority_does_not_follow_its_clients() {
    let mut cluster = with_priorities(&voters(), [1, 2, 1]);
    cluster.elect();
    cluster.pass(ELECTION * 20);
    assert_eq!(leader(&cluster), Some(1));
    for _ in 0..700 {
        for _ in 0..3 {
            cluster.propose(0, "a");
        }
        cluster.pass(HEARTBEAT);
    }
    assert_eq!(leader(&cluster), Some(1));
}

#[test]
fn a_learner_never_gets_the_lead() {
    let membership =
        Membership { learners: [NodeId(3)].into(), ..Membership::of_voters([1, 2].map(NodeId)) };
    let mut cluster = with_priorities(&membership, [1, 1, 9]);
    let first = cluster.elect();
    let other = 1 - first;
    for _ in 0..700 {
        for _ in 0..3 {
            cluster.propose(2, "a");
        }
        cluster.pass(HEARTBEAT);
    }
    assert_eq!(leader(&cluster), Some(first), "though it is wanted most, and asked most");
    cluster.input(first, Input::Transfer { group: GROUP, to: None });
    cluster.settle();
    assert_eq!(leader(&cluster), Some(other));
    // Nor if there is nobody else, nor if somebody asks for it.
    cluster.cut.insert(NodeId(first as u64 + 1));
    cluster.pass(HEARTBEAT * 6);
    for to in [None, Some(NodeId(3))] {
        cluster.input(other, Input::Transfer { group: GROUP, to });
        let status = cluster.members[other].node.status(GROUP).expect("the group is there").raft;
        assert_eq!((status.role, status.transferring), (RoleKind::Leader, None));
    }
}

#[test]
fn a_member_that_left_or_ends_does_not_get_the_lead() {
    use quorate_node::View;

    let mut cluster = with_priorities(&voters(), [1; 3]);
    let first = cluster.elect();
    cluster.pass(HEARTBEAT * 5);
    let (ending, other) = ((first + 2) % 3, (first + 1) % 3);
    let of = NodeId(ending as u64 + 1);
    let incarnation = Incarnation { started_ms: 1, process: 100 + of.0 };
    let view = View { of, incarnation, state: PeerState::Leaving, age: Duration::ZERO };
    cluster.input(first, Input::Node(News::Told { by: of, view }));
    cluster.pass(HEARTBEAT * 5);
    cluster.input(first, Input::Transfer { group: GROUP, to: None });
    cluster.settle();
    assert_eq!(leader(&cluster), Some(other), "the other one is about to end");

    // The one that ended is removed from the group.
    let members = [first, other].map(|member| NodeId(member as u64 + 1));
    let membership = Membership::of_voters(members);
    cluster.input(other, Input::Change { group: GROUP, membership, waiter: "change" });
    cluster.pass(HEARTBEAT * 5);
    cluster.cut.insert(NodeId(first as u64 + 1));
    cluster.pass(HEARTBEAT * 6);
    cluster.input(other, Input::Transfer { group: GROUP, to: None });
    let status = cluster.members[other].node.status(GROUP).expect("the group is there").raft;
    assert_eq!((status.role, status.transferring), (RoleKind::Leader, None));
}

/// The leader's disk hangs. From whenever on the member that would be chosen is silent, once that is noticed the
/// other one is to have the lead.
#[test]
fn a_slow_disk_hands_over_to_who_answers() {
    let mut handed = 0;
    for silent_from in 0..25 {
        let mut cluster = with_priorities(&voters(), [1; 3]);
        let first = cluster.elect();
        cluster.pass(HEARTBEAT * 5);
        let others: Vec<usize> = (0..3).filter(|member| *member != first).collect();
        let [heir, silent] = [others[0], others[1]].map(|member| NodeId(member as u64 + 1));
        cluster.hung.insert(first);
        cluster.propose(first, "a");
        let mut was_suspect = false;
        for heartbeat in 0..30 {
            if heartbeat == silent_from {
                cluster.cut.insert(silent);
            }
            cluster.pass(HEARTBEAT);
            if let Some(to) = cluster.handed_to.first() {
                assert!(
                    *to == heir || !was_suspect,
                    "it is handed to one that is known to be silent"
                );
                handed += u32::from(was_suspect);
                break;
            }
            let peer = cluster.members[first].node.detector().peer(silent);
            was_suspect = peer.expect("it is a member").state == PeerState::Suspect;
        }
    }
    assert!(handed > 3, "that was known only {handed} times");
}

#[test]
fn a_request_without_a_leader_goes_on_with_the_next_one() {
    let mut cluster = with_priorities(&voters(), [1; 3]);
    let first = cluster.elect();
    cluster.pass(HEARTBEAT * 5);
    // One is alone, and knows of no leader; then there are two again.
    let (other, third) = ((first + 1) % 3, (first + 2) % 3);
    cluster.cut.extend([first, third].map(|member| NodeId(member as u64 + 1)));
    cluster.pass(ELECTION * 3);
    let status = cluster.members[other].node.status(GROUP).expect("the group is there").raft;
    assert_eq!(status.leader, None);
    cluster.propose(other, "while nobody leads");
    cluster.read(other, "read");
    cluster.pass(ELECTION);
    assert_eq!((cluster.outcomes.len(), cluster.failed.len()), (0, 0), "they wait");
    cluster.cut.remove(&NodeId(third as u64 + 1));
    cluster.pass(ELECTION * 4);
    assert_eq!((cluster.outcomes.len(), &cluster.reads[..]), (1, &["read"][..]));
    assert_eq!(cluster.failed, []);
}

/// A leader that hands over takes no more, and holds what it is given. When the lead is lost it gives that back, and
/// the next leader has it before anything of its term is committed: nobody waits for that first.
#[test]
fn what_is_given_to_a_leader_that_hands_over_comes_back() {
    let (mut cluster, old) = Cluster::with_leader();
    let (heir, watched) = ((old + 1) % 3, (old + 2) % 3);
    let committed = |cluster: &Cluster| {
        cluster.members[watched].node.status(GROUP).expect("the group is there").raft.commit
    };
    let before = committed(&cluster);
    // The heir does not campaign before its disk has its vote.
    cluster.hung.insert(heir);
    let to = Some(NodeId(heir as u64 + 1));
    cluster.input(old, Input::Transfer { group: GROUP, to });
    cluster.propose(watched, "held");
    cluster.propose(watched, "held too");
    cluster.settle();
    assert_eq!((leader(&cluster), cluster.outcomes.len()), (Some(old), 0));
    cluster.hung.clear();
    let mut given = Vec::new();
    for _ in 0..100 {
        cluster.work();
        let Some(envelope) = cluster.network.pop_front() else { continue };
        let to = envelope.to.0 as usize - 1;
        if let EnvelopeBody::Forward(forward) = &envelope.body {
            given.push((to, forward.commands.len(), committed(&cluster)));
        }
        cluster.input(to, Input::Peer(envelope.clone()));
        cluster.input(to, Input::Peer(envelope));
    }
    assert_eq!(given, [(heir, 2, before)]);
    assert_eq!((leader(&cluster), cluster.failed.len()), (Some(heir), 0));
    assert_eq!(cluster.outcomes, [("held", 1), ("held too", 2)]);
}
