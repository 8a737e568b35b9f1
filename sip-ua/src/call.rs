//! Calls as values: what cannot be done in a state has no method in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtp::audio_stream::Statistics;
use rtp::codec::Codec;
use sdp::CryptoSuite;
use sip_dialog::{Body, CallKey, Cause};
use sip_message::headers::{From, NameAddr, Reason};
use sip_message::{Method, Request, Response, StatusCode, Uri};
use sip_transport::Path;

use crate::core::{PhoneCore, PhoneError};
use crate::media::{Audio, MediaPlace, MediaReport, MediaSession, Video};
use crate::phone::{CallError, Phone};
use crate::requests::RequestError;
use crate::shell::{Ended, Mailbox, Progress, Shell};

/// Ends a call when nobody holds it any more: what is dropped is cancelled, refused or hung up.
#[derive(Debug)]
struct Held {
    phone: Phone,
    key: CallKey,
    /// Another value took the call over.
    released: bool,
}

impl Held {
    fn hand_over(mut self) -> Self {
        self.released = true;
        Self { phone: self.phone.clone(), key: self.key, released: false }
    }

    fn media(&self) -> Option<Arc<dyn MediaSession>> {
        self.phone.inner.with(|shell, _| shell.boxes.get(&self.key).and_then(|mailbox| mailbox.media.clone()))
    }

    /// Waits until media is agreed on, or the call is over.
    async fn agreed(&self) -> Result<(), Option<Ended>> {
        let look = |mailbox: Option<&mut Mailbox>| match mailbox {
            Some(mailbox) if mailbox.ended.is_some() => Some(Err(mailbox.ended.as_deref().cloned())),
            Some(mailbox) => mailbox.agreed.then_some(Ok(())),
            None => Some(Err(None)),
        };
        self.phone.inner.wait_for_call(self.key, look).await
    }

    fn ended(&self) -> impl Future<Output = Ended> {
        self.phone.inner.wait_for_call(self.key, |mailbox| match mailbox {
            Some(mailbox) => mailbox.ended.as_deref().cloned(),
            None => Some(Ended { cause: Cause::HungUp, bad_media: false }),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        let key = self.key;
        self.phone.inner.with(|shell, now| {
            // It may have ended by itself.
            let _ = shell.core.hang_up(now, key);
            shell.dispatch(now);
            shell.abandon(key);
        });
    }
}

/// A call that we make and that is not answered yet. Dropping it cancels it.
#[derive(Debug)]
pub struct OutgoingCall {
    held: Held,
    to: Uri,
}

impl OutgoingCall {
    pub(crate) fn new(phone: Phone, key: CallKey, to: Uri) -> Self {
        Self { held: Held { phone, key, released: false }, to }
    }

    /// The next provisional response; `None` once there is an answer or an end.
    pub async fn progress(&mut self) -> Option<Progress> {
        let key = self.held.key;
        self.held
            .phone
            .inner
            .wait_for_call(key, |mailbox| {
                let Some(mailbox) = mailbox else { return Some(None) };
                match mailbox.rare().and_then(|rare| rare.progress.pop_front()) {
                    Some(progress) => Some(Some(progress)),
                    None => (mailbox.agreed || mailbox.ended.is_some()).then_some(None),
                }
            })
            .await
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// Why the call did not come about.
    pub async fn answered(self) -> Result<Call, CallError> {
        match self.held.agreed().await {
            Ok(()) => Call::new(self.held.hand_over(), Arc::new(NameAddr::new(&self.to))),
            Err(ended) => {
                if let Some(media) = self.held.media() {
                    media.finished().await;
                }
                Err(error_of(ended))
            }
        }
    }

    /// Where a server sent the call last, if it did (3xx).
    pub fn redirected_to(&self) -> Option<Uri> {
        let key = self.held.key;
        self.held.phone.inner.with(|shell, _| shell.boxes.get_mut(&key)?.rare()?.redirected.clone())
    }

    /// Gives up; [`answered`](Self::answered) then tells how it ended, which can still be with an answer that
    /// crossed and was hung up.
    pub fn cancel(&self) {
        let key = self.held.key;
        self.held.phone.inner.with(|shell, now| {
            let _ = shell.core.hang_up(now, key);
        });
    }

    /// Early media, and the means to prepare what is played.
    pub fn audio(&self) -> Option<Audio> {
        self.held.media().and_then(|media| media.audio())
    }
}

fn error_of(ended: Option<Ended>) -> CallError {
    let Some(Ended { cause, bad_media }) = ended else { return CallError::Cancelled };
    if bad_media {
        return CallError::BadMedia;
    }
    match cause {
        Cause::Rejected(response) => {
            CallError::Rejected { status: response.status(), reason: response.reason().into() }
        }
        Cause::Refused(status) => CallError::Rejected { status, reason: status.reason().into() },
        Cause::Cancelled | Cause::CancelledByCaller(_) => CallError::Cancelled,
        Cause::Failed(sip_transaction::Failure::Timeout) => CallError::TimedOut,
        Cause::Failed(failure) => CallError::Unreachable(failure.to_string()),
        Cause::Lost(status) => CallError::Ended(format!("the peer lost it ({})", status.code())),
        Cause::HungUp => CallError::Ended("we hung up".into()),
        Cause::HungUpByPeer(_) => CallError::Ended("the peer hung up".into()),
        Cause::NotAcknowledged => CallError::Ended("the caller never acknowledged the answer".into()),
        Cause::NoAnswer => CallError::TimedOut,
        Cause::SessionExpired => CallError::Ended("the peer no longer refreshes the session".into()),
        Cause::ReplacedBy(_) => CallError::Ended("another call took its place".into()),
        _ => CallError::Ended("for another reason".into()),
    }
}

/// A call that comes in and is not answered yet. Dropping it answers 480.
#[derive(Debug)]
pub struct IncomingCall {
    held: Held,
    /// Apart, so that a task that waits for the end of a call does not carry it along.
    arrived: Box<Arrived>,
}

#[derive(Debug)]
struct Arrived {
    request: Request,
    path: Path,
    from: NameAddr,
    replaces: bool,
}

impl IncomingCall {
    pub(crate) fn new(
        phone: Phone,
        key: CallKey,
        request: Request,
        path: Path,
        replaces: bool,
    ) -> Option<Self> {
        let held = Held { phone, key, released: false };
        let from: From = request.headers.get().ok().flatten()?;
        let arrived = Arrived { request, path, from: from.0, replaces };
        Some(Self { held, arrived: Box::new(arrived) })
    }

    /// Who calls.
    pub fn from(&self) -> &NameAddr {
        &self.arrived.from
    }

    /// The way that it came.
    pub fn path(&self) -> &Path {
        &self.arrived.path
    }

    pub(crate) fn phone(&self) -> &Phone {
        &self.held.phone
    }

    /// The INVITE.
    pub fn request(&self) -> &Request {
        &self.arrived.request
    }

    /// Whether it takes the place of a call that we have (RFC 3891): a transfer, or a pick-up. Answering it ends that one.
    pub fn replaces_a_call(&self) -> bool {
        self.arrived.replaces
    }

    /// Tells the caller that it rings here (180).
    ///
    /// # Errors
    /// If the caller has given up.
    pub fn ring(&self) -> Result<(), CallError> {
        let key = self.held.key;
        Ok(self.held.phone.inner.with(|shell, now| shell.core.ring(now, key, StatusCode::RINGING))?)
    }

    /// Speaks to the caller before the answer (183 with media, RFC 3960): an announcement, a ringing tone of one's own. The
    /// sound is what [`answer`](Self::answer) goes on with.
    ///
    /// # Errors
    /// If the caller has given up, or no media can be agreed on; the call is refused then. If the caller offered nothing
    /// and takes no reliable responses, nothing can be said before the answer.
    pub async fn early_media(&self) -> Result<Audio, CallError> {
        let audio = |media: &Arc<dyn MediaSession>| media.audio().unwrap_or_default();
        if let Some(media) = self.held.media() {
            return Ok(audio(&media));
        }
        let media = self.open_media().await?;
        let (key, local) = (self.held.key, media.describe());
        let status = StatusCode::SESSION_PROGRESS;
        self.attach(&media, |core, now| core.ring_with_media(now, key, status, local))?;
        Ok(audio(&media))
    }

    /// Answers. Returns when media is agreed on: at once, or with the caller's ACK if it had offered nothing.
    ///
    /// # Errors
    /// If the caller has given up, or no media can be agreed on; the call is refused then.
    pub async fn answer(self) -> Result<Call, CallError> {
        // Apart, so that a task that answers and then waits for the end is no larger than its wait.
        Box::pin(self.answer_now()).await
    }

    async fn answer_now(self) -> Result<Call, CallError> {
        let key = self.held.key;
        if let Some(media) = self.held.media() {
            self.attach(&media, |core, now| core.answer_as_rung(now, key))?;
            return self.stand().await;
        }
        let media = self.open_media().await?;
        self.answer_with(media).await
    }

    /// Whether the caller offers pictures too.
    pub fn offers_video(&self) -> bool {
        self.held.phone.inner.with(|shell, _| shell.core.offers_video(self.held.key))
    }

    /// Answers with sound alone, whatever the caller offers and the phone has. [`Call::add_video`] can bring pictures later.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub async fn answer_without_video(self) -> Result<Call, CallError> {
        if self.held.media().is_some() {
            return self.answer().await; // it was agreed on before the answer
        }
        let media = self.open_media().await?;
        media.want_video(false)?;
        self.answer_with(media).await
    }

    /// Answers with these media.
    pub(crate) async fn answer_with(self, media: Arc<dyn MediaSession>) -> Result<Call, CallError> {
        let (key, local) = (self.held.key, media.describe());
        self.attach(&media, |core, now| core.answer(now, key, local))?;
        self.stand().await
    }

    async fn stand(self) -> Result<Call, CallError> {
        // A caller that offered nothing has its say in the ACK (RFC 3261 §13.2.1).
        self.held.agreed().await.map_err(error_of)?;
        let key = self.held.key;
        let dialog = |shell: &mut Shell| Some(shell.core.dialogs().dialog(key)?.remote_shared());
        let remote = self.held.phone.inner.with(|shell, _| dialog(shell));
        Call::new(self.held.hand_over(), remote.unwrap_or_else(|| Arc::new(self.arrived.from)))
    }

    async fn open_media(&self) -> Result<Arc<dyn MediaSession>, CallError> {
        Ok(self.held.phone.inner.engine.open(self.media_place()).await?)
    }

    /// Where the media of this call is to be.
    pub(crate) fn media_place(&self) -> MediaPlace {
        let inner = &self.held.phone.inner;
        let offered = inner.with(|shell, _| shell.core.offered_address(self.held.key));
        inner.media_place(inner.listener_for(&self.arrived.path, offered).as_ref())
    }

    /// Gives the call its media and tells the caller; takes the media away if that fails.
    fn attach(
        &self,
        media: &Arc<dyn MediaSession>,
        tell: impl FnOnce(&mut PhoneCore, Instant) -> Result<(), PhoneError>,
    ) -> Result<(), CallError> {
        let told = self.held.phone.inner.with(|shell, now| {
            if let Some(mailbox) = shell.boxes.get_mut(&self.held.key) {
                mailbox.media = Some(Arc::clone(media));
            }
            let told = tell(&mut shell.core, now);
            if told.is_err()
                && let Some(mailbox) = shell.boxes.get_mut(&self.held.key)
            {
                mailbox.media = None;
            }
            told
        });
        told.map_err(|error| {
            media.close();
            match error {
                PhoneError::Incompatible(_) => CallError::BadMedia,
                error => CallError::Phone(error),
            }
        })
    }

    /// Refuses: 486 for busy, 603 for no.
    ///
    /// # Errors
    /// If the caller has given up.
    pub fn reject(self, status: StatusCode) -> Result<(), CallError> {
        let key = self.held.key;
        Ok(self.held.phone.inner.with(|shell, now| shell.core.reject(now, key, status))?)
    }

    /// Waits until the caller gives up.
    pub async fn ended(&self) -> Ended {
        self.held.ended().await
    }
}

/// What a call was, once it is over.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How it ended.
    pub ended: Ended,
    /// From the answer to the end.
    pub duration: Duration,
    /// What was sent and heard.
    pub statistics: Statistics,
    /// The codec in which we sent last, if the media was the phone's own.
    pub codec: Option<Codec>,
    /// The crypto suite that protected the call at its end, if one did.
    pub crypto_suite: Option<CryptoSuite>,
}

/// A call that stands. Dropping it hangs up.
#[derive(Debug)]
pub struct Call {
    held: Held,
    media: Arc<dyn MediaSession>,
    /// Shared with the dialog, where it came from there.
    remote: Arc<NameAddr>,
    since: Instant,
}

/// Why a change of a call did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The peer refused.
    #[error("the peer refused: {} {}", .0.code(), .0.reason())]
    Refused(StatusCode),
    /// The peer goes on without it: it takes no video.
    #[error("the peer does not take it")]
    NotTaken,
    /// There is nothing to do it with: the phone was set up without video.
    #[error("the phone has none: {0}")]
    Unsupported(String),
    /// The call is over.
    #[error("the call is over")]
    Ended,
}

/// Changes a call by a re-INVITE, and waits until it is agreed upon.
pub(crate) async fn change(
    phone: &Phone,
    key: CallKey,
    ask: impl FnOnce(&mut PhoneCore, Instant, CallKey) -> Result<(), PhoneError>,
) -> Result<(), ChangeError> {
    let before = phone.inner.with(|shell, now| {
        let mailbox = shell.boxes.get_mut(&key)?;
        if let Some(rare) = mailbox.rare() {
            rare.refused.clear();
        }
        let before = mailbox.changes;
        ask(&mut shell.core, now, key).ok().map(|()| before)
    });
    let before = before.ok_or(ChangeError::Ended)?;
    phone
        .inner
        .wait_for_call(key, |mailbox| {
            let Some(mailbox) = mailbox else { return Some(Err(ChangeError::Ended)) };
            if mailbox.changes > before {
                return Some(Ok(()));
            }
            if let Some(status) = mailbox.rare().and_then(|rare| rare.refused.pop_front()) {
                return Some(Err(ChangeError::Refused(status)));
            }
            mailbox.ended.is_some().then_some(Err(ChangeError::Ended))
        })
        .await
}

impl Call {
    fn new(held: Held, remote: Arc<NameAddr>) -> Result<Self, CallError> {
        let media = held.media().ok_or(CallError::BadMedia)?;
        let since = held.phone.inner.with(|shell, now| {
            shell.boxes.get(&held.key).and_then(|mailbox| mailbox.established_at).unwrap_or(now)
        });
        Ok(Self { held, media, remote, since })
    }

    /// Its key in the phone's core, for [`transfer_to_call`](Self::transfer_to_call) from elsewhere.
    pub fn key(&self) -> CallKey {
        self.held.key
    }

    pub(crate) fn phone(&self) -> &Phone {
        &self.held.phone
    }

    /// Who is at the other end.
    pub fn remote(&self) -> &NameAddr {
        &self.remote
    }

    /// Its media, whichever engine's it is.
    pub fn media(&self) -> &Arc<dyn MediaSession> {
        &self.media
    }

    /// Its sound. If another engine than the phone's own has the media, there is none to be had here, and what plays says so.
    pub fn audio(&self) -> Audio {
        self.media.audio().unwrap_or_default()
    }

    /// Its pictures, if both sides have them now.
    pub fn video(&self) -> Option<Video> {
        self.media.video()
    }

    /// Brings pictures into the call by a re-INVITE, or back into it.
    ///
    /// # Errors
    /// If the phone has no video ([`PhoneBuilder::video`](crate::PhoneBuilder::video)), the peer refuses or takes none, or the call
    /// ends.
    pub async fn add_video(&self) -> Result<Video, ChangeError> {
        if let Some(video) = self.video() {
            return Ok(video);
        }
        self.media.want_video(true).map_err(|error| ChangeError::Unsupported(error.to_string()))?;
        let described = self.media.describe();
        let outcome =
            change(self.phone(), self.held.key, |core, now, call| core.change_media(now, call, described))
                .await;
        match outcome.map(|()| self.video()) {
            Ok(Some(video)) => Ok(video),
            Ok(None) => Err(ChangeError::NotTaken),
            Err(error) => {
                let _ = self.media.want_video(false); // which never fails
                Err(error)
            }
        }
    }

    /// Takes the pictures out of the call by a re-INVITE; the sound goes on. The peer cannot bring them back, but
    /// [`add_video`](Self::add_video) can.
    ///
    /// # Errors
    /// If the peer refuses, or the call ends.
    pub async fn remove_video(&self) -> Result<(), ChangeError> {
        let _ = self.media.want_video(false); // which never fails
        let described = self.media.describe();
        let outcome =
            change(self.phone(), self.held.key, |core, now, call| core.change_media(now, call, described))
                .await;
        if matches!(outcome, Err(ChangeError::Refused(_))) {
            let _ = self.media.want_video(true); // as before
        }
        outcome
    }

    /// Waits until pictures are in the call, as when the peer adds them; `None` when the call is over. A peer can add them if the
    /// phone has video and the call was not made or answered without.
    pub async fn video_added(&self) -> Option<Video> {
        let look = |mailbox: Option<&mut Mailbox>| match mailbox {
            Some(mailbox) if mailbox.ended.is_none() => self.video().map(Some),
            _ => Some(None),
        };
        self.held.phone.inner.wait_for_call(self.held.key, look).await
    }

    /// Counters and the estimated quality up to now.
    pub fn statistics(&self) -> Statistics {
        self.media.statistics()
    }

    /// What a report of the call's quality says of its media up to now, with what the peer told of what it hears; `None` before
    /// media was agreed on, and from an engine that reports nothing.
    pub fn media_report(&self) -> Option<MediaReport> {
        self.media.report()
    }

    /// Puts the peer on hold (RFC 3264 §8.4).
    ///
    /// # Errors
    /// If the peer refuses, or the call ends.
    pub async fn hold(&self) -> Result<(), ChangeError> {
        change(self.phone(), self.held.key, PhoneCore::hold).await
    }

    /// Takes the peer off hold.
    ///
    /// # Errors
    /// If the peer refuses, or the call ends.
    pub async fn resume(&self) -> Result<(), ChangeError> {
        change(self.phone(), self.held.key, PhoneCore::resume).await
    }

    /// Asks the peer whether it is still there, by a re-INVITE that changes nothing.
    ///
    /// # Errors
    /// If the peer refuses, or the call ends.
    pub async fn refresh(&self) -> Result<(), ChangeError> {
        change(self.phone(), self.held.key, PhoneCore::refresh).await
    }

    /// Sends a request inside the call (INFO with or without a package, MESSAGE) and waits for its final response.
    ///
    /// # Errors
    /// If it is not answered with a 2xx, or the call is over.
    pub async fn request(
        &self,
        method: Method,
        fields: &[(&str, &str)],
        body: Option<Body>,
    ) -> Result<Response, RequestError> {
        let key = self.held.key;
        self.phone().answer_to(|core, now| core.request_in_call(now, key, method, fields, body)).await
    }

    /// Presses a key by INFO (`application/dtmf-relay`), for a peer that takes no telephone events
    /// ([`Audio::send_digits`]): `0-9 * # A-D`.
    ///
    /// # Errors
    /// If it is not answered with a 2xx, or the call is over.
    pub async fn press_by_info(&self, key: char) -> Result<Response, RequestError> {
        let octets = format!("Signal={key}\r\nDuration=160\r\n").into();
        let body = Body { content_type: "application/dtmf-relay".into(), octets };
        self.request(Method::Info, &[], Some(body)).await
    }

    /// Whether the peer has put us on hold.
    pub fn is_held_by_peer(&self) -> bool {
        self.held
            .phone
            .inner
            .with(|shell, _| shell.boxes.get(&self.held.key).is_some_and(|mailbox| mailbox.held_by_peer))
    }

    /// Waits until the call is over, whoever ends it, and its recording is written.
    pub async fn ended(&self) -> Summary {
        let ended = self.held.ended().await;
        let duration = self.since.elapsed();
        self.media.finished().await;
        let audio = self.media.audio();
        Summary {
            ended,
            duration,
            statistics: self.media.statistics(),
            codec: audio.as_ref().and_then(Audio::codec),
            crypto_suite: audio.as_ref().and_then(Audio::crypto_suite),
        }
    }

    /// Hangs up and waits for the confirmation.
    pub async fn hang_up(self) -> Summary {
        self.end(None).await
    }

    /// The same saying why: with a cause of the telephone network, as gateways do (RFC 3326).
    pub async fn hang_up_because(self, reason: &Reason) -> Summary {
        self.end(Some(reason)).await
    }

    async fn end(self, reason: Option<&Reason>) -> Summary {
        let key = self.held.key;
        self.held.phone.inner.with(|shell, now| {
            // The peer may have been faster.
            let _ = shell.core.hang_up_because(now, key, reason);
        });
        self.media.close(); // no sound after the hand is down
        self.ended().await
    }
}
