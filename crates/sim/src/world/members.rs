//! Processes: how they start, take their turns, and crash; and what becomes of all they ask for.

use std::sync::Arc;
use std::time::Duration;

use quorate_check::Violation;
use quorate_check::cluster::{self, Fact};
use quorate_node::{
    About, ApplyJob, Begin, Effects, Envelope, EnvelopeBody, Feedback, GroupConfig, Healed,
    Incarnation, Input, News, NodeConfig, Priority,
};
use quorate_raft::{
    AppendReply, Body, DiskId, EntryId, NodeId, Payload, Persist, Record, Recovered, RoleKind,
    Salvage, Time,
};

use super::{Event, Outcome, World, churn, storage_of};
use crate::chance::Chance;
use crate::coverage::{Fault, Stage};
use crate::engine::MachineOptions;
use crate::model::Request;
use crate::net::Delivery;
use crate::oracle::RequestId;
use crate::process::{GROUP, Process, node_id};
use crate::sabotage::Sabotage;
use crate::settings::Settings;
use crate::storage::Trouble;

impl World {
    pub(super) fn start(&mut self, id: NodeId) -> Outcome {
        if self.options.extremes.processes.mixed_settings {
            let before = self.places[&id].settings.election_timeout;
            let mut settings =
                Settings::drawn(&self.options, &mut self.extreme, &mut self.policies);
            if settings.leader_lease.is_some() {
                // What its last process promised lasts for as long as that one's timeout.
                settings.election_timeout = settings.election_timeout.max(before);
            }
            self.place(id).settings = settings;
        }
        let settings = self.places[&id].settings;
        let group = GroupConfig {
            group: GROUP,
            membership: self.membership_of(id),
            heartbeat_interval: settings.heartbeat,
            election_timeout: settings.election_timeout,
            election_policy: settings.election_policy,
            quiet_after: settings.quiet_after,
            limits: settings.limits,
            rejoining: self.places[&id].rejoining,
            lease: settings.leader_lease,
            witness: self.is_witness(id),
        };
        let mut config = NodeConfig::new(id, self.chance.number(), self.chance.number());
        config.request_timeout = settings.request_timeout;
        config.pending_max = settings.pending_max;
        config.leader_priority = self.priority_of(id);
        let (sabotage, now) = (self.sabotage, self.now);
        let looks = self.sabotage != Some(Sabotage::FailureUnseen);
        let replace_after = self.options.replace_after.filter(|_| looks);
        let machine_options = MachineOptions {
            piece_bytes_max: self.options.snapshot_piece_bytes_max,
            ring_bytes: self.options.watches.map(|watches| watches.ring_bytes),
            differs: self.sabotage == Some(Sabotage::StateDiffers) && id == node_id(0),
        };
        let place = self.place(id);
        let (machine, _) = place.storage.engine.kept();
        let opened = place.storage.open();
        self.note_failure(id);
        let remembered = match opened {
            Ok(remembered) => remembered,
            Err(trouble) => return self.cannot_start(id, &trouble),
        };
        let Some(mut begin) = self.how_to_begin(id, remembered, machine)? else { return Ok(()) };
        if let Begin::Whole(recovered) = &mut begin
            && sabotage == Some(Sabotage::VoteForgotten)
        {
            recovered.hard_state.vote = None;
        }
        let rides = self.rides.clone();
        let place = self.place(id);
        let local = place.clock.read(now);
        let process = Process::start(
            config,
            group,
            begin.clone(),
            (&place.storage.engine, rides.as_deref()),
            machine_options,
            local,
        )
        .map_err(|fault| Violation::new("recovery", format!("{id} can't start: {fault}")))?;
        let process = process.replacing(replace_after);
        let applied = process.durable();
        place.process = Some(Box::new(process));
        place.processes += 1;
        place.started = now;
        place.machine_durable = applied;
        place.waits_for_room = false;
        self.begin_scrubbing(id);
        self.leases_start(id);
        self.introduce_others(id);
        match begin {
            Begin::Whole(recovered) => self.started(id, &recovered, applied)?,
            Begin::Healing(salvage) => self.trace.line(now, || {
                let Salvage { base, last, lost, .. } = salvage;
                format!("{id} starts at {applied} to heal: log {base} to {last} lacks {lost:?}")
            }),
        }
        self.turn(id)
    }

    /// How much a member is wanted as the leader, in all its lives.
    pub(super) fn priority_of(&self, id: NodeId) -> Priority {
        if !self.options.priorities {
            return Priority::default();
        }
        let drawn = Chance::new(self.favours ^ id.0.rotate_left(32)).below(3);
        u16::try_from(drawn).ok().and_then(Priority::new).expect("it is below three")
    }

    /// A member that starts hears how much the others are wanted as the leader.
    fn introduce_others(&mut self, id: NodeId) {
        if !self.options.priorities {
            return;
        }
        for peer in self.ids() {
            let leader_priority = self.priority_of(peer);
            let about = Arc::new(About { leader_priority, ..About::default() });
            let news = News::Met { peer, incarnation: Incarnation::default(), about };
            let process = self.place(id).process.as_mut().expect("it was started just now");
            process.post(Input::Node(news));
        }
    }

    /// A member takes part from now on, with this log.
    fn started(&mut self, id: NodeId, recovered: &Recovered, applied: EntryId) -> Outcome {
        let place = self.place(id);
        place.has_everything();
        place.flushed = None;
        self.trace.line(self.now, || {
            let (base, last) = (recovered.base, cluster::last(recovered));
            format!("{id} starts at {applied}, log {base} to {last}")
        });
        self.invariants.observe(Fact::Started { node: id, recovered, applied })
    }

    /// What a member has healed to is on its disk now.
    pub(super) fn healed(&mut self, id: NodeId, healed: &Healed) -> Outcome {
        let written = self.place(id).storage.heal(healed);
        self.note_failure(id);
        if let Err(trouble) = written {
            return self.fails(id, "heal its log", &trouble);
        }
        let place = self.place(id);
        let process = place.process.as_mut().expect("it is the current process");
        process.healed();
        let applied = process.durable();
        self.report.healed += 1;
        self.started(id, &healed.recovered, applied)?;
        self.schedule_turn(id);
        Ok(())
    }

    pub(super) fn crash(&mut self, id: NodeId) -> Outcome {
        let mut chance = self.chance.fork();
        self.crash_in(id, None, &mut chance)
    }

    /// The same, after so many calls of a commit that may be under way.
    pub(super) fn crash_in(
        &mut self,
        id: NodeId,
        calls: Option<u64>,
        chance: &mut Chance,
    ) -> Outcome {
        let now = self.now;
        let place = self.place(id);
        if place.process.take().is_none() {
            return Ok(());
        }
        place.storage.crash(calls, chance);
        self.report.crashes += 1;
        self.trace.line(now, || format!("{id} crashes"));
        self.stopped(id)
    }

    /// A process has ended, and everybody who waited for it waits in vain.
    pub(super) fn stopped(&mut self, id: NodeId) -> Outcome {
        let place = self.place(id);
        place.stage = Stage::Down;
        place.is_quiet = false;
        place.wake_at = None;
        place.turn_scheduled = false;
        place.applying = false;
        for event in place.paused.take().into_iter().flatten() {
            match event {
                Event::Arrive(envelope) => self.net.forget(envelope.from, envelope.to),
                Event::LeaseCall(call) => self.forget_way(call.way),
                _ => {}
            }
        }
        self.watchers_lose(id)?;
        self.leases_crash(id);
        for client in 0..self.workload.clients().len() {
            if let Some((request, at)) = self.workload.client_mut(client).waits_for
                && at == id
            {
                self.oracle.lost(request);
                self.rest(client);
            }
        }
        for waiting in [&mut self.proofs, &mut self.chores] {
            let lost: Vec<RequestId> =
                waiting.iter().filter(|(_, at)| **at == id).map(|(id, _)| *id).collect();
            for request in lost {
                waiting.remove(&request);
                self.oracle.lost(request);
            }
        }
        self.invariants.observe(Fact::Stopped { node: id })?;
        self.come_to_light(id)
    }

    /// A member that is down loses its disk, and gets an empty one.
    pub(super) fn wipe(&mut self, id: NodeId) -> Outcome {
        let (now, storage) = (self.now, storage_of(&self.options, self.sabotage));
        self.disks += 1;
        let disk = DiskId(self.disks);
        let unsaid = self.sabotage == Some(Sabotage::LossUnsaid);
        let place = self.place(id);
        assert!(place.process.is_none(), "{id} runs on the disk that is to be lost");
        place.storage = storage;
        place.rejoining = (!unsaid).then_some(disk);
        place.has_everything();
        place.hung = None;
        self.report.wipes += 1;
        self.trace.line(now, || format!("{id} loses its disk"));
        self.invariants.observe(Fact::Wiped { node: id })
    }

    /// Puts something into a node's inbox, if it runs, and sees that it gets a turn.
    pub(super) fn post(&mut self, node: NodeId, input: Input<RequestId>) {
        let Some(process) = &mut self.place(node).process else { return };
        process.post(input);
        self.schedule_turn(node);
    }

    pub(super) fn schedule_turn(&mut self, node: NodeId) {
        let place = self.place(node);
        if place.turn_scheduled {
            return;
        }
        place.turn_scheduled = true;
        let process = place.processes;
        let after = self.compute_time(node, self.options.loop_mean);
        self.schedule(after, Event::Turn { node, process });
    }

    /// Gives a node its turn, and does what it asks for.
    pub(super) fn turn(&mut self, node: NodeId) -> Outcome {
        let now = self.now;
        let place = self.place(node);
        let local = place.clock.read(now);
        let mut process = place.process.take().expect("only a running node has a turn");
        let result = process.turn(local, |effects| self.carry_out(node, effects));
        let deadline = process.deadline();
        let (status, is_healing) = (process.status(), process.is_healing());
        let place = self.place(node);
        place.process = Some(process);
        place.observe_stage(&status);
        let was_quiet = std::mem::replace(&mut place.is_quiet, status.quiet);
        let leads = status.role == RoleKind::Leader;
        self.report.quiet += u64::from(leads && status.quiet && !was_quiet);
        self.report.woken += u64::from(was_quiet && !status.quiet);
        result?;
        if deadline <= local {
            let what =
                format!("{node} at {local:?} wants its next turn at {deadline:?}: {status:?}");
            return Err(Violation::new("deadline", what));
        }
        if !is_healing {
            self.check_status(node, &status)?;
            self.check_tail(node)?;
        }
        self.report.leased += u64::from(status.leased);
        self.lease_turn(node, &status);
        self.begin_batch(node);
        self.begin_job(node);
        self.schedule_wake(node, deadline);
        Ok(())
    }

    pub(super) fn schedule_wake(&mut self, node: NodeId, deadline: Time) {
        let now = self.now;
        let place = self.place(node);
        let Some(at) = place.clock.when(deadline) else { return };
        let at = at.max(now + Duration::from_nanos(1));
        if place.wake_at.is_some_and(|scheduled| scheduled > now && scheduled <= at) {
            return;
        }
        place.wake_at = Some(at);
        let process = place.processes;
        self.schedule(at - now, Event::Wake { node, process });
    }

    /// What the node says of itself must be what the observer saw it do.
    pub(super) fn check_status(&mut self, node: NodeId, status: &quorate_raft::Status) -> Outcome {
        let member = self.invariants.cluster().member(node);
        let seen = (member.issued.hard_state.term, cluster::last(&member.issued));
        let said = (status.term, status.last);
        if seen != said {
            let what = format!("{node} says it is at {said:?}, its records say {seen:?}");
            return Err(Violation::new("status", what));
        }
        Ok(())
    }

    /// Observes what a node asks for, and does what is not for its own log and applier.
    pub(super) fn carry_out(&mut self, node: NodeId, effects: &mut Effects<RequestId>) -> Outcome {
        let now = self.now;
        for change in effects.peers.drain(..) {
            self.trace.line(now, || format!("{node} {change:?}"));
        }
        for (_, event) in effects.events.drain(..) {
            let event = &event;
            self.trace.line(now, || format!("{node} {event:?}"));
            match event {
                quorate_raft::Event::BecameLeader { .. } => {
                    self.report.leaders += 1;
                    self.plan_upset(node);
                }
                quorate_raft::Event::BecamePreCandidate { .. } => self.place(node).asks = true,
                quorate_raft::Event::BecameFollower { .. } => self.place(node).asks = false,
                // One that a leader hands over to does not ask first.
                quorate_raft::Event::BecameCandidate { .. } => {
                    self.report.campaigns += u64::from(self.places[&node].asks);
                }
                quorate_raft::Event::SnapshotInstalled { .. } => self.report.snapshots += 1,
                quorate_raft::Event::MembershipChanged { .. } => self.report.memberships += 1,
                quorate_raft::Event::Rejoined { .. } => {
                    self.report.rejoined += 1;
                    self.place(node).rejoining = None;
                }
                // What comes of it is found too, but later.
                quorate_raft::Event::LogLost { .. }
                    if self.sabotage != Some(Sabotage::LossUnsaid) =>
                {
                    return Err(Violation::new("log_lost", format!("{node} has {event:?}")));
                }
                _ => {}
            }
            self.lease_event(event);
            self.check_role(node, event)?;
            self.invariants.observe(Fact::Happened { node, event })?;
        }
        for (_, Persist { record, .. }) in &effects.persist {
            self.trace.line(now, || format!("{node} writes {}", brief(record)));
            self.invariants.observe(Fact::Recorded { node, record })?;
        }
        let committed = effects.apply.iter().filter_map(|(_, job)| match job {
            ApplyJob::Entries { entries, .. } => Some(entries),
            _ => None,
        });
        for entry in committed.flatten() {
            let first = entry.id.index.0 == self.oracle.last().0 + 1;
            self.invariants.observe(Fact::Committed { node, entry })?;
            if first {
                self.trace.line(now, || format!("{node} commits {} first", entry.id));
                if let Payload::Membership(members) = &entry.payload {
                    self.members_committed(members);
                }
                self.oracle.committed(entry)?;
                self.lease_committed()?;
            }
        }
        if let Some((_, healed)) = effects.healed.pop() {
            let process = self.places[&node].processes;
            let after = self.chance.long_tailed(self.options.sync_mean);
            let after = after + self.slow_heal();
            self.schedule(after, Event::Healed { node, process, healed: Box::new(healed) });
        }
        for envelope in effects.send.drain(..) {
            self.send(envelope)?;
        }
        // Whether a change begins is seen by what it does.
        effects.changes.clear();
        for (request, error) in effects.failed.drain(..) {
            if request == churn::CHANGE {
                continue;
            }
            if self.lease_barrier_ended(request, false)?
                || self.sabotage == Some(Sabotage::FailureUntold)
            {
                continue;
            }
            self.trace.line(now, || format!("{node} fails {request:?}: {error:?}"));
            self.oracle.failed(request, error)?;
            self.ended(request, false);
        }
        Ok(())
    }

    pub(super) fn send(&mut self, mut envelope: Envelope) -> Outcome {
        if let EnvelopeBody::Raft(message) = &envelope.body {
            self.report.tails += u64::from(matches!(message.body, Body::Tail(_)));
            self.invariants.observe(Fact::Sent { message })?;
        }
        self.forge(&mut envelope);
        if self.sabotage == Some(Sabotage::HandOverLost) && asks_to_take_over(&envelope) {
            return Ok(());
        }
        let now = self.now;
        let arrivals = self.net.route(now, envelope.from, envelope.to);
        for fault in arrivals.faults() {
            self.note(fault, envelope.to);
        }
        self.trace.line(now, || {
            let fate = if arrivals.is_empty() { "lost" } else { "sent" };
            format!("{fate} {envelope:?}")
        });
        let mut arrivals = arrivals.iter().peekable();
        let mut envelope = Some(Box::new(envelope));
        while let Some(after) = arrivals.next() {
            let copy = if arrivals.peek().is_some() { envelope.clone() } else { envelope.take() };
            self.schedule(after, Event::Arrive(copy.expect("the last one takes it")));
        }
        Ok(())
    }

    pub(super) fn forge(&mut self, envelope: &mut Envelope) {
        let EnvelopeBody::Raft(message) = &mut envelope.body else { return };
        match (&mut message.body, self.sabotage) {
            (Body::VoteReply(reply), Some(Sabotage::ForgedVotes)) => reply.granted = true,
            (Body::AppendReply(reply), Some(Sabotage::ForgedAcknowledgements)) => {
                if let AppendReply::Rejected { previous, .. } = *reply {
                    *reply = AppendReply::Accepted { durable: previous };
                }
            }
            _ => {}
        }
    }

    pub(super) fn arrive(&mut self, envelope: Box<Envelope>) {
        match self.net.deliver(self.now, envelope.from, envelope.to) {
            Delivery::Arrives => self.post(envelope.to, Input::Peer(*envelope)),
            Delivery::Lost => {}
            Delivery::Held(after) => self.schedule(after, Event::Arrive(envelope)),
        }
    }

    pub(super) fn begin_batch(&mut self, node: NodeId) {
        let place = &mut self.places[&node];
        let Some(process) = &mut place.process else { return };
        let Some(records) = process.begin_batch() else { return };
        place.storage.write(records);
        if self.sabotage == Some(Sabotage::DurableBeforeSync) {
            let seq = process.syncing().expect("a batch has just begun");
            process.post(Input::Durable { group: GROUP, seq });
            self.schedule_turn(node);
        }
        self.schedule_sync(node);
    }

    /// Draws when the sync under way ends.
    pub(super) fn schedule_sync(&mut self, node: NodeId) {
        let place = self.place(node);
        place.syncs += 1;
        let (process, sync, factor) = (place.processes, place.syncs, place.disk_factor);
        let mut after = self.chance.long_tailed(self.options.sync_mean) * factor;
        if self.chance.per_mille(self.options.slow_sync_per_mille) {
            self.note(Fault::SlowSync, node);
            after += self.chance.long_tailed(Duration::from_millis(1_000));
        }
        self.schedule(after, Event::Synced { node, process, sync });
    }

    /// How much longer than usual the sync of a healed log takes. It is the only one of a member that heals.
    fn slow_heal(&mut self) -> Duration {
        if !self.rot.per_mille(self.options.slow_sync_per_mille) {
            return Duration::ZERO;
        }
        // It heals for as long as this takes, even if it has only just started.
        self.report.coverage.note(Fault::SlowSync, Stage::Healing);
        self.rot.long_tailed(Duration::from_millis(1_000))
    }

    pub(super) fn synced(&mut self, node: NodeId) -> Outcome {
        if self.waits_for_room(node) {
            return Ok(());
        }
        let synced = self.place(node).storage.sync();
        self.note_failure(node);
        if let Err(trouble) = synced {
            return self.fails(node, "sync", &trouble);
        }
        let place = self.place(node);
        let process = place.process.as_mut().expect("it is the current process");
        let (seq, records) = process.synced();
        process.post(Input::Durable { group: GROUP, seq });
        self.invariants.observe(Fact::Synced { node, records })?;
        self.schedule_turn(node);
        self.begin_batch(node);
        Ok(())
    }

    pub(super) fn begin_job(&mut self, node: NodeId) {
        let place = self.place(node);
        let has_job = place.process.as_deref().is_some_and(Process::has_job);
        if !has_job || place.applying {
            return;
        }
        place.applying = true;
        place.jobs += 1;
        let (process, job) = (place.processes, place.jobs);
        let after = self.compute_time(node, self.options.apply_mean);
        self.schedule(after, Event::Apply { node, process, job });
    }

    pub(super) fn apply(&mut self, node: NodeId) -> Outcome {
        let now = self.now;
        let place = self.place(node);
        place.applying = false;
        let process = place.process.as_mut().expect("it is the current process");
        let fault = |fault| Violation::new("machine", format!("{node} fails: {fault}"));
        let was_applied = process.applied();
        let job = process.apply().map_err(fault)?;
        let applied = process.applied();
        for (id, outcome) in &job.trace {
            self.oracle.applied(node, *id, outcome)?;
        }
        for report in job.states {
            self.states.said(node.0, report.index, report.fingerprint);
            self.states.check()?;
        }
        self.machine_moved(node)?;
        self.wake_watchers(node);
        if was_applied != applied {
            self.leases_published(node)?;
        }
        for (request, (id, outcome)) in job.outcomes {
            self.trace.line(now, || format!("{node} answers {request:?} at {id}"));
            if let Some(client) = self.workload.waiting_for(request) {
                self.latencies.push(now - self.workload.clients()[client].since);
            }
            let key = self.oracle.request(request).and_then(Request::written).cloned();
            self.oracle.acknowledged(request, id, &outcome)?;
            self.note_acknowledged();
            if outcome.result.is_err() {
                // Whoever asked for a lease has none.
                self.lease_command_ended(request, false);
            }
            self.ended(request, true);
            if let Some(key) = key {
                self.doubt(node, &key);
            }
        }
        for (request, staleness) in job.reads {
            if self.lease_barrier_ended(request, true)? {
                continue;
            }
            self.trace.line(now, || format!("{node} reads for {request:?} at {applied}"));
            self.answer_read(node, request, staleness)?;
        }
        for request in job.unseen {
            self.oracle.lost(request);
            self.ended(request, false);
        }
        self.schedule_turn(node);
        self.begin_job(node);
        Ok(())
    }

    pub(super) fn answer_read(
        &mut self,
        node: NodeId,
        request: RequestId,
        staleness: Option<Duration>,
    ) -> Outcome {
        let process = self.places[&node].process.as_ref().expect("it answers");
        let Some(Request::Read { key }) = self.oracle.request(request) else {
            return Err(Violation::new("oracle", format!("{request:?} is no read under way")));
        };
        let response = process.read(key);
        let at = process.applied().index;
        if let Some(asked) = self.stale_reads.open.get(&request).copied() {
            let hidden = self.sabotage == Some(Sabotage::StalenessHidden);
            let told = if hidden { Some(Duration::ZERO) } else { staleness };
            self.answer_stale(node, request, asked, told, at)?;
        } else {
            self.oracle.read(request, at, &response)?;
            self.note_acknowledged();
        }
        self.ended(request, true);
        Ok(())
    }

    /// Tells the observer how far the machine is durable now.
    pub(super) fn machine_moved(&mut self, node: NodeId) -> Outcome {
        let place = self.place(node);
        let Some(process) = &place.process else { return Ok(()) };
        let last = process.durable();
        if last == place.machine_durable {
            return Ok(());
        }
        place.machine_durable = last;
        self.invariants.observe(Fact::MachineDurable { node, last })
    }

    /// A machine becomes durable by itself, if its disk takes it. One that has no room takes it when there is
    /// some; one that fails ends the process, as the engine of production does.
    pub(super) fn flush_machine(&mut self, node: NodeId) -> Outcome {
        let again = self.chance.long_tailed(self.options.flush_every);
        self.schedule(again.max(Duration::from_millis(1)), Event::FlushMachine { node });
        let sabotage = self.sabotage;
        let place = self.place(node);
        if place.paused.is_some() || place.hung.is_some() || place.storage.ills().is_full() {
            return Ok(());
        }
        let is_broken = place.storage.ills().is_broken();
        let Some(process) = &mut place.process else { return Ok(()) };
        if is_broken {
            let what = "the disk fails at everything".to_owned();
            let trouble = Trouble { what, is_of_disk: true };
            return self.fails(node, "make its machine durable", &trouble);
        }
        if sabotage == Some(Sabotage::MachineForgets) {
            let applied = process.applied().index;
            let feedback = Feedback::Progress { applied, durable: applied };
            process.post(Input::Applied { group: GROUP, feedback });
            self.schedule_turn(node);
            return Ok(());
        }
        let fault = |fault| Violation::new("machine", format!("{node} fails: {fault}"));
        process.flush_machine().map_err(fault)?;
        if process.durable() != place.machine_durable {
            place.flushed = Some(process.durable());
        }
        self.machine_moved(node)?;
        self.schedule_turn(node);
        Ok(())
    }
}

fn asks_to_take_over(envelope: &Envelope) -> bool {
    matches!(&envelope.body, EnvelopeBody::Raft(message) if matches!(message.body, Body::TimeoutNow))
}

fn brief(record: &Record) -> String {
    match record {
        Record::Append(entries) => {
            let ids: Vec<_> = entries.iter().map(|entry| entry.id).collect();
            format!("{ids:?}")
        }
        Record::HardState(_) | Record::Compact(_) | Record::Reset(_) => format!("{record:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::Options;
    use crate::trace::Trace;

    #[test]
    fn a_member_that_says_what_its_records_do_not_is_noticed() {
        let options = Options { faulty_for: Duration::from_secs(2), ..Options::calm(3) };
        let mut world = World::new(1, options, None, Trace::off());
        world.begin().expect("all is well");
        world.run_until(Duration::from_millis(900)).expect("all is well");
        let said = world.places[&node_id(0)].process.as_ref().expect("it runs").status();
        world.check_status(node_id(0), &said).expect("it says what it is");
        let mut other = said.clone();
        other.term = other.term.next();
        let violation = world.check_status(node_id(0), &other).expect_err("it is in no such term");
        assert_eq!(violation.property, "status");
        let mut other = said;
        other.last.index = other.last.index.next();
        let violation = world.check_status(node_id(0), &other).expect_err("it has no such entry");
        assert_eq!(violation.property, "status");
    }
}
