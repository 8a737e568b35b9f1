//! The phone over sockets.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sdp::LocalMedia;
use sip_message::headers::{InstanceId, NameAddr, Route};
use sip_message::{StatusCode, Uri, ValueError};
use sip_transport::tokio::tls::Tls;
use sip_transport::tokio::{
    BindError as SocketError, Driver, Handle, Listen, ListenError, Options, Sockets, Tap,
};
use sip_transport::{Local, Locals, Path, Transport};

use crate::call::{IncomingCall, OutgoingCall};
use crate::core::{PhoneConfig, PhoneCore, PhoneError};
use crate::media::{MediaOptions, MediaPort, MediaTap};
use crate::shell::{Mailbox, Shell};

/// How long [`Phone::close`] waits for peers to confirm that calls and the registration are over.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A phone: it registers, calls and is called. Cheap to clone; all clones are the same phone.
#[derive(Clone)]
pub struct Phone {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    handle: Handle<Shell>,
    locals: Locals,
    media: MediaOptions,
    media_ip: Option<IpAddr>,
    changed: Arc<tokio::sync::Notify>,
}

impl std::fmt::Debug for Phone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phone").field("locals", &self.inner.locals).finish_non_exhaustive()
    }
}

/// Why a phone could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// An address is none.
    #[error("'{text}' is no SIP address: {error}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        error: ValueError,
    },
    /// A listener cannot be read.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The operating system gives no random numbers, without which tags and keys could be guessed.
    #[error("no random numbers from the operating system: {0}")]
    Random(#[from] getrandom::Error),
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
    /// The operating system gives no random numbers.
    #[error("no random numbers from the operating system: {0}")]
    Random(#[from] getrandom::Error),
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

/// A phone in the making.
#[must_use = "a builder does nothing until bind()"]
pub struct PhoneBuilder {
    address: String,
    display_name: String,
    username: String,
    password: Option<String>,
    proxy: Option<String>,
    registrar: Option<String>,
    expires: u32,
    instance: Option<InstanceId>,
    listen: Vec<String>,
    tls: Option<Tls>,
    media_ip: Option<IpAddr>,
    user_agent: String,
    tap: Option<Box<dyn Tap>>,
    media_tap: Option<MediaTap>,
    rtcp_interval: Option<Duration>,
}

impl std::fmt::Debug for PhoneBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PhoneBuilder").field("address", &self.address).finish_non_exhaustive()
    }
}

impl PhoneBuilder {
    /// The name that others are shown.
    pub fn display_name(mut self, name: &str) -> Self {
        self.display_name = name.into();
        self
    }

    /// The user name for those who challenge us, if it is not the user of the address.
    pub fn username(mut self, name: &str) -> Self {
        self.username = name.into();
        self
    }

    /// The password for those who challenge us.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The proxy that every request passes first: `sip:192.0.2.1:5060`.
    pub fn proxy(mut self, uri: &str) -> Self {
        self.proxy = Some(uri.into());
        self
    }

    /// Where to register, if it is not the domain of the address.
    pub fn registrar(mut self, uri: &str) -> Self {
        self.registrar = Some(uri.into());
        self
    }

    /// How long a registration is asked for, in seconds.
    pub fn expires(mut self, seconds: u32) -> Self {
        self.expires = seconds;
        self
    }

    /// Who this phone is, whatever its address: the flow itself is registered then, kept alive and replaced when it is dead
    /// (RFC 5626). Has to be the same after each start, and another one for each phone of a user.
    pub fn instance(mut self, instance: InstanceId) -> Self {
        self.instance = Some(instance);
        self
    }

    /// Where to listen: `udp:0.0.0.0:0`, `tls:[::1]:5061`, `wss:client:0.0.0.0`. Once for each listener; without any, UDP on
    /// a free port of all IPv4 addresses.
    pub fn listen(mut self, listen: &str) -> Self {
        self.listen.push(listen.into());
        self
    }

    /// The certificates for `tls:` and `wss:`, and the authorities to trust.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The address for media, if it is not that of the listener.
    pub fn media_address(mut self, ip: IpAddr) -> Self {
        self.media_ip = Some(ip);
        self
    }

    /// What User-Agent says.
    pub fn user_agent(mut self, text: &str) -> Self {
        self.user_agent = text.into();
        self
    }

    /// Sees every SIP message.
    pub fn tap(mut self, tap: Box<dyn Tap>) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Sees every RTP and RTCP packet.
    pub fn media_tap(mut self, tap: MediaTap) -> Self {
        self.media_tap = Some(tap);
        self
    }

    /// The least time between RTCP reports; 5 s without it (RFC 3550 §6.2).
    pub fn rtcp_interval(mut self, interval: Duration) -> Self {
        self.rtcp_interval = Some(interval);
        self
    }

    /// Opens the sockets and starts the phone. It does not register by itself.
    ///
    /// # Errors
    /// If an address or a listener cannot be read, or a socket not be opened.
    pub async fn bind(self) -> Result<Phone, BindError> {
        let parse =
            |text: &str| text.parse::<Uri>().map_err(|error| BindError::Address { text: text.into(), error });
        let address = parse(&self.address)?;
        let mut listen = Vec::new();
        for text in &self.listen {
            listen.push(text.parse::<Listen>()?);
        }
        if listen.is_empty() {
            listen.push(Listen::new(Transport::Udp, ([0, 0, 0, 0], 0).into()));
        }
        let sockets = match self.tls {
            Some(tls) => Sockets::bind_with_tls(&listen, tls)?,
            None => Sockets::bind(&listen)?,
        };
        let locals = sockets.locals().clone();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;

        let mut dialogs = sip_dialog::Config::new(sip_transaction::Config::new(seed, locals.clone()));
        dialogs.user_agent = self.user_agent;
        let identity = NameAddr::new(&address).with_display_name(&self.display_name);
        let mut config = PhoneConfig::new(identity, dialogs);
        config.credentials = self.password.map(|password| (self.username, password));
        config.expires = self.expires;
        config.instance = self.instance;
        config.registrar = self.registrar.as_deref().map(parse).transpose()?;
        if let Some(proxy) = &self.proxy {
            let mut proxy = parse(proxy)?;
            proxy.set_param("lr", None);
            config.route = vec![Route::new(&proxy)];
        }
        let shell = Shell::new(PhoneCore::new(config));
        let changed = Arc::clone(&shell.changed);
        let options = Options { tap: self.tap, ..Options::default() };
        let handle = Driver::spawn(shell, sockets, options);
        let cname = format!("{}@{}", address.user().unwrap_or("phone"), address.host());
        let media = MediaOptions { cname, rtcp_interval: self.rtcp_interval, tap: self.media_tap };
        Ok(Phone { inner: Arc::new(Inner { handle, locals, media, media_ip: self.media_ip, changed }) })
    }
}

impl Phone {
    /// Starts a phone for an address: `sip:alice@example.com`.
    pub fn builder(address: &str) -> PhoneBuilder {
        PhoneBuilder {
            address: address.into(),
            display_name: String::new(),
            username: String::new(),
            password: None,
            proxy: None,
            registrar: None,
            expires: PhoneConfig::EXPIRES,
            instance: None,
            listen: Vec::new(),
            tls: None,
            media_ip: None,
            user_agent: concat!("sip-ua/", env!("CARGO_PKG_VERSION")).into(),
            tap: None,
            media_tap: None,
            rtcp_interval: None,
        }
    }

    /// The listeners, with their real ports.
    pub fn locals(&self) -> &Locals {
        &self.inner.locals
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
        let to: Uri = to.parse().map_err(|error| CallError::Address { text: to.into(), error })?;
        let listener = self.inner.with(|shell, _| {
            let dialogs = shell.core.dialogs();
            dialogs.local_for(shell.core.first_hop(&to)).ok().cloned()
        });
        let (media, local) = self.inner.open_media(listener.as_ref()).await?;
        let placed = self.inner.with(|shell, now| {
            let key = shell.core.call(now, &to, local)?;
            shell.boxes.insert(key, Mailbox { media: Some(Arc::clone(&media)), ..Mailbox::default() });
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

    /// The next call that comes in.
    pub async fn incoming(&self) -> Option<IncomingCall> {
        loop {
            let (key, request, path) = self.inner.wait(|shell| shell.incoming.pop_front()).await;
            if let Some(call) = IncomingCall::new(self.clone(), key, request, path) {
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
        let all_ended = self.inner.wait(|shell| {
            let open =
                calls.iter().any(|call| shell.boxes.get(call).is_some_and(|mailbox| mailbox.ended.is_none()));
            (!open).then_some(())
        });
        let all = async {
            all_ended.await;
            let media: Vec<_> = self.inner.with(|shell, _| {
                calls.iter().filter_map(|call| shell.boxes.get(call)?.media.clone()).collect()
            });
            for media in media {
                media.finished().await;
            }
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

    /// Waits until `look` finds what it looks for.
    pub(crate) async fn wait<T>(&self, mut look: impl FnMut(&mut Shell) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable(); // a change between the look and the wait is not missed
            if let Some(found) = self.handle.with(|shell, _| look(shell)) {
                return found;
            }
            changed.await;
        }
    }

    /// Sockets and a task for a call's sound, and their description: bound where the listener of the call's signalling
    /// is, told to the peer as that listener is told.
    pub(crate) async fn open_media(
        &self,
        listener: Option<&Local>,
    ) -> Result<(Arc<crate::media::Media>, LocalMedia), CallError> {
        let bound = self.media_ip.or(listener.map(|local| local.bound.ip()));
        let bound = bound.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let told = self
            .media_ip
            .or_else(|| listener.and_then(|local| sip_transport::locals::parse_ip(&local.host)))
            .filter(|told| told.is_ipv4() == bound.is_ipv4())
            .unwrap_or(bound);
        let port = MediaPort::bind(bound).await?;
        let local = LocalMedia::audio((told, port.address().port()).into());
        Ok((crate::media::Media::start(port, &self.media)?, local))
    }

    /// The listener whose address suits the media of a call that came on `path`: of the family that the caller's offer
    /// names (RFC 6157), else the one that the call came to.
    pub(crate) fn listener_for(&self, path: &Path, offered: Option<SocketAddr>) -> Option<&Local> {
        let came_to = self.locals.at(path);
        let fits = |local: &&Local| offered.is_none_or(|offered| local.reaches(offered.ip()));
        came_to.filter(fits).or_else(|| self.locals.iter().find(fits)).or(came_to)
    }
}
