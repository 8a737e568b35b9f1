//! The phone over sockets.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sip_dialog::CallKey;
use sip_message::{StatusCode, Uri, ValueError};
use sip_transport::tokio::{Handle, Listen};
use sip_transport::{Local, Locals, Path};

use crate::call::{IncomingCall, OutgoingCall};
use crate::call_options::CallOptions;
use crate::core::{PhoneCore, PhoneError, PhoneFlow};
use crate::media::{MediaEngine, MediaPlace, MediaSession};
use crate::shell::{Mailbox, Shell};

/// How long [`Phone::close`] waits for peers to confirm that calls and the registration are over.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A phone: it registers, calls and is called. Cheap to clone; all clones are the same phone.
#[derive(Clone)]
pub struct Phone {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) handle: Handle<Shell>,
    /// Where it listens, as it was told.
    pub(crate) listen: Mutex<Vec<Listen>>,
    pub(crate) engine: Arc<dyn MediaEngine>,
    pub(crate) media_ip: Option<IpAddr>,
    pub(crate) sessions: crate::session::SessionOptions,
    pub(crate) changed: Arc<tokio::sync::Notify>,
}

impl std::fmt::Debug for Phone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phone").field("locals", &self.locals()).finish_non_exhaustive()
    }
}

/// Why a call could not begin, or did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The address is none.
    #[error("'{text}' is no address that can be called: {error}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        error: ValueError,
    },
    /// The far end, or a proxy for it, said no.
    #[error("{} {reason}", status.code())]
    Rejected {
        /// The final status.
        status: StatusCode,
        /// Its reason phrase.
        reason: String,
    },
    /// We cancelled, or the caller did.
    #[error("cancelled")]
    Cancelled,
    /// Nobody answered the INVITE.
    #[error("no answer from the network in time")]
    TimedOut,
    /// The INVITE could not be sent.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The two sides have no media in common, or the answer was none.
    #[error("no media could be agreed on")]
    BadMedia,
    /// It ended otherwise before it stood.
    #[error("the call ended: {0}")]
    Ended(String),
    /// No sockets for sound.
    #[error("no sockets for media: {0}")]
    Media(#[from] std::io::Error),
    /// The phone says no.
    #[error(transparent)]
    Phone(#[from] PhoneError),
}

impl CallError {
    /// The status that tells this failure best.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Rejected { status, .. } => Some(*status),
            Self::Cancelled => Some(StatusCode::REQUEST_TERMINATED),
            Self::TimedOut => Some(StatusCode::REQUEST_TIMEOUT),
            Self::Unreachable(_) => Some(StatusCode::SERVICE_UNAVAILABLE),
            Self::BadMedia => Some(StatusCode::NOT_ACCEPTABLE_HERE),
            _ => None,
        }
    }
}

/// The registrar's refusal, or that nobody answered (408, 503).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registrar says {} {}", status.code(), status.reason())]
pub struct RegisterError {
    /// The status.
    pub status: StatusCode,
}

impl Phone {
    /// The listeners, with their real ports.
    pub fn locals(&self) -> Locals {
        self.inner.handle.locals()
    }

    /// Registers and keeps the registration refreshed. Gives the time granted by the first answer.
    ///
    /// # Errors
    /// The status with which the registrar refused; the phone goes on trying.
    pub async fn register(&self) -> Result<Duration, RegisterError> {
        self.registration(PhoneCore::register).await
    }

    /// Removes the registration.
    pub async fn unregister(&self) {
        let outcome = self.registration(PhoneCore::unregister).await;
        if let Err(error) = outcome {
            tracing::debug!(%error, "unregistering");
        }
    }

    /// The ways to the phone: one for each outbound proxy (RFC 5626 §4.2).
    pub fn flows(&self) -> Vec<PhoneFlow> {
        self.inner.with(|shell, _| shell.core.flows())
    }

    async fn registration(
        &self,
        ask: fn(&mut PhoneCore, Instant) -> Result<(), PhoneError>,
    ) -> Result<Duration, RegisterError> {
        let asked = self.inner.with(|shell, now| {
            let before = shell.registrations;
            ask(&mut shell.core, now).map(|()| before)
        });
        let before = asked.map_err(|error| {
            tracing::warn!(%error, "a REGISTER could not be sent");
            RegisterError { status: StatusCode::SERVICE_UNAVAILABLE }
        })?;
        let outcome = self
            .inner
            .wait(|shell| if shell.registrations > before { shell.registration } else { None })
            .await;
        outcome.map_err(|status| RegisterError { status })
    }

    /// Calls somebody. The INVITE is out when this returns; its fate is told by the [`OutgoingCall`].
    ///
    /// # Errors
    /// If the address cannot be read, or no sockets for media are to be had.
    pub async fn call(&self, to: &str) -> Result<OutgoingCall, CallError> {
        self.call_with(to, CallOptions::default()).await
    }

    /// As [`Phone::call`], with options.
    ///
    /// # Errors
    /// As [`Phone::call`], or if a field cannot be written.
    pub async fn call_with(&self, to: &str, options: CallOptions) -> Result<OutgoingCall, CallError> {
        let to: Uri = to.parse().map_err(|error| CallError::Address { text: to.into(), error })?;
        let media = self.media_for(&to).await?;
        if options.without_video {
            media.want_video(false)?;
        }
        self.call_through(to, media, options)
    }

    /// Calls somebody with these media.
    pub(crate) fn call_through(
        &self,
        to: Uri,
        media: Arc<dyn MediaSession>,
        options: CallOptions,
    ) -> Result<OutgoingCall, CallError> {
        let local = media.describe();
        let placed = self.inner.with(|shell, now| {
            let key = shell.core.place(now, &to, local, options.details)?;
            shell.open(key, Mailbox { media: Some(Arc::clone(&media)), ..Mailbox::default() });
            Ok(key)
        });
        match placed {
            Ok(key) => Ok(OutgoingCall::new(self.clone(), key, to)),
            Err(error) => {
                media.close();
                Err(CallError::Phone(error))
            }
        }
    }

    /// Media for a call to `to`.
    pub(crate) async fn media_for(&self, to: &Uri) -> Result<Arc<dyn MediaSession>, CallError> {
        Ok(self.inner.engine.open(self.media_place_for(to)).await?)
    }

    /// Where the media of a call to `to` is to be.
    pub(crate) fn media_place_for(&self, to: &Uri) -> MediaPlace {
        let listener = self.inner.with(|shell, _| {
            let dialogs = shell.core.dialogs();
            dialogs.local_for(shell.core.first_hop(to)).ok().cloned()
        });
        self.inner.media_place(listener.as_ref())
    }

    /// Our own address.
    pub fn address(&self) -> String {
        self.inner.with(|shell, _| shell.core.identity().uri().to_string())
    }

    /// The next call that comes in; `None` once the phone is closed.
    pub async fn incoming(&self) -> Option<IncomingCall> {
        loop {
            let (key, request, path, replaces) = tokio::select! {
                biased; // what came before the end is told
                came = self.inner.wait(|shell| shell.incoming.pop_front()) => came,
                () = self.inner.handle.stopped() => return None,
            };
            if let Some(call) = IncomingCall::new(self.clone(), key, request, path, replaces) {
                return Some(call);
            }
        }
    }

    /// Messages that came since the start, of whatever kind: none at all, and nobody is there.
    pub fn heard(&self) -> u64 {
        self.inner.handle.counters().received
    }

    /// Hangs up every call, removes the registration, waits a few seconds for the confirmations, and stops.
    pub async fn close(&self) {
        let calls = self.inner.with(|shell, now| {
            let calls: Vec<_> = shell.boxes.keys().copied().collect();
            for call in &calls {
                // What has ended meanwhile needs no hanging up.
                let _ = shell.core.hang_up(now, *call);
            }
            calls
        });
        let all_ended = self.inner.wait(|shell| (shell.live == 0).then_some(()));
        let all = async {
            all_ended.await;
            let media: Vec<_> = self.inner.with(|shell, _| {
                calls.iter().filter_map(|call| shell.boxes.get(call)?.media.clone()).collect()
            });
            for media in media {
                media.finished().await;
            }
            let reported = |shell: &mut Shell| {
                shell.quality.as_ref().is_none_or(|quality| quality.all_answered()).then_some(())
            };
            self.inner.wait(reported).await;
            self.unregister().await;
        };
        if tokio::time::timeout(CLOSE_PATIENCE, all).await.is_err() {
            tracing::info!("closing without every confirmation");
        }
        self.inner.handle.close();
        self.inner.handle.stopped().await;
    }
}

/// The calls hold the phone: when it goes, each has been hung up already.
impl Drop for Inner {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl Inner {
    /// Runs something on the core, with the events that it makes put where handles look.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Shell, Instant) -> R) -> R {
        self.handle.with(|shell, now| {
            let result = act(shell, now);
            shell.dispatch(now);
            result
        })
    }

    /// Waits until `look` finds what it looks for in the news of one call; it sees `None` once the call is forgotten.
    pub(crate) fn wait_for_call<T>(
        &self,
        key: CallKey,
        mut look: impl FnMut(Option<&mut Mailbox>) -> Option<T>,
    ) -> impl Future<Output = T> {
        self.wait_for(
            move |shell| shell.boxes.get(&key).map(|mailbox| Arc::clone(&mailbox.changed)),
            move |shell| look(shell.boxes.get_mut(&key).map(|mailbox| &mut **mailbox)),
        )
    }

    /// Waits until `look` finds what it looks for, looking again when what `bell` gives rings. Every call that stands waits here, so
    /// that what the future carries counts: it holds nothing twice, as nested async functions do.
    pub(crate) fn wait_for<T>(
        &self,
        bell: impl FnOnce(&mut Shell) -> Option<Arc<tokio::sync::Notify>>,
        mut look: impl FnMut(&mut Shell) -> Option<T>,
    ) -> impl Future<Output = T> {
        let bell = self.handle.look(bell).unwrap_or_default();
        async move {
            loop {
                let mut rings = pin!(bell.notified());
                rings.as_mut().enable(); // a change between the look and the wait is not missed
                if let Some(found) = self.handle.look(&mut look) {
                    return found;
                }
                rings.await;
            }
        }
    }

    /// Waits until `look` finds what it looks for in the news of the phone as a whole.
    pub(crate) async fn wait<T>(&self, look: impl FnMut(&mut Shell) -> Option<T>) -> T {
        self.wait_for(|_| Some(Arc::clone(&self.changed)), look).await
    }

    /// Where the media of a call is: bound where the listener of the call's signalling is, told to the peer as that listener is told.
    pub(crate) fn media_place(&self, listener: Option<&Local>) -> MediaPlace {
        let bound = self.media_ip.or(listener.map(|local| local.bound.ip()));
        let bind = bound.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let told = self
            .media_ip
            .or_else(|| listener.and_then(|local| sip_transport::locals::parse_ip(&local.host)))
            .filter(|told| told.is_ipv4() == bind.is_ipv4())
            .unwrap_or(bind);
        MediaPlace { bind, told }
    }

    /// The listener whose address suits the media of a call that came on `path`: of the family that the caller's offer
    /// names (RFC 6157), else the one that the call came to.
    pub(crate) fn listener_for(&self, path: &Path, offered: Option<SocketAddr>) -> Option<Local> {
        let locals = self.handle.locals();
        let came_to = locals.at(path);
        let fits = |local: &&Local| offered.is_none_or(|offered| local.reaches(offered.ip()));
        came_to.filter(fits).or_else(|| locals.iter().find(fits)).or(came_to).cloned()
    }
}
