//! Requests of clients, told from outside: three nodes, a clock that is moved by hand, and a network
//! that loses and repeats what a test tells it to.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use quorate_node::{
    Applied, Applier, ApplyJob, Effects, Envelope, EnvelopeBody, Freshness, GroupConfig, Input,
    Node, NodeConfig, PeerState, Priority, RequestError,
};
use quorate_raft::{
    EntryId, Event, GroupId, Limits, Membership, NodeId, Recovered, RoleKind, Seq, Time,
};

mod common;
#[path = "requests/lead.rs"]
mod lead;

use common::{Apply, AtOnce};

const GROUP: GroupId = GroupId(1);
const HEARTBEAT: Duration = Duration::from_millis(100);
const ELECTION: Duration = Duration::from_millis(1000);

/// Counts commands; the outcome is how many there were.
struct Count(usize);

impl Apply for Count {
    type Outcome = usize;

    fn apply(&mut self, _: EntryId, _: &Bytes) -> usize {
        self.0 += 1;
        self.0
    }
}

struct Member {
    node: Node<&'static str>,
    applier: Applier<usize>,
    effects: Effects<&'static str>,
    /// The last record that is not on its disk.
    unwritten: Option<Seq>,
}

struct Cluster {
    now: Time,
    members: Vec<Member>,
    network: VecDeque<Envelope>,
    /// Nodes that nothing reaches and nothing leaves.
    cut: BTreeSet<NodeId>,
    /// Members whose disks finish nothing.
    hung: BTreeSet<usize>,
    /// To whom leaders began to hand over.
    handed_to: Vec<NodeId>,
    /// Whether every envelope arrives twice.
    twice: bool,
    outcomes: Vec<(&'static str, usize)>,
    reads: Vec<&'static str>,
    failed: Vec<(&'static str, RequestError)>,
}

impl Cluster {
    fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    fn with_limits(limits: Limits) -> Self {
        let membership = Membership::of_voters([1, 2, 3].map(NodeId));
        Self::of(&membership, limits, [Priority::default(); 3])
    }

    fn of(membership: &Membership, limits: Limits, priorities: [Priority; 3]) -> Self {
        let members = [1, 2, 3]
            .map(NodeId)
            .iter()
            .zip(priorities)
            .map(|(&id, priority)| {
                let mut config = NodeConfig::new(id, 100 + id.0, id.0);
                config.command_bytes_max = 64;
                config.leader_priority = priority;
                let mut node = Node::new(config);
                let group = GroupConfig {
                    group: GROUP,
                    membership: membership.clone(),
                    heartbeat_interval: HEARTBEAT,
                    election_timeout: ELECTION,
                    election_policy: quorate_raft::ElectionPolicy::Fixed,
                    quiet_after: None,
                    limits,
                    rejoining: None,
                    lease: None,
                    witness: false,
                };
                node.add_group(group, Recovered::default(), EntryId::ZERO, Time(0));
                let applier = Applier::new(Box::new(AtOnce::new(Count(0))), membership.clone());
                Member { node, applier, effects: Effects::default(), unwritten: None }
            })
            .collect();
        Self {
            now: Time(0),
            members,
            network: VecDeque::new(),
            cut: BTreeSet::new(),
            hung: BTreeSet::new(),
            handed_to: Vec::new(),
            twice: false,
            outcomes: Vec::new(),
            reads: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Three members of which one leads.
    fn with_leader() -> (Self, usize) {
        let mut cluster = Self::new();
        let leader = cluster.elect();
        (cluster, leader)
    }

    fn input(&mut self, member: usize, input: Input<&'static str>) {
        let Member { node, effects, .. } = &mut self.members[member];
        node.step(self.now, input, effects);
    }

    fn propose(&mut self, member: usize, name: &'static str) {
        let command = Bytes::from_static(name.as_bytes());
        self.input(member, Input::Propose { group: GROUP, command, waiter: name });
    }

    fn read(&mut self, member: usize, name: &'static str) {
        self.input(
            member,
            Input::Read { group: GROUP, freshness: Freshness::Linearizable, waiter: name },
        );
    }

    /// Flushes every node and does what it asks for, disks being as fast as thought.
    fn work(&mut self) {
        for (position, member) in self.members.iter_mut().enumerate() {
            member.node.flush(self.now, &mut member.effects);
            let Member { node, applier, effects, unwritten } = member;
            self.network.extend(effects.send.drain(..));
            let last = effects.persist.last().map(|(_, persist)| persist.seq);
            *unwritten = last.or(*unwritten);
            let jobs: Vec<(GroupId, ApplyJob<_>)> = effects.apply.drain(..).collect();
            self.failed.append(&mut effects.failed);
            effects.changes.clear();
            self.handed_to.extend(effects.events.iter().filter_map(|(_, event)| match event {
                Event::TransferStarted { to } => Some(*to),
                _ => None,
            }));
            effects.clear();
            for (group, job) in jobs {
                let mut applied = Applied::default();
                applier.run(job, &mut applied).expect("to count never fails");
                self.outcomes.append(&mut applied.outcomes);
                self.reads.extend(applied.reads.drain(..).map(|(name, _)| name));
                for feedback in applied.feedback {
                    node.step(self.now, Input::Applied { group, feedback }, effects);
                }
            }
            if !self.hung.contains(&position)
                && let Some(seq) = unwritten.take()
            {
                node.step(self.now, Input::Durable { group: GROUP, seq }, effects);
            }
        }
    }

    /// Works and delivers until nothing is left to do at this moment.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            self.work();
            let Some(envelope) = self.network.pop_front() else {
                let busy = |member: &Member| {
                    member.node.deadline() <= self.now
                        || !(member.effects.send.is_empty()
                            && member.effects.persist.is_empty()
                            && member.effects.apply.is_empty())
                };
                if self.members.iter().any(busy) {
                    continue;
                }
                return;
            };
            if self.cut.contains(&envelope.from) || self.cut.contains(&envelope.to) {
                continue;
            }
            let to = usize::try_from(envelope.to.0).expect("ids are small") - 1;
            if self.twice {
                self.input(to, Input::Peer(envelope.clone()));
            }
            self.input(to, Input::Peer(envelope));
        }
        panic!("the nodes never come to rest");
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            self.settle();
            let next = self.members.iter().map(|member| member.node.deadline()).min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
        }
        self.now = end;
        self.settle();
    }

    /// Lets time pass until a member that is not cut off leads.
    fn elect(&mut self) -> usize {
        for _ in 0..200 {
            self.pass(HEARTBEAT);
            let leads = |member: &Member| {
                let status = member.node.status(GROUP).expect("the group is there").raft;
                status.role == RoleKind::Leader && !self.cut.contains(&status.id)
            };
            if let Some(leader) = self.members.iter().position(leads) {
                return leader;
            }
        }
        panic!("nobody is elected within 20 election timeouts");
    }

    fn journal(&self, member: usize) -> usize {
        let applied = self.members[member].node.status(GROUP).expect("the group is there");
        usize::try_from(applied.raft.applied.0).expect("logs are short")
    }
}

#[test]
fn any_member_takes_a_command_and_answers_from_its_own_state() {
    let (mut cluster, leader) = Cluster::with_leader();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        cluster.propose((leader + number) % 3, name);
        cluster.settle();
    }
    cluster.pass(HEARTBEAT * 2);
    let mut outcomes = cluster.outcomes.clone();
    outcomes.sort_unstable();
    assert_eq!(outcomes, [("a", 1), ("b", 2), ("c", 3)]);
    assert_eq!(cluster.failed, []);
}

#[test]
fn a_command_waits_for_the_first_leader() {
    let mut cluster = Cluster::new();
    cluster.propose(0, "early");
    cluster.elect();
    cluster.pass(HEARTBEAT * 2);
    assert_eq!(cluster.outcomes, [("early", 1)]);
}

#[test]
fn what_arrives_twice_is_done_once() {
    let (mut cluster, leader) = Cluster::with_leader();
    cluster.twice = true;
    for name in ["a", "b", "c", "d"] {
        cluster.propose((leader + 1) % 3, name);
        cluster.settle();
    }
    cluster.pass(ELECTION * 2);
    let last = cluster.outcomes.iter().map(|(_, count)| *count).max();
    assert_eq!((cluster.outcomes.len(), last), (4, Some(4)));
}

#[test]
fn a_command_that_never_reached_the_leader_is_given_again_and_done_once() {
    let (mut cluster, leader) = Cluster::with_leader();
    let follower = (leader + 1) % 3;
    cluster.propose(follower, "lost");
    cluster.work();
    let forwards = |e: &Envelope| matches!(e.body, EnvelopeBody::Forward(_));
    assert!(cluster.network.iter().any(forwards), "it is on its way");
    cluster.network.clear();
    cluster.pass(ELECTION * 3);
    assert_eq!(cluster.outcomes, [("lost", 1)]);
}

#[test]
fn a_command_that_died_with_its_leader_is_carried_out_by_the_next_one() {
    let (mut cluster, leader) = Cluster::with_leader();
    // The leader appends them, and nobody hears of it.
    cluster.cut.insert(NodeId(leader as u64 + 1));
    cluster.propose(leader, "on the leader");
    cluster.propose((leader + 1) % 3, "on its way");
    cluster.settle();
    cluster.elect();
    cluster.cut.clear();
    cluster.pass(ELECTION * 3);
    let mut outcomes = cluster.outcomes.clone();
    outcomes.sort_unstable();
    let names: Vec<&str> = outcomes.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["on its way", "on the leader"]);
    assert_eq!(outcomes.iter().map(|(_, count)| *count).max(), Some(2), "each once");
    assert_eq!(cluster.failed, []);
}

#[test]
fn a_node_that_waits_for_a_leader_sleeps() {
    let (mut cluster, leader) = Cluster::with_leader();
    let follower = (leader + 1) % 3;
    cluster.cut.insert(NodeId(follower as u64 + 1));
    cluster.propose(follower, "given to a leader that is gone");
    // Longer than it takes to give it again, and shorter than its client waits. A node that wants
    // a turn at once, and another one after it, never comes to rest here.
    cluster.pass(ELECTION * 4);
    let member = &cluster.members[follower];
    assert_eq!(member.node.status(GROUP).map(|status| status.raft.leader), Some(None));
    assert!(member.node.deadline() > cluster.now);
}

#[test]
fn a_read_sees_what_was_acknowledged_anywhere_before_it() {
    let (mut cluster, leader) = Cluster::with_leader();
    cluster.propose(leader, "a");
    cluster.settle();
    assert_eq!(cluster.outcomes.len(), 1);
    let committed = cluster.journal(leader);
    let follower = (leader + 1) % 3;
    cluster.read(follower, "read");
    cluster.settle();
    assert_eq!(cluster.reads, ["read"]);
    assert!(cluster.journal(follower) >= committed);
}

#[test]
fn a_leader_that_was_replaced_confirms_nothing() {
    let (mut cluster, old) = Cluster::with_leader();
    cluster.cut.insert(NodeId(old as u64 + 1));
    cluster.read(old, "stale?");
    cluster.settle();
    assert_eq!(cluster.reads, [""; 0]);
    cluster.elect();
    cluster.cut.clear();
    cluster.pass(ELECTION * 2);
    assert_eq!(cluster.reads, ["stale?"], "it is confirmed by the next leader");
}

#[test]
fn without_a_majority_every_request_ends_in_time_and_says_what_is_known() {
    let (mut cluster, leader) = Cluster::with_leader();
    cluster.cut.extend([1, 2, 3].map(NodeId));
    cluster.propose(leader, "sent");
    cluster.read(leader, "read");
    cluster.settle();
    // Long enough for everybody to notice that nobody leads.
    cluster.pass(ELECTION * 3);
    cluster.propose(leader, "parked");
    cluster.pass(Duration::from_secs(8));
    cluster.failed.sort_unstable_by_key(|(name, _)| *name);
    let expected = [
        ("parked", RequestError::NoLeader),
        ("read", RequestError::NoLeader),
        ("sent", RequestError::Timeout),
    ];
    assert_eq!(cluster.failed, expected);
    assert_eq!((cluster.outcomes.len(), cluster.reads.len()), (0, 0));
}

#[test]
fn what_can_never_be_replicated_is_refused_at_once() {
    let (mut cluster, leader) = Cluster::with_leader();
    let command = Bytes::from(vec![0; 65]);
    cluster.input(leader, Input::Propose { group: GROUP, command, waiter: "large" });
    let elsewhere = GroupId(2);
    cluster.input(
        leader,
        Input::Read { group: elsewhere, freshness: Freshness::Linearizable, waiter: "lost" },
    );
    cluster.settle();
    let expected = [("large", RequestError::TooLarge), ("lost", RequestError::NoSuchGroup)];
    assert_eq!(cluster.failed, expected);
}

#[test]
fn of_more_than_the_log_takes_the_first_are_taken() {
    let limits = Limits { append_bytes_max: 64, uncommitted_bytes_max: 256, ..Limits::default() };
    let mut cluster = Cluster::with_limits(limits);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    for name in names {
        cluster.propose(0, name);
    }
    cluster.elect();
    cluster.pass(HEARTBEAT * 2);
    let (done, refused) = (cluster.outcomes.len(), cluster.failed.len());
    assert!(done > 0 && refused > 0, "{done} are done and {refused} are refused");
    assert_eq!(done + refused, names.len());
    assert!(cluster.failed.iter().all(|(_, error)| *error == RequestError::Overloaded));
    assert!(cluster.outcomes.iter().map(|(name, _)| *name).eq(names[..done].iter().copied()));
}

#[test]
fn leadership_moves_to_the_best_follower_when_asked() {
    let (mut cluster, leader) = Cluster::with_leader();
    cluster.pass(ELECTION);
    cluster.input(leader, Input::Transfer { group: GROUP, to: None });
    cluster.propose(leader, "meanwhile");
    cluster.settle();
    let next = cluster.elect();
    assert_ne!(next, leader);
    cluster.pass(ELECTION * 2);
    assert_eq!(cluster.outcomes, [("meanwhile", 1)]);
}

#[test]
fn a_leader_that_is_asked_from_a_later_term_leads_no_more() {
    use quorate_node::HealAsk;
    use quorate_raft::{Index, Lost};

    let (mut cluster, leader) = Cluster::with_leader();
    let status =
        |cluster: &Cluster| cluster.members[leader].node.status(GROUP).expect("it is there").raft;
    let before = status(&cluster);
    let lost = Lost { first: Index(7), last: EntryId::new(1, 7) };
    let from = cluster.members[(leader + 1) % 3].node.id();
    for (term, role) in [(before.term, RoleKind::Leader), (before.term.next(), RoleKind::Follower)]
    {
        let body = EnvelopeBody::HealAsk { incarnation: 1, ask: HealAsk::Entries { lost, term } };
        let to = before.id;
        cluster.input(leader, Input::Peer(Envelope { group: GROUP, from, to, body }));
        assert_eq!((status(&cluster).role, status(&cluster).term), (role, term));
    }
}

#[test]
fn who_heals_and_who_follows_are_given_snapshots_of_their_own() {
    use quorate_node::{Feedback, HealAsk, HealSnapshot};
    use quorate_raft::{SnapshotChunk, SnapshotMeta, SnapshotPiece};

    let (mut cluster, leader) = Cluster::with_leader();
    let [to, from] = [leader, (leader + 1) % 3].map(|at| cluster.members[at].node.id());
    let ask = HealAsk::Snapshot { last: None, cursor: Bytes::new() };
    let body = EnvelopeBody::HealAsk { incarnation: 1, ask };
    cluster.input(leader, Input::Peer(Envelope { group: GROUP, from, to, body }));
    let Member { node, effects, .. } = &mut cluster.members[leader];
    let reads = |job: &ApplyJob<_>| matches!(job, ApplyJob::HealSnapshot(HealSnapshot::Read { to, .. }) if *to == from);
    assert!(effects.apply.iter().any(|(_, job)| reads(job)), "a piece is read for it");

    let membership = Membership::of_voters([1, 2, 3].map(NodeId));
    let meta = SnapshotMeta { last: EntryId::new(1, 1), membership };
    let (cursor, data) = (Bytes::new(), Bytes::new());
    let piece = SnapshotPiece {
        to: from,
        chunk: Box::new(SnapshotChunk { meta, cursor, data, next: None }),
    };
    let mut answers = |feedback| {
        node.step(cluster.now, Input::Applied { group: GROUP, feedback }, effects);
        let sent = effects.send.drain(..).map(|envelope| envelope.body);
        sent.filter(|body| matches!(body, EnvelopeBody::HealAnswer(_))).count()
    };
    assert_eq!(answers(Feedback::SnapshotReady(piece.clone())), 0, "that is the follower's");
    assert_eq!(answers(Feedback::HealSnapshotReady(piece.clone())), 1);
    assert_eq!(answers(Feedback::HealSnapshotReady(piece)), 0, "nobody waits for it any more");
}

#[test]
fn leadership_is_handed_to_who_answers() {
    let (mut cluster, leader) = Cluster::with_leader();
    cluster.pass(HEARTBEAT * 5);
    let others: Vec<usize> = (0..3).filter(|member| *member != leader).collect();
    let state = |cluster: &Cluster, of: usize| {
        let id = NodeId(of as u64 + 1);
        cluster.members[leader].node.detector().peer(id).expect("it is a member").state
    };
    assert_eq!([state(&cluster, others[0]), state(&cluster, others[1])], [PeerState::Active; 2]);
    // Of two that are level the last one would be chosen, and Raft has not missed it yet.
    let silent = others[1];
    cluster.cut.insert(NodeId(silent as u64 + 1));
    cluster.pass(HEARTBEAT * 6);
    assert_eq!(state(&cluster, silent), PeerState::Suspect);
    let status = cluster.members[leader].node.status(GROUP).expect("the group is there").raft;
    assert!(status.peers.iter().all(|peer| peer.active), "{status:?}");
    cluster.input(leader, Input::Transfer { group: GROUP, to: None });
    cluster.settle();
    let heir = cluster.members[others[0]].node.status(GROUP).expect("the group is there").raft;
    assert_eq!(heir.role, RoleKind::Leader);
}

#[test]
fn leadership_is_handed_to_nobody_where_nobody_answers() {
    let (mut cluster, leader) = Cluster::with_leader();
    cluster.pass(HEARTBEAT * 5);
    for other in (0..3).filter(|member| *member != leader) {
        cluster.cut.insert(NodeId(other as u64 + 1));
    }
    cluster.pass(HEARTBEAT * 6);
    cluster.input(leader, Input::Transfer { group: GROUP, to: None });
    let status = cluster.members[leader].node.status(GROUP).expect("the group is there").raft;
    assert_eq!((status.role, status.transferring), (RoleKind::Leader, None));
}

#[test]
fn a_follower_waits_for_its_leader_and_for_nobody_else() {
    let (mut cluster, leader) = Cluster::with_leader();
    cluster.pass(HEARTBEAT * 5);
    let follower = (leader + 1) % 3;
    let states = |cluster: &Cluster, member: usize| {
        let peers = cluster.members[member].node.detector().peers();
        peers.map(|peer| (peer.id.0 as usize - 1, peer.state)).collect::<Vec<_>>()
    };
    for (id, state) in states(&cluster, follower) {
        assert_eq!(state, if id == leader { PeerState::Active } else { PeerState::Idle });
    }
    // It is missed by the election at the latest, and not forgotten when there is another leader.
    cluster.cut.insert(NodeId(leader as u64 + 1));
    let heir = cluster.elect();
    cluster.pass(HEARTBEAT * 20);
    for member in (0..3).filter(|member| *member != leader) {
        assert!(states(&cluster, member).contains(&(leader, PeerState::Failed)), "{member}");
    }
    // It comes back, and everybody who hears of it knows.
    cluster.cut.clear();
    cluster.pass(HEARTBEAT * 5);
    assert!(states(&cluster, heir).contains(&(leader, PeerState::Active)));
}
