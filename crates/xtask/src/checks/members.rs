//! A cluster that grows from one member to five and shrinks to three, under load, while its members are killed.
//!
//! Each step adds or removes one member: as a voter or as a learner that is promoted, over the wire or with etcdctl
//! (`CHECK_ETCDCTL`; of several, separated by colons, the first), a follower or the leader. In each step the leader
//! is killed as `kill -9` does, while the change is asked for or right behind it, and started again; and when the
//! change is done, another member. Clients put, delete, compare and read meanwhile, compact, and watch, and all that
//! they were told is held against the checkers of [`blackbox`](crate::checks::blackbox): one order of everything, a
//! replay of all changes, which no acknowledged write is missing from, the promises of watches, one hash.
//!
//! Besides, each voter has a writer of its own that talks to nobody else. Asked is that no writer whose member lives
//! is without an acknowledgement for longer than two election timeouts, whatever else happens. Where one or two
//! voters are all there are, a kill stops everything until the restart, in any such system: there the time counts
//! from when the member that was killed answers again, and a quorum with it. What the machine itself stood still
//! in such a pause is taken off ([`Stalls`]), up to an election timeout; a pause in which it stood still for longer is not
//! judged, and counted.
//!
//! `MEMBERS_SEED` says whom chance kills, and when.

mod change;
mod pulse;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{env, io};

use crate::checks::blackbox::recorder::Recorder;
use crate::checks::blackbox::{WATCHERS, control, judge, traffic, watchers};
use crate::checks::client::{Client, Roster};
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::{clients, leader, wait_for_leader};
use crate::checks::dice::Dice;
use crate::checks::gap::{PATIENCE, TIMING};
use crate::checks::options;
use crate::checks::stall::{Pause, Stalls, Verdict};
use change::{Asker, Change, STEPS, Step};
use pulse::Pulse;

/// How many clients write and read, besides the writers of the members.
const CLIENTS: u64 = 4;

/// How long each of those waits for an answer.
const CLIENTS_PATIENCE: Duration = Duration::from_millis(1500);

/// The longest pause that is allowed: two election timeouts as [`TIMING`] has them.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long a killed member is down: long enough that it is replaced if it led, and where nobody can, not long.
const DOWN: Duration = Duration::from_millis(1500);
const DOWN_ALONE: Duration = Duration::from_millis(300);

/// So soon after a change was asked for, at most, the leader is killed, in milliseconds.
const SOON: u64 = 60;

/// How many acknowledgements a writer has to have before all counts as well again.
const WRITES: usize = 5;

/// How long watchers have in the end.
const LATE: Duration = Duration::from_secs(30);

/// A cluster at work.
struct Work {
    cluster: Cluster,
    /// Whom clients know.
    roster: Roster,
    recorder: Arc<Recorder>,
    pulses: Vec<Pulse>,
    stalls: Stalls,
    dice: Dice,
    etcdctl: PathBuf,
    /// How many pauses could not be judged.
    pauses_not_judged: u64,
    wrong: Vec<String>,
}

/// Runs the check.
pub(crate) fn run() -> io::Result<()> {
    let program = Program::subject()?;
    let seed = options::seed("MEMBERS_SEED")?;
    let etcdctl = env::var("CHECK_ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    let etcdctl = etcdctl.split(':').next().unwrap_or_default().into();
    let flags: Vec<&str> = TIMING.into_iter().chain(["--log-level", "warn"]).collect();
    let cluster = Cluster::start(program, 1, &flags)?;
    let dice = Dice::new(seed, 0);
    // Connections are made where there is a runtime.
    tokio::runtime::Runtime::new()?.block_on(async {
        let work = Work {
            roster: Roster::new(clients(&cluster, CLIENTS_PATIENCE)),
            cluster,
            recorder: Arc::new(Recorder::new()),
            pulses: Vec::new(),
            stalls: Stalls::watch()?,
            dice,
            etcdctl,
            pauses_not_judged: 0,
            wrong: Vec::new(),
        };
        work.all().await
    })
}

impl Work {
    async fn all(mut self) -> io::Result<()> {
        wait_for_leader(&self.cluster).await?;
        let (roster, recorder) = (self.roster.clone(), self.recorder.clone());
        let mut busy = Vec::new();
        for number in 0..CLIENTS {
            let dice = self.dice.split();
            busy.push(tokio::spawn(traffic::run(number, roster.clone(), recorder.clone(), dice)));
        }
        let dice = self.dice.split();
        busy.push(tokio::spawn(traffic::compact(roster.clone(), recorder.clone(), dice)));
        let mut watching = Vec::new();
        for number in 0..WATCHERS {
            let dice = self.dice.split();
            let watcher = watchers::run(number, roster.clone(), recorder.clone(), dice);
            watching.push(tokio::spawn(watcher));
        }
        self.serve(0);
        for step in STEPS {
            self.step(step).await?;
        }

        recorder.over.store(true, Ordering::Relaxed);
        for pulse in self.pulses.drain(..) {
            pulse.end().await?;
        }
        for task in busy {
            task.await.map_err(io::Error::other)?;
        }
        judge::wait_until_whole(&mut self.cluster).await?;
        let last =
            traffic::write_last(&clients(&self.cluster, CLIENTS_PATIENCE), &recorder).await?;
        recorder.end_watches(last, LATE);
        for task in watching {
            task.await.map_err(io::Error::other)?;
        }
        self.cluster.demand_no_panic()?;
        self.judge(last).await
    }

    async fn judge(self, last: i64) -> io::Result<()> {
        let evidence = judge::evidence(&self.cluster, &self.recorder, last).await?;
        let mut wrong = self.wrong;
        let (violations, not_judged) = evidence.judge();
        wrong.extend(violations.iter().map(ToString::to_string));
        let mut lies = 0;
        if violations.is_empty() {
            // There were no leases of which to tell any.
            let (noticed, failed) = control::lie(&evidence, |by| !by.starts_with("lease"));
            lies = noticed;
            wrong.extend(failed);
        }
        println!(
            "members: 1 to 5 to 3: {} operations, {} changes, {not_judged} not judged, {} pauses not judged, \
             {lies} lies noticed, {} wrong",
            evidence.history.len(),
            last,
            self.pauses_not_judged,
            wrong.len(),
        );
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(io::Error::other(wrong.join("\n"))),
        }
    }

    /// One change, with two kills.
    async fn step(&mut self, step: Step) -> io::Result<()> {
        let before = self.cluster.len();
        let began = Instant::now();
        self.all_have_written(began, None).await?;
        let led = self.leader(None).await?;
        let (told, killed, another) = match step.change {
            Change::Add { is_learner } => self.add(step, is_learner, led).await?,
            Change::Remove { leader } => {
                let leaving = if leader { led } else { self.other_than(led) };
                self.remove(step, leaving).await?
            }
        };
        self.cluster.demand_alive()?;
        let after = self.cluster.len();
        println!(
            "members: {before} to {after}, {told}: leader killed: {killed}; another: {another}; {:.1} s",
            began.elapsed().as_secs_f64()
        );
        for (whose, pause) in [("leader", killed), ("another", another)] {
            self.judge_pause(pause, &format!("{before} to {after}, {told}, {whose} killed"));
        }
        Ok(())
    }

    fn judge_pause(&mut self, pause: Pause, when: &str) {
        match pause.verdict(PAUSE_MAX) {
            Verdict::Fine => {}
            Verdict::NotJudged => {
                self.pauses_not_judged += 1;
                println!("members: not judged: {when}: {pause} without a write");
            }
            Verdict::TooLong => self
                .wrong
                .push(format!("{when}: {pause} without a write; {PAUSE_MAX:?} are allowed")),
        }
    }

    /// Adds a member, and kills the leader and, when the new one is a voter, somebody else.
    async fn add(
        &mut self,
        step: Step,
        is_learner: bool,
        led: usize,
    ) -> io::Result<(String, Pause, Pause)> {
        let voters = self.cluster.len();
        let through = self.other_than_or_only(led);
        let asker = self.asker(step, through);
        let new = self.cluster.name_another()?;
        let name = self.cluster.name(new).to_owned();
        let (address, port) = self.cluster.peer_address(new);
        let url = format!("http://{address}:{port}");
        // By turns while it is asked for, and while the new one is brought up to date.
        let early = self.dice.roll(2) == 0;
        let soon = Duration::from_millis(self.dice.roll(SOON));
        let (id, killed);
        if early {
            let kill = async {
                tokio::time::sleep(soon).await;
                self.kill(led, voters >= 3).await
            };
            let (added, done) = tokio::join!(asker.add(&name, &url, is_learner), kill);
            (id, killed) = (added?, done?);
            self.cluster.restart(new)?;
        } else {
            id = asker.add(&name, &url, is_learner).await?;
            self.cluster.restart(new)?;
            tokio::time::sleep(soon).await;
            killed = self.kill(led, voters >= 3).await?;
        }
        if is_learner {
            asker.promote(id).await?;
        }
        asker.wait_for_vote(id).await?;
        self.serve(new);
        self.serves(new).await?;
        self.all_have_written(Instant::now(), None).await?;
        let led = self.leader(None).await?;
        let other = self.other_than(led);
        let another = self.kill(other, voters >= 2).await?;
        let kind = if is_learner { "a learner" } else { "a voter" };
        let when = if early { "meanwhile" } else { "thereafter" };
        Ok((format!("{kind} added {}, {when}", step.by), killed, another))
    }

    /// Removes a member, and kills the leader and somebody else.
    async fn remove(&mut self, step: Step, leaving: usize) -> io::Result<(String, Pause, Pause)> {
        let led = self.leader(None).await?;
        let through = self.other_than(leaving);
        let asker = self.asker(step, through);
        let id = asker.id_of(self.cluster.name(leaving)).await?;
        let name = self.cluster.name(leaving).to_owned();
        // Clients hear of it, as they would before somebody shuts a server down.
        let staying = clients(&self.cluster, CLIENTS_PATIENCE);
        let staying = staying.into_iter().enumerate().filter(|(member, _)| *member != leaving);
        self.roster.set(staying.map(|(_, client)| client).collect());
        let at = self.pulses.iter().position(|pulse| pulse.member == name).expect("it serves");
        self.pulses.remove(at).end().await?;

        let asked = Instant::now();
        asker.remove(id).await?;
        let handed = if leaving == led {
            self.all_have_written(Instant::now(), None).await?;
            let pause = self.worst(asked, Instant::now(), None);
            self.judge_pause(pause, "the leader was removed");
            format!(" (the leader, which took {pause})")
        } else {
            String::new()
        };
        tokio::time::sleep(Duration::from_millis(self.dice.roll(SOON))).await;
        let led = self.leader(Some(leaving)).await?;
        let killed = self.kill(led, true).await?;
        tokio::task::block_in_place(|| self.cluster.see_off(leaving))?;
        let led = self.leader(None).await?;
        let other = self.other_than(led);
        let another = self.kill(other, true).await?;
        Ok((format!("one removed {}{handed}", step.by), killed, another))
    }

    /// Kills a member and starts it again. Returns the longest pause of a writer that is talked to by a member
    /// which lives; of any, counted from when it answers again, if there is no quorum without it.
    async fn kill(&mut self, victim: usize, keeps_quorum: bool) -> io::Result<Pause> {
        let name = self.cluster.name(victim).to_owned();
        let mut from = Instant::now();
        self.cluster.kill(victim)?;
        if keeps_quorum {
            self.all_have_written(from, Some(&name)).await?;
            tokio::time::sleep_until((from + DOWN).into()).await;
            self.cluster.restart(victim)?;
        } else {
            tokio::time::sleep(DOWN_ALONE).await;
            self.cluster.restart(victim)?;
            let client = self.client(victim);
            wait_until("a member that was killed answers", async || client.status().await.is_ok())
                .await?;
            from = Instant::now();
        }
        self.serves(victim).await?;
        self.all_have_written(Instant::now(), None).await?;
        let is_down = keeps_quorum.then_some(name.as_str());
        Ok(self.worst(from, Instant::now(), is_down))
    }

    /// The worst pause of a writer between two moments, but for the one of a member that was down.
    fn worst(&self, from: Instant, to: Instant, but: Option<&str>) -> Pause {
        let pulses = self.pulses.iter().filter(|pulse| Some(pulse.member.as_str()) != but);
        let pauses = pulses.flat_map(|pulse| pulse.pauses(from, to));
        let pauses = pauses.map(|(began, ended)| self.stalls.pause(began, ended));
        pauses.max_by_key(|pause| (pause.verdict(PAUSE_MAX), pause.net())).unwrap_or_default()
    }

    /// Waits until each writer had some acknowledgements after a moment, but for one.
    async fn all_have_written(&self, since: Instant, but: Option<&str>) -> io::Result<()> {
        for pulse in self.pulses.iter().filter(|pulse| Some(pulse.member.as_str()) != but) {
            let what = format!("the writer at {} goes on", pulse.member);
            let written = wait_until(&what, async || pulse.count_since(since) >= WRITES).await;
            if let Err(error) = written {
                let logs = (0..self.cluster.len()).map(|member| self.cluster.log(member));
                let logs: Vec<String> = logs.collect();
                return Err(io::Error::other(format!("{error}\n{}", logs.join("\n---\n"))));
            }
        }
        Ok(())
    }

    /// Waits until a voter answers what only a member of a quorum can.
    async fn serves(&self, member: usize) -> io::Result<()> {
        let client = self.client(member);
        wait_until("a voter serves", async || client.prefix("none/", false).await.is_ok()).await
    }

    /// Clients know a voter from now on, and one of them nobody else.
    fn serve(&mut self, member: usize) {
        let number = self.recorder.unique();
        let name = self.cluster.name(member).to_owned();
        let client = Client::new(&self.cluster.endpoint(member), PATIENCE);
        self.roster.set(clients(&self.cluster, CLIENTS_PATIENCE));
        self.pulses.push(Pulse::start(name, number, client, self.recorder.clone()));
    }

    /// Who leads, but for one who left.
    async fn leader(&self, but: Option<usize>) -> io::Result<usize> {
        let end = Instant::now() + PATIENCE;
        loop {
            match leader(&self.cluster).await {
                Some(leader) if Some(leader) != but => return Ok(leader),
                _ if Instant::now() > end => return Err(io::Error::other("nobody leads")),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Another member, by chance.
    fn other_than(&mut self, member: usize) -> usize {
        let others = self.cluster.len() - 1;
        (member + 1 + self.dice.roll(others as u64) as usize) % self.cluster.len()
    }

    fn other_than_or_only(&mut self, member: usize) -> usize {
        if self.cluster.len() == 1 { member } else { self.other_than(member) }
    }

    fn client(&self, member: usize) -> Client {
        Client::new(&self.cluster.endpoint(member), Duration::from_secs(2))
    }

    fn asker(&self, step: Step, through: usize) -> Asker {
        let endpoint = self.cluster.endpoint(through);
        Asker::new(step.by, endpoint, self.etcdctl.clone())
    }
}

/// Waits until something is so.
///
/// # Errors
/// If that takes longer than [`PATIENCE`].
async fn wait_until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        if Instant::now() > end {
            return Err(io::Error::other(format!("not within {PATIENCE:?}: {what}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
