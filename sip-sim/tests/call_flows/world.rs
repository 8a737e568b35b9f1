//! User agents and proxies on one network, moved a step at a time, and what a figure's actors do.

use std::time::{Duration, Instant};

use sip_auth::Secret;
use sip_dialog::{
    Body, CallKey, Cause, Config, Dialogs, Event, Invite, Refer, Report, RequestKey, SubscriptionChange,
    SubscriptionKey,
};
use sip_message::headers::{NameAddr, Replaces, Route};
use sip_message::{Header, Method, Request, Response, StatusCode, Uri};
use sip_server::ServerCore;
use sip_sim::{Conditions, Fate, Invariants, NodeId, Sim, What};
use sip_transport::Transport;

use crate::figure;

/// A user agent: a core without a person; the test is the person.
#[derive(Clone, Copy)]
pub(crate) struct Ua {
    pub(crate) node: NodeId<Dialogs>,
    name: &'static str,
    /// Last octet of its address.
    host: u8,
    /// Where its user is registered, if anywhere.
    domain: Option<&'static str>,
    /// The proxy that its requests pass first.
    proxy: Option<u8>,
}

impl Ua {
    /// Where it is reached directly.
    pub(crate) fn uri(self) -> String {
        format!("sip:{}@192.0.2.{}", self.name, self.host)
    }

    /// The last octet of its address.
    pub(crate) fn host(self) -> u8 {
        self.host
    }

    /// Who its user is.
    fn identity(self) -> NameAddr {
        match self.domain {
            Some(domain) => format!("<sip:{}@{domain}>", self.name),
            None => format!("<{}>", self.uri()),
        }
        .parse()
        .unwrap()
    }

    fn route(self) -> Vec<Route> {
        let proxy = self.proxy.map(|host| format!("sip:192.0.2.{host};lr").parse::<Uri>().unwrap());
        proxy.iter().map(Route::new).collect()
    }
}

/// A call that comes in.
pub(crate) struct Incoming {
    pub(crate) call: CallKey,
    pub(crate) request: Request,
    pub(crate) replaces: Option<CallKey>,
    pub(crate) joins: Option<CallKey>,
}

/// A REFER that comes in.
pub(crate) struct Referred {
    pub(crate) key: SubscriptionKey,
    pub(crate) to: Uri,
    pub(crate) replaces: Option<Replaces>,
    pub(crate) target: Option<CallKey>,
    pub(crate) within: Option<CallKey>,
    pub(crate) request: Request,
}

pub(crate) struct World {
    pub(crate) sim: Sim,
    uas: Vec<Ua>,
    servers: Vec<NodeId<ServerCore>>,
    hosts: u8,
    /// Where the next figure begins.
    mark: usize,
}

/// One step of a flow. Longer than all ways, shorter than the 200 ms after which a callee says 100 by itself.
const STEP: Duration = Duration::from_millis(100);

/// A description of one audio stream in this direction, at an address of its own.
pub(crate) fn sdp(host: u8, direction: &str) -> Body {
    Body::sdp(format!(
        "v=0\r\no=- {host} 1 IN IP4 192.0.2.{host}\r\ns=-\r\nc=IN IP4 192.0.2.{host}\r\nt=0 0\r\n\
         m=audio 49172 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na={direction}\r\n"
    ))
}

/// The direction in a description.
pub(crate) fn direction(body: &[u8]) -> &str {
    let text = std::str::from_utf8(body).unwrap();
    text.lines().find_map(|line| line.strip_prefix("a=").filter(|it| !it.contains(':'))).unwrap()
}

impl World {
    pub(crate) fn new() -> World {
        let sim = Sim::new(1, Conditions::PERFECT);
        World { sim, uas: Vec::new(), servers: Vec::new(), hosts: 0, mark: 0 }
    }

    fn next_host(&mut self) -> u8 {
        self.hosts += 1;
        self.hosts
    }

    // ---- who is there ----------------------------------------------------------------------------------------

    pub(crate) fn ua(&mut self, name: &'static str) -> Ua {
        self.ua_with(name, |_| {})
    }

    pub(crate) fn ua_with(&mut self, name: &'static str, change: impl FnOnce(&mut Config)) -> Ua {
        let host = self.next_host();
        let at = format!("192.0.2.{host}:5060").parse().unwrap();
        let locals = Sim::locals(at, &[Transport::Udp]);
        let mut config = Config::new(sip_transaction::Config::new(self.sim.core_seed(), locals.clone()));
        config.allow.extend([Method::Subscribe, Method::Notify, Method::Refer]);
        config.events.packages = vec!["dialog".into()];
        config.session_timer = None; // no figure has any
        change(&mut config);
        let node = self.sim.add(name, locals, Dialogs::new(config));
        let ua = Ua { node, name, host, domain: None, proxy: None };
        self.uas.push(ua);
        ua
    }

    /// A user agent whose Contact is a GRUU, as RFC 5589 draws them.
    pub(crate) fn ua_with_gruu(&mut self, name: &'static str) -> Ua {
        let ua = self.ua(name);
        let gruu = format!("{};gr=urn:uuid:{name}", ua.uri()).parse().unwrap();
        self.with(ua, |ua, _| ua.use_gruu(Some(gruu)));
        ua
    }

    /// A user agent of a domain. Its requests pass `proxy` first.
    pub(crate) fn user(&mut self, name: &'static str, domain: &'static str, proxy: Option<Proxy>) -> Ua {
        let ua = Ua { domain: Some(domain), proxy: proxy.map(|it| it.host), ..self.ua(name) };
        *self.uas.last_mut().unwrap() = ua;
        ua
    }

    /// What a user agent knows for a realm, or for all.
    pub(crate) fn account(&mut self, ua: Ua, realm: Option<&str>, user: &str, password: &str) {
        self.with(ua, |ua, _| {
            ua.authenticator().add_account(realm, user, Secret::password(password));
        });
    }

    /// A proxy for a domain, which the name service knows.
    pub(crate) fn proxy(
        &mut self,
        name: &str,
        domain: &str,
        change: impl FnOnce(&mut sip_server::Config),
    ) -> Proxy {
        let host = self.next_host();
        let at = format!("192.0.2.{host}:5060").parse().unwrap();
        let locals = Sim::locals(at, &[Transport::Udp]);
        self.sim.zone().address(domain, at.ip());
        let mut config = sip_server::Config::new(self.sim.core_seed(), locals.clone());
        config.domains = vec![domain.into()];
        config.open_relay = true;
        change(&mut config);
        let core = ServerCore::new(config, self.sim.now(), Duration::from_secs(1_700_000_000)).unwrap();
        let node = self.sim.add(name, locals, core);
        self.servers.push(node);
        Proxy { node, host }
    }

    // ---- what happens ----------------------------------------------------------------------------------------

    pub(crate) fn with<R>(&mut self, ua: Ua, act: impl FnOnce(&mut Dialogs, Instant) -> R) -> R {
        self.sim.with(ua.node, act)
    }

    pub(crate) fn step(&mut self) {
        self.sim.run_for(STEP);
    }

    /// The first event that `pick` takes; those before it are dropped.
    pub(crate) fn event<T>(&mut self, ua: Ua, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let mut passed = Vec::new();
        while let Some(event) = self.sim.node(ua.node).poll_event() {
            passed.push(format!("{event:?}").chars().take(60).collect::<String>());
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
        panic!("{} was not told; it heard {passed:#?}\n{}", ua.name, self.sim.trace().ladder());
    }

    pub(crate) fn incoming(&mut self, ua: Ua) -> Incoming {
        self.event(ua, |event| match event {
            Event::Incoming { call, request, replaces, joins, .. } => {
                Some(Incoming { call, request, replaces, joins })
            }
            _ => None,
        })
    }

    pub(crate) fn answered(&mut self, ua: Ua) -> Response {
        self.event(ua, |event| match event {
            Event::Answered { response, .. } => Some(response),
            _ => None,
        })
    }

    pub(crate) fn ended(&mut self, ua: Ua) -> Cause {
        self.event(ua, |event| match event {
            Event::Ended { cause, .. } => Some(cause),
            _ => None,
        })
    }

    pub(crate) fn referred(&mut self, ua: Ua) -> Referred {
        self.event(ua, |event| match event {
            Event::Referred { key, call, target, refer_to, replaces, request, .. } => {
                Some(Referred { key, to: refer_to, replaces, target, within: call, request })
            }
            _ => None,
        })
    }

    /// What the NOTIFYs to a referrer said, in order.
    pub(crate) fn told(&mut self, ua: Ua) -> Vec<u16> {
        std::iter::from_fn(|| self.sim.node(ua.node).poll_event())
            .filter_map(|event| match event {
                Event::Subscription { what: SubscriptionChange::Progress { status }, .. } => {
                    Some(status.code())
                }
                _ => None,
            })
            .collect()
    }

    // ---- what people do --------------------------------------------------------------------------------------

    pub(crate) fn call(&mut self, ua: Ua, to: &str) -> CallKey {
        self.call_with(ua, to, Some(sdp(ua.host, "sendrecv")), Vec::new())
    }

    pub(crate) fn call_with(
        &mut self,
        ua: Ua,
        to: &str,
        offer: Option<Body>,
        fields: Vec<(String, String)>,
    ) -> CallKey {
        let invite =
            Invite { to: to.parse().unwrap(), from: ua.identity(), offer, route: ua.route(), fields };
        let call = self.with(ua, |ua, now| ua.invite(now, invite)).unwrap();
        self.step();
        call
    }

    /// A call in the place of another one, as a REFER asks for or a dialog package lets one know.
    pub(crate) fn call_replacing(&mut self, ua: Ua, to: &str, replaces: &Replaces) -> CallKey {
        let mut value = String::new();
        replaces.write(&mut value);
        let fields = vec![("Replaces".into(), value), ("Require".into(), "replaces".into())];
        self.call_with(ua, to, Some(sdp(ua.host, "sendrecv")), fields)
    }

    pub(crate) fn ring(&mut self, ua: Ua, call: CallKey) {
        self.with(ua, |ua, now| ua.ring(now, call, StatusCode::RINGING, None)).unwrap();
        self.step();
    }

    pub(crate) fn accept(&mut self, ua: Ua, call: CallKey) {
        self.accept_with(ua, call, "sendrecv");
    }

    pub(crate) fn accept_with(&mut self, ua: Ua, call: CallKey, direction: &str) {
        let body = sdp(ua.host, direction);
        self.with(ua, |ua, now| ua.accept(now, call, Some(body))).unwrap();
        self.step();
    }

    pub(crate) fn reject(&mut self, ua: Ua, call: CallKey, status: u16, fields: &[(&str, &str)]) {
        let status = StatusCode::new(status).unwrap();
        self.with(ua, |ua, now| ua.reject_with(now, call, status, fields)).unwrap();
        self.step();
    }

    pub(crate) fn hang_up(&mut self, ua: Ua, call: CallKey) {
        self.with(ua, |ua, now| ua.hang_up(now, call)).unwrap();
        self.step();
    }

    /// A call that is answered after it rang: the keys at both ends.
    pub(crate) fn connect(&mut self, from: Ua, to: Ua) -> (CallKey, CallKey) {
        let call = self.call(from, &to.uri());
        let incoming = self.incoming(to).call;
        self.ring(to, incoming);
        self.accept(to, incoming);
        self.answered(from);
        (call, incoming)
    }

    /// As [`World::connect`], answered at once: figures that show nothing but INVITE/200/ACK.
    pub(crate) fn connect_at_once(&mut self, from: Ua, to: Ua) -> (CallKey, CallKey) {
        let call = self.call(from, &to.uri());
        let incoming = self.incoming(to).call;
        self.accept(to, incoming);
        self.answered(from);
        (call, incoming)
    }

    /// A re-INVITE with this direction, answered with that one; gives both descriptions' directions as they were on
    /// the wire.
    pub(crate) fn reinvite(&mut self, from: (Ua, CallKey), to: (Ua, CallKey), offered: &str, answered: &str) {
        let offer = sdp(from.0.host, offered);
        self.with(from.0, |ua, now| ua.reinvite(now, from.1, Some(offer))).unwrap();
        self.step();
        let request = self.event(to.0, |event| match event {
            Event::Reinvited { call, request } if call == to.1 => Some(request),
            _ => None,
        });
        assert_eq!(direction(request.body()), offered);
        self.accept_with(to.0, to.1, answered);
        let response = self.event(from.0, |event| match event {
            Event::ReinviteAnswered { call, response, .. } if call == from.1 => Some(response),
            _ => None,
        });
        assert_eq!(direction(response.body()), answered);
    }

    /// RFC 3264 §8.4: the peer is put on hold.
    pub(crate) fn hold(&mut self, from: (Ua, CallKey), to: (Ua, CallKey)) {
        self.reinvite(from, to, "sendonly", "recvonly");
    }

    pub(crate) fn resume(&mut self, from: (Ua, CallKey), to: (Ua, CallKey)) {
        self.reinvite(from, to, "sendrecv", "sendrecv");
    }

    /// Asks the peer of a call to call somebody, and lets it say yes.
    pub(crate) fn refer(&mut self, from: (Ua, CallKey), peer: Ua, to: Uri) -> Referred {
        self.with(from.0, |ua, now| ua.refer(now, from.1, Refer::new(to))).unwrap();
        self.step();
        self.agree(peer)
    }

    /// Asks somebody outside of calls.
    pub(crate) fn refer_outside(&mut self, from: Ua, peer: Ua, refer: Refer) -> Referred {
        let (to, route) = (peer.uri().parse().unwrap(), from.route());
        self.with(from, |ua, now| ua.refer_outside(now, to, from.identity(), route, refer)).unwrap();
        self.step();
        self.agree(peer)
    }

    fn agree(&mut self, peer: Ua) -> Referred {
        let referred = self.referred(peer);
        self.with(peer, |ua, now| ua.accept_refer(now, referred.key)).unwrap();
        self.step();
        referred
    }

    pub(crate) fn report(&mut self, ua: Ua, key: SubscriptionKey, status: u16) {
        let report = Report::new(StatusCode::new(status).unwrap());
        self.with(ua, |ua, now| ua.report(now, key, &report)).unwrap();
        self.step();
    }

    /// Answers an OPTIONS that came, in a call or not.
    pub(crate) fn answers_options(&mut self, ua: Ua) {
        let (tx, request) = self.event(ua, |event| match event {
            Event::Request { tx, request, .. } => Some((tx, request)),
            _ => None,
        });
        assert_eq!(*request.method(), Method::Options);
        let respond = |ua: &mut Dialogs, now| {
            let ok = ua.capabilities(request.reply(StatusCode::OK)).build().unwrap();
            ua.respond(now, tx, ok)
        };
        self.with(ua, respond).unwrap();
        self.step();
    }

    /// Sends a REGISTER to the domain of a user. `None` asks for what is registered.
    pub(crate) fn send_register(
        &mut self,
        ua: Ua,
        contact: Option<&str>,
        expires: Option<u32>,
    ) -> RequestKey {
        let registrar: Uri = format!("sip:{}", ua.domain.unwrap()).parse().unwrap();
        let identity = ua.identity();
        self.with(ua, |dialogs, now| {
            use sip_message::headers::{CSeq, CallId, Expires, From, To};
            let (tag, call_id) = (dialogs.token(), dialogs.token());
            let mut builder = Request::builder(Method::Register, &registrar)
                .headers(&ua.route())
                .header(&From(identity.clone()).with_tag(&tag))
                .header(&To(identity))
                .header(&CallId::new(&call_id))
                .header(&CSeq::new(1, Method::Register));
            if let Some(contact) = contact {
                builder = builder.raw("Contact", contact);
            }
            if let Some(expires) = expires {
                builder = builder.header(&Expires(expires));
            }
            let hop = ua.route().first().map_or(registrar.clone(), |route| route.uri().clone());
            dialogs.request(now, builder.build().unwrap(), hop).unwrap()
        })
    }

    /// Registers the address of a user agent.
    pub(crate) fn register(&mut self, ua: Ua) {
        let response = self.registers(ua, Some(&format!("<{}>", ua.uri())), Some(3600));
        assert_eq!(response.status(), StatusCode::OK);
    }

    pub(crate) fn registers(&mut self, ua: Ua, contact: Option<&str>, expires: Option<u32>) -> Response {
        let sent = self.send_register(ua, contact, expires);
        self.step();
        self.event(ua, |event| match event {
            Event::Response { key, result, .. } if key == sent => Some(result.unwrap()),
            _ => None,
        })
    }

    // ---- what came of it -------------------------------------------------------------------------------------

    /// What happened so far is in no figure.
    pub(crate) fn forget(&mut self) {
        self.mark = self.sim.trace().entries.len();
    }

    /// What was sent since the last figure is what this one shows.
    pub(crate) fn shows(&mut self, figure: &str) {
        figure::compare(self.sim.trace(), self.mark, figure);
        self.forget();
    }

    /// Messages so far that met a cut link.
    pub(crate) fn cut_off(&self) -> usize {
        let cut = |what: &What| matches!(what, What::Sent { fate: Fate::Cut, .. });
        self.sim.trace().entries.iter().filter(|entry| cut(&entry.what)).count()
    }

    /// What is left when all timers are done: nothing, and nobody broke a rule on the wire.
    pub(crate) fn ends(mut self) {
        assert!(self.sim.run_until_idle(Duration::from_secs(2 * 3600)), "it never comes to rest");
        for ua in self.uas.clone() {
            while self.sim.node(ua.node).poll_event().is_some() {}
            assert!(self.sim.node(ua.node).is_idle(), "{} keeps something", ua.name);
        }
        for server in &self.servers {
            let server = self.sim.node(*server);
            assert_eq!((server.live_contexts(), server.transactions().live_server()), (0, 0));
        }
        Invariants::new().assert(self.sim.trace());
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Proxy {
    pub(crate) node: NodeId<ServerCore>,
    host: u8,
}

impl Proxy {
    pub(crate) fn ip(self) -> std::net::IpAddr {
        format!("192.0.2.{}", self.host).parse().unwrap()
    }
}
