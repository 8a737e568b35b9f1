//! RTP header extensions in offers and answers (RFC 8285 §5–§8): who may use which, under which identifier, and encrypted or not
//! (RFC 6904 §4).

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::header_extension::{HeaderExtension, Named, SaidExtension};
use super::negotiated::Extension;
use crate::section::Reading;
use crate::{Direction, MediaSection};

/// RFC 8285 §4.2: identifiers that fit into one-byte headers, which everybody reads.
const SHORT: RangeInclusive<u8> = 1..=14;
/// RFC 8285 §4.3: those that need two-byte headers; 15 has a meaning of its own in the others.
const LONG: RangeInclusive<u8> = 16..=255;
/// RFC 8285 §7: stands for more than fits, and for alternatives, until the answer gives a real one.
const PROVISIONAL: RangeInclusive<u16> = 4096..=4351;

/// One `a=extmap` line of the peer.
#[derive(Clone, Copy)]
struct Read<'a> {
    id: u16,
    named: Named<'a>,
    direction: Direction,
}

impl<'a> Read<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let (head, rest) = line.trim().split_once(char::is_whitespace)?;
        let (id, direction) = match head.split_once('/') {
            Some((id, direction)) => (id, direction.parse().ok()?),
            None => (head, Direction::SendRecv),
        };
        let id = id.parse().ok().filter(|id| real(*id).is_some() || PROVISIONAL.contains(id))?;
        Some(Read { id, named: Named::of(rest)?, direction })
    }
}

/// An identifier that packets can carry.
fn real(id: u16) -> Option<u8> {
    u8::try_from(id).ok().filter(|id| *id != 0)
}

/// The lines of a section, of the session level if it has none: each real identifier and each extension once (RFC 8285 §5).
fn lines<'a>(section: &MediaSection<'a>, reading: &Reading<'a>) -> Vec<Read<'a>> {
    let mut known: Vec<Read<'a>> = Vec::new();
    let mut add = |line: &'a str| {
        if let Some(read) = Read::of(line)
            && !known
                .iter()
                .any(|known| known.named == read.named || known.id == read.id && real(read.id).is_some())
        {
            known.push(read);
        }
    };
    match reading.extensions.as_slice() {
        [] => {
            at_session(section).for_each(&mut add);
        }
        own => own.iter().copied().for_each(&mut add),
    }
    known
}

fn at_session<'a>(section: &MediaSection<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let attributes = section.session_attributes().iter();
    let named = attributes.filter(|attribute| attribute.attribute.eq_ignore_ascii_case("extmap"));
    named.filter_map(|attribute| attribute.value.as_deref())
}

/// Every real identifier that an offer mentions, for whatever.
fn mentioned<'a>(lines: impl Iterator<Item = (MediaSection<'a>, &'a Reading<'a>)>) -> Vec<u8> {
    let of = |(section, reading): (MediaSection<'a>, &'a Reading<'a>)| {
        let mut all = reading.extensions.clone();
        all.extend(at_session(&section));
        all.into_iter().filter_map(Read::of).filter_map(|read| real(read.id)).collect::<Vec<u8>>()
    };
    lines.flat_map(of).collect()
}

/// What the direction of a stream leaves of an extension's own; RFC 8285 §7 forbids to say more. Nothing is left if `None`.
fn within(own: Direction, stream: Direction) -> Option<Direction> {
    let left = match (own, stream) {
        (Direction::SendRecv, _) | (_, Direction::Inactive) => own,
        _ => own.intersect_with_remote(stream.reverse()),
    };
    Some(left).filter(|left| *left != Direction::Inactive)
}

/// Which identifier stands for which extension. One that was in force or offered keeps its meaning in its line (RFC 8285 §7).
#[derive(Clone, Debug, Default)]
pub(super) struct ExtensionIds(Option<Box<Known>>);

#[derive(Clone, Debug, Default)]
struct Known {
    given: Vec<Given>,
}

#[derive(Clone, Debug)]
struct Given {
    line: u8,
    id: u8,
    encrypted: bool,
    uri: Arc<str>,
    attributes: Option<Arc<str>>,
}

impl Given {
    fn named(&self) -> Named<'_> {
        Named { encrypted: self.encrypted, uri: &self.uri, attributes: self.attributes.as_deref() }
    }
}

impl ExtensionIds {
    fn given(&self) -> &[Given] {
        self.0.as_ref().map_or(&[], |known| &known.given)
    }

    /// Notes what an identifier means now. The last meaning is the one that offers of ours repeat.
    pub(super) fn note_agreed(&mut self, line: u8, extension: &Extension) {
        self.note(line, extension.id, extension.named());
    }

    fn note(&mut self, line: u8, id: u8, named: Named<'_>) {
        let known = &mut self.0.get_or_insert_default().given;
        known.retain(|given| given.line != line || given.id != id);
        let Named { encrypted, uri, attributes } = named;
        known.push(Given { line, id, encrypted, uri: uri.into(), attributes: attributes.map(Into::into) });
    }

    fn free(&self, mixed: bool, taken: &[u8]) -> Option<u8> {
        let long = mixed.then_some(LONG).into_iter().flatten();
        let mut ids = SHORT.chain(long);
        ids.find(|id| !taken.contains(id) && self.given().iter().all(|given| given.id != *id))
    }
}

/// What goes with the choice of identifiers in an answer.
pub(super) struct Answering<'l, 'a> {
    pub(super) line: u8,
    pub(super) section: &'l MediaSection<'a>,
    pub(super) reading: &'l Reading<'a>,
    /// What the line agreed on before.
    pub(super) in_force: &'l [Extension],
    /// The direction agreed on.
    pub(super) direction: Direction,
    /// Headers of both forms may stand in one stream.
    pub(super) mixed: bool,
    /// Media is SRTP that encrypts.
    pub(super) encryptable: bool,
}

impl<'a> Answering<'_, 'a> {
    /// What both sides know of the extensions of an offer, in its order. Provisional identifiers get real ones that the whole
    /// offer does not mention, the same for the same extension in every line (RFC 8285 §7).
    pub(super) fn agree<'b>(
        &self,
        ours: &[HeaderExtension],
        all: impl Iterator<Item = (MediaSection<'b>, &'b Reading<'b>)>,
        ids: &mut ExtensionIds,
    ) -> (Vec<Extension>, Vec<SaidExtension<'a>>) {
        if ours.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let offered = lines(self.section, self.reading);
        let mut chosen: Vec<(usize, Direction)> = Vec::new();
        // Those of a stated configuration first, so that others do not take it from them.
        let (exact, any): (Vec<_>, Vec<_>) = ours.iter().partition(|own| own.attributes.is_some());
        for own in exact.into_iter().chain(any) {
            let fits = |(place, read): &(usize, &Read<'_>)| {
                let used = chosen.iter().any(|(other, _)| {
                    // Of alternatives under one identifier one is taken at most, and so of the two forms (RFC 6904 §4.1).
                    other == place
                        || offered.get(*other).is_some_and(|other| {
                            other.id == read.id || other.named.is_counterpart(&read.named)
                        })
                });
                let moved = self
                    .in_force
                    .iter()
                    .any(|known| u16::from(known.id) == read.id && known.named() != read.named);
                !used && !moved && own.is(read.named)
            };
            let agreed = own.encryption.forms(self.encryptable).iter().find_map(|form| {
                let of_form = offered.iter().enumerate().filter(|(_, read)| read.named.encrypted == *form);
                let (place, read) = of_form.clone().find(fits)?;
                let direction = own.direction.intersect_with_remote(read.direction);
                Some((place, within(direction, self.direction)?))
            });
            chosen.extend(agreed);
        }
        // RFC 6904 §4.1: the form that is not chosen stays, without use.
        let unused: Vec<usize> = offered
            .iter()
            .enumerate()
            .filter(|(_, read)| {
                !read.named.encrypted
                    && real(read.id).is_some()
                    && chosen.iter().any(|(other, _)| {
                        offered.get(*other).is_some_and(|other| other.named.is_counterpart(&read.named))
                    })
            })
            .map(|(place, _)| place)
            .collect();
        chosen.extend(unused.into_iter().map(|place| (place, Direction::Inactive)));
        chosen.sort_unstable_by_key(|(place, _)| *place);
        let mut taken: Vec<u8> = Vec::new();
        if chosen.iter().any(|(place, _)| offered.get(*place).is_some_and(|read| real(read.id).is_none())) {
            taken = mentioned(all);
        }
        let (mut agreed, mut said) = (Vec::with_capacity(chosen.len()), Vec::with_capacity(chosen.len()));
        for (place, direction) in chosen {
            let Some(read) = offered.get(place) else { continue };
            let known = ids.given().iter().rev().find(|given| given.named() == read.named);
            let known = known
                .map(|known| known.id)
                .filter(|id| !taken.contains(id) && !is_taken(ids, (self.line, *id), read.named));
            let Some(id) = real(read.id).or(known).or_else(|| ids.free(self.mixed, &taken)) else { continue };
            ids.note(self.line, id, read.named);
            let Named { encrypted, uri, attributes } = read.named;
            if direction != Direction::Inactive {
                let (uri, attributes) = (uri.to_owned(), attributes.map(str::to_owned));
                agreed.push(Extension { id, encrypted, uri, attributes, direction });
            }
            let (uri, attributes) = (Cow::Borrowed(uri), attributes.map(Cow::Borrowed));
            said.push(SaidExtension { id: id.into(), encrypted, uri, attributes, direction });
        }
        (agreed, said)
    }
}

/// What an offered stream is, for its extensions.
#[derive(Clone, Copy)]
pub(super) struct StreamTerms {
    pub(super) direction: Direction,
    /// Headers of both forms may stand in it.
    pub(super) mixed: bool,
    /// It is SRTP that encrypts, if the peer takes it as it is offered.
    pub(super) encryptable: bool,
}

/// The extensions of our offer, told apart by the space that their identifiers are unique in: a line, or a BUNDLE group.
#[derive(Default)]
pub(super) struct Offering<'m> {
    said: Vec<(usize, SaidExtension<'m>)>,
}

impl<'m> Offering<'m> {
    /// What a line says, in the space `space`.
    pub(super) fn say(
        &mut self,
        (space, line): (usize, u8),
        ours: &'m [HeaderExtension],
        stream: StreamTerms,
        ids: &mut ExtensionIds,
    ) -> Vec<SaidExtension<'m>> {
        let StreamTerms { direction, mixed, encryptable } = stream;
        let forms = |own: &'m HeaderExtension| {
            own.encryption.forms(encryptable).iter().map(move |encrypted| (own, *encrypted))
        };
        let mut said = Vec::with_capacity(ours.len());
        for (own, encrypted) in ours.iter().flat_map(forms) {
            let Some(direction) = within(own.direction, direction) else { continue };
            // A configuration that the peer gave goes on, unless it is wished for by itself.
            let repeats = |given: &&Given| {
                given.encrypted == encrypted
                    && own.is(given.named())
                    && (own.attributes.is_some()
                        || ours.iter().all(|other| other.attributes.is_none() || !other.is(given.named())))
            };
            let before = |given: &&Given| given.line == line && repeats(given);
            let known = ids.given().iter().rev().find(before);
            let known = known.or_else(|| ids.given().iter().rev().find(repeats)).cloned();
            let attributes = match &known {
                Some(known) => known.attributes.as_deref().map(|text| Cow::Owned(text.to_owned())),
                None => own.attributes.as_deref().map(Cow::Borrowed),
            };
            let named = Named { encrypted, uri: &own.uri, attributes: attributes.as_deref() };
            let id = match known.map(|known| known.id) {
                // It means something else here.
                Some(id) if !self.is_free(space, id.into(), named) => continue,
                Some(id) if is_taken(ids, (line, id), named) => continue,
                Some(id) => Some(id),
                None => ids.free(mixed, &[]),
            };
            let id = match id {
                Some(id) => {
                    ids.note(line, id, named);
                    Some(id.into())
                }
                None => self.provisional(named),
            };
            let Some(id) = id else { continue };
            let uri = Cow::Borrowed(own.uri.as_str());
            let extension = SaidExtension { id, encrypted, uri, attributes, direction };
            self.said.push((space, extension.clone()));
            said.push(extension);
        }
        said
    }

    /// Whether an identifier can stand for an extension in a space: nothing else does, and it has no other one there
    /// (RFC 8285 §7, RFC 9143 §9.2).
    fn is_free(&self, space: usize, id: u16, named: Named<'_>) -> bool {
        let mut there = self.said.iter().filter(|(other, _)| *other == space);
        there.all(|(_, said)| (said.named() == named) == (said.id == id))
    }

    fn provisional(&self, named: Named<'_>) -> Option<u16> {
        let same = |said: &&SaidExtension<'_>| PROVISIONAL.contains(&said.id) && said.named() == named;
        let said = || self.said.iter().map(|(_, said)| said);
        let known = said().find(same).map(|said| said.id);
        known.or_else(|| PROVISIONAL.into_iter().find(|id| said().all(|said| said.id != *id)))
    }
}

fn is_taken(ids: &ExtensionIds, (line, id): (u8, u8), named: Named<'_>) -> bool {
    ids.given().iter().any(|given| given.line == line && given.id == id && given.named() != named)
}

/// What an answer makes of what we offered: the same identifiers, or real ones for provisional ones (RFC 8285 §7). An encrypted
/// form only in SRTP, and then not the other one too (RFC 6904 §4.1).
pub(super) fn answered(
    offered: &[SaidExtension<'_>],
    section: &MediaSection<'_>,
    reading: &Reading<'_>,
    encryptable: bool,
) -> Vec<Extension> {
    let mut agreed: Vec<Extension> = Vec::new();
    if offered.is_empty() {
        return agreed;
    }
    for Read { id, named, direction } in lines(section, reading) {
        let Some(real_id) = real(id) else { continue };
        let alike = |said: &&SaidExtension<'_>| said.uri == named.uri && said.encrypted == named.encrypted;
        let same = |said: &&SaidExtension<'_>| said.id == id && alike(said);
        let provisional = |said: &&SaidExtension<'_>| PROVISIONAL.contains(&said.id) && alike(said);
        let said = offered.iter().find(same).or_else(|| {
            // Not one that another extension of the offer has.
            let free = offered.iter().all(|said| said.id != id);
            let mut of_uri = offered.iter().filter(|_| free).filter(provisional);
            let exact = of_uri.clone().find(|said| said.named() == named);
            exact.or_else(|| of_uri.find(|said| said.attributes.is_none()))
        });
        let Some(said) = said else { continue };
        let direction = said.direction.intersect_with_remote(direction);
        if direction != Direction::Inactive && (encryptable || !named.encrypted) {
            let Named { encrypted, uri, attributes } = named;
            let (uri, attributes) = (uri.to_owned(), attributes.map(str::to_owned));
            agreed.push(Extension { id: real_id, encrypted, uri, attributes, direction });
        }
    }
    let encrypted: Vec<Extension> = agreed.iter().filter(|known| known.encrypted).cloned().collect();
    agreed
        .retain(|extension| encrypted.iter().all(|known| !known.named().is_counterpart(&extension.named())));
    agreed
}

/// Takes out of a line what is something else in the others of its group: there is one space of identifiers in it (RFC 8285
/// §7, RFC 9143 §9.2).
pub(super) fn keep_apart(own: &mut Vec<Extension>, group: &mut Vec<Extension>) {
    own.retain(|extension| {
        group.iter().all(|known| (known.named() == extension.named()) == (known.id == extension.id))
    });
    group.extend(own.iter().cloned());
}

/// Takes out of what a line of an answer says what it does not agree on any more. A form without use stays beside the other.
pub(super) fn keep_agreed(said: &mut Vec<SaidExtension<'_>>, agreed: &[Extension]) {
    said.retain(|said| {
        agreed.iter().any(|agreed| {
            u16::from(agreed.id) == said.id
                || said.direction == Direction::Inactive && agreed.named().is_counterpart(&said.named())
        })
    });
}
