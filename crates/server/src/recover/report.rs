//! What the operator reads before he decides.

use std::path::{Path, PathBuf};

use quorate_host::{Repair, Verdict};
use quorate_raft::{EntryId, Membership, NodeId};

use super::steps;
use crate::config::{InitialMember, Url};
use crate::identity::Identity;
use crate::repair::list;

/// The last membership that a member knows of.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) membership: Membership,
    /// The entry of the log that tells it, if nobody knows that to be committed.
    pub(super) uncommitted: Option<EntryId>,
}

/// What a survivor has.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) data_dir: PathBuf,
    pub(super) identity: Identity,
    pub(super) members: Members,
    /// Up to where its store reaches: only what is committed gets there. And the revision there.
    pub(super) committed: EntryId,
    pub(super) committed_revision: i64,
    /// With all of its log.
    pub(super) revision: i64,
    /// How many leases there are then.
    pub(super) leases: usize,
    /// Its log, which is sound.
    pub(super) log: Repair,
}

impl Found {
    fn own(&self) -> NodeId {
        NodeId(self.identity.member_id)
    }

    fn name(&self, id: NodeId) -> String {
        let member = self.identity.members.iter().find(|member| member.id == id.0);
        let name = member.map_or(String::new(), |member| format!(" {:?}", member.name));
        let this = if id == self.own() { " (this one)" } else { "" };
        format!("{:x}{name}{this}", id.0)
    }

    /// Who the member is, and of whom.
    pub(super) fn who(&self) -> String {
        let Members { membership, uncommitted } = &self.members;
        let names = |ids: &std::collections::BTreeSet<NodeId>| {
            ids.iter().map(|id| self.name(*id)).collect::<Vec<_>>().join(", ")
        };
        let (own, cluster) = (self.name(self.own()), self.identity.cluster_id);
        let mut lines =
            vec![format!("Member {own} of cluster {cluster:x}, in {}", self.data_dir.display())];
        lines.push(format!("Voters of that cluster: {}.", names(&membership.voters)));
        if membership.is_joint() {
            let before = names(&membership.outgoing);
            lines.push(format!(
                "They are the voters of a change that is under way, from: {before}."
            ));
        }
        if !membership.learners.is_empty() {
            lines.push(format!("Learners: {}.", names(&membership.learners)));
        }
        if let Some(entry) = uncommitted {
            lines.push(format!("This is what entry {entry} says, which may not be committed."));
        }
        lines.join("\n")
    }

    /// What its log and its store hold.
    pub(super) fn what_there_is(&self) -> String {
        let Self { log, committed, committed_revision, revision, .. } = self;
        let (last, term) = (log.end(), log.term.0 - 1);
        let mut lines = Vec::new();
        if log.verdict == Verdict::MendsItself {
            let damage = list(&log.damage);
            lines.push(format!(
                "Its log is damaged, in places that its store has made needless:\n{damage}"
            ));
        }
        lines.push(format!(
            "Its log ends with entry {last}; the last term that it knows of is {term}."
        ));
        lines.push(if *committed == EntryId::ZERO {
            "Nothing of it is known to be committed, as its store holds nothing yet.".to_owned()
        } else {
            format!(
                "Certainly committed: all up to entry {committed}, revision {committed_revision}, which its store holds."
            )
        });
        lines.push(match log.kept_stretch() {
            None => "There is nothing in its log after that.".to_owned(),
            Some(kept) => format!(
                "In its log after that: {kept}. Whether they were ever committed, nobody can tell from here. \
                 All of them are kept, and lead to revision {revision}."
            ),
        });
        lines.push(
            "Of several survivors the one to take is that whose log ends in the highest term, and of those in one \
             term the one whose log is the longest. Ask each of them before you decide."
                .to_owned(),
        );
        lines.join("\n")
    }

    /// What the operator takes upon himself.
    pub(super) fn what_may_be_lost(&self) -> String {
        let Self { members: Members { membership, .. }, log, revision, leases, .. } = self;
        let last = log.end();
        let mut items = vec![format!(
            "Writes that were acknowledged after revision {revision} (entry {last}) may be lost. Nobody can tell from \
             here whether there were any."
        )];
        if let Some(kept) = log.kept_stretch() {
            let (first, last) = (kept.first.0, kept.last.0);
            items.push(format!(
                "Entries {first} to {last} of this log may never have been acknowledged, and WILL be kept: a client that \
                 was told of a timeout may find its write carried out."
            ));
        }
        if !membership.counts(self.own(), self.identity.rejoining) {
            items.push(
                "This member had no vote when it ended: it had lost something, and had not everything back. What it \
                 lacks may have been acknowledged long ago."
                    .to_owned(),
            );
        }
        if !membership.is_voter(self.own()) {
            let what = match membership.contains(self.own()) {
                true => "is a learner, and may be",
                false => "was removed from its cluster, and is",
            };
            items.push(format!("This member {what} far behind what the voters had acknowledged."));
        }
        items.push(format!(
            "{leases} leases are kept and have their whole time to live again. Who holds a lock or an office by one \
             may have lost it after revision {revision} to somebody who is not known here: both may believe to hold it."
        ));
        items.push(
            "Watchers and readers that come back with a revision of the old cluster are told that it is compacted, and \
             have to read anew. Programs that remember revisions in another way have to be restarted."
                .to_owned(),
        );
        items.push(
            "Members of the old cluster can't speak to the new one. But if a majority of them comes back they serve \
             the OLD cluster to whoever asks them: be certain that they can't be started."
                .to_owned(),
        );
        format!("What may be lost or be wrong afterwards:\n{}", list(&items))
    }

    /// What is done if the operator accepts that.
    pub(super) fn what_is_done(&self, member: &InitialMember, bump: i64) -> String {
        let urls: Vec<_> = member.peer_urls.iter().map(Url::as_str).collect();
        let to = self.revision.saturating_add(bump);
        let mut items = vec![
            format!(
                "A new cluster of one member is made of it, with new ids, in term {}: {:?}, reached by others at {}.",
                self.log.term.0,
                member.name,
                urls.join(",")
            ),
            format!(
                "The revision moves from {} to {to}, and everything before that is compacted.",
                self.revision
            ),
        ];
        if let Ok(aside) = steps::aside(&self.data_dir) {
            items.push(format!("The old member is put aside as it is: {}", aside.display()));
        }
        format!("A recovery does this:\n{}", list(&items))
    }
}

/// What is left to do when it is done.
pub(super) fn done(aside: &Path) -> String {
    format!(
        "It is done. Start the member with the flags that it had, then add members, each on an empty --data-dir. \
         {} holds the old one, and may go when nobody wants to look at it any more.",
        aside.display()
    )
}
