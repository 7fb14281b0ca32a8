//! The inbox of a thread: everything that can wake it comes through one door.
//!
//! Three lanes, since what keeps the group alive must never wait behind what merely arrives:
//!
//! - *own*: what the host's other threads report (durable, applied). Bounded by the work that was
//!   given to them, and therefore never refused.
//! - *peers*: what other members say. Bounded in bytes by making their reader threads wait, which
//!   the network then feels as back pressure. The thread behind the inbox waits for no reader, so
//!   nobody can wait in a circle.
//! - *clients*: bounded by the permits that clients hold.
//!
//! The receiver takes all of the first two lanes and a bounded part of the third at once, under one
//! lock, and is woken only when it sleeps: the cost of a wake-up is what a small write mostly pays.
//!
//! **Turns.** Where the receiver's work is short, even that is saved: a sender who finds the receiver
//! asleep may take its turn, do the work in its place, and let it sleep on. A turn belongs to one
//! thread at a time: to the receiver while it is awake, else to nobody or to one sender. Whoever
//! else comes in the meantime just leaves what it brings, and who ends a turn looks whether
//! something was left, and wakes the receiver for it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Client work taken at once; the rest waits for the next round, so that a flood of requests cannot
/// hold up a heartbeat.
const CLIENT_BATCH: usize = 4_096;

/// What became of something that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Offer {
    /// It was dropped, since the inbox is closed.
    Closed,
    /// It is in. Whoever has the turn looks at it.
    Left,
    /// It is in, and the turn is the caller's, who must give it back with [`Inbox::end_turn`].
    Turn,
}

/// An inbox. Shared by its senders and its one receiver.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    /// Wakes the receiver.
    arrival: Condvar,
    /// Wakes readers of peers.
    room: Condvar,
    /// What the peers' lane may hold, in bytes. It takes one message beyond.
    peer_bytes_max: usize,
}

#[derive(Debug)]
struct State<T> {
    own: Vec<T>,
    peers: Vec<T>,
    clients: VecDeque<T>,
    /// The bytes in `peers`.
    peer_bytes: usize,
    /// Whether the receiver sleeps and was not woken yet.
    asleep: bool,
    /// Whether a sender has the receiver's turn.
    taken: bool,
    /// Whether the receiver woke up by itself and waits for the end of that turn.
    overdue: bool,
    /// Readers that wait for room.
    crowd: usize,
    /// Nothing enters any more.
    closed: bool,
}

impl<T> Inbox<T> {
    pub(crate) fn new(peer_bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                own: Vec::new(),
                peers: Vec::new(),
                clients: VecDeque::new(),
                peer_bytes: 0,
                asleep: false,
                taken: false,
                overdue: false,
                crowd: 0,
                closed: false,
            }),
            arrival: Condvar::new(),
            room: Condvar::new(),
            peer_bytes_max,
        }
    }

    /// The state. A thread that panicked while it held the lock left it whole: every change in here
    /// is a push or a take.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the receiver if it sleeps and nobody does its work.
    fn wake(&self, mut state: MutexGuard<'_, State<T>>) {
        let asleep = !state.taken && std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.arrival.notify_one();
        }
    }

    /// Adds what another thread of the host reports. Dropped if the inbox is closed.
    pub(crate) fn push_own(&self, items: impl IntoIterator<Item = T>) {
        let mut state = self.lock();
        if !state.closed {
            state.own.extend(items);
            self.wake(state);
        }
    }

    /// Adds client work, or gives it back if the inbox is closed.
    pub(crate) fn push_client(&self, item: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed {
            return Err(item);
        }
        state.clients.push_back(item);
        self.wake(state);
        Ok(())
    }

    /// As [`Self::push_own`], for a sender that can take the turn.
    pub(crate) fn offer_own(&self, items: impl IntoIterator<Item = T>) -> Offer {
        let mut state = self.lock();
        if state.closed {
            return Offer::Closed;
        }
        state.own.extend(items);
        state.offer_turn()
    }

    /// As [`Self::push_client`], for a sender that can take the turn.
    pub(crate) fn offer_client(&self, item: T) -> Result<Offer, T> {
        let mut state = self.lock();
        if state.closed {
            return Err(item);
        }
        state.clients.push_back(item);
        Ok(state.offer_turn())
    }

    /// Adds what a peer says, all at once, and waits while there is no room. For a sender that can
    /// take the turn.
    pub(crate) fn offer_peer(&self, items: &mut Vec<T>, bytes: usize) -> Offer {
        let mut state = self.lock();
        while state.peer_bytes > self.peer_bytes_max && !state.closed {
            state.crowd += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.crowd -= 1;
        }
        if state.closed {
            return Offer::Closed;
        }
        state.peers.append(items);
        state.peer_bytes += bytes;
        state.offer_turn()
    }

    /// Ends a turn that a sender took. The receiver is woken if something was left in the meantime,
    /// or if it has become due `sooner` than when it fell asleep.
    pub(crate) fn end_turn(&self, sooner: bool) {
        let mut state = self.lock();
        assert!(state.taken, "a turn that nobody took ends");
        state.taken = false;
        if sooner || state.overdue || !state.is_empty() {
            state.asleep = false;
            drop(state);
            self.arrival.notify_one();
        }
    }

    /// Waits until there is something to take, at most this long, or the inbox is closed. The turn is
    /// the receiver's then, until it comes back here.
    pub(crate) fn wait(&self, wait: Duration) {
        let mut state = self.lock();
        if state.is_empty() && !state.closed && !wait.is_zero() {
            state.asleep = true;
            // One wait without a loop: whoever wakes up too early looks at its deadline and returns.
            let (woken, _) =
                self.arrival.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            // But a sender may be at work.
            while state.taken && !state.closed {
                state.overdue = true;
                state = self.arrival.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.overdue = false;
            state.asleep = false;
        }
    }

    /// Takes what there is, waiting at most this long for anything to come. Appends in the order of
    /// the lanes; within a lane, in the order of arrival.
    pub(crate) fn take(&self, wait: Duration, into: &mut Vec<T>) {
        self.wait(wait);
        self.take_now(into);
    }

    /// Takes what there is. For whoever has the turn.
    pub(crate) fn take_now(&self, into: &mut Vec<T>) {
        let mut state = self.lock();
        into.append(&mut state.own);
        into.append(&mut state.peers);
        state.peer_bytes = 0;
        let batch = state.clients.len().min(CLIENT_BATCH);
        into.extend(state.clients.drain(..batch));
        let crowd = state.crowd;
        drop(state);
        if crowd > 0 {
            self.room.notify_all();
        }
    }

    /// Lets nothing more in and wakes everybody. What is in can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrival.notify_all();
        self.room.notify_all();
    }

    /// Closes, and drops what is in: whoever waits for an answer to it hears that there is none.
    pub(crate) fn discard(&self) {
        let mut state = self.lock();
        state.closed = true;
        let own = std::mem::take(&mut state.own);
        let peers = std::mem::take(&mut state.peers);
        let clients = std::mem::take(&mut state.clients);
        drop(state);
        self.arrival.notify_all();
        self.room.notify_all();
        // Outside the lock, since dropping wakes others.
        drop((own, peers, clients));
    }

    /// Whether nothing more comes in.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether nothing is in.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether nothing more comes in, and nothing is left.
    pub(crate) fn is_finished(&self) -> bool {
        let state = self.lock();
        state.closed && state.is_empty()
    }
}

impl<T> State<T> {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.peers.is_empty() && self.clients.is_empty()
    }

    /// Gives the turn to the caller, if it is nobody's.
    fn offer_turn(&mut self) -> Offer {
        if self.asleep && !self.taken {
            self.taken = true;
            Offer::Turn
        } else {
            Offer::Left
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn take(inbox: &Inbox<u32>) -> Vec<u32> {
        let mut taken = Vec::new();
        inbox.take(LONG, &mut taken);
        taken
    }

    #[test]
    fn lanes_come_in_order_of_urgency() {
        let inbox = Inbox::new(100);
        inbox.push_client(5).unwrap();
        assert_eq!(inbox.offer_peer(&mut vec![3, 4], 10), Offer::Left);
        inbox.push_own([1, 2]);
        inbox.push_client(6).unwrap();
        assert_eq!(take(&inbox), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn client_work_is_taken_in_parts() {
        let inbox = Inbox::new(100);
        for item in 0..5_000 {
            inbox.push_client(item).unwrap();
        }
        assert_eq!(take(&inbox).len(), CLIENT_BATCH);
        inbox.push_own([7]);
        let rest = take(&inbox);
        assert_eq!((rest[0], rest.len()), (7, 5_000 - CLIENT_BATCH + 1));
    }

    #[test]
    fn a_full_lane_of_peers_makes_them_wait_and_nobody_else() {
        let inbox = Arc::new(Inbox::new(10));
        assert_eq!(inbox.offer_peer(&mut vec![1], 11), Offer::Left);
        let reader = thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || inbox.offer_peer(&mut vec![2], 1)
        });
        while inbox.lock().crowd == 0 {
            thread::yield_now();
        }
        inbox.push_own([0]);
        assert_eq!(take(&inbox), [0, 1]);
        assert_eq!(reader.join().unwrap(), Offer::Left);
        assert_eq!(take(&inbox), [2]);
    }

    #[test]
    fn closing_wakes_everybody_and_loses_nothing() {
        let inbox = Arc::new(Inbox::new(0));
        assert_eq!(inbox.offer_peer(&mut vec![1], 1), Offer::Left);
        let reader = thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || inbox.offer_peer(&mut vec![2], 1)
        });
        while inbox.lock().crowd == 0 {
            thread::yield_now();
        }
        inbox.close();
        assert_eq!(reader.join().unwrap(), Offer::Closed);
        assert_eq!(inbox.push_client(3), Err(3));
        inbox.push_own([4]);
        assert!(!inbox.is_finished());
        assert_eq!(take(&inbox), [1]);
        assert!(inbox.is_finished());
        assert_eq!(take(&inbox), [0; 0], "and nobody waits for more");
    }

    #[test]
    fn discarding_drops_what_is_in() {
        let inbox = Inbox::new(1);
        let item = Arc::new(());
        inbox.push_own([Arc::clone(&item)]);
        inbox.push_client(Arc::clone(&item)).unwrap();
        inbox.discard();
        assert_eq!(Arc::strong_count(&item), 1);
        assert!(inbox.is_finished());
        assert!(inbox.push_client(item).is_err());
    }

    /// A receiver that sleeps for as long, on a thread of its own. What it takes is returned.
    fn sleeper(inbox: &Arc<Inbox<u32>>, wait: Duration) -> thread::JoinHandle<Vec<u32>> {
        let receiver = Arc::clone(inbox);
        let sleeper = thread::spawn(move || {
            let mut taken = Vec::new();
            receiver.take(wait, &mut taken);
            taken
        });
        while !inbox.lock().asleep && !sleeper.is_finished() {
            thread::yield_now();
        }
        sleeper
    }

    #[test]
    fn the_turn_is_given_to_one_and_what_comes_meanwhile_is_left_to_the_receiver() {
        let inbox = Arc::new(Inbox::new(100));
        assert_eq!(inbox.offer_own([1]), Offer::Left, "the receiver has not fallen asleep yet");
        assert_eq!(take(&inbox), [1]);
        let receiver = sleeper(&inbox, LONG);
        assert_eq!(inbox.offer_own([2]), Offer::Turn);
        let mut taken = Vec::new();
        inbox.take_now(&mut taken);
        assert_eq!(taken, [2]);
        inbox.end_turn(false);
        assert!(inbox.lock().asleep, "there is nothing to wake it for");

        assert_eq!(inbox.offer_client(3), Ok(Offer::Turn));
        inbox.take_now(&mut taken);
        assert_eq!(inbox.offer_peer(&mut vec![4], 1), Offer::Left);
        inbox.push_own([5]);
        assert!(inbox.lock().asleep);
        inbox.end_turn(false);
        assert_eq!(receiver.join().unwrap(), [5, 4]);
        assert_eq!(taken, [2, 3]);
    }

    #[test]
    fn a_receiver_that_becomes_due_sooner_is_woken() {
        let inbox = Arc::new(Inbox::new(100));
        let receiver = sleeper(&inbox, LONG);
        assert_eq!(inbox.offer_own([1]), Offer::Turn);
        inbox.take_now(&mut Vec::new());
        inbox.end_turn(true);
        assert_eq!(receiver.join().unwrap(), [0; 0]);
    }

    #[test]
    fn a_receiver_whose_time_comes_during_a_turn_waits_for_its_end_and_no_longer() {
        let inbox = Arc::new(Inbox::new(100));
        // On a busy machine it may have woken up before the offer.
        let receiver = loop {
            let receiver = sleeper(&inbox, Duration::from_millis(50));
            if inbox.offer_own([1]) == Offer::Turn {
                break receiver;
            }
            receiver.join().unwrap();
            inbox.take_now(&mut Vec::new());
        };
        inbox.take_now(&mut Vec::new());
        while !inbox.lock().overdue {
            thread::yield_now();
        }
        assert!(!receiver.is_finished());
        inbox.end_turn(false);
        assert_eq!(receiver.join().unwrap(), [0; 0]);
    }

    #[test]
    fn a_turn_that_never_ends_keeps_no_receiver_from_its_end() {
        let inbox = Arc::new(Inbox::new(100));
        let receiver = sleeper(&inbox, LONG);
        assert_eq!(inbox.offer_own([1]), Offer::Turn);
        inbox.close();
        receiver.join().unwrap();
        assert_eq!(inbox.offer_own([2]), Offer::Closed);
        assert_eq!(inbox.offer_client(3), Err(3));
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let inbox = Arc::new(Inbox::new(64));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let (inbox, taken) = (Arc::clone(&inbox), Arc::clone(&taken));
                thread::spawn(move || {
                    for item in 0..1_000 {
                        let offer = match item % 5 {
                            0 => inbox.offer_own([item]),
                            1 => inbox.offer_peer(&mut vec![item], 8),
                            2 => inbox.offer_client(item).unwrap(),
                            3 => {
                                inbox.push_own([item]);
                                Offer::Left
                            }
                            _ => {
                                inbox.push_client(item).unwrap();
                                Offer::Left
                            }
                        };
                        assert_ne!(offer, Offer::Closed);
                        if offer == Offer::Turn {
                            // Contended: then two would have the turn.
                            inbox.take_now(&mut taken.try_lock().expect("the turn is one's alone"));
                            inbox.end_turn(false);
                        }
                    }
                })
            })
            .collect();
        let mut count = 0;
        while count < 4_000 {
            // Nobody wakes it for what a sender took last.
            inbox.wait(Duration::from_millis(10));
            let mut taken = taken.try_lock().expect("the turn is one's alone");
            inbox.take_now(&mut taken);
            count = taken.len();
        }
        for sender in senders {
            sender.join().unwrap();
        }
        let sum: u32 = taken.lock().unwrap().iter().sum();
        assert_eq!(sum, 4 * (0..1_000).sum::<u32>());
    }
}
