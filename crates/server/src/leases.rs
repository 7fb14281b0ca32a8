//! Leases: who watches the clock, and how the other members ask.
//!
//! That a lease exists is replicated; how much of it is left, only the leader knows. Members that
//! follow ask the leader, beside the log. What has run out is ended by a command that is void in any
//! other term than the one in which its clock ran out. All that has to be decided about that is in
//! [`LeaseKeeper`]; here are the tasks, the barriers and the wire.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_host::{AskError, Clock};
use quorate_mvcc::lease::{EXPIRY_SCAN, LeaseAnswer, LeaseKeeper};
use quorate_mvcc::{Caller, Lease, LeaseChange, Response};
use quorate_raft::Term;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::member::Member;
use crate::rpc::Failure;

/// How long to wait before the question is asked again, if nobody could answer it.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The leases of one member.
#[derive(Debug)]
pub(crate) struct Leases {
    clock: Clock,
    keeper: Mutex<LeaseKeeper>,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self { clock: Clock::start(), keeper: Mutex::new(LeaseKeeper::new()) }
    }

    fn keeper(&self) -> MutexGuard<'_, LeaseKeeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of the leases that came and went with a commit. Called after the state with them was
    /// published.
    pub(crate) fn note(&self, changes: Vec<LeaseChange>) {
        if changes.is_empty() {
            return;
        }
        let mut keeper = self.keeper();
        keeper.note(self.clock.now(), changes);
    }

    /// The leases, those first that run out first, as far as this member knows that.
    pub(crate) fn by_remaining(&self, mut leases: Vec<Lease>) -> Vec<i64> {
        let order = self.keeper().by_remaining();
        let position: std::collections::BTreeMap<i64, usize> =
            order.into_iter().enumerate().map(|(at, id)| (id, at)).collect();
        leases.sort_by_key(|lease| (position.get(&lease.id).copied(), lease.id));
        leases.into_iter().map(|lease| lease.id).collect()
    }

    /// Follows who leads, and ends what has run out while this member does. Ends with the server.
    pub(crate) async fn run(self: Arc<Self>, member: Arc<Member>) {
        let mut stop = member.stop.clone();
        let mut status = member.handle.subscribe();
        let mut scan = interval(EXPIRY_SCAN);
        // After a pause of the whole process, one look is as good as ten.
        scan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut expiries = JoinSet::new();
        loop {
            let led = {
                let status = status.borrow_and_update();
                status.is_leader().then_some(status.term)
            };
            let due = self.keeper().follow(led);
            if let Some(term) = due {
                self.promote(&member, term).await;
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
        let (led, extend) = (term_led(member), member.limits.lease_extension);
        // The lock comes before the state. A lease that is granted meanwhile is either in that state,
        // or it is noted after this, because it is published before it is noted.
        let mut keeper = self.keeper();
        match member.published.state().leases() {
            Ok(leases) => keeper.promote(self.clock.now(), term, led, leases, extend),
            Err(error) => {
                member.log.error("failed to read the leases").with("error", error);
            }
        }
    }

    /// Begins to end what has run out, as far as there is room. Does not wait for it: a change of the
    /// leader must not go unnoticed meanwhile.
    fn expire(&self, member: &Arc<Member>, under_way: &mut JoinSet<()>) {
        let commands = self.keeper().expire(self.clock.now(), under_way.len());
        for command in commands {
            let member = member.clone();
            under_way.spawn(async move {
                let outcome = member.propose(&Caller::Nobody, command).await;
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
            LeaseAnswer::Alive { granted, .. } => granted,
            LeaseAnswer::Gone | LeaseAnswer::NotPrimary => 0,
        })
    }

    /// The seconds that are left of a lease, and those that it was granted. `None` if it is gone.
    pub(crate) async fn time_to_live(
        &self,
        member: &Member,
        id: i64,
    ) -> Result<Option<(i64, i64)>, Failure> {
        Ok(match self.ask(member, Question::TimeToLive(id)).await? {
            LeaseAnswer::Alive { left, granted } => Some((left, granted)),
            LeaseAnswer::Gone | LeaseAnswer::NotPrimary => None,
        })
    }

    /// Asks whoever leads until there is an answer, or the time for requests has passed.
    async fn ask(&self, member: &Member, question: Question) -> Result<LeaseAnswer, Failure> {
        let asked = timeout(member.limits.request_timeout, async {
            loop {
                match member.handle.ask_leader(question.encode()).await {
                    // The leader of a moment ago, or one that has only just been elected.
                    Ok(bytes) => match decode(bytes) {
                        Some(LeaseAnswer::NotPrimary) | None => {}
                        Some(answer) => return Ok(answer),
                    },
                    Err(
                        error @ (AskError::Overloaded | AskError::TooLarge | AskError::Stopped),
                    ) => {
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

    /// Answers a member that asks this one because it leads; not at all when that has had no use for the answer for
    /// long, as it may be where leases can't be ended.
    pub(crate) async fn answer(&self, member: &Member, question: Bytes) -> Option<Bytes> {
        let question = Question::decode(question)?;
        let answer = async {
            match question {
                Question::KeepAlive(id) => self.renew(member, id).await,
                Question::TimeToLive(id) => self.remaining(member, id).await,
            }
        };
        let answer = timeout(member.limits.request_timeout, answer).await;
        Some(encode(answer.unwrap_or(LeaseAnswer::NotPrimary)))
    }

    /// A leader that has been succeeded without noticing must not renew what its successor lets run
    /// out. Hence the barrier: it is passed only with a quorum behind it.
    async fn renew(&self, member: &Member, id: i64) -> LeaseAnswer {
        let mut published = member.published.subscribe();
        loop {
            if member.handle.read_barrier().await.is_err() {
                return LeaseAnswer::NotPrimary;
            }
            let led = term_led(member);
            let answer = self.keeper().renew(self.clock.now(), led, id);
            if let Some(answer) = answer {
                return answer;
            }
            // It is about to be ended. To say so before it has been would be a guess.
            if published.changed().await.is_err() {
                return LeaseAnswer::NotPrimary;
            }
        }
    }

    async fn remaining(&self, member: &Member, id: i64) -> LeaseAnswer {
        if member.handle.read_barrier().await.is_err() {
            return LeaseAnswer::NotPrimary;
        }
        let led = term_led(member);
        self.keeper().remaining(self.clock.now(), led, id)
    }
}

/// The term that a member leads, if it does.
fn term_led(member: &Member) -> Option<Term> {
    let status = member.handle.status();
    status.is_leader().then_some(status.term)
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

/// The bytes of what comes back.
fn encode(answer: LeaseAnswer) -> Bytes {
    let mut bytes = BytesMut::with_capacity(17);
    match answer {
        LeaseAnswer::NotPrimary => bytes.put_u8(0),
        LeaseAnswer::Gone => bytes.put_u8(1),
        LeaseAnswer::Alive { left, granted } => {
            bytes.put_u8(2);
            bytes.put_i64(left);
            bytes.put_i64(granted);
        }
    }
    bytes.freeze()
}

fn decode(mut bytes: Bytes) -> Option<LeaseAnswer> {
    match (bytes.len(), bytes.first()) {
        (1, Some(0)) => Some(LeaseAnswer::NotPrimary),
        (1, Some(1)) => Some(LeaseAnswer::Gone),
        (17, Some(2)) => {
            bytes.advance(1);
            Some(LeaseAnswer::Alive { left: bytes.get_i64(), granted: bytes.get_i64() })
        }
        _ => None,
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
        let alive = LeaseAnswer::Alive { left: 3, granted: 5 };
        for answer in [LeaseAnswer::NotPrimary, LeaseAnswer::Gone, alive] {
            assert_eq!(decode(encode(answer)), Some(answer));
        }
        for bad in [&[][..], &[2], &[3], &[1, 0], &[0; 9], &[9; 17]] {
            assert_eq!(decode(Bytes::copy_from_slice(bad)), None, "{bad:?}");
            assert_eq!(Question::decode(Bytes::copy_from_slice(bad)), None, "{bad:?}");
        }
    }
}
