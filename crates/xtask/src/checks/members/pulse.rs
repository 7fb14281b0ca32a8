//! A writer that talks to one member only, and notes when it was acknowledged.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_check::history::Request;
use quorate_mvcc::PutRequest;
use tokio::task::JoinHandle;

use crate::checks::blackbox::recorder::Recorder;
use crate::checks::client::Client;

/// The first of them, in the history.
const FIRST: u64 = 10_000;

/// Between two writes.
const REST: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) member: String,
    /// Ascending.
    acks: Arc<Mutex<Vec<Instant>>>,
    over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Pulse {
    /// Starts to write, as a client with a number that no other has.
    pub(super) fn start(
        member: String,
        number: u64,
        client: Client,
        recorder: Arc<Recorder>,
    ) -> Self {
        let (acks, over) = (Arc::<Mutex<Vec<Instant>>>::default(), Arc::<AtomicBool>::default());
        let task = tokio::spawn(write(number, client, recorder, acks.clone(), over.clone()));
        Self { member, acks, over, task }
    }

    /// How many acknowledgements it had after a moment.
    pub(super) fn count_since(&self, since: Instant) -> usize {
        let acks = self.acks.lock().expect("no writer panicked");
        acks.len() - acks.partition_point(|at| *at <= since)
    }

    /// All times without an acknowledgement between two moments.
    pub(super) fn pauses(&self, from: Instant, to: Instant) -> Vec<(Instant, Instant)> {
        pauses(&self.acks.lock().expect("no writer panicked"), from, to)
    }

    /// Ends it.
    pub(super) async fn end(self) -> io::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        self.task.await.map_err(io::Error::other)
    }
}

fn pauses(acks: &[Instant], from: Instant, to: Instant) -> Vec<(Instant, Instant)> {
    let between = acks.iter().copied().filter(|at| from < *at && *at < to);
    let marks: Vec<Instant> = [from].into_iter().chain(between).chain([to]).collect();
    marks.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

async fn write(
    number: u64,
    client: Client,
    recorder: Arc<Recorder>,
    acks: Arc<Mutex<Vec<Instant>>>,
    over: Arc<AtomicBool>,
) {
    let key = Bytes::from(format!("pulse/{number}"));
    while !over.load(Ordering::Relaxed) {
        let value = Bytes::from(format!("{number}:{}", recorder.unique()));
        let put = PutRequest { key: key.clone(), value, ..PutRequest::default() };
        if recorder.ask(FIRST + number, &client, Request::Put(put)).await.is_some() {
            acks.lock().expect("no writer panicked").push(Instant::now());
        } else {
            // What became of it nobody knows, and many such writes are much to search through. So no other one
            // is on its way before the member serves again.
            while !over.load(Ordering::Relaxed) && client.prefix("none/", false).await.is_err() {
                tokio::time::sleep(REST).await;
            }
        }
        tokio::time::sleep(REST).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_fill_the_time_between() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let acks = [at(10), at(20), at(320), at(900)];
        let of = |from, to| -> Vec<u128> {
            let all = pauses(&acks, at(from), at(to)).into_iter();
            all.map(|(began, ended)| (ended - began).as_millis()).collect()
        };
        assert_eq!(of(15, 330), [5, 300, 10]);
        assert_eq!(of(400, 800), [400], "one that lasts throughout is seen");
        assert_eq!(of(0, 1_000), [10, 10, 300, 580, 100]);
    }
}
