//! The phone without sockets, sound and clock: registration, calls and their sessions.

mod answer_mode;
mod call;
mod config;
mod control;
mod details;
mod event;
mod flows;
mod identity;
mod messaging;
mod network;
mod outside;
mod registration;
mod requests;
mod watching;

use std::collections::VecDeque;
use std::time::Instant;

use rtp::rtcp::extended::Wanted;
use sdp::{LocalMedia, Negotiated, OfferAnswer, SessionDescription};
use sip_dialog::{Body, CallKey, Described, Dialogs, Event as DialogEvent, Invite, KeyMap, SubscriptionKey};
use sip_message::headers::{ContentType, Reason};
use sip_message::{HeaderName, Method, StatusCode, Uri};
use sip_transport::{Answer, Backlog, Close, Core, FlowEvent, FlowId, Query, Received, Transmit};

pub use answer_mode::{AnswerPolicy, HowToAnswer};
use call::{Ringing, Session, Wish};
pub use config::PhoneConfig;
use control::Asked;
pub use details::CallDetails;
pub use event::{PackagedInfo, PhoneError, PhoneEvent};
use flows::Flows;
pub use flows::PhoneFlow;
use messaging::Messaging;
pub use messaging::{MessageKey, Peer};
pub use registration::RegistrationState;

/// A phone as a pure [`Core`]: drive it over sockets, or in the simulator.
#[derive(Debug)]
pub struct PhoneCore {
    config: PhoneConfig,
    dialogs: Dialogs,
    flows: Flows,
    /// Calls that ring here and have no media yet.
    ringing: KeyMap<CallKey, Ringing>,
    sessions: KeyMap<CallKey, Box<Session>>,
    events: VecDeque<PhoneEvent>,
    messaging: Messaging,
    /// Transfers that we asked for, and the calls whose peers we asked.
    transfers: KeyMap<SubscriptionKey, CallKey>,
    /// What peers ask for and nobody has decided about.
    asked: KeyMap<SubscriptionKey, Asked>,
    /// Calls that peers asked for, and who hears how they go.
    followed: KeyMap<CallKey, SubscriptionKey>,
    /// Keep-alives to send, and connections to close.
    pings: VecDeque<Transmit>,
    dead: VecDeque<FlowId>,
    behind_nat: bool,
    /// INFO with packages that nobody has taken yet, of each call that had some.
    infos: KeyMap<CallKey, usize>,
}

impl PhoneCore {
    /// A phone that is not registered and has no calls.
    pub fn new(config: PhoneConfig) -> Self {
        let mut below = config.dialogs.clone();
        if config.messages {
            below.allow.push(Method::Message);
        }
        below.allow.extend([Method::Refer, Method::Notify]);
        if !config.notifies.is_empty() {
            below.allow.push(Method::Subscribe);
            below.events.packages.clone_from(&config.notifies);
        }
        below.transaction.offer_keep_alive = config.offer_keep_alive;
        if config.answer_policy.is_some() {
            below.supported.push("answermode".into());
        }
        if config.instance.is_some() {
            below.outbound = true;
            below.supported.push("outbound".into());
        }
        let mut dialogs = Dialogs::new(below);
        if let Some((user, password)) = &config.credentials {
            let user = if user.is_empty() { config.identity.uri().user().unwrap_or_default() } else { user };
            dialogs.authenticator().add_account(None, user, sip_auth::Secret::password(password));
        }
        let flows = Flows::new(&config, &mut dialogs);
        Self {
            config,
            dialogs,
            flows,
            ringing: KeyMap::default(),
            sessions: KeyMap::default(),
            events: VecDeque::new(),
            messaging: Messaging::default(),
            transfers: KeyMap::default(),
            asked: KeyMap::default(),
            followed: KeyMap::default(),
            pings: VecDeque::new(),
            dead: VecDeque::new(),
            behind_nat: false,
            infos: KeyMap::default(),
        }
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<PhoneEvent> {
        self.events.pop_front()
    }

    /// Who we are.
    pub fn identity(&self) -> &sip_message::headers::NameAddr {
        &self.config.identity
    }

    /// The layer below, to look at.
    pub fn dialogs(&self) -> &Dialogs {
        &self.dialogs
    }

    /// Whether the registrar saw our last REGISTER come from another address than ours: others can hardly connect to us
    /// (RFC 6135 §4.2.2).
    pub fn is_behind_nat(&self) -> bool {
        self.behind_nat
    }

    /// Whether no call, transaction or timer of one is left; a registration may stand.
    pub fn is_idle(&self) -> bool {
        self.ringing.is_empty() && self.sessions.is_empty() && self.dialogs.is_idle()
    }

    // ---- calls ---------------------------------------------------------------------------------------------

    /// The address that the offer of a call ringing here names for audio, if it is numeric.
    pub fn offered_address(&self, call: CallKey) -> Option<std::net::SocketAddr> {
        let offer = self.ringing.get(&call)?.offer.as_ref()?;
        offer.media().find_map(|section| section.rtp_address().ok()?.socket_addr())
    }

    /// The first hop of a request to `to`.
    pub fn first_hop<'u>(&'u self, to: &'u Uri) -> &'u Uri {
        self.route().first().map_or(to, |route| route.uri())
    }

    /// Calls somebody, offering this media.
    ///
    /// # Errors
    /// If the media cannot be described or the INVITE not be sent.
    pub fn call(&mut self, now: Instant, to: &Uri, media: LocalMedia) -> Result<CallKey, PhoneError> {
        self.call_with(now, to, media, Vec::new())
    }

    /// As [`PhoneCore::call`], with further header fields: Subject, Replaces, Privacy.
    ///
    /// # Errors
    /// As [`PhoneCore::call`], or if a field cannot be written.
    pub fn call_with(
        &mut self,
        now: Instant,
        to: &Uri,
        media: LocalMedia,
        fields: Vec<(String, String)>,
    ) -> Result<CallKey, PhoneError> {
        self.place(now, to, media, CallDetails { fields, ..CallDetails::default() })
    }

    /// As [`PhoneCore::call`], with what is special about this call.
    ///
    /// # Errors
    /// As [`PhoneCore::call`], or if a field cannot be written.
    pub fn place(
        &mut self,
        now: Instant,
        to: &Uri,
        media: LocalMedia,
        details: CallDetails,
    ) -> Result<CallKey, PhoneError> {
        let mut session = self.new_session(media)?;
        let offer = match details.without_offer {
            false => Some(Body::sdp(session.machine.create_offer()?.to_string())),
            true => None,
        };
        self.invite(now, to, session, offer, details)
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
        fields: Vec<(String, String)>,
    ) -> Result<CallKey, PhoneError> {
        self.place(now, to, media, CallDetails { fields, without_offer: true, ..CallDetails::default() })
    }

    fn new_session(&mut self, media: LocalMedia) -> Result<Box<Session>, PhoneError> {
        let id = self.dialogs.chance();
        Ok(Box::new(Session::new(OfferAnswer::new(media, id)?)))
    }

    fn invite(
        &mut self,
        now: Instant,
        to: &Uri,
        mut session: Box<Session>,
        offer: Option<Body>,
        details: CallDetails,
    ) -> Result<CallKey, PhoneError> {
        let second = offer.as_ref().and_then(|_| session.prepare_second_offer());
        let CallDetails { mut fields, from, .. } = details;
        fields.push(("Accept".into(), "application/sdp".into()));
        let invite = Invite {
            to: to.clone(),
            from: from.unwrap_or_else(|| self.config.identity.clone()),
            offer,
            route: self.route().to_vec(),
            fields,
        };
        let call = self.dialogs.invite(now, invite)?;
        if let Some(second) = second
            && let Err(error) = self.dialogs.offer_if_refused(call, second)
        {
            tracing::debug!(%error, "the call is over already");
        }
        self.sessions.insert(call, session);
        self.dispatch(now);
        Ok(call)
    }

    /// Says 180 (or another provisional status) to a caller.
    ///
    /// # Errors
    /// If the call is not ringing here.
    pub fn ring(&mut self, now: Instant, call: CallKey, status: StatusCode) -> Result<(), PhoneError> {
        match self.dialogs.ring(now, call, status, None) {
            // A caller that demands reliable responses and offers nothing hears of us with our offer (RFC 3262 §5).
            Err(sip_dialog::Error::Described(reason)) => {
                tracing::info!(reason, "the caller is not told that it rings");
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    /// Says something to a caller before the answer, with media: 183 for an announcement, 180 for a ringing tone of our own
    /// (RFC 3960).
    ///
    /// # Errors
    /// As [`PhoneCore::answer`]; and if the caller offered nothing and cannot take a reliable response.
    pub fn ring_with_media(
        &mut self,
        now: Instant,
        call: CallKey,
        status: StatusCode,
        media: LocalMedia,
    ) -> Result<(), PhoneError> {
        let (mut session, body) = self.describe_answer(now, call, media)?;
        self.dialogs.ring(now, call, status, Some(Body::sdp(body.clone())))?;
        let answered = session.machine.current().is_some();
        session.said_early(body);
        self.ringing.remove(&call);
        self.sessions.insert(call, session);
        if answered {
            self.early_media(call);
        }
        self.dispatch(now);
        Ok(())
    }

    /// Answers a call with this media.
    ///
    /// # Errors
    /// If the call is not ringing here. If the offer cannot be taken the call is refused with the status that
    /// the error names, and is over.
    pub fn answer(&mut self, now: Instant, call: CallKey, media: LocalMedia) -> Result<(), PhoneError> {
        let (session, body) = self.describe_answer(now, call, media)?;
        self.dialogs.accept(now, call, Some(Body::sdp(body)))?;
        self.ringing.remove(&call);
        self.sessions.insert(call, session);
        self.answer_is_out(now, call);
        Ok(())
    }

    /// Answers a call that [`PhoneCore::ring_with_media`] has given its media.
    ///
    /// # Errors
    /// If there is no such call, or it is not ringing here.
    pub fn answer_as_rung(&mut self, now: Instant, call: CallKey) -> Result<(), PhoneError> {
        let said = self.sessions.get(&call).and_then(|session| session.early_answer());
        let said = said.ok_or(PhoneError::NoSuchCall)?.to_owned();
        let repeat = self.dialogs.description_due(call) == Described::Answer;
        self.dialogs.accept(now, call, repeat.then(|| Body::sdp(said)))?;
        self.answer_is_out(now, call);
        Ok(())
    }

    fn answer_is_out(&mut self, now: Instant, call: CallKey) {
        if let Some(session) = self.sessions.get_mut(&call) {
            session.answer_is_out();
            if let Some(media) = session.machine.current().cloned() {
                self.events.push_back(PhoneEvent::Established { call, media });
            }
        }
        self.dispatch(now);
    }

    /// Our side of a call that rings here: the answer to its offer, or our offer.
    fn describe_answer(
        &mut self,
        now: Instant,
        call: CallKey,
        media: LocalMedia,
    ) -> Result<(Box<Session>, String), PhoneError> {
        let mut session = self.new_session(media)?;
        let ringing = self.ringing.get(&call).ok_or(PhoneError::NoSuchCall)?;
        let body = match &ringing.offer {
            Some(offer) => match session.machine.receive_offer(offer) {
                Ok(answer) => {
                    session.note_wanted(offer);
                    answer
                }
                Err(error) => {
                    self.refuse_offer(now, call, &error);
                    return Err(error.into());
                }
            },
            None => session.machine.create_offer()?,
        };
        Ok((session, body.to_string()))
    }

    fn refuse_offer(&mut self, now: Instant, call: CallKey, error: &sdp::OfferError) {
        let status = StatusCode::new(error.status()).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE);
        if let Some(session) = self.sessions.get_mut(&call) {
            session.bad_media = !session.established;
        }
        if let Some(ringing) = self.ringing.get_mut(&call) {
            ringing.bad_media = true;
        }
        let warning = warning_of(error);
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
        self.hang_up_because(now, call, None)
    }

    /// As [`PhoneCore::hang_up`], saying why (RFC 3326).
    ///
    /// # Errors
    /// As [`PhoneCore::hang_up`].
    pub fn hang_up_because(
        &mut self,
        now: Instant,
        call: CallKey,
        reason: Option<&Reason>,
    ) -> Result<(), PhoneError> {
        self.dialogs.hang_up_because(now, call, reason)?;
        self.dispatch(now);
        Ok(())
    }

    /// What is agreed for a call.
    pub fn media(&self, call: CallKey) -> Option<&Negotiated> {
        self.sessions.get(&call).and_then(|session| session.machine.current())
    }

    /// Which extended reports the peer of a call wants (RFC 3611 §5.2).
    pub fn wanted_reports(&self, call: CallKey) -> Wanted {
        self.sessions.get(&call).map(|session| session.wanted_reports).unwrap_or_default()
    }

    // ---- events of the dialog layer ---------------------------------------------------------------------------

    fn dispatch(&mut self, now: Instant) {
        while let Some(event) = self.dialogs.poll_event() {
            match event {
                DialogEvent::Incoming { call, request, path, replaces, .. } => {
                    self.incoming(now, call, request, path, replaces);
                }
                DialogEvent::Progress { call, dialog, response, described } => {
                    self.report_progress(now, call, &response);
                    self.progress(now, call, dialog, response, described);
                }
                DialogEvent::Redirected { call, to } => {
                    self.events.push_back(PhoneEvent::Redirected { call, to });
                }
                DialogEvent::OfferedAgain { call } => self.offered_again(call),
                DialogEvent::Answered { call, dialog, response, described } => {
                    self.report_progress(now, call, &response);
                    self.answered_in(call, &dialog);
                    self.answered(now, call, &response, described);
                }
                DialogEvent::ProvisionalAcknowledged { call, prack, described } => {
                    self.provisional_acknowledged(now, call, &prack, described);
                }
                DialogEvent::AnswerRefused { call, dialog, .. } => self.answer_refused(call, &dialog),
                DialogEvent::Offered { offer, request } => self.offered(now, &offer, &request),
                DialogEvent::RefreshDue { call } => {
                    if let Err(error) = self.wish(now, call, Wish::Refresh) {
                        tracing::debug!(%error, "the call to refresh is gone");
                    }
                }
                DialogEvent::Confirmed { call, ack } => {
                    self.confirmed(now, call, ack.as_ref());
                    self.tell_identity(now, call);
                }
                DialogEvent::PeerIdentified { call, identity } => {
                    self.events.push_back(PhoneEvent::PeerIdentified { call, identity });
                }
                DialogEvent::Reinvited { call, request } => self.reinvited(now, call, &request),
                DialogEvent::ReinviteAnswered { call, response, described } => {
                    self.answered(now, call, &response, described);
                }
                DialogEvent::Referred { key, call, target, refer_to, replaces, referred_by, .. } => {
                    self.referred(key, call.or(target), refer_to, replaces, referred_by);
                }
                DialogEvent::SubscriptionRequested { key, request, .. } => {
                    self.events.push_back(PhoneEvent::SubscriptionRequested { key, request });
                }
                DialogEvent::Subscriber { key, what } => self.subscriber_changed(key, what),
                DialogEvent::Subscription { key, what } => self.subscription_changed(key, what),
                DialogEvent::Publication { key, what } => self.publication_changed(key, what),
                DialogEvent::ReinviteFailed { call, status } => self.reinvite_failed(now, call, status),
                DialogEvent::ReinviteRetry { call }
                | DialogEvent::UpdateAnswered { call, .. }
                | DialogEvent::UpdateFailed { call, .. } => self.grant_wish(now, call),
                DialogEvent::Request { tx, call, request, .. } => self.request_came(now, tx, call, &request),
                DialogEvent::Response { key, result, path } => self.response_came(now, key, result, path),
                DialogEvent::Ended { call, cause } => {
                    self.infos.remove(&call);
                    self.report_end(now, call, &cause);
                    let rang = self.ringing.remove(&call).is_some_and(|ringing| ringing.bad_media);
                    let stood = self.sessions.remove(&call).is_some_and(|session| session.bad_media);
                    let bad_media = rang || stood;
                    self.events.push_back(PhoneEvent::Ended { call, cause, bad_media });
                }
                _ => {}
            }
        }
    }
}

/// What a Warning says about an offer that cannot be taken (RFC 3261 §20.43).
fn warning_of(error: &sdp::OfferError) -> Option<String> {
    error.warning().map(|(code, text)| format!("{code} phone \"{}\"", text.replace('"', "'")))
}

/// The session description in a body; `Ok(None)` without a body.
fn description(
    headers: &sip_message::Headers,
    body: &[u8],
) -> Result<Option<SessionDescription>, StatusCode> {
    if body.is_empty() {
        return Ok(None);
    }
    // As nearly everybody writes it: that needs no reading.
    if headers.text(HeaderName::CONTENT_TYPE) != Some("application/sdp") {
        match headers.get::<ContentType>() {
            Ok(Some(kind)) if kind.is("application", "sdp") => {}
            Ok(_) => return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Err(_) => return Err(StatusCode::BAD_REQUEST),
        }
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

    fn backlog(&mut self, now: Instant, backlog: Backlog) {
        self.dialogs.backlog(now, backlog);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.registered_flow_event(now, &event);
        self.dialogs.flow_event(now, event);
        self.dispatch(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.dialogs.resolved(now, answer);
        self.dispatch(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.dialogs.handle_timeout(now);
        self.flows_due(now);
        self.chats_due(now);
        self.dispatch(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let timeouts =
            [self.dialogs.poll_timeout(), self.flows.poll_timeout(), self.messaging.poll_timeout()];
        timeouts.into_iter().flatten().min()
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
