//! BUNDLE groups (RFC 9143): which lines share the addresses and keys of one of them.

use std::net::SocketAddr;

use sdp_types::Attribute;

use super::answering::{Accepted, Judged, Offered};
use super::extensions::{keep_agreed, keep_apart};
use super::line::Line;
use super::local::{LocalStream, Protection};
use super::negotiated::{Details, MediaStream, RejectReason};
use super::profile::Profile;
use super::{OfferAnswer, OfferError};
use crate::{Direction, SessionDescription};

/// What makes the lines of a group one (RFC 9143 §5).
pub(super) const BUNDLE: &str = "BUNDLE";

/// A group of our next offer.
pub(super) struct Bundle {
    /// The group wished for.
    wish: usize,
    /// The tagged line of the group in force that it continues.
    tag: Option<usize>,
    /// Its lines, the tagged one first.
    pub(super) lines: Vec<usize>,
    /// The address of all its lines, in a group in force (RFC 9143 §7.5).
    pub(super) shared: Option<SocketAddr>,
}

/// The names in each group of these semantics at a session level.
pub(super) fn groups<'a>(
    attributes: &'a [Attribute],
    semantics: &'static str,
) -> impl Iterator<Item = impl Iterator<Item = &'a str>> {
    attributes.iter().filter_map(move |attribute| {
        let value =
            attribute.value.as_deref().filter(|_| attribute.attribute.eq_ignore_ascii_case("group"))?;
        let mut words = value.split_ascii_whitespace();
        words.next().filter(|word| word.eq_ignore_ascii_case(semantics)).map(|_| words)
    })
}

impl OfferAnswer {
    /// The lines in each BUNDLE group of the offer, in the order of their names, if we bundle.
    pub(super) fn bundles_of(
        &self,
        offer: &SessionDescription,
        lines: &mut [Offered<'_>],
    ) -> Result<Vec<Vec<usize>>, OfferError> {
        let in_force = || {
            self.current().is_some_and(|agreed| agreed.streams.iter().any(|stream| stream.bundle().is_some()))
        };
        // What is in a group stays there, whatever the wish (RFC 9143 §7.3.2).
        if self.local.bundle.is_apart() && !in_force() {
            return Ok(Vec::new());
        }
        let mut bundles: Vec<Vec<usize>> = Vec::new();
        for mids in groups(&offer.session().attributes, BUNDLE) {
            let mut group = Vec::new();
            for mid in mids {
                let Some(index) = lines.iter().position(|line| line.reading.mid == Some(mid)) else {
                    continue;
                };
                if bundles.iter().any(|other| other.contains(&index)) {
                    return Err(OfferError::BundledTwice { line: index });
                }
                if !group.contains(&index) {
                    group.push(index);
                }
            }
            lean(&group, lines);
            bundles.push(group);
        }
        Ok(bundles)
    }

    /// Bundles what can be, and gives the names in each group, the tagged line first (RFC 9143 §7.3.1).
    pub(super) fn bundle_lines(
        &self,
        bundles: &[Vec<usize>],
        lines: &[Offered<'_>],
        judged: &mut [Judged<'_>],
    ) -> Vec<(&'static str, Vec<Box<str>>)> {
        let mut named = Vec::new();
        for group in bundles {
            let names = self.bundle_group(group, lines, judged);
            if !names.is_empty() {
                named.push((BUNDLE, names));
            }
        }
        for (index, (line, judged)) in lines.iter().zip(judged).enumerate() {
            let outside = matches!(judged, Ok(accepted) if accepted.stream.bundle().is_none());
            // RFC 9143 §7.3.2: an answer cannot move these out of their group. It can reject them.
            let bound = line.section.port() == 0
                || judged.as_ref().is_ok_and(|accepted| accepted.leaning)
                || line.grouped && self.bundle_of(index).is_some();
            if outside && bound {
                *judged = Err(RejectReason::BundleRefused);
            }
        }
        named
    }

    fn bundle_group(
        &self,
        group: &[usize],
        lines: &[Offered<'_>],
        judged: &mut [Judged<'_>],
    ) -> Vec<Box<str>> {
        let able = |judged: &Judged<'_>| match judged {
            Ok(Accepted { said, stream, .. }) => {
                stream.rtcp_mux || !said.local.is_rtp() && said.local.can_bundle()
            }
            Err(_) => false,
        };
        let wanted = |judged: &Judged<'_>| {
            let alone = |stream: &MediaStream| {
                self.local.bundle.of(stream.stream).is_some() || self.bundle_of(stream.line).is_some()
            };
            judged.as_ref().is_ok_and(|accepted| alone(&accepted.stream))
        };
        let tag = group.iter().copied().find(|index| {
            let in_use = lines.get(*index).is_some_and(|line| line.section.port() != 0);
            let stands = |judged: &Judged<'_>| judged.as_ref().is_ok_and(|accepted| !accepted.leaning);
            in_use && judged.get(*index).is_some_and(|line| able(line) && wanted(line) && stands(line))
        });
        let tagged = tag.and_then(|tag| judged.get(tag)).and_then(|judged| judged.as_ref().ok());
        let Some((address, tagged)) = tagged.map(|tagged| (tagged.said.address, tagged.stream.clone()))
        else {
            return Vec::new();
        };
        let secure = tagged.is_secure();
        let alike = |accepted: &Accepted<'_>| {
            let Accepted { said, stream, keyless, .. } = accepted;
            let keys = match (keyless, said.local.protection) {
                (true, Protection::SdesRequired) => secure,
                (true, Protection::SdesOptional) => secure || !stream.is_secure(),
                _ => secure == stream.is_secure(),
            };
            let dtls = tagged.profile.map(Profile::is_dtls) == stream.profile.map(Profile::is_dtls);
            dtls && keys || stream.profile.is_none()
        };
        let (mut names, mut extensions) = (Vec::new(), Vec::new());
        for index in tag.into_iter().chain(group.iter().copied().filter(|index| Some(*index) != tag)) {
            let Some(line) = judged.get_mut(index).filter(|line| able(line)) else { continue };
            let leans_on = lines.get(index).and_then(|line| line.leans_on);
            let Ok(accepted) = line else { continue };
            let apart = accepted.leaning && leans_on != Some(tagged.line);
            let fits = !apart && alike(accepted) && self.may_share(&accepted.stream, &tagged);
            let Accepted { said, stream, .. } = accepted;
            if stream.line != tagged.line {
                if !fits {
                    continue;
                }
                said.address = address;
                // Keys belong to the transport, which is that of the tagged line (RFC 8859 §5.8).
                said.crypto.clear();
            }
            stream.share_transport_of(&tagged);
            if !stream.extensions().is_empty() {
                keep_apart(&mut stream.details_mut().extensions, &mut extensions);
                keep_agreed(&mut said.extensions, stream.extensions());
            }
            said.mixed = tagged.mixed_extensions();
            names.extend(said.mid.clone());
        }
        names
    }

    /// Whether two streams may share a transport: because it is wished for, or because they do already.
    fn may_share(&self, stream: &MediaStream, tagged: &MediaStream) -> bool {
        let shared = self.bundle_of(stream.line);
        self.local.bundle.joins(stream.stream, tagged.stream)
            || shared.is_some() && shared == self.bundle_of(tagged.line)
    }

    /// The groups of our next offer. A group in force goes on with its members that are still wished for; what shall go from
    /// one group to another leaves first, and joins with the offer after (RFC 9143 §7.5.2).
    pub(super) fn plan_bundles(&self, lines: &[Line]) -> Vec<Bundle> {
        let mut planned: Vec<Bundle> = Vec::new();
        let wished = |line: &Line| {
            let stream = usize::from(line.stream?);
            let able = self.local.streams.get(stream).is_some_and(LocalStream::can_bundle);
            self.local.bundle.of(stream).filter(|_| able)
        };
        for (place, line) in lines.iter().enumerate() {
            let Some((wish, tag)) = wished(line).zip(self.bundle_of(place)) else { continue };
            let known = planned.iter_mut().find(|bundle| bundle.tag == Some(tag));
            match known {
                Some(bundle) if bundle.wish == wish => bundle.lines.push(place),
                Some(_) => {}
                None => {
                    let one_alone = !self.local.bundle.is_together();
                    if !one_alone || planned.iter().all(|bundle| bundle.wish != wish) {
                        planned.push(Bundle { wish, tag: Some(tag), lines: vec![place], shared: None });
                    }
                }
            }
        }
        for (place, line) in lines.iter().enumerate() {
            let Some(wish) = wished(line).filter(|_| self.bundle_of(place).is_none()) else { continue };
            match planned.iter_mut().find(|bundle| bundle.wish == wish) {
                Some(bundle) => bundle.lines.push(place),
                None => planned.push(Bundle { wish, tag: None, lines: vec![place], shared: None }),
            }
        }
        for bundle in &mut planned {
            bundle.lines.sort_unstable();
            // The line whose address is shared goes first, while it is there.
            let at = bundle.lines.iter().position(|line| Some(*line) == bundle.tag);
            if let Some((before, line)) =
                at.and_then(|at| Some((bundle.lines.get_mut(..=at)?, lines.get(bundle.tag?)?)))
            {
                before.rotate_right(1);
                let tagged = line.stream.and_then(|stream| self.local.streams.get(usize::from(stream)));
                bundle.shared = tagged.map(|tagged| self.told(tagged.address));
            }
        }
        planned.sort_unstable_by_key(|bundle| bundle.lines.iter().min().copied());
        planned
    }

    /// The tagged line of the group in force that a line is in.
    pub(super) fn bundle_of(&self, line: usize) -> Option<usize> {
        self.current()?.streams.iter().find(|stream| stream.line == line)?.bundle()
    }
}

/// Marks the lines of a group. What belongs to transports is said once for the whole group, by its first line in use, in
/// offers that follow a first one, and for bundle-only lines (RFC 9143 §7.1.3): these lines have its address, or none.
fn lean(group: &[usize], lines: &mut [Offered<'_>]) {
    let first =
        group.iter().copied().find(|index| lines.get(*index).is_some_and(|line| line.section.port() != 0));
    let base = first.and_then(|first| lines.get(first)).map(|line| line.section);
    for index in group {
        let Some(line) = lines.get_mut(*index) else { continue };
        line.grouped = true;
        let shares = base.is_some_and(|base| match line.section.port() {
            0 => line.reading.bundle_only,
            port => port == base.port() && line.section.connection() == base.connection(),
        });
        line.leans_on = first.filter(|first| shares && first != index);
    }
}

impl MediaStream {
    pub(super) fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    /// The attributes are negotiated as if the addresses were real (RFC 6337 §5.4), but nothing can flow to an unspecified one.
    pub(super) fn close_black_holes(&mut self) {
        let send = self.direction.has_send() && !self.remote.host.is_unspecified();
        let receive = self.direction.has_recv() && !self.local.ip().is_unspecified();
        self.direction = match (send, receive) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        };
    }

    /// Takes the transport of the tagged line (RFC 9143 §7.3.1, §7.4): its addresses, its keys, its handshake.
    pub(super) fn share_transport_of(&mut self, tagged: &MediaStream) {
        if tagged.line != self.line {
            self.local = tagged.local;
            self.remote = tagged.remote.clone();
            self.keys = tagged.keys.clone();
            let peer = tagged.details.as_ref().and_then(|details| details.peer.clone());
            if peer.is_some() {
                self.details_mut().peer = peer;
            }
        }
        if !self.is_encrypted() && !self.extensions().is_empty() {
            // The keys of the group decide (RFC 6904 §4).
            self.details_mut().extensions.retain(|extension| !extension.encrypted);
        }
        self.remote_rtcp = Some(self.remote.clone());
        // Of one kind in the whole group (RFC 8285 §6).
        self.details_mut().mixed = tagged.mixed_extensions();
        self.details_mut().bundle = Some(tagged.line);
    }
}
