//! The phone without sockets, sound and clock: registration, calls and their sessions.

mod call;
mod registration;
mod requests;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use sdp::{LocalMedia, Negotiated, OfferAnswer, SessionDescription};
use sip_dialog::{Body, CallKey, Cause, Dialogs, Event as DialogEvent, Invite, RequestKey};
use sip_message::headers::{Contact, ContentType, InstanceId, NameAddr, Route};
use sip_message::{Request, Response, StatusCode, Uri};
use sip_transport::outbound::{Failure, KeepAlive, News, Step};
use sip_transport::{Answer, Close, Core, FlowEvent, FlowId, Path, Query, Received, Transmit};

use call::{Session, Wish};
pub use registration::RegistrationState;
use registration::{Outcome, Registration};

/// What a phone is told once.
#[derive(Clone, Debug)]
pub struct PhoneConfig {
    /// The dialog layer and what is below it.
    pub dialogs: sip_dialog::Config,
    /// Who we are: the From of what we send, and the address-of-record that we register.
    pub identity: NameAddr,
    /// User name and password for whoever challenges us; the user of [`identity`](Self::identity) if it is empty.
    pub credentials: Option<(String, String)>,
    /// Proxies that every request passes first.
    pub route: Vec<Route>,
    /// Where to register; the domain of [`identity`](Self::identity) if it is not set.
    pub registrar: Option<Uri>,
    /// Seconds that a registration is asked for.
    pub expires: u32,
    /// Who this phone is, whatever its address: it registers the flow itself then, and keeps it alive (RFC 5626). It has to be the
    /// same after each start. `None`: it registers its address alone.
    pub instance: Option<InstanceId>,
    /// Offers the next hop of a registration to keep the way to it alive, and does so if it agrees (RFC 6223).
    pub offer_keep_alive: bool,
}

impl PhoneConfig {
    /// An hour, as phones ask for.
    pub const EXPIRES: u32 = 3600;

    /// A phone for `identity` over this dialog layer.
    pub fn new(identity: NameAddr, dialogs: sip_dialog::Config) -> Self {
        Self {
            dialogs,
            identity,
            credentials: None,
            route: Vec::new(),
            registrar: None,
            expires: Self::EXPIRES,
            instance: None,
            offer_keep_alive: true,
        }
    }
}

/// What the owner of a phone must know.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // moved once, from the core to its owner
pub enum PhoneEvent {
    /// The registrar knows us for this long; the refresh is planned.
    Registered(Duration),
    /// The registrar refused, or did not answer; another try is planned.
    RegistrationFailed(StatusCode),
    /// The registrar has forgotten us.
    Unregistered,
    /// Somebody calls. Answer with `ring`, `answer` or `reject`.
    Incoming {
        /// The call.
        call: CallKey,
        /// The INVITE.
        request: Request,
        /// The way it came.
        path: Path,
    },
    /// The far end rings, or says what else goes on.
    Progress {
        /// The call.
        call: CallKey,
        /// The provisional response.
        response: Response,
        /// Media before the answer, if the response describes some (RFC 3960).
        early_media: Option<Negotiated>,
    },
    /// The call stands and this is its media; for a call that we answer, before the ACK.
    Established {
        /// The call.
        call: CallKey,
        /// What was agreed.
        media: Negotiated,
    },
    /// The caller knows that we answered.
    Confirmed {
        /// The call.
        call: CallKey,
    },
    /// A re-INVITE of either side changed the media.
    MediaChanged {
        /// The call.
        call: CallKey,
        /// What is agreed now.
        media: Negotiated,
        /// Whether our own re-INVITE did it.
        by_us: bool,
    },
    /// Our hold, resume or refresh was refused; the media stays as it was.
    ChangeRefused {
        /// The call.
        call: CallKey,
        /// How it was refused.
        status: StatusCode,
    },
    /// A digit came by INFO.
    Digit {
        /// The call.
        call: CallKey,
        /// One of `0-9*#A-D`.
        digit: char,
    },
    /// The call is over.
    Ended {
        /// The call.
        call: CallKey,
        /// Why.
        cause: Cause,
        /// Whether it ended because no media could be agreed on.
        bad_media: bool,
    },
}

/// What cannot be done now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhoneError {
    /// The dialog layer says no.
    #[error(transparent)]
    Dialog(#[from] sip_dialog::Error),
    /// The media address or codecs cannot be described.
    #[error(transparent)]
    Media(#[from] sdp::LocalMediaError),
    /// No offer can be made now.
    #[error(transparent)]
    Offer(#[from] sdp::CreateOfferError),
    /// The peer's offer cannot be taken; it was refused.
    #[error(transparent)]
    Incompatible(#[from] sdp::OfferError),
    /// The call is over, or never was.
    #[error("no such call: it has ended")]
    NoSuchCall,
}

/// A phone as a pure [`Core`]: drive it over sockets, or in the simulator.
#[derive(Debug)]
pub struct PhoneCore {
    config: PhoneConfig,
    dialogs: Dialogs,
    registration: Registration,
    sessions: HashMap<CallKey, Session>,
    events: VecDeque<PhoneEvent>,
    /// Keep-alives to send, and connections to close.
    pings: VecDeque<Transmit>,
    dead: VecDeque<FlowId>,
}

impl PhoneCore {
    /// A phone that is not registered and has no calls.
    pub fn new(config: PhoneConfig) -> Self {
        let mut below = config.dialogs.clone();
        below.transaction.offer_keep_alive = config.offer_keep_alive;
        if config.instance.is_some() {
            below.outbound = true;
            below.supported.push("outbound".into());
        }
        let mut dialogs = Dialogs::new(below);
        if let Some((user, password)) = &config.credentials {
            let user = if user.is_empty() { config.identity.uri().user().unwrap_or_default() } else { user };
            dialogs.authenticator().add_account(None, user, sip_auth::Secret::password(password));
        }
        let registrar = config.registrar.clone().unwrap_or_else(|| domain_of(config.identity.uri()));
        let registration = Registration::new(
            registrar,
            config.identity.clone(),
            config.route.clone(),
            config.expires,
            config.instance.clone(),
            dialogs.token(),
            dialogs.token(),
        );
        Self {
            config,
            dialogs,
            registration,
            sessions: HashMap::new(),
            events: VecDeque::new(),
            pings: VecDeque::new(),
            dead: VecDeque::new(),
        }
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<PhoneEvent> {
        self.events.pop_front()
    }

    /// The layer below, to look at.
    pub fn dialogs(&self) -> &Dialogs {
        &self.dialogs
    }

    /// Whether no call, transaction or timer of one is left; a registration may stand.
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.dialogs.is_idle()
    }

    // ---- registration --------------------------------------------------------------------------------------

    /// Where the registration stands.
    pub fn registration(&self) -> RegistrationState {
        self.registration.state
    }

    fn contact(&self) -> Result<Contact, PhoneError> {
        let user = self.config.identity.uri().user();
        Ok(self.dialogs.contact_as(user, &self.registration.hop(), self.registration.is_sips())?)
    }

    /// Registers, and keeps the registration until [`PhoneCore::unregister`].
    ///
    /// # Errors
    /// If the REGISTER cannot be sent.
    pub fn register(&mut self, now: Instant) -> Result<(), PhoneError> {
        if matches!(
            self.registration.state,
            RegistrationState::Registering | RegistrationState::Unregistering
        ) {
            return Ok(());
        }
        let contact = self.contact()?;
        let builder = self.registration.register(&contact).map_err(sip_dialog::Error::from)?;
        self.send_register(now, builder)
    }

    /// Removes our binding at the registrar. [`PhoneEvent::Unregistered`] follows, at once if there is none.
    ///
    /// # Errors
    /// If the REGISTER cannot be sent.
    pub fn unregister(&mut self, now: Instant) -> Result<(), PhoneError> {
        let contact = self.contact()?;
        match self.registration.unregister(&contact) {
            Some(builder) => {
                let builder = builder.map_err(sip_dialog::Error::from)?;
                self.send_register(now, builder)
            }
            None => {
                self.events.push_back(PhoneEvent::Unregistered);
                Ok(())
            }
        }
    }

    fn send_register(
        &mut self,
        now: Instant,
        builder: sip_message::RequestBuilder,
    ) -> Result<(), PhoneError> {
        let request = builder.build().map_err(sip_dialog::Error::from)?;
        let hop = self.registration.hop();
        // The key is known before its response can be: remember it before events are looked at.
        self.registration.request = Some(self.dialogs.request(now, request, hop)?);
        Ok(())
    }

    fn register_answered(
        &mut self,
        now: Instant,
        result: Result<&Response, StatusCode>,
        path: Option<&Path>,
    ) {
        let Ok(contact) = self.contact() else { return };
        let chance = self.dialogs.chance();
        match self.registration.answered(now, result, path, &contact, chance) {
            Outcome::Registered(lifetime) => self.events.push_back(PhoneEvent::Registered(lifetime)),
            Outcome::Unregistered => self.events.push_back(PhoneEvent::Unregistered),
            Outcome::Failed(status) => self.events.push_back(PhoneEvent::RegistrationFailed(status)),
            Outcome::Again => {
                if let Err(error) = self.register_again(now) {
                    tracing::warn!(%error, "a REGISTER could not be sent again");
                }
            }
        }
    }

    fn register_again(&mut self, now: Instant) -> Result<(), PhoneError> {
        let contact = self.contact()?;
        let builder = self.registration.register(&contact).map_err(sip_dialog::Error::from)?;
        self.send_register(now, builder)
    }

    // ---- calls ---------------------------------------------------------------------------------------------

    /// The address that the offer of a call ringing here names for audio, if it is numeric.
    pub fn offered_address(&self, call: CallKey) -> Option<std::net::SocketAddr> {
        let offer = self.sessions.get(&call)?.offer.as_ref()?;
        offer.media().find_map(|section| section.rtp_address().ok()?.socket_addr())
    }

    /// The first hop of a request to `to`.
    pub fn first_hop<'u>(&'u self, to: &'u Uri) -> &'u Uri {
        self.config.route.first().map_or(to, |route| route.uri())
    }

    /// Calls somebody, offering this media.
    ///
    /// # Errors
    /// If the media cannot be described or the INVITE not be sent.
    pub fn call(&mut self, now: Instant, to: &Uri, media: LocalMedia) -> Result<CallKey, PhoneError> {
        let mut session = self.new_session(media)?;
        let offer = session.machine.create_offer()?.to_string();
        self.invite(now, to, session, Some(Body::sdp(offer)))
    }

    /// Calls somebody without an offer: the callee makes one in its answer (RFC 3261 §13.2.1).
    ///
    /// # Errors
    /// As [`PhoneCore::call`].
    pub fn call_without_offer(
        &mut self,
        now: Instant,
        to: &Uri,
        media: LocalMedia,
    ) -> Result<CallKey, PhoneError> {
        let session = self.new_session(media)?;
        self.invite(now, to, session, None)
    }

    fn new_session(&mut self, media: LocalMedia) -> Result<Session, PhoneError> {
        let id = self.dialogs.chance();
        Ok(Session::new(OfferAnswer::new(media, id)?))
    }

    fn invite(
        &mut self,
        now: Instant,
        to: &Uri,
        session: Session,
        offer: Option<Body>,
    ) -> Result<CallKey, PhoneError> {
        let invite = Invite {
            to: to.clone(),
            from: self.config.identity.clone(),
            offer,
            route: self.config.route.clone(),
            fields: vec![("Accept".into(), "application/sdp".into())],
        };
        let call = self.dialogs.invite(now, invite)?;
        self.sessions.insert(call, session);
        self.dispatch(now);
        Ok(call)
    }

    /// Says 180 (or another provisional status) to a caller.
    ///
    /// # Errors
    /// If the call is not ringing here.
    pub fn ring(&mut self, now: Instant, call: CallKey, status: StatusCode) -> Result<(), PhoneError> {
        Ok(self.dialogs.ring(now, call, status, None)?)
    }

    /// Answers a call with this media.
    ///
    /// # Errors
    /// If the call is not ringing here. If the offer cannot be taken the call is refused with the status that
    /// the error names, and is over.
    pub fn answer(&mut self, now: Instant, call: CallKey, media: LocalMedia) -> Result<(), PhoneError> {
        let offer = match self.sessions.get(&call) {
            Some(session) if session.machine_unused => session.offer.clone(),
            _ => return Err(PhoneError::NoSuchCall),
        };
        let mut session = self.new_session(media)?;
        let body = match offer {
            Some(offer) => match session.machine.receive_offer(&offer) {
                Ok(answer) => answer,
                Err(error) => {
                    self.refuse_offer(now, call, &error);
                    return Err(error.into());
                }
            },
            None => session.machine.create_offer()?,
        };
        self.dialogs.accept(now, call, Some(Body::sdp(body.to_string())))?;
        let media = session.machine.current().cloned();
        session.established = media.is_some();
        self.sessions.insert(call, session);
        if let Some(media) = media {
            self.events.push_back(PhoneEvent::Established { call, media });
        }
        self.dispatch(now);
        Ok(())
    }

    fn refuse_offer(&mut self, now: Instant, call: CallKey, error: &sdp::OfferError) {
        let status = StatusCode::new(error.status()).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE);
        if let Some(session) = self.sessions.get_mut(&call) {
            session.bad_media = !session.established;
        }
        let warning =
            error.warning().map(|(code, text)| format!("{code} phone \"{}\"", text.replace('"', "'")));
        let fields: Vec<(&str, &str)> = warning.iter().map(|text| ("Warning", text.as_str())).collect();
        if let Err(error) = self.dialogs.reject_with(now, call, status, &fields) {
            tracing::debug!(%error, "the call to refuse is gone");
        }
        self.dispatch(now);
    }

    /// Refuses a call.
    ///
    /// # Errors
    /// If the call is not ringing here.
    pub fn reject(&mut self, now: Instant, call: CallKey, status: StatusCode) -> Result<(), PhoneError> {
        self.dialogs.reject(now, call, status)?;
        self.dispatch(now);
        Ok(())
    }

    /// Puts the peer on hold by a re-INVITE (RFC 3264 §8.4); waits its turn if one is under way.
    ///
    /// # Errors
    /// If there is no such call.
    pub fn hold(&mut self, now: Instant, call: CallKey) -> Result<(), PhoneError> {
        self.wish(now, call, Wish::Hold)
    }

    /// Takes the peer off hold.
    ///
    /// # Errors
    /// If there is no such call.
    pub fn resume(&mut self, now: Instant, call: CallKey) -> Result<(), PhoneError> {
        self.wish(now, call, Wish::Resume)
    }

    /// Sends a re-INVITE that changes nothing: the peer's answer proves that it is still there, and each side
    /// learns the other's present Contact.
    ///
    /// # Errors
    /// If there is no such call.
    pub fn refresh(&mut self, now: Instant, call: CallKey) -> Result<(), PhoneError> {
        self.wish(now, call, Wish::Refresh)
    }

    /// Ends a call, whatever its state. [`PhoneEvent::Ended`] follows.
    ///
    /// # Errors
    /// If there is no such call.
    pub fn hang_up(&mut self, now: Instant, call: CallKey) -> Result<(), PhoneError> {
        self.dialogs.hang_up(now, call)?;
        self.dispatch(now);
        Ok(())
    }

    /// What is agreed for a call.
    pub fn media(&self, call: CallKey) -> Option<&Negotiated> {
        self.sessions.get(&call).and_then(|session| session.machine.current())
    }

    // ---- events of the dialog layer ---------------------------------------------------------------------------

    fn dispatch(&mut self, now: Instant) {
        while let Some(event) = self.dialogs.poll_event() {
            match event {
                DialogEvent::Incoming { call, request, path } => self.incoming(now, call, request, path),
                DialogEvent::Progress { call, response } => self.progress(call, response),
                DialogEvent::Answered { call, response, answer_due } => {
                    self.answered(now, call, &response, answer_due);
                }
                DialogEvent::Confirmed { call, ack } => self.confirmed(now, call, ack.as_ref()),
                DialogEvent::Reinvited { call, request } => self.reinvited(now, call, &request),
                DialogEvent::ReinviteAnswered { call, response, answer_due } => {
                    self.answered(now, call, &response, answer_due);
                }
                DialogEvent::ReinviteFailed { call, status } => self.reinvite_failed(now, call, status),
                DialogEvent::ReinviteRetry { call } => self.grant_wish(now, call),
                DialogEvent::Request { tx, call, request, .. } => self.request_came(now, tx, call, &request),
                DialogEvent::Response { key, result, path } => self.response_came(now, key, result, path),
                DialogEvent::Ended { call, cause } => {
                    let bad_media = self.sessions.remove(&call).is_some_and(|session| session.bad_media);
                    self.events.push_back(PhoneEvent::Ended { call, cause, bad_media });
                }
                _ => {}
            }
        }
    }

    fn response_came(
        &mut self,
        now: Instant,
        key: RequestKey,
        result: Result<Response, sip_transaction::Failure>,
        path: Option<Path>,
    ) {
        if self.registration.request == Some(key) {
            let result = result.as_ref().map_err(sip_transaction::Failure::status);
            self.register_answered(now, result, path.as_ref());
        }
    }

    /// Pings over the registered flow, or finds it dead (RFC 5626 §4.4).
    fn keep_alive_due(&mut self, now: Instant) {
        let Self { registration, dialogs, .. } = self;
        let Some(keep_alive) = &mut registration.keep_alive else { return };
        match keep_alive.handle_timeout(now, || dialogs.chance()) {
            Some(Step::Send(ping)) => self.pings.push_back(ping),
            Some(Step::Failed(failure)) => self.flow_failed(now, failure),
            None => {}
        }
    }

    fn flow_failed(&mut self, now: Instant, failure: Failure) {
        tracing::info!(%failure, "the flow to the registrar is dead");
        let chance = self.dialogs.chance();
        self.dead.extend(self.registration.flow_failed(now, chance));
        self.registration_due(now);
    }

    fn registration_due(&mut self, now: Instant) {
        if self.registration.next.is_some_and(|at| at <= now) {
            self.registration.next = None;
            if let Err(error) = self.register_again(now) {
                tracing::warn!(%error, "a refresh of the registration could not be sent");
            }
        }
    }
}

/// `sip:host:port` of an address.
fn domain_of(uri: &Uri) -> Uri {
    let text = format!("{}:{}", uri.scheme(), uri.host_port());
    text.parse().unwrap_or_else(|_| uri.clone())
}

/// The session description in a body; `Ok(None)` without a body.
fn description(
    headers: &sip_message::Headers,
    body: &[u8],
) -> Result<Option<SessionDescription>, StatusCode> {
    if body.is_empty() {
        return Ok(None);
    }
    match headers.get::<ContentType>() {
        Ok(Some(kind)) if kind.is("application", "sdp") => {}
        Ok(_) => return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        Err(_) => return Err(StatusCode::BAD_REQUEST),
    }
    let text = std::str::from_utf8(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    text.parse().map(Some).map_err(|error| {
        tracing::debug!(%error, "a session description that cannot be read");
        StatusCode::BAD_REQUEST
    })
}

impl Core for PhoneCore {
    fn receive(&mut self, now: Instant, received: Received) {
        self.dialogs.receive(now, received);
        self.dispatch(now);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        if let Some(keep_alive) = &mut self.registration.keep_alive
            && let News::Failed(failure) = keep_alive.flow_event(now, &event, self.dialogs.chance())
        {
            self.flow_failed(now, failure);
        }
        self.dialogs.flow_event(now, event);
        self.dispatch(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.dialogs.resolved(now, answer);
        self.dispatch(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.dialogs.handle_timeout(now);
        self.keep_alive_due(now);
        self.registration_due(now);
        self.dispatch(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let keep_alive = self.registration.keep_alive.as_ref().and_then(KeepAlive::poll_timeout);
        [self.dialogs.poll_timeout(), self.registration.next, keep_alive].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.pings.pop_front().or_else(|| self.dialogs.poll_transmit())
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.dead.pop_front().map(Close::Flow).or_else(|| self.dialogs.poll_close())
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.dialogs.poll_query()
    }
}
