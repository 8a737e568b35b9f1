//! A phone and somebody who uses it: acts on what the phone tells, after a human's delay.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sdp::{Direction, LocalMedia, Negotiated};
use sip_dialog::{CallKey, Cause};
use sip_message::{StatusCode, Uri};
use sip_transport::{Answer, Close, Core, FlowEvent, Locals, Path, Query, Received, Token, Transmit};
use sip_ua::core::{PhoneCore, PhoneEvent};

/// What somebody does next, once the phone is ready for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Register,
    Call,
    Answer(CallKey),
    Hold,
    Resume,
    HangUp,
    Unregister,
}

/// How long somebody lets it ring.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Person {
    phone: PhoneCore,
    callee: Option<Uri>,
    media: LocalMedia,
    /// What is planned, in order of time.
    plan: VecDeque<(Instant, Act)>,
    call: Option<CallKey>,
    story: Story,
    /// What goes out again and again to keep a NAT's mapping: when next, how often, and where to.
    keep_alive: Option<(Instant, Duration, Path)>,
    now: Option<Instant>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    /// Directions agreed on, in order.
    pub(crate) agreed: Vec<Direction>,
    pub(crate) refused: Vec<StatusCode>,
    pub(crate) ended: Vec<Cause>,
    pub(crate) registered: usize,
    pub(crate) registration_failed: usize,
    pub(crate) unregistered: bool,
    pub(crate) calls_in: usize,
    /// A call, transaction or timer of one is left.
    pub(crate) left_over: Option<String>,
}

impl Person {
    pub(crate) fn new(phone: PhoneCore, media: &str, callee: Option<&str>) -> Self {
        Self {
            phone,
            callee: callee.map(|uri| uri.parse().unwrap()),
            media: LocalMedia::audio(media.parse().unwrap()),
            plan: VecDeque::new(),
            call: None,
            story: Story::default(),
            keep_alive: None,
            now: None,
        }
    }

    /// The phone's machine is in another network.
    pub(crate) fn move_to(&mut self, now: Instant, locals: &Locals, media: &str) {
        self.media = LocalMedia::audio(media.parse().unwrap());
        let media = &self.media;
        self.phone.network_changed(now, locals, |_, _| Some(media.clone()));
        self.react(now);
    }

    /// Calls somebody now; the call goes on as it comes.
    pub(crate) fn call(&mut self, now: Instant, to: &str) {
        self.call = Some(self.phone.call(now, &to.parse().unwrap(), self.media.clone()).unwrap());
        self.react(now);
    }

    /// Its flows: whether each works.
    pub(crate) fn flows(&self) -> Vec<bool> {
        self.phone.flows().iter().map(|flow| flow.works).collect()
    }

    /// Its call stands, and nobody is changing it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.call.is_some_and(|call| self.phone.dialogs().can_reinvite(call))
    }

    /// Where the peer of the call sends its sound to.
    pub(crate) fn hears_from(&self) -> Option<String> {
        let audio = self.phone.media(self.call?)?.audio()?;
        Some(audio.remote.to_string())
    }

    /// Sends a double CRLF this often, from now on.
    pub(crate) fn keep_alive(&mut self, now: Instant, every: Duration, path: Path) {
        self.keep_alive = Some((now + every, every, path));
    }

    pub(crate) fn story(&mut self) -> Story {
        let left = self.call.is_some() || !self.phone.is_idle();
        self.story.left_over = left.then(|| format!("{:?}", self.phone));
        self.story.clone()
    }

    pub(crate) fn plan(&mut self, at: Instant, act: Act) {
        self.plan.push_back((at, act));
        self.plan.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    fn soon(&mut self, now: Instant, act: Act) {
        self.plan(now + Duration::from_millis(1500), act);
    }

    fn act(&mut self, now: Instant, act: Act) {
        let Self { phone, media, .. } = self;
        match act {
            Act::Register => phone.register(now).unwrap(),
            Act::Call => {
                let callee = self.callee.clone().unwrap();
                self.call = Some(phone.call(now, &callee, media.clone()).unwrap());
                // An INVITE that was answered 100 waits as long as its caller does (RFC 3261 §17.1.1.2): where every
                // 200 is lost and the callee has given up, nobody else ends it.
                self.plan(now + PATIENCE, Act::HangUp);
            }
            // The caller may have given up, the peer may have hung up: a person's phone says so, and nothing happens.
            Act::Answer(call) => drop(phone.answer(now, call, media.clone())),
            Act::Hold => drop(self.call.map(|call| phone.hold(now, call))),
            Act::Resume => drop(self.call.map(|call| phone.resume(now, call))),
            Act::HangUp => drop(self.call.map(|call| phone.hang_up(now, call))),
            Act::Unregister => phone.unregister(now).unwrap(),
        }
    }

    fn react(&mut self, now: Instant) {
        while let Some(event) = self.phone.poll_event() {
            match event {
                PhoneEvent::Registered(_) => {
                    self.story.registered += 1;
                    if self.story.registered == 1 && self.callee.is_some() {
                        // Time for the other one to register as well, whatever is lost.
                        self.plan(now + Duration::from_secs(30), Act::Call);
                    }
                }
                PhoneEvent::RegistrationFailed(_) => self.story.registration_failed += 1,
                PhoneEvent::Unregistered => self.story.unregistered = true,
                PhoneEvent::Incoming { call, .. } => {
                    self.story.calls_in += 1;
                    self.call = Some(call);
                    self.phone.ring(now, call, StatusCode::RINGING).unwrap();
                    self.soon(now, Act::Answer(call));
                }
                PhoneEvent::Established { media, .. } => {
                    self.agree(&media);
                    if self.callee.is_some() {
                        self.soon(now, Act::Hold);
                    }
                }
                PhoneEvent::MediaChanged { media, by_us, .. } => {
                    self.agree(&media);
                    if by_us {
                        let held = !media.audio().unwrap().may_receive();
                        self.soon(now, if held { Act::Resume } else { Act::HangUp });
                    }
                }
                PhoneEvent::ChangeRefused { status, .. } => {
                    self.story.refused.push(status);
                    self.soon(now, Act::HangUp);
                }
                PhoneEvent::Ended { cause, bad_media, .. } => {
                    assert!(!bad_media, "the media always fits: {cause:?}");
                    self.story.ended.push(cause);
                    self.call = None;
                    self.plan.retain(|(_, act)| matches!(act, Act::Unregister));
                }
                PhoneEvent::Progress { .. } | PhoneEvent::Confirmed { .. } => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    fn agree(&mut self, media: &Negotiated) {
        self.story.agreed.push(media.audio().unwrap().direction);
    }
}

impl Core for Person {
    fn receive(&mut self, now: Instant, received: Received) {
        self.phone.receive(now, received);
        self.react(now);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.phone.flow_event(now, event);
        self.react(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.phone.resolved(now, answer);
        self.react(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
        while let Some((at, act)) = self.plan.front().copied() {
            if at > now {
                break;
            }
            self.plan.pop_front();
            self.act(now, act);
            self.react(now);
        }
        self.phone.handle_timeout(now);
        self.react(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let keep_alive = self.keep_alive.map(|(at, ..)| at);
        let planned = self.plan.front().map(|(at, _)| *at);
        [planned, keep_alive, self.phone.poll_timeout()].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        if let Some((at, _, path)) = &self.keep_alive
            && *at <= self.now?
        {
            let (path, payload) = (*path, "\r\n\r\n".into());
            self.keep_alive = self.keep_alive.map(|(at, every, path)| (at + every, every, path));
            return Some(Transmit { path, payload, reopen: None, domain: None, token: Token::NONE });
        }
        self.phone.poll_transmit()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.phone.poll_query()
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.phone.poll_close()
    }
}
