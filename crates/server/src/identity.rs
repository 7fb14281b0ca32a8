//! Who this member is, for ever: the file that says so in the data directory.
//!
//! The first start derives the ids from the flags and writes them down, with the members that the
//! cluster was founded with. Later starts believe the file and ignore those flags, as etcd does. So a
//! flag that was changed by mistake can't turn a member into a stranger with the same data.
//!
//! ```text
//! quorate member 1
//! cluster cdf818194e3a8c32
//! self 8e9e05c52164694d
//! member 8e9e05c52164694d http://localhost:2380 default
//! crc32 5f0c3d1a
//! ```
//!
//! A line `founding` after `self` says that the member has not begun its log yet. Without it, a log that is
//! not there was lost, and with it what the member promised; so it is a line that goes.
//!
//! A line `rejoining 93a1b0de2c3f4455` after that says that the member's disk is a new one in a cluster that
//! exists, and that it has not all back yet that it may have promised: until then it has no vote, however
//! often it is started, unless it was given one with this disk, whose number that is.
//!
//! A line of a witness begins with `witness` in the place of `member`.
//!
//! A member's name comes last in its line because it may contain anything but a line break.

#[cfg(feature = "fuzz")]
pub mod fuzz;

use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use quorate_host::{DiskId, HostConfig, whole_file};

use crate::backup;
use crate::config::{Config, InitialCluster, InitialMember, InitialState, Url};
use crate::join::{Joined, join};
use crate::log::Log;
use crate::recover;

/// Its name.
pub(crate) const FILE: &str = "identity";
const FIRST_LINE: &str = "quorate member 1";
const MEMBER: &str = "member ";
const WITNESS: &str = "witness ";

/// Who this member is, and with whom the cluster was founded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    /// Whether it has not begun its log yet.
    pub(crate) founding: bool,
    /// Its disk, if that is a new one, with which it has no vote yet.
    pub(crate) rejoining: Option<DiskId>,
    /// The founding members, ascending by id, this one among them.
    pub(crate) members: Vec<InitialMember>,
}

impl Identity {
    /// The identity in the data directory; if there is none, a new one, which is durable in there
    /// when this returns.
    ///
    /// # Errors
    /// If the file is damaged, the disk refuses, or the flags do not make a new cluster. The text is
    /// meant for the operator.
    pub(crate) fn load_or_create(config: &Config, log: &Log) -> Result<Self, String> {
        if let Some(identity) = Self::load(&config.data_dir)? {
            return Ok(identity);
        }
        refuse_leftovers(&config.data_dir)?;
        let identity = match config.initial_state {
            InitialState::New => {
                let InitialCluster { cluster_id, member_id, members } = config.initial_cluster()?;
                Self { cluster_id, member_id, founding: true, rejoining: None, members }
            }
            InitialState::Existing => {
                let Joined { cluster_id, member_id, members } = join(config, log)?;
                let rejoining = Some(new_disk());
                Self { cluster_id, member_id, founding: true, rejoining, members }
            }
        };
        identity.store_or_explain(&config.data_dir)?;
        Ok(identity)
    }

    /// The identity in the data directory, if there is one.
    ///
    /// # Errors
    /// If the file is damaged, the directory is in the midst of a recovery, or the disk refuses. The text is
    /// meant for the operator.
    pub(crate) fn load(data_dir: &Path) -> Result<Option<Self>, String> {
        recover::refuse_unfinished(data_dir)?;
        backup::refuse_unfinished(data_dir)?;
        let path = data_dir.join(FILE);
        let damaged = || format!("{} is damaged; the member can't start", path.display());
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map(Some).ok_or_else(damaged),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("can't read {}: {error}", path.display())),
        }
    }

    /// Changes what the file says. The last word of several is that of the last; none is lost.
    ///
    /// # Errors
    /// If there is no file, or the disk refuses. The text is meant for the operator.
    pub(crate) fn change(data_dir: &Path, change: impl FnOnce(&mut Self)) -> Result<(), String> {
        static CHANGES: Mutex<()> = Mutex::new(());
        let _one_at_a_time = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = || format!("there is no {}", data_dir.join(FILE).display());
        let mut identity = Self::load(data_dir)?.ok_or_else(missing)?;
        let before = identity.clone();
        change(&mut identity);
        if identity == before { Ok(()) } else { identity.store_or_explain(data_dir) }
    }

    /// The member no longer knows what it promised: it has no vote from now on, and so it is noted.
    ///
    /// # Errors
    /// If the disk refuses. The text is meant for the operator.
    pub(crate) fn note_rejoining(data_dir: &Path) -> Result<(), String> {
        Self::change(data_dir, |identity| identity.rejoining = Some(new_disk()))
    }

    /// The member has a log from now on, and so it is noted.
    ///
    /// # Errors
    /// If the disk refuses. The text is meant for the operator.
    pub(crate) fn note_founded(data_dir: &Path) -> Result<(), String> {
        Self::change(data_dir, |identity| identity.founding = false)
    }

    /// The member has a vote again, and so it is noted.
    ///
    /// # Errors
    /// If the disk refuses. The text is meant for the operator.
    pub(crate) fn note_rejoined(data_dir: &Path) -> Result<(), String> {
        Self::change(data_dir, |identity| (identity.founding, identity.rejoining) = (false, None))
    }

    /// Whether this member is a witness.
    pub(crate) fn is_witness(&self) -> bool {
        self.members.iter().any(|member| member.id == self.member_id && member.is_witness)
    }

    /// Whether another member has the state, and so what this one may have lost of it. A witness has none.
    pub(crate) fn others_have_the_state(&self) -> bool {
        self.members.iter().any(|member| member.id != self.member_id && !member.is_witness)
    }

    /// Writes it down, durably, in the place of what is there.
    ///
    /// # Errors
    /// If the disk refuses. The text is meant for the operator.
    pub(crate) fn store_or_explain(&self, data_dir: &Path) -> Result<(), String> {
        let path = data_dir.join(FILE);
        self.store(data_dir).map_err(|error| format!("can't write {}: {error}", path.display()))
    }

    fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\ncluster {:016x}\n", self.cluster_id);
        writeln!(text, "self {:016x}", self.member_id).expect("writing to a string");
        if self.founding {
            text.push_str("founding\n");
        }
        if let Some(disk) = self.rejoining {
            writeln!(text, "rejoining {:016x}", disk.0).expect("writing to a string");
        }
        for InitialMember { id, name, peer_urls, is_witness } in &self.members {
            let urls: Vec<_> = peer_urls.iter().map(Url::as_str).collect();
            let kind = if *is_witness { WITNESS } else { MEMBER };
            writeln!(text, "{kind}{id:016x} {} {name}", urls.join(",")).expect("to a string");
        }
        let checksum = crc32fast::hash(text.as_bytes());
        writeln!(text, "crc32 {checksum:08x}").expect("writing to a string");
        text
    }

    /// `None` if the text is not one that [`Identity::to_text`] makes.
    fn parse(text: &str) -> Option<Self> {
        let (body, checksum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let body = &text[..=body.len()];
        let checksum = u32::from_str_radix(checksum.strip_prefix("crc32 ")?, 16).ok()?;
        if checksum != crc32fast::hash(body.as_bytes()) {
            return None;
        }
        let id = |text| u64::from_str_radix(text, 16).ok();
        let mut lines = body.lines();
        lines.next().filter(|line| *line == FIRST_LINE)?;
        let cluster_id = id(lines.next()?.strip_prefix("cluster ")?)?;
        let member_id = id(lines.next()?.strip_prefix("self ")?)?;
        let mut lines = lines.peekable();
        let founding = lines.next_if(|line| *line == "founding").is_some();
        let rejoining = match lines.next_if(|line| line.starts_with("rejoining ")) {
            Some(line) => Some(DiskId(id(line.strip_prefix("rejoining ")?)?)),
            None => None,
        };
        let mut members = Vec::new();
        for line in lines {
            let (is_witness, words) = match line.strip_prefix(WITNESS) {
                Some(words) => (true, words),
                None => (false, line.strip_prefix(MEMBER)?),
            };
            let mut words = words.splitn(3, ' ');
            members.push(InitialMember {
                id: id(words.next()?)?,
                peer_urls: Url::parse_list(words.next()?).ok()?,
                name: words.next()?.to_owned(),
                is_witness,
            });
        }
        members.iter().any(|member| member.id == member_id).then_some(())?;
        let identity = Self { cluster_id, member_id, founding, rejoining, members };
        // Numbers can be spelt in several ways, and only one of them was written.
        (identity.to_text() == text).then_some(identity)
    }

    /// Writes the file so that it is whole or absent, whatever happens meanwhile.
    fn store(&self, data_dir: &Path) -> io::Result<()> {
        quorate_host::create_directory(data_dir)?;
        whole_file::write(data_dir, FILE, self.to_text().as_bytes())
    }
}

/// A number that no other disk has.
fn new_disk() -> DiskId {
    // The keys of the standard library's hash maps are the one source of entropy it has.
    DiskId(RandomState::new().hash_one(0))
}

/// Data without an identity belong to somebody, and not to the member that is about to be founded.
fn refuse_leftovers(data_dir: &Path) -> Result<(), String> {
    for directory in DATA {
        let path: PathBuf = data_dir.join(directory);
        let is_there = path.try_exists();
        if is_there.map_err(|error| format!("can't look at {}: {error}", path.display()))? {
            return Err(format!(
                "{} exists while {} is missing: the data directory is damaged",
                path.display(),
                data_dir.join(FILE).display()
            ));
        }
    }
    Ok(())
}

/// Where the member's data are: the log, and the store, or the file of a witness.
pub(crate) const STORE: &str = "store";
const DATA: [&str; 3] = [HostConfig::LOG, STORE, HostConfig::STATE];

#[cfg(test)]
mod tests {
    use super::*;

    fn config(directory: &Path, arguments: &[&str]) -> Config {
        let mut all = vec![format!("--data-dir={}", directory.display())];
        all.extend(arguments.iter().map(ToString::to_string));
        Config::parse(all, []).expect("good flags")
    }

    fn created(config: &Config) -> Result<Identity, String> {
        Identity::load_or_create(config, &Log::new(config.log_level, io::sink()))
    }

    #[test]
    fn the_first_start_decides() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        let flags = ["--name=a b", "--initial-cluster=a b=http://localhost:2380,c=http://c:1"];
        let first = created(&config(&data, &flags)).expect("a new cluster");
        assert_eq!(first.members.len(), 2);
        // Other flags, even bad ones, no longer matter.
        let flags = ["--name=x", "--initial-cluster=y=z", "--initial-cluster-state=existing"];
        let second = created(&config(&data, &flags)).expect("a restart");
        assert_eq!(second, first);
    }

    #[test]
    fn a_member_rejoins_until_it_is_noted_that_it_has() {
        let directory = tempfile::tempdir().expect("a directory");
        let of = |state: &str| {
            let state = format!("--initial-cluster-state={state}");
            let cluster = "--initial-cluster=default=http://localhost:2380,c=http://c:1";
            created(&config(directory.path(), &[&state, cluster])).expect("fine")
        };
        assert_eq!(of("new").rejoining, None);
        Identity::note_rejoining(directory.path()).expect("noted");
        let identity = of("existing");
        assert!(identity.rejoining.is_some());
        assert_eq!(of("new"), identity, "a flag does not give it its promises back");
        Identity::note_rejoining(directory.path()).expect("noted");
        assert!(
            of("new").rejoining.is_some_and(|disk| identity.rejoining != Some(disk)),
            "one more"
        );
        Identity::note_rejoined(directory.path()).expect("noted");
        assert_eq!(of("existing"), Identity { founding: false, rejoining: None, ..identity });
    }

    #[test]
    fn who_has_the_state() {
        let cluster = "--initial-cluster=default=http://localhost:2380,c=http://c:1";
        let of = |witnesses: &[&str]| {
            let directory = tempfile::tempdir().expect("a directory");
            let flags = [&[cluster][..], witnesses].concat();
            let identity = created(&config(directory.path(), &flags)).expect("new");
            (identity.is_witness(), identity.others_have_the_state())
        };
        assert_eq!(of(&[]), (false, true));
        assert_eq!(of(&["--initial-witnesses=c"]), (false, false), "a witness has not");
        assert_eq!(of(&["--initial-witnesses=default"]), (true, true));
    }

    #[test]
    fn a_member_is_founded_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let of = || created(&config(directory.path(), &[])).expect("fine");
        assert!(of().founding && of().founding, "until it has a log");
        Identity::note_founded(directory.path()).expect("noted");
        assert!(!of().founding);
    }

    #[test]
    fn every_byte_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let cluster = "--initial-cluster=default=http://localhost:2380,c=http://c:1";
        let flags = [cluster, "--initial-witnesses=c"];
        let mut identity = created(&config(directory.path(), &flags)).expect("new");
        for rejoining in [None, Some(new_disk())] {
            (identity.founding, identity.rejoining) = (true, rejoining);
            let founding = identity.to_text();
            assert_eq!(Identity::parse(&founding), Some(identity.clone()));
            identity.founding = false;
            let text = identity.to_text();
            assert_ne!(text, founding);
            assert_eq!(Identity::parse(&text), Some(identity.clone()));
            for at in 0..text.len() {
                let mut damaged = text.clone().into_bytes();
                damaged[at] ^= 1;
                let damaged = String::from_utf8(damaged).expect("still ASCII");
                assert_eq!(Identity::parse(&damaged), None, "byte {at}");
                assert_eq!(Identity::parse(&text[..at]), None, "cut at {at}");
            }
        }
    }

    #[test]
    fn refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let of = |flags: &[&str]| created(&config(directory.path(), flags));
        let why = of(&["--initial-cluster-state=existing"]).expect_err("nobody to rejoin");
        assert!(why.ends_with("so nobody has what this one had"), "{why}");
        let why = of(&["--name=x", "--initial-cluster=y=http://y:1"]).expect_err("not in it");
        assert_eq!(why, "couldn't find local name \"x\" in the initial cluster configuration");
        fs::create_dir(directory.path().join("wal")).expect("a log of somebody");
        let why = of(&[]).expect_err("data without an identity");
        assert!(why.ends_with("the data directory is damaged"), "{why}");
        for content in [&b"x"[..], b"\xff"] {
            fs::write(directory.path().join(FILE), content).expect("written");
            let why = of(&[]).expect_err("a damaged identity");
            assert!(why.ends_with("is damaged; the member can't start"), "{why}");
        }
    }
}
