//! The changes of members, and those who ask for them: over the wire, or with etcdctl.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fmt, io};

use quorate_proto::etcdserverpb::Member;

use crate::checks::client::Client;
use crate::checks::gap::PATIENCE;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);

/// What is done to the cluster.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Add { is_learner: bool },
    Remove { leader: bool },
}

/// How somebody asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Wire,
    Etcdctl,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wire => "over the wire",
            Self::Etcdctl => "with etcdctl",
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) change: Change,
    pub(super) by: By,
}

/// One, two, three, four, five, four, three.
pub(super) const STEPS: [Step; 6] = [
    Step { change: Change::Add { is_learner: false }, by: By::Wire },
    Step { change: Change::Add { is_learner: true }, by: By::Etcdctl },
    Step { change: Change::Add { is_learner: true }, by: By::Wire },
    Step { change: Change::Add { is_learner: false }, by: By::Etcdctl },
    Step { change: Change::Remove { leader: false }, by: By::Etcdctl },
    Step { change: Change::Remove { leader: true }, by: By::Wire },
];

/// Asks one member for changes, again and again while it is refused: the leader may be dead, or the answer lost. What
/// counts is what the list of members says.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    by: By,
    endpoint: String,
    etcdctl: PathBuf,
    client: Client,
}

impl Asker {
    pub(super) fn new(by: By, endpoint: String, etcdctl: PathBuf) -> Self {
        let client = Client::new(&endpoint, TRY);
        Self { by, endpoint, etcdctl, client }
    }

    /// Adds a member, and returns its id.
    pub(super) async fn add(&self, name: &str, url: &str, is_learner: bool) -> io::Result<u64> {
        let found = |members: &[Member]| {
            members.iter().find(|it| it.peer_ur_ls.iter().any(|its| its == url)).map(|it| it.id)
        };
        self.until(found, async || match self.by {
            By::Wire => {
                let added = self.client.member_add(url, is_learner).await;
                added.map(drop).map_err(|status| status.to_string())
            }
            By::Etcdctl => {
                let url = format!("--peer-urls={url}");
                let mut words = vec!["member", "add", name, &url];
                words.extend(is_learner.then_some("--learner"));
                self.run(&words).await
            }
        })
        .await
    }

    /// Makes a learner a voter, as soon as it has caught up.
    pub(super) async fn promote(&self, id: u64) -> io::Result<()> {
        self.until(is_voter(id), async || match self.by {
            By::Wire => self.client.member_promote(id).await.map_err(|status| status.to_string()),
            By::Etcdctl => self.run(&["member", "promote", &format!("{id:x}")]).await,
        })
        .await
    }

    /// Waits until a member votes, and nobody has to ask for it.
    pub(super) async fn wait_for_vote(&self, id: u64) -> io::Result<()> {
        self.until(is_voter(id), async || Err("it is no voter yet".to_owned())).await
    }

    /// Removes a member.
    pub(super) async fn remove(&self, id: u64) -> io::Result<()> {
        let is_gone =
            |members: &[Member]| members.iter().all(|member| member.id != id).then_some(());
        self.until(is_gone, async || match self.by {
            By::Wire => self.client.member_remove(id).await.map_err(|status| status.to_string()),
            By::Etcdctl => self.run(&["member", "remove", &format!("{id:x}")]).await,
        })
        .await
    }

    /// The id of a member.
    pub(super) async fn id_of(&self, name: &str) -> io::Result<u64> {
        let found =
            |members: &[Member]| members.iter().find(|member| member.name == name).map(|it| it.id);
        self.until(found, async || Err(format!("no member is named {name}"))).await
    }

    /// Does something until the list of members shows what is wanted.
    async fn until<T>(
        &self,
        wanted: impl Fn(&[Member]) -> Option<T>,
        act: impl AsyncFn() -> Result<(), String>,
    ) -> io::Result<T> {
        let end = Instant::now() + PATIENCE;
        let mut said = "nobody answers".to_owned();
        loop {
            if let Ok(members) = self.client.members().await {
                if let Some(found) = wanted(&members) {
                    return Ok(found);
                }
                if let Err(error) = act().await {
                    said = error;
                }
            }
            if Instant::now() > end {
                return Err(io::Error::other(format!("not within {PATIENCE:?}: {said}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn run(&self, words: &[&str]) -> Result<(), String> {
        let mut command = Command::new(&self.etcdctl);
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.endpoint]);
        command.args(["--command-timeout", "10s"]).args(words);
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.map_err(|error| error.to_string())?;
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

fn is_voter(id: u64) -> impl Fn(&[Member]) -> Option<()> {
    move |members| members.iter().any(|it| it.id == id && !it.is_learner).then_some(())
}
