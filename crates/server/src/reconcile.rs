//! The members that a client wants, all of them: what it says of them, in terms of the group.
//!
//! A client knows URLs, and the group ids. A member is the one that is found at the URLs, so once a new one is in the
//! membership the same request means it, however often it is made. Before that its id is made of its URLs and of since
//! when the members are who they are, as the leader has it: the same request means the same new member, whichever member
//! is asked, and when the members have changed since it means another one, whose id nobody ever had.

use bytes::Bytes;
use quorate_host::{Desired, Membership, NodeId, Step, Waiting};
use quorate_proto::quoratepb as pb;
use quorate_raft::Index;

use crate::identity::Identity;
use crate::member::Member;
use crate::members::{Later, about, urls_of};
use crate::rpc::{Failure, check_urls};
use crate::sha1::sha1_prefix;

/// Asks the leader since when the members are who they are. Other questions begin otherwise (`members.rs`, `witness.rs`).
const SINCE: &[u8] = &[22];

/// The answer of a leader whose members change.
const CHANGING: &[u8] = &[];

impl Member {
    /// Takes the next step toward the desired members, or tells it.
    pub(crate) async fn reconcile(
        &self,
        request: &pb::ReconcileRequest,
    ) -> Result<pb::ReconcileResponse, Failure> {
        // First this, and then the members: whoever came since then is found by its URL.
        let since = self.members_since().await?;
        self.handle.read_barrier().await?;
        let now = self.handle.status().membership.clone();
        let Some(since) = since else {
            return self.told(&Step::Wait(Waiting::Change), &now);
        };
        let desired = desired(request, &now, &self.identity, &self.token, since)?;
        if let Some(id) =
            desired.voters.intersection(&now.witnesses).find(|id| !desired.witnesses.contains(id))
        {
            return Ok(pb::ReconcileResponse {
                header: self.header(0),
                step: pb::Step::Refuse.into(),
                members: self.listed(&now, &self.state())?,
                reason: format!("{:x} is a witness, and stays one until it leaves", id.0),
            });
        }
        let step = self.handle.step_toward(&desired, !request.dry_run).await?;
        self.told(&step, &now)
    }

    /// What a client is told of a step from these members.
    fn told(&self, step: &Step, now: &Membership) -> Result<pb::ReconcileResponse, Failure> {
        let name = |id: NodeId| format!("{:x}", id.0);
        let (kind, members, reason) = match step {
            Step::Done => (pb::Step::Done, now, String::new()),
            Step::Change(next) => (pb::Step::Change, next, String::new()),
            Step::Wait(why) => (pb::Step::Wait, now, why.in_words(name)),
            Step::Refuse(why) => (pb::Step::Refuse, now, why.in_words(name)),
        };
        Ok(pb::ReconcileResponse {
            header: self.header(0),
            step: kind.into(),
            members: self.listed(members, &self.state())?,
            reason,
        })
    }

    /// Since when the members are who they are, as the leader says; `None` while they change.
    async fn members_since(&self) -> Result<Option<Index>, Failure> {
        let answer = self.handle.ask_leader(Bytes::from_static(SINCE)).await?;
        if answer == CHANGING {
            return Ok(None);
        }
        // An answer that makes no sense is none.
        let since = answer.as_ref().try_into().map_err(|_| Failure::Timeout)?;
        Ok(Some(Index(u64::from_be_bytes(since))))
    }

    /// Answers the same, if that is the question and this member leads.
    pub(crate) fn tell_since(&self, question: &[u8]) -> Option<Bytes> {
        let status = self.handle.status();
        if question != SINCE || !status.is_leader() {
            return None;
        }
        Some(match status.is_changing() {
            true => Bytes::from_static(CHANGING),
            false => Bytes::copy_from_slice(&status.membership_since.0.to_be_bytes()),
        })
    }
}

/// The id of a member that is to come to those who are members since then. `token` makes it different from those of
/// other clusters.
fn new_id(sorted_urls: &[String], token: &str, since: Index) -> NodeId {
    let text = format!("{}{token} after {}", sorted_urls.concat(), since.0);
    NodeId(sha1_prefix(text.as_bytes()))
}

/// The desired members, where these are the members since then.
fn desired(
    request: &pb::ReconcileRequest,
    now: &Membership,
    identity: &Identity,
    token: &str,
    since: Index,
) -> Result<Desired, Failure> {
    if request.members.len() > Membership::MEMBERS_MAX {
        return Err(Failure::TooManyMembers);
    }
    let present: Vec<(NodeId, Vec<String>)> =
        now.members().into_iter().map(|id| (id, urls_of(id, now, identity))).collect();
    let mut desired = Desired::default();
    let mut all_urls = Vec::new();
    for member in &request.members {
        let urls = check_urls(&member.peer_urls)?;
        let role = pb::Role::try_from(member.role);
        let role = role.map_err(|_| Failure::UnknownRole(member.role))?;
        all_urls.extend(urls.iter().cloned());
        let mut known = present.iter().filter(|(_, of)| of.iter().any(|url| urls.contains(url)));
        let id = match (known.next(), known.next()) {
            (None, _) => {
                let id = new_id(&urls, token, since);
                if now.contains(id) {
                    return Err(Failure::MemberIdExists);
                }
                id
            }
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

    fn wanted(members: Vec<pb::DesiredMember>) -> Result<Desired, Failure> {
        wanted_after(members, Index(5))
    }

    fn wanted_after(members: Vec<pb::DesiredMember>, since: Index) -> Result<Desired, Failure> {
        let mut now = Membership::of_voters([1, 2].map(NodeId));
        now.learners.insert(NodeId(3));
        now.about.insert(NodeId(3), about(&["http://c:1".into()], Later::Votes));
        let request = pb::ReconcileRequest { members, dry_run: false };
        desired(&request, &now, &identity(), "token", since)
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
    fn the_same_wish_means_the_same_new_member_until_the_members_change() {
        let two = [&["http://d:1", "http://e:1"][..], &["http://e:1", "http://d:1"]];
        let [first, other] = two.map(|urls| {
            let peer_urls = urls.iter().map(ToString::to_string).collect();
            let new = pb::DesiredMember { peer_urls, role: pb::Role::Voter.into() };
            move |since| wanted_after(vec![new.clone()], Index(since)).expect("it is new").voters
        });
        assert_eq!(first(5), other(5), "whoever asks, and in whatever order");
        assert_ne!(first(5), first(6), "it may have come and left since");
        assert_ne!(new_id(&[], "t", Index(5)), new_id(&[], "u", Index(5)), "another cluster");
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
        assert_eq!(wanted(vec![role]), Err(Failure::UnknownRole(9)));
        let many = vec![member("http://a:1", voter); Membership::MEMBERS_MAX + 1];
        assert_eq!(wanted(many), Err(Failure::TooManyMembers));
    }
}
