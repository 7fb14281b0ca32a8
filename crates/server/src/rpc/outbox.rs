//! Responses on their way to a client that may not read them, each with the memory that it takes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use quorate_host::Permit;
use tokio::sync::Notify;
use tokio::time::sleep;
use tonic::codegen::tokio_stream::Stream;

use crate::admission::{Held, Memory, look};

/// The memory of responses that were made together.
pub(crate) type Share = Option<Arc<Permit>>;

/// Where responses are put. Its clones are the same one; it ends with [`Outbox::close`].
#[derive(Debug)]
pub(crate) struct Outbox<T>(Arc<Shared<T>>);

/// Where they are taken.
#[derive(Debug)]
pub(crate) struct Responses<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    most: usize,
    /// What the call holds, and so what is on its way.
    held: Held,
    queue: Mutex<Queue<T>>,
    /// Tells whoever puts that something was taken, or that nobody takes any more.
    taken: Notify,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<(T, Share)>,
    /// Changes whenever something is taken, or put where there was nothing.
    moves: u64,
    is_closed: bool,
    is_abandoned: bool,
    taker: Option<Waker>,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// An outbox that is full with so many responses, and its other side.
pub(super) fn outbox<T>(most: usize, held: Held) -> (Outbox<T>, Responses<T>) {
    let queue = Queue {
        items: VecDeque::new(),
        moves: 0,
        is_closed: false,
        is_abandoned: false,
        taker: None,
    };
    let shared = Arc::new(Shared { most, held, queue: Mutex::new(queue), taken: Notify::new() });
    (Outbox(shared.clone()), Responses(shared))
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Outbox<T> {
    /// Resolves when there is room for one more. `None` if nobody takes any more. For one who waits.
    pub(super) async fn room(&self) -> Option<()> {
        loop {
            {
                let queue = self.0.lock();
                if queue.is_abandoned {
                    return None;
                }
                if queue.items.len() < self.0.most {
                    return Some(());
                }
            }
            self.0.taken.notified().await;
        }
    }

    /// Puts one in, whether there is room or not.
    pub(super) fn put(&self, item: T, share: Share) {
        let taker = {
            let mut queue = self.0.lock();
            if queue.is_abandoned {
                return;
            }
            queue.moves += u64::from(queue.items.is_empty());
            queue.items.push_back((item, share));
            queue.taker.take()
        };
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// Takes those out again that are such, in their order, if nobody has taken them yet.
    pub(super) fn take_back(&self, is_such: impl Fn(&T) -> bool) -> Vec<T> {
        let back: Vec<_> = {
            let mut queue = self.0.lock();
            queue.moves += 1;
            let items = std::mem::take(&mut queue.items);
            let (back, stay): (Vec<_>, Vec<_>) =
                items.into_iter().partition(|(item, _)| is_such(item));
            queue.items = stay.into();
            back
        };
        back.into_iter().map(|(item, _)| item).collect()
    }

    /// Nothing more comes. What is in is still taken.
    pub(super) fn close(&self) {
        let taker = {
            let mut queue = self.0.lock();
            queue.is_closed = true;
            queue.taker.take()
        };
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// Whether nothing waits to be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().items.is_empty()
    }

    /// Resolves when nobody takes any more. For one who waits, and does not wait for room.
    pub(super) async fn abandoned(&self) {
        while !self.0.lock().is_abandoned {
            self.0.taken.notified().await;
        }
    }

    /// Resolves when something has waited here for so long without being taken, and others wait for memory.
    pub(super) async fn is_in_the_way(&self, memory: &Memory, patience: Duration) {
        loop {
            let before = self.0.lock().moves;
            sleep(patience).await;
            loop {
                {
                    let queue = self.0.lock();
                    if queue.items.is_empty() || queue.moves != before {
                        break;
                    }
                }
                if memory.waiting() > 0 {
                    return;
                }
                sleep(look(patience)).await;
            }
        }
    }
}

impl<T> Stream for Responses<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut queue = self.0.lock();
        let next = match queue.items.pop_front() {
            Some((item, share)) => {
                queue.moves += 1;
                if let Some(share) = share {
                    self.0.held.leave_with(share);
                }
                Poll::Ready(Some(item))
            }
            None if queue.is_closed => Poll::Ready(None),
            None => {
                queue.taker = Some(context.waker().clone());
                Poll::Pending
            }
        };
        drop(queue);
        if matches!(next, Poll::Ready(Some(_))) {
            self.0.taken.notify_one();
        }
        next
    }
}

impl<T> Drop for Responses<T> {
    fn drop(&mut self) {
        let left = {
            let mut queue = self.0.lock();
            queue.is_abandoned = true;
            std::mem::take(&mut queue.items)
        };
        drop(left);
        self.0.taken.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use quorate_host::Lane;
    use tokio::time::timeout;

    use super::*;
    use crate::rpc::METHODS;

    async fn take<T>(responses: &mut Responses<T>) -> Option<T> {
        poll_fn(|context| Pin::new(&mut *responses).poll_next(context)).await
    }

    fn held(memory: &Arc<Memory>) -> Held {
        Held::new(memory, METHODS[0], false, None)
    }

    /// Whether a future is done by itself.
    async fn is_done(future: impl Future) -> bool {
        timeout(Duration::ZERO, future).await.is_ok()
    }

    #[tokio::test]
    async fn so_many_wait_and_memory_comes_back_with_the_next_one() {
        let memory = Memory::new(Some(1600));
        let call = held(&memory);
        let (outbox, mut responses) = outbox(2, call.clone());
        for number in [1, 2] {
            assert_eq!(outbox.room().await, Some(()));
            let share = memory.claim_now(Lane::Ordinary, 100).map(Arc::new);
            outbox.put(number, share);
        }
        assert!(!is_done(outbox.room()).await);
        assert_eq!(take(&mut responses).await, Some(1));
        assert_eq!((outbox.room().await, memory.held()), (Some(()), 200), "it is made ready");
        let first = call.leaving(Bytes::from_static(b"1"), true);
        assert_eq!(take(&mut responses).await, Some(2));
        let second = call.leaving(Bytes::from_static(b"2"), true);
        assert_eq!((&first[..], &second[..], memory.held()), (&b"1"[..], &b"2"[..], 200));
        drop(first);
        assert_eq!(memory.held(), 100, "it was taken by the client");
        drop(second);
        assert_eq!(memory.held(), 0);
        outbox.put(3, None);
        outbox.close();
        assert_eq!((take(&mut responses).await, take(&mut responses).await), (Some(3), None));
    }

    #[tokio::test]
    async fn whoever_goes_away_leaves_nothing() {
        let memory = Memory::new(Some(1600));
        let (outbox, responses) = outbox(1, held(&memory));
        outbox.put(1, memory.claim_now(Lane::Ordinary, 100).map(Arc::new));
        assert!(!is_done(outbox.abandoned()).await);
        drop(responses);
        outbox.abandoned().await;
        assert_eq!((outbox.room().await, memory.held()), (None, 0));
        outbox.put(2, None);
        assert!(outbox.is_empty());
    }

    #[tokio::test]
    async fn some_are_taken_back() {
        let (outbox, mut responses) = outbox(9, held(&Memory::new(None)));
        (1..=5).for_each(|number| outbox.put(number, None));
        assert_eq!(outbox.take_back(|number| number % 2 == 0), [2, 4]);
        for number in [1, 3, 5] {
            assert_eq!(take(&mut responses).await, Some(number));
        }
    }

    #[tokio::test]
    async fn what_nobody_reads_is_in_the_way_of_those_who_wait_and_of_nobody_else() {
        let memory = Memory::new(Some(160));
        let (outbox, mut responses) = outbox(9, held(&memory));
        let patience = Duration::from_millis(1);
        let in_the_way = async |outbox: &Outbox<u8>| {
            let waited = outbox.is_in_the_way(&memory, patience);
            timeout(Duration::from_millis(50), waited).await.is_ok()
        };
        outbox.put(1, memory.claim_now(Lane::Ordinary, 100).map(Arc::new));
        assert!(!in_the_way(&outbox).await, "nobody waits");
        let waiting = memory.claim(Lane::Ordinary, 140);
        let both = async { tokio::join!(waiting, outbox.is_in_the_way(&memory, patience)) };
        assert!(timeout(Duration::from_millis(50), both).await.is_err(), "it is still held");
        let waiting = memory.claim(Lane::Ordinary, 140);
        tokio::select! {
            biased;
            _ = waiting => panic!("there is no room"),
            () = outbox.is_in_the_way(&memory, patience) => {}
        }
        assert_eq!(take(&mut responses).await, Some(1));
        let waiting = memory.claim(Lane::Ordinary, 140);
        tokio::select! {
            biased;
            _ = waiting => panic!("it is on its way"),
            () = outbox.is_in_the_way(&memory, patience) => panic!("nothing is in"),
            () = sleep(Duration::from_millis(50)) => {}
        }
    }
}
