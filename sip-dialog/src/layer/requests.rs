//! Requests that come: which are taken, and whose each is (RFC 3261 §8.2, §12.2.2).

use std::time::Instant;

use sip_message::headers::{Require, Unsupported};
use sip_message::{HeaderName, Identity, Method, Request, StatusCode};
use sip_transaction::ServerTx;
use sip_transport::Path;

use super::Dialogs;
use crate::dialog::DialogId;
use crate::event::Event;
use crate::replaces::refers_wrongly;

impl Dialogs {
    pub(super) fn request_came(&mut self, now: Instant, tx: ServerTx, request: Request, path: Path) {
        self.hear_session_id_of_request(&request);
        if !self.config.allow.contains(request.method()) {
            let tag = self.token();
            let builder = request.reply(StatusCode::METHOD_NOT_ALLOWED).to_tag(&tag);
            let builder = builder.raw(HeaderName::ALLOW, &self.allow);
            return self.answer_built(now, tx, builder);
        }
        // §8.2.2: what its method asks of a request; the layer below has checked all the rest.
        if let Err(error) = request.check_method() {
            let tag = self.token();
            let builder = request.reply(error.status).reason(&error.reason).to_tag(&tag);
            return self.answer_built(now, tx, builder);
        }
        let unsupported: Vec<Unsupported> = request
            .headers
            .all::<Require>()
            .flatten()
            .filter(|tag| !self.understands(&tag.0))
            .map(|tag| Unsupported(tag.0))
            .collect();
        if !unsupported.is_empty() && *request.method() != Method::Cancel {
            let tag = self.token();
            let builder = request.reply(StatusCode::BAD_EXTENSION).to_tag(&tag).headers(&unsupported);
            return self.answer_built(now, tx, builder);
        }
        if *request.method() != Method::Invite && refers_wrongly(&request) {
            return self.answer_status(now, tx, &request, StatusCode::BAD_REQUEST); // RFC 3891 §3
        }
        let Ok(identity) = Identity::of(&request.headers) else {
            return self.answer_status(now, tx, &request, StatusCode::BAD_REQUEST);
        };
        if matches!(request.method(), Method::Subscribe | Method::Notify | Method::Refer) {
            return self.event_request_came(now, tx, request, path, &identity);
        }
        match DialogId::of_request(&identity) {
            Some(id) => match self.call_with(&id) {
                Some(call) => self.request_in_dialog_came(now, call, &id, tx, request, path),
                None if self.subscriptions.has_dialog(&id) => {
                    self.request_in_event_dialog_came(now, &id, tx, request, path);
                }
                None => {
                    self.answer_status(now, tx, &request, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
                }
            },
            None => match request.method() {
                Method::Invite => self.invite_came(now, tx, request, path, identity),
                Method::Bye | Method::Prack | Method::Update => {
                    self.answer_status(now, tx, &request, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST);
                }
                _ => self.events.push_back(Event::Request { tx, call: None, request, path }),
            },
        }
    }

    /// What the application supports, and with REFER what the layer does by itself (RFC 4488, RFC 4538).
    fn understands(&self, option: &str) -> bool {
        let known = |known: &&str| known.eq_ignore_ascii_case(option);
        let own: &[&str] = if self.config.allow.contains(&Method::Refer) {
            &["norefersub", "tdialog", "explicitsub", "nosub"]
        } else {
            &[]
        };
        self.config.supported.iter().map(String::as_str).any(|tag| known(&tag)) || own.iter().any(known)
    }
}
