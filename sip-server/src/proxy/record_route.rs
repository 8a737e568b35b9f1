//! Record-Route: how the proxy stays in the path of a dialog (RFC 3261 §16.6 step 4, RFC 5658), and Path, with the flows that
//! lead back to phones (RFC 5626 §5).

use std::hash::Hasher;

use sip_message::{BuildError, HeaderName, Headers, Uri};
use sip_transport::outbound::{BadToken, FlowTokens};
use sip_transport::{Local, Locals, Path};

use super::hide::{HIDES, Seals};

/// The URI parameter that carries a ticket.
const PARAMETER: &str = "tk";

/// The URI parameter of a flow that is preferred and not the only way: where it is gone, the Contact is tried.
const PREFERRED: &str = "pf";

/// The URI parameter of a dialog whose requests go without transactions.
const STATELESS: &str = "sl";

/// Writes Record-Route, and knows its own when they come back as Route.
///
/// Each URI carries a ticket: a keyed hash of the Call-ID. A request with a Route of ours and the right ticket belongs to
/// a dialog that was let through when it was set up; without that proof a To tag, which anybody can write, would open the
/// way to everywhere.
///
/// A side whose phone can be reached over its own flow alone gets a URI with that flow as its user part. Its MAC covers the
/// Call-ID too and stands for the ticket: whoever has seen a flow in one dialog cannot use it in another.
#[derive(Clone, Debug)]
pub(crate) struct RecordRoute {
    keys: (u64, u64),
    tokens: FlowTokens,
    /// Of flows in a location store that other servers read: nobody else sees them.
    held: FlowTokens,
    seals: Seals,
    starts: Vec<Start>,
}

/// How our values are written, for one listener.
#[derive(Clone, Debug)]
struct Start {
    local: Local,
    /// What follows `<sip:` or `<sips:` and the token: `host:port;transport=tcp;lr`.
    sip: String,
    sips: Option<String>,
}

/// What a Route of ours says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// The flow over which its side is reached.
    pub(crate) flow: Option<Path>,
    /// It was written for the Call-ID that it came with: the request belongs to a dialog that was let through.
    pub(crate) ticketed: bool,
    /// It stood in the location store alone: a server that shares it sends the request.
    pub(crate) sibling: bool,
}

/// What stands in a Route of ours besides the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Its flow is not the only way.
    pub(crate) preferred: bool,
    /// Things are hidden from those behind it.
    pub(crate) hides: bool,
    /// Requests go by it without transactions.
    pub(crate) stateless: bool,
}

/// One side of a request: the listener, and the flow if the peer there can be reached over it alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    pub(crate) local: Option<&'a Local>,
    pub(crate) flow: Option<&'a Path>,
    /// The phone has asked for its flow (`ob`, RFC 5626 §4.3, or by registering it): there is no other way to it.
    pub(crate) only: bool,
    /// What is on the other side is hidden from it.
    pub(crate) hidden: bool,
    /// Requests in the dialog go without transactions, too.
    pub(crate) stateless: bool,
}

impl RecordRoute {
    pub(crate) fn new(
        keys: (u64, u64),
        (tokens, held): (FlowTokens, FlowTokens),
        seals: Seals,
        locals: &Locals,
    ) -> Self {
        let text = |uri: sip_message::Uri| {
            let text = uri.to_string();
            let behind = text.split_once(':').map_or("", |(_, behind)| behind);
            format!("{behind};lr")
        };
        let start = |local: &Local| {
            let sips = local.sips_uri(None).and_then(Result::ok).map(text);
            Some(Start { local: local.clone(), sip: text(local.uri(None).ok()?), sips })
        };
        Self { keys, tokens, held, seals, starts: locals.iter().filter_map(start).collect() }
    }

    /// 64 bits that nobody can make up for a Call-ID.
    pub(crate) fn ticket(&self, call_id: &str) -> String {
        // SipHash-2-4 with secret keys is a MAC of short messages; the standard library has it under this name alone.
        #[allow(deprecated)]
        let mut hasher = std::hash::SipHasher::new_with_keys(self.keys.0, self.keys.1);
        hasher.write(call_id.as_bytes());
        format!("{:016x}", hasher.finish())
    }

    /// What a Route of ours says of a request with this Call-ID. A user part too short for a flow is somebody's name.
    ///
    /// # Errors
    /// When it names a flow that we did not write, not so, or for another dialog.
    pub(crate) fn read(&self, uri: &Uri, call_id: &str) -> Result<Own, BadToken> {
        let Some(token) = uri.user().filter(|user| user.len() >= FlowTokens::SHORTEST) else {
            let ticketed =
                uri.param(PARAMETER).flatten().is_some_and(|ticket| ticket == self.ticket(call_id));
            return Ok(Own { flow: None, ticketed, sibling: false });
        };
        if let Ok(flow) = self.tokens.flow_for(token, call_id) {
            return Ok(Own { flow: Some(flow), ticketed: true, sibling: false });
        }
        if let Ok(flow) = self.held.flow(token) {
            return Ok(Own { flow: Some(flow), ticketed: false, sibling: true });
        }
        // From the Path of a registration, which calls of any Call-ID follow.
        Ok(Own { flow: Some(self.tokens.flow(token)?), ticketed: false, sibling: false })
    }

    /// What stands in a Route of ours besides.
    pub(crate) fn marks(uri: &Uri) -> Marks {
        let has = |name| uri.param(name).is_some();
        Marks { preferred: has(PREFERRED), hides: has(HIDES), stateless: has(STATELESS) }
    }

    /// 128 bits that nobody can make up, the same for the same text.
    pub(crate) fn hash(&self, text: &str) -> u128 {
        let half = |keys: (u64, u64)| {
            // As in `ticket`.
            #[allow(deprecated)]
            let mut hasher = std::hash::SipHasher::new_with_keys(keys.0, keys.1);
            hasher.write(b"branch");
            hasher.write(text.as_bytes());
            u128::from(hasher.finish())
        };
        half(self.keys) << 64 | half((self.keys.1, self.keys.0))
    }

    /// The path as a token that is good together with this text alone.
    pub(crate) fn path_token(&self, path: &Path, text: &str) -> String {
        self.tokens.token_for(path, text)
    }

    /// The path of such a token.
    ///
    /// # Errors
    /// When it is none of ours, or was made with another text.
    pub(crate) fn path_of(&self, token: &str, text: &str) -> Result<Path, BadToken> {
        self.tokens.flow_for(token, text)
    }

    /// What hides things, and shows them again.
    pub(crate) fn seals(&self) -> &Seals {
        &self.seals
    }

    /// Adds the values for a request that came in at one side and leaves from another: two where they differ, so that
    /// each side finds an address that it can reach over its own transport (RFC 5658), and two where one of them is a flow or hides
    /// something, so that the order tells which way a request goes. `sips`: the Request-URI or the next Route is a `sips` one, and so are
    /// ours (RFC 3261 §16.6 step 4).
    pub(crate) fn write(
        &self,
        headers: &mut Headers,
        came: Side<'_>,
        leaves: Side<'_>,
        call_id: &str,
        sips: bool,
    ) -> Result<(), BuildError> {
        let (Some(first), Some(last)) = (self.find(came.local), self.find(leaves.local.or(came.local)))
        else {
            return Ok(());
        };
        let text = |start, side: Side<'_>| {
            let mut hides = if side.hidden { format!(";{HIDES}") } else { String::new() };
            if side.stateless {
                hides.push(';');
                hides.push_str(STATELESS);
            }
            match side.flow {
                Some(flow) => {
                    let preferred = if side.only { String::new() } else { format!(";{PREFERRED}") };
                    let token = self.tokens.token_for(flow, call_id);
                    format!("<{}{preferred}{hides}>", begin(start, Some(&token), sips))
                }
                None => format!("<{};{PARAMETER}={}{hides}>", begin(start, None, sips), self.ticket(call_id)),
            }
        };
        headers.push_front_raw(HeaderName::RECORD_ROUTE, &text(first, came))?;
        if last.local != first.local || came.flow.or(leaves.flow).is_some() || came.hidden || leaves.hidden {
            headers.push_front_raw(HeaderName::RECORD_ROUTE, &text(last, leaves))?;
        }
        Ok(())
    }

    /// Adds the Path of a REGISTER that came over this flow straight from a phone (RFC 5626 §5.1).
    pub(crate) fn write_path(
        &self,
        headers: &mut Headers,
        local: Option<&Local>,
        flow: &Path,
        sips: bool,
    ) -> Result<(), BuildError> {
        let Some(start) = self.find(local) else { return Ok(()) };
        let uri = begin(start, Some(&self.tokens.token(flow)), sips);
        headers.push_front_raw(HeaderName::PATH, &format!("<{uri};ob>"))
    }

    /// The way over this server to a phone that it alone can reach, for the servers that share the location store: `sips` if the
    /// phone's Contact is. `None` without a listener that can stand in a URI.
    pub(crate) fn held_uri(&self, local: Option<&Local>, flow: &Path, sips: bool) -> Option<Uri> {
        begin(self.find(local)?, Some(&self.held.token(flow)), sips).parse().ok()
    }

    /// The flow of such a URI, if it is one.
    pub(crate) fn held_flow(&self, uri: &Uri) -> Option<Path> {
        self.held.flow(uri.user()?).ok()
    }

    fn find(&self, local: Option<&Local>) -> Option<&Start> {
        self.starts.iter().find(|start| Some(&start.local) == local).or(self.starts.first())
    }
}

fn begin(start: &Start, token: Option<&str>, sips: bool) -> String {
    let (scheme, behind) = match &start.sips {
        Some(behind) if sips => ("sips", behind),
        _ => ("sip", &start.sip),
    };
    match token {
        Some(token) => format!("{scheme}:{token}@{behind}"),
        None => format!("{scheme}:{behind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::headers::RecordRoute as Field;
    use sip_transport::Transport;

    fn both(tokens: &FlowTokens) -> (FlowTokens, FlowTokens) {
        (tokens.clone(), FlowTokens::new(&[9; 32]))
    }

    fn seals() -> Seals {
        Seals::new([7; 16], [(1, 2), (3, 4)])
    }

    #[test]
    fn one_value_for_one_listener_and_two_for_two() {
        let udp = Local::new(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
        let tcp = Local::new(Transport::Tcp, "192.0.2.1:5070".parse().unwrap());
        let tokens = FlowTokens::new(&[1; 32]);
        let routes =
            RecordRoute::new((1, 2), both(&tokens), seals(), &Locals::new(vec![udp.clone(), tcp.clone()]));
        let written = |came, leaves| {
            let mut headers = Headers::new();
            let side =
                |local| Side { local: Some(local), flow: None, only: false, hidden: false, stateless: false };
            routes.write(&mut headers, side(came), side(leaves), "call-1", false).unwrap();
            headers.all::<Field>().map(|one| one.unwrap().uri().clone()).collect::<Vec<_>>()
        };
        let one = written(&udp, &udp);
        assert_eq!(one.len(), 1);
        assert!(one[0].has_lr() && one[0].host_port() == "192.0.2.1:5060");
        let two = written(&udp, &tcp);
        assert_eq!(two.len(), 2);
        assert_eq!(two[0].transport_param(), Some("tcp"), "the side it leaves on comes first");
        assert_eq!(two[1].transport_param(), None);
        let ticketed = |routes: &RecordRoute, uri, call_id| routes.read(uri, call_id).unwrap().ticketed;
        assert!(two.iter().all(|uri| ticketed(&routes, uri, "call-1") && !ticketed(&routes, uri, "call-2")));
        let others = RecordRoute::new((1, 3), both(&tokens), seals(), &Locals::new(vec![udp]));
        assert!(!ticketed(&others, &two[0], "call-1"), "another server's key");
    }

    /// RFC 5626 §5.2, §5.3: the flow comes back as it was written; what was changed, or seen in another dialog, is refused.
    #[test]
    fn a_side_that_is_a_flow_is_named_by_it() {
        let local = Local::new(Transport::Tcp, "192.0.2.1:5060".parse().unwrap());
        let routes = RecordRoute::new(
            (1, 2),
            both(&FlowTokens::new(&[1; 32])),
            seals(),
            &Locals::new(vec![local.clone()]),
        );
        let flow = Path {
            flow: Some(sip_transport::FlowId(9)),
            ..Path::to(Transport::Tcp, "203.0.113.9:40000".parse().unwrap())
        };
        let mut headers = Headers::new();
        let came =
            Side { local: Some(&local), flow: Some(&flow), only: true, hidden: false, stateless: false };
        routes
            .write(
                &mut headers,
                came,
                Side { local: Some(&local), flow: None, only: false, hidden: false, stateless: false },
                "c",
                false,
            )
            .unwrap();
        let written: Vec<Uri> = headers.all::<Field>().map(|one| one.unwrap().uri().clone()).collect();
        assert_eq!(written.len(), 2, "the order tells the direction");
        assert_eq!(routes.read(&written[0], "c"), Ok(Own { flow: None, ticketed: true, sibling: false }));
        assert_eq!(
            routes.read(&written[1], "c"),
            Ok(Own { flow: Some(flow), ticketed: true, sibling: false })
        );
        assert_eq!(routes.read(&written[0], "d"), Ok(Own::default()));
        assert!(routes.read(&written[1], "d").is_err());
        let forged = format!("sip:{}@192.0.2.1;lr", "A".repeat(42)).parse().unwrap();
        assert!(routes.read(&forged, "c").is_err());
        assert_eq!(routes.read(&"sip:orig@192.0.2.1;lr".parse().unwrap(), "c"), Ok(Own::default()));
        let mut headers = Headers::new();
        routes.write_path(&mut headers, Some(&local), &flow, false).unwrap();
        let path: sip_message::headers::Path = headers.require().unwrap();
        assert!(path.uri().has_ob() && path.uri().has_lr() && path.uri().param("tk").is_none());
        assert_eq!(
            routes.read(path.uri(), "any"),
            Ok(Own { flow: Some(flow), ticketed: false, sibling: false })
        );
    }
}
