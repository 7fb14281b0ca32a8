//! What callers hold.
//!
//! Every method may be called from any thread and awaited on any executor: a call is a message to
//! the raft thread and a channel for the answer, and time limits are kept there. A caller who is the
//! only one may run a round of the raft thread (`turn.rs`), which never blocks. A caller that stops
//! waiting takes nothing back; a command goes its way.

use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use quorate_node::{Desired, Envelope, Freshness, News, Refusal, Step};
use quorate_raft::{GroupId, Index, Membership, NodeId, Seq};
use tokio::sync::{oneshot, watch};

use crate::ask::{AskHandler, Reply};
use crate::changes;
use crate::clock::Clock;
use crate::config::Limits;
use crate::error::{AskError, MembersError, ReconcileError, RequestError, TransferError};
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::permits::{Lane, Permit, Permits};
use crate::reconcile;
use crate::status::HostStatus;
use crate::turn::Seat;
use crate::wire::Of;

/// Everything that can wake the raft thread.
#[derive(Debug)]
pub(crate) enum Signal<O> {
    /// The log is durable up to this number, for each of these groups.
    Durable(Vec<(GroupId, Seq)>),
    /// The log of this group is what the group has healed to.
    Healed(GroupId),
    /// What the applier of a group reports.
    Applied(GroupId, Vec<quorate_node::Feedback>),
    /// A message of another member.
    Peer(Envelope),
    /// A member's answer to a question of this one, if it has any.
    Answer {
        /// Who answers.
        from: NodeId,
        /// The number of the question.
        number: u64,
        /// The answer.
        answer: Option<Bytes>,
    },
    /// Something about a member: a connection to it was made or ended, it said who it is, or another one
    /// told of it.
    Node(News),
    /// A command to replicate.
    Propose(Bytes, Waiter<O>),
    /// A read, of a state that is so new.
    Read(Freshness, Waiter<O>),
    /// A wish to hand leadership over.
    Transfer(Option<NodeId>, oneshot::Sender<Result<(), TransferError>>),
    /// A wish for other members.
    Change(Membership, changes::Reply),
    /// A question to another member.
    Ask(Question),
    /// A wish for the next step toward other members, as [`reconcile::ask`] makes it.
    Step(Bytes, Reply),
    /// A caller that asks again in a moment.
    Rest(oneshot::Sender<()>),
    /// The process is about to end.
    Leave,
}

/// Who waits for the end of a request.
#[derive(Debug)]
pub(crate) enum Waiter<O> {
    /// For the outcome of a command.
    Outcome(oneshot::Sender<Result<O, RequestError>>, Permit),
    /// For a read: until it may look, and how stale what it sees is at most, if that is known.
    Read(oneshot::Sender<Result<Option<Duration>, RequestError>>, Permit),
    /// For the end of a change of members.
    Change(changes::Reply),
    /// Nobody: whoever asked looks again.
    Nobody,
}

/// A question of a caller on this member.
#[derive(Debug)]
pub(crate) struct Question {
    /// To whom; `None` means whoever leads.
    pub(crate) to: Option<NodeId>,
    /// For whom on that member.
    pub(crate) of: Of,
    /// What is asked.
    pub(crate) payload: Bytes,
    /// Where the answer goes.
    pub(crate) reply: oneshot::Sender<Result<Asked, AskError>>,
    /// The right to ask, given back with the answer.
    pub(crate) permit: Permit,
}

/// What came of a question.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A member's answer.
    Answer(Bytes),
    /// This member leads by now: the caller asks it directly.
    Here,
}

/// What the handles, the raft thread and the peers' readers share.
pub(crate) struct Shared<O> {
    /// This member.
    pub(crate) id: NodeId,
    /// The raft thread's.
    pub(crate) inbox: Inbox<Signal<O>>,
    /// The raft thread's work, for whoever has the turn.
    pub(crate) seat: Seat<O>,
    /// For commands.
    pub(crate) proposals: Arc<Permits>,
    /// For reads.
    pub(crate) reads: Arc<Permits>,
    /// For questions.
    pub(crate) asks: Arc<Permits>,
    /// For questions of other members.
    pub(crate) answers: Arc<Permits>,
    /// The counts.
    pub(crate) metrics: Arc<Metrics>,
    /// The limits.
    pub(crate) limits: Limits,
    /// Who answers questions.
    pub(crate) ask_handler: RwLock<Option<AskHandler>>,
}

impl<O> Shared<O> {
    pub(crate) fn new(id: NodeId, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            id,
            inbox: Inbox::new(limits.inbound_bytes),
            seat: Seat::empty(),
            proposals: Permits::new(limits.proposals, limits.proposal_bytes),
            reads: Permits::new(limits.reads, usize::MAX),
            asks: Permits::new(limits.asks, limits.asks_bytes),
            answers: Permits::new(limits.asks, limits.asks_bytes),
            metrics,
            limits,
            ask_handler: RwLock::new(None),
        }
    }

    /// Answers a question, or drops the reply if nobody can.
    pub(crate) fn answer(&self, from: NodeId, payload: Bytes, reply: Reply) {
        let handler = self.ask_handler.read().ok().and_then(|handler| handler.clone());
        if let Some(handler) = handler {
            handler(from, payload, reply);
        }
    }
}

/// A cheap, clonable way into a [`crate::Host`]. Outlives it: calls then end with `Stopped`.
pub struct Handle<O> {
    shared: Arc<Shared<O>>,
    status: watch::Receiver<Arc<HostStatus>>,
    clock: Clock,
}

impl<O> Clone for Handle<O> {
    fn clone(&self) -> Self {
        let (shared, status) = (Arc::clone(&self.shared), self.status.clone());
        Self { shared, status, clock: self.clock }
    }
}

impl<O> fmt::Debug for Handle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("id", &self.shared.id).finish_non_exhaustive()
    }
}

impl<O: Send + 'static> Handle<O> {
    pub(crate) fn new(
        shared: Arc<Shared<O>>,
        status: watch::Receiver<Arc<HostStatus>>,
        clock: Clock,
    ) -> Self {
        Self { shared, status, clock }
    }

    /// Replicates a command and returns the outcome that the state machine *of this member* gave
    /// it. Any member takes any command; a follower sends it on to the leader. The command's effect
    /// is visible here to reads that begin after the return.
    ///
    /// # Errors
    /// See [`RequestError`], which says for each case whether the command may still take effect.
    pub async fn propose(&self, command: Bytes) -> Result<O, RequestError> {
        self.propose_in(Lane::Urgent, command).await
    }

    /// The same for a command that is as urgent as that: what is less so is refused sooner, and leaves room for the
    /// rest.
    ///
    /// # Errors
    /// As for [`Handle::propose`].
    pub async fn propose_in(&self, lane: Lane, command: Bytes) -> Result<O, RequestError> {
        let shared = &self.shared;
        if command.len() > shared.limits.command_bytes {
            return Err(RequestError::TooLarge);
        }
        let Some(permit) = shared.proposals.take_in(lane, command.len()) else {
            shared.metrics.overloaded.add(1);
            return Err(RequestError::Overloaded);
        };
        let (sender, receiver) = oneshot::channel();
        let alone = permit.is_only();
        let signal = Signal::Propose(command, Waiter::Outcome(sender, permit));
        shared.submit(signal, alone)?;
        receiver.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// Returns when the local state reflects everything that any member acknowledged before the
    /// call (thesis §6.4). Callers at the same time share one round of messages.
    ///
    /// # Errors
    /// See [`RequestError`]. The local state may be stale then.
    pub async fn read_barrier(&self) -> Result<(), RequestError> {
        self.fresh(Freshness::Linearizable).await.map(|_| ())
    }

    /// Returns when the local state reflects everything that any member acknowledged up to `bound` before the call, by
    /// the clock of this member and no other: at once, if a confirmation of the leader that is no older proves it, or
    /// after one, as [`Handle::read_barrier`]. Returns how stale it really may be, at most `bound`. Members are asked
    /// as often as callers like, and ask their leader once in `bound`; without a leader this works for as long.
    ///
    /// # Errors
    /// See [`RequestError`]. The local state may be staler then.
    pub async fn read_within(&self, bound: Duration) -> Result<Duration, RequestError> {
        let staleness = self.fresh(Freshness::AtMost(bound)).await?;
        Ok(staleness.expect("whoever asks for a bound is told"))
    }

    /// Returns when the local state reflects this position of the log: one that [`HostStatus`] of any member
    /// has shown as committed, for example. Asks nobody, so it works without a leader where the state is here. Returns how stale the
    /// state is at most, if anything is known of that.
    ///
    /// # Errors
    /// See [`RequestError`]; [`RequestError::Timeout`] if the local state does not come so far in time, as if there is no
    /// such position.
    pub async fn read_at_least(&self, index: Index) -> Result<Option<Duration>, RequestError> {
        self.fresh(Freshness::AtLeast(index)).await
    }

    /// Returns when the local state is so new, and how stale it is at most.
    async fn fresh(&self, freshness: Freshness) -> Result<Option<Duration>, RequestError> {
        let shared = &self.shared;
        let Some(permit) = shared.reads.take(0) else {
            shared.metrics.overloaded.add(1);
            return Err(RequestError::Overloaded);
        };
        let (sender, receiver) = oneshot::channel();
        let alone = permit.is_only();
        let signal = Signal::Read(freshness, Waiter::Read(sender, permit));
        shared.submit(signal, alone)?;
        receiver.await.unwrap_or(Err(RequestError::Stopped))
    }

    /// How things stand, as of the last round of the raft thread.
    #[must_use]
    pub fn status(&self) -> Arc<HostStatus> {
        Arc::clone(&self.status.borrow())
    }

    /// Follows the status. `changed` resolves when the leader, the term, the role or the connection
    /// to a peer changes, when a peer looks different, and when the host stops; the positions in the log
    /// are kept current without waking anybody.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<HostStatus>> {
        self.status.clone()
    }

    /// The clock of all times in the status.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The counts.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Tells the other members that this process is about to end, so that nobody takes its silence for a
    /// failure, or hands it a leadership that it would have to hand back. To be called before leadership
    /// is handed over and the host is shut down. There is no way back.
    pub fn announce_end(&self) {
        // A host that has stopped needs no announcement.
        let _ = self.shared.inbox.push_client(Signal::Leave);
    }

    /// Hands leadership to this voter, or to the one whose log reaches furthest of those that seem to be
    /// there, and returns when another member leads (thesis §3.10).
    ///
    /// # Errors
    /// See [`TransferError`]. After a timeout, leadership may still move.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), TransferError> {
        let (sender, receiver) = oneshot::channel();
        let signal = Signal::Transfer(to, sender);
        self.shared.inbox.push_client(signal).map_err(|_| TransferError::Stopped)?;
        receiver.await.unwrap_or(Err(TransferError::Stopped))
    }

    /// Changes who belongs to the group, if this member leads it, and returns when that is committed and no longer
    /// joint (Raft §6). `wanted` is complete: whoever is not in it leaves. A new member is a learner first, and a
    /// learner becomes a voter when it has caught up; see [`quorate_raft::ChangeError`] for what else is refused. What
    /// a membership says about a member begins with where it is found: an address on each line, `host:port`, perhaps with a
    /// scheme in front.
    ///
    /// # Errors
    /// See [`MembersError`], which says for each case whether the change may still take effect.
    pub async fn change_members(&self, mut wanted: Membership) -> Result<(), MembersError> {
        let mut about = std::mem::take(&mut wanted.about);
        about.retain(|id, _| wanted.contains(*id));
        wanted.about = about;
        let (sender, receiver) = oneshot::channel();
        let signal = Signal::Change(wanted, sender);
        self.shared.inbox.push_client(signal).map_err(|_| MembersError::Stopped)?;
        receiver.await.unwrap_or(Err(MembersError::Stopped))
    }

    /// Sees that these become the members of the group, step by step, and returns when they are and that is committed.
    /// Called on any member: the steps are the leader's, whoever that is at the moment, and a change of leaders costs
    /// nothing but time. `desired` is complete, as for [`Handle::change_members`], but who of its voters is no member yet is
    /// a learner first.
    ///
    /// New members have to be started for this to end. Whoever does not want to wait so long drops the call; what was
    /// begun then goes its way, and the same call goes on later.
    ///
    /// # Errors
    /// See [`ReconcileError`].
    pub async fn reconcile(&self, desired: &Desired) -> Result<(), ReconcileError> {
        let mut refusals = 0;
        loop {
            match self.step_toward(desired, true).await {
                Ok(Step::Done) => return Ok(()),
                Ok(Step::Refuse(why)) => {
                    refusals += 1;
                    if refusals >= reconcile::REFUSALS || why == Refusal::Impossible {
                        return Err(ReconcileError::Refused(why));
                    }
                }
                Ok(Step::Change(_) | Step::Wait(_)) => refusals = 0,
                Err(AskError::Stopped) => return Err(ReconcileError::Stopped),
                Err(AskError::TooLarge) => return Err(ReconcileError::TooLarge),
                // Nobody leads, another one does by now, or much else is asked at the moment.
                Err(
                    AskError::Timeout
                    | AskError::NoLeader
                    | AskError::NoSuchMember
                    | AskError::Unreachable
                    | AskError::Unanswered
                    | AskError::Overloaded,
                ) => {}
            }
            let (sender, receiver) = oneshot::channel();
            let pushed = self.shared.inbox.push_client(Signal::Rest(sender));
            pushed.map_err(|_| ReconcileError::Stopped)?;
            receiver.await.map_err(|_| ReconcileError::Stopped)?;
        }
    }

    /// What the leader has to do next so that these become the members; with `takes_it` it has begun a change that it
    /// answers with. See [`Handle::reconcile`], which asks again and again. A refusal may be that of a leader that is too
    /// new to have heard from everybody.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn step_toward(&self, desired: &Desired, takes_it: bool) -> Result<Step, AskError> {
        let desired = desired.alone();
        if !desired.is_possible() {
            return Ok(Step::Refuse(Refusal::Impossible));
        }
        let payload = reconcile::ask(&desired, takes_it);
        let leads = self.status.borrow().is_leader();
        let to = if leads { Some(self.shared.id) } else { None };
        let answer = self.ask_somebody(to, Of::Host, payload).await?;
        reconcile::decode(answer).ok_or(AskError::Unanswered)
    }

    /// Lets the application on the leader's member answer. Waits for a leader if there is none. The
    /// asked member may have lost leadership when it answers: an application that cares says so in
    /// its answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask_leader(&self, payload: Bytes) -> Result<Bytes, AskError> {
        let leads = self.status.borrow().is_leader();
        let to = if leads { Some(self.shared.id) } else { None };
        self.ask_somebody(to, Of::Application, payload).await
    }

    /// Lets the application on this member answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, member: NodeId, payload: Bytes) -> Result<Bytes, AskError> {
        self.ask_somebody(Some(member), Of::Application, payload).await
    }

    async fn ask_somebody(
        &self,
        to: Option<NodeId>,
        of: Of,
        payload: Bytes,
    ) -> Result<Bytes, AskError> {
        let shared = &self.shared;
        if payload.len() > shared.limits.ask_bytes {
            return Err(AskError::TooLarge);
        }
        let permit = shared.asks.take(payload.len()).ok_or(AskError::Overloaded)?;
        if to == Some(shared.id) {
            return self.ask_here(of, payload).await;
        }
        let (reply, receiver) = oneshot::channel();
        let question = Question { to, of, payload: payload.clone(), reply, permit };
        shared.inbox.push_client(Signal::Ask(question)).map_err(|_| AskError::Stopped)?;
        match receiver.await.unwrap_or(Err(AskError::Stopped))? {
            Asked::Answer(answer) => Ok(answer),
            Asked::Here => self.ask_here(of, payload).await,
        }
    }

    async fn ask_here(&self, of: Of, payload: Bytes) -> Result<Bytes, AskError> {
        let (sender, receiver) = oneshot::channel();
        let reply = Reply::here(sender);
        match of {
            Of::Application => self.shared.answer(self.shared.id, payload, reply),
            Of::Host => {
                let pushed = self.shared.inbox.push_client(Signal::Step(payload, reply));
                pushed.map_err(|_| AskError::Stopped)?;
            }
        }
        receiver.await.unwrap_or(Err(AskError::Unanswered))
    }

    /// Names who answers questions, in place of whoever did before. Until then there are no answers.
    pub fn set_ask_handler(&self, handler: AskHandler) {
        let slot = &self.shared.ask_handler;
        *slot.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(handler);
    }
}
