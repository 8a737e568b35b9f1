//! Offers of ours (RFC 3264 §5, §8).

use std::borrow::Cow;
use std::net::SocketAddr;

use sdp_types::Time;

use super::bundle::{self, Bundle};
use super::companions;
use super::extensions::{Offering, StreamTerms};
use super::header_extension::SaidExtension;
use super::line::Line;
use super::lip_sync;
use super::local::{LocalMedia, LocalStream, RtcpMux};
use super::negotiated::{Feedback, MediaStream};
use super::numbers::Numbers;
use super::security;
use super::simulcast;
use super::write::{Description, Said, Section};
use super::{AgreedLayers, CreateOfferError, OfferAnswer, index_of};
use crate::limits::MAX_MEDIA;
use crate::sdes::SrtpKey;
use crate::{Codec, Direction, Payload, SessionDescription};

/// Our open offer, as it was when it was made.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) lines: Vec<Line>,
    /// What each line in use said.
    pub(super) said: Vec<Option<OfferedLine>>,
    pub(super) local: LocalMedia,
    /// The names in each BUNDLE group.
    pub(super) bundle: Vec<Vec<Box<str>>>,
    /// The names in each group of streams to be played out together.
    pub(super) lip_sync: Vec<Vec<Box<str>>>,
    pub(super) times: Box<[Time]>,
    pub(super) held: bool,
}

/// What a line of ours offered.
#[derive(Clone, Debug)]
pub(super) struct OfferedLine {
    pub(super) stream: u8,
    pub(super) address: SocketAddr,
    pub(super) direction: Direction,
    pub(super) payloads: Vec<Payload>,
    pub(super) crypto: Vec<(u32, SrtpKey)>,
    pub(super) rtcp_mux: bool,
    pub(super) layers: Option<Box<AgreedLayers>>,
    pub(super) extensions: Vec<SaidExtension<'static>>,
    pub(super) mixed: bool,
}

impl OfferedLine {
    fn of(stream: u8, said: Said<'_>) -> Self {
        let Said { address, direction, payloads, crypto, rtcp_mux, layers, extensions, mixed, .. } = said;
        let extensions = extensions.into_iter().map(SaidExtension::into_owned).collect();
        OfferedLine { stream, address, direction, payloads, crypto, rtcp_mux, layers, extensions, mixed }
    }
}

impl OfferAnswer {
    /// An offer to send: in an INVITE or UPDATE, or in the 2xx or reliable 1xx to an INVITE that had none. It holds the
    /// present wishes of the local side (RFC 6337 §5.1), all its codecs and keys, and every line that the session ever had. Its
    /// `o=` version is the last one if nothing differs from what was sent last, else one more (RFC 3264 §8).
    ///
    /// # Errors
    /// [`CreateOfferError`], most likely that an offer is already open.
    pub fn create_offer(&mut self) -> Result<SessionDescription, CreateOfferError> {
        if self.offered.is_some() {
            return Err(CreateOfferError::OfferPending);
        }
        let mut lines = self.assigned_lines();
        if lines.is_empty() {
            return Err(CreateOfferError::NothingToOffer);
        }
        let bundles = self.plan_bundles(&lines);
        let synchronized = self.plan_lip_sync(&lines);
        self.name_lines(&mut lines, !bundles.is_empty() || !synchronized.is_empty());
        let mut extensions = Offering::default();
        let mut numbers = self.numbers.clone();
        let mut told: Vec<(usize, SocketAddr)> = Vec::new();
        let mut address = None;
        let mut sections = Vec::with_capacity(lines.len());
        for (place, line) in lines.iter().enumerate() {
            let in_use =
                line.stream.and_then(|index| Some((index, self.local.streams.get(usize::from(index))?)));
            let Some((index, stream)) = in_use else {
                sections.push(Section::Disabled(line.clone()));
                continue;
            };
            let mut said = self.say((index, stream), (index_of(place), line), &mut numbers)?;
            let bundle = bundles.iter().enumerate().find(|(_, bundle)| bundle.lines.contains(&place));
            let space = bundle.map_or_else(|| bundles.len().saturating_add(place), |(group, _)| group);
            let more = stream.options();
            said.extensions = extensions.say(
                (space, index_of(place)),
                &more.extensions,
                StreamTerms {
                    direction: said.direction,
                    mixed: more.mixed_extensions,
                    encryptable: security::offers_encryption(stream, &said.crypto),
                },
                &mut numbers.extensions,
            );
            if let Some((group, bundle)) = bundle {
                match bundle.shared {
                    Some(shared) => said.address = shared,
                    // RFC 9143 §7.2: one address twice in a first offer can only mean that the group is needed.
                    None => said.bundle_only = told.contains(&(group, said.address)),
                }
                told.push((group, said.address));
            }
            address.get_or_insert(said.address.ip());
            sections.push(Section::InUse(Box::new(said)));
        }
        for (line, section) in lines.iter_mut().zip(&sections) {
            let stream = line.stream;
            *line = match stream {
                Some(stream) => section.line().used_by(stream),
                None => section.line(),
            };
        }
        let times = self.agreed.as_ref().map_or(&[][..], |agreed| &agreed.times);
        let address = address.unwrap_or_else(|| self.local.ip());
        let names = |bundle: &Bundle| {
            let names = bundle.lines.iter().filter_map(|line| lines.get(*line)?.mid.clone());
            names.collect::<Vec<Box<str>>>()
        };
        let mut groups: Vec<_> = bundles.iter().map(|bundle| (bundle::BUNDLE, names(bundle))).collect();
        groups.extend(lip_sync::named(&synchronized, &lines));
        let description = Description { address, times, groups, sections };
        let (text, version) = self.stamped(&description);
        let Description { groups, sections, .. } = description;
        let (bundle, lip_sync): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|(semantics, _)| *semantics == bundle::BUNDLE);
        let names = |groups: Vec<(_, Vec<Box<str>>)>| groups.into_iter().map(|(_, names)| names).collect();
        let said = lines.iter().zip(sections).map(|(line, section)| match section {
            Section::InUse(said) => line.stream.map(|stream| OfferedLine::of(stream, *said)),
            Section::Disabled(_) => None,
        });
        let offered = Offered {
            said: said.collect(),
            lines,
            local: self.local.clone(),
            bundle: names(bundle),
            lip_sync: names(lip_sync),
            times: times.into(),
            held: self.held,
        };
        numbers.payload_types.shrink();
        self.numbers = numbers;
        self.offered = Some(Box::new(offered));
        self.before_answer = None;
        Ok(self.sent(text, version))
    }

    fn in_force(&self, stream: u8) -> Option<&MediaStream> {
        self.current().and_then(|agreed| agreed.stream(stream.into()))
    }

    /// Every line of the session with the stream that uses it now, and a line for each stream that wants one: that of a
    /// stream that was disabled before (RFC 3264 §8.1), of the same kind, or of any when the session has as many lines as
    /// any peer will read; else a new one.
    fn assigned_lines(&self) -> Vec<Line> {
        let mut lines = self.agreed.as_ref().map(|agreed| agreed.lines.clone()).unwrap_or_default();
        let mut free: Vec<bool> = lines.iter().map(|line| line.stream.is_none()).collect();
        let wanted = |line: &Line, stream: u8| {
            let local = self.local.streams.get(usize::from(stream)).filter(|local| local.enabled);
            local.is_some_and(|local| line.media().eq_ignore_ascii_case(local.kind.as_str()))
        };
        for line in &mut lines {
            line.stream = line.stream.filter(|stream| wanted(line, *stream));
        }
        for (index, stream) in self.local.streams.iter().enumerate().filter(|(_, stream)| stream.enabled) {
            let index = index_of(index);
            if lines.iter().any(|line| line.stream == Some(index)) {
                continue;
            }
            let is_free = |place: &usize| free.get(*place) == Some(&true);
            let same_kind = |place: &usize| {
                lines.get(*place).is_some_and(|line| line.media().eq_ignore_ascii_case(stream.kind.as_str()))
            };
            let places = 0..lines.len();
            let place = places.clone().filter(is_free).find(same_kind);
            let full = lines.len() >= MAX_MEDIA;
            let place = place.or_else(|| places.filter(|_| full).find(is_free));
            let line = Line::new(stream.kind.as_str(), "", "").used_by(index);
            match place.and_then(|place| Some((lines.get_mut(place)?, free.get_mut(place)?))) {
                Some((known, free)) => {
                    *known = line;
                    *free = false;
                }
                None if full => {}
                None => {
                    lines.push(line);
                    free.push(false);
                }
            }
        }
        lines
    }

    /// Names the lines in use that have a name or need one: all, if there is a group (RFC 5888 §6).
    fn name_lines(&self, lines: &mut [Line], grouped: bool) {
        let mut names: Vec<Box<str>> = lines.iter().filter_map(|line| line.mid.clone()).collect();
        for (place, line) in lines.iter_mut().enumerate() {
            let Some(stream) = line.stream.and_then(|index| self.local.streams.get(usize::from(index)))
            else {
                // Names of lines out of use are free again (RFC 5888 §6 wants one all the same).
                let mut number = (place..).map(|number| number.to_string().into_boxed_str());
                line.mid = number.find(|name| !names.contains(name)).filter(|_| grouped);
                names.extend(line.mid.clone());
                continue;
            };
            if line.mid.is_none() {
                let own = stream.options().mid.as_deref().map(Box::from);
                let own = own.filter(|own| !names.contains(own));
                let number =
                    || (place..).map(|n| n.to_string().into_boxed_str()).find(|name| !names.contains(name));
                line.mid = own.or_else(|| number().filter(|_| grouped));
                names.extend(line.mid.clone());
            }
        }
    }

    fn say<'m>(
        &'m self,
        (index, local): (u8, &'m LocalStream),
        (place, line): (u8, &Line),
        numbers: &mut Numbers,
    ) -> Result<Said<'m>, CreateOfferError> {
        let rtp = local.is_rtp();
        let codecs = if rtp { local.codecs.as_slice() } else { &[] };
        let mut placed: Vec<(usize, Payload)> = Vec::with_capacity(codecs.len());
        for names_others in [false, true] {
            let those = |(_, codec): &(usize, &Codec)| companions::names_numbers(codec) == names_others;
            for (at, codec) in codecs.iter().enumerate().filter(those) {
                let Some(codec) = companions::resolved(codec, codecs, &placed) else { continue };
                let missing = || CreateOfferError::NoPayloadTypeLeft(codec.name().to_owned());
                let payload_type = numbers.payload_types.number_for(place, &codec).ok_or_else(missing)?;
                placed.push((at, Payload { payload_type, codec }));
            }
        }
        placed.sort_by_key(|(at, _)| *at);
        let payloads: Vec<Payload> = placed.into_iter().map(|(_, payload)| payload).collect();
        let address = self.told(local.address);
        let in_force = self.in_force(index);
        let crypto = security::offered(local, in_force.and_then(|stream| stream.keys.as_deref()));
        if let Some(MediaStream { local: before, keys: Some(keys), .. }) = in_force {
            let moved = *before != address && !before.ip().is_unspecified() && !address.ip().is_unspecified();
            // A group has the keys of another line.
            let bundled = in_force.is_some_and(|stream| stream.bundle().is_some());
            if moved && !bundled && crypto.iter().any(|(_, key)| key.is_same_secret(&keys.send)) {
                return Err(CreateOfferError::FreshKeysNeeded { stream: index.into() });
            }
        }
        let more = local.options();
        let message = |message: &String| Feedback { payload_type: None, message: message.clone() };
        let transport = more.transport.as_ref();
        let layers = match rtp {
            true => simulcast::offer(more.layers.as_deref(), &payloads, &more.feedback, in_force),
            false => None,
        };
        Ok(Said {
            local,
            address,
            bundle_only: false,
            protocol: match transport {
                Some(transport) => Cow::Borrowed(transport.protocol.as_str()),
                None => Cow::Borrowed(local.profile().as_str()),
            },
            payloads,
            formats: transport.map(|transport| transport.formats.clone()).unwrap_or_default(),
            direction: self.wish(local),
            crypto,
            rtcp_mux: rtp && local.rtcp_mux != RtcpMux::Never,
            rtcp_mux_only: rtp && local.rtcp_mux == RtcpMux::Only,
            mid: line.mid.clone(),
            feedback: more.feedback.iter().map(message).collect(),
            extensions: Vec::new(),
            mixed: more.mixed_extensions,
            layers,
            setup: None,
        })
    }
}
