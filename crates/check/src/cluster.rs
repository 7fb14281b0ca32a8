//! What an all-knowing observer knows of the members: their logs in memory and on disk, and what was
//! committed anywhere.
//!
//! It is learned at the boundary of the nodes only, from records, messages and entries as they
//! pass, so the observer shares no code with what it observes and can't share its mistakes.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use quorate_raft::{
    Body, Entry, EntryId, Event, Index, Membership, Message, NodeId, Payload, Record, Recovered,
    Term,
};

/// Something that passed the boundary of a node.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A process began.
    Started {
        /// Where.
        node: NodeId,
        /// What the log on disk remembered.
        recovered: &'a Recovered,
        /// How far the machine reached.
        applied: EntryId,
    },
    /// A process ended, by a crash.
    Stopped {
        /// Where.
        node: NodeId,
    },
    /// A member that is down lost its disk. What it is started on next is another.
    Wiped {
        /// Where.
        node: NodeId,
    },
    /// What a member that is down has on its disk was damaged. When it starts again it has healed.
    Damaged {
        /// Where.
        node: NodeId,
        /// Whether its machine is gone.
        machine: bool,
    },
    /// A record was given to the log.
    Recorded {
        /// Where.
        node: NodeId,
        /// What.
        record: &'a Record,
    },
    /// The oldest records that were not yet on disk are.
    Synced {
        /// Where.
        node: NodeId,
        /// How many.
        records: usize,
    },
    /// The machine's own durable state reaches this far.
    MachineDurable {
        /// Where.
        node: NodeId,
        /// How far.
        last: EntryId,
    },
    /// A message left.
    Sent {
        /// Its sender and receiver are in it.
        message: &'a Message,
    },
    /// An entry was given to the machine.
    Committed {
        /// Where.
        node: NodeId,
        /// Which.
        entry: &'a Entry,
    },
    /// The core reported something.
    Happened {
        /// Where.
        node: NodeId,
        /// What.
        event: &'a Event,
    },
}

/// What is known of one member.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// The log as the running process has it: every record that it gave out.
    pub issued: Recovered,
    /// What is on disk for certain.
    pub durable: Recovered,
    /// The records between the two.
    pub unsynced: VecDeque<Record>,
    /// How far the machine's own durable state reaches.
    pub machine: EntryId,
    /// The last entry given to the machine by the running process.
    pub committed: Index,
    /// The term it leads, as far as it knows itself.
    pub leads: Option<Term>,
    /// Whether a process runs.
    pub running: bool,
    /// Whether its disk was lost, and what it held is not all back yet.
    pub rejoining: bool,
    /// Whether what is on its disk was damaged since it last ran.
    pub damaged: bool,
}

impl Member {
    /// Whether this entry would outlive a crash of the member: it is in the log on disk, or part of
    /// what the machine has durably.
    #[must_use]
    pub fn holds_durably(&self, id: EntryId) -> bool {
        id.index <= self.machine.index || has(&self.durable, id)
    }
}

/// The members, and what was committed anywhere.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The memberships that were committed, each with the position since which it counts; first the one that the
    /// group was made with.
    pub memberships: Vec<(Index, Membership)>,
    /// What is known of each that belongs to the group, or might come to.
    pub members: BTreeMap<NodeId, Member>,
    /// What any member has given to its machine, from index 1 on.
    pub committed: Vec<Committed>,
}

/// A committed entry.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The entry.
    pub entry: Entry,
    /// The term of the member that was first to know. The entry itself may be of an earlier term: a
    /// leader commits those of its predecessors along with its own (Raft §5.4.2).
    pub term: Term,
}

impl Cluster {
    /// A group of these members, and others who might come to belong to it, who all have done nothing yet.
    #[must_use]
    pub fn new(membership: Membership, others: impl IntoIterator<Item = NodeId>) -> Self {
        let all = membership.members().into_iter().chain(others);
        let members = all.map(|id| (id, Member::default())).collect();
        Self { memberships: Vec::from([(Index(0), membership)]), members, committed: Vec::new() }
    }

    /// The memberships of which one decided whether this entry is committed: the one that counts from there on,
    /// and those that follow it in any log that has the entry. An entry may wait for its majority while the
    /// members change, and then it needs one of the later ones only.
    #[must_use]
    pub fn deciding(&self, entry: EntryId) -> Vec<&Membership> {
        let known = Index(self.committed.len() as u64);
        let logs = self.members.values().map(|member| &member.issued);
        let has = |log: &&Recovered| {
            // What was compacted was committed.
            entry.index <= log.base.index || at(log, entry.index).is_some_and(|it| it.id == entry)
        };
        let told = logs.filter(has);
        let told = told.flat_map(|log| &log.entries).filter(|entry| known < entry.id.index);
        let told = told.filter_map(|entry| match &entry.payload {
            Payload::Membership(membership) => Some((entry.id.index, &**membership)),
            Payload::Noop | Payload::Command(_) => None,
        });
        let told: Vec<(Index, &Membership)> = told.collect();
        let committed = self.memberships.iter().map(|(since, membership)| (*since, membership));
        let committed: Vec<(Index, &Membership)> = committed.collect();
        // Where it is the last that counts at the entry, what is before it does not.
        let begin = committed.partition_point(|(since, _)| *since <= entry.index);
        let here = told.iter().filter(|(since, _)| *since == entry.index);
        let is_own = here.count() > 0;
        let committed = committed.into_iter().skip(if is_own { begin } else { begin - 1 });
        committed.chain(told).map(|(_, membership)| membership).collect()
    }

    /// A member.
    ///
    /// # Panics
    /// If there is none with this id.
    #[must_use]
    pub fn member(&self, id: NodeId) -> &Member {
        self.members.get(&id).expect("the observer was told of all members")
    }

    /// The entry that was committed at this position.
    #[must_use]
    pub fn committed_at(&self, index: Index) -> Option<&Entry> {
        self.committed_as(index).map(|committed| &committed.entry)
    }

    /// The same, with what is known of how.
    #[must_use]
    pub fn committed_as(&self, index: Index) -> Option<&Committed> {
        let at = usize::try_from(index.0.checked_sub(1)?).ok()?;
        self.committed.get(at)
    }

    /// Learns a fact.
    pub fn learn(&mut self, fact: Fact<'_>) {
        match fact {
            Fact::Started { node, recovered, applied } => {
                let rejoining = self.member(node).rejoining;
                *self.member_mut(node) = Member {
                    issued: recovered.clone(),
                    durable: recovered.clone(),
                    unsynced: VecDeque::new(),
                    machine: applied,
                    committed: applied.index,
                    leads: None,
                    running: true,
                    rejoining,
                    damaged: false,
                };
            }
            Fact::Stopped { node } => {
                let member = self.member_mut(node);
                member.running = false;
                member.leads = None;
            }
            Fact::Wiped { node } => {
                *self.member_mut(node) = Member { rejoining: true, ..Member::default() };
            }
            Fact::Damaged { node, machine } => {
                let member = self.member_mut(node);
                member.damaged = true;
                if machine {
                    member.machine = EntryId::ZERO;
                }
            }
            Fact::Recorded { node, record } => {
                let member = self.member_mut(node);
                replay(&mut member.issued, record);
                member.unsynced.push_back(record.clone());
            }
            Fact::Synced { node, records } => {
                let member = self.member_mut(node);
                for record in member.unsynced.drain(..records) {
                    replay(&mut member.durable, &record);
                }
            }
            Fact::MachineDurable { node, last } => {
                let member = self.member_mut(node);
                member.machine = member.machine.max(last);
                // What an installed snapshot contains is never given to the machine entry by entry.
                member.committed = member.committed.max(last.index);
            }
            Fact::Sent { .. } => {}
            Fact::Committed { node, entry } => {
                let member = self.member_mut(node);
                member.committed = entry.id.index;
                let term = member.issued.hard_state.term.max(entry.id.term);
                if entry.id.index.0 == self.committed.len() as u64 + 1 {
                    if let Payload::Membership(membership) = &entry.payload {
                        self.memberships.push((entry.id.index, Membership::clone(membership)));
                    }
                    self.committed.push(Committed { entry: entry.clone(), term });
                }
            }
            Fact::Happened { node, event } => match event {
                Event::BecameLeader { term } => self.member_mut(node).leads = Some(*term),
                Event::BecameFollower { .. }
                | Event::BecamePreCandidate { .. }
                | Event::BecameCandidate { .. }
                | Event::LostQuorum { .. } => self.member_mut(node).leads = None,
                Event::Rejoined { .. } => self.member_mut(node).rejoining = false,
                Event::LeaderChanged { .. }
                | Event::TransferStarted { .. }
                | Event::TransferAborted { .. }
                | Event::Truncated { .. }
                | Event::SnapshotStarted { .. }
                | Event::SnapshotInstalled { .. }
                | Event::DiskIsSlow { .. }
                | Event::LogLost { .. }
                | Event::MembershipChanged { .. }
                | Event::Malformed { .. } => {}
            },
        }
    }

    fn member_mut(&mut self, id: NodeId) -> &mut Member {
        self.members.get_mut(&id).expect("the observer was told of all members")
    }
}

/// The last entry of a log.
#[must_use]
pub fn last(log: &Recovered) -> EntryId {
    log.entries.last().map_or(log.base, |entry| entry.id)
}

/// The entry at this position of a log, if the log still holds it.
#[must_use]
pub fn at(log: &Recovered, index: Index) -> Option<&Entry> {
    let offset = index.0.checked_sub(log.base.index.0)?.checked_sub(1)?;
    log.entries.get(usize::try_from(offset).ok()?)
}

/// Whether a log contains this entry. Below the base it does, since only committed entries are
/// compacted, and those are checked where they are committed.
#[must_use]
pub fn has(log: &Recovered, id: EntryId) -> bool {
    id.index < log.base.index
        || id == log.base
        || at(log, id.index).is_some_and(|entry| entry.id == id)
}

/// The term of a leader that says in this message that it leads.
#[must_use]
pub fn leadership(message: &Message) -> Option<Term> {
    match message.body {
        Body::Append(_) | Body::Heartbeat(_) | Body::Snapshot(_) | Body::TimeoutNow => {
            Some(message.term)
        }
        Body::PreVote(_)
        | Body::PreVoteReply(_)
        | Body::Vote(_)
        | Body::VoteReply(_)
        | Body::AppendReply(_)
        | Body::HeartbeatReply(_)
        | Body::SnapshotReply(_)
        | Body::ReadIndex(_)
        | Body::ReadIndexReply(_)
        | Body::Rejoin(_)
        | Body::RejoinReply(_)
        | Body::Tail(_)
        | Body::AskTail(_) => None,
    }
}

/// Changes a log as a record says: the meaning of [`Record`], stated a second time and as plainly as
/// possible. A record that contradicts the log changes nothing; the invariants report it.
pub fn replay(log: &mut Recovered, record: &Record) {
    match record {
        Record::HardState(hard_state) => log.hard_state = *hard_state,
        Record::Append(entries) => {
            let Some(first) = entries.first() else { return };
            let before = log.entries.partition_point(|entry| entry.id.index < first.id.index);
            log.entries.truncate(before);
            log.entries.extend(entries.iter().cloned());
        }
        Record::Compact(base) => {
            let gone = log.entries.partition_point(|entry| entry.id.index <= base.index);
            log.entries.drain(..gone);
            log.base = log.base.max(*base);
        }
        Record::Reset(base) => {
            log.entries.clear();
            log.base = *base;
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft::HardState;

    use super::*;

    fn entries(ids: &[(u64, u64)]) -> Vec<Entry> {
        ids.iter()
            .map(|&(term, index)| Entry { id: EntryId::new(term, index), payload: Payload::Noop })
            .collect()
    }

    #[test]
    fn records_replay_to_the_log_they_describe() {
        let mut log = Recovered::default();
        replay(&mut log, &Record::Append(entries(&[(1, 1), (1, 2), (1, 3)])));
        replay(&mut log, &Record::Append(entries(&[(2, 2)])));
        assert_eq!(log.entries, entries(&[(1, 1), (2, 2)]), "an append replaces what follows");
        replay(&mut log, &Record::Compact(EntryId::new(1, 1)));
        assert_eq!((log.base, last(&log)), (EntryId::new(1, 1), EntryId::new(2, 2)));
        assert!(has(&log, EntryId::new(2, 2)) && has(&log, EntryId::new(1, 1)));
        assert!(!has(&log, EntryId::new(1, 2)) && !has(&log, EntryId::new(2, 3)));
        replay(&mut log, &Record::Reset(EntryId::new(2, 9)));
        assert_eq!((log.entries.len(), log.base), (0, EntryId::new(2, 9)));
        let vote = HardState { term: Term(3), vote: Some(NodeId(2)) };
        replay(&mut log, &Record::HardState(vote));
        assert_eq!(log.hard_state, vote);
    }

    #[test]
    fn only_synced_records_are_durable_and_a_crash_loses_the_others() {
        let node = NodeId(1);
        let mut cluster = Cluster::new(Membership::of_voters([node]), []);
        let start = Recovered::default();
        cluster.learn(Fact::Started { node, recovered: &start, applied: EntryId::ZERO });
        for record in [Record::Append(entries(&[(1, 1)])), Record::Append(entries(&[(1, 2)]))] {
            cluster.learn(Fact::Recorded { node, record: &record });
        }
        cluster.learn(Fact::Synced { node, records: 1 });
        let member = cluster.member(node);
        assert!(member.holds_durably(EntryId::new(1, 1)));
        assert!(!member.holds_durably(EntryId::new(1, 2)));
        assert_eq!(last(&member.issued), EntryId::new(1, 2));
    }

    #[test]
    fn a_log_that_was_compacted_tells_of_later_members_too() {
        let node = NodeId(1);
        let mut cluster = Cluster::new(Membership::of_voters([1, 2].map(NodeId)), []);
        let start = Recovered::default();
        cluster.learn(Fact::Started { node, recovered: &start, applied: EntryId::ZERO });
        let alone = Membership::of_voters([node]);
        let change = Payload::Membership(alone.clone().into());
        let mut told = entries(&[(1, 1), (1, 2)]);
        told.push(Entry { id: EntryId::new(1, 3), payload: change });
        for record in [Record::Append(told), Record::Compact(EntryId::new(1, 2))] {
            cluster.learn(Fact::Recorded { node, record: &record });
        }
        for index in [1, 2] {
            assert!(cluster.deciding(EntryId::new(1, index)).contains(&&alone), "entry {index}");
        }
    }
}
