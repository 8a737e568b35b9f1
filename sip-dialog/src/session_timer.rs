//! Session timers (RFC 4028): a call whose other end is gone is found dead, by a refresh that one side owes the other.
//!
//! ```text
//!   INVITE  Session-Expires: 1800, Min-SE: 90      422 Min-SE: 3600: once more with 3600
//!   200     Session-Expires: 1800;refresher=uac    the refresher: UPDATE, or re-INVITE, after half of it
//!                                                  nobody refreshed: BYE shortly before the end
//! ```

use std::time::{Duration, Instant};

use sip_message::headers::{MinSe, OptionTag, Refresher, Require, SessionExpires};
use sip_message::{Method, Request, Response, ResponseBuilder, StatusCode};
use sip_transaction::ServerTx;

use crate::call::CallState;
use crate::deadlines::Due;
use crate::event::{CallKey, Cause, Error, Event};
use crate::layer::Dialogs;
use crate::options::{requires, supports};
use crate::update::OwnUpdate;

/// No interval may be shorter (RFC 4028 §4).
const LEAST: u32 = 90;
/// How long a refresh waits that finds another change of the session under way.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(2);
/// Intervals asked for after a 422: proxies on the way may each want more, but not for ever.
pub(crate) const MAX_TOO_BRIEF: u8 = 4;

/// The session timer that a phone asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// Seconds that a session lives without a refresh.
    pub interval: u32,
    /// The least that we take from others, in seconds; never below 90 (RFC 4028 §5).
    pub minimum: u32,
}

impl Default for SessionTimer {
    /// Half an hour, as RFC 4028 §4 recommends.
    fn default() -> Self {
        Self { interval: 1800, minimum: LEAST }
    }
}

/// What both sides agreed on with the last 2xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    interval: u32,
    /// Whether the refreshes are ours to send.
    ours: bool,
}

/// When a refresh is due (RFC 4028 §10).
fn refresh_after(interval: u32) -> Duration {
    Duration::from_secs((interval / 2).into())
}

/// When a session that nobody refreshed is over (RFC 4028 §10): BYE a little before the end, the lesser of 32 seconds and a third
/// of the interval.
fn expires_after(interval: u32) -> Duration {
    Duration::from_secs(interval.saturating_sub((interval / 3).min(32)).into())
}

impl Dialogs {
    /// What a session refresh request of ours asks for (RFC 4028 §7.1, §7.4).
    pub(crate) fn ask_timer(&self, key: CallKey, request: &mut Request) {
        let Some(config) = self.config.session_timer else { return };
        let session = self.calls.get(&key).map(|call| &call.session);
        let heard = session.and_then(|session| session.min_se);
        let least = heard.max(Some(config.minimum)).unwrap_or(LEAST).max(LEAST);
        let agreed = session.and_then(|session| session.timer);
        let interval = agreed.map_or(config.interval, |agreed| agreed.interval).max(least);
        let mut expires = SessionExpires::new(interval);
        if let Some(agreed) = agreed {
            expires = expires.with_refresher(if agreed.ours { Refresher::Uac } else { Refresher::Uas });
        }
        request.headers.set(&expires);
        if least > LEAST || heard.is_some() {
            request.headers.set(&MinSe::new(least));
        }
    }

    /// Whether the interval of a session refresh request of the peer is long enough; else what is (RFC 4028 §9). A peer
    /// without the extension cannot be asked for more: a proxy put the field in.
    pub(crate) fn judge_timer(&self, request: &Request) -> Result<(), u32> {
        let Some(config) = self.config.session_timer else { return Ok(()) };
        let minimum = config.minimum.max(LEAST);
        match request.headers.get::<SessionExpires>() {
            Ok(Some(expires))
                if expires.seconds < minimum && supports(&request.headers, OptionTag::Timer) =>
            {
                Err(minimum)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn answer_too_brief(&mut self, now: Instant, tx: ServerTx, request: &Request, minimum: u32) {
        let tag = self.token();
        let builder =
            request.reply(StatusCode::SESSION_INTERVAL_TOO_SMALL).to_tag(&tag).header(&MinSe::new(minimum));
        match builder.build() {
            Ok(response) => self.answer(now, tx, response),
            Err(error) => tracing::error!(%error, "a 422 cannot be built"),
        }
    }

    /// What our 2xx says of the timer (RFC 4028 §9, Table 2), and the timer itself.
    pub(crate) fn grant_timer(
        &mut self,
        now: Instant,
        key: CallKey,
        request: &Request,
        builder: ResponseBuilder,
    ) -> ResponseBuilder {
        let Some(config) = self.config.session_timer else { return builder };
        let able = supports(&request.headers, OptionTag::Timer);
        let asked = request.headers.get::<SessionExpires>().ok().flatten();
        let least = request.headers.get::<MinSe>().ok().flatten().map_or(LEAST, |min| min.seconds.max(LEAST));
        let interval = match &asked {
            Some(asked) => asked.seconds.min(config.interval.max(least)).max(LEAST),
            None => config.interval.max(least),
        };
        let refresher = match (able, asked.as_ref().and_then(SessionExpires::refresher)) {
            (true, Some(refresher)) => refresher,
            (true, None) => Refresher::Uac,
            (false, _) => Refresher::Uas,
        };
        let ours = refresher == Refresher::Uas;
        self.set_timer(now, key, Some(Agreed { interval, ours }));
        let builder = builder.header(&SessionExpires::new(interval).with_refresher(refresher));
        if able { builder.header(&Require::from(OptionTag::Timer)) } else { builder }
    }

    /// The timer that a 2xx to our session refresh request sets (RFC 4028 §7.2).
    pub(crate) fn agree_timer(&mut self, now: Instant, key: CallKey, request: &Request, response: &Response) {
        if self.config.session_timer.is_none() {
            return;
        }
        let asked = request.headers.get::<SessionExpires>().ok().flatten();
        let agreed = match response.headers.get::<SessionExpires>().ok().flatten() {
            Some(granted) => Some(Agreed {
                interval: granted.seconds.max(LEAST),
                ours: granted.refresher() != Some(Refresher::Uas),
            }),
            // The peer knows no timers: the refreshes are for our benefit alone, and ours to send.
            None if !requires(&response.headers, OptionTag::Timer) => {
                asked.map(|asked| Agreed { interval: asked.seconds, ours: true })
            }
            None => None,
        };
        self.set_timer(now, key, agreed);
    }

    fn set_timer(&mut self, now: Instant, key: CallKey, agreed: Option<Agreed>) {
        self.deadlines.cancel(key, Due::Refresh);
        self.deadlines.cancel(key, Due::SessionExpired);
        let Some(call) = self.calls.get_mut(&key) else { return };
        if matches!(call.state, CallState::Ending) {
            return;
        }
        call.session.timer = agreed;
        let Some(Agreed { interval, ours }) = agreed else { return };
        // One deadline at a time: a refresh that is ours comes first, and sees to the end.
        match ours {
            true => self.deadlines.arm(now + refresh_after(interval), key, Due::Refresh),
            false => self.deadlines.arm(now + expires_after(interval), key, Due::SessionExpired),
        }
    }

    /// Half of the interval is over and the refresh is ours: an UPDATE without an offer if the peer takes it, else the
    /// application sends its offer again (RFC 4028 §7.4).
    pub(crate) fn refresh_session(&mut self, now: Instant, key: CallKey) {
        let Some(call) = self.calls.get(&key) else { return };
        if let Some(Agreed { interval, .. }) = call.session.timer
            && !self.deadlines.is_armed(key, Due::SessionExpired)
        {
            let left = expires_after(interval).saturating_sub(refresh_after(interval));
            self.deadlines.arm(now + left, key, Due::SessionExpired);
        }
        if call.state != CallState::Confirmed {
            return self.deadlines.arm(now + BUSY_WAIT, key, Due::Refresh);
        }
        if !call.session.peer_takes_update || !self.config.allow.contains(&Method::Update) {
            return self.events.push_back(Event::RefreshDue { call: key });
        }
        match self.send_update(now, key, None, None, OwnUpdate::Session) {
            Ok(()) => {}
            Err(Error::Pending) => self.deadlines.arm(now + BUSY_WAIT, key, Due::Refresh),
            Err(error) => tracing::warn!(%error, "a session could not be refreshed"),
        }
    }

    /// Nobody refreshed: the other side, or the way to it, is gone (RFC 4028 §10).
    pub(crate) fn session_expired(&mut self, now: Instant, key: CallKey) {
        self.end_with_bye(now, key, Cause::SessionExpired);
    }
}
