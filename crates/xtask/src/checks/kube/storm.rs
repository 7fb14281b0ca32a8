//! Three apiservers, each at a member of its own, change the same objects at once, as long as nothing or the leader
//! fails: by optimistic concurrency, from caches that are never quite new.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::etcdserverpb::RangeRequest;
use quorate_proto::mvccpb::KeyValue;
use tokio::task::JoinHandle;

use crate::checks::client::Client;
use crate::checks::cluster::Cluster;
use crate::checks::crash::{clients, leader, wait_for_leader};
use crate::checks::dice::Dice;
use crate::checks::kube::apiserver::{COMPACT_REV_KEY, REGISTRY};
use crate::checks::kube::apiserver::{guarded, list, outcome, page, revision};
use crate::checks::kube::cacher::{Cacher, Freshness};
use crate::checks::kube::history::{Attempt, Guard, History, Listing, Outcome, State, kv};
use crate::checks::kube::judge::{Judged, Run, Watched, everything_now};
use crate::checks::kube::objects::{Scale, key, value, wish, word};

/// Clients of each apiserver.
const WORKERS: usize = 6;

/// Objects that all of them write.
const SHARED: u64 = 20;

/// A cache is never so far behind.
const TOO_STALE: Duration = Duration::from_secs(30);

/// What fails in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The leader is killed, and comes back later.
    Leader,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) done: usize,
    pub(crate) refused: usize,
    /// Attempts without an answer, and those of them that were carried out.
    pub(crate) unknown: usize,
    pub(crate) resolved: usize,
    pub(crate) length: Duration,
    pub(crate) lists: usize,
    /// How long a cache took to be as new as what was just read, ascending.
    pub(crate) waits: Vec<Duration>,
    pub(crate) watched: Watched,
    pub(crate) wrong: Vec<String>,
}

/// What one task of an apiserver did.
#[derive(Debug, Default)]
struct Done {
    attempts: Vec<Attempt>,
    listings: Vec<Listing>,
    waits: Vec<Duration>,
    /// What went wrong, which a fault may excuse.
    errors: Vec<String>,
    /// What nothing excuses.
    wrong: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// A cluster that does not answer, before or after the fault.
pub(crate) async fn run(cluster: &mut Cluster, scale: Scale, fault: Fault) -> io::Result<Found> {
    let patience = Duration::from_secs(if fault == Fault::None { 30 } else { 3 });
    let members = clients(cluster, patience);
    let (before, start) = everything_now(&members[0]).await?;
    let version = before.get(COMPACT_REV_KEY.as_bytes()).map_or(0, |kv| kv.version);
    let mut dice = Dice::new(scale.seed, 2 + fault as u64);

    let over = Arc::new(AtomicBool::new(false));
    let (mut tasks, mut cachers): (Vec<JoinHandle<Done>>, Vec<Cacher>) = (Vec::new(), Vec::new());
    for home in 0..members.len() {
        let mine = (0..scale.watchers).filter(|watcher| watcher % members.len() == home);
        let wishes = mine.map(|watcher| wish(watcher, start + 1)).collect();
        let cacher = Cacher::start(members.clone(), home, wishes);
        let lease = members[home].grant_any(3_600).await.map_err(io::Error::other)?.id;
        let hand = |name: String, dice: &mut Dice| Hand {
            members: members.clone(),
            at: home,
            name,
            dice: dice.split(),
            over: over.clone(),
            known: HashMap::new(),
            done: Done::default(),
        };
        for worker in 0..WORKERS {
            let hand = hand(format!("{fault:?}-{home}-{worker}"), &mut dice);
            tasks.push(tokio::spawn(hand.work(lease)));
        }
        tasks.push(tokio::spawn(hand("lister".to_owned(), &mut dice).lists()));
        tasks.push(tokio::spawn(hand("reader".to_owned(), &mut dice).reads(cacher.freshness())));
        let half = Duration::from_millis(scale.seconds * 500);
        let racer = hand("racer".to_owned(), &mut dice);
        tasks.push(tokio::spawn(racer.compacts(half, version, start)));
        cachers.push(cacher);
    }
    let began = Instant::now();
    let third = Duration::from_millis(scale.seconds * 1_000 / 3);
    tokio::time::sleep(third).await;
    let killed = match fault {
        Fault::None => None,
        Fault::Leader => leader(cluster).await,
    };
    killed.map_or(Ok(()), |leader| cluster.kill(leader))?;
    tokio::time::sleep(third).await;
    killed.map_or(Ok(()), |leader| cluster.restart(leader))?;
    tokio::time::sleep(third).await;
    over.store(true, Ordering::Relaxed);

    let mut found = Found::default();
    let mut run = Run { before, start, attempts: Vec::new(), listings: Vec::new(), cachers };
    for task in tasks {
        let done = task.await.map_err(io::Error::other)?;
        run.attempts.extend(done.attempts);
        run.listings.extend(done.listings);
        found.waits.extend(done.waits);
        found.wrong.extend(done.wrong);
        if fault == Fault::None {
            found.wrong.extend(done.errors);
        }
    }
    found.length = began.elapsed();
    if fault == Fault::Leader && killed.is_none() {
        found.wrong.push("nobody led, so nobody was killed".to_owned());
    }
    cluster.demand_alive()?;
    wait_for_leader(cluster).await?;
    // What is there in the end, at each member.
    let patient = clients(cluster, Duration::from_secs(60));
    for client in &patient {
        let listing = list(client, REGISTRY, 200, async || Ok(())).await;
        run.listings.push(listing.map_err(io::Error::other)?);
    }
    found.lists = run.listings.len();
    found.waits.sort();
    let is = |attempt: &&Attempt, what: fn(&Outcome) -> bool| what(&attempt.outcome);
    let count = |what| run.attempts.iter().filter(|attempt| is(attempt, what)).count();
    found.done = count(|outcome| matches!(outcome, Outcome::Done(_)));
    found.refused = count(|outcome| matches!(outcome, Outcome::Refused(..)));
    found.unknown = count(|outcome| *outcome == Outcome::Unknown);
    let counts = (run.before.clone(), run.attempts.clone());
    let Judged { history, wrong, watched } = run.judge(&patient).await?;
    found.resolved = history.resolved;
    found.watched = watched;
    found.wrong.extend(wrong);
    found.wrong.extend(sums(&history, &counts.0));
    cluster.demand_no_panic()?;
    Ok(found)
}

/// Every shared object counts its updates. The history has been held against what was acknowledged.
fn sums(history: &History, before: &State) -> Vec<String> {
    let after = history.state();
    let mut wrong = Vec::new();
    for shared in (0..SHARED).map(shared) {
        let was = before.get(&shared).map_or(0, count_of);
        let is = after.get(&shared).map_or(0, count_of);
        let updates = history.events.iter().filter(|event| kv(event).key == shared).count() as u64;
        if is != was + updates {
            wrong.push(format!("{shared:?} counted to {is}, from {was} by {updates} updates"));
        }
    }
    wrong
}

fn shared(number: u64) -> Bytes {
    key(4 * number)
}

/// What a shared object counts: the number at the beginning of its word, which it has once it was updated here.
fn count_of(kv: &KeyValue) -> u64 {
    word(&kv.value).split(':').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// A task of an apiserver. It turns to another member where one does not answer.
struct Hand {
    members: Vec<Client>,
    at: usize,
    name: String,
    dice: Dice,
    over: Arc<AtomicBool>,
    /// Shared objects as it saw them last: their revisions, and what they counted.
    known: HashMap<Bytes, (i64, u64)>,
    done: Done,
}

impl Hand {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn client(&self) -> Client {
        self.members[self.at % self.members.len()].clone()
    }

    async fn failed(&mut self, what: impl ToString) {
        self.done.errors.push(format!("{}: {}", self.name, what.to_string()));
        self.at += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    async fn attempt(
        &mut self,
        key: Bytes,
        guard: Guard,
        put: Option<(Bytes, i64)>,
    ) -> (Outcome, Option<KeyValue>) {
        let mut attempt = Attempt { key, guard, put, outcome: Outcome::Unknown };
        let mut there = None;
        match self.client().txn(guarded(&attempt)).await {
            Ok(answer) => match outcome(&attempt, &answer) {
                Ok((outcome, kv)) => (attempt.outcome, there) = (outcome, kv),
                Err(what) => self.done.wrong.push(what),
            },
            Err(status) => self.failed(status).await,
        }
        let outcome = attempt.outcome;
        self.done.attempts.push(attempt);
        (outcome, there)
    }

    async fn work(mut self, lease: i64) -> Done {
        let mut own: Option<(Bytes, i64)> = None;
        for number in 0_u64.. {
            if self.is_over() {
                break;
            }
            let value = value(&format!("{}-{number}", self.name), &mut self.dice);
            match self.dice.roll(10) {
                0..6 => self.count(number).await,
                6 => {
                    let key = format!("/registry/events/{}/{number}", self.name).into();
                    self.attempt(key, Guard::Mod(0), Some((value, lease))).await;
                }
                7 => {
                    let Some((key, at)) = own.take() else { continue };
                    self.attempt(key, Guard::Mod(at), None).await;
                }
                _ => {
                    let namespace = self.dice.roll(10);
                    let (key, at) = own.take().unwrap_or_else(|| {
                        let key =
                            format!("/registry/pods/ns-{namespace:02}/{}-{number}", self.name);
                        (key.into(), 0)
                    });
                    let put = Some((value, 0));
                    let (outcome, _) = self.attempt(key.clone(), Guard::Mod(at), put).await;
                    own = match outcome {
                        Outcome::Done(at) => Some((key, at)),
                        _ => None,
                    };
                }
            }
        }
        self.done
    }

    /// Updates a shared object: from memory first, and from what a refusal tells then.
    async fn count(&mut self, number: u64) {
        let key = shared(self.dice.roll(SHARED));
        for attempt in 0.. {
            let (at, count) = match self.known.get(&key) {
                Some(known) => *known,
                None => {
                    let get =
                        RangeRequest { key: key.clone(), limit: 1, ..RangeRequest::default() };
                    match self.client().range(get).await {
                        Ok(got) => got.kvs.first().map_or((0, 0), seen),
                        Err(status) => return self.failed(status).await,
                    }
                }
            };
            let word = format!("{}:{}-{number}-{attempt}", count + 1, self.name);
            let put = Some((value(&word, &mut self.dice), 0));
            let (outcome, there) = self.attempt(key.clone(), Guard::Mod(at), put).await;
            match outcome {
                Outcome::Done(at) => {
                    self.known.insert(key, (at, count + 1));
                    return;
                }
                Outcome::Refused(..) if !self.is_over() => {
                    match &there {
                        Some(kv) => self.known.insert(key.clone(), seen(kv)),
                        None => self.known.remove(&key),
                    };
                }
                Outcome::Refused(..) => return,
                Outcome::Unknown => {
                    self.known.remove(&key);
                    return;
                }
            }
        }
    }

    async fn lists(mut self) -> Done {
        while !self.is_over() {
            match list(&self.client(), REGISTRY, 100, async || Ok(())).await {
                Ok(listing) => self.done.listings.push(listing),
                Err(status) => self.failed(status).await,
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.done
    }

    /// Consistent reads from the cache: what is the newest revision, and when does the cache have it?
    async fn reads(mut self, mut cache: Freshness) -> Done {
        while !self.is_over() {
            match self.client().range(page("/registry/pods/", None, 1, 0)).await {
                Ok(answer) => {
                    let (asked, revision) = (Instant::now(), revision(&answer));
                    if tokio::time::timeout(TOO_STALE, cache.wait(revision)).await.is_err() {
                        self.done.wrong.push(format!("a cache does not come to {revision}"));
                    }
                    self.done.waits.push(asked.elapsed());
                }
                Err(status) => self.failed(status).await,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.done
    }

    /// Races the others, who know the same version of the key, for the compaction of what was before all this.
    async fn compacts(mut self, after: Duration, version: i64, to: i64) -> Done {
        tokio::time::sleep(after).await;
        let key = Bytes::from(COMPACT_REV_KEY);
        let put = Some((to.to_string().into(), 0));
        let (outcome, _) = self.attempt(key, Guard::Version(version), put).await;
        if matches!(outcome, Outcome::Done(_))
            && let Err(status) = self.client().compact(to).await
        {
            self.failed(status).await;
        }
        self.done
    }
}

fn seen(kv: &KeyValue) -> (i64, u64) {
    (kv.mod_revision, count_of(kv))
}
