//! Setting a phone up.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sip_dialog::SessionTimer;
use sip_message::headers::{InstanceId, NameAddr, RecvInfo, Route};
use sip_message::{Header, Uri, ValueError};
use sip_transport::Transport;
use sip_transport::proxy_protocol::Network;
use sip_transport::tokio::tls::Tls;
use sip_transport::tokio::{BindError as SocketError, Driver, Listen, ListenError, Options, Sockets, Tap};

use msrp::auth::Account;

use crate::core::{AnswerPolicy, PhoneConfig, PhoneCore};
use rtp::codec::Codec;
use rtp::rtcp::extended::Wanted;
use rtp::video::Codec as VideoCodec;
use sdp::CryptoSuite;

use crate::media::{
    AudioLevels, MediaEngine, MediaOptions, MediaTap, OwnEngine, PROFILE_LEVEL_ID, SUITES, Sending, Srtp,
    VideoOptions,
};
use crate::network_watch;
use crate::phone::{Inner, Phone};
use crate::quality_reports::QualityReports;
use crate::session::SessionOptions;
use crate::shell::Shell;

/// What is spoken if nothing else was said.
const G711: [Codec; 2] = [Codec::PCMU, Codec::PCMA];

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
    /// Several outbound proxies, and nothing by which a registrar could tell their flows from those of another phone.
    #[error("several outbound proxies need an instance: name one with PhoneBuilder::instance")]
    NoInstance,
    /// A package of INFO whose name no message can carry.
    #[error("'{0}' is no name of an INFO package: letters, digits and -.!%*_+`'~ (RFC 6086 §7.2)")]
    InfoPackage(String),
    /// The relay's address is none.
    #[error("'{text}' is no address of an MSRP relay, such as msrps://relay.example.com;tcp: {error}")]
    MsrpRelay {
        /// What was given.
        text: String,
        /// What is wrong with it.
        error: msrp::UriError,
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

/// A phone in the making.
#[must_use = "a builder does nothing until bind()"]
pub struct PhoneBuilder {
    address: String,
    display_name: String,
    username: String,
    password: Option<String>,
    proxy: Option<String>,
    outbound_proxies: Vec<String>,
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
    extended_reports: Wanted,
    codecs: Vec<Codec>,
    video: Vec<VideoCodec>,
    h264_profile: String,
    srtp: Srtp,
    srtp_suites: Vec<CryptoSuite>,
    audio_levels: AudioLevels,
    sample_rate: u32,
    sending: Sending,
    quality_reports: Option<String>,
    media_engine: Option<Arc<dyn MediaEngine>>,
    msrp_tls: bool,
    msrp_relay: Option<(String, Option<(String, String)>)>,
    max_calls: usize,
    max_redirections: usize,
    notifies: Vec<String>,
    focus: bool,
    pub(crate) info_packages: Option<Vec<String>>,
    session_timer: Option<SessionTimer>,
    message_types: Vec<String>,
    delivery_receipts: bool,
    follow_network: bool,
    pub(crate) connected_identity: bool,
    pub(crate) session_ids: bool,
    pub(crate) history: bool,
    pub(crate) trusted: Vec<Network>,
    pub(crate) answer_policy: Option<AnswerPolicy>,
    pub(crate) features: Vec<(String, Vec<String>)>,
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

    /// An outbound proxy that the phone registers through, `sip:192.0.2.1;transport=tcp`. Once for each, up to four: a flow is
    /// registered over each, calls take any that works (RFC 5626 §4.2). With several the phone needs an
    /// [`instance`](Self::instance).
    pub fn outbound_proxy(mut self, uri: &str) -> Self {
        self.outbound_proxies.push(uri.into());
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

    /// Calls at one time; more are answered 486. 10,000 if it is not set.
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }

    /// Targets of 3xx responses that one call tries (RFC 3261 §8.1.3.4), 8 if it is not set; 0 for a phone whose calls go where
    /// it says and nowhere else.
    pub fn max_redirections(mut self, targets: usize) -> Self {
        self.max_redirections = targets;
        self
    }

    /// Takes subscriptions to this package (RFC 6665): [`Phone::next_subscriber`] tells who subscribes. Once for each package.
    pub fn notifies(mut self, package: &str) -> Self {
        self.notifies.push(package.into());
        self
    }

    /// How often either side has to show that a call is alive (RFC 4028): an interval of half an hour if it is not called. `None`
    /// asks for none and takes none, so that a call whose peer is gone is found by its media alone.
    pub fn session_timer(mut self, timer: Option<SessionTimer>) -> Self {
        self.session_timer = timer;
        self
    }

    /// The phone hosts conferences, such as a [`ChatRoom`](crate::ChatRoom): its Contact in calls says `isfocus` (RFC 4579 §4.2), and
    /// it takes subscriptions to the package `conference` (RFC 4575).
    pub fn focus(mut self) -> Self {
        self.focus = true;
        self.notifies("conference")
    }

    /// Takes messages of this type too, such as `application/vnd.example`: [`Phone::next_message`] gives them with an empty text and
    /// the request. Once for each type.
    pub fn message_type(mut self, kind: &str) -> Self {
        self.message_types.push(kind.into());
        self
    }

    /// Whether senders who ask for it are told that their message has been delivered (RFC 5438); they are unless this says no.
    pub fn delivery_receipts(mut self, yes: bool) -> Self {
        self.delivery_receipts = yes;
        self
    }

    /// Whether the phone notices by itself that this machine has another address, within two seconds or when something cannot be
    /// sent, and does what [`Phone::network_changed`] does. Off if it is not set: an application that is told by its operating
    /// system knows sooner.
    pub fn follow_network(mut self, yes: bool) -> Self {
        self.follow_network = yes;
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

    /// The codecs of calls, most wanted first; G.711 in both laws if it is not set. Digits come with them.
    pub fn codecs(mut self, codecs: &[Codec]) -> Self {
        self.codecs = codecs.to_vec();
        self
    }

    /// Calls have pictures too, in these formats, most wanted first: they are offered, and accepted when a caller offers them or adds
    /// them later. What is sent and seen is [`Call::video`](crate::Call::video); nothing is sent unless the application does. Sound
    /// alone if it is not set: a peer that offers video is answered without.
    pub fn video(mut self, codecs: impl IntoIterator<Item = VideoCodec>) -> Self {
        self.video = codecs.into_iter().collect();
        self
    }

    /// The profile and level of H.264 that the application decodes, six hexadecimal digits (`profile-level-id`, RFC 6184 §8.1);
    /// `42e01f` if it is not set, which is Constrained Baseline up to 1280x720. Peers that have another profile get no H.264.
    pub fn h264_profile(mut self, profile_level_id: &str) -> Self {
        self.h264_profile = profile_level_id.into();
        self
    }

    /// Whether the media of calls is protected by SRTP, with keys agreed on by SDES (RFC 4568). Off if it is not set.
    pub fn srtp(mut self, srtp: Srtp) -> Self {
        self.srtp = srtp;
        self
    }

    /// The crypto suites offered and accepted for SRTP, most wanted first, each once; AES with 128 bits in GCM and in counter mode
    /// with both tags if it is not set. A peer that names its keys in packets (MKI, RFC 4568 §6.1) is understood with each of them.
    pub fn srtp_suites(mut self, suites: &[CryptoSuite]) -> Self {
        self.srtp_suites = suites.to_vec();
        self
    }

    /// Whether each packet tells how loud its sound is (RFC 6464), encrypted or not (RFC 6904). Off if it is not set. What the other side
    /// tells is in [`Audio::heard_level`](crate::Audio::heard_level).
    pub fn audio_levels(mut self, levels: AudioLevels) -> Self {
        self.audio_levels = levels;
        self
    }

    /// Sends no pauses: comfort noise describes them, to peers that take it (RFC 3389). Off if it is not set; pauses of the peer are
    /// understood either way. Opus has its own way and is sent whole.
    pub fn silence_suppression(mut self, on: bool) -> Self {
        self.sending.pauses = on;
        self
    }

    /// Repeats each packet of sound in as many of those behind it, 1 to 4, for peers that take it (RFC 2198): what is lost comes
    /// again. The sound takes as many times more of the network. 0, which repeats nothing and takes nothing repeated, if it is not
    /// set.
    pub fn redundancy(mut self, packets: u8) -> Self {
        self.sending.repetitions = packets;
        self
    }

    /// Asks the peer for extended reports of what it hears, which the call's quality report then tells (RFC 3611 §5.2; RFC 6035
    /// §4.6). On if it is not set. What the peer asks for is sent either way.
    pub fn extended_reports(mut self, on: bool) -> Self {
        self.extended_reports = if on { Wanted::ALL } else { Wanted::NONE };
        self
    }

    /// Samples per second of what is played and heard, 8,000 to 48,000 in whole frames of 20 ms; 8,000 if it is not set. Codecs of
    /// another rate are converted.
    pub fn sample_rate(mut self, hertz: u32) -> Self {
        self.sample_rate = hertz.clamp(8000, 48_000);
        self
    }

    /// Reports the quality of each call when it is over to this collector, by a PUBLISH of the package `vq-rtcpxr` (RFC 6035):
    /// `sip:collector@example.com`. [`Phone::close`] waits for those that are under way. A refusal is logged and not tried again.
    pub fn quality_reports(mut self, collector: &str) -> Self {
        self.quality_reports = Some(collector.into());
        self
    }

    /// Another engine for the media of calls than the phone's own; the media options above are for that one alone.
    pub fn media_engine(mut self, engine: Arc<dyn MediaEngine>) -> Self {
        self.media_engine = Some(engine);
        self
    }

    /// Offers sessions of messages and files over TLS, with a certificate that the phone makes for itself and tells by its fingerprint;
    /// both sides check the other's (RFC 4975 §14.4, RFC 8122). TCP if it is not set. Who answers does as the offer says.
    pub fn msrp_tls(mut self, yes: bool) -> Self {
        self.msrp_tls = yes;
        self
    }

    /// Sessions of messages and files go through this relay (RFC 4976), `msrps://relay.example.com;tcp`: for phones that nobody can
    /// connect to. It is told the name and the password of the phone; its certificate has to be of an authority that
    /// [`tls`](Self::tls) trusts, the system's without.
    pub fn msrp_relay(mut self, uri: &str) -> Self {
        self.msrp_relay = Some((uri.into(), None));
        self
    }

    /// The same with a name and a password of its own.
    pub fn msrp_relay_as(mut self, uri: &str, name: &str, password: &str) -> Self {
        self.msrp_relay = Some((uri.into(), Some((name.into(), password.into()))));
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
        let user = match self.username.as_str() {
            "" => address.user().unwrap_or_default(),
            name => name,
        };
        let mut sessions = SessionOptions::new(self.msrp_tls, self.tls.as_ref().and_then(Tls::authorities));
        if let Some((text, account)) = self.msrp_relay {
            let relay = text.parse().map_err(|error| BindError::MsrpRelay { text, error })?;
            let own = || (user.to_owned(), self.password.clone().unwrap_or_default());
            let (name, password) = account.unwrap_or_else(own);
            sessions.relay = Some((relay, Account::new(name, password)));
        }
        let is_named = |name: &&String| RecvInfo::parse(name).is_ok_and(|package| package.value == **name);
        if let Some(bad) = self.info_packages.iter().flatten().find(|name| !is_named(name)) {
            return Err(BindError::InfoPackage(bad.clone()));
        }
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
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;

        let mut dialogs =
            sip_dialog::Config::new(sip_transaction::Config::new(seed, sockets.locals().clone()));
        dialogs.user_agent = self.user_agent;
        dialogs.max_calls = self.max_calls;
        dialogs.max_redirections = self.max_redirections;
        dialogs.connected_identity = self.connected_identity;
        dialogs.session_ids = self.session_ids;
        dialogs.history = self.history;
        dialogs.focus = self.focus;
        dialogs.info_packages = self.info_packages;
        dialogs.session_timer = self.session_timer;
        let identity = NameAddr::new(&address).with_display_name(&self.display_name);
        let mut config = PhoneConfig::new(identity, dialogs);
        config.credentials = self.password.map(|password| (self.username, password));
        config.expires = self.expires;
        config.notifies = self.notifies;
        config.message_types = self.message_types;
        config.delivery_receipts = self.delivery_receipts;
        config.instance = self.instance;
        config.trusted = self.trusted;
        config.answer_policy = self.answer_policy;
        config.features = self.features;
        config.registrar = self.registrar.as_deref().map(parse).transpose()?;
        if let Some(proxy) = &self.proxy {
            let mut proxy = parse(proxy)?;
            proxy.set_param("lr", None);
            config.route = vec![Route::new(&proxy)];
        }
        for proxy in &self.outbound_proxies {
            config.outbound_proxies.push(parse(proxy)?);
        }
        if config.outbound_proxies.len() > 1 && config.instance.is_none() {
            return Err(BindError::NoInstance);
        }
        let mut shell = Shell::new(PhoneCore::new(config));
        shell.quality = self.quality_reports.as_deref().map(parse).transpose()?.map(QualityReports::to);
        let (changed, alarm) = (Arc::clone(&shell.changed), Arc::clone(&shell.alarm));
        let options = Options { tap: self.tap, ..Options::default() };
        let handle = Driver::spawn(shell, sockets, options);
        let cname = format!("{}@{}", address.user().unwrap_or("phone"), address.host());
        let options = MediaOptions {
            cname,
            rtcp_interval: self.rtcp_interval,
            extended_reports: self.extended_reports,
            tap: self.media_tap,
            codecs: if self.codecs.is_empty() { G711.to_vec() } else { self.codecs },
            sending: self.sending,
            srtp: self.srtp,
            srtp_suites: self.srtp_suites,
            levels: self.audio_levels,
            sample_rate: self.sample_rate,
            video: (!self.video.is_empty())
                .then_some(VideoOptions { codecs: self.video, profile_level_id: self.h264_profile }),
        };
        let engine = self.media_engine.unwrap_or_else(|| Arc::new(OwnEngine { options }));
        let listen = Mutex::new(listen);
        let inner = Inner { handle, listen, engine, media_ip: self.media_ip, sessions, changed };
        let phone = Phone { inner: Arc::new(inner) };
        if self.follow_network {
            network_watch::follow(&phone, alarm);
        }
        Ok(phone)
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
            outbound_proxies: Vec::new(),
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
            extended_reports: Wanted::ALL,
            codecs: Vec::new(),
            video: Vec::new(),
            h264_profile: PROFILE_LEVEL_ID.into(),
            srtp: Srtp::Off,
            srtp_suites: SUITES.to_vec(),
            audio_levels: AudioLevels::Off,
            sample_rate: 8000,
            sending: Sending::default(),
            quality_reports: None,
            media_engine: None,
            msrp_tls: false,
            msrp_relay: None,
            max_calls: sip_dialog::Config::MAX_CALLS,
            max_redirections: sip_dialog::Config::MAX_REDIRECTIONS,
            notifies: Vec::new(),
            focus: false,
            info_packages: None,
            session_timer: Some(SessionTimer::default()),
            message_types: Vec::new(),
            delivery_receipts: true,
            follow_network: false,
            connected_identity: false,
            session_ids: false,
            history: false,
            trusted: Vec::new(),
            answer_policy: None,
            features: Vec::new(),
        }
    }
}
