//! One process: the production code of a member, and the queues that a host has around it.
//!
//! The same pieces in the same places as in a real host: an inbox before the node, a log that
//! makes batches durable in the background, an applier with jobs before it. Only that nothing here
//! runs by itself; the [`world`](crate::world) says when each piece has its turn.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_mvcc::{Outcome, RangeResponse};
use quorate_node::{
    Applied, Applier, ApplyJob, Begin, Desired, Effects, Fault, Feedback, GroupConfig, Input, Node,
    NodeConfig, Replacement, Replacer, Report, Step,
};
use quorate_raft::{
    EntryId, GroupId, Membership, NodeId, Persist, Record, Seq, SnapshotRequest, Time,
};

use crate::engine::{self, MachineOptions, Reading, SharedEngine, Traced};
use crate::oracle::RequestId;
use crate::rider::{self, Rides};

/// The only group of a run.
pub const GROUP: GroupId = GroupId(1);

/// Members compare their states this often, in entries: a run is short, and to compare more often than a
/// production group finds nothing else.
const AUDITS_EVERY: u64 = 64;

/// A running member.
pub struct Process {
    node: Node<RequestId>,
    applier: Applier<(EntryId, Outcome)>,
    reading: Reading,
    effects: Effects<RequestId>,
    /// Inputs that wait for the next turn of the node.
    inbox: VecDeque<Input<RequestId>>,
    /// Records that wait for the log.
    unwritten: VecDeque<Persist>,
    /// The last record of the batch that is being synced.
    syncing: Option<Seq>,
    /// How many records the batch has.
    batch: usize,
    jobs: VecDeque<ApplyJob<RequestId>>,
    /// Whether pieces of a snapshot have come and the last one has not been installed.
    installing: bool,
    /// Whether it fetches what its storage lacks, and takes no part yet.
    healing: bool,
    /// Watches for voters that have failed, if the member is to.
    replacer: Option<Replacer>,
}

impl Process {
    /// Starts a member on what its disk remembers.
    pub(crate) fn start(
        config: NodeConfig,
        group: GroupConfig,
        begin: Begin,
        (engine, rides): (&SharedEngine, Option<&dyn Rides>),
        options: MachineOptions,
        now: Time,
    ) -> Result<Self, Fault> {
        let (mut machine, reading) = engine::open(engine, options)?;
        if group.witness {
            machine = Box::new(engine.witness()?);
        } else if let Some(rides) = rides {
            machine = rider::mount(machine, rides, engine, options.piece_bytes_max)?;
        }
        let membership = group.membership.clone();
        let applier = Applier::new(machine, membership).with_audits_every(AUDITS_EVERY);
        let applied = applier.machine().durable();
        let mut node = Node::new(config);
        let healing = matches!(begin, Begin::Healing(_));
        match begin {
            Begin::Whole(recovered) => node.add_group(group, recovered, applied, now),
            Begin::Healing(salvage) => node.add_healing_group(group, salvage, applied, now),
        }
        Ok(Self {
            node,
            applier,
            reading,
            effects: Effects::default(),
            inbox: VecDeque::new(),
            unwritten: VecDeque::new(),
            syncing: None,
            batch: 0,
            jobs: VecDeque::new(),
            installing: false,
            healing,
            replacer: None,
        })
    }

    /// Replaces, while it leads, voters that have failed for so long.
    #[must_use]
    pub fn replacing(mut self, after: Option<Duration>) -> Self {
        self.replacer = after.map(Replacer::new);
        self
    }

    /// Which voter makes way for which learner now, if this member leads and one does.
    pub fn replacement(&mut self, now: Time) -> Option<Replacement> {
        let replacer = self.replacer.as_mut()?;
        let found = self.node.replacement(GROUP, now, replacer, |_| true)?;
        replacer.replaced(now);
        Some(found)
    }

    /// What is to be done next so that these are the members.
    pub fn toward(&self, desired: &Desired) -> Step {
        self.node.toward(GROUP, desired).expect("the group is there")
    }

    /// Puts something into the inbox of the node.
    pub fn post(&mut self, input: Input<RequestId>) {
        self.inbox.push_back(input);
    }

    /// Takes in what is in the inbox, one input at a time. What each asks for is handed to `seen`
    /// before the next one, so that an observer sees everything in its order. It takes out what goes to others.
    pub fn turn<E>(
        &mut self,
        now: Time,
        mut seen: impl FnMut(&mut Effects<RequestId>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(input) = self.inbox.pop_front() {
            self.node.step(now, input, &mut self.effects);
            self.pass_on(&mut seen)?;
        }
        self.node.flush(now, &mut self.effects);
        self.pass_on(&mut seen)
    }

    /// Hands on what the node asks for, if it asks for anything.
    fn pass_on<E>(
        &mut self,
        seen: &mut impl FnMut(&mut Effects<RequestId>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.effects.is_empty() {
            seen(&mut self.effects)?;
            self.queue_effects();
        }
        Ok(())
    }

    /// Lets what the log and the applier are to do wait for them.
    fn queue_effects(&mut self) {
        let Effects { persist, apply, .. } = &mut self.effects;
        self.unwritten.extend(persist.drain(..).map(|(_, persist)| persist));
        for (_, job) in apply.drain(..) {
            match &job {
                ApplyJob::Entries { .. } => self.installing = false,
                ApplyJob::Snapshot(SnapshotRequest::Write(_)) => self.installing = true,
                ApplyJob::Snapshot(_) | ApplyJob::HealSnapshot(_) | ApplyJob::Reads(_) => {}
            }
            self.jobs.push_back(job);
        }
    }

    /// Whether a snapshot is being received, piece by piece.
    pub fn is_installing(&self) -> bool {
        self.installing
    }

    /// Whether the member fetches what its storage lacks.
    pub fn is_healing(&self) -> bool {
        self.healing
    }

    /// The log is what the member has healed to.
    pub fn healed(&mut self) {
        self.healing = false;
        self.post(Input::Healed { group: GROUP });
    }

    /// When the node wants a turn without any input.
    pub fn deadline(&self) -> Time {
        self.node.deadline()
    }

    /// Whether anything waits in the inbox.
    pub fn has_input(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Takes everything that waits for the log, unless a batch is being synced already. The batch is
    /// synced from now on, until [`Process::synced`].
    pub fn begin_batch(&mut self) -> Option<Vec<Record>> {
        if self.syncing.is_some() || self.unwritten.is_empty() {
            return None;
        }
        self.syncing = self.unwritten.back().map(|persist| persist.seq);
        self.batch = self.unwritten.len();
        Some(self.unwritten.drain(..).map(|persist| persist.record).collect())
    }

    /// The last number of the batch that is being synced.
    pub fn syncing(&self) -> Option<Seq> {
        self.syncing
    }

    /// The batch is durable: returns how many records it had.
    pub fn synced(&mut self) -> (Seq, usize) {
        let seq = self.syncing.take().expect("a batch is being synced");
        (seq, std::mem::take(&mut self.batch))
    }

    /// Whether the applier has something to do.
    pub fn has_job(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Does the applier's next job, and puts what it reports into the inbox.
    pub fn apply(&mut self) -> Result<AppliedJob, Fault> {
        let job = self.jobs.pop_front().expect("the applier has something to do");
        let mut applied = Applied::default();
        self.applier.run(job, &mut applied)?;
        let mut states = Vec::new();
        for feedback in applied.feedback {
            if let Feedback::Audited(report) = &feedback {
                states.push(*report);
            }
            self.inbox.push_back(Input::Applied { group: GROUP, feedback });
        }
        Ok(AppliedJob {
            outcomes: applied.outcomes,
            reads: applied.reads,
            unseen: applied.unseen,
            trace: self.reading.take_trace(),
            states,
        })
    }

    /// Makes the machine durable, as an engine does by itself now and then, and reports it.
    pub fn flush_machine(&mut self) -> Result<(), Fault> {
        self.applier.machine_mut().flush()?;
        let (applied, durable) = (self.applied().index, self.durable().index);
        let feedback = Feedback::Progress { applied, durable };
        self.inbox.push_back(Input::Applied { group: GROUP, feedback });
        Ok(())
    }

    /// How far the machine has applied.
    pub fn applied(&self) -> EntryId {
        self.applier.machine().applied()
    }

    /// How far the machine is durable.
    pub fn durable(&self) -> EntryId {
        self.applier.machine().durable()
    }

    /// Reads a key from the machine, as a client's read does.
    pub fn read(&self, key: &bytes::Bytes) -> RangeResponse {
        self.reading.read(key)
    }

    /// What readers and watchers see of the machine.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Who belongs to the group, as far as its log tells.
    pub fn membership(&self) -> &Membership {
        self.node.membership(GROUP).expect("the group is there")
    }

    /// What the algorithm says of itself.
    pub fn status(&self) -> quorate_raft::Status {
        self.node.status(GROUP).expect("the group is there").raft
    }
}

/// What came of a job.
#[derive(Debug)]
pub struct AppliedJob {
    /// Outcomes for clients of this node, with the position of the command.
    pub outcomes: Vec<(RequestId, (EntryId, Outcome))>,
    /// Clients that may read now, and how stale that is at most.
    pub reads: Vec<(RequestId, Option<Duration>)>,
    /// Clients whose command is hidden in a snapshot.
    pub unseen: Vec<RequestId>,
    /// Everything that was applied, whoever asked for it.
    pub trace: Vec<Traced>,
    /// What the machine's state is at the places where members compare theirs.
    pub states: Vec<Report>,
}

/// The id that names a member in all runs.
pub fn node_id(position: u64) -> NodeId {
    NodeId(position + 1)
}
