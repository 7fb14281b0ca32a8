//! The members that a client wants, all of them: what it says of them, in terms of the group.
//!
//! A client knows URLs, and the group ids. A member is the one that is found at the URLs, so once a new one is in the
//! membership the same request means it, however often it is made. Before that its id is made of the time of the request, so
//! two requests at once may mean two members.

use std::collections::BTreeSet;

use quorate_host::{Membership, NodeId, Refusal, Step, Waiting};
use quorate_proto::quoratepb as pb;

use crate::identity::Identity;
use crate::member::Member;
use crate::members::{Later, Wish, about, urls_of};
use crate::rpc::{Failure, check_urls};

impl Member {
    /// Takes the next step toward the desired members, or tells it.
    pub(crate) async fn reconcile(
        &self,
        request: &pb::ReconcileRequest,
    ) -> Result<pb::ReconcileResponse, Failure> {
        // Who was made a member by the last step is found by its URL.
        self.handle.read_barrier().await?;
        let now = self.handle.status().membership.clone();
        let desired = desired(request, &now, &self.identity, &self.token)?;
        if let Some(id) =
            desired.voters.intersection(&now.witnesses).find(|id| !desired.is_witness(**id))
        {
            return Ok(pb::ReconcileResponse {
                header: self.header(0),
                step: pb::Step::Refuse.into(),
                members: self.listed(&now, &self.state())?,
                reason: format!("{:x} is a witness, and stays one until it leaves", id.0),
            });
        }
        let step = self.handle.step_toward(&desired, !request.dry_run).await?;
        let (kind, members) = match &step {
            Step::Done => (pb::Step::Done, &*now),
            Step::Change(next) => (pb::Step::Change, next),
            Step::Wait(_) => (pb::Step::Wait, &*now),
            Step::Refuse(_) => (pb::Step::Refuse, &*now),
        };
        Ok(pb::ReconcileResponse {
            header: self.header(0),
            step: kind.into(),
            members: self.listed(members, &self.state())?,
            reason: reason(&step),
        })
    }
}

/// The desired members. `token` makes the ids of new ones different from those of other clusters.
fn desired(
    request: &pb::ReconcileRequest,
    now: &Membership,
    identity: &Identity,
    token: &str,
) -> Result<Membership, Failure> {
    if request.members.len() > Membership::MEMBERS_MAX {
        return Err(Failure::TooManyLearners);
    }
    let present: Vec<(NodeId, Vec<String>)> =
        now.members().into_iter().map(|id| (id, urls_of(id, now, identity))).collect();
    let mut desired = Membership::default();
    let mut all_urls = Vec::new();
    for member in &request.members {
        let urls = check_urls(&member.peer_urls)?;
        let role = pb::Role::try_from(member.role).map_err(|_| Failure::BadPeerUrls)?;
        all_urls.extend(urls.iter().cloned());
        let mut known = present.iter().filter(|(_, of)| of.iter().any(|url| urls.contains(url)));
        let id = match (known.next(), known.next()) {
            (None, _) => match Wish::add(urls.clone(), Later::Stays, false, token) {
                Wish::Add { id, .. } => NodeId(id),
                _ => unreachable!("as built"),
            },
            (Some((id, _)), None) => *id,
            (Some(_), Some(_)) => return Err(Failure::PeerUrlExists),
        };
        let later = if role == pb::Role::Spare { Later::Spare } else { Later::Stays };
        // What all know of a founder needs no change of members to be said.
        let is_known = urls == sorted(urls_of(id, now, identity)) && !now.about.contains_key(&id);
        if !is_known || later != Later::Stays {
            desired.about.insert(id, about(&urls, later));
        }
        let roles = match role {
            pb::Role::Voter | pb::Role::Witness => &mut desired.voters,
            pb::Role::Learner | pb::Role::Spare => &mut desired.learners,
        };
        roles.insert(id);
        if role == pb::Role::Witness {
            desired.witnesses.insert(id);
        }
    }
    let count = all_urls.len();
    all_urls.sort();
    all_urls.dedup();
    if all_urls.len() < count || desired.members().len() < request.members.len() {
        return Err(Failure::PeerUrlExists);
    }
    Ok(desired)
}

fn sorted(mut urls: Vec<String>) -> Vec<String> {
    urls.sort();
    urls
}

/// What is waited for, or why it can't be done; ids as clients know them.
fn reason(step: &Step) -> String {
    let ids = |ids: &BTreeSet<NodeId>| {
        ids.iter().map(|id| format!("{:x}", id.0)).collect::<Vec<_>>().join(", ")
    };
    match step {
        Step::Done | Step::Change(_) => String::new(),
        Step::Wait(Waiting::Leader(_)) => "another member leads, or will".to_owned(),
        Step::Wait(Waiting::Learners(who)) => format!("not caught up yet: {}", ids(who)),
        Step::Wait(why @ Waiting::Change) => why.to_string(),
        Step::Refuse(Refusal::LosesQuorum { missing }) => {
            format!("too few voters would be there to decide anything; missing: {}", ids(missing))
        }
        Step::Refuse(why @ (Refusal::Impossible | Refusal::TooMany)) => why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{InitialMember, Url};

    fn member(url: &str, role: pb::Role) -> pb::DesiredMember {
        pb::DesiredMember { peer_urls: vec![url.to_owned()], role: role.into() }
    }

    fn identity() -> Identity {
        let founder = |id, url: &str| InitialMember {
            id,
            name: String::new(),
            peer_urls: vec![Url::parse(url).expect("a URL")],
            is_witness: false,
        };
        let members = vec![founder(1, "http://a:1"), founder(2, "http://b:1")];
        Identity { cluster_id: 7, member_id: 1, founding: false, rejoining: None, members }
    }

    fn wanted(members: Vec<pb::DesiredMember>) -> Result<Membership, Failure> {
        let mut now = Membership::of_voters([1, 2].map(NodeId));
        now.learners.insert(NodeId(3));
        now.about.insert(NodeId(3), about(&["http://c:1".into()], Later::Votes));
        let request = pb::ReconcileRequest { members, dry_run: false };
        desired(&request, &now, &identity(), "token")
    }

    #[test]
    fn members_are_those_that_are_found_at_their_urls() {
        let (voter, spare) = (pb::Role::Voter, pb::Role::Spare);
        let all = vec![member("http://a:1", voter), member("http://c:1", voter)];
        let found = wanted(all).expect("they are there");
        assert_eq!(found.voters, [1, 3].map(NodeId).into());
        assert_eq!(found.about.keys().collect::<Vec<_>>(), [&NodeId(3)], "founders are known");
        assert_eq!(found.about[&NodeId(3)], about(&["http://c:1".into()], Later::Stays));

        let all = vec![member("http://b:1", voter), member("http://d:1", spare)];
        let found = wanted(all).expect("one is new");
        let new = *found.learners.first().expect("the new one");
        assert!(new.0 > 3, "nobody had {new}");
        assert_eq!(found.about[&new], about(&["http://d:1".into()], Later::Spare));

        let (voter, witness) = (pb::Role::Voter, pb::Role::Witness);
        let all = vec![member("http://a:1", voter), member("http://d:1", witness)];
        let found = wanted(all).expect("one is new");
        let new = *found.witnesses.first().expect("the new one");
        assert!(new.0 > 3 && found.voters == [NodeId(1), new].into(), "{found:?}");

        let moved = pb::DesiredMember {
            peer_urls: vec!["http://a:1".into(), "http://e:1".into()],
            role: voter.into(),
        };
        let found = wanted(vec![moved]).expect("it is found at one of them");
        assert_eq!(
            found.about[&NodeId(1)],
            about(&["http://a:1".into(), "http://e:1".into()], Later::Stays)
        );
    }

    #[test]
    fn what_is_meant_must_be_clear() {
        let voter = pb::Role::Voter;
        let twice = vec![member("http://d:1", voter), member("http://d:1", voter)];
        assert_eq!(wanted(twice), Err(Failure::PeerUrlExists));
        let two_in_one = pb::DesiredMember {
            peer_urls: vec!["http://a:1".into(), "http://b:1".into()],
            role: voter.into(),
        };
        assert_eq!(wanted(vec![two_in_one]), Err(Failure::PeerUrlExists));
        assert_eq!(wanted(vec![member("a:1", voter)]), Err(Failure::BadPeerUrls));
        let role = pb::DesiredMember { peer_urls: vec!["http://a:1".into()], role: 9 };
        assert_eq!(wanted(vec![role]), Err(Failure::BadPeerUrls));
        let many = vec![member("http://a:1", voter); Membership::MEMBERS_MAX + 1];
        assert_eq!(wanted(many), Err(Failure::TooManyLearners));
    }

    #[test]
    fn reasons_name_members_as_clients_know_them() {
        let missing = [NodeId(0x1a), NodeId(u64::MAX)].into();
        let refused = reason(&Step::Refuse(Refusal::LosesQuorum { missing }));
        assert!(refused.ends_with("missing: 1a, ffffffffffffffff"), "{refused}");
        let waiting = Step::Wait(Waiting::Learners([NodeId(10)].into()));
        assert_eq!(reason(&waiting), "not caught up yet: a");
    }
}
