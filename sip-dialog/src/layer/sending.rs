//! What goes down to the transaction layer: requests of ours with the fields that each carries, answers, and CANCEL (RFC 3261 §8.1,
//! §8.2.6, §9.1).

use std::time::Instant;

use sip_auth::Attempts;
use sip_message::headers::{Headers, Reason, SessionId, UserAgent};
use sip_message::{HeaderName, Method, Request, RequestBuilder, Response, ResponseBuilder, StatusCode, Uri};
use sip_transaction::{ClientTx, ServerTx, Target};

use super::Dialogs;
use crate::event::{CallKey, Error, RequestKey};
use crate::subscription::EventPurpose;

/// Why a request was sent, and what is needed to send it again with credentials.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) purpose: Purpose,
    pub(crate) request: Request,
    pub(crate) hop: Uri,
    /// Challenges answered so far; a server that challenges for ever is not followed.
    pub(crate) attempts: Attempts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Invite(CallKey),
    Reinvite(CallKey),
    Bye(CallKey),
    Prack(CallKey),
    Update(CallKey),
    /// A request inside a call that the application made.
    InCall(CallKey, RequestKey),
    /// A request outside of calls that the application made.
    Free(RequestKey),
    /// A BYE to a phone that answered a forked INVITE too late; nobody waits for its end.
    Surplus,
    /// A request of a subscription or a publication.
    Events(EventPurpose),
}

impl Purpose {
    pub(super) fn in_call(self) -> bool {
        !matches!(self, Self::Free(_))
    }
}

impl Dialogs {
    /// Fields that each request of ours carries.
    pub(crate) fn finish(&self, builder: RequestBuilder) -> Result<Request, Error> {
        let mut builder = builder;
        if !self.config.user_agent.is_empty() {
            builder = builder.header(&UserAgent::new(&self.config.user_agent));
        }
        let mut request = builder.build()?;
        let tells = matches!(request.method(), Method::Invite | Method::Options | Method::Update);
        if tells && !request.headers.contains(HeaderName::ALLOW) {
            request.headers.push_raw(HeaderName::ALLOW, &self.allow)?;
        }
        if tells && !self.supported.is_empty() && !request.headers.contains(HeaderName::SUPPORTED) {
            request.headers.push_raw(HeaderName::SUPPORTED, &self.supported)?;
        }
        if tells {
            self.tell_info_packages(&mut request.headers)?;
        }
        let may_notify = tells || matches!(request.method(), Method::Subscribe | Method::Refer);
        if may_notify && !self.allow_events.is_empty() {
            request.headers.push_raw(HeaderName::ALLOW_EVENTS, &self.allow_events)?;
        }
        Ok(request)
    }

    /// Sends a request in a transaction of its own, with credentials if a server asked for them before.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        mut request: Request,
        hop: Uri,
        purpose: Purpose,
    ) -> Result<ClientTx, Error> {
        self.stamp_request(&mut request);
        let Self { credentials, transactions, .. } = self;
        credentials.authorize(&mut request, || transactions.token());
        self.resend(now, Box::new(Sent { purpose, request, hop, attempts: Attempts::default() }))
    }

    pub(crate) fn resend(&mut self, now: Instant, sent: Box<Sent>) -> Result<ClientTx, Error> {
        let target = Target::Uri(sent.hop.clone());
        let tx = self
            .transactions
            .send(now, sent.request.clone(), target, &mut self.out)
            .map_err(|error| Error::Transaction(error.to_string()))?;
        self.sent.insert(tx, sent);
        self.drain(now);
        Ok(tx)
    }

    /// Answers a request; a server transaction that has ended meanwhile needs no answer any more.
    pub(crate) fn answer(&mut self, now: Instant, tx: ServerTx, mut response: Response) {
        self.stamp_response(&mut response);
        if let Err(error) = self.transactions.respond(now, tx, response, &mut self.out) {
            tracing::debug!(%error, "a response found its transaction gone");
        }
    }

    pub(crate) fn respond_inner(
        &mut self,
        now: Instant,
        tx: ServerTx,
        mut response: Response,
    ) -> Result<(), Error> {
        self.stamp_response(&mut response);
        self.transactions
            .respond(now, tx, response, &mut self.out)
            .map_err(|error| Error::Transaction(error.to_string()))
    }

    pub(crate) fn cancel(&mut self, now: Instant, tx: ClientTx, reason: Option<&Reason>) {
        let mut extra = Headers::new();
        if let Some(reason) = reason {
            extra.push_back(reason);
        }
        // RFC 7989 §6: the very field of the request.
        if self.session_ids.is_some()
            && let Some(Ok(Some(id))) = self.sent.get(&tx).map(|sent| sent.request.headers.get::<SessionId>())
        {
            extra.push_back(&id);
        }
        if let Err(error) = self.transactions.cancel(now, tx, &extra, &mut self.out) {
            tracing::debug!(%error, "nothing left to cancel");
        }
    }

    /// Answers a request with a status and nothing else.
    pub(crate) fn answer_status(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Request,
        status: StatusCode,
    ) {
        let tag = self.token();
        self.answer_built(now, tx, request.reply(status).to_tag(&tag));
    }

    pub(crate) fn answer_built(&mut self, now: Instant, tx: ServerTx, builder: ResponseBuilder) {
        match builder.build() {
            Ok(response) => self.answer(now, tx, response),
            Err(error) => tracing::error!(%error, "a response of ours cannot be built"),
        }
    }

    /// What a 200 to OPTIONS says we can do (RFC 3261 §11.2), besides what the application adds.
    pub fn capabilities(&self, builder: ResponseBuilder) -> ResponseBuilder {
        let mut builder = builder.raw(HeaderName::ALLOW, &self.allow);
        if !self.supported.is_empty() {
            builder = builder.raw(HeaderName::SUPPORTED, &self.supported);
        }
        if !self.allow_events.is_empty() {
            builder = builder.raw(HeaderName::ALLOW_EVENTS, &self.allow_events);
        }
        builder
    }
}
