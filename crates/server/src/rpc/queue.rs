//! Keys that stand in a queue: what Lock and Election are made of.
//!
//! Whoever waits has a key under a prefix, bound to a lease, and the key that was created first has the turn. So who
//! comes next is in the store, for every client to see, and survives any member. The keys are those of etcd's client
//! library, whose users stand in the same queues.

use std::panic::resume_unwind;
use std::sync::Arc;

use bytes::Bytes;
use quorate_mvcc::watch::{WatchCreateRequest, WatchLimits, WatchResponse, WatchStream};
use quorate_mvcc::{
    Caller, Command, Compare, CompareOperand, CompareResult, DeleteRangeRequest, KeyRange,
    KeyValue, PutRequest, RangeRequest, RequestOp, Response as Answer, ResponseOp, SortOrder,
    SortTarget, TxnRequest, TxnResponse,
};
use tokio::sync::watch;
use tonic::Status;

use super::{Failure, lease};
use crate::member::{Member, State};
use crate::quota;
use crate::shutdown::Shutdown;

/// The life of a lease that is granted to whoever brings none, in seconds. Nobody renews it.
const LEASE_TTL: i64 = 60;

/// How much is made ready at once of what happens to a queue. Only whether something did counts.
const ADVANCE_BYTES: usize = 64 << 10;

/// etcd's services for recipes speak to the store as one more client, so what the store tells them reaches their own
/// clients with its text, and without its code.
pub(super) fn told(failure: Failure) -> Status {
    Status::unknown(failure.text())
}

/// The keys under a prefix.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    member: Arc<Member>,
    /// Who stands in it, or looks at it.
    caller: Caller,
    prefix: Bytes,
}

/// A key in a queue. One of the same name that was created at another revision is another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) key: Bytes,
    pub(super) created: i64,
    pub(super) lease: i64,
}

/// What was found when a place was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) place: Place,
    /// Whether the client brought the lease, and may come back with it.
    has_own_lease: bool,
    /// The store's after it.
    pub(super) revision: i64,
    /// Whether nobody is before it.
    pub(super) is_first: bool,
    /// What it shows: that of whoever has had it, or the value given.
    pub(super) value: Bytes,
}

impl Queue {
    pub(super) fn of(member: &Arc<Member>, caller: Caller, name: &[u8]) -> Self {
        Self { member: member.clone(), caller, prefix: [name, b"/"].concat().into() }
    }

    /// Takes a place, and leaves it for a client that goes away before the [`Waiter`] is told that it stays.
    pub(super) async fn enter(&self, lease: i64, value: Bytes) -> Result<(Taken, Waiter), Failure> {
        let queue = self.clone();
        // The client may go away before the answer is there. The task goes on, and drops the waiter then.
        let entering = tokio::spawn(async move {
            let taken = queue.take(lease, value).await?;
            let waiter = Waiter::new(&queue, &taken);
            Ok((taken, waiter))
        });
        entering.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Failure::Stopped),
        })
    }

    /// Takes the place of a lease, or finds it taken: there is one for each. Without a lease it is that of a new one,
    /// which lives a minute.
    async fn take(&self, lease: i64, value: Bytes) -> Result<Taken, Failure> {
        let (lease, is_own) = match lease {
            0 => (lease::grant(&self.member, &self.caller, 0, LEASE_TTL).await?.id, false),
            lease => (lease, true),
        };
        let key = Bytes::from([&self.prefix[..], format!("{lease:x}").as_bytes()].concat());
        let first = RequestOp::Range(self.range(SortOrder::Ascend, 0));
        let own = RequestOp::Range(RangeRequest::new(KeyRange::Point(key.clone())));
        let put = put(&key, value.clone(), lease);
        self.member.rates.keys(&put)?;
        let put = RequestOp::Put(put);
        let answer = self
            .txn(TxnRequest {
                compare: vec![created(&key, 0)],
                success: vec![put, first.clone()],
                failure: vec![own, first],
            })
            .await?;
        let revision = answer.revision;
        let [own, first] = <[ResponseOp; 2]>::try_from(answer.responses).expect("one for each");
        let (created, value) = match own {
            ResponseOp::Put(_) => (revision, value),
            ResponseOp::Range(own) => {
                let own = own.kvs.into_iter().next().expect("it was there in this transaction");
                (own.create_revision, own.value)
            }
            other => unreachable!("a put or a range was answered {other:?}"),
        };
        let ResponseOp::Range(first) = first else {
            unreachable!("a range was answered {first:?}")
        };
        let is_first = first.kvs.first().is_some_and(|first| first.key == key);
        let place = Place { key, created, lease };
        Ok(Taken { place, has_own_lease: is_own, revision, is_first, value })
    }

    /// Waits until nobody is before a place.
    ///
    /// The state of this member may be older than that of others: whoever has left may stand there for a little
    /// longer. Nobody ever comes in before a place that is taken.
    pub(super) async fn turn(&self, place: &Place) -> Result<(), Failure> {
        let _permit = self.member.published.wait()?;
        let mut changes = Changes::of(&self.member);
        // The last of those before: all others there leave before it is this one's turn, or it leaves its place itself.
        let before = self.range(SortOrder::Descend, place.created - 1);
        while let Some(before) = one(&self.member.state(), &before)? {
            changes.of_key(&before.key, before.mod_revision + 1).await?;
        }
        Ok(())
    }

    /// Whether a place is still there, now that it has the turn: the lease may have ended in the meantime, or another
    /// request with it was given up. Says the revision at which that was seen.
    pub(super) async fn has(&self, place: &Place) -> Result<Option<i64>, Failure> {
        let state = self.member.state_for(false).await?;
        let own = RangeRequest::new(KeyRange::Point(place.key.clone()));
        state.rights(&self.caller)?.range(&own)?;
        let found = state.read(|state| state.range(&own))?;
        let is_there = found.kvs.first().is_some_and(|own| own.create_revision == place.created);
        Ok(is_there.then_some(found.revision))
    }

    /// Whoever has the turn in a state.
    ///
    /// # Errors
    /// Also if the caller may not know.
    pub(super) fn first(&self, state: &State) -> Result<Option<KeyValue>, Failure> {
        let range = self.range(SortOrder::Ascend, 0);
        state.rights(&self.caller)?.range(&range)?;
        one(state, &range)
    }

    /// Resolves when something has happened to the queue since a revision.
    pub(super) async fn changed(&self, since: i64) -> Result<(), Failure> {
        let range = KeyRange::prefix(self.prefix.clone());
        Changes::of(&self.member).of_range(&range, since + 1, false).await
    }

    /// Shows another value at a place. Says at which revision, or `None` if the place is lost.
    pub(super) async fn show(&self, place: &Place, value: Bytes) -> Result<Option<i64>, Failure> {
        let put = put(&place.key, value, place.lease);
        self.member.rates.keys(&put)?;
        let put = RequestOp::Put(put);
        let answer = self.txn(guarded(place, put)).await?;
        Ok(answer.succeeded.then_some(answer.revision))
    }

    /// Leaves a place, if it is not lost already. Says the revision after it.
    pub(super) async fn leave(&self, place: &Place) -> Result<i64, Failure> {
        let range = KeyRange::Point(place.key.clone());
        let delete = RequestOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
        Ok(self.txn(guarded(place, delete)).await?.revision)
    }

    /// The one key that is first in this order, of those that were created up to a revision, or ever if that is 0.
    fn range(&self, sort_order: SortOrder, max_create_revision: i64) -> RangeRequest {
        RangeRequest {
            limit: 1,
            sort_order,
            sort_target: SortTarget::Create,
            max_create_revision,
            ..RangeRequest::new(KeyRange::prefix(self.prefix.clone()))
        }
    }

    async fn txn(&self, txn: TxnRequest) -> Result<TxnResponse, Failure> {
        let costs = txn.success.iter().map(|op| match op {
            RequestOp::Put(put) => quota::key_cost(&put.key, &put.value),
            RequestOp::Range(_) | RequestOp::DeleteRange(_) | RequestOp::Txn(_) => 0,
        });
        self.member.check_quota(costs.sum())?;
        let (_, answer) = self.member.propose(&self.caller, Command::Txn(txn)).await?;
        let Answer::Txn(answer) = answer else { unreachable!("a txn was answered {answer:?}") };
        Ok(answer)
    }
}

fn one(state: &State, range: &RangeRequest) -> Result<Option<KeyValue>, Failure> {
    let found = state.read_much(|state| state.range(range))?;
    Ok(found.kvs.into_iter().next())
}

fn put(key: &Bytes, value: Bytes, lease: i64) -> PutRequest {
    PutRequest { key: key.clone(), value, lease, ..PutRequest::default() }
}

/// The key was created at this revision, or is not there if that is 0.
fn created(key: &Bytes, revision: i64) -> Compare {
    Compare {
        range: KeyRange::Point(key.clone()),
        result: CompareResult::Equal,
        operand: CompareOperand::Create(revision),
    }
}

/// Does something if a place is not lost.
fn guarded(place: &Place, op: RequestOp) -> TxnRequest {
    TxnRequest {
        compare: vec![created(&place.key, place.created)],
        success: vec![op],
        failure: Vec::new(),
    }
}

/// Leaves a place for a client that went away before it had the turn.
#[derive(Debug)]
pub(super) struct Waiter {
    queue: Queue,
    place: Option<Place>,
}

impl Waiter {
    fn new(queue: &Queue, taken: &Taken) -> Self {
        // A place that is first stays, as in etcd: another request with the same lease may have found it, and was told
        // that it has the turn. Nobody can ask with a lease that nobody was told of.
        let leaves = !taken.is_first || !taken.has_own_lease;
        Self { queue: queue.clone(), place: leaves.then(|| taken.place.clone()) }
    }

    /// It has what it waited for.
    pub(super) fn stays(mut self) {
        self.place = None;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let (queue, Some(place)) = (self.queue.clone(), self.place.take()) else { return };
        // Where no task can run any more the member ends, and the lease will end the place.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Where that fails, the lease ends it too.
                let _ = queue.leave(&place).await;
            });
        }
    }
}

/// What happens in the state of this member.
struct Changes {
    member: Arc<Member>,
    published: watch::Receiver<i64>,
    stop: Shutdown,
}

impl Changes {
    fn of(member: &Arc<Member>) -> Self {
        let (published, stop) = (member.published.subscribe(), member.stop.clone());
        Self { member: member.clone(), published, stop }
    }

    /// Resolves when a key was deleted at this revision or later, or may have been.
    async fn of_key(&mut self, key: &Bytes, from: i64) -> Result<(), Failure> {
        self.of_range(&KeyRange::Point(key.clone()), from, true).await
    }

    async fn of_range(&mut self, range: &KeyRange, from: i64, no_put: bool) -> Result<(), Failure> {
        let (key, range_end) = range.to_pair();
        let mut stream = WatchStream::new(WatchLimits {
            fragment_bytes: ADVANCE_BYTES,
            advance_bytes: ADVANCE_BYTES,
            revision_bytes: ADVANCE_BYTES,
        });
        let request = WatchCreateRequest {
            key,
            range_end,
            start_revision: from,
            no_put,
            ..WatchCreateRequest::default()
        };
        stream.create(request, self.member.published.revision());
        loop {
            self.published.mark_unchanged();
            let recent = self.member.published.recent(stream.position());
            let advance = self.member.advance(&mut stream, recent)?;
            // A watch ends where the history is gone, or is too much at once: then it may have happened.
            let tells = |told: &WatchResponse| !told.events.is_empty() || told.cancel.is_some();
            if advance.responses.iter().any(tells) {
                return Ok(());
            }
            if advance.more {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                changed = self.published.changed() => changed.map_err(|_| Failure::Stopped)?,
                () = self.stop.requested() => return Err(Failure::Stopped),
            }
        }
    }
}
