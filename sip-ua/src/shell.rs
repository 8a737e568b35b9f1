//! Between the core and the handles: what happened to each call, kept until a handle asks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sdp::Negotiated;
use sip_dialog::{CallKey, Cause};
use sip_message::{Request, StatusCode};
use sip_transport::{Answer, Close, Core, FlowEvent, Path, Query, Received, Transmit};
use tokio::sync::Notify;

use crate::core::{PhoneCore, PhoneEvent};
use crate::media::Media;

/// Provisional responses that wait to be read; the oldest goes.
const MAX_PROGRESS: usize = 16;
/// Calls that wait for the application to look at them; more are answered 486.
const MAX_WAITING: usize = 64;

/// What goes on before the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    status: StatusCode,
    reason: String,
    /// Media may be heard already (RFC 3960).
    pub early_media: bool,
}

impl Progress {
    /// The provisional status: 180 when the far end rings.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its reason phrase.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Why.
    pub cause: Cause,
    /// Whether it ended because no media could be agreed on.
    pub bad_media: bool,
}

/// One call as its handles see it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pub(crate) progress: VecDeque<Progress>,
    pub(crate) media: Option<Arc<Media>>,
    pub(crate) agreed: Option<Negotiated>,
    pub(crate) established_at: Option<Instant>,
    /// Changes of the session by our own re-INVITEs, and refusals of them.
    pub(crate) changes: u64,
    pub(crate) refused: VecDeque<StatusCode>,
    pub(crate) ended: Option<Ended>,
    /// Nobody holds the call any more: forget it with its end.
    pub(crate) abandoned: bool,
}

/// The core and the mailboxes of its calls, behind the driver's one lock.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) core: PhoneCore,
    pub(crate) boxes: HashMap<CallKey, Mailbox>,
    pub(crate) incoming: VecDeque<(CallKey, Request, Path)>,
    /// The last outcome of a REGISTER, and how many there were.
    pub(crate) registration: Option<Result<Duration, StatusCode>>,
    pub(crate) registrations: u64,
    pub(crate) changed: Arc<Notify>,
}

impl Shell {
    pub(crate) fn new(core: PhoneCore) -> Self {
        Self {
            core,
            boxes: HashMap::new(),
            incoming: VecDeque::new(),
            registration: None,
            registrations: 0,
            changed: Arc::new(Notify::new()),
        }
    }

    /// Nobody holds this call any more.
    pub(crate) fn abandon(&mut self, call: CallKey) {
        let Some(mailbox) = self.boxes.get_mut(&call) else { return };
        mailbox.abandoned = true;
        if mailbox.ended.is_some() {
            self.boxes.remove(&call);
        }
    }

    /// Puts the core's events where the handles look.
    pub(crate) fn dispatch(&mut self, now: Instant) {
        let mut any = false;
        while let Some(event) = self.core.poll_event() {
            any = true;
            self.take(now, event);
        }
        if any {
            self.changed.notify_waiters();
        }
    }

    fn take(&mut self, now: Instant, event: PhoneEvent) {
        match event {
            PhoneEvent::Registered(lifetime) => self.registered(Ok(lifetime)),
            PhoneEvent::RegistrationFailed(status) => self.registered(Err(status)),
            PhoneEvent::Unregistered => self.registered(Ok(Duration::ZERO)),
            PhoneEvent::Incoming { call, request, path } => {
                if self.incoming.len() >= MAX_WAITING {
                    if let Err(error) = self.core.reject(now, call, StatusCode::BUSY_HERE) {
                        tracing::debug!(%error, "the call too many is gone already");
                    }
                    return;
                }
                self.boxes.insert(call, Mailbox::default());
                self.incoming.push_back((call, request, path));
            }
            PhoneEvent::Progress { call, response, early_media } => {
                let Some(mailbox) = self.boxes.get_mut(&call) else { return };
                if let (Some(agreed), Some(media)) = (&early_media, &mailbox.media) {
                    media.apply(agreed);
                }
                if mailbox.progress.len() >= MAX_PROGRESS {
                    mailbox.progress.pop_front();
                }
                mailbox.progress.push_back(Progress {
                    status: response.status(),
                    reason: response.reason().into(),
                    early_media: early_media.is_some(),
                });
            }
            PhoneEvent::Established { call, media } => {
                if let Some(mailbox) = self.boxes.get_mut(&call) {
                    mailbox.established_at = Some(now);
                    mailbox.agree(media);
                }
            }
            PhoneEvent::MediaChanged { call, media, by_us } => {
                if let Some(mailbox) = self.boxes.get_mut(&call) {
                    mailbox.changes = mailbox.changes.saturating_add(u64::from(by_us));
                    mailbox.agree(media);
                }
            }
            PhoneEvent::ChangeRefused { call, status } => {
                if let Some(mailbox) = self.boxes.get_mut(&call) {
                    mailbox.refused.truncate(MAX_PROGRESS);
                    mailbox.refused.push_back(status);
                }
            }
            PhoneEvent::Digit { call, digit } => {
                if let Some(media) = self.boxes.get(&call).and_then(|mailbox| mailbox.media.as_ref()) {
                    media.digit(digit);
                }
            }
            PhoneEvent::Ended { call, cause, bad_media } => {
                self.incoming.retain(|(waiting, ..)| *waiting != call);
                let Some(mailbox) = self.boxes.get_mut(&call) else { return };
                mailbox.ended = Some(Ended { cause, bad_media });
                if let Some(media) = &mailbox.media {
                    media.close();
                }
                if mailbox.abandoned {
                    self.boxes.remove(&call);
                }
            }
            PhoneEvent::Confirmed { .. } => {}
        }
    }

    fn registered(&mut self, outcome: Result<Duration, StatusCode>) {
        self.registration = Some(outcome);
        self.registrations = self.registrations.saturating_add(1);
    }
}

impl Mailbox {
    fn agree(&mut self, agreed: Negotiated) {
        if let Some(media) = &self.media {
            media.apply(&agreed);
        }
        self.agreed = Some(agreed);
    }
}

impl Core for Shell {
    fn receive(&mut self, now: Instant, received: Received) {
        self.core.receive(now, received);
        self.dispatch(now);
    }

    fn flow_event(&mut self, now: Instant, event: FlowEvent) {
        self.core.flow_event(now, event);
        self.dispatch(now);
    }

    fn resolved(&mut self, now: Instant, answer: Answer) {
        self.core.resolved(now, answer);
        self.dispatch(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.core.handle_timeout(now);
        self.dispatch(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.core.poll_transmit()
    }

    fn poll_query(&mut self) -> Option<Query> {
        self.core.poll_query()
    }

    fn poll_close(&mut self) -> Option<Close> {
        self.core.poll_close()
    }
}
