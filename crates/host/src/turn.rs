//! Rounds of the raft thread that others run in its place.
//!
//! A round is short and waits for nobody, so any thread can run one. Whoever brings the raft thread
//! something while it sleeps therefore runs the round itself, instead of waking it up and perhaps
//! falling asleep right after: the reader of a peer, the wal thread after a sync, the apply thread,
//! and a caller who is the only one. A message thus becomes a record for the log, or the answer to
//! a sync a message, without another thread. The raft thread is left with its deadlines and with
//! what comes in while somebody is in a round; under load that is nearly everything.
//!
//! Who may run a round is told by the inbox, one thread at a time ([`crate::inbox`]); the lock in
//! here is there for the compiler, and for the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::driver::Driver;
use crate::error::RequestError;
use crate::handle::{Shared, Signal};
use crate::inbox::Offer;

/// Where the driver is found by whoever has the turn. Empty before the raft thread starts and after
/// it has ended.
pub(crate) struct Seat<O>(Mutex<Option<Driver<O>>>);

impl<O> Seat<O> {
    pub(crate) fn empty() -> Self {
        Self(Mutex::new(None))
    }

    /// The driver. After a panic in a round nobody runs another: it is fatal, which closes the inbox.
    fn lock(&self) -> MutexGuard<'_, Option<Driver<O>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the driver out again, however the raft thread ends.
struct Occupied<'a, O>(&'a Seat<O>);

impl<O> Drop for Occupied<'_, O> {
    fn drop(&mut self) {
        let driver = self.0.lock().take();
        drop(driver);
    }
}

/// The raft thread: runs until the inbox is closed, and what was in it by then is done, such as to tell the others that
/// this member leaves.
pub(crate) fn run<O: Send + 'static>(driver: Driver<O>) {
    let (shared, fatal) = (Arc::clone(&driver.shared), Arc::clone(&driver.fatal));
    *shared.seat.lock() = Some(driver);
    let _occupied = Occupied(&shared.seat);
    loop {
        let wait = shared.seat.lock().as_mut().map(Driver::rest);
        shared.inbox.wait(wait.expect("only this thread takes the driver out"));
        let is_over = shared.inbox.is_closed();
        if is_over && (fatal.has_happened() || shared.inbox.is_finished()) {
            return;
        }
        shared.seat.lock().as_mut().expect("only this thread takes the driver out").round();
    }
}

impl<O: Send + 'static> Shared<O> {
    /// Reports to the raft thread, or does its work.
    pub(crate) fn report(&self, signal: Signal<O>) {
        self.follow_up(self.inbox.offer_own([signal]));
    }

    /// Gives the raft thread a client's work, or does it. A caller who is not the only one leaves it to
    /// the raft thread, which then finds the work of many at once.
    ///
    /// # Errors
    /// [`RequestError::Stopped`].
    pub(crate) fn submit(&self, signal: Signal<O>, alone: bool) -> Result<(), RequestError> {
        let offered = if alone {
            self.inbox.offer_client(signal)
        } else {
            self.inbox.push_client(signal).map(|()| Offer::Left)
        };
        self.follow_up(offered.map_err(|_| RequestError::Stopped)?);
        Ok(())
    }

    /// Gives the raft thread what a peer said, or does its work. Waits while there is no room; false
    /// if the host stops.
    pub(crate) fn hear(&self, signals: &mut Vec<Signal<O>>, bytes: usize) -> bool {
        self.follow_up(self.inbox.offer_peer(signals, bytes))
    }

    /// Runs a round, if that has become the caller's turn. False if the host stops.
    fn follow_up(&self, offer: Offer) -> bool {
        match offer {
            Offer::Closed => return false,
            Offer::Left => {}
            Offer::Turn => {
                let fatal = self.seat.lock().as_ref().map(|driver| Arc::clone(&driver.fatal));
                let mut sooner = false;
                // None if the host has just stopped.
                if let Some(fatal) = fatal {
                    fatal.guard("raft", || {
                        if let Some(driver) = self.seat.lock().as_mut() {
                            driver.round();
                            sooner = driver.is_due_sooner();
                        }
                    });
                }
                self.inbox.end_turn(sooner);
            }
        }
        true
    }
}
