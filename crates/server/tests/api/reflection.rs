//! What tools without `.proto` files ask.

use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::{v1, v1alpha};

use crate::cluster::{Cluster, within};

/// Asks one question.
async fn ask(cluster: &Cluster, question: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(cluster.channel(0).await);
    let request =
        v1::ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let answers =
        within(client.server_reflection_info(tonic::codegen::tokio_stream::once(request)));
    let mut answers = answers.await.expect("a stream").into_inner();
    let answer = within(answers.message()).await.expect("answered").expect("an answer");
    answer.message_response.expect("an answer")
}

#[tokio::test]
async fn every_service_is_told() {
    let cluster = Cluster::start(1).await;
    let MessageResponse::ListServicesResponse(list) =
        ask(&cluster, MessageRequest::ListServices(String::new())).await
    else {
        panic!("no list")
    };
    let services: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in [
        "etcdserverpb.KV",
        "etcdserverpb.Watch",
        "etcdserverpb.Lease",
        "etcdserverpb.Cluster",
        "etcdserverpb.Maintenance",
        "etcdserverpb.Auth",
        "v3lockpb.Lock",
        "v3electionpb.Election",
        "quoratepb.Membership",
        "grpc.health.v1.Health",
    ] {
        assert!(services.iter().any(|service| service == name), "{name}: {services:?}");
        let symbol = MessageRequest::FileContainingSymbol(name.to_owned());
        let MessageResponse::FileDescriptorResponse(files) = ask(&cluster, symbol).await else {
            panic!("no file has {name}")
        };
        assert!(files.file_descriptor_proto.iter().all(|file| !file.is_empty()));
    }
    let unknown = MessageRequest::FileContainingSymbol("etcdserverpb.Nothing".to_owned());
    // The library ends the stream where the protocol has an answer; either tells.
    let mut client = ServerReflectionClient::new(cluster.channel(0).await);
    let request =
        v1::ServerReflectionRequest { host: String::new(), message_request: Some(unknown) };
    let answers = client.server_reflection_info(tonic::codegen::tokio_stream::once(request));
    let answer = match within(answers).await {
        Ok(answers) => within(answers.into_inner().message()).await.map(Option::unwrap_or_default),
        Err(status) => Err(status),
    };
    let is_told = match answer {
        Err(status) => status.code() == tonic::Code::NotFound,
        Ok(answer) => matches!(answer.message_response, Some(MessageResponse::ErrorResponse(_))),
    };
    assert!(is_told);
}

#[tokio::test]
async fn older_tools_are_answered_too() {
    use v1alpha::server_reflection_client::ServerReflectionClient;
    use v1alpha::server_reflection_request::MessageRequest;

    let cluster = Cluster::start(1).await;
    let mut client = ServerReflectionClient::new(cluster.channel(0).await);
    let list = Some(MessageRequest::ListServices(String::new()));
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: list };
    let answers =
        within(client.server_reflection_info(tonic::codegen::tokio_stream::once(request)));
    let mut answers = answers.await.expect("a stream").into_inner();
    within(answers.message()).await.expect("answered").expect("an answer");
}
