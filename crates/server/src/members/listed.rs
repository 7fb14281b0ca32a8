//! The members as clients list them: who belongs to the cluster, with what each has told about itself.

use std::collections::BTreeMap;

use quorate_host::{Membership, NodeId};
use quorate_mvcc::MemberAttributes;
use quorate_proto::etcdserverpb as pb;

use super::about::urls_of;
use crate::identity::Identity;
use crate::member::{Member, State};
use crate::rpc::Failure;

impl Member {
    /// The members of the cluster in a state, ascending, and the ids of those that are witnesses.
    pub(crate) fn members(&self, state: &State) -> Result<(Vec<pb::Member>, Vec<u64>), Failure> {
        let membership = state.read(|state| Ok(state.membership()?))?;
        // As long as the cluster is as it was founded, nothing stands in the store.
        let membership = membership.and_then(|bytes| Membership::decode(&bytes));
        let membership = membership.unwrap_or_else(|| founders(&self.identity));
        let witnesses = membership.witnesses.iter().map(|id| id.0).collect();
        Ok((self.listed(&membership, state)?, witnesses))
    }

    /// These members, with what they have told in this state.
    pub(crate) fn listed(
        &self,
        members: &Membership,
        state: &State,
    ) -> Result<Vec<pb::Member>, Failure> {
        let told = state.read(|state| Ok(state.members()?))?;
        Ok(listed(members, told, &self.identity))
    }
}

fn founders(identity: &Identity) -> Membership {
    let ids = identity.members.iter().map(|it| NodeId(it.id));
    let witnesses = identity.members.iter().filter(|it| it.is_witness).map(|it| NodeId(it.id));
    Membership { witnesses: witnesses.collect(), ..Membership::of_voters(ids) }
}

fn listed(
    members: &Membership,
    told: Vec<MemberAttributes>,
    identity: &Identity,
) -> Vec<pb::Member> {
    let mut told: BTreeMap<u64, MemberAttributes> =
        told.into_iter().map(|it| (it.id, it)).collect();
    let member = |id: &NodeId| {
        // A member that has not started yet has told nothing.
        let attributes = told.remove(&id.0).unwrap_or_default();
        pb::Member {
            id: id.0,
            name: attributes.name,
            peer_ur_ls: urls_of(*id, members, identity),
            client_ur_ls: attributes.client_urls,
            is_learner: members.learners.contains(id),
        }
    };
    members.voters.union(&members.learners).map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::super::about::{Later, about};
    use super::*;
    use crate::config::{InitialMember, Url};

    #[test]
    fn members_are_listed_with_what_they_told_and_where_they_were_at_first() {
        let founder = |id, url: &str, is_witness| InitialMember {
            id,
            name: "the name of a founder is its own to tell".into(),
            peer_urls: vec![Url::parse(url).expect("a URL")],
            is_witness,
        };
        let members = vec![founder(1, "http://a:1", false), founder(2, "http://b:1", true)];
        let identity =
            Identity { cluster_id: 7, member_id: 1, founding: false, rejoining: None, members };
        let mut members = founders(&identity);
        assert_eq!((members.members().len(), members.is_witness(NodeId(2))), (2, true));
        members.learners.insert(NodeId(3));
        members.about.insert(NodeId(3), about(&["http://c:1".into()], Later::Votes));
        let told = |id, name: &str| MemberAttributes {
            id,
            name: name.into(),
            client_urls: vec![format!("http://{name}:2")],
        };
        let all = listed(&members, vec![told(1, "a"), told(9, "gone")], &identity);
        let one = |id, name: &str, client: &str, peer: &str, is_learner| pb::Member {
            id,
            name: name.into(),
            client_ur_ls: Some(client.into())
                .filter(|it: &String| !it.is_empty())
                .into_iter()
                .collect(),
            peer_ur_ls: vec![peer.into()],
            is_learner,
        };
        assert_eq!(
            all,
            [
                one(1, "a", "http://a:2", "http://a:1", false),
                one(2, "", "", "http://b:1", false),
                one(3, "", "", "http://c:1", true),
            ]
        );
    }
}
