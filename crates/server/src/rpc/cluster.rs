//! The members of the cluster.

use std::sync::Arc;

use quorate_host::Membership;
use quorate_proto::etcdserverpb as pb;
use tonic::{Request, Response, Status};

use super::Failure;
use crate::config::Url;
use crate::member::Member;
use crate::members::{self, Later, Wish};

/// Metadata of a request to add a member: the id, in hexadecimal, of the voter whose place the new one takes when it has
/// caught up.
const REPLACES: &str = "quorate-replaces";

/// The same, with any value: the new member is a spare.
const SPARE: &str = "quorate-spare";

/// The same, with any value: the new member is a witness, whatever else it is.
const WITNESS: &str = "quorate-witness";

/// Metadata of a list of members: the ids of those that are witnesses, in hexadecimal, with commas between them; it is
/// there if there are any. The list itself shows a witness as what else it is: a voter, or a learner.
const WITNESSES: &str = "quorate-witnesses";

/// The service.
#[derive(Debug)]
pub(crate) struct Cluster(pub(crate) Arc<Member>);

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Cluster {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let state = self.0.state_for(!request.get_ref().linearizable).await?;
        let (members, witnesses) = self.0.members(&state)?;
        // Nothing about members has a revision, and etcd leaves it out.
        let header = self.0.header(0);
        let mut response = Response::new(pb::MemberListResponse { header, members });
        if !witnesses.is_empty() {
            let ids: Vec<_> = witnesses.iter().map(|id| format!("{id:x}")).collect();
            let ids = ids.join(",").parse().expect("digits, letters and commas");
            response.metadata_mut().insert(WITNESSES, ids);
        }
        Ok(response)
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let replaces = request.metadata().get(REPLACES).map(|old| {
            let old = old.to_str().ok().and_then(|old| u64::from_str_radix(old, 16).ok());
            old.map(Later::Replaces).ok_or(Failure::MemberNotFound)
        });
        let [is_spare, is_witness] =
            [SPARE, WITNESS].map(|name| request.metadata().contains_key(name));
        let pb::MemberAddRequest { peer_ur_ls, is_learner } = request.into_inner();
        let later = match replaces {
            Some(replaces) => replaces?,
            None if is_spare => Later::Spare,
            None if is_learner => Later::Stays,
            None => Later::Votes,
        };
        let peer_urls = check_urls(&peer_ur_ls)?;
        let wish = Wish::add(peer_urls, later, is_witness, &self.0.token);
        let members = self.wish(&wish).await?;
        let Wish::Add { id, .. } = wish else { unreachable!("as built") };
        let member = members.iter().find(|member| member.id == id).cloned();
        Ok(Response::new(pb::MemberAddResponse { header: self.0.header(0), member, members }))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let members = self.wish(&Wish::Remove { id: request.get_ref().id }).await?;
        Ok(Response::new(pb::MemberRemoveResponse { header: self.0.header(0), members }))
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let pb::MemberUpdateRequest { id, peer_ur_ls } = request.into_inner();
        let peer_urls = check_urls(&peer_ur_ls)?;
        let members = self.wish(&Wish::Update { id, peer_urls }).await?;
        Ok(Response::new(pb::MemberUpdateResponse { header: self.0.header(0), members }))
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let members = self.wish(&Wish::Promote { id: request.get_ref().id }).await?;
        Ok(Response::new(pb::MemberPromoteResponse { header: self.0.header(0), members }))
    }
}

impl Cluster {
    /// Has a wish granted, and lists the members after it.
    async fn wish(&self, wish: &Wish) -> Result<Vec<pb::Member>, Failure> {
        self.0.wish(wish).await?;
        Ok(self.0.members(&self.0.state())?.0)
    }
}

/// The URLs in order, if others can reach a member there, and the membership can hold them.
pub(crate) fn check_urls(urls: &[String]) -> Result<Vec<String>, Failure> {
    let parsed: Result<Vec<Url>, String> = urls.iter().map(|url| Url::parse(url)).collect();
    let mut urls = parsed.map_err(|_| Failure::BadPeerUrls)?;
    urls.sort();
    let are_some = urls.iter().all(|url| url.check_advertise().is_ok()) && !urls.is_empty();
    let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
    let fit = members::about(&urls, Later::Replaces(u64::MAX)).len() <= Membership::ABOUT_BYTES_MAX;
    if are_some && fit { Ok(urls) } else { Err(Failure::BadPeerUrls) }
}
