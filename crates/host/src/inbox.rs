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

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Client work taken at once; the rest waits for the next round, so that a flood of requests cannot
/// hold up a heartbeat.
const CLIENT_BATCH: usize = 4_096;

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
    /// Whether the receiver sleeps.
    asleep: bool,
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

    fn wake(&self, state: MutexGuard<'_, State<T>>) {
        let asleep = state.asleep;
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

    /// Adds what a peer says, all at once, and waits while there is no room. False if the inbox is
    /// closed.
    pub(crate) fn push_peer(&self, items: &mut Vec<T>, bytes: usize) -> bool {
        let mut state = self.lock();
        while state.peer_bytes > self.peer_bytes_max && !state.closed {
            state.crowd += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.crowd -= 1;
        }
        if state.closed {
            return false;
        }
        state.peers.append(items);
        state.peer_bytes += bytes;
        self.wake(state);
        true
    }

    /// Takes what there is, waiting at most this long for anything to come. Appends in the order of
    /// the lanes; within a lane, in the order of arrival.
    pub(crate) fn take(&self, wait: Duration, into: &mut Vec<T>) {
        let mut state = self.lock();
        if state.is_empty() && !state.closed && !wait.is_zero() {
            state.asleep = true;
            // One wait without a loop: whoever wakes up too early looks at its deadline and returns.
            let (woken, _) =
                self.arrival.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.asleep = false;
        }
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
        assert!(inbox.push_peer(&mut vec![3, 4], 10));
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
        assert!(inbox.push_peer(&mut vec![1], 11));
        let reader = thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || inbox.push_peer(&mut vec![2], 1)
        });
        while inbox.lock().crowd == 0 {
            thread::yield_now();
        }
        inbox.push_own([0]);
        assert_eq!(take(&inbox), [0, 1]);
        assert_eq!(take(&inbox), [2]);
        assert!(reader.join().unwrap());
    }

    #[test]
    fn closing_wakes_everybody_and_loses_nothing() {
        let inbox = Arc::new(Inbox::new(0));
        assert!(inbox.push_peer(&mut vec![1], 1));
        let reader = thread::spawn({
            let inbox = Arc::clone(&inbox);
            move || inbox.push_peer(&mut vec![2], 1)
        });
        while inbox.lock().crowd == 0 {
            thread::yield_now();
        }
        inbox.close();
        assert!(!reader.join().unwrap());
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

    #[test]
    fn nothing_is_lost_between_threads() {
        let inbox = Arc::new(Inbox::new(64));
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || {
                    for item in 0..1_000 {
                        match item % 3 {
                            0 => inbox.push_own([item]),
                            1 => assert!(inbox.push_peer(&mut vec![item], 8)),
                            _ => inbox.push_client(item).unwrap(),
                        }
                    }
                })
            })
            .collect();
        let mut taken = Vec::new();
        while taken.len() < 4_000 {
            inbox.take(LONG, &mut taken);
        }
        for sender in senders {
            sender.join().unwrap();
        }
        let sum: u32 = taken.iter().sum();
        assert_eq!(sum, 4 * (0..1_000).sum::<u32>());
    }
}
