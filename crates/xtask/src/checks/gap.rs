//! How long writers wait when the lead changes hands: writers that note when each of their writes was
//! acknowledged, and the longest time in which nothing was.
//!
//! A writer writes one key after the other, each once, and waits for each as long as its patience lasts.
//! What was acknowledged is remembered, so that a check can demand it in the end.
//!
//! [`beside`] has what all comparisons with etcd share: two clusters, measured by turns.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::{Written, leader, verify, wait_for_leader};
use crate::checks::stall::Stalls;

/// Longer than any server makes somebody wait. No time limit of a client ends a pause early, and none hides
/// one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A refused writer tries again after this pause, so that it does not take the machine from those who
/// elect a leader.
const AFTER_AN_ERROR: Duration = Duration::from_millis(2);

/// Both programs get these, which are their defaults.
pub(crate) const TIMING: [&str; 4] = ["--heartbeat-interval", "100", "--election-timeout", "1000"];

/// One of two clusters of three that are measured by turns, and what was found there.
#[derive(Debug)]
pub(crate) struct Side<Found> {
    pub(crate) cluster: Cluster,
    pub(crate) name: &'static str,
    /// What was acknowledged, and must be there in the end.
    pub(crate) written: Written,
    /// How the machine itself does, meanwhile.
    pub(crate) stalls: Arc<Stalls>,
    pub(crate) found: Found,
}

/// Lets both clusters, ours first, go through all cases by turns, as many rounds as are wanted, with the same
/// timing, and demands in the end what was acknowledged. `one` does one case.
///
/// # Errors
/// What a round says, a member that panicked, and a write that Quorate lost.
pub(crate) fn beside<Found: Default>(
    rounds: u64,
    cases: usize,
    mut one: impl AsyncFnMut(&mut Side<Found>, u64, usize) -> io::Result<()>,
) -> io::Result<[Side<Found>; 2]> {
    let stalls = Arc::new(Stalls::watch()?);
    let start = |program| Side::start(program, stalls.clone());
    let mut sides = [start(Program::quorate()?)?, start(Program::etcd())?];
    tokio::runtime::Runtime::new()?.block_on(async {
        for side in &sides {
            wait_for_leader(&side.cluster).await?;
        }
        for round in 0..rounds.max(1) {
            for case in 0..cases {
                for side in &mut sides {
                    one(side, round, case).await?;
                }
            }
        }
        let [ours, etcd] = &sides;
        ours.demand_what_was_acknowledged().await?;
        // etcd 3.5.1 is known to lose what it acknowledged when it is killed (etcd #13766). That is for the reader to
        // know and no reason not to tell the times.
        if let Err(error) = etcd.demand_what_was_acknowledged().await {
            println!("{}: {error}", etcd.name);
        }
        io::Result::Ok(())
    })?;
    Ok(sides)
}

impl<Found: Default> Side<Found> {
    fn start(program: Program, stalls: Arc<Stalls>) -> io::Result<Self> {
        let name = program.name();
        let flags: Vec<&str> = TIMING.into_iter().chain(["--log-level", "info"]).collect();
        let cluster = Cluster::start(program, 3, &flags)?;
        let (written, found) = (Written::new(), Found::default());
        Ok(Self { cluster, name, written, stalls, found })
    }
}

impl<Found> Side<Found> {
    /// Who leads, with nothing under way.
    ///
    /// # Errors
    /// If nobody does.
    pub(crate) async fn leader(&self) -> io::Result<usize> {
        leader(&self.cluster).await.ok_or_else(|| io::Error::other("nobody leads"))
    }

    /// Starts a member again, and waits until it has what the others have.
    pub(crate) async fn bring_back(&mut self, member: usize) -> io::Result<()> {
        if !self.cluster.runs(member) {
            self.cluster.restart(member)?;
        }
        wait_for_leader(&self.cluster).await?;
        let patience = Instant::now() + PATIENCE;
        let client = |member| Client::new(&self.cluster.endpoint(member), Duration::from_secs(2));
        let other = client((member + 1) % self.cluster.len()).status().await;
        let wanted = other.map_err(io::Error::other)?.raft_applied_index;
        loop {
            let own = client(member).status().await;
            if own.is_ok_and(|own| own.raft_applied_index >= wanted) {
                return Ok(());
            }
            if Instant::now() > patience {
                return Err(io::Error::other("the member that came back does not catch up"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn demand_what_was_acknowledged(&self) -> io::Result<()> {
        wait_for_leader(&self.cluster).await?;
        self.cluster.demand_no_panic()?;
        let revision = verify(&self.cluster, &self.written).await?;
        println!(
            "{}: all {} acknowledged writes are there, one hash on all members at revision {revision}",
            self.name,
            self.written.len()
        );
        Ok(())
    }
}

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    writer: usize,
    began: Instant,
    at: Instant,
}

/// What writers noted.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// In the order in which they were acknowledged.
    pub(crate) acks: Vec<Ack>,
    /// Keys with their values and revisions.
    pub(crate) written: Written,
    /// What was said instead of an acknowledgement, and when.
    pub(crate) errors: Vec<(Instant, String)>,
}

/// Some writers at work.
#[derive(Debug)]
pub(crate) struct Writers {
    notes: Arc<Mutex<Notes>>,
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Lets so many writers begin, each with a connection of its own to each of these members, of which it
    /// uses the first for as long as that takes its writes within its patience, and then the next. `round`
    /// sets their keys apart from those of others.
    pub(crate) fn start(
        cluster: &Cluster,
        members: &[usize],
        patience: Duration,
        count: usize,
        round: &str,
    ) -> Self {
        let (notes, over) = (Arc::<Mutex<Notes>>::default(), Arc::<AtomicBool>::default());
        let tasks = (0..count)
            .map(|writer| {
                let clients = members
                    .iter()
                    .map(|member| Client::new(&cluster.endpoint(*member), patience))
                    .collect();
                let prefix = format!("crash/{round}/{writer:02}");
                tokio::spawn(write(writer, clients, prefix, notes.clone(), over.clone()))
            })
            .collect();
        Self { notes, over, tasks }
    }

    /// Waits until each writer has had so many acknowledgements of what it began after a moment.
    ///
    /// # Errors
    /// If that takes longer than any pause may.
    pub(crate) async fn have_written(&self, each: usize, since: Instant) -> io::Result<()> {
        let patience = Instant::now() + PATIENCE;
        loop {
            let mut counts = vec![0; self.tasks.len()];
            let last_error = {
                let notes = self.notes.lock().expect("no writer panicked");
                for ack in notes.acks.iter().rev().take_while(|ack| ack.at >= since) {
                    counts[ack.writer] += usize::from(ack.began >= since);
                }
                notes.errors.last().map(|(_, error)| error.clone())
            };
            if counts.iter().all(|count| *count >= each) {
                return Ok(());
            }
            if Instant::now() > patience {
                let what = format!("writers stand still; the last error: {last_error:?}");
                return Err(io::Error::other(what));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the writers and returns what they noted.
    pub(crate) async fn end(self) -> io::Result<Notes> {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.map_err(io::Error::other)?;
        }
        let mut notes = std::mem::take(&mut *self.notes.lock().expect("no writer panicked"));
        notes.acks.sort_by_key(|ack| ack.at);
        Ok(notes)
    }
}

async fn write(
    writer: usize,
    clients: Vec<Client>,
    prefix: String,
    notes: Arc<Mutex<Notes>>,
    over: Arc<AtomicBool>,
) {
    let mut target = 0;
    for number in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("{prefix}/{number:06}");
        let began = Instant::now();
        let answer = clients[target % clients.len()].put(key.clone(), "x").await;
        let at = Instant::now();
        let failed = {
            let mut notes = notes.lock().expect("no writer panicked");
            match answer {
                Ok(revision) => {
                    notes.acks.push(Ack { writer, began, at });
                    notes.written.insert(key, ("x".to_owned(), revision));
                    false
                }
                Err(error) => {
                    notes.errors.push((at, error.to_string()));
                    true
                }
            }
        };
        if failed {
            // Done or not, nobody knows; the next member may know more.
            target += 1;
            tokio::time::sleep(AFTER_AN_ERROR).await;
        }
    }
}

impl Notes {
    /// The longest time without an acknowledgement of anything, from the last one before `event` on.
    pub(crate) fn gap(&self, event: Instant) -> Duration {
        let (began, ended) = longest(self.acks.iter(), event);
        ended - began
    }

    /// From when to when any writer was longest without an acknowledgement, from its last one before `event` on.
    pub(crate) fn gap_of_a_writer(&self, event: Instant) -> (Instant, Instant) {
        let writers = 1 + self.acks.iter().map(|ack| ack.writer).max().unwrap_or_default();
        let of = |writer| longest(self.acks.iter().filter(move |ack| ack.writer == writer), event);
        let gaps = (0..writers).map(of);
        gaps.max_by_key(|(began, ended)| *ended - *began).unwrap_or((event, event))
    }

    /// How long the slowest write took before `event`.
    pub(crate) fn usual_wait(&self, event: Instant) -> Duration {
        let before = self.acks.iter().take_while(|ack| ack.at <= event);
        before.map(|ack| ack.at - ack.began).max().unwrap_or_default()
    }

    /// How many times somebody heard of an error from `event` on.
    pub(crate) fn errors_since(&self, event: Instant) -> usize {
        self.errors.iter().filter(|(at, _)| *at >= event).count()
    }
}

/// The longest time between two of these, which ascend, of which the second came after `event`.
fn longest<'a>(acks: impl Iterator<Item = &'a Ack>, event: Instant) -> (Instant, Instant) {
    let (mut before, mut longest) = (event, (event, event));
    for ack in acks {
        if ack.at > event && ack.at - before > longest.1 - longest.0 {
            longest = (before, ack.at);
        }
        before = ack.at;
    }
    longest
}

/// What came out of some rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread(Vec<Duration>);

impl Spread {
    /// One more.
    pub(crate) fn add(&mut self, value: Duration) {
        let at = self.0.partition_point(|other| *other <= value);
        self.0.insert(at, value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn least(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    /// The middle; of an even number, the mean of the two.
    pub(crate) fn median(&self) -> Duration {
        let (Some(above), count) = (self.0.get(self.0.len() / 2), self.0.len()) else {
            return Duration::ZERO;
        };
        if count % 2 == 1 { *above } else { (self.0[count / 2 - 1] + *above) / 2 }
    }

    /// The largest, which of fewer than a hundred is the 99th percentile as well.
    pub(crate) fn most(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// All of them, ascending, in milliseconds.
    pub(crate) fn listed(&self) -> String {
        let all: Vec<String> = self.0.iter().map(|value| ms(*value)).collect();
        all.join(" ")
    }
}

/// Milliseconds, as one would say them.
pub(crate) fn ms(value: Duration) -> String {
    let ms = value.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(acks: &[(usize, u64)]) -> (Notes, Instant) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let acks = acks.iter().map(|&(writer, ms)| Ack { writer, began: at(ms), at: at(ms) });
        (Notes { acks: acks.collect(), ..Notes::default() }, start)
    }

    #[test]
    fn the_gap_begins_before_the_event_and_ends_after_it() {
        let (one, start) = notes(&[(0, 0), (0, 500), (0, 505), (0, 605), (0, 606), (0, 650)]);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(one.gap(at(600)), Duration::from_millis(100), "not the pause before");
        assert_eq!(one.gap(at(605)), Duration::from_millis(44), "a second pause counts as well");
        assert_eq!(one.gap(at(700)), Duration::ZERO);
    }

    #[test]
    fn one_writer_may_wait_longer_than_all_of_them() {
        let (two, start) = notes(&[(0, 0), (1, 10), (1, 40), (0, 45), (1, 50)]);
        let event = start + Duration::from_millis(5);
        assert_eq!(two.gap(event), Duration::from_millis(30));
        assert_eq!(two.gap_of_a_writer(event), (start, start + Duration::from_millis(45)));
        assert_eq!(two.usual_wait(event), Duration::ZERO, "each was acknowledged as it began");
    }

    #[test]
    fn a_spread_has_a_middle_and_ends() {
        let mut spread = Spread::default();
        for value in [30, 10, 20] {
            spread.add(Duration::from_millis(value));
        }
        let ends = (spread.least(), spread.most());
        assert_eq!(ends, (Duration::from_millis(10), Duration::from_millis(30)));
        assert_eq!(spread.median(), Duration::from_millis(20));
        spread.add(Duration::from_millis(40));
        assert_eq!(
            (spread.median(), spread.listed().as_str()),
            (Duration::from_millis(25), "10 20 30 40")
        );
    }
}
