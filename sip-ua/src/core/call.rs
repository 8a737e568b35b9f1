//! The session inside a call: which description answers which (RFC 3264, RFC 3261 §13.2.1, RFC 6337).

use std::time::Instant;

use sdp::{OfferAnswer, SessionDescription};
use sip_dialog::{Body, CallKey};
use sip_message::{Headers, Request, Response, StatusCode};

use sip_transport::Path;

use super::{PhoneCore, PhoneError, PhoneEvent, description};

/// What the owner wants of a session next; it waits while a re-INVITE is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Hold,
    Resume,
    Refresh,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) machine: OfferAnswer,
    /// The call rings here: `machine` is a stand-in until the owner answers with its media.
    pub(super) machine_unused: bool,
    /// The offer of a call that rings here.
    pub(super) offer: Option<SessionDescription>,
    pub(super) established: bool,
    pub(super) bad_media: bool,
    wish: Option<Wish>,
}

impl Session {
    pub(super) fn new(machine: OfferAnswer) -> Self {
        Self { machine, machine_unused: false, offer: None, established: false, bad_media: false, wish: None }
    }
}

impl PhoneCore {
    pub(super) fn incoming(&mut self, now: Instant, call: CallKey, request: Request, path: Path) {
        let offer = match description(&request.headers, request.body()) {
            Ok(offer) => offer,
            Err(status) => return self.refuse_body(now, call, status),
        };
        // Any address serves to ask whether our codecs fit; the owner brings the real one.
        let anywhere = std::net::SocketAddr::from(([0, 0, 0, 0], 9));
        let probe = match OfferAnswer::new(sdp::LocalMedia::audio(anywhere), 0) {
            Ok(probe) => probe,
            Err(error) => {
                tracing::error!(%error, "the stand-in media cannot be described");
                return self.refuse_body(now, call, StatusCode::SERVER_INTERNAL_ERROR);
            }
        };
        let mut session = Session::new(probe);
        session.machine_unused = true;
        session.offer = offer;
        self.sessions.insert(call, session);
        self.events.push_back(PhoneEvent::Incoming { call, request, path });
    }

    fn refuse_body(&mut self, now: Instant, call: CallKey, status: StatusCode) {
        let accept = [("Accept", "application/sdp")];
        let fields: &[(&str, &str)] =
            if status == StatusCode::UNSUPPORTED_MEDIA_TYPE { &accept } else { &[] };
        if let Err(error) = self.dialogs.reject_with(now, call, status, fields) {
            tracing::debug!(%error, "the call to refuse is gone");
        }
    }

    pub(super) fn progress(&mut self, call: CallKey, response: Response) {
        // Each phone of a fork answers the same offer: its early answer continues on a copy.
        let early_media = self.sessions.get(&call).and_then(|session| {
            let answer = description(&response.headers, response.body()).ok().flatten()?;
            let mut machine = session.machine.clone();
            machine.receive_answer(&answer).ok().cloned()
        });
        self.events.push_back(PhoneEvent::Progress { call, response, early_media });
    }

    /// A 2xx to our INVITE or re-INVITE.
    pub(super) fn answered(&mut self, now: Instant, call: CallKey, response: &Response, answer_due: bool) {
        let outcome = if answer_due {
            self.take_offer_of_success(now, call, response)
        } else {
            self.take_answer(call, &response.headers, response.body())
        };
        match outcome {
            Ok(()) => self.agreed(call, true),
            Err(reason) => self.no_media(now, call, &reason),
        }
        self.grant_wish(now, call);
    }

    fn take_answer(&mut self, call: CallKey, headers: &Headers, body: &[u8]) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&call) else { return Ok(()) };
        let answer = description(headers, body)
            .map_err(|status| format!("the answer cannot be read ({status})"))?
            .ok_or("our offer was not answered")?;
        let agreed = session.machine.receive_answer(&answer).map_err(|error| error.to_string())?;
        if agreed.streams.is_empty() { Err("every stream was refused".into()) } else { Ok(()) }
    }

    /// A delayed offer: the answer goes in the ACK.
    fn take_offer_of_success(
        &mut self,
        now: Instant,
        call: CallKey,
        response: &Response,
    ) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&call) else { return Ok(()) };
        let offer = description(&response.headers, response.body()).map_err(|status| status.to_string())?;
        let offer = offer.ok_or("the 2xx brought no offer")?;
        let (answer, outcome) = match session.machine.receive_offer(&offer) {
            Ok(answer) => (answer, Ok(())),
            // The ACK must carry an answer even to what cannot be taken; BYE follows (§13.2.2.4).
            Err(error) => (session.machine.refusal(&offer), Err(error.to_string())),
        };
        let sent = self.dialogs.acknowledge(now, call, Body::sdp(answer.to_string()));
        outcome.and(sent.map_err(|error| error.to_string()))
    }

    fn agreed(&mut self, call: CallKey, by_us: bool) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Some(media) = session.machine.current().cloned() else { return };
        let first = !std::mem::replace(&mut session.established, true);
        self.events.push_back(if first {
            PhoneEvent::Established { call, media }
        } else {
            PhoneEvent::MediaChanged { call, media, by_us }
        });
    }

    /// The two sides did not come to terms: the call cannot go on (§13.2.2.4).
    fn no_media(&mut self, now: Instant, call: CallKey, reason: &str) {
        tracing::warn!(reason, "no media could be agreed on");
        if let Some(session) = self.sessions.get_mut(&call) {
            session.bad_media = true;
        }
        if let Err(error) = self.dialogs.hang_up(now, call) {
            tracing::debug!(%error, "the call is over already");
        }
    }

    /// The ACK for our 2xx: with a delayed offer it brings the answer.
    pub(super) fn confirmed(&mut self, now: Instant, call: CallKey, ack: Option<&Request>) {
        let open = self.sessions.get(&call).map(|session| session.machine.state());
        if let (Some(sdp::State::HaveLocalOffer), Some(ack)) = (open, ack) {
            match self.take_answer(call, &ack.headers, ack.body()) {
                Ok(()) => self.agreed(call, false),
                Err(reason) => self.no_media(now, call, &reason),
            }
        }
        self.events.push_back(PhoneEvent::Confirmed { call });
        self.grant_wish(now, call);
    }

    pub(super) fn reinvited(&mut self, now: Instant, call: CallKey, request: &Request) {
        let offer = match description(&request.headers, request.body()) {
            Ok(offer) => offer,
            Err(status) => return self.refuse_body(now, call, status),
        };
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let body = match offer {
            Some(offer) => session.machine.receive_offer(&offer).map_err(Some),
            None => session.machine.create_offer().map_err(|_| None),
        };
        match body {
            Ok(body) => {
                let offered = session.machine.state() == sdp::State::HaveLocalOffer;
                if let Err(error) = self.dialogs.accept(now, call, Some(Body::sdp(body.to_string()))) {
                    tracing::warn!(%error, "a re-INVITE could not be answered");
                }
                if !offered {
                    self.agreed(call, false);
                }
            }
            Err(Some(error)) => self.refuse_offer(now, call, &error),
            Err(None) => self.refuse_body(now, call, StatusCode::REQUEST_PENDING),
        }
    }

    pub(super) fn reinvite_failed(&mut self, now: Instant, call: CallKey, status: StatusCode) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        session.machine.rollback();
        if status == StatusCode::REQUEST_PENDING {
            // §14.1: the wish comes back when the wait is over.
            session.wish.get_or_insert(Wish::Refresh);
            return;
        }
        // What could not be had is wished no longer.
        if let Some(stream) = session.machine.current().and_then(|agreed| agreed.audio()) {
            let direction = stream.direction;
            session.machine.set_direction(direction);
        }
        self.events.push_back(PhoneEvent::ChangeRefused { call, status });
        self.grant_wish(now, call);
    }

    pub(super) fn wish(&mut self, now: Instant, call: CallKey, wish: Wish) -> Result<(), PhoneError> {
        let session = self.sessions.get_mut(&call).ok_or(PhoneError::NoSuchCall)?;
        session.wish = Some(wish);
        self.grant_wish(now, call);
        self.dispatch(now);
        Ok(())
    }

    /// Sends the offer that a wish needs, as soon as nothing else is under way.
    pub(super) fn grant_wish(&mut self, now: Instant, call: CallKey) {
        if !self.dialogs.can_reinvite(call) {
            return;
        }
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let Some(wish) = session.wish.take() else { return };
        match wish {
            Wish::Hold => session.machine.hold(),
            Wish::Resume => session.machine.resume(),
            Wish::Refresh => {}
        }
        let offer = match session.machine.create_offer() {
            Ok(offer) => offer,
            Err(error) => {
                tracing::warn!(%error, "no offer can be made");
                return;
            }
        };
        if let Err(error) = self.dialogs.reinvite(now, call, Some(Body::sdp(offer.to_string()))) {
            tracing::warn!(%error, "a re-INVITE could not be sent");
            if let Some(session) = self.sessions.get_mut(&call) {
                session.machine.rollback();
            }
        }
    }
}
