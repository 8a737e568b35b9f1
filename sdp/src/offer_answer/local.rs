//! What the local side brings to a negotiation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sdp_types::Attribute;

use super::companions;
use super::grouping::Grouping;
use super::header_extension::{ENCRYPTED, HeaderExtension};
use super::layers::Layers;
use super::profile::Profile;
use crate::attributes::is_token;
use crate::sdes::SrtpKey;
use crate::{Codec, Direction, Host, MediaKind};

/// Most codecs of a stream: the numbers 96–127 must suffice for them (RFC 3551 §6).
pub const MAX_CODECS: usize = 32;
/// Most streams of a session. Every `m=` line stays for the whole session (RFC 3264 §8), so more would only fill descriptions.
pub const MAX_STREAMS: usize = 16;

/// The streams that the local side offers and accepts.
///
/// A stream keeps its index in [`LocalMedia::streams`] for the whole session: to end one, clear [`LocalStream::enabled`]; to
/// add one, push it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMedia {
    /// The streams, in the order of their lines in a first offer.
    pub streams: Vec<LocalStream>,
    /// Which streams shall share one pair of addresses (BUNDLE, RFC 9143), of those that can: RTP that multiplexes RTCP, and
    /// SCTP over DTLS. What the offer of a peer puts into one group is never joined with what it keeps apart.
    pub bundle: Grouping,
    /// Which streams shall be played out together by the peer (LS, RFC 5888 §7), said in offers. Those that it names in no group
    /// follow the peer, whose wish is always taken: [`MediaStream::synchronized`](super::MediaStream::synchronized).
    pub lip_sync: Grouping,
}

/// One stream that the local side offers and accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStream {
    /// The media type of its line.
    pub kind: MediaKind,
    /// Whether the stream is wanted. One that is not is disabled in offers and rejected in answers.
    pub enabled: bool,
    /// How RTP and RTCP share a port.
    pub rtcp_mux: RtcpMux,
    /// How media is protected.
    pub protection: Protection,
    /// The wish of the local side. It goes into every offer as it is, and limits every answer (RFC 6337 §5.3).
    pub direction: Direction,
    /// The packet duration that the local side would like to receive, in milliseconds.
    pub ptime: Option<u16>,
    /// Where RTP is wanted. An unspecified address (`0.0.0.0`, `::`) tells the peer to send nothing (RFC 3264 §8.4).
    pub address: SocketAddr,
    /// What can be sent and received, most wanted first; `telephone-event` and the like among them.
    pub codecs: Vec<Codec>,
    /// Our keys for SDES, one for each suite, most wanted first. See [`LocalStream::with_sdes`].
    pub keys: Vec<SrtpKey>,
    /// What few streams need.
    pub more: Option<Box<StreamOptions>>,
}

/// What few streams need.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StreamOptions {
    /// The port for RTCP if it is not the one above RTP (RFC 3605).
    pub rtcp_port: Option<u16>,
    /// An address of the other IP version, for answering peers that have only that one (RFC 6157).
    pub other_family: Option<SocketAddr>,
    /// Offer the profile with early feedback, `AVPF` or `SAVPF` (RFC 4585, RFC 5124). Both kinds are accepted either way.
    pub avpf: bool,
    /// RTCP feedback messages that the local side takes, as in `a=rtcp-fb` behind the payload type: `nack pli`, `ccm fir`
    /// (RFC 4585 §4.2, RFC 5104 §7).
    pub feedback: Vec<String>,
    /// RTP header extensions that the local side takes, most wanted first (RFC 8285). The first 14 of a session get
    /// identifiers in offers. With [`mixed_extensions`](Self::mixed_extensions) more do; else these are for the answerer to choose.
    pub extensions: Vec<HeaderExtension>,
    /// Offer and take header extensions of one byte and of two in one stream (`a=extmap-allow-mixed`, RFC 8285 §6).
    pub mixed_extensions: bool,
    /// Names the line in our first offer (`a=mid`, RFC 5888). Bundled lines without one get one.
    pub mid: Option<String>,
    /// More attributes, written as they are: fingerprints, ICE, what the machine does not know. `a=setup:actpass` becomes
    /// `active` or `passive` in an answer as the offer demands (RFC 8842 §5.3).
    pub attributes: Vec<Attribute>,
    /// Take what the peer offers to authenticate and not to encrypt (`UNENCRYPTED_SRTP`, `UNENCRYPTED_SRTCP`, RFC 4568 §6.3.2).
    /// Lines that say so are passed over without it. To offer it, say it in the keys.
    pub allow_unencrypted: bool,
    /// What is sent and received at once of one source (simulcast, RFC 8853).
    pub layers: Option<Box<Layers>>,
    /// A transport that is not RTP.
    pub transport: Option<OtherTransport>,
}

/// A transport that is not RTP, such as `udptl` with the format `t38`, or `UDP/DTLS/SCTP` with `webrtc-datachannel`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OtherTransport {
    /// As on the `m=` line.
    pub protocol: String,
    /// The formats, most wanted first; `*` accepts and offers any.
    pub formats: Vec<String>,
}

/// How media of a stream is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Protection {
    /// Not at all: plain RTP is offered and accepted, nothing else.
    #[default]
    None,
    /// By SDES if the peer can (RFC 4568). Offered as `RTP/AVP` with `a=crypto`, which peers without SRTP ignore: not in the
    /// RFC's words, which want `RTP/SAVP`, but how phones do best-effort encryption (RFC 8643 §3.1). Accepted in `RTP/AVP` with
    /// or without, and in `RTP/SAVP`. Who refuses it may take `RTP/SAVP` alone: offer once more with
    /// [`SdesRequired`](Self::SdesRequired), as the phone of `sip-ua` does.
    SdesOptional,
    /// By SDES or not at all. Offered as `RTP/SAVP`; accepted in `RTP/SAVP`, and in `RTP/AVP` if it has `a=crypto`.
    SdesRequired,
    /// By keys from a DTLS handshake (RFC 5764): `UDP/TLS/RTP/SAVP` or `SAVPF`. The fingerprint, `a=setup` and ICE are the
    /// caller's, in [`StreamOptions::attributes`]; those of the peer are in [`MediaStream::peer`](super::MediaStream::peer).
    Dtls,
}

/// How RTP and RTCP share a port (RFC 5761, RFC 8858).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RtcpMux {
    /// Never.
    #[default]
    Never,
    /// If the peer can.
    Negotiate,
    /// Always: a peer that cannot gets no stream.
    Only,
}

/// Why a [`LocalMedia`] cannot be negotiated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalMediaError {
    /// No stream at all, or none of that index.
    #[error(
        "there is no such stream: a session has one at least, and groups and changes name those that it has"
    )]
    NoStream,
    /// A stream is named by two groups, or twice by one (RFC 9143 §5).
    #[error("stream {0} is in two groups: it can share one pair of addresses only")]
    GroupedTwice(usize),
    /// More than [`MAX_STREAMS`].
    #[error("{0} streams are more than {MAX_STREAMS}")]
    TooManyStreams(usize),
    /// Port 0 would mean a rejected stream: bind the socket first.
    #[error("the media port is 0: bind the socket before describing it")]
    PortZero,
    /// [`StreamOptions::other_family`] is of the same IP version as [`LocalStream::address`].
    #[error("the alternative address {0} is of the same IP version as the first")]
    SameFamily(SocketAddr),
    /// No codec that a stream could live on.
    #[error("there is no codec to live on: telephone-event, CN and repair formats only accompany others")]
    NoAudioCodec,
    /// More than [`MAX_CODECS`].
    #[error("{0} codecs are more than the {MAX_CODECS} that payload types are left for")]
    TooManyCodecs(usize),
    /// The codec's name, clock rate, channels or parameters cannot be written in SDP, or it is `rtx` for none of the others.
    #[error(
        "codec {0:?} cannot be written: names are tokens, clock rate and channels above 0, parameters one line; rtx repairs a codec of the stream, see Codec::retransmission"
    )]
    InvalidCodec(Codec),
    /// The same format twice.
    #[error("codec {0} is listed twice")]
    DuplicateCodec(String),
    /// A text of [`StreamOptions`] cannot be written in SDP.
    #[error("{0:?} cannot be written in SDP")]
    InvalidText(String),
    /// A layer cannot be written: its name is not of letters, digits, `-` and `_` or is there twice, a codec is not one of the
    /// stream, a limit is 0 or its codecs allow no picture at all (RFC 8851 §8); or it has no encoding at all.
    #[error(
        "layer {0:?} is not sound: names are rids, each once; codecs are among those of the stream; limits are above 0, those of the codecs too"
    )]
    InvalidLayer(String),
    /// SDES without a key.
    #[error("SDES needs a key: draw one for each suite")]
    NoKey,
    /// Two keys for one suite, or one key twice (RFC 4568 §6.1 wants each to be unique).
    #[error("the keys are not one for each suite, each different")]
    DuplicateKey,
}

impl LocalMedia {
    /// G.711 in both laws and DTMF at 8 kHz, in both directions, at `address`.
    pub fn audio(address: SocketAddr) -> Self {
        LocalMedia {
            streams: vec![LocalStream::audio(address)],
            bundle: Grouping::apart(),
            lip_sync: Grouping::apart(),
        }
    }

    /// These streams.
    pub fn new(streams: impl IntoIterator<Item = LocalStream>) -> Self {
        LocalMedia {
            streams: streams.into_iter().collect(),
            bundle: Grouping::apart(),
            lip_sync: Grouping::apart(),
        }
    }

    /// The same with one more stream.
    #[must_use]
    pub fn with_stream(mut self, stream: LocalStream) -> Self {
        self.streams.push(stream);
        self
    }

    /// The same with BUNDLE offered and accepted for all streams that can.
    #[must_use]
    pub fn with_bundle(self) -> Self {
        LocalMedia { bundle: Grouping::together(), ..self }
    }

    /// The same with one more BUNDLE group, of the streams with these indexes in [`LocalMedia::streams`]. Those in no group
    /// have their own addresses (RFC 9143 §7: each group is negotiated for itself).
    #[must_use]
    pub fn with_group(self, streams: impl IntoIterator<Item = usize>) -> Self {
        LocalMedia { bundle: self.bundle.and(streams.into_iter().collect()), ..self }
    }

    /// The same with one more group of streams that the peer shall play out together, such as a voice and its picture, by their
    /// indexes in [`LocalMedia::streams`] (LS, RFC 5888 §7).
    #[must_use]
    pub fn with_lip_sync(self, streams: impl IntoIterator<Item = usize>) -> Self {
        LocalMedia { lip_sync: self.lip_sync.and(streams.into_iter().collect()), ..self }
    }

    fn with_first(mut self, change: impl FnOnce(LocalStream) -> LocalStream) -> Self {
        if !self.streams.is_empty() {
            let first = change(self.streams.remove(0));
            self.streams.insert(0, first);
        }
        self
    }

    /// The same with other codecs of its first stream, most wanted first.
    #[must_use]
    pub fn with_codecs(self, codecs: impl IntoIterator<Item = Codec>) -> Self {
        self.with_first(|stream| stream.with_codecs(codecs))
    }

    /// The same with another direction of every stream.
    #[must_use]
    pub fn with_direction(mut self, direction: Direction) -> Self {
        self.streams.iter_mut().for_each(|stream| stream.direction = direction);
        self
    }

    /// The same with SDES for its first stream; see [`LocalStream::with_sdes`].
    #[must_use]
    pub fn with_sdes(self, protection: Protection, keys: impl IntoIterator<Item = SrtpKey>) -> Self {
        self.with_first(|stream| stream.with_sdes(protection, keys))
    }

    /// Moves the first stream to another address; see [`LocalStream::relocate`].
    pub fn relocate(&mut self, address: SocketAddr) {
        if let Some(stream) = self.streams.first_mut() {
            stream.relocate(address);
        }
    }

    pub(super) fn validate(&self) -> Result<(), LocalMediaError> {
        if self.streams.is_empty() {
            return Err(LocalMediaError::NoStream);
        }
        if self.streams.len() > MAX_STREAMS {
            return Err(LocalMediaError::TooManyStreams(self.streams.len()));
        }
        self.streams.iter().try_for_each(LocalStream::validate)?;
        self.bundle.validate(self.streams.len())?;
        self.lip_sync.validate(self.streams.len())?;
        let mut keys = self.streams.iter().flat_map(|stream| &stream.keys);
        while let Some(key) = keys.next() {
            if keys.clone().any(|other| other.is_same_secret(key)) {
                return Err(LocalMediaError::DuplicateKey);
            }
        }
        Ok(())
    }

    /// The address for `o=`, and for `c=` when no line is in use.
    pub(super) fn ip(&self) -> IpAddr {
        self.streams.first().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |stream| stream.address.ip())
    }
}

impl LocalStream {
    /// A stream of `kind` with these codecs in both directions, most wanted first, at `address`.
    pub fn new(kind: MediaKind, address: SocketAddr, codecs: impl IntoIterator<Item = Codec>) -> Self {
        LocalStream {
            kind,
            enabled: true,
            rtcp_mux: RtcpMux::Never,
            protection: Protection::None,
            direction: Direction::SendRecv,
            ptime: None,
            address,
            codecs: codecs.into_iter().collect(),
            keys: Vec::new(),
            more: None,
        }
    }

    /// G.711 in both laws and DTMF at 8 kHz, in both directions, at `address`.
    pub fn audio(address: SocketAddr) -> Self {
        Self::new(MediaKind::Audio, address, [Codec::pcmu(), Codec::pcma(), Codec::telephone_event(8000)])
    }

    /// A video stream.
    pub fn video(address: SocketAddr, codecs: impl IntoIterator<Item = Codec>) -> Self {
        Self::new(MediaKind::Video, address, codecs)
    }

    /// A stream over another transport than RTP, such as `udptl` with the format `t38`.
    pub fn other<F: Into<String>>(
        kind: MediaKind,
        address: SocketAddr,
        protocol: impl Into<String>,
        formats: impl IntoIterator<Item = F>,
    ) -> Self {
        let formats = formats.into_iter().map(Into::into).collect();
        let transport = Some(OtherTransport { protocol: protocol.into(), formats });
        Self::new(kind, address, []).with_options(|more| more.transport = transport)
    }

    /// The same with other codecs, most wanted first.
    #[must_use]
    pub fn with_codecs(self, codecs: impl IntoIterator<Item = Codec>) -> Self {
        LocalStream { codecs: codecs.into_iter().collect(), ..self }
    }

    /// The same with another direction.
    #[must_use]
    pub fn with_direction(self, direction: Direction) -> Self {
        LocalStream { direction, ..self }
    }

    /// The same with a wish for the packet duration in milliseconds.
    #[must_use]
    pub fn with_ptime(self, milliseconds: u16) -> Self {
        LocalStream { ptime: Some(milliseconds), ..self }
    }

    /// Moves the stream to another address, as after a change of the network. An address of the other IP version is kept if it
    /// still is of the other one. With SDES it needs new keys then (RFC 4568 §7.1.4).
    pub fn relocate(&mut self, address: SocketAddr) {
        self.address = address;
        if let Some(more) = &mut self.more {
            more.other_family = more.other_family.filter(|other| other.is_ipv4() != address.is_ipv4());
        }
    }

    /// The same protected by SDES. `keys` are ours for sending, one for each suite, most wanted first; draw each at random for
    /// this stream alone ([`SrtpKey::generate`]). They stay in force over re-INVITEs until others are set, which rekeys.
    #[must_use]
    pub fn with_sdes(self, protection: Protection, keys: impl IntoIterator<Item = SrtpKey>) -> Self {
        LocalStream { protection, keys: keys.into_iter().collect(), ..self }
    }

    /// The same protected by DTLS-SRTP, with the attributes that go with it; see [`Protection::Dtls`].
    #[must_use]
    pub fn with_dtls(self, attributes: impl IntoIterator<Item = Attribute>) -> Self {
        let attributes: Vec<_> = attributes.into_iter().collect();
        LocalStream { protection: Protection::Dtls, ..self }
            .with_options(|more| more.attributes.extend(attributes))
    }

    /// The same with RTP and RTCP on one port.
    #[must_use]
    pub fn with_rtcp_mux(self, rtcp_mux: RtcpMux) -> Self {
        LocalStream { rtcp_mux, ..self }
    }

    /// The same with feedback messages and the profile for them; see [`StreamOptions::feedback`].
    #[must_use]
    pub fn with_feedback<F: Into<String>>(self, messages: impl IntoIterator<Item = F>) -> Self {
        let messages: Vec<_> = messages.into_iter().map(Into::into).collect();
        self.with_options(|more| {
            more.avpf = true;
            more.feedback = messages;
        })
    }

    /// The same with RTP header extensions, by URI or in full; see [`StreamOptions::extensions`].
    #[must_use]
    pub fn with_extensions<E: Into<HeaderExtension>>(self, extensions: impl IntoIterator<Item = E>) -> Self {
        let extensions = extensions.into_iter().map(Into::into).collect();
        self.with_options(|more| more.extensions = extensions)
    }

    /// The same with layers: encodings of one source that are sent or received at once (RFC 8853). Both sides name them in
    /// their packets, for which the header extension `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` is of use.
    #[must_use]
    pub fn with_layers(self, layers: Layers) -> Self {
        self.with_options(|more| more.layers = Some(Box::new(layers)))
    }

    /// The same with what few streams need.
    #[must_use]
    pub fn with_options(mut self, change: impl FnOnce(&mut StreamOptions)) -> Self {
        change(self.more.get_or_insert_default());
        self
    }

    pub(super) fn options(&self) -> &StreamOptions {
        static NONE: StreamOptions = StreamOptions {
            rtcp_port: None,
            other_family: None,
            avpf: false,
            feedback: Vec::new(),
            extensions: Vec::new(),
            mixed_extensions: false,
            mid: None,
            attributes: Vec::new(),
            allow_unencrypted: false,
            layers: None,
            transport: None,
        };
        self.more.as_deref().unwrap_or(&NONE)
    }

    pub(super) fn is_rtp(&self) -> bool {
        self.options().transport.is_none()
    }

    pub(super) fn uses_sdes(&self) -> bool {
        matches!(self.protection, Protection::SdesOptional | Protection::SdesRequired)
    }

    /// The profile of our offers.
    pub(super) fn profile(&self) -> Profile {
        match (self.protection, self.options().avpf) {
            (Protection::None | Protection::SdesOptional, false) => Profile::Avp,
            (Protection::None | Protection::SdesOptional, true) => Profile::Avpf,
            (Protection::SdesRequired, false) => Profile::Savp,
            (Protection::SdesRequired, true) => Profile::Savpf,
            (Protection::Dtls, false) => Profile::DtlsSavp,
            (Protection::Dtls, true) => Profile::DtlsSavpf,
        }
    }

    /// Whether an offer with this profile may be accepted, keys aside.
    pub(super) fn takes(&self, profile: Profile) -> bool {
        match self.protection {
            Protection::None => !profile.is_secure(),
            Protection::SdesOptional | Protection::SdesRequired => !profile.is_dtls(),
            Protection::Dtls => profile.is_dtls(),
        }
    }

    /// Whether the stream can share a port with others (RFC 9143 §9): RTP with RTCP beside it, and SCTP over DTLS.
    pub(super) fn can_bundle(&self) -> bool {
        match &self.options().transport {
            Some(transport) => transport.protocol.to_ascii_uppercase().ends_with("/DTLS/SCTP"),
            None => self.rtcp_mux != RtcpMux::Never,
        }
    }

    fn validate(&self) -> Result<(), LocalMediaError> {
        let more = self.options();
        if self.address.port() == 0 || more.other_family.is_some_and(|address| address.port() == 0) {
            return Err(LocalMediaError::PortZero);
        }
        if let Some(other) = more.other_family.filter(|other| other.is_ipv4() == self.address.is_ipv4()) {
            return Err(LocalMediaError::SameFamily(other));
        }
        self.validate_options(more)?;
        if self.uses_sdes() && self.keys.is_empty() {
            return Err(LocalMediaError::NoKey);
        }
        let same_suite = |(index, key): (usize, &SrtpKey)| {
            self.keys.iter().take(index).any(|earlier| earlier.suite() == key.suite())
        };
        if self.keys.iter().enumerate().any(same_suite) {
            return Err(LocalMediaError::DuplicateKey);
        }
        if !self.is_rtp() {
            return Ok(());
        }
        if self.codecs.len() > MAX_CODECS {
            return Err(LocalMediaError::TooManyCodecs(self.codecs.len()));
        }
        if !self.codecs.iter().any(Codec::is_primary) {
            return Err(LocalMediaError::NoAudioCodec);
        }
        for (index, codec) in self.codecs.iter().enumerate() {
            let orphan =
                codec.is_retransmission() && companions::repaired_codec(codec, &self.codecs).is_none();
            if orphan || !is_writable(codec) {
                return Err(LocalMediaError::InvalidCodec(codec.clone()));
            }
            if self.codecs.iter().take(index).any(|earlier| earlier.is_compatible(codec)) {
                return Err(LocalMediaError::DuplicateCodec(codec.name().to_owned()));
            }
        }
        more.layers.as_deref().map_or(Ok(()), |layers| layers.validate(&self.codecs))
    }

    fn validate_options(&self, more: &StreamOptions) -> Result<(), LocalMediaError> {
        let invalid = |text: &str| Err(LocalMediaError::InvalidText(text.to_owned()));
        let word =
            |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        let line = |text: &str| !text.is_empty() && !text.contains(char::is_control);
        if let Some(bad) = more.mid.iter().find(|mid| !is_token(mid)) {
            return invalid(bad);
        }
        let writable = |extension: &HeaderExtension| {
            let attributes = extension.attributes.as_deref();
            // RFC 6904 §4: it is said by HeaderExtension::encryption, and not of itself.
            let named = word(&extension.uri) && extension.uri != ENCRYPTED;
            named && attributes.is_none_or(|text| line(text) && text.trim() == text)
        };
        for (index, extension) in more.extensions.iter().enumerate() {
            // RFC 8285 §5: the same in the same configuration stands there once.
            let again = |other: &HeaderExtension| {
                other.uri == extension.uri && other.attributes == extension.attributes
            };
            if !writable(extension) || more.extensions.iter().take(index).any(again) {
                return invalid(&extension.uri);
            }
        }
        if let Some(bad) = more.feedback.iter().find(|message| !line(message)) {
            return invalid(bad);
        }
        if let Some(transport) = &more.transport {
            if let Some(bad) =
                [&transport.protocol].into_iter().chain(&transport.formats).find(|text| !word(text))
            {
                return invalid(bad);
            }
            if transport.formats.is_empty() {
                return Err(LocalMediaError::NoAudioCodec);
            }
        }
        match more.attributes.iter().find(|attribute| {
            !is_token(&attribute.attribute) || attribute.value.as_deref().is_some_and(|value| !line(value))
        }) {
            Some(bad) => invalid(&bad.attribute),
            None => Ok(()),
        }
    }

    /// The address for a peer whose own is `remote`, if there is one of its IP version.
    pub(super) fn address_for(&self, remote: &Host) -> Option<SocketAddr> {
        let wanted_v4 = match remote {
            // A name can have either, and an unspecified address is none: both leave the choice to us.
            Host::Name(_) => return Some(self.address),
            Host::Ip(ip) if ip.is_unspecified() => return Some(self.address),
            Host::Ip(ip) => ip.is_ipv4(),
        };
        let both = [Some(self.address), self.options().other_family];
        both.into_iter().flatten().find(|own| own.is_ipv4() == wanted_v4)
    }
}

/// The address of the same version that nothing can be sent to.
pub(super) fn nowhere(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, address.port())
}

fn is_writable(codec: &Codec) -> bool {
    is_token(codec.name())
        && codec.clock_rate() > 0
        && codec.channels() > 0
        && !codec.fmtp().unwrap_or_default().contains(['\r', '\n', '\0'])
}
