//! Requests outside of calls that the owner makes: OPTIONS, MESSAGE and others (RFC 3261 §11.1, RFC 3428 §4).

use std::time::Instant;

use sip_dialog::{Body, CallKey, RequestKey};
use sip_message::headers::{Accept, CSeq, CallId, Expires, From, Route, To};
use sip_message::{Method, Request, Uri};

use super::{PhoneCore, PhoneError};

impl PhoneCore {
    /// The proxies that a request outside of dialogs passes: what the registrar said (RFC 3608 §6.1), else what we were told.
    pub(super) fn route(&self) -> &[Route] {
        let flow = self.flows.best();
        match flow.service_route.as_slice() {
            [] => flow.route(),
            route => route,
        }
    }

    /// Sends a request outside of any dialog. Challenges are answered; [`PhoneEvent::Response`](super::PhoneEvent::Response)
    /// follows. `fields` are further header fields.
    ///
    /// # Errors
    /// If it cannot be built or sent.
    pub fn request(
        &mut self,
        now: Instant,
        to: &Uri,
        method: Method,
        fields: &[(&str, &str)],
        body: Option<Body>,
    ) -> Result<RequestKey, PhoneError> {
        let (call_id, tag) = (self.dialogs.token(), self.dialogs.token());
        let hop = self.first_hop(to).clone();
        let mut builder = Request::builder(method.clone(), to)
            .headers(self.route())
            .header(&From(self.config.identity.clone()).with_tag(&tag))
            .header(&To::new(to))
            .header(&CallId::new(&call_id))
            .header(&CSeq::new(1, method.clone()));
        // RFC 3428 §4: a MESSAGE has no Contact, it makes no dialog. Nor do others, but OPTIONS tells where we are.
        if method == Method::Options {
            let contact = self.dialogs.contact_for(self.config.identity.uri().user(), &hop)?;
            builder = builder.header(&contact).header(&Accept::new("application/sdp"));
        }
        for (name, value) in fields {
            builder = builder.raw(*name, value);
        }
        if let Some(Body { content_type, octets }) = body {
            builder = builder.body(&content_type, octets);
        }
        let request = builder.build().map_err(sip_dialog::Error::from)?;
        let key = self.dialogs.request(now, request, hop)?;
        self.dispatch(now);
        Ok(key)
    }

    /// Asks the registrar for the bindings of our address, or changes one of them, once and beside the registration that a phone
    /// keeps (RFC 3261 §10.2): `contact` is a Contact as it is written, `*` with 0 seconds removes all.
    ///
    /// # Errors
    /// If it cannot be built or sent.
    pub fn bindings(
        &mut self,
        now: Instant,
        contact: Option<&str>,
        expires: Option<u32>,
    ) -> Result<RequestKey, PhoneError> {
        let (call_id, tag) = (self.dialogs.token(), self.dialogs.token());
        let registrar = self.flows.registrar().clone();
        let route = self.flows.best().route().to_vec();
        let hop = route.first().map_or(&registrar, |route| route.uri()).clone();
        let mut builder = Request::builder(Method::Register, &registrar)
            .headers(&route)
            .header(&From(self.config.identity.clone()).with_tag(&tag))
            .header(&To(self.config.identity.clone()))
            .header(&CallId::new(&call_id))
            .header(&CSeq::new(1, Method::Register));
        if let Some(contact) = contact {
            builder = builder.raw("Contact", contact);
        }
        if let Some(expires) = expires {
            builder = builder.header(&Expires(expires));
        }
        let request = builder.build().map_err(sip_dialog::Error::from)?;
        let key = self.dialogs.request(now, request, hop)?;
        self.dispatch(now);
        Ok(key)
    }

    /// Asks what another phone or server can do (RFC 3261 §11.1).
    ///
    /// # Errors
    /// As [`PhoneCore::request`].
    pub fn options(&mut self, now: Instant, to: &Uri) -> Result<RequestKey, PhoneError> {
        self.request(now, to, Method::Options, &[], None)
    }

    /// Sends a message at once (RFC 3428); [`PhoneCore::send_message`] has it wait its turn.
    pub(super) fn request_message(
        &mut self,
        now: Instant,
        to: &Uri,
        body: Body,
    ) -> Result<RequestKey, PhoneError> {
        self.request(now, to, Method::Message, &[], Some(body))
    }

    /// Sends INFO inside a call: with a package (RFC 6086 §4.1), or as phones without RFC 4733 press keys.
    ///
    /// # Errors
    /// If there is no such call, or its peer does not know the dialog yet.
    pub fn info(
        &mut self,
        now: Instant,
        call: CallKey,
        package: Option<&str>,
        body: Body,
    ) -> Result<RequestKey, PhoneError> {
        let fields: Vec<(&str, &str)> = package.iter().map(|package| ("Info-Package", *package)).collect();
        self.request_in_call(now, call, Method::Info, &fields, Some(body))
    }

    /// Sends a request inside a call; [`PhoneEvent::Response`](super::PhoneEvent::Response) tells its answer.
    ///
    /// # Errors
    /// As [`PhoneCore::info`].
    pub fn request_in_call(
        &mut self,
        now: Instant,
        call: CallKey,
        method: Method,
        fields: &[(&str, &str)],
        body: Option<Body>,
    ) -> Result<RequestKey, PhoneError> {
        let key = self.dialogs.request_in_call_with(now, call, method, fields, body)?;
        self.dispatch(now);
        Ok(key)
    }
}
