//! Typed readers of attributes, each with the level it may stand at.
//!
//! The types are those of `sdp_types` and of [`attributes`](crate::attributes). Each is written with
//! `sdp_types::Attribute::from(value)`. What cannot be read is passed over, like an attribute that is not known (RFC 8866
//! §5.13); [`MediaSection::all`] tells why.

use sdp_types::{
    Attribute, AttributeError, Bandwidth, Candidate, Direction, EndOfCandidates, ExtMap, Fingerprint, Fmtp,
    Group, IceLite, IceOptions, IcePwd, IceUfrag, Mid, Msid, RemoteCandidates, Rid, Rtcp, RtcpFb, RtcpMux,
    RtcpMuxOnly, RtcpRsize, RtpMap, Setup, SourceFilter, Ssrc, SsrcGroup, TypedAttribute,
};

use super::MediaSection;
use crate::SessionDescription;
use crate::attributes::{Content, IceMismatch, Label, MsidSemantic, Simulcast, T38, TlsId};
use crate::sdes::Crypto;

fn all<T: TypedAttribute>(attributes: &[Attribute]) -> impl Iterator<Item = Result<T, AttributeError>> {
    attributes
        .iter()
        .filter(|attribute| attribute.attribute.eq_ignore_ascii_case(T::NAME))
        .map(|attribute| attribute.value.as_deref().unwrap_or_default().parse())
}

fn first<T: TypedAttribute>(attributes: &[Attribute]) -> Option<T> {
    all(attributes).find_map(Result::ok)
}

fn readable<T: TypedAttribute>(attributes: &[Attribute]) -> Vec<T> {
    all(attributes).filter_map(Result::ok).collect()
}

impl<'a> MediaSection<'a> {
    /// All attributes of one type in this section, with the reason for each that cannot be read.
    pub fn all<T: TypedAttribute>(&self) -> impl Iterator<Item = Result<T, AttributeError>> + use<'a, T> {
        all(&self.media.attributes)
    }

    /// The first attribute of a type in this section that can be read.
    pub fn typed<T: TypedAttribute>(&self) -> Option<T> {
        first(&self.media.attributes)
    }

    /// The same, of the session level if this section has none.
    pub fn typed_or_session<T: TypedAttribute>(&self) -> Option<T> {
        self.typed().or_else(|| first(&self.session.attributes))
    }

    fn here<T: TypedAttribute>(&self) -> Vec<T> {
        readable(&self.media.attributes)
    }

    /// As [`MediaSection::here`], of the session level if this section has none.
    fn here_or_session<T: TypedAttribute>(&self) -> Vec<T> {
        let here = self.here();
        if here.is_empty() { readable(&self.session.attributes) } else { here }
    }

    /// `a=rtpmap` (RFC 8866 §6.6), as written; [`MediaSection::payloads`] joins it with the formats.
    pub fn rtpmaps(&self) -> Vec<RtpMap> {
        self.here()
    }

    /// `a=fmtp` (RFC 8866 §6.15) with its parameters apart.
    pub fn fmtps(&self) -> Vec<Fmtp> {
        self.here()
    }

    /// `a=rtcp` (RFC 3605); [`MediaSection::rtcp_address`] knows what is meant without it.
    pub fn rtcp(&self) -> Option<Rtcp> {
        self.typed()
    }

    /// `a=rtcp-mux` (RFC 5761 §5.1.1): RTP and RTCP may share a port.
    pub fn rtcp_mux(&self) -> bool {
        self.typed::<RtcpMux>().is_some()
    }

    /// `a=rtcp-mux-only` (RFC 8858): RTP and RTCP must share a port.
    pub fn rtcp_mux_only(&self) -> bool {
        self.typed::<RtcpMuxOnly>().is_some()
    }

    /// `a=rtcp-rsize` (RFC 5506): RTCP packets of reduced size.
    pub fn rtcp_rsize(&self) -> bool {
        self.typed::<RtcpRsize>().is_some()
    }

    /// `a=rtcp-fb` (RFC 4585 §4.2).
    pub fn feedback(&self) -> Vec<RtcpFb> {
        self.here()
    }

    /// `a=crypto` (RFC 4568).
    pub fn cryptos(&self) -> Vec<Crypto> {
        self.here()
    }

    /// `a=fingerprint` (RFC 8122 §5), here or at the session level.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.here_or_session()
    }

    /// `a=setup` (RFC 4145 §4), here or at the session level.
    pub fn setup(&self) -> Option<Setup> {
        self.typed_or_session()
    }

    /// `a=tls-id` (RFC 8842 §4), here or at the session level.
    pub fn tls_id(&self) -> Option<TlsId> {
        self.typed_or_session()
    }

    /// `a=ice-ufrag` (RFC 8839 §5.4), here or at the session level.
    pub fn ice_ufrag(&self) -> Option<IceUfrag> {
        self.typed_or_session()
    }

    /// `a=ice-pwd` (RFC 8839 §5.4), here or at the session level.
    pub fn ice_pwd(&self) -> Option<IcePwd> {
        self.typed_or_session()
    }

    /// `a=ice-options` (RFC 8839 §5.6), here or at the session level.
    pub fn ice_options(&self) -> Option<IceOptions> {
        self.typed_or_session()
    }

    /// `a=ice-mismatch` (RFC 8839 §5.3): something between has changed the address.
    pub fn ice_mismatch(&self) -> bool {
        self.typed::<IceMismatch>().is_some()
    }

    /// `a=candidate` (RFC 8839 §5.1).
    pub fn candidates(&self) -> Vec<Candidate> {
        self.here()
    }

    /// `a=end-of-candidates` (RFC 8840 §8.2), here or at the session level.
    pub fn end_of_candidates(&self) -> bool {
        self.typed_or_session::<EndOfCandidates>().is_some()
    }

    /// `a=remote-candidates` (RFC 8839 §5.2).
    pub fn remote_candidates(&self) -> Option<RemoteCandidates> {
        self.typed()
    }

    /// `a=mid` (RFC 5888 §4).
    pub fn mid(&self) -> Option<Mid> {
        self.typed()
    }

    /// `a=bundle-only` (RFC 9143 §6).
    pub fn bundle_only(&self) -> bool {
        self.media.attributes.iter().any(|attribute| attribute.attribute.eq_ignore_ascii_case("bundle-only"))
    }

    /// `a=msid` (RFC 8830 §2).
    pub fn msids(&self) -> Vec<Msid> {
        self.here()
    }

    /// `a=ssrc` (RFC 5576 §4.1).
    pub fn ssrcs(&self) -> Vec<Ssrc> {
        self.here()
    }

    /// `a=ssrc-group` (RFC 5576 §4.2).
    pub fn ssrc_groups(&self) -> Vec<SsrcGroup> {
        self.here()
    }

    /// `a=extmap` (RFC 8285 §5), here or at the session level.
    pub fn extensions(&self) -> Vec<ExtMap> {
        self.here_or_session()
    }

    /// `a=rid` (RFC 8851).
    pub fn rids(&self) -> Vec<Rid> {
        self.here()
    }

    /// `a=simulcast` (RFC 8853).
    pub fn simulcast(&self) -> Option<Simulcast> {
        self.typed()
    }

    /// `a=label` (RFC 4574).
    pub fn label(&self) -> Option<Label> {
        self.typed()
    }

    /// `a=content` (RFC 4796).
    pub fn content(&self) -> Option<Content> {
        self.typed()
    }

    /// `a=source-filter` (RFC 4570), here or at the session level.
    pub fn source_filters(&self) -> Vec<SourceFilter> {
        self.here_or_session()
    }

    /// The attributes of fax over IP (ITU-T T.38 Annex D), if this is an `image` section for it.
    pub fn t38(&self) -> Option<T38> {
        let is_t38 = self.formats().any(|format| format.eq_ignore_ascii_case("t38"));
        is_t38.then(|| T38::read(&self.media.attributes))
    }

    /// `b=` of this section (RFC 8866 §5.8).
    pub fn bandwidths(&self) -> &'a [Bandwidth] {
        &self.media.bandwidths
    }

    /// Every direction attribute of this section, in order; [`MediaSection::direction`] says which counts.
    pub fn directions(&self) -> impl Iterator<Item = Direction> + use<'a> {
        self.media.attributes.iter().filter_map(|attribute| attribute.attribute.parse().ok())
    }
}

impl SessionDescription {
    /// All attributes of one type at the session level, with the reason for each that cannot be read.
    pub fn all<T: TypedAttribute>(&self) -> impl Iterator<Item = Result<T, AttributeError>> + use<'_, T> {
        all(&self.session().attributes)
    }

    /// The first session-level attribute of a type that can be read.
    pub fn typed<T: TypedAttribute>(&self) -> Option<T> {
        first(&self.session().attributes)
    }

    /// `a=group` (RFC 5888 §5): BUNDLE (RFC 9143), LS and others.
    pub fn groups(&self) -> Vec<Group> {
        readable(&self.session().attributes)
    }

    /// `a=ice-lite` (RFC 8839 §5.3).
    pub fn ice_lite(&self) -> bool {
        self.typed::<IceLite>().is_some()
    }

    /// `a=msid-semantic` (draft-ietf-mmusic-msid-05 §6; gone from RFC 8830, still sent by browsers).
    pub fn msid_semantic(&self) -> Option<MsidSemantic> {
        self.typed()
    }

    /// `b=` of the session level (RFC 8866 §5.8).
    pub fn bandwidths(&self) -> &[Bandwidth] {
        &self.session().bandwidths
    }

    /// `c=` of the session level (RFC 8866 §5.7).
    pub fn connection(&self) -> Option<&sdp_types::Connection> {
        self.session().connection.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use crate::SessionDescription;

    #[test]
    fn the_attributes_of_a_browsers_section_rfc_8829() {
        let text = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nb=CT:900\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
            a=group:LS 0\r\na=ice-lite\r\na=msid-semantic: WMS s1\r\na=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\na=tls-id:1234567890123456789012\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\nb=AS:500\r\na=mid:0\r\na=rtpmap:96 VP8/90000\r\na=fmtp:96 max-fr=30\r\n\
            a=rtcp:9 IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=rtcp-mux-only\r\na=rtcp-rsize\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:x\r\n\
            a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=ice-options:trickle\r\na=ice-mismatch\r\n\
            a=candidate:1 1 udp 2122260223 192.0.2.1 5000 typ host\r\na=remote-candidates:1 192.0.2.9 4000\r\na=end-of-candidates\r\n\
            a=msid:s1 t1\r\na=ssrc:1 cname:x\r\na=ssrc-group:FID 1 2\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
            a=rid:hi send\r\na=simulcast:send hi\r\na=label:1\r\na=content:slides,alt\r\na=bundle-only\r\na=sendonly\r\n\
            a=source-filter: incl IN IP4 * 192.0.2.5\r\na=crypto:1 AEAD_AES_128_GCM inline:AAAA\r\n";
        let description = SessionDescription::parse(text.as_bytes()).unwrap();
        let section = description.media().next().unwrap();
        assert_eq!(
            description.groups().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["BUNDLE 0", "LS 0"]
        );
        assert!(description.ice_lite());
        assert_eq!(description.msid_semantic().unwrap().identifiers, ["s1"]);
        assert_eq!((description.bandwidths().len(), description.connection().is_some()), (1, true));
        assert_eq!(section.fingerprints()[0].fingerprint, [0xaa, 0xbb], "of the session level");
        assert_eq!(section.setup().unwrap().to_string(), "actpass");
        assert_eq!(section.tls_id().unwrap().as_str().len(), 22);
        assert_eq!((section.rtpmaps().len(), section.fmtps().len(), section.rtcp().unwrap().port), (1, 1, 9));
        assert!(
            section.rtcp_mux() && section.rtcp_mux_only() && section.rtcp_rsize() && section.bundle_only()
        );
        assert!(section.ice_mismatch() && section.end_of_candidates());
        assert_eq!(section.feedback().len(), 1, "the one that can be read");
        assert_eq!(section.all::<sdp_types::RtcpFb>().filter(Result::is_err).count(), 1);
        assert_eq!(section.ice_ufrag().unwrap().to_string(), "abcd");
        assert_eq!(section.ice_pwd().unwrap().to_string().len(), 22);
        assert!(section.ice_options().is_some() && section.remote_candidates().is_some());
        assert_eq!((section.candidates().len(), section.msids().len(), section.ssrcs().len()), (1, 1, 1));
        assert_eq!(
            (section.ssrc_groups().len(), section.extensions()[0].id, section.rids().len()),
            (1, 4, 1)
        );
        assert_eq!(section.simulcast().unwrap().to_string(), "send hi");
        assert_eq!(section.mid().unwrap().0, "0");
        assert_eq!(section.label().unwrap().to_string(), "1");
        assert_eq!(section.content().unwrap().to_string(), "slides,alt");
        assert_eq!(
            (section.source_filters().len(), section.cryptos().len(), section.bandwidths().len()),
            (1, 1, 1)
        );
        assert_eq!((section.t38(), section.directions().count()), (None, 1));
        assert_eq!(description.to_string(), text);
    }
}
