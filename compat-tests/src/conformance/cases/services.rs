//! `health` and `reflection`: what operators and tools ask of any gRPC server.

use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::conformance::case::{Case, cases};
use crate::conformance::context::{Answer, Cx};
use crate::conformance::expect::{self, Seen};
use crate::conformance::outcome::{Halt, Outcome, violated};

pub(crate) const HEALTH: &[Case] = cases! {
    /// The server as a whole is SERVING.
    "health.whole-server", Must, "grpc.health.v1.Health.Check" => whole_server;
    /// A service that nobody knows is NOT_FOUND.
    "health.unknown-service", Must, "grpc.health.v1.Health.Check, NOT_FOUND" => unknown_service;
    /// A watch begins with the current status.
    "health.watch", Should, "grpc.health.v1.Health.Watch" => watch;
};

pub(crate) const REFLECTION: &[Case] = cases! {
    /// The list of services has ByteStream, ContentAddressableStorage and Capabilities.
    "reflection.services", Must, "grpc.reflection.v1, list_services" => services;
    /// A service's file comes as a descriptor.
    "reflection.file-of-service", Must, "grpc.reflection.v1, file_containing_symbol" => file_of_service;
    /// A symbol that nobody knows is an error in the answer.
    "reflection.unknown-symbol", Must, "grpc.reflection.v1, ErrorResponse" => unknown_symbol;
};

struct Health(i32);

impl Seen for Health {
    fn seen(&self) -> String {
        ServingStatus::try_from(self.0)
            .map_or_else(|_| self.0.to_string(), |status| status.as_str_name().to_owned())
    }
}

async fn check(cx: &Cx, service: &str) -> Answer<Health> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(cx.connection()).check(request).await?;
    Ok(Health(answer.into_inner().status))
}

async fn whole_server(cx: &Cx) -> Outcome {
    let status = expect::ok(check(cx, "").await, "Health.Check")?.0;
    expect::equal(status, ServingStatus::Serving.into(), "the status of the server")
}

async fn unknown_service(cx: &Cx) -> Outcome {
    let answer = check(cx, "no.such.Service").await;
    expect::code(&answer, Code::NotFound, "Health.Check of no.such.Service")
}

async fn watch(cx: &Cx) -> Outcome {
    let watched = async {
        let mut client = HealthClient::new(cx.connection());
        let mut stream = client.watch(HealthCheckRequest::default()).await?.into_inner();
        Ok(Health(stream.message().await?.map_or(-1, |message| message.status)))
    };
    let answer: Answer<Health> = watched.await;
    expect::one_of(&answer, &[Code::Ok, Code::Unimplemented], "Health.Watch")?;
    match answer {
        Ok(Health(status)) => expect::equal(status, ServingStatus::Serving.into(), "its status"),
        Err(_) => Ok(()),
    }
}

struct Reflected(Option<MessageResponse>);

impl Seen for Reflected {
    fn seen(&self) -> String {
        match &self.0 {
            Some(MessageResponse::ErrorResponse(error)) => format!("error {}", error.error_code),
            Some(_) => "an answer".to_owned(),
            None => "nothing".to_owned(),
        }
    }
}

async fn reflect(cx: &Cx, request: MessageRequest) -> Answer<Reflected> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(cx.connection());
    let requests = futures_util::stream::iter([request]);
    let mut answers = client.server_reflection_info(requests).await?.into_inner();
    Ok(Reflected(answers.message().await?.and_then(|answer| answer.message_response)))
}

async fn services(cx: &Cx) -> Outcome {
    let answer = reflect(cx, MessageRequest::ListServices(String::new())).await;
    let names: Vec<_> = match expect::ok(answer, "list_services")?.0 {
        Some(MessageResponse::ListServicesResponse(list)) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => return unexpected(other, "list_services"),
    };
    for name in [
        "google.bytestream.ByteStream",
        "build.bazel.remote.execution.v2.ContentAddressableStorage",
        "build.bazel.remote.execution.v2.Capabilities",
    ] {
        expect::that(names.iter().any(|actual| actual == name), || {
            format!("expected {name} among the services, got {names:?}")
        })?;
    }
    Ok(())
}

fn unexpected<T>(answer: Option<MessageResponse>, what: &str) -> Result<T, Halt> {
    violated(format!("expected an answer to {what}, got {}", Reflected(answer).seen()))
}

async fn file_of_service(cx: &Cx) -> Outcome {
    let name = "google.bytestream.ByteStream".to_owned();
    let answer = reflect(cx, MessageRequest::FileContainingSymbol(name)).await;
    match expect::ok(answer, "file_containing_symbol")?.0 {
        Some(MessageResponse::FileDescriptorResponse(files)) => {
            let some = files.file_descriptor_proto.iter().any(|file| !file.is_empty());
            expect::that(some, || "expected a file descriptor, got none".to_owned())
        }
        other => unexpected(other, "file_containing_symbol"),
    }
}

async fn unknown_symbol(cx: &Cx) -> Outcome {
    let request = MessageRequest::FileContainingSymbol("no.such.Symbol".to_owned());
    let answer = reflect(cx, request).await;
    match &answer {
        Ok(Reflected(Some(MessageResponse::ErrorResponse(_)))) => Ok(()),
        _ => expect::refused(&answer, "file_containing_symbol of no.such.Symbol"),
    }
}
