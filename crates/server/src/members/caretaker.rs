//! What is done about members though nobody asks at the moment: learners become voters, a spare takes the place of a voter
//! that has failed, and who belongs to the cluster is noted beside the data.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_host::{HostStatus, Membership, NodeId, Replacement, Replacer, Step};
use tokio::time::sleep;

use super::about::{Later, about, forget_wish, later_of, peer_urls, urls_of};
use crate::config::{InitialMember, Url};
use crate::identity::Identity;
use crate::log::Line;
use crate::member::Member;

/// How often a leader looks whether a learner can become a voter, if nothing else happens.
const LOOK_AT_LEARNERS: Duration = Duration::from_millis(200);

/// See the module.
pub(crate) struct Caretaker {
    member: Arc<Member>,
    data_dir: PathBuf,
    /// Replaces voters that have failed for so long, if that is wished.
    replacer: Option<Replacer>,
    /// The members that were noted last.
    noted: Option<Arc<Membership>>,
}

impl Caretaker {
    pub(crate) fn new(
        member: Arc<Member>,
        data_dir: PathBuf,
        replace_after: Option<Duration>,
    ) -> Self {
        Self { member, data_dir, replacer: replace_after.map(Replacer::new), noted: None }
    }

    /// Ends with the server.
    pub(crate) async fn run(mut self) {
        let mut stop = self.member.stop.clone();
        let mut status = self.member.handle.subscribe();
        loop {
            let now = status.borrow_and_update().clone();
            if now.stopped {
                return;
            }
            if !now.is_changing() && self.noted.as_ref() != Some(&now.membership) {
                self.note(&now);
                self.noted = Some(Arc::clone(&now.membership));
            }
            if let Some(wanted) = with_one_more_voter(&now) {
                // Whether it worked is seen the next time.
                let _ = self.member.handle.change_members(wanted).await;
            } else {
                self.replace_failed(&now).await;
            }
            tokio::select! {
                () = sleep(LOOK_AT_LEARNERS) => {}
                changed = status.changed() => if changed.is_err() { return },
                () = stop.requested() => return,
            }
        }
    }

    /// Puts a spare in the place of a voter that has failed for long, if this member leads. The two change roles, and the
    /// one that failed is a spare from then on.
    async fn replace_failed(&mut self, status: &HostStatus) {
        let Some(replacer) = &mut self.replacer else { return };
        if !status.is_leader() {
            return replacer.pauses();
        }
        let member = &*self.member;
        let (now, clock) = (&status.membership, member.handle.clock());
        let is_spare = |id| later_of(now, id) == Later::Spare;
        let found = replacer.look(clock.now(), &status.group_view(), is_spare);
        let Some(Replacement { failed, spare, members: mut wanted }) = found else { return };
        for (id, later) in [(failed, Later::Spare), (spare, Later::Stays)] {
            wanted.about.insert(id, about(&urls_of(id, now, &member.identity), later));
        }
        let log = |line: Line| {
            drop(
                line.with("peer-id", format!("{:x}", failed.0))
                    .with("spare", format!("{:x}", spare.0)),
            );
        };
        match member.handle.change_members(wanted).await {
            Ok(()) => {
                replacer.replaced(clock.now());
                member.metrics.members_replaced.fetch_add(1, Ordering::Relaxed);
                log(member.log.warn("a voter that had failed for long made way for a spare"));
            }
            // It is tried again, for as long as it is to be done.
            Err(error) => log(member
                .log
                .debug("a voter that has failed is not replaced yet")
                .with("error", error)),
        }
    }

    /// Writes down where the members are, for the next start of this one.
    fn note(&self, status: &HostStatus) {
        if !status.belongs() {
            return;
        }
        let member = &*self.member;
        let known = |id: u64| member.identity.members.iter().find(|it| it.id == id);
        let members = status.membership.members().into_iter().filter_map(|id| {
            let urls = status.membership.about.get(&id).map(|about| peer_urls(about));
            let urls: Option<Vec<Url>> =
                urls.and_then(|urls| urls.iter().map(|url| Url::parse(url).ok()).collect());
            let known = known(id.0);
            let name = known.map(|it| it.name.clone()).unwrap_or_default();
            let peer_urls = urls.filter(|urls| !urls.is_empty());
            let peer_urls = peer_urls.or_else(|| known.map(|it| it.peer_urls.clone()))?;
            let is_witness = status.membership.is_witness(id);
            Some(InitialMember { id: id.0, name, peer_urls, is_witness })
        });
        let members: Vec<_> = members.collect();
        let changed = tokio::task::block_in_place(|| {
            Identity::change(&self.data_dir, |identity| identity.members = members)
        });
        if let Err(error) = changed {
            // It finds them by those that it knew, as long as one of them is there.
            member.log.warn("who belongs to the cluster could not be noted").with("error", error);
        }
    }
}

/// The members with one more voter, if this member leads and there is a learner that is to be one and seems ready.
fn with_one_more_voter(status: &HostStatus) -> Option<Membership> {
    if !status.is_leader() || status.is_changing() {
        return None;
    }
    let now = &status.membership;
    let later = |id: &NodeId| later_of(now, *id);
    let waits = |id: &NodeId| matches!(later(id), Later::Votes | Later::Replaces(_));
    let is_ready = |id: &NodeId| status.standing(*id).is_level;
    let next = *now.learners.iter().find(|id| waits(id) && is_ready(id))?;
    let mut wanted = Membership::clone(now);
    wanted.learners.remove(&next);
    wanted.voters.insert(next);
    if let Later::Replaces(old) = later(&next) {
        wanted.voters.remove(&NodeId(old));
    }
    forget_wish(&mut wanted, next);
    match status.toward(&wanted.into()) {
        Step::Change(next) => Some(next),
        Step::Done | Step::Wait(_) | Step::Refuse(_) => None,
    }
}
