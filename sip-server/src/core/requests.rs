//! What becomes of a request: registrar, the server itself, or the proxy (RFC 3261 §10.3, §11, §16.3 to §16.5).

use std::hash::Hasher;
use std::time::Instant;

use sip_message::headers::{Accept, Contact, From, Route, To, Via};
use sip_message::{HeaderName, Method, Request, ResponseBuilder, StatusCode, Uri};
use sip_transaction::{ServerTx, Target};
use sip_transport::Path;

use super::common::Common;
use super::credentials::{Judge, Judged, Known, strip_credentials};
use super::peers::Certified;
use super::routing::Sender;
use super::{ServerCore, Waiting};
use crate::AddressOfRecord;
use crate::config::count;
use crate::events::EventServer;
use crate::flow::is_direct;
use crate::identity::assert_sender;
use crate::location::Question;
use crate::proxy::{
    Group, Hiding, History, Hop, Recursion, RouteError, Routed, Template, ask_for_timer, preprocess, validate,
};
use crate::registrar::{self, Registration};

/// Where a request goes.
#[derive(Debug)]
pub(super) enum Destination {
    /// To the server itself.
    Server,
    /// To a user of ours.
    User(AddressOfRecord),
    /// To where Route or Request-URI say, outside.
    Outside,
    /// To the configured next hop.
    NextHop(Target),
    /// Over the flow to a phone that a Route of ours named (RFC 5626 §5.3.1), and whether it is not the only way.
    Flow(Path, bool),
}

impl ServerCore {
    pub(super) fn request(&mut self, now: Instant, tx: ServerTx, request: Request, path: Path) {
        if let Some((request, path)) = self.hold(now, tx, request, path) {
            self.request_of_known(now, tx, request, path);
        }
    }

    /// A request whose user, if it names one, is known or known not to be.
    pub(super) fn request_of_known(&mut self, now: Instant, tx: ServerTx, mut request: Request, path: Path) {
        let port = self.port_of(&path);
        let routed = match preprocess(&mut request, &path, port, &self.domains, &self.own_routes) {
            Ok(routed) => routed,
            Err(RouteError::Token(_)) => {
                count(&mut self.layer.counters.relays_denied);
                let reply = request.reply(StatusCode::FORBIDDEN).reason("Not a Flow of Ours");
                return self.refuse(now, tx, reply);
            }
            Err(RouteError::Malformed(error)) => {
                let reply = request.reply(StatusCode::BAD_REQUEST).reason(&error.to_string());
                return self.refuse(now, tx, reply);
            }
        };
        let in_dialog = has_to_tag(&request);
        let destination = self.destination(&request, &routed, in_dialog);
        if let Some(event) = self.event_of(&request, &destination) {
            return self.event_request(now, tx, (request, path), event);
        }
        match destination {
            Destination::Server => self.for_us(now, tx, request, &path),
            destination => {
                let template = Template {
                    request,
                    path,
                    record_route: false,
                    fingerprint: None,
                    known: false,
                    keep: None,
                    timer: None,
                    history: None,
                    recursion: None,
                    hiding: None,
                };
                self.proxy_request(now, tx, template, &routed, in_dialog, destination);
            }
        }
    }

    pub(super) fn destination(&self, request: &Request, routed: &Routed, in_dialog: bool) -> Destination {
        if let Some(flow) = routed.flow {
            return Destination::Flow(flow, routed.preferred);
        }
        if routed.more {
            return Destination::Outside;
        }
        let uri = &routed.uri;
        let ours = self.domains.of(uri);
        let registers = *request.method() == Method::Register && self.policy.registrar.is_some();
        if ours.is_some() && (uri.user().is_none() || registers) {
            return Destination::Server;
        }
        match &self.policy.next_hop {
            Some(target) if !in_dialog => Destination::NextHop(target.clone()),
            _ => match self.addressed(uri) {
                Some(aor) => Destination::User(aor),
                None => Destination::Outside,
            },
        }
    }

    /// The address-of-record that a URI of ours leads to. A temporary GRUU hides it; one that we never made leads to a user who
    /// does not exist.
    pub(super) fn addressed(&self, uri: &Uri) -> Option<AddressOfRecord> {
        let hidden = uri.is_gruu().then(|| self.gruus.read(uri, &self.domains)).flatten();
        hidden.map(|gruu| gruu.aor).or_else(|| self.domains.aor(uri))
    }

    pub(super) fn refuse(&mut self, now: Instant, tx: ServerTx, reply: ResponseBuilder) {
        count(&mut self.layer.counters.refused);
        self.layer.reply(now, tx, reply);
    }

    // ---- the server as user agent server ---------------------------------------------------------------------

    fn for_us(&mut self, now: Instant, tx: ServerTx, request: Request, path: &Path) {
        match request.method() {
            Method::Register if self.policy.registrar.is_some() => self.register(now, tx, &request, path),
            Method::Options => {
                if let Err(refusal) = registrar::required(&request) {
                    return self.refuse(now, tx, refusal.reply(&request));
                }
                // §11.2.
                let reply = self
                    .allow(request.reply(StatusCode::OK))
                    .header(&Accept::new("*/*"))
                    .raw(HeaderName::SUPPORTED, &registrar::SUPPORTED.join(", "));
                self.layer.reply(now, tx, reply);
            }
            // §8.2.1.
            _ => {
                let reply = request.reply(StatusCode::METHOD_NOT_ALLOWED);
                let reply = self.allow(reply);
                self.refuse(now, tx, reply);
            }
        }
    }

    /// What the server itself does (RFC 3261 §20.5, RFC 6665 §8.2.2). On one line: an answer to strangers is to be short.
    pub(super) fn allow(&self, reply: ResponseBuilder) -> ResponseBuilder {
        let mut methods = String::from("OPTIONS");
        if self.policy.registrar.is_some() {
            methods.push_str(", REGISTER");
        }
        let Some(packages) = self.events.as_ref().map(EventServer::packages) else {
            return reply.raw(HeaderName::ALLOW, &methods);
        };
        methods.push_str(", SUBSCRIBE, PUBLISH");
        reply.raw(HeaderName::ALLOW, &methods).raw(HeaderName::ALLOW_EVENTS, &packages)
    }

    /// §10.3.
    fn register(&mut self, now: Instant, tx: ServerTx, request: &Request, path: &Path) {
        let Some(config) = self.policy.registrar else { return };
        if let Err(refusal) = registrar::required(request) {
            count(&mut self.layer.counters.registrations_refused);
            return self.layer.reply(now, tx, refusal.reply(request));
        }
        let mut user = None;
        if self.registrations.is_some()
            && self.peers.at(path).is_some()
            && let Ok(Some(to)) = request.headers.get::<To>()
            && let Some(aor) = self.domains.aor(to.uri())
        {
            match self.certified(request, path, &aor) {
                Certified::User(name) => {
                    self.proved(now, tx, path, &name);
                    user = Some(name);
                }
                // The registrar refuses it (§10.3 step 4).
                Certified::Another(named) => user = Some(named.to_string()),
                Certified::Nothing => {}
            }
        }
        if user.is_none()
            && let Some(verifier) = &self.registrations
        {
            let (mut verifier, mut guard) = (verifier.lock(), self.guard.as_ref().map(Common::lock));
            let judge = Judge {
                verifier: &mut verifier,
                users: Known { list: self.users.as_ref(), book: self.book.as_ref().map(|book| &book.cache) },
                guard: guard.as_deref_mut(),
                counters: &mut self.layer.counters,
            };
            match judge.judge(now, request, path.remote.ip()) {
                Judged::Accepted { user: name, .. } => user = Some(name),
                Judged::Refused(reply) => return self.layer.challenge(now, tx, *reply),
            }
        }
        if let Some(reply) = self.refuse_push(request) {
            count(&mut self.layer.counters.registrations_refused);
            return self.layer.reply(now, tx, reply);
        }
        match Registration::read(request, path, user.as_deref(), &self.domains, &config, now) {
            Ok(registration) => {
                let step = Box::new(registration).begin();
                self.registration_step(now, tx, step);
            }
            Err(refusal) => {
                tracing::debug!(%refusal, "REGISTER refused");
                count(&mut self.layer.counters.registrations_refused);
                self.layer.reply(now, tx, refusal.reply(request));
            }
        }
    }

    // ---- the proxy -------------------------------------------------------------------------------------------

    fn proxy_request(
        &mut self,
        now: Instant,
        tx: ServerTx,
        mut template: Template,
        routed: &Routed,
        in_dialog: bool,
        destination: Destination,
    ) {
        if let Err(reply) = validate(&template.request, routed, self.routes()) {
            return self.refuse(now, tx, *reply);
        }
        if self.proxy.live() >= self.limits.contexts && *template.request.method() != Method::Bye {
            count(&mut self.layer.counters.overloaded);
            let reply = template.request.reply(StatusCode::SERVICE_UNAVAILABLE).header(&self.retry_after());
            return self.layer.reply(now, tx, reply);
        }
        // A dialog that was let through when it was set up is not asked again, nor what another server of ours has let through.
        let proven = (routed.ticketed && in_dialog) || routed.sibling;
        let path = template.path;
        let user = match self.authenticate(now, tx, (&mut template.request, &path), proven) {
            Ok(user) => user,
            Err(reply) => return self.layer.challenge(now, tx, *reply),
        };
        // Where nobody is asked, nobody can prove anything.
        template.known = user.is_some() || proven || self.calls.is_none() || self.trusts(&path);
        if self.calls.is_some() && !self.trusts(&path) && !routed.sibling {
            assert_sender(&mut template.request, user.as_deref(), &self.domains);
        }
        if let Some(lines) = &mut self.layer.lines
            && !in_dialog
            && *template.request.method() == Method::Invite
        {
            // A name that nobody proved lights no lamp.
            let from = template.request.headers.get::<From>().ok().flatten().filter(|_| template.known);
            let caller = from.and_then(|from| self.domains.aor(from.uri()));
            let known = |aor: &AddressOfRecord| {
                self.book.is_some() || self.users.as_ref().is_none_or(|users| users.knows(aor))
            };
            lines.begin(now, tx, &template.request, caller.filter(known));
        }
        if let Destination::User(aor) = &destination
            && !in_dialog
            && template.known
            && self.may_keep(&template.request, aor)
        {
            template.keep = Some(aor.clone());
        }
        if let Some(timer) = &self.policy.session_timer {
            match ask_for_timer(timer, &mut template.request) {
                Ok(asked) => template.timer = asked,
                Err(reply) => return self.refuse(now, tx, *reply),
            }
        }
        if *template.request.method() == Method::Register {
            self.hold_flow(&mut template);
        }
        template.record_route =
            self.policy.record_route && !in_dialog && creates_dialog(template.request.method());
        if self.rules.set().history_contacts && !in_dialog && *template.request.method() != Method::Register {
            template.history = History::of(&template.request).map(Box::new);
        }
        // A router outside has the last word on where requests go, and is asked once.
        let follows = self.policy.recurse && !in_dialog && !self.desk.is_external();
        if follows && *template.request.method() != Method::Register {
            template.recursion = Some(Box::new(Recursion::new(user.clone())));
        }
        template.hiding = self.hiding(&template, routed, user.as_deref(), in_dialog);
        let sender = Sender { user, proven, referred: routed.referred };
        // Whoever holds a flow's token has it from a registration or a dialog that went through here: it is the decision.
        let by_flow = matches!(destination, Destination::Flow(..));
        if !(proven || by_flow) && self.routes() && *template.request.method() != Method::Register {
            return self.consult(now, tx, template, sender, destination);
        }
        self.proceed(now, tx, template, &sender, destination);
    }

    /// From whom our topology is hidden. In a dialog its routes say so.
    fn hiding(
        &self,
        template: &Template,
        routed: &Routed,
        user: Option<&str>,
        in_dialog: bool,
    ) -> Option<Box<Hiding>> {
        let (request, path) = (&template.request, &template.path);
        if in_dialog {
            return Hiding::of(request, routed.from_hidden, routed.to_hidden, false);
        }
        let peer = self.peers.at(path).map(|peer| &**peer);
        let unknown = user.is_none() && !self.trusts(path) && !routed.sibling;
        let hide = self.rules.set().hide;
        // Who was referred to what is hidden is not to learn it.
        let stranger = unknown && (routed.referred || (hide && self.calls.is_some()));
        let from = stranger || self.rules.hides(path.remote.ip(), peer);
        // What a contact of inside is sent is not hidden from it.
        Hiding::of(request, from, false, hide && !routed.referred)
    }

    /// What is done without a decision, or with the decision that nothing shall be changed.
    pub(super) fn proceed(
        &mut self,
        now: Instant,
        tx: ServerTx,
        mut template: Template,
        sender: &Sender,
        destination: Destination,
    ) {
        let hop = match destination {
            Destination::User(aor) => {
                if let Err(reply) = self.mark(&mut template) {
                    return self.refuse(now, tx, *reply);
                }
                if !self.answers_at_once() {
                    self.trying(now, tx, &template.request);
                }
                let question = Question::Lookup { aor: aor.clone() };
                return self.ask(now, question, Waiting::Request(tx, Box::new(template), aor));
            }
            Destination::NextHop(target) => Hop::fixed(target),
            // Whoever holds the token has it from a registration or a dialog that went through here.
            Destination::Flow(flow, preferred) => Hop::over(flow, preferred),
            Destination::Outside | Destination::Server => {
                if template.request.uri().is_ok_and(|uri| uri.is_tel()) {
                    return self.refuse(now, tx, template.request.reply(StatusCode::NOT_FOUND));
                }
                if !(sender.proven || sender.referred || sender.user.is_some() || self.may_relay()) {
                    count(&mut self.layer.counters.relays_denied);
                    self.probed(now, &template.path);
                    let reply = template.request.reply(StatusCode::FORBIDDEN).reason("Relaying Denied");
                    return self.refuse(now, tx, reply);
                }
                self.to_outside(&template.request)
            }
        };
        self.trying(now, tx, &template.request);
        let groups = vec![Group::from([hop])];
        self.proxy.open(now, tx, template, groups, &mut self.layer);
    }

    /// To where the request itself says, which may be a trunk's gateway.
    pub(super) fn to_outside(&self, request: &Request) -> Hop {
        let route = request.headers.get::<Route>().ok().flatten();
        let uri = route.map_or_else(|| request.uri().ok(), |route| Some(route.uri().clone()));
        let gateway = uri.and_then(|uri| self.rules.gateway_at(uri.host()).cloned());
        Hop { gateway, ..Hop::as_addressed() }
    }

    /// RFC 5393 §4.2: marks a request, and refuses one that is here again as it was.
    pub(super) fn mark(&mut self, template: &mut Template) -> Result<(), Box<ResponseBuilder>> {
        let fingerprint = fingerprint(&template.request);
        if self.proxy.has_seen(fingerprint) && self.passed_here(&template.request) {
            count(&mut self.layer.counters.loops);
            return Err(Box::new(template.request.reply(StatusCode::LOOP_DETECTED)));
        }
        template.fingerprint = Some(fingerprint);
        Ok(())
    }

    /// RFC 5626 §5.1: the first proxy of a phone that registers a flow stays on the way back to it, and holds that flow.
    fn hold_flow(&self, template: &mut Template) {
        let request = &mut template.request;
        let registers_flow =
            request.headers.all::<Contact>().flatten().any(|contact| contact.reg_id().is_some());
        if !registers_flow || !is_direct(request) {
            return;
        }
        let local = self.layer.transactions.locals().at(&template.path);
        let sips = request.uri().is_ok_and(|uri| uri.is_sips());
        if let Err(error) = self.own_routes.write_path(&mut request.headers, local, &template.path, sips) {
            tracing::warn!(%error, "Path could not be written");
        }
    }

    /// §17.2.1: a proxy cannot know that a response will come within 200 ms, so the 100 is sent at once.
    pub(super) fn trying(&mut self, now: Instant, tx: ServerTx, request: &Request) {
        if *request.method() == Method::Invite
            && let Ok(trying) = request.reply(StatusCode::TRYING).build()
        {
            // An error: the client is gone already.
            let _ = self.layer.respond(now, tx, trying);
        }
    }

    /// Somebody looks for users, or for a way out.
    pub(super) fn probed(&mut self, now: Instant, path: &Path) {
        let trunk = self.is_trunk(path);
        if let Some(guard) = self.guard.as_ref().filter(|_| !trunk) {
            guard.lock().probe(now, path.remote.ip());
        }
    }

    /// A proxy for everything that comes, by configuration.
    pub(super) fn may_relay(&self) -> bool {
        self.policy.open_relay || self.policy.next_hop.is_some()
    }

    /// Whether the request has a Via of ours below the top one: it was here before.
    fn passed_here(&self, request: &Request) -> bool {
        let vias = request.headers.all::<Via>().skip(1);
        vias.flatten().any(|via| self.domains.is_our_address(via.host(), via.port()))
    }

    // ---- ACK -------------------------------------------------------------------------------------------------

    /// An ACK for a 2xx is forwarded without a transaction (§16: "treated as a request to be forwarded statelessly").
    pub(super) fn ack(&mut self, now: Instant, mut request: Request, path: Path) {
        let port = self.port_of(&path);
        let Ok(routed) = preprocess(&mut request, &path, port, &self.domains, &self.own_routes) else {
            return count(&mut self.layer.counters.acks_dropped);
        };
        if validate(&request, &routed, false).is_err() {
            return count(&mut self.layer.counters.acks_dropped);
        }
        if self.calls.is_some() {
            strip_credentials(&mut request, &self.realm); // §22.1: an ACK has those of its INVITE
        }
        let hiding = Hiding::of(&request, routed.from_hidden, routed.to_hidden, false);
        let hidden = Some((hiding.as_deref(), &path));
        match self.destination(&request, &routed, has_to_tag(&request)) {
            Destination::Outside if routed.ticketed || self.may_relay() => {
                let hop = self.to_outside(&request);
                self.forward_ack(request, hop, hidden);
            }
            Destination::NextHop(target) => self.forward_ack(request, Hop::fixed(target), hidden),
            Destination::Flow(flow, preferred) => {
                self.forward_ack(request, Hop::over(flow, preferred), hidden);
            }
            Destination::User(aor) => {
                self.ask(now, Question::Lookup { aor }, Waiting::Ack(Box::new(request)));
            }
            Destination::Outside | Destination::Server => count(&mut self.layer.counters.acks_dropped),
        }
    }

    /// `hiding`: from whom our topology is hidden, and how it came; `None`: it goes to a phone of ours.
    pub(super) fn forward_ack(
        &mut self,
        mut request: Request,
        hop: Hop,
        hiding: Option<(Option<&Hiding>, &Path)>,
    ) {
        let target = match hop.prepare(&mut request) {
            Ok(target) => target,
            Err(_) => return count(&mut self.layer.counters.acks_dropped),
        };
        if let Some((hiding, path)) = hiding
            && hop.hidden(hiding)
        {
            self.proxy.hide_stateless(&mut request, &target, (hiding, path), &self.layer);
        }
        match self.layer.transactions.send_stateless(request, target, &mut self.layer.out) {
            Ok(()) => count(&mut self.layer.counters.acks_forwarded),
            Err(_) => count(&mut self.layer.counters.acks_dropped),
        }
    }
}

pub(super) fn has_to_tag(request: &Request) -> bool {
    matches!(request.headers.get::<To>(), Ok(Some(to)) if to.tag().is_some())
}

/// Requests that may create a dialog (RFC 3261 §12.1, RFC 6665, RFC 3515).
pub(super) fn creates_dialog(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)
}

/// Equal for a request that comes back as it was (RFC 5393 §4.2.2): what its processing here depends on.
fn fingerprint(request: &Request) -> u64 {
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    for part in [
        request.uri_text(),
        request.headers.text(HeaderName::CALL_ID).unwrap_or_default(),
        request.headers.text(HeaderName::FROM).unwrap_or_default(),
        request.headers.text(HeaderName::CSEQ).unwrap_or_default(),
    ] {
        hasher.write(part.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish()
}
