//! The call that a script is in: what its requests have in common (RFC 3261 §12).

use sip_message::headers::{CSeq, CallId, Contact, From, RecordRoute, Route, To};
use sip_message::{Method, Request, Response, Uri};
use sip_transport::Path;

/// A dialog, or what may become one.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    pub(super) call: CallId,
    /// Our address and tag, and the peer's as far as they are known.
    pub(super) local: From,
    pub(super) remote: To,
    pub(super) target: Uri,
    pub(super) routes: Vec<Route>,
    pub(super) cseq: u32,
    /// The way to the peer, or to the proxy between.
    pub(super) path: Path,
    /// Our last INVITE, for ACK and CANCEL.
    pub(super) invite: Option<Request>,
}

impl Conversation {
    /// One that we begin.
    pub(super) fn begun(uri: &Uri, local: From, call: CallId, path: Path) -> Conversation {
        let remote = To::new(uri);
        let (target, routes) = (uri.clone(), Vec::new());
        Conversation { call, local, remote, target, routes, cseq: 0, path, invite: None }
    }

    /// One that the peer begins. `None`: his request lacks what a dialog needs.
    pub(super) fn joined(request: &Request, path: Path, tag: &str) -> Option<Conversation> {
        let (from, to): (From, To) = (request.headers.require().ok()?, request.headers.require().ok()?);
        let mut remote = To::new(from.uri());
        if let Some(tag) = from.tag() {
            remote = remote.with_tag(tag);
        }
        let routes = request.headers.all::<RecordRoute>().filter_map(Result::ok);
        Some(Conversation {
            call: request.headers.require().ok()?,
            local: From::new(to.uri()).with_tag(tag),
            remote,
            target: target_of(request.headers.get::<Contact>().ok().flatten())
                .unwrap_or_else(|| from.uri().clone()),
            routes: routes.map(|route| Route::new(route.uri())).collect(),
            cseq: 0,
            path,
            invite: None,
        })
    }

    /// Learns tag, contact and routes from a response to our first request.
    pub(super) fn answered(&mut self, response: &Response) {
        if let Ok(Some(to)) = response.headers.get::<To>()
            && let Some(tag) = to.tag()
            && response.status().code() > 100
        {
            self.remote = To::new(self.remote.uri()).with_tag(tag);
        }
        if !response.status().is_success() {
            return;
        }
        if let Some(target) = target_of(response.headers.get::<Contact>().ok().flatten()) {
            self.target = target;
        }
        let mut routes: Vec<Route> = response
            .headers
            .all::<RecordRoute>()
            .filter_map(Result::ok)
            .map(|route| Route::new(route.uri()))
            .collect();
        routes.reverse();
        if !routes.is_empty() {
            self.routes = routes;
        }
    }

    /// The CSeq of the next request. ACK and CANCEL have that of their INVITE.
    pub(super) fn next_cseq(&mut self, method: &Method) -> CSeq {
        let invite = self.invite.as_ref().and_then(|invite| invite.headers.get::<CSeq>().ok().flatten());
        match (method, invite) {
            (Method::Ack | Method::Cancel, Some(invite)) => CSeq::new(invite.number, method.clone()),
            _ => {
                self.cseq = self.cseq.saturating_add(1);
                CSeq::new(self.cseq, method.clone())
            }
        }
    }
}

fn target_of(contact: Option<Contact>) -> Option<Uri> {
    contact.and_then(|contact| contact.uri().cloned())
}
