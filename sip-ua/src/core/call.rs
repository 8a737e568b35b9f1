//! The session inside a call: which description answers which (RFC 3264, RFC 3261 §13.2.1, RFC 6337).

use std::time::Instant;

use rtp::rtcp::extended::Wanted;
use sdp::{
    CreateOfferError, LocalMedia, LocalStream, MediaKind, OfferAnswer, Protection, SessionDescription,
};
use sip_dialog::{Body, CallKey, Described, DialogId, OfferKey};
use sip_message::{Headers, Request, Response, StatusCode};

use sip_transport::Path;

use super::{PhoneCore, PhoneError, PhoneEvent, description};

/// What the owner wants of a session next; it waits while a re-INVITE is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Hold,
    Resume,
    Refresh,
    /// Other media than those agreed on.
    Media,
}

/// A call that rings here until its owner brings the media.
#[derive(Debug)]
pub(super) struct Ringing {
    pub(super) offer: Option<Box<SessionDescription>>,
    /// It was refused because nothing could be agreed on.
    pub(super) bad_media: bool,
}

#[derive(Debug, Default)]
struct Early {
    /// What each phone of a fork has agreed on with us before its answer (RFC 3262 §5).
    machines: Vec<(DialogId, OfferAnswer)>,
    /// The session as it is if our offer is refused and the second one made.
    second: Option<Box<OfferAnswer>>,
    /// We said this before the answer; unless a PRACK took it, the 2xx says it again (RFC 6337 §3.1.1).
    answer: Option<String>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) machine: OfferAnswer,
    /// What is of use before the answer alone.
    early: Option<Box<Early>>,
    pub(super) established: bool,
    /// What the peer's last description asks for.
    pub(super) wanted_reports: Wanted,
    pub(super) bad_media: bool,
    pub(super) wish: Option<Wish>,
    /// What we brought before a change that the peer has not answered yet.
    before_change: Option<Box<LocalMedia>>,
    /// The open offer holds the change.
    change_offered: bool,
}

/// Which extended reports a description asks for: that of the sound, or else of the session (RFC 3611 §5.1).
fn wanted_reports(theirs: &SessionDescription) -> Wanted {
    let sound = theirs.media().find(|section| section.kind() == "audio");
    let wanted = sound.and_then(|section| section.attribute(Wanted::ATTRIBUTE));
    wanted.or_else(|| theirs.attribute(Wanted::ATTRIBUTE)).map(Wanted::parse).unwrap_or_default()
}

impl Session {
    pub(super) fn new(machine: OfferAnswer) -> Self {
        Self {
            machine,
            early: None,
            established: false,
            wanted_reports: Wanted::NONE,
            bad_media: false,
            wish: None,
            before_change: None,
            change_offered: false,
        }
    }

    /// Which extended reports the peer asks for in this description.
    pub(super) fn note_wanted(&mut self, theirs: &SessionDescription) {
        self.wanted_reports = wanted_reports(theirs);
    }

    /// The next offer. What the peer has refused, or was never offered, comes only when it is wished for: a hold adds no video.
    fn next_offer(&mut self) -> Result<SessionDescription, CreateOfferError> {
        let agreed: Vec<usize> = self
            .machine
            .current()
            .iter()
            .flat_map(|agreed| &agreed.streams)
            .map(|stream| stream.stream)
            .collect();
        self.change_offered = self.before_change.is_some();
        if self.change_offered || agreed.is_empty() {
            return self.machine.create_offer();
        }
        let local = self.machine.local().clone();
        for index in (0..local.streams.len()).filter(|index| !agreed.contains(index)) {
            if let Err(error) = self.machine.remove_stream(index) {
                tracing::warn!(%error, "a stream cannot be left out");
            }
        }
        let offer = self.machine.create_offer();
        // They are accepted all the same if the peer offers them.
        if let Err(error) = self.machine.set_local(local) {
            tracing::warn!(%error, "a stream cannot be taken up again");
        }
        offer
    }

    /// The offer to make if the first is refused. Protection that may be had or not is offered as `RTP/AVP` with keys (RFC 8643
    /// §3.1), which a peer that takes `RTP/SAVP` alone refuses: it is offered that.
    pub(super) fn prepare_second_offer(&mut self) -> Option<Body> {
        let mut local = self.machine.local().clone();
        let optional = |stream: &&mut LocalStream| stream.protection == Protection::SdesOptional;
        let mut found = false;
        for stream in local.streams.iter_mut().filter(optional) {
            stream.protection = Protection::SdesRequired;
            found = true;
        }
        if !found {
            return None;
        }
        let mut second = self.machine.clone();
        second.rollback();
        second.set_local(local).ok()?;
        let offer = second.create_offer().ok()?;
        self.early.get_or_insert_default().second = Some(Box::new(second));
        Some(Body::sdp(offer.to_string()))
    }

    /// We have said this before the answer.
    pub(super) fn said_early(&mut self, answer: String) {
        self.early.get_or_insert_default().answer = Some(answer);
    }

    /// What we said before the answer, if we did.
    pub(super) fn early_answer(&self) -> Option<&str> {
        self.early.as_ref()?.answer.as_deref()
    }

    /// Our answer is out: what was said before has served.
    pub(super) fn answer_is_out(&mut self) {
        self.established = self.machine.current().is_some();
        self.early = None;
    }

    /// Media is wanted at another address, from the next offer or answer on.
    pub(super) fn relocate(&mut self, moved: &LocalMedia) {
        let early = self.early.as_deref_mut();
        let early =
            early.map(|early| (early.machines.iter_mut().map(|(_, machine)| machine), &mut early.second));
        let early = early.into_iter().flat_map(|(machines, second)| machines.chain(second.as_deref_mut()));
        for machine in early.chain([&mut self.machine]) {
            let mut local = machine.local().clone();
            move_streams(&mut local, moved);
            if let Err(error) = machine.set_local(local) {
                tracing::warn!(%error, "the new media address cannot be described");
            }
        }
        if let Some(before) = &mut self.before_change {
            move_streams(before, moved);
        }
    }

    /// The machine of a dialog: its own if there was an exchange in it before the answer.
    fn machine_of(&mut self, dialog: &DialogId) -> &mut OfferAnswer {
        let mut early = self.early.iter_mut().flat_map(|early| &mut early.machines);
        match early.find(|(early, _)| early == dialog) {
            Some((_, machine)) => machine,
            None => &mut self.machine,
        }
    }
}

fn move_streams(local: &mut LocalMedia, moved: &LocalMedia) {
    for (stream, moved) in local.streams.iter_mut().zip(&moved.streams) {
        stream.relocate(moved.address);
        stream.keys.clone_from(&moved.keys);
    }
}

impl PhoneCore {
    /// Brings other media into a call from now on, by a re-INVITE: a stream added to those there were is offered, one that is not
    /// [enabled](LocalStream::enabled) any more ends, one that the peer had refused is offered again. Streams keep their index.
    /// [`PhoneEvent::MediaChanged`] or [`PhoneEvent::ChangeRefused`] follows; with a refusal the media are those of before.
    ///
    /// # Errors
    /// If the media cannot be described, or there is no such call.
    pub fn change_media(&mut self, now: Instant, call: CallKey, media: LocalMedia) -> Result<(), PhoneError> {
        let session = self.sessions.get_mut(&call).ok_or(PhoneError::NoSuchCall)?;
        let before = session.machine.local().clone();
        session.machine.set_local(media)?;
        session.before_change.get_or_insert_with(|| Box::new(before));
        self.wish(now, call, Wish::Media)
    }

    /// Whether the offer of a call that rings here has video in it.
    pub fn offers_video(&self, call: CallKey) -> bool {
        let offer = self.ringing.get(&call).and_then(|ringing| ringing.offer.as_ref());
        offer.is_some_and(|offer| {
            let video = |section: sdp::MediaSection<'_>| {
                section.kind().eq_ignore_ascii_case(MediaKind::Video.as_str()) && section.port() != 0
            };
            offer.media().any(video)
        })
    }

    pub(super) fn incoming(
        &mut self,
        now: Instant,
        call: CallKey,
        request: Request,
        path: Path,
        replaces: Option<CallKey>,
    ) {
        let offer = match description(&request.headers, request.body()) {
            Ok(offer) => offer,
            Err(status) => return self.refuse_body(now, call, status),
        };
        if self.how_to_answer(&request, &path) == super::HowToAnswer::NotAtAll {
            return self.refuse_body(now, call, StatusCode::FORBIDDEN); // RFC 5373 §4.5.1
        }
        self.ringing.insert(call, Ringing { offer: offer.map(Box::new), bad_media: false });
        self.events.push_back(PhoneEvent::Incoming { call, request, path, replaces });
    }

    fn refuse_body(&mut self, now: Instant, call: CallKey, status: StatusCode) {
        let accept = [("Accept", "application/sdp")];
        let fields: &[(&str, &str)] =
            if status == StatusCode::UNSUPPORTED_MEDIA_TYPE { &accept } else { &[] };
        if let Err(error) = self.dialogs.reject_with(now, call, status, fields) {
            tracing::debug!(%error, "the call to refuse is gone");
        }
    }

    /// A provisional response to our INVITE. Each phone of a fork answers the same offer: what it says before the answer
    /// continues on a copy.
    pub(super) fn progress(
        &mut self,
        now: Instant,
        call: CallKey,
        dialog: Option<DialogId>,
        response: Response,
        described: Described,
    ) {
        let early_media = match (self.early_session(call, &response, described), dialog) {
            (Some((machine, answer, wanted)), Some(dialog)) => {
                if let Some(session) = self.sessions.get_mut(&call) {
                    session.wanted_reports = wanted;
                }
                let agreed = machine.current().cloned();
                if let Some(answer) = answer {
                    let answer = Body::sdp(answer.to_string());
                    if let Err(error) = self.dialogs.acknowledge_provisional(now, call, &dialog, answer) {
                        tracing::debug!(%error, "an early offer came too late");
                    }
                }
                if described != Described::Preview
                    && let Some(session) = self.sessions.get_mut(&call)
                {
                    session.early.get_or_insert_default().machines.push((dialog, machine));
                }
                agreed
            }
            (early, _) => early.and_then(|(machine, ..)| machine.current().cloned()),
        };
        self.events.push_back(PhoneEvent::Progress { call, response, early_media });
    }

    /// What a provisional response agrees on, and our answer if it offers.
    fn early_session(
        &self,
        call: CallKey,
        response: &Response,
        described: Described,
    ) -> Option<(OfferAnswer, Option<SessionDescription>, Wanted)> {
        let session = self.sessions.get(&call)?;
        let theirs = description(&response.headers, response.body()).ok().flatten()?;
        let wanted = wanted_reports(&theirs);
        let mut machine = session.machine.clone();
        match described {
            Described::Nothing => None,
            Described::Preview | Described::Answer => {
                machine.receive_answer(&theirs).ok()?;
                Some((machine, None, wanted))
            }
            // An offer in a response cannot be refused: what cannot be taken is rejected line by line (RFC 6337 §2.3).
            Described::Offer => {
                let answer =
                    machine.receive_offer(&theirs).unwrap_or_else(|_| session.machine.refusal(&theirs));
                Some((machine, Some(answer), wanted))
            }
        }
    }

    /// The callee answered: what its phone agreed on with us before is the session from now on.
    pub(super) fn answered_in(&mut self, call: CallKey, dialog: &DialogId) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let early = session.early.take().map(|early| early.machines).unwrap_or_default();
        if let Some((_, machine)) = early.into_iter().find(|(early, _)| early == dialog) {
            session.machine = machine;
        }
    }

    /// Our offer was refused, and the second one is made; what phones said to the first counts no more.
    pub(super) fn offered_again(&mut self, call: CallKey) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        if let Some(second) = session.early.as_mut().and_then(|early| early.second.take()) {
            session.machine = *second;
            session.early = None;
        }
    }

    /// A 2xx to our INVITE or re-INVITE.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        call: CallKey,
        response: &Response,
        described: Described,
    ) {
        let outcome = match described {
            Described::Offer => self.take_offer_of_success(now, call, response),
            Described::Answer => self.take_answer(call, &response.headers, response.body()),
            Described::Preview | Described::Nothing => self.said_before(call),
        };
        match outcome {
            Ok(()) => self.agreed(call, true),
            Err(reason) => self.no_media(now, call, &reason),
        }
        self.grant_wish(now, call);
    }

    /// A 2xx that says nothing of media: a reliable provisional response has, or there is none.
    fn said_before(&mut self, call: CallKey) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&call) else { return Ok(()) };
        match session.machine.current() {
            Some(agreed) if !agreed.streams.is_empty() && session.machine.state() == sdp::State::Stable => {
                Ok(())
            }
            Some(_) if session.machine.state() == sdp::State::Stable => {
                Err("every stream was refused".into())
            }
            _ => Err("our offer was not answered".into()),
        }
    }

    /// The PRACK for our reliable provisional response: it brings the answer if we offered.
    pub(super) fn provisional_acknowledged(
        &mut self,
        now: Instant,
        call: CallKey,
        prack: &Request,
        described: Described,
    ) {
        let open = self.sessions.get(&call).map(|session| session.machine.state());
        if open != Some(sdp::State::HaveLocalOffer) {
            return;
        }
        let outcome = match described {
            Described::Answer => self.take_answer(call, &prack.headers, prack.body()),
            _ => Err("the PRACK brought no answer to our offer".into()),
        };
        match outcome {
            Ok(()) => self.early_media(call),
            Err(reason) => self.no_media(now, call, &reason),
        }
    }

    /// The peer did not take our answer in PRACK: what was agreed before it holds, or nothing.
    pub(super) fn answer_refused(&mut self, call: CallKey, dialog: &DialogId) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        if session.established {
            if session.machine_of(dialog).undo_answer() {
                self.changed(call, dialog, false);
            }
        } else if let Some(early) = &mut session.early {
            early.machines.retain(|(early, _)| early != dialog);
        }
    }

    /// We can be heard before the answer.
    pub(super) fn early_media(&mut self, call: CallKey) {
        let Some(session) = self.sessions.get(&call) else { return };
        if let Some(media) = session.machine.current().cloned() {
            self.events.push_back(PhoneEvent::EarlyMedia { call, media });
        }
    }

    /// The peer offers a change by UPDATE or PRACK (RFC 3311 §5.2): answered at once, as a re-INVITE is.
    pub(super) fn offered(&mut self, now: Instant, offer: &OfferKey, request: &Request) {
        let theirs = match description(&request.headers, request.body()) {
            Ok(Some(theirs)) => theirs,
            Ok(None) => return self.refuse_change(now, offer, StatusCode::BAD_REQUEST, None),
            Err(status) => return self.refuse_change(now, offer, status, None),
        };
        let Some(session) = self.sessions.get_mut(&offer.call) else {
            return self.refuse_change(now, offer, StatusCode::REQUEST_PENDING, None); // it rings, and has no media
        };
        match session.machine_of(&offer.dialog).receive_offer(&theirs) {
            Ok(answer) => {
                session.note_wanted(&theirs);
                if let Err(error) = self.dialogs.answer_offer(now, offer, Body::sdp(answer.to_string())) {
                    tracing::debug!(%error, "an offer was withdrawn before its answer");
                }
                self.changed(offer.call, &offer.dialog, false);
            }
            Err(error) => {
                let status = StatusCode::new(error.status()).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE);
                self.refuse_change(now, offer, status, super::warning_of(&error).as_deref());
            }
        }
    }

    fn refuse_change(&mut self, now: Instant, offer: &OfferKey, status: StatusCode, warning: Option<&str>) {
        let fields: Vec<(&str, &str)> = match (status, warning) {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, _) => vec![("Accept", "application/sdp")],
            (_, Some(text)) => vec![("Warning", text)],
            _ => Vec::new(),
        };
        if let Err(error) = self.dialogs.refuse_offer(now, offer, status, &fields) {
            tracing::debug!(%error, "an offer was withdrawn before its refusal");
        }
    }

    /// The session of a dialog is another one now, before the answer or after.
    fn changed(&mut self, call: CallKey, dialog: &DialogId, by_us: bool) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        let established = session.established;
        let Some(media) = session.machine_of(dialog).current().cloned() else { return };
        self.events.push_back(match established {
            true => PhoneEvent::MediaChanged { call, media, by_us },
            false => PhoneEvent::EarlyMedia { call, media },
        });
    }

    fn take_answer(&mut self, call: CallKey, headers: &Headers, body: &[u8]) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(&call) else { return Ok(()) };
        let answer = description(headers, body)
            .map_err(|status| format!("the answer cannot be read ({status})"))?
            .ok_or("our offer was not answered")?;
        session.note_wanted(&answer);
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
        session.note_wanted(&offer);
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
        if by_us && std::mem::take(&mut session.change_offered) {
            session.before_change = None;
        }
        session.machine.settle();
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
        if let Some(session) = self.sessions.get_mut(&call) {
            session.machine.settle(); // our answer has arrived
        }
        // We offered in a reliable response, and its PRACK answered after we had accepted: this is when the call stands.
        if self
            .sessions
            .get(&call)
            .is_some_and(|session| !session.established && session.machine.current().is_some())
        {
            self.agreed(call, false);
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
            Some(offer) => {
                session.note_wanted(&offer);
                session.machine.receive_offer(&offer).map_err(Some)
            }
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
        session.machine.revert_hold();
        if std::mem::take(&mut session.change_offered)
            && let Some(before) = session.before_change.take()
            && let Err(error) = session.machine.set_local(*before)
        {
            tracing::warn!(%error, "the media of before cannot be described");
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

    /// Describes other media of a call from the next offer or answer on.
    pub(crate) fn redescribe(&mut self, call: CallKey, local: sdp::LocalMedia) -> Result<(), PhoneError> {
        let session = self.sessions.get_mut(&call).ok_or(PhoneError::NoSuchCall)?;
        Ok(session.machine.set_local(local)?)
    }

    /// The same, and offers it.
    pub(crate) fn offer_anew(
        &mut self,
        now: Instant,
        call: CallKey,
        local: sdp::LocalMedia,
    ) -> Result<(), PhoneError> {
        self.redescribe(call, local)?;
        self.wish(now, call, Wish::Refresh)
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
            Wish::Refresh | Wish::Media => {}
        }
        let offer = match session.next_offer() {
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
