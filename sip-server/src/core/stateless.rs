//! What is forwarded without transactions: RFC 3261 §16.11.
//!
//! ```text
//!   Via: phone;branch=a    ──▶   Via: we;branch=h(a);fw=(where it came from)    ──▶   the same for a repetition, CANCEL and ACK
//!                                Via: phone;branch=a
//!   Via: phone;branch=a    ◀──   Via: we;branch=h(a);fw=...                     ◀──   any response
//! ```
//!
//! Nothing is kept. The way back of a response is in our own Via, sealed together with the Via below it: nobody else can make this
//! server send anything anywhere.

use sip_message::headers::{CSeq, From, Route, Via};
use sip_message::{HeaderName, Message, Method, Request, Response, ResponseBuilder, StatusCode};
use sip_transaction::{StatelessVia, Target, branch};
use sip_transport::{Path, Received};

use super::ServerCore;
use super::requests::{Destination, creates_dialog, has_to_tag};
use crate::config::count;
use crate::identity::assert_sender;
use crate::proxy::{Hop, Routed, preprocess, validate};
use crate::routing::rules::Facts;

/// What the branches begin with that are of no transaction here: those of transactions have other lengths.
const BRANCH: &str = "z9hG4bKs";

/// The Via parameter that says where a request came from.
const FROM_WHERE: &str = "fw";

/// What is done with a request that has no transaction.
enum Way {
    Forward(Box<(Request, Hop)>),
    Answer(Box<ResponseBuilder>),
    /// An ACK to an answer of our own.
    Absorb,
}

impl ServerCore {
    /// Forwards what is to be forwarded without a transaction, and gives back all else.
    pub(super) fn forward_stateless(&mut self, received: Received) -> Option<Received> {
        if !self.stateless {
            return Some(received);
        }
        let Received { message, path } = received;
        match message {
            Message::Request(request) => match self.stateless_way(&request, &path) {
                Some(way) => self.go_stateless(way, &path),
                None => return Some(Received { message: Message::Request(request), path }),
            },
            Message::Response(response) => match self.way_back(&response) {
                Some(back) => self.respond_stateless(response, &path, back),
                None => return Some(Received { message: Message::Response(response), path }),
            },
        }
        None
    }

    /// §16.3 to §16.5, by what stands in the request and in the settings alone. `None`: the request is for a transaction.
    fn stateless_way(&mut self, came: &Request, path: &Path) -> Option<Way> {
        // What began with a transaction, before the settings were changed, ends with it.
        let registers = *came.method() == Method::Register;
        if registers || came.check().is_err() || self.layer.transactions.has_transaction(came) {
            return None;
        }
        let mut request = came.clone();
        let port = self.port_of(path);
        let routed = preprocess(&mut request, path, port, &self.domains, &self.own_routes).ok()?;
        let is_ack = *request.method() == Method::Ack;
        let tag = self.stateless_tag(&request);
        let hop = match self.stateless_hop(&request, &routed, path)? {
            Ok(hop) => hop,
            Err(_) if is_ack => return Some(Way::Absorb),
            Err(status) => return Some(Way::Answer(Box::new(request.reply(status).to_tag(&tag)))),
        };
        if is_ack && request.headers.tag(HeaderName::TO) == Some(tag.as_str()) {
            return Some(Way::Absorb);
        }
        match validate(&request, &routed, true) {
            Ok(()) => Some(Way::Forward(Box::new((request, hop)))),
            Err(_) if is_ack => Some(Way::Absorb),
            Err(reply) => Some(Way::Answer(Box::new(reply.to_tag(&tag)))),
        }
    }

    /// The one next hop (§16.11), or the refusal of a block list.
    fn stateless_hop(
        &self,
        request: &Request,
        routed: &Routed,
        path: &Path,
    ) -> Option<Result<Hop, StatusCode>> {
        let destination = self.destination(request, routed, has_to_tag(request));
        if routed.referred || self.event_of(request, &destination).is_some() {
            return None;
        }
        if routed.stateless && routed.ticketed && has_to_tag(request) {
            return match destination {
                Destination::Flow(flow, preferred) => Some(Ok(Hop::over(flow, preferred))),
                Destination::Outside => {
                    let hop = self.to_outside(request);
                    let plain = hop.gateway.is_none() && !routed.from_hidden && !routed.to_hidden;
                    plain.then_some(Ok(hop))
                }
                _ => None,
            };
        }
        if let Destination::Server | Destination::Flow(..) = destination {
            return None;
        }
        let uri = request.uri().ok()?;
        let caller = request.headers.get::<From>().ok().flatten();
        let route = request.headers.get::<Route>().ok().flatten();
        let called = self.domains.aor(&uri);
        // CANCEL and the ACK to a failure go where the INVITE went.
        let method = match request.method() {
            Method::Ack | Method::Cancel => &Method::Invite,
            method => method,
        };
        let hop = self.rules.stateless(&Facts {
            method,
            uri: &uri,
            called: called.as_ref(),
            caller: caller.as_ref().map(|from| from.uri()),
            user: None,
            source: path.remote.ip(),
            route: route.as_ref().map(|route| route.uri().host()),
        })?;
        Some(hop.map(|uri| Hop::fixed(Target::Uri(uri.clone()))))
    }

    fn go_stateless(&mut self, way: Way, path: &Path) {
        match way {
            Way::Absorb => count(&mut self.layer.counters.acks_dropped),
            Way::Answer(reply) => self.answer_stateless(*reply, path),
            Way::Forward(forward) => {
                let (request, hop) = *forward;
                self.layer.traffic.request(request.method());
                self.send_stateless(request, &hop, path);
            }
        }
    }

    /// §16.6.
    fn send_stateless(&mut self, mut request: Request, hop: &Hop, path: &Path) {
        let Some(via) = self.stateless_via(&request, path) else { return };
        if self.calls.is_some() && !self.trusts(path) {
            assert_sender(&mut request, None, &self.domains);
        }
        let records = self.policy.record_route && !has_to_tag(&request) && creates_dialog(request.method());
        let Ok(target) = hop.prepare(&mut request) else {
            let tag = self.stateless_tag(&request);
            return self.answer_stateless(request.reply(StatusCode::BAD_REQUEST).to_tag(&tag), path);
        };
        if records {
            let flow = hop.flow();
            self.proxy.record_stateless(&mut request, path, &target, flow.as_ref(), &self.layer);
        }
        match self.layer.transactions.forward_stateless(request, target, via, &mut self.layer.out) {
            Ok(()) => count(&mut self.layer.counters.stateless),
            Err(error) => tracing::debug!(%error, "a request was not forwarded"),
        }
    }

    /// §8.2.7: nothing is kept of the answer either.
    fn answer_stateless(&mut self, reply: ResponseBuilder, path: &Path) {
        count(&mut self.layer.counters.refused);
        let Ok(response) = reply.build() else { return };
        self.layer.traffic.response(response.status());
        // An error: it has no Via that can be read, and nobody could be answered.
        let _ = self.layer.transactions.respond_stateless(&response, path, &mut self.layer.out);
    }

    /// The tag of our own answers: the same for every repetition, and known again in the ACK.
    fn stateless_tag(&self, request: &Request) -> String {
        let call_id = request.headers.text(HeaderName::CALL_ID).unwrap_or_default();
        self.own_routes.ticket(&format!("answer to {call_id}"))
    }

    /// §16.11: "computed as a combinatoric function of message parameters which are invariant on retransmission".
    fn stateless_via(&self, request: &Request, path: &Path) -> Option<StatelessVia> {
        let top = request.headers.get::<Via>().ok().flatten()?;
        let text = match top.branch().filter(|branch| branch::is_rfc_3261(branch)) {
            Some(branch) => format!("{branch} {} {:?}", top.host().to_ascii_lowercase(), top.port()),
            None => {
                let headers = &request.headers;
                let number = headers.get::<CSeq>().ok().flatten().map(|cseq| cseq.number);
                let tag = |name| headers.tag(name).unwrap_or_default();
                let call_id = headers.text(HeaderName::CALL_ID).unwrap_or_default();
                let (to, from) = (tag(HeaderName::TO), tag(HeaderName::FROM));
                format!("{top} {to} {from} {call_id} {number:?} {}", request.uri_text())
            }
        };
        let hash = self.own_routes.hash(&text);
        let branch = format!("{BRANCH}{hash:032x}");
        let token = self.own_routes.path_token(path, &back_to(&branch, &top));
        let choice = u64::try_from(hash >> 64).unwrap_or_default();
        Some(StatelessVia { branch, param: (FROM_WHERE, token), choice })
    }

    /// The way back of a response to what was forwarded so.
    fn way_back(&self, response: &Response) -> Option<Path> {
        let mut vias = response.headers.all::<Via>();
        let (own, next) = (vias.next()?.ok()?, vias.next()?.ok()?);
        let branch = own.branch().filter(|branch| branch.starts_with(BRANCH))?;
        let token = own.param(FROM_WHERE).flatten()?;
        self.own_routes.path_of(token, &back_to(branch, &next)).ok()
    }

    /// §16.11: "the proxy MUST remove that header field value from the response and forward the result to the location indicated
    /// in the next Via".
    fn respond_stateless(&mut self, mut response: Response, path: &Path, back: Path) {
        if response.headers.pop_front::<Via>().is_err() {
            return count(&mut self.layer.counters.responses_dropped);
        }
        // RFC 3325 §5.
        if self.calls.is_some() && !self.trusts(path) {
            response.headers.remove(HeaderName::P_ASSERTED_IDENTITY);
        }
        match self.layer.transactions.respond_stateless(&response, &back, &mut self.layer.out) {
            Ok(()) => count(&mut self.layer.counters.responses_forwarded),
            Err(_) => count(&mut self.layer.counters.responses_dropped),
        }
    }
}

/// Everything that says where a response goes by this Via (§18.2.2, RFC 3581 §4).
fn back_to(branch: &str, via: &Via) -> String {
    let (received, rport) = (via.received(), via.rport());
    let (host, port) = (via.host().to_ascii_lowercase(), via.port());
    format!("{branch} {host} {port:?} {received:?} {rport:?} {:?}", via.maddr())
}
