//! Permits: what a client's work needs to enter, given back when it ends.
//!
//! Refusing at the door is what lets every queue behind it stay unbounded in form and bounded in
//! fact. Between the threads of the host themselves there are no such limits: a loop that waits for
//! room in the queue of its own worker is how such loops deadlock.
//!
//! Work is not all of one kind. What ends leases and makes room must come in where a flood of writes
//! and reads does not, or the flood would never end: so each kind has a [`Lane`], which finds room
//! only up to a mark of its own. Who finds none may line up for a [`Turn`]. Turns come by lane, and
//! within a lane in the order of arrival; nobody is overtaken by who is not more urgent.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

/// How urgent work is: the first is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// What keeps promises to others: the ends of leases, their renewals, what operators do. May take
    /// all that there is.
    Urgent,
    /// What makes room: deletions and compactions. Leaves a sixteenth to who is more urgent.
    Relief,
    /// Writes, and reads of little. Leaves an eighth.
    Ordinary,
    /// Reads of much. Leaves half.
    Bulk,
}

impl Lane {
    /// Up to where this lane finds room. There is room for one at least.
    #[must_use]
    pub fn mark(self, max: usize) -> usize {
        max - match self {
            Self::Urgent => 0,
            Self::Relief => max / 16,
            Self::Ordinary => max / 8,
            Self::Bulk => max / 2,
        }
    }
}

/// A number of permits and of bytes.
#[derive(Debug)]
pub struct Permits {
    count_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
}

/// What is out, and who waits for what.
///
/// Whoever waits first of all does not fit, or it would not wait.
#[derive(Debug, Default)]
struct State {
    count: usize,
    bytes: usize,
    /// By lane, and by the number in which they came.
    wishes: BTreeMap<(Lane, u64), Wish>,
    next: u64,
}

#[derive(Debug)]
struct Wish {
    bytes: usize,
    grant: oneshot::Sender<Permit>,
}

/// One permit with its bytes. Given back when dropped.
#[derive(Debug)]
pub struct Permit {
    permits: Arc<Permits>,
    bytes: usize,
}

/// A place in the line for a permit; left when dropped.
#[derive(Debug)]
pub struct Turn {
    permits: Arc<Permits>,
    key: (Lane, u64),
    granted: oneshot::Receiver<Permit>,
}

/// What came of a wish for a permit.
#[derive(Debug)]
pub enum Admission {
    /// There is room.
    Now(Permit),
    /// There will be, when others have left.
    Later(Turn),
    /// There never will be: it is more than the lane's mark.
    Never,
    /// As many wait as may.
    Crowded,
}

impl Permits {
    /// So many.
    #[must_use]
    pub fn new(count_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { count_max, bytes_max, state: Mutex::default() })
    }

    /// A permit for work of so many bytes, if there is one left. As for [`Lane::Urgent`].
    #[must_use]
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        self.take_in(Lane::Urgent, bytes)
    }

    /// A permit for work of so many bytes in a lane, if there is one left and nobody as urgent waits.
    #[must_use]
    pub fn take_in(self: &Arc<Self>, lane: Lane, bytes: usize) -> Option<Permit> {
        let taken = self.lock().try_take(self, lane, bytes);
        taken.then(|| Permit { permits: Arc::clone(self), bytes })
    }

    /// The same, and a place in the line where there is no permit left, unless `waiting_max` wait.
    #[must_use]
    pub fn line_up(self: &Arc<Self>, lane: Lane, bytes: usize, waiting_max: usize) -> Admission {
        let mut state = self.lock();
        if state.try_take(self, lane, bytes) {
            return Admission::Now(Permit { permits: Arc::clone(self), bytes });
        }
        if bytes > lane.mark(self.bytes_max) {
            return Admission::Never;
        }
        if state.wishes.len() >= waiting_max {
            return Admission::Crowded;
        }
        let (grant, granted) = oneshot::channel();
        let key = (lane, state.next);
        state.next += 1;
        state.wishes.insert(key, Wish { bytes, grant });
        Admission::Later(Turn { permits: Arc::clone(self), key, granted })
    }

    /// The most bytes that work in a lane may ever have.
    #[must_use]
    pub fn bytes_max(&self, lane: Lane) -> usize {
        lane.mark(self.bytes_max)
    }

    /// The bytes of all permits that are out.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().wishes.len()
    }

    /// The state. A thread that panicked while it held the lock left it whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is out, and gives what there is room for to those who wait.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let mut granted = Vec::new();
        {
            let mut state = self.lock();
            change(&mut state);
            while let Some((&(lane, _), wish)) = state.wishes.first_key_value()
                && state.fits(self, lane, wish.bytes)
            {
                let (_, Wish { bytes, grant }) = state.wishes.pop_first().expect("just seen");
                state.count += 1;
                state.bytes += bytes;
                granted.push((Permit { permits: Arc::clone(self), bytes }, grant));
            }
        }
        for (permit, grant) in granted {
            // Who is gone does not take it, and it comes back.
            let _ = grant.send(permit);
        }
    }
}

impl State {
    fn fits(&self, permits: &Permits, lane: Lane, bytes: usize) -> bool {
        self.count < lane.mark(permits.count_max)
            && self.bytes.saturating_add(bytes) <= lane.mark(permits.bytes_max)
    }

    /// Takes room, unless there is none or somebody as urgent waits for it.
    fn try_take(&mut self, permits: &Permits, lane: Lane, bytes: usize) -> bool {
        let is_next = self.wishes.first_key_value().is_none_or(|((first, _), _)| lane < *first);
        let taken = is_next && self.fits(permits, lane, bytes);
        if taken {
            self.count += 1;
            self.bytes += bytes;
        }
        taken
    }
}

impl Permit {
    /// Whether no other permit of its kind is out.
    pub(crate) fn is_only(&self) -> bool {
        self.permits.lock().count == 1
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts so many bytes for it, whether there is room for them or not: what is there can't be refused.
    pub fn count(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.permits.change(|state| state.bytes = state.bytes - before + bytes);
    }

    /// Gives bytes back until it has so many, if it has more.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.count(bytes);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.change(|state| {
            state.count -= 1;
            state.bytes -= self.bytes;
        });
    }
}

impl Future for Turn {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let granted = ready!(Pin::new(&mut self.granted).poll(context));
        Poll::Ready(granted.expect("a wish stays until it is granted or given up"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let key = self.key;
        // Those behind it may fit.
        self.permits.change(|state| drop(state.wishes.remove(&key)));
    }
}

#[cfg(test)]
mod tests;
