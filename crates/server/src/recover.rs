//! `quorate recover --from-survivor`: what an operator can do about a cluster that lost its majority for ever.
//!
//! A minority decides nothing, and that is what keeps a cluster from having two truths. When the majority of
//! its disks is gone there is nobody left to ask, and somebody has to say: what this one member has is the
//! truth from now on. Only the operator can, since only he knows that the others are gone.
//!
//! Without a word of his nothing is changed, and he reads what the survivor has, what may be lost, and what
//! would be done. With it, a *new cluster* of one member is made of what the survivor holds:
//!
//! - **All of its log counts**, also entries that nobody knows to be committed (as with etcd's
//!   `--force-new-cluster`). An entry that was acknowledged is in the logs of a majority, and this may be the
//!   one copy that is left; to drop the end of the log would be to lose such writes for certain, to keep it
//!   may bring some that clients were never told the end of. That is what any new leader would do with them.
//! - **New ids**, drawn by chance: for the cluster and for the member. A member of the old cluster that comes back
//!   is refused at the handshake, as one of another cluster is; so are two clusters that were made of two
//!   survivors, or of two copies of one.
//! - **A revision that nobody has seen**, and no history before it (`mvcc/src/refound.rs`): a watcher that
//!   resumes is told `compacted`, and reads everything anew.
//! - **One voter**, in a term above all that the survivor knew.
//!
//! How that is done so that a crash at any point leaves the old member, or one that this command finishes, is told
//! in `steps.rs`.

mod report;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use quorate_host::{IdleLog, Repair, Verdict};
use quorate_mvcc::Refounding;
pub use quorate_mvcc::refound::BUMP_DEFAULT;
use quorate_raft::{EntryId, Membership, NodeId, Payload};

use crate::config::{InitialMember, Url};
use crate::identity::Identity;
use crate::look::Look;
use crate::members;
use crate::rebuild::{LOG, Rebuild, is_there};
use crate::repair;
use crate::sha1::sha1_prefix;
use report::{Found, Members};
use steps::{BEGUN, UNFINISHED};

pub(crate) use steps::{refuse_unfinished, tidy_up};

/// How far the revision moves at least. Less may be less than what the cluster that was acknowledged after the
/// last that the survivor has, and then the recovery fools those whom it is to keep from being fooled.
pub const BUMP_MIN: i64 = 1_000_000;

/// How a recovery ends that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It can be done. Nothing was changed, as that was not asked for.
    Found,
    /// It is done: the member starts, in a cluster of its own.
    Recovered,
}

/// What the operator wants.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The member's name in the new cluster; `None` for the one that it has.
    pub name: Option<String>,
    /// Where other members will reach it, separated by commas; `None` for where they do now.
    pub peer_urls: Option<String>,
    /// By how much the revision moves: at least [`BUMP_MIN`]; see [`BUMP_DEFAULT`].
    pub bump: i64,
    /// Whether to do it, and to lose what is told.
    pub accept_data_loss: bool,
}

/// Tells what the member in a data directory has of its cluster, and makes a new one of that if its operator
/// accepts what is lost. `say` is given what he should read, in paragraphs.
///
/// # Errors
/// If this member is not one to recover from, or the wishes can't be met, with the reason: nothing was changed
/// then. Or the disk refused in the midst of it, and the command can be given again.
pub fn recover(
    data_dir: &Path,
    wishes: &Wishes,
    say: &mut dyn FnMut(&str),
) -> Result<Ending, String> {
    recover_watched(data_dir, wishes, say, &mut || ())
}

/// How an operator asks what can be recovered.
pub(crate) fn command(data_dir: &Path) -> String {
    format!("quorate recover --from-survivor --data-dir {}", data_dir.display())
}

/// The same, with somebody who looks at the disk before each step.
fn recover_watched(
    data_dir: &Path,
    wishes: &Wishes,
    say: &mut dyn FnMut(&str),
    look_on: &mut dyn FnMut(),
) -> Result<Ending, String> {
    let nothing_changed =
        || format!("Nothing was changed. To do this: {} --accept-data-loss", command(data_dir));
    if is_there(&data_dir.join(BEGUN))? {
        say(
            "A recovery was cut off here when the new cluster was complete. What is left is to put the old member \
             aside, and the new one in its place: it is what that recovery told, with the flags that it was given.",
        );
        if !wishes.accept_data_loss {
            say(&nothing_changed());
            return Ok(Ending::Found);
        }
        let aside = steps::switch(data_dir, look_on)?;
        say(&report::done(&aside));
        return Ok(Ending::Recovered);
    }
    let (bump, least) = (wishes.bump, BUMP_MIN);
    if bump < least {
        return Err(format!(
            "--bump-revision={bump} is less than {least}, and may be less than what was acknowledged and is \
             lost: a watcher could be given a revision that it has seen, with another change"
        ));
    }
    let mut plan = Plan::make(data_dir, wishes)?;
    say(&plan.found.who());
    say(&plan.found.what_there_is());
    say(&plan.found.what_may_be_lost());
    say(&plan.found.what_is_done(&plan.member, bump));
    if !wishes.accept_data_loss {
        say(&nothing_changed());
        return Ok(Ending::Found);
    }
    let how =
        Refounding { entry: plan.entry(), membership: alone(&plan.member).encode().into(), bump };
    let revision = plan.look.store().refound(&how).map_err(|error| error.to_string())?;
    look_on();
    // Until the end, the old member can't be started.
    let _store = plan.look.keep();
    Repair::anew(how.entry).write(&steps::built(data_dir).join(LOG))?;
    look_on();
    let identity = Identity {
        cluster_id: plan.cluster_id,
        member_id: plan.member.id,
        founding: false,
        rejoining: None,
        members: vec![plan.member],
    };
    identity.store_or_explain(&steps::built(data_dir))?;
    look_on();
    steps::begin(data_dir)?;
    let aside = steps::switch(data_dir, look_on)?;
    say(&format!(
        "Member {:x} of the new cluster {:x} begins at entry {}, revision {revision}.",
        identity.member_id, identity.cluster_id, how.entry
    ));
    say(&report::done(&aside));
    Ok(Ending::Recovered)
}

/// What would be done, with the member held.
struct Plan {
    found: Found,
    /// The new cluster.
    cluster_id: u64,
    /// Its member.
    member: InitialMember,
    look: Look,
    /// Keeps the member from being started.
    _log: IdleLog,
}

impl Plan {
    /// Finds out what the member has, in a mirror of its store in which all of its log is applied.
    fn make(data_dir: &Path, wishes: &Wishes) -> Result<Self, String> {
        let Some(identity) = Identity::load(data_dir)? else {
            return Err(format!("there is no member in {}", data_dir.display()));
        };
        if identity.is_witness() {
            return Err(repair::IS_WITNESS.to_owned());
        }
        if identity.founding {
            return Err("this member has never begun: there is nothing to recover".to_owned());
        }
        let refuse_damaged = |damage: &[String]| Err(damaged(data_dir, &identity, damage));
        if let Some(report) = Rebuild::new(data_dir).noted()? {
            return refuse_damaged(&[format!("the store is lost: {report}")]);
        }
        let mut look = Look::at(data_dir, &data_dir.join(UNFINISHED))?;
        if let Some(report) = look.lost() {
            return refuse_damaged(&[format!("the store is lost: {report}")]);
        }
        let mut log = IdleLog::hold(&data_dir.join(LOG))?;
        let read = log.examine(look.applied(), true)?;
        if read.verdict == Verdict::Damaged {
            return refuse_damaged(&read.damage);
        }
        let members = last_members(&mut look, &read, &identity)?;
        let own = NodeId(identity.member_id);
        if members.membership.members() == BTreeSet::from([own]) {
            return Err(format!(
                "this member is alone in its cluster, and needs nobody else: start it. If it does not start, \
                 `{}` tells what can be saved",
                repair::command(data_dir)
            ));
        }
        let (committed, committed_revision) = (look.applied(), look.revision());
        look.apply(&read.kept)?;
        let state = look.store().read_state();
        let leases = state.leases().map_err(|error| error.to_string())?.len();
        let found = Found {
            data_dir: data_dir.to_owned(),
            members,
            committed,
            committed_revision,
            revision: state.revision(),
            leases,
            log: read,
            identity,
        };
        let (cluster_id, member) = new_ids(&found, wishes)?;
        Ok(Self { found, cluster_id, member, look, _log: log })
    }

    /// Where the new cluster begins: after the last entry of the old one, in a term above all that are known.
    fn entry(&self) -> EntryId {
        let log = &self.found.log;
        EntryId { term: log.term, index: log.end().index.next() }
    }
}

/// Why nothing is made of a member whose storage is damaged, and where to go instead.
fn damaged(data_dir: &Path, identity: &Identity, damage: &[String]) -> String {
    let advice = match identity.members.len() {
        1 => format!("`{}` tells what can be saved", repair::command(data_dir)),
        _ => format!(
            "recover from another member, if one is left whose storage is sound. If this is the last one, `{}` tells \
             what can be saved of it",
            repair::command_for_last(data_dir)
        ),
    };
    format!(
        "the storage of this member is damaged, and no cluster is built on that; nothing was changed; {advice}\n{}",
        repair::list(damage).trim_end()
    )
}

/// The last membership that this member knows of.
fn last_members(look: &mut Look, log: &Repair, identity: &Identity) -> Result<Members, String> {
    let in_log = log.kept.iter().rev().find_map(|entry| match &entry.payload {
        Payload::Membership(membership) => Some((entry.id, Membership::clone(membership))),
        Payload::Command(_) | Payload::Noop => None,
    });
    if let Some((entry, membership)) = in_log {
        return Ok(Members { membership, uncommitted: Some(entry) });
    }
    let founders = || identity.members.iter().map(|member| NodeId(member.id));
    let first = Membership::of_voters(founders());
    let membership =
        quorate_node::membership_of(look.store(), &first).map_err(|fault| fault.to_string())?;
    Ok(Members { membership, uncommitted: None })
}

/// The members of the new cluster: this one, and where it is found, so that those know who join.
fn alone(member: &InitialMember) -> Membership {
    let mut membership = Membership::of_voters([NodeId(member.id)]);
    let urls: Vec<_> = member.peer_urls.iter().map(ToString::to_string).collect();
    let about = members::about(&urls, members::Later::Stays);
    if about.len() <= Membership::ABOUT_BYTES_MAX {
        membership.about.insert(NodeId(member.id), about);
    }
    membership
}

/// The id of the new cluster, and its member. Both ids are new: nobody who knows an old one may take this member
/// for what it was.
fn new_ids(found: &Found, wishes: &Wishes) -> Result<(u64, InitialMember), String> {
    let identity = &found.identity;
    let own = identity.members.iter().find(|member| member.id == identity.member_id);
    let own = own.expect("a member is among those of its identity");
    let name = wishes.name.clone().unwrap_or_else(|| own.name.clone());
    if name.is_empty() || name.contains(char::is_control) {
        return Err(format!("--name: {name:?} is not fit for a name"));
    }
    let peer_urls = match &wishes.peer_urls {
        None => own.peer_urls.clone(),
        Some(text) => {
            let refused = |why| format!("--initial-advertise-peer-urls: {why}");
            let mut urls = Url::parse_list(text).map_err(refused)?;
            urls.iter().try_for_each(Url::check_advertise).map_err(refused)?;
            urls.sort();
            urls
        }
    };
    let mut taken: BTreeSet<u64> = identity.members.iter().map(|member| member.id).collect();
    taken.extend(found.members.membership.members().iter().map(|id| id.0));
    taken.extend([0, identity.cluster_id]);
    let mut draw = || loop {
        // The keys of the standard library's hash maps are the one source of entropy that it has. Should it
        // give the same twice, on two machines, what these have of their cluster makes a difference.
        let (end, chance) = (found.log.end(), RandomState::new().hash_one(0));
        let numbers = [identity.cluster_id, identity.member_id, end.term.0, end.index.0, chance];
        let id = sha1_prefix(&numbers.map(u64::to_be_bytes).concat());
        if taken.insert(id) {
            return id;
        }
    };
    let (cluster_id, id) = (draw(), draw());
    Ok((cluster_id, InitialMember { id, name, peer_urls, is_witness: false }))
}
