//! Leases: who watches the clock, and how the other members ask.
//!
//! That a lease exists is replicated; how much of it is left, only the leader knows, by its
//! [`Lessor`]. Members that follow ask the leader, beside the log. What has run out is ended by a
//! command that is void in any other term than the one in which its clock ran out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_host::{AskError, Clock};
use quorate_mvcc::lease::{Lessor, Remaining, Renewal};
use quorate_mvcc::{Command, Lease, LeaseChange, Response};
use quorate_raft::Term;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::member::Member;
use crate::rpc::Failure;

/// How often the leader looks for leases that have run out, as in etcd.
const SCAN_INTERVAL: Duration = Duration::from_millis(500);

/// How many leases may be on their way to their end at once, as in etcd: many that run out together
/// must not fill the log at the cost of everybody else.
const EXPIRE_TOGETHER: usize = 16;

/// How long to wait before the question is asked again, if nobody could answer it.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The leases of one member.
#[derive(Debug)]
pub(crate) struct Leases {
    clock: Clock,
    lessor: Mutex<Lessor>,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self { clock: Clock::start(), lessor: Mutex::new(Lessor::new()) }
    }

    fn lessor(&self) -> MutexGuard<'_, Lessor> {
        self.lessor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of the leases that came and went with a commit. Called after the state with them was
    /// published.
    pub(crate) fn note(&self, changes: Vec<LeaseChange>) {
        if changes.is_empty() {
            return;
        }
        let mut lessor = self.lessor();
        let now = self.clock.now();
        for change in changes {
            lessor.observe(now, change);
        }
    }

    /// The leases, those first that run out first, as far as this member knows that.
    pub(crate) fn by_remaining(&self, mut leases: Vec<Lease>) -> Vec<i64> {
        let order = self.lessor().by_remaining();
        let position: std::collections::BTreeMap<i64, usize> =
            order.into_iter().enumerate().map(|(at, id)| (id, at)).collect();
        leases.sort_by_key(|lease| (position.get(&lease.id).copied(), lease.id));
        leases.into_iter().map(|lease| lease.id).collect()
    }

    /// Follows who leads, and ends what has run out while this member does. Ends with the server.
    pub(crate) async fn run(self: Arc<Self>, member: Arc<Member>) {
        let mut stop = member.stop.clone();
        let mut status = member.handle.subscribe();
        let mut scan = interval(SCAN_INTERVAL);
        // After a pause of the whole process, one look is as good as ten.
        scan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expiries = JoinSet::new();
        loop {
            let led = {
                let status = status.borrow_and_update();
                status.is_leader().then_some(status.term)
            };
            if led != self.lessor().term() {
                self.lessor().demote();
                if let Some(term) = led {
                    self.promote(&member, term).await;
                }
            }
            tokio::select! {
                changed = status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                _ = scan.tick() => self.expire(&member, &mut expiries),
                Some(_) = expiries.join_next() => self.expire(&member, &mut expiries),
                () = stop.requested() => return,
            }
        }
    }

    /// Becomes the primary for a term, with all leases that there are. A failure leaves it to the next
    /// look.
    async fn promote(&self, member: &Member, term: Term) {
        // When this returns, every entry of earlier terms is applied here.
        if member.handle.read_barrier().await.is_err() {
            return;
        }
        let status = member.handle.status();
        if !status.is_leader() || status.term != term {
            return;
        }
        // The lock comes before the state. A lease that is granted meanwhile is either in that state,
        // or it is noted after this, because it is published before it is noted.
        let mut lessor = self.lessor();
        match member.published.state().leases() {
            Ok(leases) => {
                lessor.promote(self.clock.now(), term, leases, member.limits.lease_extension);
            }
            Err(error) => {
                member.log.error("failed to read the leases").with("error", error);
            }
        }
    }

    /// Begins to end what has run out, as far as there is room. Does not wait for it: a change of the
    /// leader must not go unnoticed meanwhile.
    fn expire(&self, member: &Arc<Member>, under_way: &mut JoinSet<()>) {
        let room = EXPIRE_TOGETHER - under_way.len();
        let (term, expired) = {
            let mut lessor = self.lessor();
            let Some(term) = lessor.term() else { return };
            (term.0, lessor.expired(self.clock.now(), room))
        };
        for id in expired {
            let member = member.clone();
            under_way.spawn(async move {
                let outcome = member.propose(Command::LeaseExpire { id, term }).await;
                // Anything else is put right by a later look, or is the next leader's business.
                if let Ok((_, Response::LeaseExpire { revoked: true })) = outcome {
                    member.metrics.lease_expired();
                }
            });
        }
    }

    /// Gives a lease its whole time again and returns that time in seconds; 0 if it is gone.
    pub(crate) async fn keep_alive(&self, member: &Member, id: i64) -> Result<i64, Failure> {
        Ok(match self.ask(member, Question::KeepAlive(id)).await? {
            Answer::Alive { granted, .. } => granted,
            Answer::Gone | Answer::NotPrimary => 0,
        })
    }

    /// The seconds that are left of a lease, and those that it was granted. `None` if it is gone.
    pub(crate) async fn time_to_live(
        &self,
        member: &Member,
        id: i64,
    ) -> Result<Option<(i64, i64)>, Failure> {
        Ok(match self.ask(member, Question::TimeToLive(id)).await? {
            Answer::Alive { left, granted } => Some((left, granted)),
            Answer::Gone | Answer::NotPrimary => None,
        })
    }

    /// Asks whoever leads until there is an answer, or the time for requests has passed.
    async fn ask(&self, member: &Member, question: Question) -> Result<Answer, Failure> {
        let asked = timeout(member.limits.request_timeout, async {
            loop {
                match member.handle.ask_leader(question.encode()).await {
                    // The leader of a moment ago, or one that has only just been elected.
                    Ok(bytes) => match Answer::decode(bytes) {
                        Some(Answer::NotPrimary) | None => {}
                        Some(answer) => return Ok(answer),
                    },
                    Err(error @ (AskError::Overloaded | AskError::Stopped)) => {
                        return Err(Failure::from(error));
                    }
                    Err(_) => {}
                }
                sleep(ASK_AGAIN).await;
            }
        });
        match asked.await {
            Ok(answered) => answered,
            Err(_) if !member.knows_leader() => Err(Failure::NoLeader),
            Err(_) => Err(Failure::Timeout),
        }
    }

    /// Answers a member that asks this one because it leads.
    pub(crate) async fn answer(&self, member: &Member, question: Bytes) -> Option<Bytes> {
        let answer = match Question::decode(question)? {
            Question::KeepAlive(id) => self.renew(member, id).await,
            Question::TimeToLive(id) => self.remaining(member, id).await,
        };
        Some(answer.encode())
    }

    /// A leader that has been succeeded without noticing must not renew what its successor lets run
    /// out. Hence the barrier: it is passed only with a quorum behind it.
    async fn renew(&self, member: &Member, id: i64) -> Answer {
        let mut published = member.published.subscribe();
        loop {
            if member.handle.read_barrier().await.is_err() || !self.is_primary(member) {
                return Answer::NotPrimary;
            }
            match self.lessor().renew(self.clock.now(), id) {
                Renewal::Renewed(granted) => return Answer::Alive { left: granted, granted },
                Renewal::Unknown => return Answer::Gone,
                Renewal::NotPrimary => return Answer::NotPrimary,
                Renewal::Expired => {}
            }
            // It is about to be ended. To say so before it has been would be a guess.
            if published.changed().await.is_err() {
                return Answer::NotPrimary;
            }
        }
    }

    async fn remaining(&self, member: &Member, id: i64) -> Answer {
        if member.handle.read_barrier().await.is_err() || !self.is_primary(member) {
            return Answer::NotPrimary;
        }
        match self.lessor().remaining(self.clock.now(), id) {
            // Whole seconds, and what has begun does not count.
            Some(Remaining { left, granted }) => {
                Answer::Alive { left: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), granted }
            }
            None => Answer::Gone,
        }
    }

    fn is_primary(&self, member: &Member) -> bool {
        let status = member.handle.status();
        status.is_leader() && self.lessor().term() == Some(status.term)
    }
}

/// What one member asks another about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    KeepAlive(i64),
    TimeToLive(i64),
}

impl Question {
    fn encode(self) -> Bytes {
        let (kind, id) = match self {
            Self::KeepAlive(id) => (1, id),
            Self::TimeToLive(id) => (2, id),
        };
        let mut bytes = BytesMut::with_capacity(9);
        bytes.put_u8(kind);
        bytes.put_i64(id);
        bytes.freeze()
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() != 9 {
            return None;
        }
        match (bytes.get_u8(), bytes.get_i64()) {
            (1, id) => Some(Self::KeepAlive(id)),
            (2, id) => Some(Self::TimeToLive(id)),
            _ => None,
        }
    }
}

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The asked member does not lead, or not yet with the clocks in hand.
    NotPrimary,
    /// There is no such lease.
    Gone,
    /// There is, with so many seconds left of those that were granted.
    Alive { left: i64, granted: i64 },
}

impl Answer {
    fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(17);
        match self {
            Self::NotPrimary => bytes.put_u8(0),
            Self::Gone => bytes.put_u8(1),
            Self::Alive { left, granted } => {
                bytes.put_u8(2);
                bytes.put_i64(left);
                bytes.put_i64(granted);
            }
        }
        bytes.freeze()
    }

    fn decode(mut bytes: Bytes) -> Option<Self> {
        match (bytes.len(), bytes.first()) {
            (1, Some(0)) => Some(Self::NotPrimary),
            (1, Some(1)) => Some(Self::Gone),
            (17, Some(2)) => {
                bytes.advance(1);
                Some(Self::Alive { left: bytes.get_i64(), granted: bytes.get_i64() })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_survive_the_wire() {
        for question in [Question::KeepAlive(-5), Question::TimeToLive(i64::MAX)] {
            assert_eq!(Question::decode(question.encode()), Some(question));
        }
        let alive = Answer::Alive { left: 3, granted: 5 };
        for answer in [Answer::NotPrimary, Answer::Gone, alive] {
            assert_eq!(Answer::decode(answer.encode()), Some(answer));
        }
        for bad in [&[][..], &[2], &[3], &[1, 0], &[0; 9], &[9; 17]] {
            assert_eq!(Answer::decode(Bytes::copy_from_slice(bad)), None, "{bad:?}");
            assert_eq!(Question::decode(Bytes::copy_from_slice(bad)), None, "{bad:?}");
        }
    }
}
