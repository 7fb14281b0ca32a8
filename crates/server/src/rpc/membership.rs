//! Who belongs to the cluster, as a whole: what etcd has no call for.

use std::sync::Arc;

use quorate_proto::quoratepb as pb;
use tonic::{Request, Response, Status};

use crate::member::Member;

/// The service.
#[derive(Debug)]
pub(crate) struct Membership(pub(crate) Arc<Member>);

#[tonic::async_trait]
impl pb::membership_server::Membership for Membership {
    async fn reconcile(
        &self,
        request: Request<pb::ReconcileRequest>,
    ) -> Result<Response<pb::ReconcileResponse>, Status> {
        Ok(Response::new(self.0.reconcile(request.get_ref()).await?))
    }
}
