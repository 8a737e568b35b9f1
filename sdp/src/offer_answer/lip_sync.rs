//! Streams that are played out together: LS groups (RFC 5888 §7).

use super::OfferAnswer;
use super::answering::{Judged, Offered};
use super::bundle::groups;
use super::line::Line;
use super::negotiated::MediaStream;
use crate::SessionDescription;

/// What makes the lines of such a group one.
const LS: &str = "LS";

/// The names in a group, after what makes it one.
type Named = (&'static str, Vec<Box<str>>);

impl MediaStream {
    /// The lines of the streams that are to be played out together with this one, itself among them; empty if there is none
    /// (LS, RFC 5888 §7).
    pub fn synchronized(&self) -> &[usize] {
        self.details.as_ref().map_or(&[], |details| &details.synchronized)
    }
}

/// Lines that are in one group by way of others are in one.
#[derive(Default)]
struct Sets(Vec<Vec<usize>>);

impl Sets {
    fn join(&mut self, lines: &[usize]) {
        let (mut joined, apart): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|set| set.iter().any(|line| lines.contains(line)));
        joined.push(lines.to_vec());
        let mut all = joined.concat();
        all.sort_unstable();
        all.dedup();
        self.0 = apart;
        self.0.push(all);
    }

    fn of(&self, line: usize) -> Option<&Vec<usize>> {
        self.0.iter().find(|set| set.len() > 1 && set.contains(&line))
    }

    fn apply<'s>(&self, streams: impl Iterator<Item = &'s mut MediaStream>) {
        for stream in streams {
            if let Some(set) = self.of(stream.line) {
                stream.details_mut().synchronized.clone_from(set);
            }
        }
    }
}

/// The groups of an offer with those of their lines that are accepted: an answer has them all, with none if need be
/// (RFC 5888 §9.2).
pub(super) fn answer(
    offer: &SessionDescription,
    lines: &[Offered<'_>],
    judged: &mut [Judged<'_>],
) -> Vec<Named> {
    let attributes = &offer.session().attributes;
    let mut said = Vec::new();
    // RFC 5888 §6: a line without a name means no grouping at all.
    if !attributes.iter().any(|attribute| attribute.attribute.eq_ignore_ascii_case("group"))
        || lines.iter().any(|line| line.section.port() != 0 && line.reading.mid.is_none())
    {
        return said;
    }
    let mut sets = Sets::default();
    for mids in groups(attributes, LS) {
        let places = mids.map(|mid| lines.iter().position(|line| line.reading.mid == Some(mid)));
        // A group that names what is not there is none.
        let Some(mut places) = places.collect::<Option<Vec<usize>>>() else { continue };
        places.retain(|place| judged.get(*place).is_some_and(Result::is_ok));
        sets.join(&places);
        let name = |place: &usize| lines.get(*place).and_then(|line| line.reading.mid).map(Into::into);
        said.push((LS, places.iter().filter_map(name).collect()));
    }
    sets.apply(judged.iter_mut().flatten().map(|accepted| &mut accepted.stream));
    said
}

/// What an answer leaves of the groups that we offered (RFC 5888 §9.2).
pub(super) fn answered(
    answer: &SessionDescription,
    offered: &[Vec<Box<str>>],
    lines: &[Line],
    streams: &mut [MediaStream],
) {
    if offered.is_empty() {
        return;
    }
    let mut sets = Sets::default();
    for mids in groups(&answer.session().attributes, LS) {
        let mids: Vec<&str> = mids.collect();
        let within = |names: &Vec<Box<str>>| mids.iter().all(|mid| names.iter().any(|name| **name == **mid));
        if offered.iter().any(within) {
            let place = |mid: &&str| lines.iter().position(|line| line.mid.as_deref() == Some(*mid));
            let in_use = |place: &usize| streams.iter().any(|stream| stream.line == *place);
            let places: Vec<usize> = mids.iter().filter_map(place).filter(in_use).collect();
            sets.join(&places);
        }
    }
    sets.apply(streams.iter_mut());
}

impl OfferAnswer {
    /// The lines of each group of our next offer: those wished for, and of streams that no wish names those in force.
    pub(super) fn plan_lip_sync(&self, lines: &[Line]) -> Vec<Vec<usize>> {
        let mut sets = Sets::default();
        let wished = |place: usize| {
            let stream = lines.get(place).and_then(|line| line.stream)?;
            self.local.lip_sync.of(stream.into())
        };
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.stream.is_some()) {
            let with: Vec<usize> = match wished(place) {
                Some(wish) => (0..lines.len()).filter(|other| wished(*other) == Some(wish)).collect(),
                None => {
                    let stream =
                        self.current().and_then(|agreed| agreed.streams.iter().find(|now| now.line == place));
                    let in_force = stream.map_or(&[][..], MediaStream::synchronized).iter().copied();
                    let goes_on = |other: &usize| {
                        let line = lines.get(*other).is_some_and(|line| line.stream.is_some());
                        line && wished(*other).is_none()
                    };
                    in_force.filter(goes_on).collect()
                }
            };
            if with.len() > 1 && line.stream.is_some() {
                sets.join(&with);
            }
        }
        sets.0.sort_unstable();
        sets.0
    }
}

/// The groups of an offer, under their names.
pub(super) fn named(sets: &[Vec<usize>], lines: &[Line]) -> Vec<Named> {
    let names = |set: &Vec<usize>| set.iter().filter_map(|line| lines.get(*line)?.mid.clone()).collect();
    sets.iter().map(|set| (LS, names(set))).collect()
}
