//! The health service that probes and load balancers know.
//!
//! As in etcd it says that the server runs, and nothing of the cluster behind it. For that there are
//! pages: `/health` asks the cluster.

use std::sync::Arc;

use quorate_proto::grpc::health::v1 as pb;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Failure;
use crate::member::Member;

/// The service.
#[derive(Debug)]
pub(crate) struct Health(pub(crate) Arc<Member>);

/// The only service that is known by name is the whole server.
fn status_of(service: &str) -> Result<pb::HealthCheckResponse, Failure> {
    if !service.is_empty() {
        return Err(Failure::UnknownService);
    }
    let status = pb::health_check_response::ServingStatus::Serving.into();
    Ok(pb::HealthCheckResponse { status })
}

#[tonic::async_trait]
impl pb::health_server::Health for Health {
    async fn check(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<pb::HealthCheckResponse>, Status> {
        Ok(Response::new(status_of(&request.get_ref().service)?))
    }

    type WatchStream = ReceiverStream<Result<pb::HealthCheckResponse, Status>>;

    /// Says it once and stays silent until the server stops, as nothing changes before.
    async fn watch(
        &self,
        request: Request<pb::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let status = status_of(&request.get_ref().service)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let mut stop = self.0.stop.clone();
        tokio::spawn(async move {
            if sender.send(Ok(status)).await.is_ok() {
                tokio::select! {
                    () = sender.closed() => {}
                    () = stop.requested() => {
                        let _ = sender.send(Err(Failure::Stopped.into())).await;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
