//! Reflection: which calls there are, and what their messages look like, for tools such as `grpcurl`.

use std::convert::Infallible;

use http::{Request, Response};
use quorate_proto::DESCRIPTORS;
use tonic::body::Body;
use tonic_reflection::server::Builder;
use tower::util::BoxCloneSyncService;

use crate::gateway::RequestBody;

/// One version of the service. Its type has no name.
pub(super) type Reflection = BoxCloneSyncService<Request<RequestBody>, Response<Body>, Infallible>;

fn builder() -> Builder<'static> {
    Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS)
}

/// `grpc.reflection.v1`.
pub(super) fn v1(message_bytes_max: usize) -> Reflection {
    let service = builder().build_v1().expect("our own descriptors");
    BoxCloneSyncService::new(service.max_decoding_message_size(message_bytes_max))
}

/// `grpc.reflection.v1alpha`, which is the same under the name that older tools know.
pub(super) fn v1alpha(message_bytes_max: usize) -> Reflection {
    let service = builder().build_v1alpha().expect("our own descriptors");
    BoxCloneSyncService::new(service.max_decoding_message_size(message_bytes_max))
}
