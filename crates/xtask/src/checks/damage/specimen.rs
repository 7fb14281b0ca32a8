//! A cluster that was killed after some writes, whose files can be damaged as often as one likes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::checks::client::Client;
use crate::checks::cluster::{Cluster, Program};
use crate::checks::crash::{leader, wait_for_leader};
use crate::checks::damage::place::Place;
use crate::checks::damage::report::Outcome;
use crate::checks::damage::truth::{Difference, Truth};

/// So long a damaged member may take until it serves.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Specimen {
    cluster: Cluster,
    /// What each member's data were when it was killed.
    copies: Vec<PathBuf>,
    truth: Truth,
}

impl Specimen {
    /// Starts a cluster, writes, and kills it. Of several members' writes, the earlier part is in tables,
    /// as they were stopped in an orderly way after it, and compacted; the later part is in the log only.
    pub(crate) async fn prepare(program: Program, members: usize) -> io::Result<Self> {
        let flags =
            ["--log-level", "warn", "--heartbeat-interval", "50", "--election-timeout", "500"];
        let mut cluster = Cluster::start(program, members, &flags)?;
        wait_for_leader(&cluster).await?;
        let mut truth = Truth::default();
        let client = Client::new(&cluster.endpoint(0), PATIENCE);
        truth.load(&client, 1, 100).await?;
        if members > 1 {
            client.compact(truth.revision() / 2).await.map_err(io::Error::other)?;
            for member in 0..members {
                cluster.terminate(member)?;
            }
            for member in 0..members {
                cluster.restart(member)?;
            }
            wait_for_leader(&cluster).await?;
        }
        truth.load(&Client::new(&cluster.endpoint(0), PATIENCE), 2, 100).await?;
        // Whoever answers a linearizable read has applied everything.
        wait_for_leader(&cluster).await?;
        let mut copies = Vec::new();
        for member in 0..members {
            cluster.kill(member)?;
            let copy = cluster.data(member).with_file_name("copy");
            copy_tree(&cluster.data(member), &copy)?;
            copies.push(copy);
        }
        println!(
            "damage: a specimen of {members} with {} keys at revision {}",
            truth.len(),
            truth.revision()
        );
        Ok(Self { cluster, copies, truth })
    }

    /// The sound data of a member.
    pub(crate) fn copy(&self, member: usize) -> &Path {
        &self.copies[member]
    }

    /// The data that a member works on.
    pub(crate) fn data(&self, member: usize) -> PathBuf {
        self.cluster.data(member)
    }

    /// Gives all members their sound data, damages them at these places, starts them, and says what
    /// becomes of the damaged ones: the first outcome that is not that one healed. All are stopped afterwards.
    pub(crate) async fn round(&mut self, places: &[(usize, Place)]) -> io::Result<Outcome> {
        for member in 0..self.cluster.len() {
            let data = self.cluster.data(member);
            fs::remove_dir_all(&data)?;
            copy_tree(&self.copies[member], &data)?;
            fs::remove_file(data.with_file_name("stderr"))?;
        }
        for (member, place) in places {
            place.damage(&self.cluster.data(*member))?;
        }
        let is_damaged = |member: usize| places.iter().any(|(damaged, _)| *damaged == member);
        let (damaged, sound): (Vec<usize>, Vec<usize>) =
            (0..self.cluster.len()).partition(|member| is_damaged(*member));
        for member in sound.iter().chain(&damaged) {
            self.cluster.restart(*member)?;
        }
        let mut outcome = Outcome::Healed;
        for member in damaged {
            outcome = self.judge(member).await?;
            if outcome != Outcome::Healed {
                break;
            }
        }
        for member in 0..self.cluster.len() {
            // Whoever was damaged may have refused to start.
            self.cluster.end(member)?;
        }
        Ok(outcome)
    }

    /// Holds a damaged member against the truth and against all others, which may be damaged as well.
    async fn judge(&mut self, member: usize) -> io::Result<Outcome> {
        let end = Instant::now() + PATIENCE;
        let others: Vec<usize> = (0..self.cluster.len()).filter(|other| *other != member).collect();
        let client = Client::new(&self.cluster.endpoint(member), Duration::from_secs(2));
        for serializable in [false, true] {
            let answer = loop {
                match Truth::read(&client, serializable).await {
                    Ok(answer) => break answer,
                    Err(error) => {
                        if let Some(outcome) = self.not_served(member, end, &error).await? {
                            return Ok(outcome);
                        }
                    }
                }
            };
            match self.truth.compare(&answer) {
                Ok(()) => {}
                Err(Difference::Lost(what)) => return Ok(Outcome::Lost(what)),
                Err(Difference::Wrong(what)) => return Ok(Outcome::Wrong(what)),
            }
        }
        if let Some(outcome) = self.compare_hashes(&client, member, &others, end).await? {
            return Ok(outcome);
        }
        // Without one of the others, and not the leader if it can be, a write needs this one.
        let leader = leader(&self.cluster).await;
        let dispensable = others.into_iter().find(|other| Some(*other) != leader);
        if let Some(other) = dispensable {
            self.cluster.kill(other)?;
        }
        while let Err(error) = client.put("whole", "again").await {
            if let Some(outcome) = self.not_served(member, end, &error).await? {
                return Ok(outcome);
            }
        }
        if self.cluster.has_ended(member)? {
            return Ok(Outcome::Silent(format!("served and ended: {}", self.last_words(member))));
        }
        // The next one that was damaged is held against this one, too.
        if let Some(other) = dispensable {
            self.cluster.restart(other)?;
        }
        Ok(Outcome::Healed)
    }

    /// Compares the hash of this member with that of the others.
    async fn compare_hashes(
        &mut self,
        client: &Client,
        member: usize,
        others: &[usize],
        end: Instant,
    ) -> io::Result<Option<Outcome>> {
        let revision = self.truth.revision();
        let own = loop {
            match client.hash_kv(revision).await {
                Ok(answer) => break answer.hash,
                Err(error) => {
                    if let Some(outcome) = self.not_served(member, end, &error).await? {
                        return Ok(Some(outcome));
                    }
                }
            }
        };
        for other in others {
            let client = Client::new(&self.cluster.endpoint(*other), Duration::from_secs(2));
            let hash = loop {
                let read = Truth::read(&client, false).await;
                let hash = match read {
                    Ok(_) => client.hash_kv(revision).await,
                    Err(error) => Err(error),
                };
                match hash {
                    Ok(answer) => break answer.hash,
                    Err(error) => {
                        if let Some(outcome) = self.not_served(*other, end, &error).await? {
                            return Ok(Some(outcome));
                        }
                    }
                }
            };
            if hash != own {
                let what = format!("hash {own} at {revision}, and member {other} has {hash}");
                return Ok(Some(Outcome::Wrong(what)));
            }
        }
        Ok(None)
    }

    /// What it means that a request failed; nothing if there is still time to try again.
    async fn not_served(
        &mut self,
        member: usize,
        end: Instant,
        error: &tonic::Status,
    ) -> io::Result<Option<Outcome>> {
        if self.cluster.has_ended(member)? {
            return Ok(Some(Outcome::Refused(self.last_words(member))));
        }
        if Instant::now() > end {
            let what = format!("{}; {}", error.message(), self.last_words(member));
            return Ok(Some(Outcome::Silent(what)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(None)
    }

    /// The line in which a member says why, or at least the last one.
    fn last_words(&self, member: usize) -> String {
        let log = self.cluster.log(member);
        let cause = log.lines().find(|line| {
            line.contains("\"level\":\"fatal\"")
                || line.contains("\"level\":\"panic\"")
                || line.starts_with("panic:")
                || line.contains("panicked at")
        });
        cause.or(log.lines().last()).unwrap_or("nothing").to_owned()
    }
}

/// Copies a directory. Long runs of zeros, of which a log has many, take no room in the copy.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let status = Command::new("cp").args(["-r", "--sparse=always"]).args([from, to]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("cp: {status}"))) }
}
