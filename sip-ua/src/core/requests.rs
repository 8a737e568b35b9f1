//! Requests that a phone answers by itself: OPTIONS (RFC 3261 §11.2) and INFO (RFC 6086).

use std::time::Instant;

use rtp::dtmf::info::{Form, Info};
use sip_dialog::CallKey;
use sip_message::headers::{Accept, ContentType};
use sip_message::{Method, Request, StatusCode};

use super::{PhoneCore, PhoneEvent};

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
                let builder = builder.header(&Accept::new("application/sdp"));
                let identity = self.config.identity.uri();
                let contact = self.dialogs.contact_for(identity.user(), self.first_hop(identity));
                // RFC 4579 §4.2: who asks a focus what it is learns it.
                match contact.ok().filter(|contact| contact.features("isfocus").is_some()) {
                    Some(contact) => builder.header(&contact),
                    None => builder,
                }
            }
            (Method::Info, Some(call)) => match digit_of(request) {
                Ok(Some(digit)) => {
                    self.events.push_back(PhoneEvent::Digit { call, digit });
                    reply(StatusCode::OK)
                }
                Ok(None) => reply(StatusCode::OK), // an empty INFO asks whether we are alive
                Err(status) => {
                    let builder = reply(status);
                    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
                        builder
                            .header(&Accept::new("application/dtmf-relay"))
                            .header(&Accept::new("application/dtmf"))
                    } else {
                        builder.raw("Recv-Info", "")
                    }
                }
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

/// The digit that an INFO carries: `application/dtmf-relay` or `application/dtmf`, as phones without RFC 4733
/// send. With an Info-Package it is none of these (RFC 6086 §4.2.2): 469.
fn digit_of(request: &Request) -> Result<Option<char>, StatusCode> {
    if request.headers.contains("Info-Package") {
        return Err(StatusCode::BAD_INFO_PACKAGE);
    }
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
