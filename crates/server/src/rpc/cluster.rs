//! The members of the cluster.

use std::sync::Arc;

use quorate_proto::etcdserverpb as pb;
use tonic::{Request, Response, Status};

use super::Failure;
use crate::member::Member;

/// The service. It lists; changes of the membership are to come.
#[derive(Debug)]
pub(crate) struct Cluster(pub(crate) Arc<Member>);

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Cluster {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let state = self.0.state_for(!request.get_ref().linearizable).await?;
        let members = self.0.members(&state)?;
        // Nothing about members has a revision, and etcd leaves it out.
        Ok(Response::new(pb::MemberListResponse { header: self.0.header(0), members }))
    }

    async fn member_add(
        &self,
        _: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        Err(Failure::Unsupported("MemberAdd").into())
    }

    async fn member_remove(
        &self,
        _: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        Err(Failure::Unsupported("MemberRemove").into())
    }

    async fn member_update(
        &self,
        _: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        Err(Failure::Unsupported("MemberUpdate").into())
    }

    async fn member_promote(
        &self,
        _: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        Err(Failure::Unsupported("MemberPromote").into())
    }
}
