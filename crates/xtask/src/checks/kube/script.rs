//! A program whose every answer is determined: one request after the other, at one member after the other.
//! What etcd answers is what Quorate has to answer.

mod events;

use std::collections::BTreeMap;
use std::io;
use std::mem::take;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_proto::etcdserverpb::{RangeRequest, WatchCreateRequest};
use quorate_proto::mvccpb::Event;
use tonic::{Code, Status};

use crate::checks::client::{Client, end_of_prefix};
use crate::checks::cluster::Cluster;
use crate::checks::crash::clients;
use crate::checks::dice::Dice;
use crate::checks::differential::{blank, blank_txn};
use crate::checks::kube::apiserver::{COMPACT_REV_KEY, REGISTRY};
use crate::checks::kube::apiserver::{guarded, list, outcome, page, revision};
use crate::checks::kube::cacher::Cacher;
use crate::checks::kube::history::{Attempt, Guard, History, Listing, Outcome, State};
use crate::checks::kube::judge::{Judged, Run, Watched};
use crate::checks::kube::objects::{Scale, key, value, wish};
use crate::checks::kube::transcript::Transcript;

/// What the program found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) transcript: Transcript,
    /// What happened before the compaction.
    pub(crate) events: Vec<Event>,
    pub(crate) times: Vec<(&'static str, Duration)>,
    pub(crate) wrong: Vec<String>,
    pub(crate) watched: Watched,
}

/// The program, on its way.
struct Script {
    clients: Vec<Client>,
    turn: usize,
    dice: Dice,
    transcript: Transcript,
    attempts: Vec<Attempt>,
    listings: Vec<Listing>,
    /// What lives, with its revision, as this program was told.
    live: BTreeMap<Bytes, i64>,
    gone: Vec<Bytes>,
    /// Objects that there have been.
    born: u64,
    /// The revision of the last answer to a write.
    revision: i64,
    times: Vec<(&'static str, Duration)>,
    wrong: Vec<String>,
}

/// Runs the program.
///
/// # Errors
/// A cluster that does not answer.
pub(crate) async fn run(cluster: &Cluster, scale: Scale) -> io::Result<Found> {
    let mut script = Script {
        clients: clients(cluster, Duration::from_secs(30)),
        turn: 0,
        dice: Dice::new(scale.seed, 1),
        transcript: Transcript::default(),
        attempts: Vec::new(),
        listings: Vec::new(),
        live: BTreeMap::new(),
        gone: Vec::new(),
        born: 0,
        revision: 1,
        times: Vec::new(),
        wrong: Vec::new(),
    };
    script.look("health", RangeRequest { key: "/registry/health".into(), ..no_range() }).await;
    let began = Instant::now();
    for _ in 0..scale.objects {
        script.create().await;
    }
    script.took("one create after the other", began);

    let late = script.revision + 1;
    let cachers = script.cachers(scale, |watcher| if watcher % 2 == 0 { 2 } else { late });
    let began = Instant::now();
    for _ in 0..scale.objects {
        script.step().await;
    }
    script.took("one mixed request after the other", began);
    script.lists().await?;
    let judged = script.judge(State::new(), 1, cachers).await?;
    let mut watched = judged.watched;
    script.compaction(&judged.history).await?;
    watched.add(script.events_with_leases(scale).await?);
    Ok(Found {
        transcript: script.transcript,
        events: judged.history.events,
        times: script.times,
        wrong: script.wrong,
        watched,
    })
}

fn no_range() -> RangeRequest {
    RangeRequest::default()
}

impl Script {
    fn client(&mut self) -> Client {
        self.turn += 1;
        self.clients[self.turn % self.clients.len()].clone()
    }

    fn took(&mut self, what: &'static str, began: Instant) {
        self.times.push((what, began.elapsed()));
    }

    /// Watches as many ranges as are wanted, from a revision on each, at all members.
    fn cachers(&self, scale: Scale, from: impl Fn(usize) -> i64) -> Vec<Cacher> {
        let members = self.clients.len();
        let cacher = |home| {
            let mine = (0..scale.watchers).filter(|watcher| watcher % members == home);
            let wishes = mine.map(|watcher| wish(watcher, from(watcher))).collect();
            Cacher::start(self.clients.clone(), home, wishes)
        };
        (0..members).map(cacher).collect()
    }

    /// Judges what was done after a state.
    async fn judge(
        &mut self,
        before: State,
        start: i64,
        cachers: Vec<Cacher>,
    ) -> io::Result<Judged> {
        let (attempts, listings) = (take(&mut self.attempts), take(&mut self.listings));
        let run = Run { before, start, attempts, listings, cachers };
        let began = Instant::now();
        let mut judged = run.judge(&self.clients).await?;
        if start == 1 {
            self.took("three replays of everything", began);
        }
        self.wrong.append(&mut judged.wrong);
        Ok(judged)
    }

    /// One guarded change, and whether it was made.
    async fn write(&mut self, key: Bytes, guard: Guard, put: Option<(Bytes, i64)>) -> bool {
        let client = self.client();
        let mut attempt = Attempt { key, guard, put, outcome: Outcome::Unknown };
        let answer = client.txn(guarded(&attempt)).await;
        let asked = || {
            let what = if attempt.put.is_some() { "put" } else { "delete" };
            format!("{what} {:?} if {guard:?}", attempt.key)
        };
        match answer {
            Ok(mut answer) => {
                match outcome(&attempt, &answer) {
                    Ok((outcome, _)) => attempt.outcome = outcome,
                    Err(what) => self.wrong.push(what),
                }
                blank_txn(&mut answer);
                self.transcript.note(asked(), &answer);
            }
            Err(status) => self.transcript.error(asked(), &status),
        }
        if let Outcome::Done(at) = attempt.outcome {
            self.revision = at;
            if attempt.put.is_some() {
                self.live.insert(attempt.key.clone(), at);
            } else {
                self.live.remove(&attempt.key);
                self.gone.push(attempt.key.clone());
            }
        }
        let is_done = matches!(attempt.outcome, Outcome::Done(_));
        self.attempts.push(attempt);
        is_done
    }

    async fn look(&mut self, what: &str, request: RangeRequest) {
        let client = self.client();
        let asked = format!("{what} {request:?}");
        match client.range(request).await {
            Ok(mut answer) => {
                blank(&mut answer.header);
                self.transcript.note(asked, &answer);
            }
            Err(status) => self.transcript.error(asked, &status),
        }
    }

    fn value(&mut self) -> Bytes {
        value(&format!("write-{}", self.attempts.len()), &mut self.dice)
    }

    async fn create(&mut self) {
        self.born += 1;
        let (key, value) = (key(self.born - 1), self.value());
        if !self.write(key, Guard::Mod(0), Some((value, 0))).await {
            self.wrong.push("an object was not created".to_owned());
        }
    }

    /// Something that lives.
    fn some(&mut self) -> (Bytes, i64) {
        let number = self.dice.roll(self.live.len() as u64) as usize;
        let (key, at) = self.live.iter().nth(number).expect("fewer are deleted than are created");
        (key.clone(), *at)
    }

    /// One request of many kinds.
    async fn step(&mut self) {
        let (some, at) = self.some();
        let put = Some((self.value(), 0));
        let old = (self.revision - self.dice.roll(60) as i64).max(1);
        match self.dice.roll(100) {
            0..8 => self.create().await,
            8..14 => drop(self.write(some, Guard::Mod(0), put).await),
            14..18 => match self.gone.pop() {
                Some(gone) => drop(self.write(gone, Guard::Mod(0), put).await),
                None => self.create().await,
            },
            18..50 => drop(self.write(some, Guard::Mod(at), put).await),
            50..60 => drop(self.write(some, Guard::Mod(at - 1), put).await),
            60..68 => drop(self.write(some, Guard::Mod(at), None).await),
            68..72 => drop(self.write(some, Guard::Mod(at - 1), None).await),
            72..74 => drop(self.write("/registry/pods/none".into(), Guard::Mod(at), put).await),
            74..76 => drop(self.write("/registry/pods/none".into(), Guard::Mod(at), None).await),
            76..83 => self.look("get", RangeRequest { key: some, limit: 1, ..no_range() }).await,
            83..88 => {
                let request = RangeRequest { key: some, limit: 1, revision: old, ..no_range() };
                self.look("get", request).await;
            }
            88..92 => {
                let all = page(REGISTRY, None, 0, 0);
                self.look("count", RangeRequest { count_only: true, ..all }).await;
            }
            92..95 => {
                let all = page("/registry/pods/", None, 50, 0);
                self.look("keys", RangeRequest { keys_only: true, ..all }).await;
            }
            _ => self.look("page", page("/registry/", Some(&some), 20, old)).await,
        }
    }

    /// Lists in pages while others write, lists all at once, and as a stream where there are streams.
    async fn lists(&mut self) -> io::Result<()> {
        for prefix in [REGISTRY, "/registry/pods/", "/registry/secrets/ns-03/", "/registry/none/"] {
            let client = self.client();
            let listing = list(&client, prefix, 10, async || {
                for _ in 0..5 {
                    let (some, at) = self.some();
                    let put = Some((self.value(), 0));
                    self.write(some, Guard::Mod(at), put).await;
                }
                let (some, at) = self.some();
                self.write(some, Guard::Mod(at), None).await;
                self.create().await;
                Ok(())
            });
            let listing = listing.await.map_err(io::Error::other)?;
            self.transcript.note(format!("list {prefix}"), &listing);
            self.listings.push(listing);
        }
        let began = Instant::now();
        for client in self.clients.clone() {
            let listing = list(&client, REGISTRY, 500, async || Ok(())).await;
            self.listings.push(listing.map_err(io::Error::other)?);
        }
        self.took("three lists of everything in pages", began);

        let all = page(REGISTRY, None, 0, 0);
        for client in self.clients.clone() {
            match client.range_stream(all.clone()).await {
                Ok(parts) => {
                    let mut whole = client.range(all.clone()).await.map_err(io::Error::other)?;
                    let mut parts = parts;
                    blank(&mut whole.header);
                    blank(&mut parts.header);
                    if parts != whole {
                        self.wrong.push("a streamed list is not the list".to_owned());
                    }
                }
                // What clients of 3.7 do then is read in pages.
                Err(status) if status.code() == Code::Unimplemented => {}
                Err(status) => self.wrong.push(format!("a streamed list: {status}")),
            }
        }
        Ok(())
    }

    /// Races of all apiservers for who compacts, and what is told of what is compacted.
    async fn compaction(&mut self, history: &History) -> io::Result<()> {
        let mut compacted = *history.span().start();
        for version in 0..3 {
            let to = if version == 0 { 0 } else { compacted + 1 + self.dice.roll(200) as i64 };
            let race = |client: Client| {
                let attempt = Attempt {
                    key: COMPACT_REV_KEY.into(),
                    guard: Guard::Version(version),
                    put: Some((to.to_string().into(), 0)),
                    outcome: Outcome::Unknown,
                };
                tokio::spawn(async move { (client.txn(guarded(&attempt)).await, attempt) })
            };
            let races: Vec<_> = self.clients.iter().cloned().map(race).collect();
            let mut answers = Vec::new();
            for (member, race) in races.into_iter().enumerate() {
                let (answer, attempt) = race.await.map_err(io::Error::other)?;
                let mut answer = answer.map_err(io::Error::other)?;
                if let Err(what) = outcome(&attempt, &answer) {
                    self.wrong.push(what);
                }
                if answer.succeeded && to > 0 {
                    let answer = self.clients[member].compact(to).await;
                    answer.map_err(io::Error::other)?;
                    compacted = to;
                }
                blank_txn(&mut answer);
                answers.push(format!("{answer:?}"));
            }
            answers.sort();
            self.transcript.note(format!("race {version} to compact at {to}"), &answers);
        }
        for member in 0..self.clients.len() {
            self.told_of_compaction(member, compacted).await?;
        }
        Ok(())
    }

    async fn told_of_compaction(&mut self, member: usize, compacted: i64) -> io::Result<()> {
        let client = self.clients[member].clone();
        // Who answers this has carried out what was before it.
        let now = client.prefix("/none/", false).await.map_err(io::Error::other)?;
        let now = revision(&now);
        let last = key(3);
        for revision in [1, compacted - 1, compacted, now, now + 1, now + 1_000] {
            self.turn = member + self.clients.len() - 1;
            self.look("continue", page(REGISTRY, Some(&last), 10, revision)).await;
        }
        for revision in [compacted, now + 1] {
            let answer = client.compact(revision).await;
            let status = answer.err().unwrap_or_else(|| Status::ok("compacted"));
            self.transcript.error(format!("compact {revision}"), &status);
        }
        for start_revision in [1, compacted - 1] {
            let prefix = "/registry/pods/";
            let wish = WatchCreateRequest {
                key: prefix.into(),
                range_end: end_of_prefix(prefix),
                start_revision,
                prev_kv: true,
                progress_notify: true,
                ..WatchCreateRequest::default()
            };
            let mut stream = client.watch(wish).await.map_err(io::Error::other)?;
            for number in 0..2 {
                let answer = tokio::time::timeout(Duration::from_secs(30), stream.message()).await;
                let answer = answer.map_err(|_| io::Error::other("a watch says nothing"))?;
                let mut answer = answer.map_err(io::Error::other)?.unwrap_or_default();
                blank(&mut answer.header);
                self.transcript.note(format!("watch from {start_revision}, {number}"), &answer);
            }
        }
        Ok(())
    }
}
