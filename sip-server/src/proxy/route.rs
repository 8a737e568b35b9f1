//! Route information preprocessing: RFC 3261 §16.4.

use sip_message::headers::Route;
use sip_message::{HeaderError, HeaderName, Request, Uri, ValueError};

use sip_transaction::Target;
use sip_transport::Path;
use sip_transport::outbound::BadToken;

use super::hide::Brought;
use super::record_route::{Marks, Own, RecordRoute};
use crate::domains::Domains;
use crate::flow::is_same;

/// Routes of ours taken off one request: two is what [`RecordRoute::write`] puts on. More of them send the request to
/// ourselves once more, where Max-Forwards counts it.
const OWN_ROUTES: usize = 2;

/// What the preprocessing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Routed {
    /// The Request-URI as it is now.
    pub(crate) uri: Uri,
    /// A Route of ours proved that the request belongs to a dialog that was set up through us.
    pub(crate) ticketed: bool,
    /// Routes are left: they say where the request goes.
    pub(crate) more: bool,
    /// That Route stood in the location store: a server that shares it has let the request through.
    pub(crate) sibling: bool,
    /// A Route of ours named the flow over which it goes (RFC 5626 §5.3.1).
    pub(crate) flow: Option<Path>,
    /// That flow is not the only way.
    pub(crate) preferred: bool,
    /// It brought back what had been hidden from who sends it.
    pub(crate) from_hidden: bool,
    /// Its Request-URI is the contact of a party to the dialog that it is to replace or to join, who has told it to nobody but those in
    /// that dialog: who sends it was referred there.
    pub(crate) referred: bool,
    /// It goes to where its dialog is hidden from.
    pub(crate) to_hidden: bool,
    /// Its dialog was set up without transactions.
    pub(crate) stateless: bool,
}

/// Why a request cannot be routed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// 400.
    #[error(transparent)]
    Malformed(#[from] HeaderError),
    /// 403 (RFC 5626 §5.3.1).
    #[error(transparent)]
    Token(#[from] BadToken),
}

/// Takes off what has brought the request here.
///
/// # Errors
/// When a Route that has to be read cannot be, or names a flow that is none of ours; and when who was referred to a hidden contact
/// wants the request to go elsewhere.
pub(crate) fn preprocess(
    request: &mut Request,
    path: &Path,
    came_to_port: u16,
    domains: &Domains,
    own: &RecordRoute,
) -> Result<Routed, RouteError> {
    let malformed = |error| HeaderError::Malformed { name: HeaderName::ROUTE, error };
    let Brought { own: from_hidden, referred } = own.seals().open_request(request, domains)?;
    let read = |uri: &Uri, request: &Request| {
        let call_id = request.headers.text(HeaderName::CALL_ID).unwrap_or_default();
        (own.read(uri, call_id), RecordRoute::marks(uri))
    };
    let mut uri = request.uri().map_err(malformed)?;
    let mut own_routes: Vec<(Result<Own, BadToken>, Marks)> = Vec::new();
    // A strict router put our Record-Route into the Request-URI and the Request-URI behind the Routes.
    if uri.has_lr()
        && (uri.user().is_none() || matches!(read(&uri, request).0, Ok(Own { flow: Some(_), .. })))
        && request.headers.contains(HeaderName::ROUTE)
        && domains.is_us(&uri)
    {
        own_routes.push(read(&uri, request));
        let mut routes: Vec<Route> = request.headers.all::<Route>().collect::<Result<_, _>>()?;
        if let Some(last) = routes.pop() {
            request.set_uri(last.uri());
            uri = last.uri().clone();
            request.headers.remove(HeaderName::ROUTE);
            routes.iter().for_each(|route| request.headers.push_back(route));
        }
    } else if let Some(maddr) = uri.maddr()
        && domains.is_our_address(maddr, uri.port())
        && uri.port().is_none_or(|port| port == came_to_port)
    {
        uri = without_maddr(&uri).map_err(malformed)?;
        request.set_uri(&uri);
    }
    while own_routes.len() < OWN_ROUTES
        && let Some(route) = request.headers.get::<Route>()?
        && domains.of(route.uri()).is_some()
    {
        own_routes.push(read(route.uri(), request));
        request.headers.pop_front::<Route>()?;
    }
    // Of two, the first is the sender's side, which has brought it here, and the second says where it goes. One alone is
    // from a registration, or of a dialog whose other side is no flow.
    let last = own_routes.last().copied();
    let (last, marks) = last.unwrap_or((Ok(Own::default()), Marks::default()));
    let Marks { preferred, hides: to_hidden, stateless } = marks;
    let last = last?;
    let flow = last.flow.filter(|flow| own_routes.len() > 1 || !is_same(flow, path));
    // What was sealed for this Call-ID proves the same.
    let ticketed = from_hidden || own_routes.iter().any(|(own, _)| own.is_ok_and(|own| own.ticketed));
    let sibling = last.sibling && flow.is_some();
    let more = request.headers.contains(HeaderName::ROUTE);
    if referred && (more || flow.is_some()) {
        return Err(BadToken.into());
    }
    Ok(Routed { uri, ticketed, sibling, more, flow, preferred, from_hidden, referred, to_hidden, stateless })
}

/// The URI "as if those parameters or ports were not present".
fn without_maddr(uri: &Uri) -> Result<Uri, ValueError> {
    let mut text = format!("{}:", uri.scheme());
    if let Some(user) = uri.user() {
        text.push_str(user);
        text.push('@');
    }
    text.push_str(uri.host());
    let mut stripped: Uri = text.parse()?;
    for (name, value) in uri.params() {
        if !name.eq_ignore_ascii_case("maddr") && !name.eq_ignore_ascii_case("transport") {
            stripped.set_param(name, value);
        }
    }
    Ok(stripped)
}

/// RFC 3261 §16.6 steps 6 and 7: where the request goes, in the form that is wanted there. A first Route without `lr` is a
/// strict router's: it gets its own URI as Request-URI, and the Request-URI goes behind the Routes. The Routes that are left
/// are then its business, so that the request goes where its Request-URI says.
///
/// # Errors
/// When the first Route or the Request-URI cannot be read.
pub(crate) fn next_hop(request: &mut Request) -> Result<Target, HeaderError> {
    let Some(first) = request.headers.get::<Route>()?.filter(|first| !first.uri().has_lr()) else {
        return Target::next_hop(request);
    };
    let malformed = |error| HeaderError::Malformed { name: HeaderName::ROUTE, error };
    let last = Route::new(&request.uri().map_err(malformed)?);
    request.headers.push_back(&last);
    request.headers.pop_front::<Route>()?;
    request.set_uri(first.uri());
    Ok(Target::Uri(first.uri().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Seals;
    use sip_message::Limits;
    use sip_transport::outbound::FlowTokens;
    use sip_transport::{Local, Locals, Transport};

    fn world() -> (Domains, RecordRoute) {
        let locals = Locals::new(vec![Local::new(Transport::Udp, "192.0.2.1:5060".parse().unwrap())]);
        let own = RecordRoute::new(
            (1, 2),
            (FlowTokens::new(&[1; 32]), FlowTokens::new(&[9; 32])),
            Seals::new([7; 16], [(1, 2), (3, 4)]),
            &locals,
        );
        (Domains::new(vec!["p1.example.com".into()], locals), own)
    }

    /// A UDP flow with a phone at this address.
    fn path(remote: &str) -> Path {
        Path { local: "192.0.2.1:5060".parse().unwrap(), ..Path::to(Transport::Udp, remote.parse().unwrap()) }
    }

    fn after(uri: &str, routes: &str) -> (Request, Routed) {
        let (request, routed) = routed(uri, routes);
        (request, routed.unwrap())
    }

    /// What becomes of a request from 203.0.113.1:1000.
    fn routed(uri: &str, routes: &str) -> (Request, Result<Routed, RouteError>) {
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n{routes}Content-Length: 0\r\n\r\n"
        );
        let mut request = Request::parse(text.into(), &Limits::default()).unwrap();
        let (domains, own) = world();
        let routed = preprocess(&mut request, &path("203.0.113.1:1000"), 5060, &domains, &own);
        (request, routed)
    }

    fn routes(request: &Request) -> Vec<String> {
        request.headers.all::<Route>().map(|route| route.unwrap().uri().to_string()).collect()
    }

    /// RFC 3261 §16.12.1.1: the basic trapezoid, seen from P1.
    #[test]
    fn a_route_of_ours_is_popped() {
        let (request, routed) =
            after("sip:callee@u2.domain.com", "Route: <sip:p1.example.com;lr>, <sip:p2.domain.com;lr>\r\n");
        assert_eq!(request.uri_text(), "sip:callee@u2.domain.com");
        assert_eq!(routes(&request), ["sip:p2.domain.com;lr"]);
        assert!(!routed.ticketed && routed.more);
    }

    /// RFC 3261 §16.12.1.2: a strict router before us.
    #[test]
    fn a_strict_router_before_us_is_understood() {
        let (request, routed) =
            after("sip:192.0.2.1;lr", "Route: <sip:p3.middle.com>\r\nRoute: <sip:callee@u2.domain.com>\r\n");
        assert_eq!(request.uri_text(), "sip:callee@u2.domain.com");
        assert_eq!(routes(&request), ["sip:p3.middle.com"]);
        assert!(routed.more);
    }

    /// RFC 3261 §16.12.1.2: a strict router behind us.
    #[test]
    fn a_strict_router_behind_us_gets_what_it_expects() {
        let (mut request, _) =
            after("sip:callee@u2.domain.com", "Route: <sip:192.0.2.1;lr>, <sip:p3.middle.com>\r\n");
        assert!(goes_to(next_hop(&mut request), "sip:p3.middle.com"));
        assert_eq!(request.uri_text(), "sip:p3.middle.com");
        assert_eq!(routes(&request), ["sip:callee@u2.domain.com"]);
    }

    fn goes_to(target: Result<Target, HeaderError>, wanted: &str) -> bool {
        matches!(target, Ok(Target::Uri(uri)) if uri.to_string() == wanted)
    }

    /// RFC 3261 §16.6 step 7: "the proxy MUST apply the procedures to the Request-URI" of what is for a strict router, although a
    /// loose one comes after it.
    #[test]
    fn a_strict_router_is_not_passed_over_for_the_loose_one_behind_it() {
        let all = "Route: <sip:192.0.2.1;lr>, <sip:p3.middle.com>, <sip:p4.far.com;lr>\r\n";
        let (mut request, _) = after("sip:callee@u2.domain.com", all);
        assert!(goes_to(next_hop(&mut request), "sip:p3.middle.com"));
        assert_eq!(routes(&request), ["sip:p4.far.com;lr", "sip:callee@u2.domain.com"]);
        let (mut request, _) = after("sip:callee@u2.domain.com", "Route: <sip:p4.far.com;lr>\r\n");
        assert!(goes_to(next_hop(&mut request), "sip:p4.far.com;lr"));
        let (mut request, _) = after("sip:callee@u2.domain.com", "");
        assert!(goes_to(next_hop(&mut request), "sip:callee@u2.domain.com"));
    }

    #[test]
    fn an_maddr_of_ours_is_stripped_with_port_and_transport() {
        let (request, _) = after("sip:bob@p1.example.com:5060;maddr=192.0.2.1;transport=udp;x=y", "");
        assert_eq!(request.uri_text(), "sip:bob@p1.example.com;x=y");
        let (request, _) = after("sip:bob@p1.example.com;maddr=192.0.2.9", "");
        assert_eq!(request.uri_text(), "sip:bob@p1.example.com;maddr=192.0.2.9");
    }

    #[test]
    fn the_ticket_of_the_call_is_seen_in_a_route_of_ours() {
        let ticket = world().1.ticket("c");
        let (request, routed) =
            after("sip:b@192.0.2.9", &format!("Route: <sip:192.0.2.1;lr;tk={ticket}>\r\n"));
        assert!(routed.ticketed && !routed.more);
        assert!(routes(&request).is_empty());
        let (_, routed) = after("sip:b@192.0.2.9", "Route: <sip:192.0.2.1;lr;tk=0000000000000000>\r\n");
        assert!(!routed.ticketed);
    }
    /// RFC 5626 §5.3: a request from a flow goes on as ever, one from elsewhere goes over the flow.
    #[test]
    fn a_flow_is_where_the_request_came_from_or_where_it_goes() {
        let route = |remote| {
            let token = FlowTokens::new(&[1; 32]).token(&path(remote));
            format!("Route: <sip:{token}@192.0.2.1;lr;ob>\r\n")
        };
        let (sender, other) = (route("203.0.113.1:1000"), route("203.0.113.2:2000"));
        let (_, outgoing) = after("sip:b@192.0.2.9", &sender);
        assert_eq!(outgoing.flow, None);
        let (request, incoming) = after("sip:b@192.0.2.9", &other);
        assert_eq!(incoming.flow, Some(path("203.0.113.2:2000")));
        assert!(routes(&request).is_empty());
        // With both sides named the order decides: a NAT may have given the sender another port meanwhile.
        let (_, both) = after("sip:b@192.0.2.9", &format!("{other}{sender}"));
        assert_eq!(both.flow, Some(path("203.0.113.1:1000")));
        let plain = "Route: <sip:192.0.2.1;lr>\r\n";
        assert_eq!(after("sip:b@192.0.2.9", &format!("{other}{plain}")).1.flow, None);
        assert_eq!(
            after("sip:b@192.0.2.9", &format!("{plain}{other}")).1.flow,
            Some(path("203.0.113.2:2000"))
        );
    }

    /// RFC 5626 §5.3.1: 403 for what was tampered with.
    #[test]
    fn a_flow_of_somebody_elses_making_is_refused() {
        let token = FlowTokens::new(&[2; 32]).token(&path("203.0.113.2:2000"));
        let (_, refused) = routed("sip:b@192.0.2.9", &format!("Route: <sip:{token}@192.0.2.1;lr>\r\n"));
        assert!(matches!(refused, Err(RouteError::Token(_))));
    }
}
