//! The dialog of a subscription, in as few octets as there can be: a presence server has half a million of them.

use sip_message::headers::{CSeq, Contact, Route, To, Via};
use sip_message::{HeaderError, HeaderName, Method, Request, RequestBuilder, StatusCode, Uri};
use sip_transaction::Target;
use sip_transport::Path;

use sip_dialog::{Dialog, DialogError};

/// The values of what the next NOTIFY has in its head, each on a line: no value of a message can hold a line's end.
///
/// ```text
/// Request-URI
/// From  To  Call-ID  Contact  Event
/// a Route on each further line
/// ```
#[derive(Debug)]
pub(super) struct NotifierDialog {
    lines: Box<str>,
    /// The way back to a phone behind a NAT, or on a connection that it opened.
    flow: Option<Box<Path>>,
    local_cseq: u32,
    remote_cseq: u32,
}

/// The lines before the first Route.
const FIXED: usize = 6;

impl NotifierDialog {
    /// The dialog that a 2xx to this SUBSCRIBE makes (RFC 6665 §4.4.1).
    ///
    /// # Errors
    /// The status for a SUBSCRIBE that lacks something.
    pub(super) fn new(
        subscribe: &Request,
        tag: &str,
        contact: &Uri,
        flow: Option<Path>,
    ) -> Result<Self, StatusCode> {
        let bad = |_: DialogError| StatusCode::BAD_REQUEST;
        let mut dialog = Dialog::of_server(subscribe, tag, &Contact::new(contact)).map_err(bad)?;
        let remote_cseq = dialog.remote_cseq().unwrap_or(0);
        // What the layer of calls would send is what we send: its rules are not written twice.
        let first = dialog.request(Method::Notify).build().map_err(|_| StatusCode::BAD_REQUEST)?;
        let event = subscribe.headers.text(HeaderName::EVENT).unwrap_or_default();
        // Of Event only the package and its `id` are ours to repeat (RFC 6665 §8.2.1).
        let (package, params) = event.split_once(';').unwrap_or((event, ""));
        let id = params.split(';').map(str::trim).find(|param| param.starts_with("id="));
        let event = match id {
            Some(id) => format!("{};{id}", package.trim()),
            None => package.trim().to_owned(),
        };
        let text = |name: HeaderName| first.headers.text(name).unwrap_or_default().to_owned();
        let mut lines = vec![
            first.uri_text().to_owned(),
            text(HeaderName::FROM),
            text(HeaderName::TO),
            text(HeaderName::CALL_ID),
            text(HeaderName::CONTACT),
            event,
        ];
        let routes = first.headers.all::<Route>().flatten().map(|route| route.to_string());
        lines.extend(routes);
        Ok(Self { lines: lines.join("\n").into(), flow: flow.map(Box::new), local_cseq: 0, remote_cseq })
    }

    /// The dialog of a process before, by its [`lines`](Self::lines); `None` if they are none.
    pub(super) fn restored(
        lines: &str,
        flow: Option<Path>,
        local_cseq: u32,
        remote_cseq: u32,
    ) -> Option<Self> {
        let dialog = Self { lines: lines.into(), flow: flow.map(Box::new), local_cseq, remote_cseq };
        let whole = lines.split('\n').count() >= FIXED && !lines.contains('\r');
        let named = !dialog.local_tag().is_empty() && dialog.line(0).parse::<Uri>().is_ok();
        (whole && named && dialog.routes().all(|route| !route.is_empty())).then_some(dialog)
    }

    pub(super) fn lines(&self) -> &str {
        &self.lines
    }

    pub(super) fn flow(&self) -> Option<&Path> {
        self.flow.as_deref()
    }

    /// Of the last NOTIFY.
    pub(super) const fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Of the last SUBSCRIBE.
    pub(super) const fn remote_cseq(&self) -> u32 {
        self.remote_cseq
    }

    pub(super) fn call_id(&self) -> &str {
        self.line(3)
    }

    pub(super) fn remote_tag(&self) -> &str {
        tag_of(self.line(2))
    }

    fn line(&self, index: usize) -> &str {
        self.lines.split('\n').nth(index).unwrap_or_default()
    }

    fn routes(&self) -> impl Iterator<Item = &str> {
        self.lines.split('\n').skip(FIXED)
    }

    /// Whether a request within a dialog belongs to this one: its To is our From, its From is our To, and Call-ID (RFC 3261
    /// §12.2.2 compares Call-ID and tags).
    pub(super) fn is_of(&self, call_id: &str, remote_tag: &str) -> bool {
        self.line(3) == call_id && tag_of(self.line(2)) == remote_tag
    }

    /// Our tag.
    pub(super) fn local_tag(&self) -> &str {
        tag_of(self.line(1))
    }

    /// Event, as the NOTIFY has it.
    pub(super) fn event(&self) -> &str {
        self.line(5)
    }

    /// The Contact of ours.
    pub(super) fn contact(&self) -> &str {
        self.line(4)
    }

    /// The URI of who subscribes, as their From names it.
    pub(super) fn subscriber(&self) -> Option<To> {
        use sip_message::Header;
        To::parse(self.line(2)).ok()
    }

    /// A refresh: it must not be older than what came before (RFC 3261 §12.2.2), and may name another Contact.
    ///
    /// # Errors
    /// The status to refuse it with.
    pub(super) fn refresh(&mut self, subscribe: &Request, flow: Option<Path>) -> Result<(), StatusCode> {
        let cseq: CSeq = subscribe.headers.require().map_err(|_: HeaderError| StatusCode::BAD_REQUEST)?;
        if cseq.number < self.remote_cseq {
            return Err(StatusCode::SERVER_INTERNAL_ERROR);
        }
        let contact = subscribe.headers.get::<Contact>().map_err(|_| StatusCode::BAD_REQUEST)?;
        self.remote_cseq = cseq.number;
        if let Some(uri) = contact.as_ref().and_then(|contact| contact.uri()) {
            self.set_target(uri);
            self.flow = flow.map(Box::new);
        }
        Ok(())
    }

    /// The remote target: the Request-URI, or the last Route where the first hop is a strict router (RFC 3261 §12.2.1.1).
    fn set_target(&mut self, uri: &Uri) {
        let mut lines: Vec<String> = self.lines.split('\n').map(str::to_owned).collect();
        let text = uri.to_string();
        if self.is_strict() {
            if let Some(last) = lines.last_mut() {
                *last = format!("<{text}>");
            }
        } else if let Some(first) = lines.first_mut() {
            *first = text;
        }
        let lines = lines.join("\n");
        if *lines != *self.lines {
            self.lines = lines.into();
        }
    }

    /// With a strict router first its URI is the Request-URI, and the target is the last Route.
    fn is_strict(&self) -> bool {
        use sip_message::Header;
        let mut routes = self.routes();
        let Some(first) = routes.next() else { return false };
        let last = routes.last().unwrap_or(first);
        // A loose route set ends with a proxy, which has `lr`; that of a strict router with the target, which has not.
        Route::parse(last).is_ok_and(|route| !route.uri().has_lr())
    }

    /// The next NOTIFY and where it goes. `None` if it cannot be written, which what was parsed always can.
    pub(super) fn notify(&mut self) -> Option<(RequestBuilder, Target)> {
        use sip_message::Header;
        let cseq = self.local_cseq.saturating_add(1);
        let uri: Uri = self.line(0).parse().ok()?;
        let hop = match (&self.flow, self.routes().next()) {
            (Some(path), _) => Target::Path(**path),
            (None, Some(first)) if !self.is_strict() => Target::Uri(Route::parse(first).ok()?.uri().clone()),
            _ => Target::Uri(uri.clone()),
        };
        let mut builder = Request::builder(Method::Notify, &uri);
        for route in self.routes() {
            builder = builder.raw(HeaderName::ROUTE, route);
        }
        let builder = builder
            .raw(HeaderName::FROM, self.line(1))
            .raw(HeaderName::TO, self.line(2))
            .raw(HeaderName::CALL_ID, self.line(3))
            .header(&CSeq::new(cseq, Method::Notify))
            .raw(HeaderName::CONTACT, self.line(4))
            .raw(HeaderName::EVENT, self.line(5));
        self.local_cseq = cseq;
        Some((builder, hop))
    }
}

/// The tag of a From or To value as it stands. It is the last thing that looks like one, since a display name may hold anything.
fn tag_of(value: &str) -> &str {
    let after = value.rfind('>').and_then(|at| value.get(at..)).unwrap_or(value);
    let tag = after.split(';').map(str::trim).find_map(|param| {
        let (name, tag) = param.split_once('=')?;
        name.trim().eq_ignore_ascii_case("tag").then_some(tag.trim())
    });
    tag.unwrap_or_default()
}

/// The way back to who subscribes, if requests have to take it.
pub(super) fn way_back(subscribe: &Request, path: &Path, is_ours: impl Fn(&Uri) -> bool) -> Option<Path> {
    let contact = subscribe.headers.get::<Contact>().ok().flatten()?;
    let uri = contact.uri()?;
    // A GRUU of ours would lead to ourselves, and from there by the location service to the phone that stands before us.
    let direct = subscribe.headers.all::<Via>().nth(1).is_none();
    (crate::flow::leads_back(subscribe, uri, path) || (direct && is_ours(uri))).then_some(*path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Limits;
    use sip_transport::Transport;

    fn subscribe(extra: &str) -> Request {
        let text = format!(
            "SUBSCRIBE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.11;branch=z9hG4bK1\r\n{extra}\
            From: \"a;tag=no\" <sip:alice@example.com;x=1>;tag=a1\r\nTo: <sip:bob@example.com>\r\nCall-ID: c1\r\n\
            CSeq: 7 SUBSCRIBE\r\nContact: <sip:alice@192.0.2.11>\r\nEvent: presence ; id=7;max-rate=1\r\n\
            Content-Length: 0\r\n\r\n"
        );
        Request::parse(text.into(), &Limits::default()).unwrap()
    }

    fn dialog(extra: &str) -> NotifierDialog {
        let contact = "sip:192.0.2.1:5060".parse().unwrap();
        NotifierDialog::new(&subscribe(extra), "b1", &contact, None).unwrap()
    }

    fn to(target: &Target) -> String {
        match target {
            Target::Uri(uri) | Target::Proving(uri, _) => uri.to_string(),
            Target::Path(path) => path.remote.to_string(),
        }
    }

    #[test]
    fn a_notify_has_what_the_dialog_says() {
        let mut dialog = dialog("");
        let (builder, target) = dialog.notify().unwrap();
        let notify = builder.build().unwrap();
        assert_eq!(notify.uri_text(), "sip:alice@192.0.2.11");
        assert_eq!(notify.headers.text("From"), Some("<sip:bob@example.com>;tag=b1"));
        assert_eq!(notify.headers.text("To"), Some("\"a;tag=no\" <sip:alice@example.com;x=1>;tag=a1"));
        assert_eq!(notify.headers.text("Call-ID"), Some("c1"));
        assert_eq!(notify.headers.text("CSeq"), Some("1 NOTIFY"));
        assert_eq!(notify.headers.text("Event"), Some("presence;id=7"));
        assert_eq!(notify.headers.text("Contact"), Some("<sip:192.0.2.1:5060>"));
        assert_eq!(to(&target), "sip:alice@192.0.2.11");
        assert!(dialog.is_of("c1", "a1") && !dialog.is_of("c1", "no") && !dialog.is_of("c2", "a1"));
        assert_eq!(dialog.local_tag(), "b1");
        assert_eq!(dialog.notify().unwrap().0.build().unwrap().headers.text("CSeq"), Some("2 NOTIFY"));
    }

    #[test]
    fn routes_of_loose_and_strict_routers() {
        let mut loose = dialog("Record-Route: <sip:p1.example;lr>, <sip:p2.example;lr>\r\n");
        let (builder, target) = loose.notify().unwrap();
        let notify = builder.build().unwrap();
        assert_eq!(notify.uri_text(), "sip:alice@192.0.2.11");
        assert_eq!(to(&target), "sip:p1.example;lr");
        assert_eq!(notify.headers.all::<Route>().count(), 2);

        let mut strict = dialog("Record-Route: <sip:strict.example>, <sip:p2.example;lr>\r\n");
        let mut moved = subscribe("");
        moved.headers.set_raw("Contact", "<sip:alice@192.0.2.99>").unwrap();
        moved.headers.set_raw("CSeq", "8 SUBSCRIBE").unwrap();
        strict.refresh(&moved, None).unwrap();
        let (builder, target) = strict.notify().unwrap();
        let notify = builder.build().unwrap();
        assert_eq!(notify.uri_text(), "sip:strict.example");
        assert_eq!(to(&target), "sip:strict.example");
        let routes: Vec<String> =
            notify.headers.all::<Route>().map(|route| route.unwrap().to_string()).collect();
        assert_eq!(routes, ["<sip:p2.example;lr>", "<sip:alice@192.0.2.99>"]);
    }

    #[test]
    fn a_refresh_that_is_older_is_refused_and_moves_nothing() {
        let mut dialog = dialog("");
        let mut late = subscribe("");
        late.headers.set_raw("CSeq", "6 SUBSCRIBE").unwrap();
        late.headers.set_raw("Contact", "<sip:mallory@192.0.2.66>").unwrap();
        assert_eq!(dialog.refresh(&late, None), Err(StatusCode::SERVER_INTERNAL_ERROR));
        assert_eq!(dialog.notify().unwrap().0.build().unwrap().uri_text(), "sip:alice@192.0.2.11");
        late.headers.set_raw("CSeq", "8 SUBSCRIBE").unwrap();
        let path = Path::to(Transport::Udp, "192.0.2.66:5060".parse().unwrap());
        dialog.refresh(&late, Some(path)).unwrap();
        let (builder, target) = dialog.notify().unwrap();
        assert_eq!(builder.build().unwrap().uri_text(), "sip:mallory@192.0.2.66");
        assert_eq!(to(&target), "192.0.2.66:5060");
    }
}
