//! One call to the control plane's enrolment service, on a connection of its own, and what its answer is worth.

use std::time::Duration;

use gateway_wire::v1::Membership;
use gateway_wire::v1::enrolment_client::EnrolmentClient;
use rustls::pki_types::CertificateDer;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use super::certificate::{Certificate, Credentials, Key};
use super::tls;
use crate::config::FleetUrl;
use crate::link::{self, Access, Failure, Reason, dial};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a call brought no membership.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Worth another try.
    Away(String),
    /// Another node has the id.
    Taken,
    /// The answer will be the same next time.
    Refused(String),
}

/// No address has a control plane that can be talked to.
pub(super) struct NoAnswer {
    pub(super) reasons: String,
    /// Somebody answered everywhere, and nobody was of this fleet.
    pub(super) is_foreign: bool,
}

/// A client on a new connection to the first control plane that answers, from `turn` on.
pub(super) async fn connect(
    urls: &[FleetUrl],
    turn: usize,
    access: &Access,
) -> Result<EnrolmentClient<Channel>, NoAnswer> {
    let mut failures = Vec::new();
    for at in 0..urls.len() {
        match dial(&urls[(turn + at) % urls.len()], access).await {
            Ok(stream) => {
                let broken =
                    |error: tonic::transport::Error| NoAnswer { reasons: error.to_string(), is_foreign: false };
                return link::over(stream).await.map(EnrolmentClient::new).map_err(broken);
            }
            Err(failure) => failures.push(failure),
        }
    }
    let is_foreign = failures.iter().all(|failure| matches!(failure.reason, Reason::Foreign(_)));
    Err(NoAnswer { reasons: failures.iter().map(Failure::to_string).collect::<Vec<_>>().join("; "), is_foreign })
}

/// Bounds a call and sorts its failures.
pub(super) async fn answer(
    call: impl Future<Output = Result<Response<Membership>, Status>>,
) -> Result<Membership, Trouble> {
    let Ok(answer) = tokio::time::timeout(TIMEOUT, call).await else {
        return Err(Trouble::Away(format!("the control plane did not answer within {TIMEOUT:?}")));
    };
    answer.map(Response::into_inner).map_err(|status| {
        let message = match status.message() {
            "" => status.code().description().to_owned(),
            message => message.to_owned(),
        };
        match status.code() {
            Code::AlreadyExists => Trouble::Taken,
            Code::PermissionDenied
            | Code::Unauthenticated
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::Unimplemented => Trouble::Refused(message),
            _ => Trouble::Away(message),
        }
    })
}

/// What was answered, if it belongs together and to this key.
pub(super) fn checked(membership: Membership, key: Key) -> Result<Credentials, String> {
    let ca = CertificateDer::from(membership.ca);
    let certificate = Certificate::parse(CertificateDer::from(membership.certificate))?;
    if !key.belongs_to(&certificate) {
        return Err("the certificate is for another key".to_owned());
    }
    if certificate.node_id != membership.node_id {
        return Err(format!("the certificate is for `{}` and not for `{}`", certificate.node_id, membership.node_id));
    }
    tls::check_issuer(&ca, &certificate)?;
    Ok(Credentials { ca, certificate, key })
}
