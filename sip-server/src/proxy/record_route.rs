//! Record-Route: how the proxy stays in the path of a dialog (RFC 3261 §16.6 step 4, RFC 5658).

use std::hash::Hasher;

use sip_message::{BuildError, HeaderName, Headers, Uri};
use sip_transport::{Local, Locals};

/// The URI parameter that carries a ticket.
const PARAMETER: &str = "tk";

/// Writes Record-Route, and knows its own when they come back as Route.
///
/// Each URI carries a ticket: a keyed hash of the Call-ID. A request with a Route of ours and the right ticket belongs to
/// a dialog that was let through when it was set up; without that proof a To tag, which anybody can write, would open the
/// way to everywhere.
#[derive(Debug)]
pub(crate) struct RecordRoute {
    keys: (u64, u64),
    /// `<sip:host:port;transport=tcp;lr;tk=` for each listener, and the same with `sips` for secure ones.
    starts: Vec<Start>,
}

/// How our values begin, for one listener.
#[derive(Debug)]
struct Start {
    local: Local,
    sip: String,
    sips: Option<String>,
}

impl RecordRoute {
    pub(crate) fn new(keys: (u64, u64), locals: &Locals) -> Self {
        let text = |uri| format!("<{uri};lr;{PARAMETER}=");
        let start = |local: &Local| {
            let sips = local.sips_uri(None).and_then(Result::ok).map(text);
            Some(Start { local: local.clone(), sip: text(local.uri(None).ok()?), sips })
        };
        Self { keys, starts: locals.iter().filter_map(start).collect() }
    }

    /// 64 bits that nobody can make up for a Call-ID.
    pub(crate) fn ticket(&self, call_id: &str) -> String {
        // SipHash-2-4 with secret keys is a MAC of short messages; the standard library has it under this name alone.
        #[allow(deprecated)]
        let mut hasher = std::hash::SipHasher::new_with_keys(self.keys.0, self.keys.1);
        hasher.write(call_id.as_bytes());
        format!("{:016x}", hasher.finish())
    }

    /// Whether a Route of ours carries the ticket of this Call-ID.
    pub(crate) fn is_ticketed(&self, uri: &Uri, call_id: &str) -> bool {
        uri.param(PARAMETER).flatten().is_some_and(|ticket| ticket == self.ticket(call_id))
    }

    /// Adds the values for a request that came in at one listener and leaves from another: two where they differ, so that
    /// each side finds an address that it can reach over its own transport (RFC 5658). `sips`: the Request-URI or the next
    /// Route is a `sips` one, and so are ours (RFC 3261 §16.6 step 4).
    pub(crate) fn write(
        &self,
        headers: &mut Headers,
        came: Option<&Local>,
        leaves: Option<&Local>,
        call_id: &str,
        sips: bool,
    ) -> Result<(), BuildError> {
        let ticket = self.ticket(call_id);
        let find = |local: Option<&Local>| {
            self.starts.iter().find(|start| Some(&start.local) == local).or(self.starts.first())
        };
        let text = |start: &Start| {
            let begin = start.sips.as_ref().filter(|_| sips).unwrap_or(&start.sip);
            format!("{begin}{ticket}>")
        };
        let (came, leaves) = (find(came), find(leaves.or(came)));
        if let Some(came) = came {
            headers.push_front_raw(HeaderName::RECORD_ROUTE, &text(came))?;
            if let Some(leaves) = leaves
                && leaves.local != came.local
            {
                headers.push_front_raw(HeaderName::RECORD_ROUTE, &text(leaves))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::headers::RecordRoute as Field;
    use sip_transport::Transport;

    #[test]
    fn one_value_for_one_listener_and_two_for_two() {
        let udp = Local::new(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
        let tcp = Local::new(Transport::Tcp, "192.0.2.1:5070".parse().unwrap());
        let routes = RecordRoute::new((1, 2), &Locals::new(vec![udp.clone(), tcp.clone()]));
        let written = |came, leaves| {
            let mut headers = Headers::new();
            routes.write(&mut headers, Some(came), Some(leaves), "call-1", false).unwrap();
            headers.all::<Field>().map(|one| one.unwrap().uri().clone()).collect::<Vec<_>>()
        };
        let one = written(&udp, &udp);
        assert_eq!(one.len(), 1);
        assert!(one[0].has_lr() && one[0].host_port() == "192.0.2.1:5060");
        let two = written(&udp, &tcp);
        assert_eq!(two.len(), 2);
        assert_eq!(two[0].transport_param(), Some("tcp"), "the side it leaves on comes first");
        assert_eq!(two[1].transport_param(), None);
        assert!(
            two.iter().all(|uri| routes.is_ticketed(uri, "call-1") && !routes.is_ticketed(uri, "call-2"))
        );
        let others = RecordRoute::new((1, 3), &Locals::new(vec![udp]));
        assert!(!others.is_ticketed(&two[0], "call-1"), "another server's key");
    }
}
