//! The peer's answer to our offer (RFC 3264 §7).

use super::answering::{Terms, other_protocol};
use super::bundle;
use super::extensions;
use super::line::Line;
use super::lip_sync;
use super::local::{Protection, RtcpMux};
use super::matching;
use super::negotiated::{MediaStream, Negotiated, RejectReason, RejectedLine};
use super::offering::{Offered, OfferedLine};
use super::profile::Profile;
use super::security;
use super::simulcast;
use super::{Agreement, AnswerError, OfferAnswer, index_of};
use crate::section::Reading;
use crate::{MediaAddress, MediaSection, SessionDescription};

impl OfferAnswer {
    /// Takes the answer to our offer and completes the exchange.
    ///
    /// # Errors
    /// [`AnswerError`] when it answers no offer of ours, or not this one. The offer is spent and the agreement before it
    /// stays, whatever the error.
    pub fn receive_answer(&mut self, answer: &SessionDescription) -> Result<&Negotiated, AnswerError> {
        let offered = *self.offered.take().ok_or(AnswerError::NoOffer)?;
        let answered = answer.media().len();
        if answered != offered.lines.len() {
            return Err(AnswerError::LineCount { offered: offered.lines.len(), answered });
        }
        let lines = answer.media().zip(&offered.lines).zip(&offered.said).map(|((section, line), said)| {
            let rtp = Profile::from_name(line.protocol()).is_some();
            Answered { section, reading: section.reading(rtp), line, said: said.as_ref() }
        });
        let lines: Vec<Answered<'_>> = lines.collect();
        let groups = groups_of(answer, &offered, &lines)?;

        let mut negotiated = Negotiated::default();
        for (index, line) in lines.iter().enumerate() {
            require_same(index, line.line.media(), line.section.kind())?;
            let group = groups.iter().find(|group| group.contains(&index));
            // RFC 9143 §7.4.1: the answers of RFC 8843 have port 0 in all lines of the group but the tagged one.
            let in_use = line.section.port() != 0 || (group.is_some() && line.reading.bundle_only);
            match line.said {
                Some(said) if in_use => {
                    let tagged = group.and_then(|group| lines.get(*group.first()?));
                    negotiated.streams.reserve_exact(1);
                    negotiated.streams.push(self.answered_stream(index, line, said, tagged, &offered)?);
                }
                // A line that we offered with port 0 stays so, even if the answer does not see it (RFC 3264 §8.2).
                said => {
                    let reason = match said {
                        Some(_) => RejectReason::RejectedByPeer,
                        None => RejectReason::Disabled,
                    };
                    let media = line.line.media().to_owned();
                    negotiated.rejected.push(RejectedLine { line: index, media, reason });
                }
            }
        }
        negotiated.rejected.shrink_to_fit();
        for group in &groups {
            share_transport(group, &mut negotiated)?;
        }
        lip_sync::answered(answer, &offered.lip_sync, &offered.lines, &mut negotiated.streams);
        negotiated.streams.iter_mut().for_each(MediaStream::close_black_holes);
        for stream in &negotiated.streams {
            // An identifier that the peer gave for a provisional one stays too.
            for extension in stream.extensions() {
                self.numbers.extensions.note_agreed(index_of(stream.line), extension);
            }
        }
        let Offered { mut lines, times, held, .. } = offered;
        for (index, line) in lines.iter_mut().enumerate() {
            if !negotiated.streams.iter().any(|stream| stream.line == index) {
                line.stream = None;
                line.mid = None;
            }
        }
        let agreed = Agreement { negotiated, lines, times, held };
        Ok(&self.agreed.insert(Box::new(agreed)).negotiated)
    }

    /// The stream that the answer gives to our line. `tagged` is the line whose transport it shares.
    fn answered_stream(
        &self,
        line: usize,
        answered: &Answered<'_>,
        said: &OfferedLine,
        tagged: Option<&Answered<'_>>,
        offered: &Offered,
    ) -> Result<MediaStream, AnswerError> {
        let Answered { section, reading, .. } = answered;
        let local = offered.local.streams.get(usize::from(said.stream)).ok_or(AnswerError::NoOffer)?;
        let profile = match local.is_rtp() {
            true => Some(profile_of(line, answered)?),
            false => {
                require_same(line, other_protocol(local), section.protocol())?;
                None
            }
        };
        let remote = remote_of(line, tagged.filter(|_| section.port() == 0).unwrap_or(answered))?;
        let (common, formats) = match profile {
            Some(_) => {
                let common = matching::common_with_answer(&reading.formats, &said.payloads);
                if !matching::can_live(&common) {
                    return Err(AnswerError::NoCommonCodec { line });
                }
                (common, Vec::new())
            }
            None => {
                let ours = local.options().transport.as_ref().map_or(&[][..], |transport| &transport.formats);
                let formats = matching::common_formats(section.formats(), ours);
                if formats.is_empty() {
                    return Err(AnswerError::NoCommonCodec { line });
                }
                (Vec::new(), formats)
            }
        };
        let follows = tagged.is_some_and(|tagged| !std::ptr::eq(tagged, answered));
        let rtcp_mux = said.rtcp_mux && (reading.rtcp_mux || reading.rtcp_mux_only || tagged.is_some());
        if profile.is_some() && local.rtcp_mux == RtcpMux::Only && !rtcp_mux {
            return Err(AnswerError::RtcpMux { line });
        }
        let demanded = local.protection == Protection::SdesRequired;
        let keys = match follows {
            true => None, // those of the tagged line
            false => security::answered(&said.crypto, demanded, &reading.crypto)
                .ok_or(AnswerError::Keys { line })?,
        };
        if local.protection == Protection::Dtls && !follows && !section.has("fingerprint") {
            return Err(AnswerError::Keys { line });
        }
        let answered_direction = reading.direction.unwrap_or_else(|| section.session_direction());
        // The intersection also mends the common mistake of answering sendrecv to sendonly.
        let direction = said.direction.intersect_with_remote(answered_direction);
        let held = match said.direction.has_send() {
            true => !answered_direction.has_recv() || remote.host.is_unspecified(),
            // We offered to send nothing, so the answer cannot tell; what was asked of us before still holds.
            false => {
                let before = self.current().and_then(|agreed| agreed.stream(said.stream.into()));
                remote.host.is_unspecified() || before.is_some_and(|stream| stream.held_by_remote)
            }
        };
        let more = local.options();
        let feedback = matching::common_feedback(&reading.feedback, &more.feedback, &common);
        // What another line has the keys of is looked at with them.
        let encryptable = follows || security::encrypts(profile, keys.as_ref());
        let extensions = extensions::answered(&said.extensions, section, reading, encryptable);
        let mixed = said.mixed && section.has("extmap-allow-mixed");
        let layers = simulcast::answered(said.layers.as_deref(), reading, &common, &feedback);
        let stream = said.stream;
        let terms = Terms {
            line,
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
        let mut stream = terms.stream(local, reading, (said.address, remote));
        if let Some(peer) = security::peer_transport(local, section, security::local_setup(local)) {
            stream.details_mut().peer = Some(peer);
        }
        Ok(stream)
    }
}

/// A line of the answer beside ours.
struct Answered<'a> {
    section: MediaSection<'a>,
    reading: Reading<'a>,
    line: &'a Line,
    said: Option<&'a OfferedLine>,
}

/// The lines in each BUNDLE group of the answer, the tagged one first; each group must be within one of the offer (RFC 9143
/// §7.4), and no two within the same.
fn groups_of(
    answer: &SessionDescription,
    offered: &Offered,
    lines: &[Answered<'_>],
) -> Result<Vec<Vec<usize>>, AnswerError> {
    if offered.bundle.is_empty() {
        return Ok(Vec::new());
    }
    let mut left: Vec<&Vec<Box<str>>> = offered.bundle.iter().collect();
    let mut groups = Vec::new();
    for mids in bundle::groups(&answer.session().attributes, bundle::BUNDLE) {
        let mut group: Vec<usize> = Vec::new();
        let mut within: Option<&Vec<Box<str>>> = None;
        for mid in mids {
            let known = |names: &&&Vec<Box<str>>| names.iter().any(|name| **name == *mid);
            let within = match within {
                Some(names) => Some(names).filter(|names| known(&names)),
                None => {
                    let place = left.iter().position(|names| known(&names));
                    within = place.map(|place| left.swap_remove(place));
                    within
                }
            };
            let place = lines.iter().position(|line| line.line.mid.as_deref() == Some(mid));
            let place = place.filter(|_| within.is_some()).ok_or(AnswerError::Bundle)?;
            if !group.contains(&place) {
                group.push(place);
            }
        }
        groups.push(group);
    }
    Ok(groups)
}

fn share_transport(group: &[usize], negotiated: &mut Negotiated) -> Result<(), AnswerError> {
    let Some(tag) = group.first() else { return Ok(()) };
    let tagged =
        negotiated.streams.iter().find(|stream| stream.line == *tag).cloned().ok_or(AnswerError::Bundle)?;
    for stream in negotiated.streams.iter_mut().filter(|stream| group.contains(&stream.line)) {
        stream.share_transport_of(&tagged);
        stream.rtcp_mux = stream.profile.is_some();
    }
    Ok(())
}

fn profile_of(line: usize, answered: &Answered<'_>) -> Result<Profile, AnswerError> {
    let (offered, given) = (answered.line.protocol(), answered.section.protocol());
    let both = Profile::from_name(offered).zip(Profile::from_name(given));
    let agreed = both.filter(|(ours, theirs)| ours.is_answered_by(*theirs)).map(|(_, theirs)| theirs);
    agreed.ok_or_else(|| mismatch(line, offered, given))
}

fn remote_of(line: usize, answered: &Answered<'_>) -> Result<MediaAddress, AnswerError> {
    let remote = answered.section.rtp_address().map_err(|reason| AnswerError::Address { line, reason })?;
    if remote.host.is_multicast() { Err(AnswerError::Multicast { line }) } else { Ok(remote) }
}

fn mismatch(line: usize, offered: &str, answered: &str) -> AnswerError {
    AnswerError::Mismatch { line, offered: offered.to_owned(), answered: answered.to_owned() }
}

fn require_same(line: usize, offered: &str, answered: &str) -> Result<(), AnswerError> {
    if offered.eq_ignore_ascii_case(answered) { Ok(()) } else { Err(mismatch(line, offered, answered)) }
}
