//! A dialog: what two user agents share, and the requests that one of them makes in it (RFC 3261 §12).

use std::sync::Arc;

use sip_message::headers::{CSeq, CallId, Contact, From, NameAddr, RecordRoute, Route, To};
use sip_message::{HeaderError, HeaderName, Identity, Method, Request, RequestBuilder, Response, Uri};

use crate::alike::Alike;

/// What identifies a dialog at one side (RFC 3261 §12).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DialogId {
    /// The Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag; empty for an RFC 2543 peer that sends none (§12.1.1).
    pub remote_tag: String,
}

impl DialogId {
    /// The dialog that a received request belongs to, if its To carries a tag.
    pub(crate) fn of_request(identity: &Identity) -> Option<Self> {
        Some(Self {
            call_id: identity.call_id.as_str().into(),
            local_tag: identity.to.tag()?.into(),
            remote_tag: identity.from.tag().unwrap_or_default().into(),
        })
    }

    /// The dialog that a request of ours is sent in.
    pub(crate) fn of_own_request(identity: &Identity) -> Self {
        Self::of_response(identity) // the same side's tags stand in From and To
    }

    /// The dialog that a received response belongs to.
    pub(crate) fn of_response(identity: &Identity) -> Self {
        Self {
            call_id: identity.call_id.as_str().into(),
            local_tag: identity.from.tag().unwrap_or_default().into(),
            remote_tag: identity.to.tag().unwrap_or_default().into(),
        }
    }
}

/// What is wrong with a request inside a dialog.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialogError {
    /// A header field that the dialog lives on is missing or malformed.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The request's CSeq is lower than that of one before it: answer 500 (§12.2.2).
    #[error("CSeq {got} is lower than {last}, which came before")]
    OutOfOrder {
        /// The CSeq of the request.
        got: u32,
        /// The highest seen.
        last: u32,
    },
}

/// A peer-to-peer relationship between two user agents (RFC 3261 §12).
///
/// Never `Clone`: one owner counts the CSeq.
#[derive(Debug)]
pub struct Dialog {
    id: DialogId,
    /// Our address; the tag is in `id`, so that most calls have it alike.
    local: Arc<NameAddr>,
    /// The peer's address and tag.
    remote: Arc<NameAddr>,
    contact: Arc<Contact>,
    remote_target: Uri,
    route_set: Vec<Route>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

impl Dialog {
    /// The dialog that a response with a To tag makes for the one who asked (§12.1.2). The route set is the
    /// Record-Route of the response, in reverse order.
    ///
    /// # Errors
    /// If one of the fields it is made of cannot be read. Without a Contact the peer is reached at the
    /// Request-URI.
    pub fn of_client(request: &Request, response: &Response, contact: &Contact) -> Result<Self, DialogError> {
        let mut identity = Identity::of(&response.headers)?;
        let mut route_set = routes(&response.headers)?;
        route_set.reverse();
        let id = DialogId::of_response(&identity);
        identity.from.remove_tag();
        Ok(Self {
            id,
            remote_target: match target(&response.headers)? {
                Some(uri) => uri,
                None => request
                    .uri()
                    .map_err(|error| HeaderError::Malformed { name: HeaderName::CONTACT, error })?,
            },
            local: Arc::new(identity.from.0),
            remote: Arc::new(identity.to.0),
            contact: Arc::new(contact.clone()),
            route_set,
            local_cseq: identity.cseq.number,
            remote_cseq: None,
        })
    }

    /// The dialog that a request makes for the one who answers it with `local_tag` (§12.1.1). The route set is
    /// the Record-Route of the request, in order.
    ///
    /// # Errors
    /// If one of the fields it is made of cannot be read, or there is no Contact.
    pub fn of_server(request: &Request, local_tag: &str, contact: &Contact) -> Result<Self, DialogError> {
        Self::answering(request, Identity::of(&request.headers)?, local_tag, contact)
    }

    /// The same when the request's identity has been read already.
    pub(crate) fn answering(
        request: &Request,
        mut identity: Identity,
        local_tag: &str,
        contact: &Contact,
    ) -> Result<Self, DialogError> {
        identity.to.remove_tag();
        Ok(Self {
            id: DialogId {
                call_id: identity.call_id.as_str().into(),
                local_tag: local_tag.into(),
                remote_tag: identity.from.tag().unwrap_or_default().into(),
            },
            remote_target: target(&request.headers)?.ok_or(HeaderError::Missing(HeaderName::CONTACT))?,
            local: Arc::new(identity.to.0),
            remote: Arc::new(identity.from.0),
            contact: Arc::new(contact.clone()),
            route_set: routes(&request.headers)?,
            local_cseq: 0,
            remote_cseq: Some(identity.cseq.number),
        })
    }

    /// What identifies it.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// Our address; our tag is in [`id`](Self::id).
    pub fn local(&self) -> &NameAddr {
        &self.local
    }

    /// The peer's address with its tag.
    pub fn remote(&self) -> &NameAddr {
        &self.remote
    }

    /// The same for whoever keeps it as long as the dialog does.
    pub fn remote_shared(&self) -> Arc<NameAddr> {
        Arc::clone(&self.remote)
    }

    /// Has in common with the calls before what is equal: a phone is called by one name, and is at one address.
    pub(crate) fn share(&mut self, locals: &mut Alike<NameAddr>, contacts: &mut Alike<Contact>) {
        locals.share(&mut self.local);
        contacts.share(&mut self.contact);
    }

    /// Where the peer wants its requests.
    pub fn remote_target(&self) -> &Uri {
        &self.remote_target
    }

    /// The proxies between.
    pub fn route_set(&self) -> &[Route] {
        &self.route_set
    }

    /// The number of our last request.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Our Contact in this dialog.
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// We are to be reached elsewhere: the next request that refreshes the target tells it (§12.2.1.2).
    pub(crate) fn set_contact(&mut self, contact: Contact) {
        self.contact = Arc::new(contact);
    }

    /// We are somebody else from now on, under the tag that the peer knows (RFC 4916 §4.4.1).
    pub(crate) fn set_local(&mut self, identity: &NameAddr) {
        let mut identity = From(identity.clone());
        identity.remove_tag();
        self.local = Arc::new(identity.0);
    }

    /// So is the peer (RFC 4916 §4.4.2).
    pub(crate) fn set_remote(&mut self, identity: NameAddr) {
        self.remote = Arc::new(identity);
    }

    /// The number of the peer's last request.
    pub fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// Starts a request in this dialog with the next CSeq (§12.2.1.1).
    pub fn request(&mut self, method: Method) -> RequestBuilder {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.mint(method, self.local_cseq)
    }

    /// Starts the ACK for the 2xx to the INVITE of this number (§13.2.2.4).
    pub fn ack(&self, invite: u32) -> RequestBuilder {
        self.mint(Method::Ack, invite)
    }

    fn mint(&self, method: Method, cseq: u32) -> RequestBuilder {
        let (uri, routes) = self.request_uri_and_routes();
        let refreshes = refreshes_target(&method);
        let mut from = From(NameAddr::clone(&self.local));
        if !self.id.local_tag.is_empty() {
            from.set_tag(&self.id.local_tag);
        }
        let builder = Request::builder(method.clone(), uri)
            .headers(&routes)
            .header(&from)
            .header(&To(NameAddr::clone(&self.remote)))
            .header(&CallId::new(&self.id.call_id))
            .header(&CSeq::new(cseq, method));
        if refreshes { builder.header::<Contact>(&self.contact) } else { builder }
    }

    /// The Request-URI and the Route fields (§12.2.1.1): a first route without `lr` is a strict router, which
    /// wants itself in the Request-URI and the target at the end.
    fn request_uri_and_routes(&self) -> (&Uri, Vec<Route>) {
        match self.route_set.split_first() {
            Some((first, rest)) if !first.uri().has_lr() => {
                let mut routes = rest.to_vec();
                routes.push(Route::new(&self.remote_target));
                (first.uri(), routes)
            }
            _ => (&self.remote_target, self.route_set.clone()),
        }
    }

    /// Where requests in this dialog go first: the first route, strict or loose, or the target (§12.2.1.1).
    pub fn next_hop(&self) -> &Uri {
        self.route_set.first().map_or(&self.remote_target, |route| route.uri())
    }

    /// Takes note of a request of the peer: its number, and its Contact if it refreshes the target (§12.2.2). That of
    /// INVITE and UPDATE counts only when the request is accepted: see [`Dialog::accept_refresh`].
    ///
    /// # Errors
    /// If its number is lower than one before, or its Contact cannot be read.
    pub fn receive_request(&mut self, request: &Request) -> Result<(), DialogError> {
        let cseq: CSeq = request.headers.require()?;
        if let Some(last) = self.remote_cseq
            && cseq.number < last
        {
            return Err(DialogError::OutOfOrder { got: cseq.number, last });
        }
        let refreshed = if refreshes_target(request.method()) { target(&request.headers)? } else { None };
        self.remote_cseq = Some(cseq.number);
        if let Some(uri) = refreshed
            && *request.method() == Method::Subscribe
        {
            self.remote_target = uri;
        }
        Ok(())
    }

    /// An INVITE or UPDATE of the peer is answered with a 2xx or a reliable 1xx: its Contact is the new target. A request that
    /// is refused changes nothing (RFC 6141 §4.6).
    pub fn accept_refresh(&mut self, request: &Request) {
        if let Ok(Some(uri)) = target(&request.headers) {
            self.remote_target = uri;
        }
    }

    /// Takes note of a 2xx to our re-INVITE: its Contact is the new target (§12.2.1.2).
    pub fn receive_refresh(&mut self, response: &Response) {
        if let Ok(Some(uri)) = target(&response.headers) {
            self.remote_target = uri;
        }
    }

    /// After a restart of the sequence by authentication the INVITE's number has moved on.
    pub(crate) fn note_local_cseq(&mut self, cseq: u32) {
        self.local_cseq = self.local_cseq.max(cseq);
    }

    /// A 2xx builds the route set anew even if a 1xx built one before (§13.2.2.4).
    pub(crate) fn rebuild(&mut self, request: &Request, response: &Response) -> Result<(), DialogError> {
        let fresh = Self::of_client(request, response, &self.contact)?;
        self.route_set = fresh.route_set;
        self.remote_target = fresh.remote_target;
        self.remote = fresh.remote;
        Ok(())
    }
}

/// Requests whose Contact is the sender's new target: RFC 3261 §12.2, RFC 3311 §5.1; SUBSCRIBE and NOTIFY by RFC 6665 §4.1.2,
/// §4.1.3 and §B.12; REFER by RFC 5057 §5.4.
fn refreshes_target(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer)
}

fn routes(headers: &sip_message::Headers) -> Result<Vec<Route>, DialogError> {
    let routes: Result<Vec<Route>, HeaderError> =
        headers.all::<RecordRoute>().map(|route| route.map(|route| Route(route.0))).collect();
    Ok(routes?)
}

fn target(headers: &sip_message::Headers) -> Result<Option<Uri>, DialogError> {
    Ok(headers.get::<Contact>()?.and_then(|contact| contact.uri().cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::{Limits, StatusCode};

    fn invite() -> Request {
        let text = "INVITE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
            Record-Route: <sip:p2.example;lr>, <sip:p1.example;lr>\r\n\
            From: <sip:alice@a.example>;tag=a1\r\nTo: <sip:bob@b.example>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n\
            Contact: <sip:alice@10.0.0.1>\r\nContent-Length: 0\r\n\r\n";
        Request::parse(text.into(), &Limits::default()).unwrap()
    }

    fn contact(uri: &str) -> Contact {
        Contact::new(&uri.parse().unwrap())
    }

    /// RFC 3261 §12.1.1 and §12.1.2: both sides see the same proxies, each from its own end.
    #[test]
    fn both_sides_agree() {
        let invite = invite();
        let mut callee = Dialog::of_server(&invite, "b1", &contact("sip:bob@10.0.0.2")).unwrap();
        let ok = invite.reply(StatusCode::OK).to_tag("b1").header(callee.contact()).build().unwrap();
        let mut caller = Dialog::of_client(&invite, &ok, &contact("sip:alice@10.0.0.1")).unwrap();

        let bye = callee.request(Method::Bye).build().unwrap();
        assert_eq!(bye.uri_text(), "sip:alice@10.0.0.1");
        assert_eq!(bye.headers.text("Route"), Some("<sip:p2.example;lr>"));
        assert_eq!(callee.next_hop().to_string(), "sip:p2.example;lr");
        assert_eq!(bye.headers.text("CSeq"), Some("1 BYE"));

        let again = caller.request(Method::Invite).build().unwrap();
        assert_eq!(again.uri_text(), "sip:bob@10.0.0.2");
        assert_eq!(again.headers.text("Route"), Some("<sip:p1.example;lr>"));
        assert_eq!(again.headers.text("CSeq"), Some("8 INVITE"));
        assert_eq!(again.headers.text("To"), Some("<sip:bob@b.example>;tag=b1"));
        assert_eq!(caller.ack(8).build().unwrap().headers.text("CSeq"), Some("8 ACK"));

        let identity = Identity::of(&again.headers).unwrap();
        assert_eq!(DialogId::of_request(&identity).as_ref(), Some(callee.id()));
        assert_eq!(callee.receive_request(&again), Ok(()));
    }

    /// RFC 3261 §12.2.1.1: a strict router takes the Request-URI, the target goes last.
    #[test]
    fn strict_router() {
        let mut invite = invite();
        invite.headers.set_raw("Record-Route", "<sip:strict.example>, <sip:p1.example;lr>").unwrap();
        let mut callee = Dialog::of_server(&invite, "b1", &contact("sip:bob@10.0.0.2")).unwrap();
        let bye = callee.request(Method::Bye).build().unwrap();
        assert_eq!(bye.uri_text(), "sip:strict.example");
        let routes: Vec<_> = bye.headers.all::<Route>().map(|route| route.unwrap().to_string()).collect();
        assert_eq!(routes, ["<sip:p1.example;lr>", "<sip:alice@10.0.0.1>"]);
        assert_eq!(callee.next_hop().to_string(), "sip:strict.example");
    }

    /// RFC 3261 §12.2.2: a number lower than the last is out of order and changes nothing.
    #[test]
    fn lower_cseq_is_refused() {
        let mut dialog = Dialog::of_server(&invite(), "b1", &contact("sip:bob@10.0.0.2")).unwrap();
        let mut late = invite();
        late.headers.set_raw("CSeq", "6 INVITE").unwrap();
        late.headers.set_raw("Contact", "<sip:mallory@10.0.0.9>").unwrap();
        assert_eq!(dialog.receive_request(&late), Err(DialogError::OutOfOrder { got: 6, last: 7 }));
        assert_eq!(dialog.remote_target().to_string(), "sip:alice@10.0.0.1");
    }
}
