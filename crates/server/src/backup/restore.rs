//! Makes the data directory of a member out of a backup.
//!
//! The cluster is a new one, with the members that its operator names; each of them is made from the same file, with
//! the same names and addresses. Its id is made of theirs, as always, *and of the file*: members that were made of
//! different files, or in different ways, are in different clusters and never hear each other; nor does anybody hear
//! them who is left of the cluster that was.
//!
//! All begin at the same entry of a log that is empty behind it, in the same term, and with the same state, as if each
//! had just got a snapshot. There is nothing that one could have and another not.
//!
//! The directory is empty before, and until it is complete a note in it says so: with that, no member starts, and the
//! command may be given again.

use std::fs;
use std::path::{Path, PathBuf};

use quorate_bolt::{Bolt, ReadAt};
use quorate_host::{Repair, whole_file};
use quorate_mvcc::engine::Engine;
use quorate_mvcc::{Beginning, Import, Imported, Store};
use quorate_raft::{EntryId, Index, Membership, NodeId, Term};
use quorate_store::{DiskEngine, Options};

use super::content;
use super::source::Source;
use super::tail;
use crate::config::{Config, InitialCluster, InitialMember, Url};
use crate::identity::{FILE, Identity, STORE};
use crate::members;
use crate::rebuild::{LOG, is_there, remove_directory};
use crate::sha1::sha1_prefix;

/// Says that what is beside it is not complete.
const NOTE: &str = "restore-unfinished";

/// Where the log begins, of every member alike.
pub(super) const FIRST: EntryId = EntryId { term: Term(1), index: Index(1) };

/// What the operator wants.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The member's name, `--initial-cluster`, `--initial-cluster-token` and `--initial-advertise-peer-urls`, as the
    /// server has them. `None` for what the server takes where there are none.
    pub name: Option<String>,
    /// See `name`.
    pub initial_cluster: Option<String>,
    /// See `name`.
    pub initial_cluster_token: Option<String>,
    /// See `name`.
    pub initial_advertise_peer_urls: Option<String>,
    /// By how much the revision moves; all before is compacted then, so that watchers are told. With 0 it stays, with
    /// all history.
    pub bump: i64,
    /// Whether to take a file without a hash, or with a wrong one.
    pub skip_hash_check: bool,
}

/// Makes a member in a data directory, which is empty or not there, of a backup or of an etcd's data directory. `say`
/// is given what the operator should read.
///
/// # Errors
/// With the reason, for the operator. Nothing is left of the member then.
pub fn restore(
    from: &Path,
    data_dir: &Path,
    wishes: &Wishes,
    say: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let cluster = cluster(data_dir, wishes)?;
    let source = Source::open(from, wishes.skip_hash_check)?;
    let explain = |error: &dyn std::fmt::Display| format!("{}: {error}", from.display());
    let bolt = Bolt::open(&source.image).map_err(|error| explain(&error))?;
    let facts = content::facts(&bolt).map_err(|error| explain(&error))?;
    if let Some(wal) = &source.wal {
        tail::check(wal, facts.applied)?;
    }
    let identity = identity(cluster, &source.hash, wishes.bump);
    let how = Beginning {
        entry: FIRST,
        membership: membership(&identity.members).encode().into(),
        compacted: facts.compacted,
        bump: wishes.bump,
    };
    let place = Place::take(data_dir)?;
    let done = build(&bolt, &place, &how, &identity).map_err(|error| explain(&error));
    let imported = match done {
        Ok(imported) => imported,
        Err(error) => {
            // What is left of it is removed the next time, if it can't be now.
            let _ = place.give_up();
            return Err(error);
        }
    };
    let alarms = content::alarms(&bolt).map_err(|error| explain(&error))?;
    place.finish()?;
    say(&report(data_dir, &identity, &imported));
    if !alarms.is_empty() {
        say(&format!("Alarms were raised there, and are not here: {}.", alarms.join(", ")));
    }
    Ok(())
}

fn report(data_dir: &Path, identity: &Identity, imported: &Imported) -> String {
    let Imported { revision, compacted, changes, leases } = imported;
    let history = match compacted {
        -1 => "with all history".to_owned(),
        compacted => format!("compacted up to {compacted}"),
    };
    format!(
        "{changes} changes of keys and {leases} leases are in {}, at revision {revision}, {history}. It is member {:x} \
         of the new cluster {:x}, with {} members.",
        data_dir.display(),
        identity.member_id,
        identity.cluster_id,
        identity.members.len()
    )
}

/// The members, by the flags and the rules of the server.
fn cluster(data_dir: &Path, wishes: &Wishes) -> Result<InitialCluster, String> {
    let mut flags = vec![format!("--data-dir={}", data_dir.display())];
    let given = [
        ("name", &wishes.name),
        ("initial-cluster", &wishes.initial_cluster),
        ("initial-cluster-token", &wishes.initial_cluster_token),
        ("initial-advertise-peer-urls", &wishes.initial_advertise_peer_urls),
    ];
    for (name, value) in given {
        flags.extend(value.iter().map(|value| format!("--{name}={value}")));
    }
    let config = Config::parse(flags, []).map_err(|stop| stop.to_string())?;
    config.initial_cluster()
}

/// Who the member is.
fn identity(cluster: InitialCluster, hash: &[u8; 32], bump: i64) -> Identity {
    let InitialCluster { cluster_id, member_id, members } = cluster;
    let made_of = [&cluster_id.to_be_bytes()[..], hash, &bump.to_be_bytes()].concat();
    let cluster_id = sha1_prefix(&made_of);
    Identity { cluster_id, member_id, founding: false, rejoining: None, members }
}

/// All members vote, and are found where their operator said.
fn membership(members: &[InitialMember]) -> Membership {
    let mut membership = Membership::of_voters(members.iter().map(|member| NodeId(member.id)));
    for member in members {
        let urls: Vec<_> = member.peer_urls.iter().map(Url::to_string).collect();
        let about = members::about(&urls, members::Later::Stays);
        if about.len() <= Membership::ABOUT_BYTES_MAX {
            membership.about.insert(NodeId(member.id), about);
        }
    }
    membership
}

fn build(
    bolt: &Bolt<'_, super::file::Part>,
    place: &Place,
    how: &Beginning,
    identity: &Identity,
) -> Result<Imported, String> {
    let data_dir = &place.data_dir;
    let engine = DiskEngine::open(&data_dir.join(STORE), Options::default());
    let engine = engine.map_err(|error| error.to_string())?;
    let (store, imported) = fill(bolt, Box::new(engine), how)?;
    drop(store);
    Repair::anew(how.entry).write(&data_dir.join(LOG))?;
    identity.store_or_explain(data_dir)?;
    Ok(imported)
}

/// Makes a store of a backend, in an empty engine.
pub(super) fn fill<R: ReadAt + ?Sized>(
    bolt: &Bolt<'_, R>,
    engine: Box<dyn Engine>,
    how: &Beginning,
) -> Result<(Store, Imported), String> {
    let mut import = Import::begin(engine);
    content::import_keys(bolt, &mut import)?;
    content::import_leases(bolt, &mut import)?;
    let auth = content::auth(bolt)?;
    import.finish(&auth, how).map_err(|error| error.to_string())
}

/// A data directory in which a member is built.
struct Place {
    data_dir: PathBuf,
}

impl Place {
    /// Takes one that is empty, or in which an earlier attempt was cut off.
    fn take(data_dir: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", data_dir.display());
        quorate_host::create_directory(data_dir).map_err(failed)?;
        let place = Self { data_dir: data_dir.to_owned() };
        if is_there(&data_dir.join(NOTE))? {
            place.clear().map_err(failed)?;
        } else if fs::read_dir(data_dir).map_err(failed)?.next().is_some() {
            let data_dir = data_dir.display();
            return Err(format!(
                "{data_dir} is not empty: a member is restored to a new directory"
            ));
        }
        whole_file::write(data_dir, NOTE, b"").map_err(failed)?;
        Ok(place)
    }

    /// Removes what was built.
    fn clear(&self) -> std::io::Result<()> {
        for name in [STORE, LOG] {
            remove_directory(&self.data_dir.join(name))?;
        }
        for name in [FILE.to_owned(), format!("{FILE}.tmp")] {
            whole_file::remove(&self.data_dir, &name)?;
        }
        Ok(())
    }

    fn give_up(self) -> std::io::Result<()> {
        self.clear()?;
        whole_file::remove(&self.data_dir, NOTE)
    }

    /// It is complete.
    fn finish(self) -> Result<(), String> {
        whole_file::remove(&self.data_dir, NOTE)
            .map_err(|error| format!("{}: {error}", self.data_dir.display()))
    }
}

/// Refuses to take what is in a data directory for a member, if it is not complete.
///
/// # Errors
/// If it is not. The text is meant for the operator.
pub(crate) fn refuse_unfinished(data_dir: &Path) -> Result<(), String> {
    if !is_there(&data_dir.join(NOTE))? {
        return Ok(());
    }
    let data_dir = data_dir.display();
    Err(format!(
        "a member was being restored in {data_dir}, and is not complete: give the command again"
    ))
}
