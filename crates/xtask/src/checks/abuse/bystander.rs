//! Clients that have done nothing: they put and read on all members, and none of it may fail.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quorate_proto::etcdserverpb::RangeRequest;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::checks::client::Client;

/// How long one waits for an answer. It is long, as the machine has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// After how many requests one comes anew.
const REQUESTS_PER_CONNECTION: u64 = 20;

/// Between two requests, so that most of the machine is left to the bad ones.
const PAUSE: Duration = Duration::from_millis(10);

/// One for each member.
#[derive(Debug)]
pub(super) struct Bystanders {
    tasks: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    served: AtomicU64,
    page: Mutex<Page>,
}

/// What has happened since it was last turned.
#[derive(Debug, Default)]
struct Page {
    waits: Vec<Duration>,
    failure: Option<String>,
}

impl Bystanders {
    pub(super) fn start(endpoints: &[String]) -> Self {
        let shared = Arc::<Shared>::default();
        let begin = |(number, endpoint): (usize, &String)| {
            tokio::spawn(go_on(number, endpoint.clone(), shared.clone()))
        };
        Self { tasks: endpoints.iter().enumerate().map(begin).collect(), shared }
    }

    /// How long they waited since this was last asked.
    pub(super) fn turn_page(&self) -> io::Result<String> {
        let page = std::mem::take(&mut *self.shared.page());
        if let Some(failure) = page.failure {
            return Err(io::Error::other(format!("a client that did nothing wrong: {failure}")));
        }
        let mut waits = page.waits;
        waits.sort_unstable();
        let at = |part: usize| waits.get(waits.len() * part / 100).copied().unwrap_or_default();
        let most = waits.last().copied().unwrap_or_default();
        Ok(format!("others: {}, median {:.0?}, most {most:.0?}", waits.len(), at(50)))
    }

    /// Ends them. How many requests were answered.
    pub(super) async fn end(self) -> io::Result<u64> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.map_err(io::Error::other)?;
        }
        match self.shared.page().failure.take() {
            Some(failure) => Err(io::Error::other(failure)),
            None => Ok(self.shared.served.load(Ordering::Relaxed)),
        }
    }
}

impl Shared {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn go_on(number: usize, endpoint: String, shared: Arc<Shared>) {
    let mut turn: u64 = 0;
    let mut client = Client::new(&endpoint, PATIENCE);
    while !shared.stop.load(Ordering::Relaxed) {
        if turn.is_multiple_of(REQUESTS_PER_CONNECTION) {
            client = Client::new(&endpoint, PATIENCE);
        }
        let start = Instant::now();
        let served = put_and_read(&client, number, turn).await;
        let wait = start.elapsed();
        if let Err(status) = served {
            let told = format!("member {number}, turn {turn}, after {wait:.1?}: {status}");
            shared.page().failure.get_or_insert(told);
            return;
        }
        shared.page().waits.push(wait);
        shared.served.fetch_add(2, Ordering::Relaxed);
        turn += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Puts a value and reads it back.
async fn put_and_read(client: &Client, number: usize, turn: u64) -> Result<(), Status> {
    let (key, value) = (format!("good/{number}"), turn.to_string());
    client.put(key.clone(), value.clone()).await?;
    let read = client.range(RangeRequest { key: key.into(), ..RangeRequest::default() }).await?;
    match read.kvs.first() {
        Some(found) if found.value == value => Ok(()),
        other => Err(Status::internal(format!("expected {value}, found {other:?}"))),
    }
}
