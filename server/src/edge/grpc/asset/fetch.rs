//! `Fetch`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use larder_protos::asset::{
    FetchBlobRequest, FetchBlobResponse, FetchDirectoryRequest, FetchDirectoryResponse, Qualifier,
};
use larder_protos::services::fetch_server::Fetch;
use larder_protos::well_known::Timestamp;
use larder_protos::{Digest, InstanceName, rpc};
use tonic::{Code, Request, Response, Status};

use super::flights::{Flights, Outcome};
use super::identity::{Identity, Kind, check_uris, qualifiers};
use super::index::Index;
use super::plan::Plan;
use super::retrieval::Retrieval;
use super::timestamp::{Moment, duration};
use crate::auth::{Granted, Role};
use crate::edge::budget::Hold;
use crate::edge::grpc::admission::hold_of;
use crate::edge::grpc::notes::note_instance;
use crate::edge::service::Shared;
use crate::edge::status::grpc_status;
use crate::edge::working_set::retrieval_bytes;
use crate::fetch::{FetchError, FetchFault, Origin};

#[derive(Clone, Debug)]
pub(in crate::edge::grpc) struct FetchService {
    shared: Arc<Shared>,
    flights: Flights,
}

/// What both requests say.
struct Asked {
    identity: Identity,
    oldest: Option<Moment>,
    index: Index,
    /// To whoever asks; nothing, unless it is told.
    granted: Granted,
}

/// What is answered: which URI, and what it stands for or why that is not known.
struct Answer {
    uri: usize,
    found: Result<Digest, rpc::Status>,
}

impl FetchService {
    pub(in crate::edge::grpc) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), flights: Flights::new(shared.ending.clone()) }
    }

    fn asked(
        &self,
        instance_name: &str,
        uris: Vec<String>,
        given: Vec<Qualifier>,
        digest_function: i32,
        oldest: Option<Timestamp>,
    ) -> Result<Asked, Status> {
        check_uris(&uris).map_err(grpc_status)?;
        let qualifiers = qualifiers(given).map_err(grpc_status)?;
        let oldest = Moment::read("oldest_content_accepted", oldest).map_err(grpc_status)?;
        let instance = InstanceName::parse(instance_name).map_err(grpc_status)?;
        let function = self.shared.functions.of(&instance).asked(digest_function);
        let function = function.map_err(grpc_status)?;
        let index = Index::new(&self.shared, &instance, function);
        Ok(Asked {
            identity: Identity { instance, function, uris, qualifiers },
            oldest,
            index,
            granted: Granted::default(),
        })
    }

    /// From what came from origins before, or from one now, which stores and so needs to be granted.
    async fn ask_origin(
        &self,
        origin: &Arc<Origin>,
        asked: &Asked,
        plan: Plan,
        within: Duration,
        hold: &Hold,
    ) -> Result<Answer, Status> {
        if plan.integrity.is_none() && !origin.settings().unchecked {
            return Ok(Answer::failed(plan.uris[0], &FetchError::Unchecked));
        }
        for index in plan.uris.iter().copied() {
            if origin.url(plan.uri(index)).is_ok()
                && let Some(digest) = asked.find(plan.key(index), false).await?
            {
                return Ok(Answer { uri: index, found: Ok(digest) });
            }
        }
        if !asked.granted.is_at_least(Role::Write) {
            let text =
                "no such blob is here, and to fetch one from its origin needs the role write";
            return Err(Status::permission_denied(text));
        }
        let first = plan.uris[0];
        let key = asked.identity.of_request();
        let passenger = if let Some(passenger) = self.flights.join(&key) {
            passenger
        } else {
            let Some(place) = self.flights.place(within).await else {
                let text = "all places for fetches from origins are taken";
                return Ok(Answer {
                    uri: first,
                    found: Err(status(Code::ResourceExhausted, text)),
                });
            };
            hold.cover(hold.bytes() + retrieval_bytes()).await.map_err(grpc_status)?;
            let retrieval = Retrieval {
                shared: Arc::clone(&self.shared),
                origin: Arc::clone(origin),
                index: asked.index.clone(),
                plan,
            };
            let hold = hold.split_off();
            // Whoever joins may have more time than who asked first.
            let most = origin.settings().timeout;
            let work = async move {
                let outcome = retrieval.run(most).await;
                drop(hold);
                outcome
            };
            self.flights.begin(key, place, work)
        };
        match passenger.outcome(within).await {
            Some(Outcome::Found { uri, digest }) => Ok(Answer { uri, found: Ok(digest) }),
            Some(Outcome::Failed { uri, error }) => Ok(Answer::failed(uri, &error)),
            Some(Outcome::Refused(status)) => Err(status),
            None => {
                let error = FetchError::Timeout { milliseconds: within.as_millis() };
                Ok(Answer::failed(first, &error))
            }
        }
    }
}

#[tonic::async_trait]
impl Fetch for FetchService {
    async fn fetch_blob(
        &self,
        request: Request<FetchBlobRequest>,
    ) -> Result<Response<FetchBlobResponse>, Status> {
        note_instance(&request, |request| &request.instance_name);
        let hold = hold_of(&request);
        let granted = request.extensions().get().cloned().unwrap_or_default();
        let FetchBlobRequest {
            instance_name,
            timeout,
            oldest_content_accepted,
            uris,
            qualifiers,
            digest_function,
        } = request.into_inner();
        let oldest = oldest_content_accepted;
        let mut asked = self.asked(&instance_name, uris, qualifiers, digest_function, oldest)?;
        asked.granted = granted;
        let within = duration("timeout", timeout).map_err(grpc_status)?;
        let answer = match asked.pushed(Kind::Blob).await? {
            Some(answer) => answer,
            None => match &self.shared.origin {
                None => {
                    let text = "no such blob was pushed, and nothing is fetched from origins here (fetch.enabled)";
                    Answer::not_found(text)
                }
                Some(origin) => match Plan::of(&asked.identity).map_err(grpc_status)? {
                    None => Answer::not_found(
                        "no such blob was pushed, and no URI is one of http or https",
                    ),
                    Some(plan) => {
                        let most = origin.settings().timeout;
                        let within = within.map_or(most, |within| within.min(most));
                        self.ask_origin(origin, &asked, plan, within, &hold).await?
                    }
                },
            },
        };
        let (uri, digest, status) = answer.parts(&asked.identity);
        Ok(Response::new(FetchBlobResponse {
            status: Some(status),
            uri,
            qualifiers: asked.identity.told(),
            expires_at: None,
            blob_digest: digest.map(|digest| digest.to_proto()),
            digest_function: asked.identity.function.to_proto(),
        }))
    }

    async fn fetch_directory(
        &self,
        request: Request<FetchDirectoryRequest>,
    ) -> Result<Response<FetchDirectoryResponse>, Status> {
        note_instance(&request, |request| &request.instance_name);
        let FetchDirectoryRequest {
            instance_name,
            timeout,
            oldest_content_accepted,
            uris,
            qualifiers,
            digest_function,
        } = request.into_inner();
        let oldest = oldest_content_accepted;
        let asked = self.asked(&instance_name, uris, qualifiers, digest_function, oldest)?;
        duration("timeout", timeout).map_err(grpc_status)?;
        let answer = asked.pushed(Kind::Directory).await?.unwrap_or_else(|| {
            Answer::not_found(
                "no such directory was pushed; fetching directories from origins (repositories, archives) is not supported",
            )
        });
        let (uri, digest, status) = answer.parts(&asked.identity);
        Ok(Response::new(FetchDirectoryResponse {
            status: Some(status),
            uri,
            qualifiers: asked.identity.told(),
            expires_at: None,
            root_directory_digest: digest.map(|digest| digest.to_proto()),
            digest_function: asked.identity.function.to_proto(),
        }))
    }
}

impl Asked {
    /// What was pushed for the first URI that is known.
    async fn pushed(&self, kind: Kind) -> Result<Option<Answer>, Status> {
        for (index, uri) in self.identity.uris.iter().enumerate() {
            let key = self.identity.key(kind, uri);
            if let Some(digest) = self.find(key, kind == Kind::Directory).await? {
                return Ok(Some(Answer { uri: index, found: Ok(digest) }));
            }
        }
        Ok(None)
    }

    async fn find(
        &self,
        key: larder_protos::Hash,
        is_directory: bool,
    ) -> Result<Option<Digest>, Status> {
        let found = self.index.find(key, is_directory).await.map_err(grpc_status)?;
        let now = Moment::from(SystemTime::now());
        let fresh = found.filter(|record| record.is_fresh(now, self.oldest));
        Ok(fresh.map(|record| record.content.digest()))
    }
}

impl Answer {
    fn not_found(text: &str) -> Self {
        Self { uri: 0, found: Err(status(Code::NotFound, text)) }
    }

    fn failed(uri: usize, error: &FetchError) -> Self {
        let code = match error.fault() {
            FetchFault::NotFound => Code::NotFound,
            FetchFault::Denied => Code::PermissionDenied,
            FetchFault::Deadline => Code::DeadlineExceeded,
            FetchFault::Exhausted => Code::ResourceExhausted,
            FetchFault::Aborted => Code::Aborted,
        };
        Self { uri, found: Err(status(code, &error.to_string())) }
    }

    fn parts(self, identity: &Identity) -> (String, Option<Digest>, rpc::Status) {
        let uri = identity.uris[self.uri].clone();
        match self.found {
            Ok(digest) => (uri, Some(digest), status(Code::Ok, "")),
            Err(status) => (uri, None, status),
        }
    }
}

fn status(code: Code, message: &str) -> rpc::Status {
    rpc::Status { code: code.into(), message: message.to_owned(), ..rpc::Status::default() }
}
