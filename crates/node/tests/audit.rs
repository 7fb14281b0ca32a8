//! Members that compare their states through the log: whoever differs from most of them stops, at the
//! right place, and nobody else does.

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use quorate_node::{
    Applied, Applier, Effects, Envelope, Fault, FaultKind, Fingerprint, GroupConfig, Input, Node,
    NodeConfig,
};
use quorate_raft::{EntryId, GroupId, Index, Limits, Membership, NodeId, Recovered, Time};

use common::{Apply, AtOnce};

const GROUP: GroupId = GroupId(1);
const EVERY: u64 = 50;

/// Adds commands up, which are numbers. From some entry on it does not, if told so: it adds one more.
struct Sum {
    sum: u128,
    wrong_at: Option<u64>,
}

impl Apply for Sum {
    type Outcome = u128;

    fn apply(&mut self, entry: EntryId, command: &Bytes) -> u128 {
        let number = command[..].try_into().expect("the machine is given commands only");
        self.sum += u128::from(u64::from_le_bytes(number));
        if self.wrong_at.is_some_and(|at| at <= entry.index.0) {
            self.sum += 1;
            self.wrong_at = None;
        }
        self.sum
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint(self.sum))
    }
}

struct Member {
    node: Node<()>,
    applier: Applier<u128>,
    effects: Effects<()>,
}

struct Cluster {
    now: Time,
    members: BTreeMap<NodeId, Member>,
    network: VecDeque<Envelope>,
    /// Whether every envelope arrives twice.
    twice: bool,
    /// Who stopped, and why.
    faults: BTreeMap<NodeId, Fault>,
    disputed: Vec<(NodeId, Index)>,
}

impl Cluster {
    /// A cluster of so many members. The machines of some are wrong from an entry on.
    fn new(size: u64, wrong_at: &[(u64, u64)]) -> Self {
        let membership = Membership::of_voters((1..=size).map(NodeId));
        let member = |id: NodeId| {
            let mut node = Node::new(NodeConfig::new(id, 100 + id.0, id.0));
            let group = GroupConfig {
                group: GROUP,
                membership: membership.clone(),
                heartbeat_interval: Duration::from_millis(100),
                election_timeout: Duration::from_secs(1),
                election_policy: quorate_raft::ElectionPolicy::Fixed,
                quiet_after: None,
                limits: Limits::default(),
                rejoining: None,
                lease: None,
                witness: false,
            };
            node.add_group(group, Recovered::default(), EntryId::ZERO, Time(0));
            let wrong_at = wrong_at.iter().find(|(of, _)| *of == id.0).map(|(_, at)| *at);
            let machine = AtOnce::new(Sum { sum: 0, wrong_at });
            let applier = Applier::new(Box::new(machine), membership.clone());
            let applier = applier.with_audits_every(EVERY);
            (id, Member { node, applier, effects: Effects::default() })
        };
        Self {
            now: Time(0),
            members: (1..=size).map(|id| member(NodeId(id))).collect(),
            network: VecDeque::new(),
            twice: false,
            faults: BTreeMap::new(),
            disputed: Vec::new(),
        }
    }

    /// Does what the nodes ask for, disks being as fast as thought. Says whether there was anything.
    fn work(&mut self) -> bool {
        let mut worked = false;
        let mut stopped = Vec::new();
        for (&id, Member { node, applier, effects }) in &mut self.members {
            node.flush(self.now, effects);
            worked |= !(effects.send.is_empty()
                && effects.persist.is_empty()
                && effects.apply.is_empty());
            self.network.extend(effects.send.drain(..));
            let last = effects.persist.last().map(|(_, persist)| persist.seq);
            let jobs: Vec<_> = effects.apply.drain(..).collect();
            effects.failed.clear();
            effects.clear();
            for (group, job) in jobs {
                let mut applied = Applied::default();
                if let Err(fault) = applier.run(job, &mut applied) {
                    stopped.push((id, fault));
                    break;
                }
                self.disputed.extend(applied.disputed.drain(..).map(|index| (id, index)));
                for feedback in applied.feedback {
                    node.step(self.now, Input::Applied { group, feedback }, effects);
                }
            }
            if let Some(seq) = last {
                node.step(self.now, Input::Durable { group: GROUP, seq }, effects);
            }
        }
        for (id, fault) in stopped {
            self.members.remove(&id);
            self.faults.insert(id, fault);
        }
        worked
    }

    /// Works and delivers until nothing is left to do at this moment.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let worked = self.work();
            let Some(envelope) = self.network.pop_front() else {
                if worked {
                    continue;
                }
                return;
            };
            let Some(Member { node, effects, .. }) = self.members.get_mut(&envelope.to) else {
                continue;
            };
            if self.twice {
                node.step(self.now, Input::Peer(envelope.clone()), effects);
            }
            node.step(self.now, Input::Peer(envelope), effects);
        }
        panic!("the nodes never come to rest");
    }

    fn leader(&self) -> Option<NodeId> {
        let leads = |node: &Node<()>| node.status(GROUP)?.raft.leader;
        let (&id, _) =
            self.members.iter().find(|(id, member)| leads(&member.node) == Some(**id))?;
        Some(id)
    }

    /// Lets time pass until somebody leads.
    fn elect(&mut self) -> NodeId {
        for _ in 0..1_000 {
            self.settle();
            if let Some(leader) = self.leader() {
                return leader;
            }
            let next = self.members.values().map(|member| member.node.deadline()).min();
            self.now = self.now.max(next.expect("somebody is left"));
        }
        panic!("nobody leads");
    }

    /// Has clients of one member after the other add numbers.
    fn add(&mut self, numbers: u64) {
        for number in 0..numbers {
            let ids: Vec<NodeId> = self.members.keys().copied().collect();
            let Some(id) = ids.get(number as usize % ids.len().max(1)) else { return };
            let Member { node, effects, .. } = self.members.get_mut(id).expect("it is there");
            let command = Bytes::copy_from_slice(&number.to_le_bytes());
            node.step(self.now, Input::Propose { group: GROUP, command, waiter: () }, effects);
            self.settle();
        }
    }

    fn last_index(&self) -> u64 {
        self.members
            .values()
            .map(|member| member.applier.machine().applied().index.0)
            .max()
            .unwrap_or(0)
    }

    /// Who stopped.
    fn stopped(&self) -> Vec<u64> {
        self.faults.keys().map(|id| id.0).collect()
    }
}

#[test]
fn a_member_that_differs_stops_at_the_first_place_after_it_and_the_others_go_on() {
    for twice in [false, true] {
        let mut cluster = Cluster::new(3, &[(2, 77)]);
        cluster.twice = twice;
        cluster.elect();
        cluster.add(300);
        assert_eq!(cluster.stopped(), [2]);
        let fault = &cluster.faults[&NodeId(2)];
        assert_eq!(fault.kind, FaultKind::Diverged);
        assert!(fault.report.starts_with("the state after entry 100 has"), "{fault}");
        assert!(cluster.last_index() > 300, "the others stopped");
    }
}

#[test]
fn a_leader_in_the_minority_stops_and_another_takes_over() {
    let mut cluster = Cluster::new(3, &[]);
    let leader = cluster.elect();
    let mut cluster = Cluster::new(3, &[(leader.0, 30)]);
    assert_eq!(cluster.elect(), leader, "elections follow from the seeds");
    cluster.add(60);
    assert_eq!(cluster.stopped(), [leader.0]);
    assert!(cluster.faults[&leader].report.contains("after entry 50 "), "{:?}", cluster.faults);
    assert_ne!(cluster.elect(), leader);
    let before = cluster.last_index();
    cluster.add(100);
    assert_eq!(cluster.stopped(), [leader.0]);
    assert!(cluster.last_index() >= before + 100);
}

#[test]
fn two_of_five_stop() {
    // The same error at the same place, and another one later.
    let mut cluster = Cluster::new(5, &[(1, 120), (4, 160)]);
    cluster.elect();
    cluster.add(300);
    cluster.elect();
    cluster.add(100);
    assert_eq!(cluster.stopped(), [1, 4]);
    let at = |id| cluster.faults[&NodeId(id)].report.clone();
    assert!(at(1).contains("after entry 150 ") && at(4).contains("after entry 200 "));
    assert!(!cluster.disputed.is_empty(), "an operator hears of it");
}

#[test]
fn where_all_differ_nobody_goes_on() {
    let mut cluster = Cluster::new(3, &[(1, 10), (2, 20), (3, 99)]);
    // Two are wrong by the same, and so a majority that is as good as any other.
    cluster.elect();
    cluster.add(60);
    assert_eq!(cluster.stopped(), [3]);
    let mut cluster = Cluster::new(2, &[(1, 10)]);
    cluster.elect();
    cluster.add(60);
    assert_eq!(cluster.stopped(), [1, 2]);
    assert!(cluster.faults.values().all(|fault| fault.kind == FaultKind::Undecided));
}

#[test]
fn equal_members_go_on_and_an_idle_group_says_nothing() {
    let mut cluster = Cluster::new(3, &[]);
    cluster.elect();
    cluster.add(500);
    assert!(cluster.faults.is_empty() && cluster.disputed.is_empty());
    let last = cluster.last_index();
    // Nine or ten places, and a report of each member on each.
    assert!((500 + 3 * 9..500 + 3 * 12).contains(&last), "{last} entries");
    for _ in 0..100 {
        cluster.now = cluster.now + Duration::from_millis(100);
        cluster.settle();
    }
    assert_eq!(cluster.last_index(), last, "an idle group writes to its log");
}

#[test]
fn a_member_alone_has_nobody_to_compare_with() {
    let mut cluster = Cluster::new(1, &[(1, 10)]);
    cluster.elect();
    cluster.add(200);
    assert!(cluster.faults.is_empty());
    assert!(cluster.last_index() < 205, "it reports to itself");
}
