//! The flows of a phone: a registration over each of its outbound proxies (RFC 5626 §4.2), or the one that it has without them.

use std::time::Instant;

use sip_dialog::{Dialogs, RequestKey};
use sip_message::headers::{Contact, Route, Via};
use sip_message::{RequestBuilder, Response, StatusCode, Uri};
use sip_transport::outbound::{Failure, KeepAlive, News, Step};
use sip_transport::{FlowEvent, Path};

use super::registration::{Outcome, Registration};
use super::{PhoneConfig, PhoneCore, PhoneError, PhoneEvent, RegistrationState};

/// As many as a user agent should support (RFC 5626 §4.2.1); each costs proxies and registrar a connection and a binding.
pub(super) const MAX_FLOWS: usize = 4;

/// One way to the phone, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneFlow {
    /// Its number, the same each time (RFC 5626 §4.2.1).
    pub reg_id: u32,
    /// Where its REGISTER goes first.
    pub hop: Uri,
    /// Where its registration stands.
    pub state: RegistrationState,
    /// Whether calls can take it.
    pub works: bool,
}

/// All registrations of a phone; there is always one.
#[derive(Debug)]
pub(super) struct Flows {
    first: Registration,
    others: Vec<Registration>,
}

impl Flows {
    pub(super) fn new(config: &PhoneConfig, dialogs: &mut Dialogs) -> Self {
        let registrar = config.registrar.clone().unwrap_or_else(|| domain_of(config.identity.uri()));
        // Without an instance the registrar could not tell them apart.
        let several = if config.instance.is_some() { MAX_FLOWS } else { 1 };
        let mut routes = config.outbound_proxies.iter().take(several).map(|proxy| {
            let mut proxy = proxy.clone();
            proxy.set_param("lr", None);
            vec![Route::new(&proxy)]
        });
        let mut make = |reg_id: u32, route: Vec<Route>| {
            let (identity, instance) = (config.identity.clone(), config.instance.clone());
            // Each with a Call-ID of its own (§4.2.1).
            let (call_id, tag) = (dialogs.token(), dialogs.token());
            Registration::new(
                registrar.clone(),
                identity,
                route,
                config.expires,
                instance,
                reg_id,
                call_id,
                tag,
            )
        };
        let first = make(1, routes.next().unwrap_or_else(|| config.route.clone()));
        let others: Vec<Registration> =
            (2..).zip(routes).map(|(reg_id, route)| make(reg_id, route)).collect();
        let mut flows = Self { first, others };
        if !flows.others.is_empty() {
            flows.iter_mut().for_each(|flow| flow.alone = false);
        }
        flows
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Registration> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Registration> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    fn get_mut(&mut self, at: usize) -> Option<&mut Registration> {
        self.iter_mut().nth(at)
    }

    fn len(&self) -> usize {
        self.others.len().saturating_add(1)
    }

    /// Whom we register with.
    pub(super) fn registrar(&self) -> &Uri {
        self.first.registrar()
    }

    /// The flow that calls take: the first that works.
    pub(super) fn best(&self) -> &Registration {
        self.iter().find(|flow| flow.works).unwrap_or(&self.first)
    }

    /// Where the phone as a whole stands: as its best flow does.
    pub(super) fn state(&self) -> RegistrationState {
        use RegistrationState::{Failed, Idle, Registered, Registering, Unregistering};
        let order = [Registered, Registering, Unregistering, Failed];
        order.into_iter().find(|state| self.iter().any(|flow| flow.state == *state)).unwrap_or(Idle)
    }

    fn gruu(&self) -> Option<Uri> {
        self.iter().find_map(|flow| flow.gruu.clone())
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let keep_alive = |flow: &Registration| flow.keep_alive.as_ref().and_then(KeepAlive::poll_timeout);
        self.iter().flat_map(|flow| [flow.next, keep_alive(flow)]).flatten().min()
    }

    /// Every proxy has said that it cannot hold a flow.
    fn none_can_be(&self) -> bool {
        !self.others.is_empty() && !self.first.is_plain() && self.iter().all(Registration::lacks_outbound)
    }

    /// Another flow than this one works: what is lost can be waited for longer (§4.5).
    fn another_works(&self, at: usize) -> bool {
        self.iter().enumerate().any(|(other, flow)| other != at && flow.works)
    }
}

/// Whether a request of ours came from another address than the one we put into Via; nothing if that is told by a name, or not told
/// (RFC 6135 §4.2.2).
fn crossed_nat(response: &Response) -> Option<bool> {
    let via = response.headers.get::<Via>().ok().flatten()?;
    let ours = sip_transport::locals::parse_ip(via.host())?;
    Some(sip_transport::locals::parse_ip(via.received()?)? != ours)
}

impl PhoneCore {
    /// Where the registration stands.
    pub fn registration(&self) -> RegistrationState {
        self.flows.state()
    }

    /// The ways to the phone: one for each outbound proxy (RFC 5626 §4.2).
    pub fn flows(&self) -> Vec<PhoneFlow> {
        let told = |flow: &Registration| PhoneFlow {
            reg_id: flow.reg_id,
            hop: flow.hop(),
            state: flow.state,
            works: flow.works,
        };
        self.flows.iter().map(told).collect()
    }

    fn flow_contact(&self, at: usize) -> Result<Contact, PhoneError> {
        let user = self.config.identity.uri().user();
        let flow = self.flows.iter().nth(at).unwrap_or(self.flows.best());
        let contact = self.dialogs.contact_as(user, &flow.hop(), flow.is_sips())?;
        Ok(self.config.features.iter().fold(contact, |contact, (name, values)| {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            contact.with_feature(name, &values)
        }))
    }

    /// Registers over every flow, and keeps the registrations until [`PhoneCore::unregister`].
    ///
    /// # Errors
    /// If no REGISTER can be sent.
    pub fn register(&mut self, now: Instant) -> Result<(), PhoneError> {
        let mut outcome = Ok(());
        for at in 0..self.flows.len() {
            let busy = |flow: &Registration| {
                matches!(flow.state, RegistrationState::Registering | RegistrationState::Unregistering)
            };
            if self.flows.iter().nth(at).is_some_and(busy) {
                continue;
            }
            let sent = self.register_flow(now, at);
            // One that is out is enough.
            outcome = if at > 0 && outcome.is_ok() { Ok(()) } else { sent };
        }
        outcome
    }

    fn register_flow(&mut self, now: Instant, at: usize) -> Result<(), PhoneError> {
        let contact = self.flow_contact(at)?;
        let Some(flow) = self.flows.get_mut(at) else { return Ok(()) };
        let builder = flow.register(&contact).map_err(sip_dialog::Error::from)?;
        self.send_register(now, at, builder)
    }

    /// Removes our bindings at the registrar. [`PhoneEvent::Unregistered`] follows, at once if there is none.
    ///
    /// # Errors
    /// If a REGISTER cannot be sent.
    pub fn unregister(&mut self, now: Instant) -> Result<(), PhoneError> {
        let mut sent = false;
        for at in 0..self.flows.len() {
            let contact = self.flow_contact(at)?;
            if let Some(builder) = self.flows.get_mut(at).and_then(|flow| flow.unregister(&contact)) {
                sent = true;
                self.send_register(now, at, builder.map_err(sip_dialog::Error::from)?)?;
            }
        }
        if !sent {
            self.events.push_back(PhoneEvent::Unregistered);
        }
        Ok(())
    }

    fn send_register(&mut self, now: Instant, at: usize, builder: RequestBuilder) -> Result<(), PhoneError> {
        let request = builder.build().map_err(sip_dialog::Error::from)?;
        let Some(hop) = self.flows.iter().nth(at).map(Registration::hop) else { return Ok(()) };
        // The key is known before its response can be: remember it before events are looked at.
        let key = self.dialogs.request(now, request, hop)?;
        if let Some(flow) = self.flows.get_mut(at) {
            flow.request = Some(key);
        }
        Ok(())
    }

    /// The final response to a request outside of calls: to a REGISTER of ours, or to one that the owner made.
    pub(super) fn response_came(
        &mut self,
        now: Instant,
        key: RequestKey,
        result: Result<Response, sip_transaction::Failure>,
        path: Option<Path>,
    ) {
        let result = result.map_err(|failure| failure.status());
        let at = self.flows.iter().position(|flow| flow.request == Some(key));
        match at {
            Some(at) => {
                self.register_answered(now, at, result.as_ref().map_err(|status| *status), path.as_ref())
            }
            None => {
                if let Some(result) = self.message_answered(now, key, result) {
                    self.events.push_back(PhoneEvent::Response { request: key, result });
                }
            }
        }
    }

    fn register_answered(
        &mut self,
        now: Instant,
        at: usize,
        result: Result<&Response, StatusCode>,
        path: Option<&Path>,
    ) {
        let Ok(contact) = self.flow_contact(at) else { return };
        let chance = self.dialogs.chance();
        let another_works = self.flows.another_works(at);
        let Some(flow) = self.flows.get_mut(at) else { return };
        flow.another_works = another_works;
        if let Some(crossed) = result.ok().and_then(crossed_nat) {
            self.behind_nat = crossed;
        }
        match flow.answered(now, result, path, &contact, chance) {
            Outcome::Registered(lifetime) => {
                self.dialogs.use_gruu(self.flows.gruu());
                self.events.push_back(PhoneEvent::Registered(lifetime));
            }
            Outcome::Unregistered => {
                self.dialogs.use_gruu(self.flows.gruu());
                if self.flows.state() == RegistrationState::Idle {
                    self.events.push_back(PhoneEvent::Unregistered);
                }
            }
            Outcome::Failed(StatusCode::FIRST_HOP_LACKS_OUTBOUND_SUPPORT) if self.flows.none_can_be() => {
                self.register_without_outbound(now);
            }
            // While another flow works or may come to work, nothing is lost.
            Outcome::Failed(_) if self.flows.state() != RegistrationState::Failed => {}
            Outcome::Failed(status) => self.events.push_back(PhoneEvent::RegistrationFailed(status)),
            Outcome::Again => self.register_again(now, at),
        }
    }

    /// None of several proxies can hold a flow: one ordinary registration is left (RFC 5626 §4.2.1), by way of the first. More of
    /// them would have calls ring here as often as there are proxies.
    fn register_without_outbound(&mut self, now: Instant) {
        self.flows.first.without_outbound();
        self.flows.others.iter_mut().for_each(Registration::rest);
        self.register_again(now, 0);
    }

    fn register_again(&mut self, now: Instant, at: usize) {
        if let Err(error) = self.register_flow(now, at) {
            tracing::warn!(%error, "a REGISTER could not be sent again");
        }
    }

    /// The phone is at another address: every flow is made anew from there.
    pub(super) fn relocate_flows(&mut self, now: Instant) {
        for at in 0..self.flows.len() {
            let Some(flow) = self.flows.get_mut(at) else { continue };
            let dead = flow.relocate();
            let wanted = flow.is_wanted();
            self.dead.extend(dead);
            if wanted {
                self.register_again(now, at);
            }
        }
    }

    /// Hears whether flows that are kept alive go on.
    pub(super) fn registered_flow_event(&mut self, now: Instant, event: &FlowEvent) {
        for at in 0..self.flows.len() {
            let Self { flows, dialogs, .. } = self;
            let Some(keep_alive) = flows.get_mut(at).and_then(|flow| flow.keep_alive.as_mut()) else {
                continue;
            };
            if let News::Failed(failure) = keep_alive.flow_event(now, event, dialogs.chance()) {
                self.flow_failed(now, at, failure);
            }
        }
    }

    /// Pings over the registered flows, finds dead ones (RFC 5626 §4.4), and registers anew what is due.
    pub(super) fn flows_due(&mut self, now: Instant) {
        for at in 0..self.flows.len() {
            let Self { flows, dialogs, .. } = self;
            let Some(flow) = flows.get_mut(at) else { continue };
            match flow.keep_alive.as_mut().and_then(|keep| keep.handle_timeout(now, || dialogs.chance())) {
                Some(Step::Send(ping)) => self.pings.push_back(ping),
                Some(Step::Failed(failure)) => self.flow_failed(now, at, failure),
                None => {}
            }
            self.registration_due(now, at);
        }
    }

    fn flow_failed(&mut self, now: Instant, at: usize, failure: Failure) {
        tracing::info!(%failure, flow = at, "a flow to the registrar is dead");
        let chance = self.dialogs.chance();
        let another_works = self.flows.another_works(at);
        let Some(flow) = self.flows.get_mut(at) else { return };
        flow.another_works = another_works;
        self.dead.extend(flow.flow_failed(now, chance));
        self.registration_due(now, at);
    }

    fn registration_due(&mut self, now: Instant, at: usize) {
        let Some(flow) = self.flows.get_mut(at) else { return };
        if flow.next.is_some_and(|at| at <= now) {
            flow.next = None;
            self.register_again(now, at);
        }
    }
}

/// `sip:host:port` of an address.
fn domain_of(uri: &Uri) -> Uri {
    let text = format!("{}:{}", uri.scheme(), uri.host_port());
    text.parse().unwrap_or_else(|_| uri.clone())
}
