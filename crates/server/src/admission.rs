//! What clients hold of this member's memory, and who comes in when it is short.
//!
//! A call costs what it holds: a sum for itself, its largest message as soon as its length is known, and its answer.
//! What does not fit below the limit waits for a moment in its lane, and is refused then. The lanes are those of
//! [`Permits`]: whoever ends leases or makes room comes in where writes don't, and who reads much comes last. What the
//! members say to one another has nothing to do with it.
//!
//! How long an answer will be is not known before it is read. So it is read within what was claimed for it; and read
//! again within more, after that was claimed, if it turns out to be longer.

mod connection;
mod entry;
pub(crate) mod told;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quorate_host::{Admission, Lane, Permit, Permits, Turn};
use quorate_mvcc::{ANSWER_BYTES_MAX, Command, Error, RequestOp, TxnRequest};
use tokio::time::{sleep, timeout};

pub(crate) use self::connection::{Connection, look};
pub(crate) use self::entry::Entry;
use crate::rpc::{Failure, Method};

/// How long a claim waits for others to leave: less than any client's patience.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many claims may wait. Whoever waits holds something, too.
const WAITING_MAX: usize = 1024;

/// When whoever has time looks again where too many wait.
const AGAIN: Duration = Duration::from_millis(50);

/// What a call takes by itself: its stream, its task, its headers and its place in queues.
pub(crate) const CALL_BYTES: usize = 8 << 10;

/// What is claimed for an answer at first, and by how much more at a time where that is too little.
const ANSWER_BYTES: usize = 64 << 10;
const ANSWER_GROWTH: usize = 8;

/// The same in between for what is no range: one key with the largest value, by default.
const SHORT_ANSWER_BYTES: usize = 2 << 20;

/// How often a message is in memory: as it came, and as a command for the log.
const MESSAGE_COPIES: usize = 2;

/// How often an answer is: as it was read, and as it is sent; in JSON, as a text besides.
const ANSWER_COPIES: usize = 2;
const JSON_COPIES: usize = 5;

/// The memory for clients.
#[derive(Debug)]
pub(crate) struct Memory {
    permits: Arc<Permits>,
    limit: Option<usize>,
    refused: AtomicU64,
}

/// What one call holds; free when the call, its request and its answer are gone, the last of it from hyper's buffers, too.
#[derive(Clone, Debug)]
pub(crate) struct Held(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Arc<Memory>,
    lane: Lane,
    answer_copies: usize,
    connection: Option<Connection>,
    parts: Mutex<Vec<Permit>>,
    /// Of what is about to leave.
    leaving: Mutex<Vec<Arc<Permit>>>,
}

/// A piece of an answer, and the memory of it: hyper has it until the client takes it.
struct Leaving {
    piece: Bytes,
    _held: Held,
    _leaving: Vec<Arc<Permit>>,
    _is_there: Arc<()>,
}

impl AsRef<[u8]> for Leaving {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

/// What is no longer than this needs no account of its own while it leaves.
const SHORT_BYTES: usize = 1 << 10;

/// From this on somebody looks whether it leaves.
const LONG_BYTES: usize = 64 << 10;

/// How long a piece is at most: each has the same time to leave.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// What came of a claim.
pub(crate) enum Claim {
    /// It is granted.
    Granted(Permit),
    /// It has to wait.
    Waiting(Turn),
}

impl Memory {
    /// At most so many bytes; `None` only counts them.
    pub(crate) fn new(limit: Option<usize>) -> Arc<Self> {
        let permits = Permits::new(usize::MAX, limit.unwrap_or(usize::MAX));
        Arc::new(Self { permits, limit, refused: AtomicU64::new(0) })
    }

    /// The limit, if there is one.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// What is held now.
    pub(crate) fn held(&self) -> usize {
        self.permits.bytes()
    }

    /// How many claims wait.
    pub(crate) fn waiting(&self) -> usize {
        self.permits.waiting()
    }

    /// How many were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What one claim in a lane may be at most.
    pub(crate) fn most(&self, lane: Lane) -> usize {
        self.permits.bytes_max(lane)
    }

    /// The same where something is held besides: the call itself, at least.
    fn most_beside_others(&self, lane: Lane) -> usize {
        self.most(lane) - self.most(lane) / 16
    }

    /// Claims memory.
    ///
    /// # Errors
    /// [`Failure::TooManyRequests`] where too many wait already, [`Error::AnswerTooLarge`] where it could never be granted.
    fn ask(&self, lane: Lane, bytes: usize) -> Result<Claim, Failure> {
        let refusal = match self.permits.line_up(lane, bytes, WAITING_MAX) {
            Admission::Now(permit) => return Ok(Claim::Granted(permit)),
            Admission::Later(turn) => return Ok(Claim::Waiting(turn)),
            Admission::Crowded => Failure::TooManyRequests,
            Admission::Never => Failure::Refused(Error::AnswerTooLarge),
        };
        Err(self.refuse(refusal))
    }

    /// Claims memory, and waits for it for a moment.
    ///
    /// # Errors
    /// The same, and [`Failure::TooManyRequests`] if the moment passes.
    pub(crate) async fn claim(&self, lane: Lane, bytes: usize) -> Result<Permit, Failure> {
        match self.ask(lane, bytes)? {
            Claim::Granted(permit) => Ok(permit),
            Claim::Waiting(turn) => self.wait(turn).await,
        }
    }

    /// Claims memory for somebody who has all the time there is, of what its lane may have at most.
    pub(crate) async fn claim_in_time(&self, lane: Lane, bytes: usize) -> Permit {
        let bytes = bytes.min(self.most(lane));
        loop {
            // Those who have no time find half of the line free of those who do.
            match self.permits.line_up(lane, bytes, WAITING_MAX / 2) {
                Admission::Now(permit) => return permit,
                Admission::Later(turn) => return turn.await,
                Admission::Crowded | Admission::Never => sleep(AGAIN).await,
            }
        }
    }

    /// Claims memory if there is some now; counts where there is none.
    pub(crate) fn claim_now(&self, lane: Lane, bytes: usize) -> Option<Permit> {
        let claimed = self.permits.take_in(lane, bytes);
        if claimed.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        claimed
    }

    async fn wait(&self, turn: Turn) -> Result<Permit, Failure> {
        timeout(PATIENCE, turn).await.map_err(|_| self.refuse(Failure::TooManyRequests))
    }

    fn refuse(&self, failure: Failure) -> Failure {
        self.refused.fetch_add(1, Ordering::Relaxed);
        failure
    }
}

impl Held {
    /// For a call that comes in JSON or not. It has nothing yet.
    pub(crate) fn new(
        memory: &Arc<Memory>,
        method: Method,
        is_json: bool,
        connection: Option<Connection>,
    ) -> Self {
        Self(Arc::new(Inner {
            memory: memory.clone(),
            lane: method.lane(),
            answer_copies: if is_json { JSON_COPIES } else { ANSWER_COPIES },
            connection,
            parts: Mutex::default(),
            leaving: Mutex::default(),
        }))
    }

    /// That of a request.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get::<Self>().expect("every call has it").clone()
    }

    /// Claims what this call takes for its request.
    pub(crate) fn ask(&self, bytes: usize) -> Result<Option<Turn>, Failure> {
        match self.0.memory.ask(self.0.lane, bytes)? {
            Claim::Granted(permit) => {
                self.keep(permit);
                Ok(None)
            }
            Claim::Waiting(turn) => Ok(Some(turn)),
        }
    }

    /// The same for a message of so many bytes.
    pub(crate) fn ask_for_message(&self, bytes: usize) -> Result<Option<Turn>, Failure> {
        self.ask(bytes.saturating_mul(MESSAGE_COPIES))
    }

    /// Waits for what could not be had at once.
    pub(crate) async fn wait(self, turn: Turn) -> Result<(), Failure> {
        let permit = self.0.memory.wait(turn).await?;
        self.keep(permit);
        Ok(())
    }

    /// Claims memory for as long as the answer takes.
    pub(crate) async fn claim(&self, lane: Lane, bytes: usize) -> Result<(), Failure> {
        let permit = self.0.memory.claim(lane, bytes).await?;
        self.keep(permit);
        Ok(())
    }

    /// Claims memory for an answer that was read already: seldom a long one, and never one of values.
    pub(crate) async fn hold(&self, bytes: usize) -> Result<(), Failure> {
        let lane = if bytes <= ANSWER_BYTES { Lane::Ordinary } else { Lane::Bulk };
        self.claim(lane, bytes.saturating_mul(self.0.answer_copies)).await
    }

    /// Claims memory for one of many answers.
    pub(crate) async fn claim_piece(&self, bytes: usize) -> Result<Permit, Failure> {
        self.0.memory.claim(Lane::Bulk, bytes.saturating_mul(self.0.answer_copies)).await
    }

    /// What one of them may be at most.
    pub(crate) fn most_for_piece(&self) -> usize {
        self.0.memory.most_beside_others(Lane::Bulk) / self.0.answer_copies
    }

    /// An answer, read within what there is for it. `read` is told how many bytes it may have, says how many it has, and
    /// fails with [`Error::AnswerTooLarge`] if those are too few.
    /// More than a little of it is claimed in that lane.
    pub(crate) async fn answer<T>(
        &self,
        of_more: Lane,
        mut read: impl FnMut(usize) -> Result<(T, usize), Failure>,
    ) -> Result<T, Failure> {
        let Inner { memory, answer_copies, .. } = &*self.0;
        let too_large = Failure::Refused(Error::AnswerTooLarge);
        // Whoever asks for little does not come last.
        let mut lane = self.0.lane.min(Lane::Ordinary);
        let mut room = ANSWER_BYTES.min(memory.most(lane) / answer_copies);
        loop {
            let mut permit = memory.claim(lane, room * answer_copies).await?;
            match read(room) {
                Ok((answer, bytes)) => {
                    permit.shrink_to(bytes.saturating_mul(*answer_copies));
                    self.keep(permit);
                    return Ok(answer);
                }
                Err(failure) if failure == too_large => {}
                Err(failure) => return Err(failure),
            }
            // Given back first: whoever waits with something in hand may wait for another who does the same.
            drop(permit);
            lane = of_more;
            let most = memory.most_beside_others(lane) / answer_copies;
            let most = most.min(ANSWER_BYTES_MAX);
            if room >= most {
                return Err(memory.refuse(too_large));
            }
            let is_short = of_more != Lane::Bulk && room < SHORT_ANSWER_BYTES;
            let more = room.saturating_mul(ANSWER_GROWTH);
            room = if is_short { SHORT_ANSWER_BYTES } else { more }.min(most);
        }
    }

    /// Keeps memory for as long as the answer takes.
    pub(crate) fn keep(&self, permit: Permit) {
        lock(&self.0.parts).push(permit);
    }

    /// Keeps memory until the next piece of the answer has left.
    pub(crate) fn leave_with(&self, memory: Arc<Permit>) {
        lock(&self.0.leaving).push(memory);
    }

    /// A piece of the answer that takes its memory along; with the last one of those that were made together, what was
    /// to leave with them.
    pub(crate) fn leaving(&self, piece: Bytes, is_last: bool) -> Bytes {
        let leaving = match is_last {
            true => std::mem::take(&mut *lock(&self.0.leaving)),
            false => Vec::new(),
        };
        if piece.len() <= SHORT_BYTES && leaving.is_empty() {
            return piece;
        }
        let is_there = Arc::new(());
        if piece.len() >= LONG_BYTES
            && let Some(connection) = &self.0.connection
        {
            let gone = connection.clone().end_if_unread(self.0.memory.clone(), &is_there);
            tokio::spawn(gone);
        }
        let _is_there = is_there;
        Bytes::from_owner(Leaving { piece, _held: self.clone(), _leaving: leaving, _is_there })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How urgent a command is, among those that wait for their outcome.
pub(crate) fn lane_of(command: &Command) -> Lane {
    match command {
        Command::LeaseRevoke { .. }
        | Command::LeaseExpire { .. }
        | Command::Alarm(_)
        | Command::Member(_) => Lane::Urgent,
        Command::DeleteRange(_) | Command::Compact { .. } => Lane::Relief,
        Command::Txn(txn) if !puts(txn) => Lane::Relief,
        Command::Put(_) | Command::Txn(_) | Command::LeaseGrant { .. } | Command::Auth(_) => {
            Lane::Ordinary
        }
    }
}

/// Whether a transaction may put something.
fn puts(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        RequestOp::Put(_) => true,
        RequestOp::Txn(txn) => puts(txn),
        RequestOp::Range(_) | RequestOp::DeleteRange(_) => false,
    })
}

#[cfg(test)]
mod tests;
