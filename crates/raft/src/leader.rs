//! Leaders: replication, commitment and reads. Who takes over is in `handover.rs`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use quorate_planted::planted;

use crate::attendance::Attendance;
use crate::commit;
use crate::core::Core;
use crate::effects::{Event, ProposeError, ReadError, SnapshotPiece, SnapshotRequest};
use crate::few::Few;
use crate::handover::{DiskCheck, Transfer};
use crate::lease::Tenure;
use crate::message::{
    AppendReply, Body, Heartbeat, HeartbeatReply, Payload, ReadId, ReadIndexReply, SnapshotReply,
};
use crate::progress::{Attempt, Inflight, Peer, Progress};
use crate::pulse::Pulse;
use crate::quiet::Idleness;
use crate::quorum;
use crate::read::{PendingRead, Reads};
use crate::replication::{replicate_to, send_empty_append, share_commit};
use crate::role::Next;
use crate::snapshot::Outgoing;
use crate::status::{PeerStatus, ProgressKind};
use crate::types::{DiskId, EntryId, Index, LogSpan, NodeId, Time};
use crate::witness;

/// A member that leads.
#[derive(Debug)]
pub(crate) struct Leader {
    /// All other members, followers and learners.
    pub(crate) peers: Few<Peer>,
    pub(crate) reads: Reads,
    /// Its lease.
    pub(crate) tenure: Tenure,
    /// How quick the group is.
    pub(crate) pulse: Pulse,
    /// Whether an entry of this term is committed, and with it all of the terms before: until then
    /// the commit index may be older than what was acknowledged to clients.
    pub(crate) is_commit_known: bool,
    /// What the entries in `(commit, last]` cost, in bytes.
    pub(crate) uncommitted_bytes: usize,
    pub(crate) transfer: Option<Transfer>,
    pub(crate) heartbeat_at: Time,
    pub(crate) attendance: Attendance,
    /// How the disks stood at the last check.
    pub(crate) disk_check: DiskCheck,
    /// How far it is from being quiet.
    pub(crate) idleness: Idleness,
}

impl Leader {
    /// Begins the present term: the first entry appended, and sent with the news to everybody.
    pub(crate) fn new(core: &mut Core) -> Self {
        let next = core.log.last().index.next();
        let peers = core
            .membership()
            .members()
            .into_iter()
            .filter(|id| *id != core.id)
            .map(|id| (id, Peer::new(next)))
            .collect();
        core.append_own([Payload::Noop]);
        let mut leader = Self {
            peers,
            reads: Reads::default(),
            tenure: Tenure::new(core.lease, core.election.floor()),
            pulse: Pulse::default(),
            is_commit_known: planted!(ReadBeforeFirstCommit),
            uncommitted_bytes: core.log.bytes_after(core.commit),
            transfer: None,
            heartbeat_at: core.next_heartbeat(),
            attendance: Attendance::new(core.now, core.election.minimum()),
            disk_check: DiskCheck::nobody_ahead(core),
            idleness: Idleness::new(core.now),
        };
        leader.replicate(core);
        leader
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Time {
        if self.idleness.is_quiet {
            return Time::NEVER;
        }
        let transfer = self.transfer.map_or(Time::NEVER, |transfer| transfer.give_up_at);
        self.heartbeat_at.min(self.attendance.until()).min(transfer)
    }

    /// Does what is due.
    pub(crate) fn on_timeout(&mut self, core: &mut Core) -> Next {
        let was_transferring = self.transfer.is_some();
        if core.now >= self.attendance.until() {
            let next = self.check_quorum(core);
            if next != Next::Stay {
                return next;
            }
        }
        if let Some(transfer) = self.transfer
            && core.now >= transfer.give_up_at
        {
            self.abort_transfer(core, "it took an election timeout");
        }
        if core.now >= self.heartbeat_at {
            self.heartbeat_at = core.next_heartbeat();
            self.repeat_what_is_unanswered(core);
            if let Some(transfer) = &mut self.transfer
                && was_transferring
            {
                transfer.told = false;
            }
            self.advance_transfer(core);
            self.advance_change(core);
            self.forget_departed(core);
            self.compact(core);
            self.reads_begin_round(core);
            self.heartbeat(core);
        }
        Next::Stay
    }

    /// Gives up if no quorum confirmed it for an election timeout: the others may have a new leader, and clients
    /// should not wait here.
    ///
    /// A member whose disk stands is of no quorum: it does not confirm (see [`Core::disk_stands`]). So a
    /// leader that can commit nothing, as too many disks stand, gives up two to three election timeouts
    /// after the last of them finished something, and holds nobody in a group that stands still. No election
    /// follows as long as that lasts, since those members do not say that they would vote either.
    fn check_quorum(&mut self, core: &mut Core) -> Next {
        let since = self.attendance.since();
        if !self.has_quorum_since(core, since, true) && !planted!(QuorumNeverMissed) {
            return lost_quorum(core);
        }
        // A silent follower should not keep a snapshot alive at the host.
        let was_heard = |peer: &Peer| peer.heard.is_some_and(|heard| heard >= since);
        for (id, peer) in self.peers.iter_mut() {
            if matches!(peer.progress, Progress::Snapshot(_)) && !was_heard(peer) {
                core.effects.snapshots.push(SnapshotRequest::Release { to: *id });
                peer.progress = Progress::probe(core.log.base().index.next());
            }
        }
        self.attendance.begin_next(core.now, core.election.minimum());
        // This member counts itself by the same measure, but hands over first, as a successor is there
        // at once then; and gives up if by the next time that has come to nothing. Who is alone has
        // nobody to give up to.
        let hands_over = self.check_disk(core);
        let is_alone = quorum::has_quorum(core.membership(), |id| id == core.id);
        if !core.disk_stands()
            || hands_over
            || is_alone
            || self.has_quorum_since(core, since, false)
            || planted!(HungDiskConfirms)
        {
            return Next::Stay;
        }
        lost_quorum(core)
    }

    /// Whether a quorum has confirmed this leader since then, with or without itself.
    fn has_quorum_since(&self, core: &Core, since: Time, with_itself: bool) -> bool {
        let has_confirmed = |peer: &Peer| peer.confirmed.is_some_and(|at| at >= since);
        quorum::has_quorum(core.membership(), |id| match self.peers.get(&id) {
            Some(peer) => has_confirmed(peer) && core.membership().counts(id, peer.rejoining),
            None => id == core.id && with_itself,
        })
    }

    /// Whether a member is there.
    pub(crate) fn is_active(&self, peer: &Peer) -> bool {
        self.attendance.is_active(peer)
    }

    /// Whether a member is there, and would not have to rejoin first if it had a vote.
    pub(crate) fn is_able(&self, peer: &Peer) -> bool {
        self.is_active(peer) && peer.rejoining.is_none()
    }

    /// Whether an entry of this term is committed.
    pub(crate) fn is_commit_known(&self) -> bool {
        self.is_commit_known
    }

    /// The other members, and those who leave.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    pub(crate) fn peers_mut(&mut self) -> &mut Few<Peer> {
        &mut self.peers
    }

    pub(crate) fn peer(&self, id: NodeId) -> Option<&Peer> {
        self.peers.get(&id)
    }

    /// More of the log is not committed.
    pub(crate) fn count_uncommitted(&mut self, bytes: usize) {
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_add(bytes);
    }

    /// A member was heard in this term.
    pub(crate) fn hear(&mut self, core: &Core, from: NodeId, rejoining: Option<DiskId>) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.heard = Some(core.now);
            peer.rejoining = rejoining;
            if !core.membership().counts(from, rejoining) {
                // What it acknowledged before may still be counted without harm (`rejoin.rs`), but it
                // is on one disk less than it was.
                peer.counted = Index(0);
            }
        }
    }

    // ---- Proposals -------------------------------------------------------------------------

    /// Appends commands and sends them on, all of them or none.
    pub(crate) fn on_propose(
        &mut self,
        core: &mut Core,
        commands: Vec<Bytes>,
    ) -> Result<LogSpan, ProposeError> {
        if let Some(transfer) = self.transfer.filter(|_| !planted!(ProposedDuringTransfer)) {
            return Err(ProposeError::Transferring(transfer.to));
        }
        let payloads: Vec<Payload> = commands.into_iter().map(Payload::Command).collect();
        let cost = payloads.iter().map(Payload::cost).fold(0, usize::saturating_add);
        let total = self.uncommitted_bytes.saturating_add(cost);
        if total > core.limits.uncommitted_bytes_max && !planted!(LogUnbounded) {
            return Err(ProposeError::Overloaded);
        }
        self.uncommitted_bytes = total;
        let span = core.append_own(payloads);
        self.replicate(core);
        Ok(span)
    }

    // ---- Replication -----------------------------------------------------------------------

    /// Sends to everybody what may be sent.
    pub(crate) fn replicate(&mut self, core: &mut Core) {
        for (id, peer) in self.peers.iter_mut() {
            replicate_to(core, *id, peer);
        }
    }

    /// A follower answered an append.
    pub(crate) fn on_append_reply(&mut self, core: &mut Core, from: NodeId, reply: AppendReply) {
        match reply {
            AppendReply::Accepted { durable } => self.on_acknowledged(core, from, durable),
            AppendReply::Rejected { previous, hint } => {
                self.on_rejected(core, from, previous, hint);
            }
        }
    }

    /// A follower's log equals this one up to `durable`, durably.
    fn on_acknowledged(&mut self, core: &mut Core, from: NodeId, durable: Index) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if durable > core.log.last().index {
            return core.malformed(from, "it acknowledges more than there is");
        }
        if peer.matched <= durable {
            peer.matched_on = peer.rejoining;
        }
        if peer.matched < durable {
            peer.matched = durable;
            peer.confirmed = Some(core.now);
        }
        let counts =
            core.membership().counts(from, peer.rejoining) && peer.counts_from.index <= durable;
        if counts || planted!(RejoiningAcknowledges) {
            peer.may_probe |= peer.counted < durable;
            peer.counted = peer.counted.max(durable);
        }
        match &mut peer.progress {
            // It has the entry before the probe in memory, or this answers something older. Either
            // way there is nothing to send: its disk will speak for itself. To begin again after
            // `matched` would send entries it has, and be answered like this, round and round.
            Progress::Probe { next, .. }
                if peer.matched.next() < *next && !planted!(OldAnswerEndsProbe) => {}
            Progress::Probe { .. } => {
                peer.progress = Progress::Replicate(Inflight::new(peer.matched.next()));
            }
            Progress::Replicate(inflight) => {
                let acknowledged = inflight.acknowledged(peer.matched);
                peer.appends_max = peer.appends_max.saturating_add(acknowledged);
            }
            Progress::Snapshot(_) if core.log.base().index <= peer.matched => {
                core.effects.snapshots.push(SnapshotRequest::Release { to: from });
                peer.progress = Progress::Replicate(Inflight::new(peer.matched.next()));
            }
            Progress::Snapshot(outgoing)
                if outgoing.last.is_some_and(|last| last.index <= peer.matched) =>
            {
                // It has the snapshot, and what comes next was compacted meanwhile.
                *outgoing = Outgoing::default();
                core.effects.snapshots.push(SnapshotRequest::Release { to: from });
                begin_snapshot(core, from, outgoing);
            }
            // An answer to an append from before the snapshot.
            Progress::Snapshot(_) => {}
        }
        self.advance_commit(core);
        if let Some(peer) = self.peers.get_mut(&from) {
            replicate_to(core, from, peer);
            share_commit(core, from, peer);
        }
        self.advance_transfer(core);
    }

    /// A follower does not have the entry that an append followed.
    fn on_rejected(&mut self, core: &mut Core, from: NodeId, previous: Index, hint: EntryId) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        // It denies what it acknowledged, or what it says to have instead shows that it lacks it.
        let lacks_what_matched =
            (previous <= peer.matched || hint.index < peer.matched) && !planted!(LossUnnoticed);
        if lacks_what_matched && peer.rejoining.is_none() && !planted!(LateRejectionCounts) {
            // It lost nothing. This is from before what it acknowledged since.
            return;
        }
        if matches!(peer.progress, Progress::Replicate(_)) && lacks_what_matched {
            if !peer.may_begin_again && !planted!(BeginsAgainForEachAnswer) {
                return;
            }
            // Either the answer is an old one, or the member lost its disk. To believe the second can
            // do no harm: nothing is known to match until something is accepted, nothing that is
            // committed is taken back, and one empty append settles it.
            peer.may_begin_again = false;
            peer.matched = Index(0);
            let next = core.log.may_match(hint).map_or(core.log.base(), |found| found).index.next();
            peer.progress = Progress::Probe { next, attempt: Attempt::Again };
            return replicate_to(core, from, peer);
        }
        let is_stale = match &peer.progress {
            Progress::Probe { next, .. } => previous.next() != *next,
            Progress::Replicate(inflight) => previous <= peer.matched || previous >= inflight.next,
            Progress::Snapshot(_) => true,
        };
        if is_stale {
            return;
        }
        if let Progress::Replicate(inflight) = &peer.progress {
            if !peer.may_probe && !planted!(WindowForEachRejection) {
                return;
            }
            peer.may_probe = false;
            let least = if planted!(WindowCloses) { 0 } else { Peer::APPENDS_MIN };
            if !planted!(WindowNeverShrinks) {
                peer.appends_max = (inflight.messages() / 2).max(least);
            }
        }
        let Some(before) = previous.previous() else {
            return core.malformed(from, "it rejects the beginning of the log");
        };
        if lacks_what_matched {
            // It lost its disk while it was probed. To insist on what matched before would be to
            // send one probe for ever, as fast as the network answers.
            peer.matched = Index(0);
        }
        // Where this log may still agree with one that ends with the hint, but before what was
        // rejected (so that each answer brings it nearer) and not before what is known to match.
        let limit = EntryId { term: hint.term, index: hint.index.min(before) };
        match core.log.may_match(limit) {
            Some(found) => {
                let next = found.index.max(peer.matched).next();
                peer.progress = Progress::probe(next);
            }
            None if core.log.base().index <= peer.matched => {
                peer.progress = Progress::probe(peer.matched.next());
            }
            None => {
                let mut outgoing = Outgoing::default();
                core.report(Event::SnapshotStarted { to: from });
                begin_snapshot(core, from, &mut outgoing);
                peer.progress = Progress::Snapshot(outgoing);
            }
        }
        replicate_to(core, from, peer);
    }

    /// Sends again what a whole heartbeat interval brought no answer to. To whoever is down or slow
    /// this costs a few bytes: entries are sent only to those who say that they lack them.
    fn repeat_what_is_unanswered(&mut self, core: &mut Core) {
        for (id, peer) in self.peers.iter_mut() {
            peer.may_begin_again = true;
            peer.may_probe = true;
            match &mut peer.progress {
                Progress::Probe { attempt, .. } => {
                    if *attempt == Attempt::Sent {
                        *attempt = Attempt::Again;
                    }
                    replicate_to(core, *id, peer);
                }
                Progress::Replicate(inflight) => {
                    let stalled = inflight.messages() > 0 && !inflight.moved;
                    inflight.moved = false;
                    if stalled && !planted!(LastAppendNotRepeated) {
                        // If the last append was lost, this one is rejected, and says from where.
                        // If the disk there is slow, this one is accepted, and changes nothing.
                        send_empty_append(core, *id, peer);
                    }
                }
                Progress::Snapshot(outgoing) => {
                    if let Some(chunk) = outgoing.still_unanswered()
                        && !planted!(SnapshotPieceNotRepeated)
                    {
                        core.send(*id, Body::Snapshot(Box::new(chunk.clone())));
                    }
                }
            }
        }
    }

    // ---- Commitment ------------------------------------------------------------------------

    /// Something became durable here, which counts as an acknowledgement of this member.
    pub(crate) fn on_written(&mut self, core: &mut Core) {
        self.advance_commit(core);
    }

    fn advance_commit(&mut self, core: &mut Core) {
        let is_alone = self.peers.is_empty();
        let trusts_memory =
            planted!(LeaderCountsUnsynced) || planted!(LoneMemberAcknowledgesUnsynced) && is_alone;
        let durable = |id: NodeId| match self.peers.get(&id) {
            Some(peer) => peer.counted,
            None if id == core.id && trusts_memory => core.log.last().index,
            None if id == core.id => core.log.durable(),
            None => Index(0),
        };
        let old = core.commit;
        let Some(new) = commit::advance(core.membership(), &core.log, core.term(), old, durable)
        else {
            return;
        };
        if !core.may_commit(new) {
            return;
        }
        let committed: usize = core.log.span(old, new).map(crate::Entry::cost).sum();
        self.uncommitted_bytes = self
            .uncommitted_bytes
            .checked_sub(committed)
            .expect("what is committed was counted as uncommitted before");
        core.commit_to(new);
        self.is_commit_known = true;
        self.advance_change(core);
        for (id, peer) in self.peers.iter_mut() {
            replicate_to(core, *id, peer);
            share_commit(core, *id, peer);
        }
        self.begin_reads(core);
    }

    /// The machine holds more entries durably.
    pub(crate) fn on_compactable(&mut self, core: &mut Core) {
        self.compact(core);
    }

    /// Forgets entries that the machine holds durably and no active follower needs, and beyond the
    /// limit also those that one needs: it gets a snapshot then.
    fn compact(&mut self, core: &mut Core) {
        let needed = self
            .peers
            .values()
            .filter(|peer| self.is_active(peer))
            .map(|peer| match &peer.progress {
                Progress::Probe { .. } | Progress::Replicate(_) => peer.matched,
                Progress::Snapshot(outgoing) => {
                    outgoing.last.map_or(peer.matched, |last| last.index)
                }
            })
            .min()
            .unwrap_or(core.compactable);
        let mut through = core.compactable.min(needed).max(core.log.base().index);
        let dropped: usize =
            core.log.span(core.log.base().index, through).map(crate::Entry::cost).sum();
        let mut excess =
            (core.log.bytes() - dropped).saturating_sub(core.limits.retained_bytes_max);
        while excess > 0 && through < core.compactable {
            through = through.next();
            let entry = core.log.get(through).expect("what is compactable is in the log");
            excess = excess.saturating_sub(entry.cost());
        }
        core.compact_log(through);
    }

    // ---- Heartbeats and reads --------------------------------------------------------------

    fn heartbeat(&mut self, core: &mut Core) {
        let round = self.reads.enter_round();
        let pace = self.pulse.begin(core, round);
        let quiet = self.proposes_quiet(core, round);
        let hold = self.tenure.begin(core.now, round);
        for (id, peer) in self.peers.iter_mut() {
            let mut commit = core.commit.min(peer.matched);
            if planted!(HeartbeatCommitsUnmatched) {
                commit = core.commit;
            }
            peer.commit_sent = peer.commit_sent.max(commit);
            core.send(*id, Body::Heartbeat(Heartbeat { commit, round, pace, hold, quiet }));
        }
    }

    /// A follower confirmed a round.
    pub(crate) fn on_heartbeat_reply(
        &mut self,
        core: &mut Core,
        from: NodeId,
        reply: HeartbeatReply,
    ) {
        if reply.round > self.reads.round() {
            return core.malformed(from, "it confirms a round that has not begun");
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        self.pulse.answered(core, from, reply);
        peer.confirmed = Some(core.now);
        let counts =
            core.membership().counts(from, peer.rejoining) && peer.counts_from.round <= reply.round;
        if counts || planted!(RejoiningConfirmsReads) {
            peer.round = peer.round.max(reply.round);
            self.tenure.answered(core.now, from, reply.round, reply.held);
            if peer.counted < peer.matched {
                // It counts again. What it acknowledged while it did not, it has to say once more.
                send_empty_append(core, from, peer);
            }
        }
        if reply.quiet {
            peer.quiet_round = peer.quiet_round.max(reply.round);
        }
        self.answer_confirmed_reads(core);
        self.begin_reads(core);
        self.may_fall_quiet(core);
    }

    /// A read arrived, of this member or of a follower.
    pub(crate) fn on_read(&mut self, core: &mut Core, id: ReadId, asked_by: Option<NodeId>) {
        if self.idleness.is_quiet && planted!(QuietReadUnconfirmed) {
            return answer_read(core, PendingRead { id, asked_by }, Ok(core.commit));
        }
        if !self.reads.add(PendingRead { id, asked_by }, core.limits.pending_reads_max) {
            return answer_read(core, PendingRead { id, asked_by }, Err(ReadError::Overloaded));
        }
        self.begin_reads(core);
    }

    /// Whether this leader holds a lease at this moment, and knows what is committed.
    pub(crate) fn is_leased(&self, core: &Core) -> bool {
        self.is_commit_known && self.tenure.holds(core.now, core.membership(), core.id)
    }

    /// Answers the reads that wait, or begins a round for them.
    fn begin_reads(&mut self, core: &mut Core) {
        if self.reads.has_waiting() && self.is_leased(core) {
            for read in self.reads.take_waiting() {
                answer_read(core, read, Ok(core.commit));
            }
        }
        if self.reads.wants_round() && self.reads_begin_round(core) {
            self.heartbeat(core);
            // A leader that is a quorum by itself needs nobody's answer.
            self.answer_confirmed_reads(core);
        }
    }

    /// Begins a round for the reads that wait, if the commit index is known to be current.
    fn reads_begin_round(&mut self, core: &Core) -> bool {
        if self.is_commit_known {
            self.reads.begin_round(core.commit);
        }
        self.is_commit_known
    }

    fn answer_confirmed_reads(&mut self, core: &mut Core) {
        let peers = &self.peers;
        loop {
            let confirmed = self.reads.take_confirmed(|round| {
                let needed = round - u64::from(planted!(ReadConfirmedByEarlierRound));
                quorum::has_quorum(core.membership(), |id| {
                    id == core.id
                        || peers.get(&id).is_some_and(|peer| peer.round >= needed)
                        || planted!(ReadUnconfirmed)
                })
            });
            let Some((index, reads)) = confirmed else { return };
            for read in reads {
                answer_read(core, read, Ok(index));
            }
        }
    }

    // ---- Snapshots -------------------------------------------------------------------------

    /// The host read a piece.
    pub(crate) fn on_snapshot_ready(&mut self, core: &mut Core, piece: SnapshotPiece) {
        let Some(peer) = self.peers.get_mut(&piece.to) else { return };
        // Whatever does not fit answers an earlier request, of a transfer that is over.
        if let Progress::Snapshot(outgoing) = &mut peer.progress
            && let Some(chunk) = outgoing.take(piece.chunk)
        {
            core.send(piece.to, Body::Snapshot(Box::new(chunk.clone())));
        }
    }

    /// A follower took a piece, or says where it stands.
    pub(crate) fn on_snapshot_reply(
        &mut self,
        core: &mut Core,
        from: NodeId,
        reply: SnapshotReply,
    ) {
        let (last, cursor) = match reply {
            SnapshotReply::Installed { durable } => {
                self.on_acknowledged(core, from, durable);
                if let Some(peer) = self.peers.get_mut(&from)
                    && let Progress::Snapshot(outgoing) = &mut peer.progress
                    && !planted!(IgnoredPieceWaits)
                    && let Some(chunk) = outgoing.after_another(durable)
                {
                    core.send(from, Body::Snapshot(Box::new(chunk.clone())));
                }
                return;
            }
            SnapshotReply::Continue { last, cursor } => (last, cursor),
        };
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let Progress::Snapshot(outgoing) = &mut peer.progress else { return };
        // While the host reads there is nothing on the way that this could answer, but a repeated
        // piece; and the piece that is on the way is repeated by the heartbeat.
        let Some(sent) = &outgoing.sent else { return };
        if outgoing.last != Some(last) || cursor == outgoing.cursor {
            return;
        }
        // An answer leads on to the next piece. One that asks for any other may be a late one, and to
        // follow it back would make two transfers of one, then four. Only who goes on asking, when a
        // piece had to be repeated, has lost its place: it has restarted.
        let is_late = sent.next.as_ref() != Some(&cursor) && outgoing.unanswered < 2;
        if is_late && !planted!(SnapshotTurnsBack) {
            return;
        }
        if core.membership().is_witness(from) {
            // Its snapshot is one piece. It has not taken it, and will have it again.
            return;
        }
        outgoing.seek(cursor.clone());
        core.read_snapshot(from, Some(last), cursor);
    }

    // ---- The end ---------------------------------------------------------------------------

    /// Ends what only a leader can do: reads fail, snapshots are released, a transfer is over.
    pub(crate) fn retire(&mut self, core: &mut Core) {
        for read in self.reads.take_all() {
            answer_read(core, read, Err(ReadError::LeaderChanged));
        }
        for (id, peer) in self.peers.iter() {
            if matches!(peer.progress, Progress::Snapshot(_)) {
                core.effects.snapshots.push(SnapshotRequest::Release { to: *id });
            }
        }
        self.transfer = None;
    }

    /// The followers and learners as they stand.
    pub(crate) fn peer_status(&self, core: &Core) -> Vec<PeerStatus> {
        let membership = core.membership();
        let status = |(id, peer): (&NodeId, &Peer)| {
            let (progress, inflight) = match &peer.progress {
                Progress::Probe { .. } => (ProgressKind::Probe, None),
                Progress::Replicate(inflight) => (ProgressKind::Replicate, Some(inflight)),
                Progress::Snapshot(_) => (ProgressKind::Snapshot, None),
            };
            PeerStatus {
                id: *id,
                matched: peer.matched,
                progress,
                inflight_messages: inflight.map_or(0, Inflight::messages),
                inflight_bytes: inflight.map_or(0, Inflight::bytes),
                active: self.is_active(peer),
                rejoining: peer.rejoining.is_some(),
                counts: !membership.is_voter(*id) || membership.counts(*id, peer.rejoining),
                caught_up: self.has_caught_up(core, *id),
            }
        };
        self.peers.iter().map(status).collect()
    }
}

/// Has the first piece of a snapshot read and sent. A witness wants none of the state: only where the log begins.
fn begin_snapshot(core: &mut Core, to: NodeId, outgoing: &mut Outgoing) {
    if !core.membership().is_witness(to) {
        return core.read_snapshot(to, None, Bytes::new());
    }
    let chunk = witness::snapshot(core);
    if let Some(chunk) = outgoing.take(Box::new(chunk)) {
        core.send(to, Body::Snapshot(Box::new(chunk.clone())));
    }
}

fn lost_quorum(core: &mut Core) -> Next {
    core.report(Event::LostQuorum { term: core.term() });
    Next::Follow { term: core.term(), leader: None }
}

fn answer_read(core: &mut Core, read: PendingRead, result: Result<Index, ReadError>) {
    match read.asked_by {
        None => core.answer_read(read.id, result),
        Some(follower) => {
            let reply = ReadIndexReply { id: read.id, index: result.ok() };
            core.send(follower, Body::ReadIndexReply(reply));
        }
    }
}
