//! The configuration, parsed twice: as typed ([`Typed`](typed::Typed)), then as meant ([`Config`]).
//!
//! The first parse knows flags, environment variables and the configuration file, the second one numbers, durations, URLs and
//! which of them fit together. What depends on the data directory (whether there is a cluster already)
//! is in neither: [`Config::initial_cluster`] is asked for only where no member lives yet, since
//! etcd ignores those flags afterwards.

mod auth_token;
mod client_limits;
mod compaction;
mod duration;
mod file;
mod flags;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod http;
mod initial;
mod peers;
mod quota;
mod tls;
mod typed;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use quorate_host::Priority;
use quorate_raft::{ElectionPolicy, Lease};

pub use self::auth_token::{AuthToken, Jwt, Method};
pub use self::client_limits::{ClientLimits, MemoryLimit};
pub use self::compaction::AutoCompaction;
pub use self::http::Http;
pub use self::initial::{InitialCluster, InitialMember};
use self::peers::PeerUrls;
pub use self::peers::{EncryptedLinks, PeerLinks};
pub use self::quota::Quota;
pub use self::tls::{ClientSocket, Tls};
use self::typed::Typed;
pub use self::url::Url;
use crate::log::Level;
pub use crate::rate::{Rate, Rates};

/// Beyond this, etcd warns: one such request holds up the heartbeats behind it.
const REQUEST_BYTES_ADVISED: usize = 10 << 20;

/// The longest election timeout, as in etcd: more would leave a cluster without leader for minutes.
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(50);

/// The shortest interval between progress notifications, as in etcd.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// What a member is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's name, as it is in the initial cluster and in lists of members.
    pub name: String,
    /// The directory of everything it keeps.
    pub data_dir: PathBuf,
    /// Where clients are served.
    pub listen_client: Vec<Url>,
    /// Where clients are told to find it.
    pub advertise_client: Vec<Url>,
    /// Where other members reach it.
    pub listen_peer: Vec<Url>,
    /// Where other members are told to find it.
    pub advertise_peer: Vec<Url>,
    /// What protects the connections between members.
    pub peer_links: PeerLinks,
    /// The members of a new cluster as typed, `name=url,…`.
    pub initial_cluster: String,
    /// The names of those of them that are witnesses.
    pub initial_witnesses: Vec<String>,
    /// Whether the cluster is to be founded or joined.
    pub initial_state: InitialState,
    /// What sets this cluster's ids apart.
    pub initial_token: String,
    /// Where the member stands: those of one zone may be lost together. Empty if nobody said.
    pub zone: String,
    /// How much this member is wanted as the leader.
    pub leader_priority: Priority,
    /// How long a voter has to look failed until a spare takes its place. `None` is for ever.
    pub replace_failed_after: Option<Duration>,
    /// The time between two heartbeats of a leader.
    pub heartbeat_interval: Duration,
    /// The time without a leader before an election.
    pub election_timeout: Duration,
    /// How that is to be read: as the time, or as the longest that is measured out.
    pub election_policy: ElectionPolicy,
    /// Whether leaders answer reads by a lease, and how wrong clocks may be then.
    pub leader_lease: Option<Lease>,
    /// How large the store may become.
    pub quota: Quota,
    /// Which history is compacted without being asked. `None` is none.
    pub auto_compaction: Option<AutoCompaction>,
    /// The most operations in one transaction.
    pub max_txn_ops: usize,
    /// The most bytes of one request. Its message may be 512 KiB larger.
    pub max_request_bytes: usize,
    /// What clients may take together.
    pub client_limits: ClientLimits,
    /// The silence after which a client's connection is pinged. `None` is never.
    pub keepalive_interval: Option<Duration>,
    /// The wait for the answer to such a ping.
    pub keepalive_timeout: Duration,
    /// The time between progress notifications of a watch.
    pub progress_interval: Duration,
    /// How connections of clients are encrypted, and how long they may take to begin.
    pub tls: Tls,
    /// Which tokens users get.
    pub auth_token: AuthToken,
    /// How long a simple token lives that is not used.
    pub auth_token_ttl: Duration,
    /// Whether all memory is kept out of the swap.
    pub memory_mlock: bool,
    /// What is served over plain HTTP.
    pub http: Http,
    /// What is logged.
    pub log_level: Level,
    /// What the user should know although it keeps nothing from starting.
    pub warnings: Vec<String>,
}

/// Whether the cluster is to be founded or joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialState {
    /// All members of the initial cluster start for the first time.
    New,
    /// The cluster runs, and what this member had is not on its disk, which is a new one.
    Existing,
}

/// Why there is no configuration to start with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The usage was asked for.
    Help(String),
    /// The version was asked for.
    Version(String),
    /// The command line can't be read.
    Usage(String),
    /// What was asked for is wrong, contradictory or missing.
    Refused(String),
}

impl Stop {
    /// The exit code, as etcd's.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Help(_) | Self::Version(_) => 0,
            Self::Usage(_) => 2,
            Self::Refused(_) => 1,
        }
    }

    /// Whether the text belongs on standard output, because it is what the user asked for.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.exit_code() == 0
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help(text) | Self::Version(text) | Self::Refused(text) => f.write_str(text),
            Self::Usage(text) => write!(f, "{text}\n{}", flags::usage()),
        }
    }
}

impl std::error::Error for Stop {}

impl Config {
    /// The configuration that these arguments (without the program's own name) and this environment
    /// mean.
    ///
    /// # Errors
    /// [`Stop`] says why there is nothing to start.
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Stop> {
        Self::mean(Typed::parse(arguments, environment)?)
    }

    fn mean(typed: Typed) -> Result<Self, Stop> {
        let name = typed.get("name").unwrap_or("default").to_owned();
        let data_dir = match typed.get("data-dir") {
            Some(directory) if !directory.is_empty() => directory.into(),
            _ => PathBuf::from(format!("{name}.etcd")),
        };

        let mut warnings = typed.warnings.clone();
        let listen_client = urls(&typed, "listen-client-urls", "http://localhost:2379")?;
        let advertise_client = urls(&typed, "advertise-client-urls", "http://localhost:2379")?;
        let listen_peer = urls(&typed, "listen-peer-urls", "http://localhost:2380")?;
        let advertise_peer = urls(&typed, "initial-advertise-peer-urls", "http://localhost:2380")?;
        for url in listen_client.iter().chain(&listen_peer) {
            url.check_listen().map_err(Stop::Refused)?;
        }
        for url in advertise_client.iter().chain(&advertise_peer) {
            url.check_advertise().map_err(Stop::Refused)?;
        }
        if typed.get("listen-client-urls").is_some() && typed.get("advertise-client-urls").is_none()
        {
            return Err(Stop::Refused(
                "--advertise-client-urls is required when --listen-client-urls is set explicitly"
                    .to_owned(),
            ));
        }

        let initial_cluster = match typed.get("initial-cluster") {
            Some(text) => text.to_owned(),
            None => advertise_peer
                .iter()
                .map(|url| format!("{name}={url}"))
                .collect::<Vec<_>>()
                .join(","),
        };
        let peer_urls = PeerUrls {
            listen: &listen_peer,
            advertise: &advertise_peer,
            initial_cluster: &initial_cluster,
        };
        let peer_links = PeerLinks::mean(&typed, &data_dir, peer_urls, &mut warnings)?;
        let initial_witnesses = typed.get("initial-witnesses").unwrap_or_default();
        let initial_witnesses = initial_witnesses.split(',').map(str::trim);
        let initial_witnesses =
            initial_witnesses.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let initial_state = match typed.get("initial-cluster-state") {
            None | Some("new") => InitialState::New,
            Some("existing") => InitialState::Existing,
            Some(other) => return Err(typed.invalid("initial-cluster-state", other)),
        };

        let zone = typed.get("zone").unwrap_or_default().to_owned();
        if !quorate_host::is_name(&zone) {
            return Err(Stop::Refused(format!(
                "--zone={zone:?} is not a word of at most 64 letters, digits and any of .-_:/+"
            )));
        }

        let leader_priority = number(&typed, "leader-priority", Priority::default().get())?;
        let leader_priority = Priority::new(leader_priority).ok_or_else(|| {
            Stop::Refused(format!(
                "--leader-priority={leader_priority} is more than {}",
                Priority::MAX.get()
            ))
        })?;

        let heartbeat_ms: u64 = number(&typed, "heartbeat-interval", 100)?;
        let election_ms: u64 = number(&typed, "election-timeout", 1000)?;
        check_timing(heartbeat_ms, election_ms)?;
        let election_policy = match typed.get("election-policy") {
            None | Some("adaptive") => ElectionPolicy::Adaptive,
            Some("backoff") => ElectionPolicy::Backoff,
            Some("fixed") => ElectionPolicy::Fixed,
            Some(other) => return Err(typed.invalid("election-policy", other)),
        };

        let leader_lease = match typed.get("leader-lease-drift") {
            None => None,
            Some(text) => match text.parse() {
                Ok(drift_ppm) if drift_ppm < 1_000_000 => Some(Lease { drift_ppm }),
                _ => return Err(typed.invalid("leader-lease-drift", text)),
            },
        };
        let replace_failed_after = duration(&typed, "replace-failed-after", Duration::ZERO)?;
        if !replace_failed_after.is_zero()
            && replace_failed_after < 2 * Duration::from_millis(election_ms)
        {
            return Err(Stop::Refused(format!(
                "--replace-failed-after={replace_failed_after:?} is less than two election timeouts"
            )));
        }

        let quota = Quota::mean(&typed, &mut warnings)?;
        let http = Http::mean(&typed)?;
        let tls =
            Tls::mean(&typed, &data_dir, &listen_client, &http.listen_metrics, &mut warnings)?;
        let max_request_bytes = number(&typed, "max-request-bytes", 1_572_864)?;
        if max_request_bytes > REQUEST_BYTES_ADVISED {
            warnings.push(format!(
                "--max-request-bytes exceeds the advised maximum of {REQUEST_BYTES_ADVISED}"
            ));
        }

        let keepalive = duration(&typed, "grpc-keepalive-interval", Duration::from_secs(7200))?;
        let progress_interval =
            duration(&typed, "watch-progress-notify-interval", Duration::from_secs(600))?;
        if progress_interval < PROGRESS_INTERVAL_MIN {
            return Err(Stop::Refused(format!(
                "--watch-progress-notify-interval must be at least {PROGRESS_INTERVAL_MIN:?}"
            )));
        }
        let auth_token_ttl = match number(&typed, "auth-token-ttl", 300)? {
            0 => return Err(Stop::Refused("--auth-token-ttl must be at least 1".into())),
            seconds => Duration::from_secs(seconds),
        };
        let log_level = match typed.get("log-level") {
            None => Level::Info,
            Some(text) => Level::from_str(text).map_err(|()| typed.invalid("log-level", text))?,
        };

        Ok(Self {
            data_dir,
            listen_client,
            advertise_client,
            listen_peer,
            advertise_peer,
            peer_links,
            initial_cluster,
            initial_witnesses,
            initial_state,
            initial_token: typed.get("initial-cluster-token").unwrap_or("etcd-cluster").to_owned(),
            zone,
            leader_priority,
            replace_failed_after: Some(replace_failed_after).filter(|after| !after.is_zero()),
            heartbeat_interval: Duration::from_millis(heartbeat_ms),
            election_timeout: Duration::from_millis(election_ms),
            election_policy,
            leader_lease,
            quota,
            auto_compaction: AutoCompaction::mean(&typed)?,
            max_txn_ops: number(&typed, "max-txn-ops", 128)?,
            max_request_bytes,
            client_limits: ClientLimits::mean(&typed, max_request_bytes)?,
            keepalive_interval: Some(keepalive).filter(|interval| !interval.is_zero()),
            keepalive_timeout: duration(&typed, "grpc-keepalive-timeout", Duration::from_secs(20))?,
            progress_interval,
            tls,
            auth_token: AuthToken::mean(&typed)?,
            auth_token_ttl,
            memory_mlock: typed.get("memory-mlock") == Some("true"),
            http,
            log_level,
            warnings,
            name,
        })
    }

    /// How long a proposal or a linearizable read may take: etcd's 5 seconds, in which a disk may
    /// stall, and two elections, as one may fail.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election_timeout
    }

    /// The members of the cluster that is to be founded, with their ids.
    ///
    /// # Errors
    /// What etcd would refuse at this point, in its words.
    pub fn initial_cluster(&self) -> Result<InitialCluster, String> {
        InitialCluster::parse(
            &self.initial_cluster,
            &self.initial_witnesses,
            &self.initial_token,
            &self.name,
            &self.advertise_peer,
        )
    }
}

/// The two rules that etcd has for its timing: an election must not be caused by one heartbeat that was
/// late, and not take for ever.
fn check_timing(heartbeat_ms: u64, election_ms: u64) -> Result<(), Stop> {
    if heartbeat_ms == 0 {
        return Err(Stop::Refused("--heartbeat-interval must be >0 (set to 0ms)".to_owned()));
    }
    if election_ms == 0 {
        return Err(Stop::Refused("--election-timeout must be >0 (set to 0ms)".to_owned()));
    }
    if heartbeat_ms.saturating_mul(5) > election_ms {
        return Err(Stop::Refused(format!(
            "--election-timeout[{election_ms}ms] should be at least as 5 times as \
             --heartbeat-interval[{heartbeat_ms}ms]"
        )));
    }
    let longest = ELECTION_TIMEOUT_MAX.as_millis();
    if u128::from(election_ms) > longest {
        return Err(Stop::Refused(format!(
            "--election-timeout[{election_ms}ms] is too long, and should be set less than \
             {longest}ms"
        )));
    }
    Ok(())
}

fn urls(typed: &Typed, flag: &str, default: &str) -> Result<Vec<Url>, Stop> {
    let text = typed.get(flag).unwrap_or(default);
    Url::parse_list(text).map_err(|why| Stop::Refused(format!("--{flag}: {why}")))
}

fn number<T: FromStr>(typed: &Typed, flag: &str, default: T) -> Result<T, Stop> {
    match typed.get(flag) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| typed.invalid(flag, text)),
    }
}

fn duration(typed: &Typed, flag: &str, default: Duration) -> Result<Duration, Stop> {
    match typed.get(flag) {
        None => Ok(default),
        Some(text) => duration::parse(text).ok_or_else(|| typed.invalid(flag, text)),
    }
}

#[cfg(test)]
mod tests;
