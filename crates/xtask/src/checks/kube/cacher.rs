//! The watch cache of an apiserver: many watches on one stream, which asks how far it has come while somebody waits
//! for a revision, and goes on with another member where a stream ends, behind what it was told.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::checks::client::Client;
use crate::checks::kube::history::{Told, Wish, digest, kv};

/// While somebody waits, the stream is asked this often.
const ASK: Duration = Duration::from_millis(100);

/// So long at most a watcher may take for the rest when all is over.
const PATIENCE: Duration = Duration::from_secs(60);

/// What has to be seen before a cacher ends.
#[derive(Clone, Debug)]
struct Goal {
    revision: i64,
    /// The events of each watch.
    counts: Vec<usize>,
    deadline: Instant,
}

/// A cacher that runs.
#[derive(Debug)]
pub(crate) struct Cacher {
    pub(crate) wishes: Vec<Wish>,
    wanted: watch::Sender<i64>,
    known: watch::Receiver<i64>,
    goal: watch::Sender<Option<Goal>>,
    task: JoinHandle<Followed>,
}

/// What a cacher was told, for each watch.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    pub(crate) told: Vec<Vec<Told>>,
    /// Streams that it had one after the other.
    pub(crate) streams: usize,
    /// Promises of progress: asked for, and without.
    pub(crate) promises: [usize; 2],
    /// What no server does.
    pub(crate) wrong: Vec<String>,
}

/// Those who wait for a cache to be as new as what they read.
#[derive(Clone, Debug)]
pub(crate) struct Freshness {
    wanted: watch::Sender<i64>,
    known: watch::Receiver<i64>,
}

impl Freshness {
    /// Waits until the cache has everything up to a revision, or has ended.
    pub(crate) async fn wait(&mut self, revision: i64) {
        self.wanted.send_if_modified(|wanted| {
            let is_newer = revision > *wanted;
            *wanted = revision.max(*wanted);
            is_newer
        });
        let _ = self.known.wait_for(|known| *known >= revision).await;
    }
}

impl Cacher {
    /// Begins to watch, at the member `home` first.
    pub(crate) fn start(members: Vec<Client>, home: usize, wishes: Vec<Wish>) -> Self {
        let (wanted, wants) = watch::channel(0);
        let (knows, known) = watch::channel(0);
        let (goal, goals) = watch::channel(None);
        let followed = Followed { told: vec![Vec::new(); wishes.len()], ..Followed::default() };
        let next: Vec<i64> = wishes.iter().map(|wish| wish.from).collect();
        let counts = vec![0; wishes.len()];
        let follower = Follower {
            members,
            wishes: wishes.clone(),
            last: vec![0; wishes.len()],
            next,
            counts,
            followed,
            wants,
            knows,
            goals,
            is_settled: false,
        };
        Self { wishes, wanted, known, goal, task: tokio::spawn(follower.run(home)) }
    }

    /// For somebody who reads from this cache.
    pub(crate) fn freshness(&self) -> Freshness {
        Freshness { wanted: self.wanted.clone(), known: self.known.clone() }
    }

    /// Waits until so many events of each watch, and progress to a revision after them, were told; or for as long
    /// as patience lasts. The judge finds what is missing then.
    pub(crate) async fn end(self, revision: i64, counts: Vec<usize>) -> Followed {
        let goal = Goal { revision, counts, deadline: Instant::now() + PATIENCE };
        self.goal.send_replace(Some(goal));
        self.task.await.expect("a cacher does not panic")
    }
}

struct Follower {
    members: Vec<Client>,
    wishes: Vec<Wish>,
    /// The revision with which each watch goes on.
    next: Vec<i64>,
    /// The revision of the last event of each watch.
    last: Vec<i64>,
    counts: Vec<usize>,
    followed: Followed,
    wants: watch::Receiver<i64>,
    knows: watch::Sender<i64>,
    goals: watch::Receiver<Option<Goal>>,
    /// Progress was told after all that the goal wants.
    is_settled: bool,
}

impl Follower {
    async fn run(mut self, home: usize) -> Followed {
        for turn in home.. {
            let client = self.members[turn % self.members.len()].clone();
            self.followed.streams += 1;
            // A stream that ends is no fault by itself. What it did not tell is asked of another member.
            let _ = self.stream(&client).await;
            if self.is_over() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.followed
    }

    fn is_over(&self) -> bool {
        let goal = self.goals.borrow();
        goal.as_ref().is_some_and(|goal| self.is_settled || Instant::now() > goal.deadline)
    }

    /// Whether somebody waits for what is not known yet.
    fn is_asked(&self) -> bool {
        *self.wants.borrow() > *self.knows.borrow() || self.goals.borrow().is_some()
    }

    async fn stream(&mut self, client: &Client) -> Result<(), Status> {
        let (requests, stream) = mpsc::channel(self.wishes.len() + 4);
        for (wish, next) in self.wishes.iter().zip(&self.next) {
            let create = WatchCreateRequest {
                key: wish.key.clone(),
                range_end: wish.range_end.clone(),
                start_revision: *next,
                prev_kv: true,
                progress_notify: true,
                ..WatchCreateRequest::default()
            };
            let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
            requests.try_send(request).expect("there is room for all of them");
        }
        let mut answers = client.watch_many(ReceiverStream::new(stream)).await?;
        let mut ids = HashMap::new();
        let mut tick = tokio::time::interval(ASK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut wants = self.wants.clone();
        while !self.is_over() {
            let ask = tokio::select! {
                answer = answers.message() => {
                    let answer = answer?.ok_or_else(|| Status::unavailable("the stream ended"))?;
                    self.hear(answer, &mut ids)?;
                    false
                }
                _ = tick.tick() => self.is_asked(),
                changed = wants.changed() => {
                    if changed.is_err() {
                        // Nobody waits any more; the goal remains.
                        tokio::time::sleep(ASK).await;
                    }
                    self.is_asked()
                }
            };
            if ask && ids.len() == self.wishes.len() {
                let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
                // A stream that takes no more is asked again.
                let _ = requests.try_send(WatchRequest { request_union: Some(progress) });
            }
        }
        Ok(())
    }

    fn hear(&mut self, answer: WatchResponse, ids: &mut HashMap<i64, usize>) -> Result<(), Status> {
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        if answer.canceled {
            let what = format!("a watch was ended: {answer:?}");
            self.followed.wrong.push(what.clone());
            return Err(Status::aborted(what));
        }
        if answer.created {
            // Answers come in the order of the requests.
            let watch = ids.len();
            if watch == self.wishes.len() || ids.insert(answer.watch_id, watch).is_some() {
                self.followed.wrong.push(format!("one watch too many: {answer:?}"));
            }
            return Ok(());
        }
        if answer.watch_id == -1 && answer.events.is_empty() {
            self.followed.promises[0] += 1;
            for watch in 0..self.wishes.len() {
                self.told_progress(watch, revision);
            }
            self.knows.send_if_modified(|known| {
                let is_newer = revision > *known;
                *known = revision.max(*known);
                is_newer
            });
            self.is_settled = self.goals.borrow().as_ref().is_some_and(|goal| {
                let has_all = self.counts.iter().zip(&goal.counts).all(|(has, due)| has >= due);
                revision >= goal.revision && has_all
            });
            return Ok(());
        }
        let Some(&watch) = ids.get(&answer.watch_id) else {
            self.followed.wrong.push(format!("of a watch that nobody made: {answer:?}"));
            return Ok(());
        };
        if answer.events.is_empty() {
            self.followed.promises[1] += 1;
            self.told_progress(watch, revision);
            return Ok(());
        }
        for event in &answer.events {
            let told = Told::Event(kv(event).mod_revision, digest(event));
            self.followed.told[watch].push(told);
        }
        let last = answer.events.last().map_or(0, |event| kv(event).mod_revision);
        // All of a revision is in one answer, which is not older than what it has.
        if kv(&answer.events[0]).mod_revision <= self.last[watch] || revision < last {
            let ends = [&answer.events[0], &answer.events[answer.events.len() - 1]];
            let (wish, before) = (&self.wishes[watch], self.last[watch]);
            self.followed.wrong.push(format!(
                "{wish:?}: after {before}, {ends:?} came in an answer of revision {revision}"
            ));
        }
        self.counts[watch] += answer.events.len();
        self.last[watch] = last;
        self.next[watch] = self.next[watch].max(last + 1);
        Ok(())
    }

    fn told_progress(&mut self, watch: usize, revision: i64) {
        self.followed.told[watch].push(Told::Progress(revision));
        self.next[watch] = self.next[watch].max(revision + 1);
    }
}
