//! Requests that a phone answers by itself: OPTIONS (RFC 3261 §11.2) and INFO (RFC 6086).

use std::time::Instant;

use rtp::dtmf::info::{Form, Info};
use sip_dialog::{Body, CallKey};
use sip_message::headers::{Accept, ContentType, RetryAfter};
use sip_message::{HeaderName, Method, Request, ResponseBuilder, StatusCode};

use super::event::PackagedInfo;
use super::{PhoneCore, PhoneEvent};

/// INFO with packages that wait to be taken, of one call; others are asked to come later.
const MAX_INFOS: usize = 64;

impl PhoneCore {
    /// Requests beside calls: what a phone says of itself (§11.2), and digits by INFO.
    pub(super) fn request_came(
        &mut self,
        now: Instant,
        tx: sip_transaction::ServerTx,
        call: Option<CallKey>,
        request: &Request,
    ) {
        let tag = self.dialogs.token();
        let reply = |status| request.reply(status).to_tag(&tag);
        let builder = match (request.method(), call) {
            (Method::Options, _) => {
                let builder = self.dialogs.capabilities(reply(StatusCode::OK));
                let builder = self.dialogs.answer_info_packages(&request.headers, builder);
                let builder = builder.header(&Accept::new("application/sdp"));
                let identity = self.config.identity.uri();
                let contact = self.dialogs.contact_for(identity.user(), self.first_hop(identity));
                // RFC 4579 §4.2: who asks a focus what it is learns it.
                match contact.ok().filter(|contact| contact.features("isfocus").is_some()) {
                    Some(contact) => builder.header(&contact),
                    None => builder,
                }
            }
            (Method::Info, Some(call)) if request.headers.contains(HeaderName::INFO_PACKAGE) => {
                self.info_came(call, request, &reply)
            }
            (Method::Info, Some(call)) => match digit_of(request) {
                Ok(Some(digit)) => {
                    self.events.push_back(PhoneEvent::Digit { call, digit });
                    reply(StatusCode::OK)
                }
                Ok(None) => reply(StatusCode::OK), // an empty INFO asks whether we are alive
                Err(StatusCode::UNSUPPORTED_MEDIA_TYPE) => reply(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                    .header(&Accept::new("application/dtmf-relay"))
                    .header(&Accept::new("application/dtmf")),
                Err(status) => reply(status),
            },
            (Method::Message, call) => self.message_came(now, call, request, &reply),
            (Method::Info, None) => reply(StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST),
            _ => reply(StatusCode::NOT_IMPLEMENTED),
        };
        match builder.build() {
            Ok(response) => {
                if let Err(error) = self.dialogs.respond(now, tx, response) {
                    tracing::debug!(%error, "a request was over before its response");
                }
            }
            Err(error) => tracing::error!(%error, "a response of ours cannot be built"),
        }
    }
}

impl PhoneCore {
    /// An INFO of a package (RFC 6086 §4.2.2).
    fn info_came(
        &mut self,
        call: CallKey,
        request: &Request,
        reply: &impl Fn(StatusCode) -> ResponseBuilder,
    ) -> ResponseBuilder {
        let package = match self.dialogs.info_package(request) {
            Ok(Some(package)) => package,
            Ok(None) | Err(StatusCode::BAD_INFO_PACKAGE) => {
                return self.dialogs.bad_info_package(reply(StatusCode::BAD_INFO_PACKAGE));
            }
            Err(status) => return reply(status),
        };
        let content_type = request.headers.text(HeaderName::CONTENT_TYPE);
        if content_type.is_none() && !request.body().is_empty() {
            return reply(StatusCode::BAD_REQUEST); // RFC 3261 §20.15
        }
        let untaken = self.infos.entry(call).or_default();
        if *untaken >= MAX_INFOS {
            return reply(StatusCode::SERVER_INTERNAL_ERROR).header(&RetryAfter::new(1));
        }
        *untaken = untaken.saturating_add(1);
        let body = content_type
            .map(|content_type| Body { content_type: content_type.into(), octets: request.body().clone() });
        let disposition = request.headers.text(HeaderName::CONTENT_DISPOSITION).map(str::to_owned);
        let info = PackagedInfo { package, disposition, body };
        self.events.push_back(PhoneEvent::Info { call, info: Box::new(info) });
        reply(StatusCode::OK)
    }

    /// The owner has taken so many of the INFO of a call: others may come.
    pub fn infos_taken(&mut self, call: CallKey, count: usize) {
        if let Some(untaken) = self.infos.get_mut(&call) {
            *untaken = untaken.saturating_sub(count);
        }
    }
}

/// The digit that an INFO without a package carries: `application/dtmf-relay` or `application/dtmf`, as phones without RFC 4733
/// send.
fn digit_of(request: &Request) -> Result<Option<char>, StatusCode> {
    if request.body().is_empty() {
        return Ok(None);
    }
    let kind = request.headers.get::<ContentType>().ok().flatten().ok_or(StatusCode::BAD_REQUEST)?;
    let forms = [("dtmf-relay", Form::Relay), ("dtmf", Form::Plain)];
    let form = forms.into_iter().find(|(subtype, _)| kind.is("application", subtype)).map(|(_, form)| form);
    Info::parse(form.ok_or(StatusCode::UNSUPPORTED_MEDIA_TYPE)?, request.body())
        .and_then(|info| info.event.key())
        .map(Some)
        .ok_or(StatusCode::BAD_REQUEST)
}
