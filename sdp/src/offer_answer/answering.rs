//! The judgement on an offer of the peer, line by line, and the answer to it (RFC 3264 §6).

use std::borrow::Cow;

use super::companions;
use super::extensions;
use super::line::Line;
use super::lip_sync;
use super::local::{LocalStream, Protection, RtcpMux};
use super::matching::{self, Common};
use super::negotiated::{Details, Extension, Feedback, MediaStream, Negotiated, RejectReason, RejectedLine};
use super::numbers::Numbers;
use super::profile::Profile;
use super::security;
use super::simulcast;
use super::write::{Description, Said, Section};
use super::{Agreement, OfferAnswer, OfferError, index_of, times_of};
use crate::section::{Reading, rtcp_address};
use crate::{AddressError, MediaAddress, MediaKind, MediaSection, SessionDescription};

/// A line of the offer.
pub(super) struct Offered<'a> {
    pub(super) section: MediaSection<'a>,
    pub(super) reading: Reading<'a>,
    kind: Option<MediaKind>,
    /// In a BUNDLE group that may be had.
    pub(super) grouped: bool,
    /// The line of its group that says for it what belongs to transports.
    pub(super) leans_on: Option<usize>,
}

/// A line that can be had.
pub(super) struct Accepted<'m> {
    pub(super) said: Box<Said<'m>>,
    pub(super) stream: MediaStream,
    /// It cannot be had without the line that it leans on.
    pub(super) leaning: bool,
    /// Its keys are those of that line.
    pub(super) keyless: bool,
}

pub(super) type Judged<'m> = Result<Accepted<'m>, RejectReason>;

/// What an evaluation gives: the answer, what it agrees on, and the payload types then given.
pub(super) type Evaluated<'m> = (Description<'m>, Agreement, Numbers);

impl OfferAnswer {
    pub(super) fn evaluate<'m>(&'m self, offer: &'m SessionDescription) -> Result<Evaluated<'m>, OfferError> {
        if self.offered.is_some() {
            return Err(OfferError::Glare);
        }
        let known: &[Line] = self.agreed.as_ref().map_or(&[], |agreed| &agreed.lines);
        let mut lines: Vec<Offered<'_>> = offer.media().map(read).collect();
        if lines.len() < known.len() {
            return Err(OfferError::LinesRemoved { session: known.len(), offered: lines.len() });
        }
        require_order(known, &lines)?;
        let groups = self.bundles_of(offer, &mut lines)?;

        let mut numbers = self.numbers.clone();
        let mut judged: Vec<Option<Judged<'_>>> = std::iter::repeat_with(|| None).take(lines.len()).collect();
        let mut taken = 0_u32;
        // The lines in use first: a re-offer that makes another one usable must not move their streams.
        let in_use = known.iter().zip(&lines).zip(&mut judged).enumerate();
        for (index, ((known, line), judged)) in in_use {
            if let Some(stream) = known.stream
                && let Ok(accepted) = self.accept((index, line), stream, &lines, &mut numbers)
            {
                taken |= bit(stream);
                *judged = Some(Ok(accepted));
            }
        }
        for (index, (line, judged)) in lines.iter().zip(&mut judged).enumerate() {
            if judged.is_none() {
                *judged = Some(self.judge((index, line), &lines, &mut numbers, &mut taken));
            }
        }
        let mut judged: Vec<Judged<'_>> =
            judged.into_iter().map(|judged| judged.unwrap_or(Err(RejectReason::Disabled))).collect();
        let mut groups = self.bundle_lines(&groups, &lines, &mut judged);
        groups.extend(lip_sync::answer(offer, &lines, &mut judged));
        numbers.payload_types.shrink();
        self.conclude((offer, &lines), judged, groups, numbers)
    }

    /// A line without a stream so far: the first of ours that is free and fits.
    fn judge<'m>(
        &'m self,
        (index, line): (usize, &Offered<'m>),
        lines: &[Offered<'m>],
        numbers: &mut Numbers,
        taken: &mut u32,
    ) -> Judged<'m> {
        if line.section.port() == 0 && !(line.grouped && line.reading.bundle_only) {
            return Err(RejectReason::Disabled);
        }
        let mut fault = RejectReason::UnsupportedMedia;
        let of_kind = self.local.streams.iter().enumerate().filter(|(_, own)| Some(own.kind) == line.kind);
        for (position, (stream, _)) in of_kind.enumerate() {
            let stream = index_of(stream);
            // Also without a free stream, a line is told its own fault first, so that one offer is always judged the same.
            let mut tried = numbers.clone();
            match self.accept((index, line), stream, lines, &mut tried) {
                Ok(_) if *taken & bit(stream) != 0 => fault = RejectReason::AlreadyInUse,
                Ok(accepted) => {
                    *numbers = tried;
                    *taken |= bit(stream);
                    return Ok(accepted);
                }
                Err(reason) if position == 0 => fault = reason,
                Err(_) => {}
            }
        }
        Err(fault)
    }

    /// What a line and one of our streams make of each other.
    fn accept<'m>(
        &'m self,
        (index, line): (usize, &Offered<'m>),
        stream: u8,
        lines: &[Offered<'m>],
        numbers: &mut Numbers,
    ) -> Judged<'m> {
        let Offered { section, reading, .. } = line;
        let local = self.local.streams.get(usize::from(stream)).ok_or(RejectReason::Declined)?;
        if Some(local.kind) != line.kind {
            return Err(RejectReason::UnsupportedMedia);
        }
        let profile = transport_of(local, section)?;
        let transport = line.leans_on.and_then(|other| lines.get(other)).unwrap_or(line);
        let remote = remote_of(line, transport)?;
        let own = local.address_for(&remote.host).ok_or(RejectReason::IncompatibleAddress)?;
        if !local.enabled {
            return Err(RejectReason::Declined);
        }
        let address = self.told(own);
        let rtcp_mux = profile.is_some() && mux(local.rtcp_mux, [reading, &transport.reading])?;
        let (common, formats) = match profile {
            Some(_) => {
                let order = self.options.codec_order;
                let common = matching::common_with_offer(
                    &reading.formats,
                    (index_of(index), local),
                    order,
                    &mut numbers.payload_types,
                );
                if !matching::can_live(&common) {
                    return Err(RejectReason::NoCommonCodec);
                }
                (common, Vec::new())
            }
            None => (Vec::new(), common_formats(local, section)?),
        };
        let keyless = reading.crypto.is_empty() && !transport.reading.crypto.is_empty();
        let keys = match profile {
            Some(_) if keyless => None,
            Some(profile) => security::choose(local, profile, &reading.crypto)?,
            None => None,
        };
        let proven = section.has("fingerprint") || transport.section.has("fingerprint");
        if local.protection == Protection::Dtls && !proven {
            return Err(RejectReason::NoUsableKeys);
        }
        let offered_direction = reading.direction.unwrap_or_else(|| section.session_direction());
        let direction = self.wish(local).intersect_with_remote(offered_direction);
        let setup = match security::local_setup(local) {
            None => None,
            ours => {
                let offered = section.setup().or_else(|| transport.section.setup());
                security::answered_setup(ours, offered.as_ref())
            }
        };
        let more = local.options();
        let feedback = matching::common_feedback(&reading.feedback, &more.feedback, &common);
        // In a group it is what the tagged line says.
        let mixed = more.mixed_extensions && section.has("extmap-allow-mixed");
        let in_force = self.current().and_then(|agreed| agreed.streams.iter().find(|now| now.line == index));
        let answering = extensions::Answering {
            line: index_of(index),
            section,
            reading,
            in_force: in_force.map_or(&[], MediaStream::extensions),
            direction,
            mixed,
            // The keys of a group are looked at when it stands.
            encryptable: keyless && local.uses_sdes() || security::encrypts(profile, keys.as_ref()),
        };
        let all = lines.iter().map(|line| (line.section, &line.reading));
        let (extensions, said_extensions) = answering.agree(&more.extensions, all, &mut numbers.extensions);
        let (layers, said_layers) =
            simulcast::answer(more.layers.as_deref(), reading, &common, &feedback).unzip();
        let said = Box::new(Said {
            local,
            address,
            bundle_only: false,
            protocol: Cow::Borrowed(match profile {
                Some(profile) => profile.as_str(),
                None => other_protocol(local),
            }),
            payloads: common.iter().map(|pair| pair.local.clone()).collect(),
            formats: formats.clone(),
            direction,
            crypto: keys.iter().map(|keys| (keys.tag, keys.send.clone())).collect(),
            rtcp_mux,
            rtcp_mux_only: false,
            mid: reading.mid.map(Into::into),
            feedback: matching::answered_feedback(&feedback, &common),
            extensions: said_extensions,
            mixed,
            layers: said_layers,
            setup,
        });
        let held = !offered_direction.has_recv() || remote.host.is_unspecified();
        let terms = Terms {
            line: index,
            stream,
            profile,
            direction,
            held,
            rtcp_mux,
            keys,
            common,
            feedback,
            extensions,
            mixed,
            formats,
            layers,
        };
        let mut stream = terms.stream(local, reading, (address, remote));
        if let Some(peer) = security::peer_transport(local, section, said.setup.clone()) {
            stream.details_mut().peer = Some(peer);
        }
        let lacks_mux = rtcp_mux && !reading.rtcp_mux && !reading.rtcp_mux_only;
        let leaning = keyless || lacks_mux || proven && !section.has("fingerprint");
        Ok(Accepted { said, stream, leaning, keyless })
    }

    fn conclude<'m>(
        &'m self,
        (offer, offered): (&'m SessionDescription, &[Offered<'_>]),
        judged: Vec<Judged<'m>>,
        groups: Vec<(&'static str, Vec<Box<str>>)>,
        numbers: Numbers,
    ) -> Result<Evaluated<'m>, OfferError> {
        let mut negotiated = Negotiated::default();
        let mut sections = Vec::with_capacity(judged.len());
        let mut lines = Vec::with_capacity(judged.len());
        let mut address = None;
        let medias = offer.session().medias.iter().zip(offered);
        for ((index, judged), (media, line)) in judged.into_iter().enumerate().zip(medias) {
            let mid = line.reading.mid;
            match judged {
                Ok(Accepted { said, mut stream, .. }) => {
                    stream.close_black_holes();
                    address.get_or_insert(said.address.ip());
                    let section = Section::InUse(said);
                    lines.push(section.line().used_by(index_of(stream.stream)));
                    negotiated.streams.reserve_exact(1);
                    negotiated.streams.push(stream);
                    sections.push(section);
                }
                Err(reason) => {
                    let line = Line::of(media);
                    negotiated.rejected.push(RejectedLine {
                        line: index,
                        media: media.media.clone(),
                        reason,
                    });
                    lines.push(line.clone());
                    // RFC 5888 §9.1: it keeps its name in the answer.
                    sections.push(Section::Disabled(line.named(mid.map(Into::into))));
                }
            }
        }
        negotiated.rejected.shrink_to_fit();
        let all_disabled = negotiated.rejected.iter().all(|line| line.reason == RejectReason::Disabled);
        if negotiated.streams.is_empty() && !all_disabled {
            return Err(OfferError::NotAcceptable { lines: negotiated.rejected });
        }
        let times = times_of(&offer.session().times);
        let agreement = Agreement { negotiated, lines, times: times.into(), held: self.held };
        let address = address.unwrap_or_else(|| self.local.ip());
        Ok((Description { address, times, groups, sections }, agreement, numbers))
    }
}

/// What two sides agreed on in a line with one of our streams.
pub(super) struct Terms {
    pub(super) line: usize,
    pub(super) stream: u8,
    pub(super) profile: Option<Profile>,
    /// As the two direction attributes allow it, seen from here.
    pub(super) direction: crate::Direction,
    pub(super) held: bool,
    pub(super) rtcp_mux: bool,
    pub(super) keys: Option<super::StreamKeys>,
    pub(super) common: Vec<Common>,
    pub(super) feedback: Vec<Feedback>,
    pub(super) extensions: Vec<Extension>,
    pub(super) mixed: bool,
    pub(super) formats: Vec<String>,
    pub(super) layers: Option<Box<super::AgreedLayers>>,
}

impl Terms {
    pub(super) fn stream(
        self,
        local: &LocalStream,
        reading: &Reading<'_>,
        (address, remote): (std::net::SocketAddr, MediaAddress),
    ) -> MediaStream {
        let remote_rtcp =
            if self.rtcp_mux { Some(remote.clone()) } else { rtcp_address(&remote, reading.rtcp) };
        let companions = companions::of(&self.common);
        let plain = self.feedback.is_empty()
            && self.extensions.is_empty()
            && !self.mixed
            && self.formats.is_empty()
            && self.layers.is_none()
            && companions.is_empty();
        let details = (!plain || reading.mid.is_some()).then(|| {
            Box::new(Details {
                mid: reading.mid.map(Into::into),
                feedback: self.feedback,
                extensions: self.extensions,
                mixed: self.mixed,
                formats: self.formats,
                layers: self.layers,
                companions,
                ..Details::default()
            })
        });
        MediaStream {
            line: self.line,
            stream: self.stream.into(),
            kind: local.kind,
            profile: self.profile,
            direction: self.direction,
            held_by_remote: self.held,
            rtcp_mux: self.rtcp_mux,
            ptime: reading.ptime,
            max_ptime: reading.max_ptime,
            local: address,
            remote_rtcp,
            remote,
            send: matching::codecs(&self.common, |pair| &pair.remote),
            receive: matching::codecs(&self.common, |pair| &pair.local),
            send_events: matching::events(&self.common, |pair| &pair.remote),
            receive_events: matching::events(&self.common, |pair| &pair.local),
            keys: self.keys.map(Box::new),
            details,
        }
    }
}

fn bit(stream: u8) -> u32 {
    1_u32.checked_shl(stream.into()).unwrap_or(0)
}

fn read<'a>(section: MediaSection<'a>) -> Offered<'a> {
    let rtp = Profile::from_name(section.protocol()).is_some();
    Offered {
        section,
        reading: section.reading(rtp),
        kind: section.kind().parse().ok(),
        grouped: false,
        leans_on: None,
    }
}

pub(super) fn other_protocol(local: &LocalStream) -> &str {
    local.options().transport.as_ref().map_or("", |transport| &transport.protocol)
}

/// The profile of an offered line if it is RTP as our stream takes it; `None` for another transport that is ours.
fn transport_of(local: &LocalStream, section: &MediaSection<'_>) -> Result<Option<Profile>, RejectReason> {
    match &local.options().transport {
        Some(own) if own.protocol.eq_ignore_ascii_case(section.protocol()) => Ok(None),
        Some(_) => Err(RejectReason::UnsupportedTransport),
        None => {
            let profile = Profile::from_name(section.protocol()).filter(|profile| local.takes(*profile));
            profile.map(Some).ok_or(RejectReason::UnsupportedTransport)
        }
    }
}

fn common_formats(local: &LocalStream, section: &MediaSection<'_>) -> Result<Vec<String>, RejectReason> {
    let ours = local.options().transport.as_ref().map_or(&[][..], |transport| &transport.formats);
    let common = matching::common_formats(section.formats(), ours);
    if common.is_empty() { Err(RejectReason::NoCommonCodec) } else { Ok(common) }
}

/// Where an offered line wants media. A bundle-only line wants it where its group does.
fn remote_of(line: &Offered<'_>, transport: &Offered<'_>) -> Result<MediaAddress, RejectReason> {
    let address = match line.section.port() {
        0 if line.grouped && line.reading.bundle_only => {
            Some(transport).filter(|line| line.section.port() != 0).ok_or(RejectReason::BundleRefused)?
        }
        _ => line,
    };
    let address = address.section.rtp_address().map_err(|error| match error {
        AddressError::Disabled => RejectReason::Disabled,
        AddressError::UnsupportedNetwork => RejectReason::UnsupportedNetwork,
        _ => RejectReason::NoAddress,
    })?;
    if address.host.is_multicast() { Err(RejectReason::Multicast) } else { Ok(address) }
}

/// Whether RTP and RTCP share a port (RFC 5761 §5.1.1, RFC 8858 §4.2).
fn mux(own: RtcpMux, readings: [&Reading<'_>; 2]) -> Result<bool, RejectReason> {
    let only = readings.iter().any(|reading| reading.rtcp_mux_only);
    let offered = only || readings.iter().any(|reading| reading.rtcp_mux);
    match own {
        RtcpMux::Never if only => Err(RejectReason::RtcpMuxRequired),
        RtcpMux::Only if !offered => Err(RejectReason::RtcpMuxRequired),
        RtcpMux::Never => Ok(false),
        RtcpMux::Negotiate | RtcpMux::Only => Ok(offered),
    }
}

/// Refuses an offer in which two lines in use have changed places, by kind or by name: it would swap their streams.
fn require_order(known: &[Line], lines: &[Offered<'_>]) -> Result<(), OfferError> {
    let in_use = |index: &usize| {
        known.get(*index).is_some_and(|line| line.stream.is_some())
            && lines.get(*index).is_some_and(|line| line.section.port() != 0)
    };
    let moved = |from: usize, to: usize| {
        let (Some(before), Some(now)) = (known.get(from), lines.get(to)) else { return false };
        let kind = before.media().eq_ignore_ascii_case(now.section.kind());
        let (Some(there), Some(here)) = (known.get(to), lines.get(from)) else { return false };
        let is_name = |line: &Offered<'_>| before.mid.as_deref() == line.reading.mid;
        // Two lines of one name, which RFC 5888 §4 forbids, have not moved while each has it.
        let named = before.mid.is_some() && is_name(now) && !is_name(here);
        let kinds_differ = !there.media().eq_ignore_ascii_case(before.media());
        (kind && kinds_differ && !here.section.kind().eq_ignore_ascii_case(before.media())) || named
    };
    for first in (0..known.len()).filter(in_use) {
        for second in (0..first).filter(in_use) {
            if moved(first, second) && moved(second, first) {
                return Err(OfferError::LinesReordered { first: second, second: first });
            }
        }
    }
    Ok(())
}
