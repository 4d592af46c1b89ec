//! The gRPC end of membership: a token becomes a certificate, a certificate becomes a newer one. Who is let in is decided in
//! `members`; here, how often one may ask.

mod budget;

use std::sync::Arc;
use std::time::Duration;

use gateway_wire::v1::enrolment_server::{Enrolment, EnrolmentServer};
use gateway_wire::v1::{EnrolRequest, Membership, RenewRequest};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use self::budget::Budget;
use crate::members::{Members, Refusal};
use crate::peer::{Contact, Peer};

/// What nodes call to become members and to stay members.
#[derive(Clone, Debug)]
pub struct EnrolmentService {
    members: Arc<Members>,
    /// Attempts that failed, of everybody together.
    failures: Arc<Budget>,
    renewals: Arc<Budget>,
    places: Arc<Semaphore>,
}

/// A request is a token, a signing request and a few labels.
const MAX_MESSAGE: usize = 64 << 10;
/// Asked for at a time; further ones wait.
const MAX_AT_ONCE: usize = 8;
const FAILURES: (u32, Duration) = (20, Duration::from_millis(200));
/// A fleet may come back at once, and then seldom.
const RENEWALS: (u32, Duration) = (2000, Duration::from_millis(20));

// === impl EnrolmentService ===

impl EnrolmentService {
    pub fn new(members: Arc<Members>) -> Self {
        Self {
            members,
            failures: Arc::new(Budget::new(FAILURES.0, FAILURES.1)),
            renewals: Arc::new(Budget::new(RENEWALS.0, RENEWALS.1)),
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
        }
    }

    pub(crate) fn into_server(self) -> EnrolmentServer<Self> {
        EnrolmentServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }

    async fn refused(&self, refusal: Refusal, ip: &str) -> Status {
        if let Refusal::Store(error) = &refusal {
            tracing::error!(error = error as &dyn std::error::Error, "no node can join or renew");
        } else {
            self.members.refused(&refusal, ip).await;
        }
        let message = refusal.to_string();
        match refusal {
            Refusal::Token | Refusal::Revoked(_) => Status::permission_denied(message),
            Refusal::Taken(_) => Status::already_exists(message),
            Refusal::Malformed(_) | Refusal::Words(_) => Status::invalid_argument(message),
            Refusal::Store(_) => Status::unavailable(message),
        }
    }
}

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<Membership>, Status> {
        let contact = Contact::of(&request)?;
        let _place = self.places.acquire().await.map_err(|_| stopping())?;
        if self.failures.is_empty() {
            return Err(Status::resource_exhausted("too many attempts to join have failed; try again in some seconds"));
        }
        match self.members.enrol(request.into_inner(), &contact.ip).await {
            Ok(membership) => Ok(Response::new(membership)),
            Err(refusal) => {
                self.failures.take();
                Err(self.refused(refusal, &contact.ip).await)
            }
        }
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<Membership>, Status> {
        let contact = Contact::of(&request)?;
        let Peer::Member(identity) = &contact.peer else {
            return Err(Status::unauthenticated(
                "only a certificate can be renewed; to get a first one, enrol with a join token",
            ));
        };
        let _place = self.places.acquire().await.map_err(|_| stopping())?;
        if !self.renewals.take() {
            return Err(Status::resource_exhausted("too many renewals at once; try again in some seconds"));
        }
        match self.members.renew(identity, &request.get_ref().csr, &contact.ip).await {
            Ok(membership) => Ok(Response::new(membership)),
            Err(refusal) => Err(self.refused(refusal, &contact.ip).await),
        }
    }
}

fn stopping() -> Status {
    Status::unavailable("the control plane is stopping")
}
