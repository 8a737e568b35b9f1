//! Keeping a binding at a registrar (RFC 3261 §10.2), and the flow to it (RFC 5626 §4).

use std::time::{Duration, Instant};

use sip_dialog::RequestKey;
use sip_message::headers::{
    CSeq, CallId, Contact, Expires, FlowTimer, From, InstanceId, MinExpires, NameAddr, Require, RetryAfter,
    Route, ServiceRoute, Supported, To, Via,
};
use sip_message::{BuildError, Method, Request, RequestBuilder, Response, StatusCode, Uri};
use sip_transport::outbound::{Every, KeepAlive, Recovery};
use sip_transport::{FlowId, Path};

/// Where a registration stands.
///
/// ```text
///   Idle --register--> Registering --2xx--> Registered --refresh--> Registering
///                          |  \--423: once more, longer                 ^
///                          |failure                                     |
///                          v                                            |
///                       Failed ------------- after a while -------------+
///   Registered --the flow is dead--> Registering, or Failed if it never worked
///   any --unregister--> Unregistering --final--> Idle
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegistrationState {
    /// Not registered, and not trying.
    Idle,
    /// A REGISTER is out.
    Registering,
    /// Bound until the registrar forgets us.
    Registered,
    /// Refused or unreachable; another try follows.
    Failed,
    /// The REGISTER that removes the binding is out.
    Unregistering,
}

/// One account at one registrar. It decides; the core sends.
#[derive(Debug)]
pub(super) struct Registration {
    registrar: Uri,
    address: NameAddr,
    route: Vec<Route>,
    call_id: String,
    tag: String,
    cseq: u32,
    /// What we ask for, raised by a 423.
    expires: u32,
    pub(super) state: RegistrationState,
    pub(super) request: Option<RequestKey>,
    /// When to refresh, or to try again.
    pub(super) next: Option<Instant>,
    /// Tries in a row that brought no working flow (RFC 5626 §4.5).
    failures: u32,
    recovery: Recovery,
    /// Another flow of the phone works, as was told last.
    pub(super) another_works: bool,
    /// There is no other flow.
    pub(super) alone: bool,
    /// Calls can go this way: it was registered, and nothing has shown since that it is dead.
    pub(super) works: bool,
    /// The number of the flow (RFC 5626 §4.2.1).
    pub(super) reg_id: u32,
    /// Who we are, if we offer outbound (RFC 5626 §4.2).
    instance: Option<InstanceId>,
    /// A proxy before us cannot hold a flow (RFC 5626 §11.6), as far as the network is the one that we are in.
    lacks_outbound: bool,
    /// The registration is an ordinary one for that.
    plain: bool,
    /// The routes that the registrar wants our requests to take (RFC 3608 §5.1).
    pub(super) service_route: Vec<Route>,
    /// A URI that leads to this phone alone, from wherever (RFC 5627 §4.2).
    pub(super) gruu: Option<Uri>,
    /// Keeps the flow of the registration alive, if the other side has agreed to that.
    pub(super) keep_alive: Option<KeepAlive>,
    /// Whether a binding may stand at the registrar, so that it must be removed at the end.
    bound: bool,
    /// The Contact that was registered last, and those at addresses that we have left.
    contact: Option<Contact>,
    left: Vec<Contact>,
}

/// Addresses left behind that are still taken back: more moves than that between two answers of a registrar are none worth the
/// octets, the bindings expire.
const MAX_LEFT: usize = 4;

/// What an answer to REGISTER means.
pub(super) enum Outcome {
    /// Bound for this long.
    Registered(Duration),
    /// Unbound.
    Unregistered,
    /// Ask again at once, for longer.
    Again,
    /// Refused, or no answer; the next try is planned.
    Failed(StatusCode),
}

impl Registration {
    #[allow(clippy::too_many_arguments)] // told once, all of one kind: what a REGISTER is made of
    pub(super) fn new(
        registrar: Uri,
        address: NameAddr,
        route: Vec<Route>,
        expires: u32,
        instance: Option<InstanceId>,
        reg_id: u32,
        call_id: String,
        tag: String,
    ) -> Self {
        Self {
            registrar,
            address,
            route,
            call_id,
            tag,
            cseq: 0,
            expires,
            state: RegistrationState::Idle,
            request: None,
            next: None,
            failures: 0,
            recovery: Recovery::default(),
            another_works: false,
            alone: true,
            works: false,
            reg_id,
            instance,
            lacks_outbound: false,
            plain: false,
            service_route: Vec::new(),
            gruu: None,
            keep_alive: None,
            bound: false,
            contact: None,
            left: Vec::new(),
        }
    }

    /// Whom we register with.
    pub(super) fn registrar(&self) -> &Uri {
        &self.registrar
    }

    /// The proxies between.
    pub(super) fn route(&self) -> &[Route] {
        &self.route
    }

    /// Where REGISTER goes first.
    pub(super) fn hop(&self) -> Uri {
        self.route.first().map_or(&self.registrar, |route| route.uri()).clone()
    }

    /// Whether the Request-URI is `sips`, and the Contact has to be (RFC 5630 §5.2).
    pub(super) fn is_sips(&self) -> bool {
        self.registrar.is_sips()
    }

    /// The next REGISTER; `expires` 0 removes the binding.
    fn build(&mut self, contact: &Contact, expires: u32) -> Result<RequestBuilder, BuildError> {
        self.cseq = self.cseq.saturating_add(1);
        self.next = None;
        let returned = |left: &Contact| left.uri().zip(contact.uri()).is_some_and(|(l, c)| l.equivalent(c));
        self.left.retain(|left| !returned(left));
        let left: Vec<Contact> =
            self.left.iter().map(|left| left.clone().with_param("expires", Some("0"))).collect();
        self.contact = Some(contact.clone());
        let (mut contact, mut extensions) = (contact.clone(), Vec::new());
        if let Some(instance) = self.instance.as_ref().filter(|_| !self.plain) {
            contact = contact.with_instance(instance).with_reg_id(self.reg_id);
            extensions.extend(["path", "outbound", "gruu"].map(Supported::new));
        }
        Ok(Request::builder(Method::Register, &self.registrar)
            .headers(&self.route)
            .header(&From(self.address.clone()).with_tag(&self.tag))
            .header(&To(self.address.clone()))
            .header(&CallId::new(&self.call_id))
            .header(&CSeq::new(self.cseq, Method::Register))
            .header(&contact)
            .headers(&left)
            .headers(&extensions)
            .header(&Expires(expires)))
    }

    pub(super) fn register(&mut self, contact: &Contact) -> Result<RequestBuilder, BuildError> {
        self.state = RegistrationState::Registering;
        self.bound = true;
        self.build(contact, self.expires)
    }

    /// The REGISTER that removes our binding, unless there is none.
    pub(super) fn unregister(&mut self, contact: &Contact) -> Option<Result<RequestBuilder, BuildError>> {
        if !std::mem::take(&mut self.bound) {
            self.state = RegistrationState::Idle;
            (self.next, self.request) = (None, None);
            return None;
        }
        self.state = RegistrationState::Unregistering;
        Some(self.build(contact, 0))
    }

    /// Whether the owner wants to be registered.
    pub(super) fn is_wanted(&self) -> bool {
        !matches!(self.state, RegistrationState::Idle | RegistrationState::Unregistering)
    }

    /// We are at another address: gives the connection that is of no use any more. The next REGISTER takes the old binding back
    /// (RFC 3261 §10.2.2), unless the registrar knows us by our instance and replaces it (RFC 5626 §6).
    pub(super) fn relocate(&mut self) -> Option<FlowId> {
        if let Some(old) = self.contact.take()
            && self.bound
            && (self.instance.is_none() || self.plain)
        {
            self.left.push(old);
            let surplus = self.left.len().saturating_sub(MAX_LEFT);
            self.left.drain(..surplus);
        }
        (self.failures, self.works) = (0, false);
        // Other proxies may be before us there.
        (self.lacks_outbound, self.plain) = (false, false);
        let path = *self.keep_alive.take()?.path();
        path.flow.filter(|_| path.transport.is_reliable())
    }

    /// Challenges raise the CSeq below us: the next REGISTER must be higher still (§10.2.4).
    fn note_cseq(&mut self, response: &Response) {
        if let Ok(Some(cseq)) = response.headers.get::<CSeq>() {
            self.cseq = self.cseq.max(cseq.number);
        }
    }

    /// Takes the final response; `chance` is a random number for jitter.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        result: Result<&Response, StatusCode>,
        path: Option<&Path>,
        contact: &Contact,
        chance: u64,
    ) -> Outcome {
        self.request = None;
        if let Ok(response) = result {
            self.note_cseq(response);
        }
        if self.state == RegistrationState::Unregistering {
            self.state = RegistrationState::Idle;
            self.works = false;
            self.keep_alive = None;
            self.service_route.clear();
            self.gruu = None;
            return Outcome::Unregistered;
        }
        let status = match result {
            Ok(response) if response.status().is_success() => {
                let granted = granted(response, contact).unwrap_or(self.expires);
                self.state = RegistrationState::Registered;
                self.works = true;
                self.lacks_outbound = false;
                self.left.clear();
                self.service_route = response
                    .headers
                    .all::<ServiceRoute>()
                    .flatten()
                    .map(|ServiceRoute(route)| Route(route))
                    .collect();
                let own =
                    self.instance.as_ref().and_then(|instance| own_contact(response, contact, instance));
                self.gruu = own.and_then(|own| match own {
                    Contact::Address(address) => address.pub_gruu(),
                    _ => None,
                });
                let every = keep_alive_wanted(response);
                self.keep(now, every, path, chance);
                let lifetime = Duration::from_secs(u64::from(granted));
                self.next = Some(now + refresh_after(lifetime, chance));
                return Outcome::Registered(lifetime);
            }
            Ok(response) if response.status() == StatusCode::INTERVAL_TOO_BRIEF => {
                let least = response.headers.get::<MinExpires>().ok().flatten().map_or(0, |min| min.0);
                if least > self.expires {
                    self.expires = least; // §10.2.8
                    return Outcome::Again;
                }
                response.status()
            }
            // RFC 5626 §4.2.1: the proxy before us cannot hold a flow; it may well carry an ordinary registration, which is of use
            // only if no flow over another one serves.
            Ok(response)
                if response.status() == StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT
                    && self.instance.is_some()
                    && !self.plain =>
            {
                self.lacks_outbound = true;
                if self.alone {
                    self.plain = true;
                    return Outcome::Again;
                }
                response.status()
            }
            Ok(response) => response.status(),
            Err(status) => status,
        };
        let asked = result.ok().and_then(|response| response.headers.get::<RetryAfter>().ok().flatten());
        self.wait(now, asked.map(|asked| Duration::from_secs(u64::from(asked.seconds))), chance);
        Outcome::Failed(status)
    }

    /// The proxy of this flow has said that it cannot hold one.
    pub(super) fn lacks_outbound(&self) -> bool {
        self.lacks_outbound
    }

    /// The registration is an ordinary one, although we have an instance.
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    /// No proxy can hold a flow: this registration is to be an ordinary one until the network is another.
    pub(super) fn without_outbound(&mut self) {
        self.plain = true;
    }

    /// Another registration serves for all; this one waits for another network.
    pub(super) fn rest(&mut self) {
        self.next = None;
    }

    /// The next try comes after a while: what RFC 5626 §4.5 says, or the registrar wants, whichever is longer; 0 seconds from the
    /// registrar mean at once, the first time (§4.2.1).
    fn wait(&mut self, now: Instant, asked: Option<Duration>, chance: u64) {
        self.state = RegistrationState::Failed;
        // A refresh that was refused leaves the flow as it is, as long as it answers (§4.2.2).
        self.works &= self.keep_alive.is_some();
        self.failures = self.failures.saturating_add(1);
        let wait = self.recovery.wait(self.failures, self.another_works, chance);
        self.next = Some(
            now + match asked {
                Some(asked) if asked.is_zero() && self.failures == 1 => asked,
                asked => wait.max(asked.unwrap_or_default()),
            },
        );
    }

    /// Begins, goes on or stops keeping the flow alive, as a 2xx says.
    fn keep(&mut self, now: Instant, every: Option<Every>, path: Option<&Path>, chance: u64) {
        let Some((every, path)) = every.zip(path) else {
            self.keep_alive = None;
            self.failures = 0;
            return;
        };
        match &mut self.keep_alive {
            Some(keep_alive) if keep_alive.path() == path => keep_alive.set_every(every),
            // It has to answer a ping before it counts as working (§4.5).
            old => *old = Some(KeepAlive::new(now, *path, every, chance)),
        }
    }

    /// The flow is dead: gives the connection to close. A new one is tried at once if this one has worked (§4.5).
    pub(super) fn flow_failed(&mut self, now: Instant, chance: u64) -> Option<FlowId> {
        let keep_alive = self.keep_alive.take()?;
        let path = *keep_alive.path();
        self.works = false;
        if self.state == RegistrationState::Registered {
            if keep_alive.answers() > 0 {
                self.failures = 0;
                self.next = Some(now);
            } else {
                self.wait(now, None, chance);
            }
        }
        path.flow.filter(|_| path.transport.is_reliable())
    }
}

/// The time granted to our Contact: its own parameter, or the Expires of the response (§10.2.4).
fn granted(response: &Response, ours: &Contact) -> Option<u32> {
    let uri = ours.uri()?;
    let own = response
        .headers
        .all::<Contact>()
        .flatten()
        .find(|contact| contact.uri().is_some_and(|listed| listed.equivalent(uri)));
    own.and_then(|contact| contact.expires())
        .or_else(|| response.headers.get::<Expires>().ok().flatten().map(|expires| expires.0))
}

/// The binding in a 2xx that is this phone's, by its instance (RFC 5627 §4.2): its address may have been rewritten on the way.
fn own_contact(response: &Response, ours: &Contact, instance: &InstanceId) -> Option<Contact> {
    let mut listed = response.headers.all::<Contact>().flatten();
    let same = |contact: &Contact| {
        contact.instance().as_ref() == Some(instance)
            || ours.uri().zip(contact.uri()).is_some_and(|(ours, listed)| ours.equivalent(listed))
    };
    listed.find(|contact| same(contact))
}

/// How often the flow of a 2xx is to be kept alive: if the registrar has registered the flow (RFC 5626 §4.4), or the next hop
/// has agreed to it in our Via (RFC 6223 §4.3). `None`: nobody has said that it would answer.
fn keep_alive_wanted(response: &Response) -> Option<Every> {
    let at_most = |seconds: u32| match seconds {
        0 => Every::Recommended,
        seconds => Every::AtMost(Duration::from_secs(u64::from(seconds))),
    };
    let outbound =
        response.headers.all::<Require>().flatten().any(|Require(tag)| tag.eq_ignore_ascii_case("outbound"));
    if outbound {
        let timer = response.headers.get::<FlowTimer>().ok().flatten();
        return Some(timer.map_or(Every::Recommended, |FlowTimer(seconds)| at_most(seconds)));
    }
    let via = response.headers.get::<Via>().ok().flatten()?;
    via.keep().flatten().map(at_most)
}

/// When to refresh: well before the end, at a moment of chance, so that phones restarted together do not stay
/// in step. Between 80 and 90 % of the lifetime.
fn refresh_after(lifetime: Duration, chance: u64) -> Duration {
    lifetime.mul_f64(0.8 + (chance % 1000) as f64 / 10_000.0).max(Duration::from_millis(500))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Limits;

    fn registration() -> (Registration, Contact) {
        let uri: Uri = "sip:example.com".parse().unwrap();
        let address = "<sip:alice@example.com>".parse().unwrap();
        let registration = Registration::new(uri, address, Vec::new(), 60, None, 1, "c".into(), "t".into());
        (registration, Contact::new(&"sip:alice@192.0.2.1:5070".parse().unwrap()))
    }

    fn response(start: &str, fields: &str) -> Response {
        let text = format!(
            "SIP/2.0 {start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=t\r\nTo: <sip:a@b>;tag=s\r\n\
             Call-ID: c\r\nCSeq: 4 REGISTER\r\n{fields}\r\n"
        );
        Response::parse(text.into(), &Limits::default()).unwrap()
    }

    /// RFC 3261 §10.2.4: the time granted to our own Contact counts, whoever else is listed.
    #[test]
    fn refreshes_before_the_granted_time_is_over() {
        let now = Instant::now();
        let (mut registration, contact) = registration();
        registration.register(&contact).unwrap().build().unwrap();
        let ok = response(
            "200 OK",
            "Contact: <sip:alice@192.0.2.9>;expires=9999, <sip:alice@192.0.2.1:5070>;expires=40\r\n",
        );
        let Outcome::Registered(lifetime) = registration.answered(now, Ok(&ok), None, &contact, 999) else {
            panic!()
        };
        assert_eq!(lifetime, Duration::from_secs(40));
        let next = registration.next.unwrap() - now;
        assert!(next >= Duration::from_secs(32) && next < Duration::from_secs(36), "{next:?}");
        let again = registration.register(&contact).unwrap().build().unwrap();
        assert_eq!(again.headers.text("CSeq"), Some("5 REGISTER"));
        assert_eq!(again.headers.text("Call-ID"), Some("c"));
    }

    /// RFC 3261 §10.2.8: 423 names the least time; it is asked for at once, but not for ever.
    #[test]
    fn interval_too_brief() {
        let now = Instant::now();
        let (mut registration, contact) = registration();
        registration.register(&contact).unwrap().build().unwrap();
        let brief = response("423 Interval Too Brief", "Min-Expires: 600\r\n");
        assert!(matches!(registration.answered(now, Ok(&brief), None, &contact, 0), Outcome::Again));
        let longer = registration.register(&contact).unwrap().build().unwrap();
        assert_eq!(longer.headers.text("Expires"), Some("600"));
        assert!(matches!(registration.answered(now, Ok(&brief), None, &contact, 0), Outcome::Failed(_)));
    }

    #[test]
    fn failures_are_tried_again_ever_later() {
        let now = Instant::now();
        let (mut registration, contact) = registration();
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            registration.register(&contact).unwrap().build().unwrap();
            let failed = registration.answered(now, Err(StatusCode::REQUEST_TIMEOUT), None, &contact, 0);
            assert!(matches!(failed, Outcome::Failed(StatusCode::REQUEST_TIMEOUT)));
            let wait = registration.next.unwrap() - now;
            assert!(wait > last && wait <= Recovery::default().max);
            last = wait;
        }
        assert!(registration.unregister(&contact).is_some());
        assert!(registration.unregister(&contact).is_none());
    }

    fn outbound() -> (Registration, Contact) {
        let (registration, contact) = registration();
        (Registration { instance: Some(InstanceId::uuid([7; 16])), ..registration }, contact)
    }

    fn path() -> Path {
        let remote = "192.0.2.9:5060".parse().unwrap();
        Path { flow: Some(FlowId(3)), ..Path::to(sip_transport::Transport::Tcp, remote) }
    }

    /// RFC 5626 §4.2.1: instance and reg-id, the same each time; `path` and `outbound` supported.
    #[test]
    fn a_flow_is_offered_by_the_same_names_each_time() {
        let (mut registration, contact) = outbound();
        for _ in 0..2 {
            let register = registration.register(&contact).unwrap().build().unwrap();
            let written: Contact = register.headers.require().unwrap();
            assert_eq!((written.instance(), written.reg_id()), (Some(InstanceId::uuid([7; 16])), Some(1)));
            let supported: Vec<_> = register.headers.all::<Supported>().flatten().map(|tag| tag.0).collect();
            assert_eq!(supported, ["path", "outbound", "gruu"]);
        }
    }

    /// RFC 3608 §5.1, RFC 5627 §4.2: the routes of the 2xx, in order, and the GRUU of our own instance among others'.
    #[test]
    fn what_a_registrar_gives_besides_the_binding() {
        let now = Instant::now();
        let (mut registration, contact) = outbound();
        registration.register(&contact).unwrap().build().unwrap();
        let gruu = |id: u8, user: &str| {
            let instance = InstanceId::uuid([id; 16]);
            let instance = instance.as_str();
            format!(
                "Contact: <sip:alice@203.0.113.9:4711>;+sip.instance=\"<{instance}>\";expires=600;\
                 pub-gruu=\"sip:{user}@example.com;gr={instance}\"\r\n"
            )
        };
        let fields = format!(
            "Service-Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\n{}{}",
            gruu(9, "somebody"),
            gruu(7, "alice")
        );
        let ok = response("200 OK", &fields);
        assert!(matches!(registration.answered(now, Ok(&ok), None, &contact, 0), Outcome::Registered(_)));
        let routes: Vec<_> = registration.service_route.iter().map(|route| route.uri().host()).collect();
        assert_eq!(routes, ["p1.example.com", "p2.example.com"]);
        assert_eq!(registration.gruu.as_ref().and_then(|gruu| gruu.user()), Some("alice"));
        registration.unregister(&contact).unwrap().unwrap().build().unwrap();
        registration.answered(now, Ok(&response("200 OK", "")), None, &contact, 0);
        assert!(registration.service_route.is_empty() && registration.gruu.is_none());
    }

    /// RFC 5626 §4.4, RFC 6223 §4.3: keep-alives only where somebody said that they are answered.
    #[test]
    fn who_agreed_is_pinged_and_nobody_else() {
        let wanted = |fields: &str| keep_alive_wanted(&response("200 OK", fields));
        assert_eq!(wanted(""), None);
        assert_eq!(wanted("Supported: outbound\r\nFlow-Timer: 20\r\n"), None);
        assert_eq!(wanted("Require: outbound\r\n"), Some(Every::Recommended));
        let at_most = |seconds| Some(Every::AtMost(Duration::from_secs(seconds)));
        assert_eq!(wanted("Require: outbound\r\nFlow-Timer: 20\r\n"), at_most(20));
        let by_via = |keep: &str| {
            let text = response("200 OK", "").to_string().replace(";branch", &format!(";{keep};branch"));
            keep_alive_wanted(&Response::parse(text.into(), &Limits::default()).unwrap())
        };
        assert_eq!(
            (by_via("keep"), by_via("keep=0"), by_via("keep=30")),
            (None, Some(Every::Recommended), at_most(30))
        );
    }

    /// RFC 5626 §4.2.1 and §11.6: 439 is answered by an ordinary registration, once.
    #[test]
    fn without_outbound_at_the_first_hop_the_registration_is_an_ordinary_one() {
        let now = Instant::now();
        let (mut registration, contact) = outbound();
        registration.register(&contact).unwrap().build().unwrap();
        let lacks = response("439 First Hop Lacks Outbound Support", "");
        assert!(matches!(registration.answered(now, Ok(&lacks), None, &contact, 0), Outcome::Again));
        let plain = registration.register(&contact).unwrap().build().unwrap();
        assert_eq!(plain.headers.require::<Contact>().unwrap().reg_id(), None);
        assert!(matches!(registration.answered(now, Ok(&lacks), None, &contact, 0), Outcome::Failed(_)));
    }

    /// RFC 5626 §4.2.1, §4.5: where there are other flows, one that its proxy cannot hold is none, and is tried again later than a
    /// phone does that has lost all: 90 seconds and more.
    #[test]
    fn one_flow_of_several_is_waited_for_longer() {
        let now = Instant::now();
        let (mut registration, contact) = outbound();
        (registration.alone, registration.another_works, registration.reg_id) = (false, true, 2);
        let register = registration.register(&contact).unwrap().build().unwrap();
        assert_eq!(register.headers.require::<Contact>().unwrap().reg_id(), Some(2));
        let lacks = response("439 First Hop Lacks Outbound Support", "");
        assert!(matches!(registration.answered(now, Ok(&lacks), None, &contact, 0), Outcome::Failed(_)));
        assert_eq!((registration.next.unwrap() - now).as_secs(), 90);
        let again = registration.register(&contact).unwrap().build().unwrap();
        assert_eq!(again.headers.require::<Contact>().unwrap().reg_id(), Some(2));
    }

    /// RFC 5626 §4.5: a flow that has answered a ping is replaced at once, one that never did after a while that grows.
    #[test]
    fn dead_flows_are_replaced() {
        let now = Instant::now();
        let (mut registration, contact) = outbound();
        let ok =
            response("200 OK", "Require: outbound\r\nContact: <sip:alice@192.0.2.1:5070>;expires=600\r\n");
        let mut waits = Vec::new();
        for works in [false, false, true, false] {
            registration.register(&contact).unwrap().build().unwrap();
            assert!(matches!(
                registration.answered(now, Ok(&ok), Some(&path()), &contact, 0),
                Outcome::Registered(_)
            ));
            let keep_alive = registration.keep_alive.as_mut().unwrap();
            if works {
                let later = keep_alive.poll_timeout().unwrap();
                keep_alive.handle_timeout(later, || 1).unwrap();
                let answer = sip_transport::KeepAliveAnswer::Pong;
                keep_alive.flow_event(
                    later,
                    &sip_transport::FlowEvent::KeptAlive { path: path(), answer },
                    0,
                );
            }
            assert_eq!(registration.flow_failed(now, 0), Some(FlowId(3)), "the dead connection is closed");
            waits.push((registration.next.unwrap() - now).as_secs());
        }
        assert_eq!(waits, [30, 60, 0, 30]);
    }

    /// RFC 5626 §4.2.1: a Retry-After is kept, however long, and 0 means at once.
    #[test]
    fn the_registrar_says_when_to_come_back() {
        let now = Instant::now();
        for (field, seconds) in [("Retry-After: 900\r\n", 900), ("Retry-After: 0\r\n", 0), ("", 30)] {
            let (mut registration, contact) = registration();
            registration.register(&contact).unwrap().build().unwrap();
            let busy = response("503 Service Unavailable", field);
            assert!(matches!(registration.answered(now, Ok(&busy), None, &contact, 0), Outcome::Failed(_)));
            assert_eq!((registration.next.unwrap() - now).as_secs(), seconds, "{field}");
        }
    }
}
