//! The negotiation of layers: simulcast (RFC 8853 §5.3) of streams with restrictions (RFC 8851 §6).

use sdp_types::{Rid, RidDirection};

use super::layers::{AgreedLayers, Encoding, Layers, LocalEncoding};
use super::matching::Common;
use super::negotiated::{Feedback, MediaStream};
use crate::attributes::{Alternatives, Restrictions, Simulcast, SimulcastDirection};
use crate::levels::leave_room;
use crate::section::Reading;
use crate::{Codec, Payload};

type Streams = Vec<Vec<Encoding>>;

/// The layers that a section speaks of, each once, in the numbers of its describing side: what it sends, what it receives.
/// `None` without simulcast. Several lines disable it (RFC 8853 §5.3.2).
fn read(reading: &Reading<'_>) -> Option<(Streams, Streams)> {
    let [line] = reading.simulcast.as_slice() else { return None };
    let simulcast: Simulcast = line.trim().parse().ok()?;
    let rids: Vec<Rid> = reading.rids.iter().filter_map(|line| line.parse().ok()).collect();
    // RFC 8851 §6.2.2: all lines of a name that is there twice are nothing.
    let rids: Vec<&Rid> =
        rids.iter().filter(|rid| rids.iter().filter(|other| other.id == rid.id).count() == 1).collect();
    let mut named: Vec<&str> = Vec::new();
    let mut of = |direction, way| {
        let mut streams = Streams::new();
        for Alternatives(ids) in simulcast.streams(direction) {
            let mut stream = Vec::new();
            for id in ids {
                let rid = rids.iter().find(|rid| rid.id == id.rid && rid.direction == way);
                if let Some(rid) = rid.filter(|rid| !named.contains(&rid.id.as_str()))
                    && let Some(encoding) = encoding(rid, reading)
                {
                    named.push(&rid.id);
                    stream.push(Encoding { paused: id.paused, ..encoding });
                }
            }
            streams.push(stream);
        }
        complete(&mut streams);
        streams
    };
    let sent = of(SimulcastDirection::Send, RidDirection::Send);
    let received = of(SimulcastDirection::Receive, RidDirection::Recv);
    Some((sent, received))
}

/// What an `a=rid` line says, if it is sound. Formats that the section does not have are left out.
fn encoding(rid: &Rid, reading: &Reading<'_>) -> Option<Encoding> {
    let mut encoding = Encoding { rid: rid.id.clone(), ..Encoding::default() };
    for (place, parameter) in rid.params.iter().enumerate() {
        if let Some(list) = parameter.strip_prefix("pt=") {
            let known = |number: &u8| reading.formats.iter().any(|format| format.payload_type == *number);
            let numbers = list.split(',').filter_map(crate::codec::payload_type).filter(known);
            encoding.payload_types = numbers.collect();
            if place != 0 || encoding.payload_types.is_empty() {
                return None;
            }
        } else if let Some(list) = parameter.strip_prefix("depend=") {
            encoding.depends_on = list.split(',').map(str::to_owned).collect();
        } else {
            encoding.restrictions.take(parameter)?;
        }
    }
    Some(encoding)
}

/// Takes out what depends on what is not there, and streams without anything.
fn complete(streams: &mut Streams) {
    loop {
        let known: Vec<String> = streams.iter().flatten().map(|encoding| encoding.rid.clone()).collect();
        let is_whole = |encoding: &Encoding| encoding.depends_on.iter().all(|rid| known.contains(rid));
        streams.iter_mut().for_each(|stream| stream.retain(is_whole));
        streams.retain(|stream| !stream.is_empty());
        if streams.iter().map(Vec::len).sum::<usize>() == known.len() {
            return;
        }
    }
}

/// Whether both sides can pause streams (RFC 7728 §6.1).
fn pausable(feedback: &[Feedback]) -> bool {
    feedback.iter().any(|feedback| is_pause(&feedback.message))
}

fn is_pause(message: &str) -> bool {
    let mut words = message.split_ascii_whitespace();
    words.next() == Some("ccm") && words.next() == Some("pause")
}

/// Whose packets a restriction is about, seen from here.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Sent,
    Received,
}

/// What our layers make of streams of the other side: each takes the layer of its name, or the first that is free and fits.
fn choose<'c>(
    streams: Streams,
    slots: &[Vec<LocalEncoding>],
    way: Way,
    codec: impl Fn(u8) -> Option<&'c Codec>,
    all: &[&Codec],
) -> Streams {
    let mut free: Vec<&Vec<LocalEncoding>> = slots.iter().collect();
    let mut chosen = Streams::new();
    for stream in streams {
        let is_named = |slot: &&Vec<LocalEncoding>| {
            slot.iter().any(|own| stream.iter().any(|encoding| encoding.rid == own.rid))
        };
        let fitting = |slot: &[LocalEncoding]| -> Vec<Encoding> {
            let fit = |encoding: &Encoding| slot.iter().find_map(|own| fits(encoding, own, way, &codec, all));
            stream.iter().filter_map(fit).collect()
        };
        let named = free.iter().position(|slot| is_named(slot) && !fitting(slot).is_empty());
        let place = named.or_else(|| free.iter().position(|slot| !fitting(slot).is_empty()));
        if let Some(place) = place {
            chosen.push(fitting(free.remove(place)));
        }
    }
    complete(&mut chosen);
    chosen
}

/// What an encoding of the other side becomes with one of ours, if it can be had.
fn fits<'c>(
    encoding: &Encoding,
    own: &LocalEncoding,
    way: Way,
    codec: impl Fn(u8) -> Option<&'c Codec>,
    all: &[&Codec],
) -> Option<Encoding> {
    let mut agreed = encoding.clone();
    let primary = |codec: &&&Codec| codec.is_primary();
    match encoding.payload_types.is_empty() {
        // RFC 8851 §6.3: the answer may not list what the offer did not. So all may arrive, and one is to be sent.
        true => {
            let takes = |codec: &&Codec| own.takes(codec);
            let fit = match way {
                Way::Received => all.iter().filter(primary).all(takes),
                Way::Sent => all.iter().filter(primary).any(takes),
            };
            if !fit {
                return None;
            }
        }
        false => {
            let can =
                |number: &u8| codec(*number).is_some_and(|codec| !codec.is_primary() || own.takes(codec));
            agreed.payload_types.retain(can);
            if !agreed.payload_types.iter().any(|number| codec(*number).is_some_and(Codec::is_primary)) {
                return None;
            }
        }
    }
    // Of what we receive, a restriction that is not known does no harm (RFC 8851 §6.2.2).
    if way == Way::Sent && !encoding.restrictions.others().is_empty() {
        return None;
    }
    for (restriction, most) in own.restrictions.known() {
        let Some(ours) = most else { continue };
        match encoding.restrictions.stated(restriction) {
            Some(theirs) => {
                agreed.restrictions.set(restriction, Some(theirs.map_or(ours, |theirs| theirs.min(ours))));
            }
            // It cannot be said in the answer. What we send keeps within it all the same.
            None if way == Way::Sent => {}
            None => return None,
        }
    }
    Some(agreed)
}

/// Takes out what none of its codecs can make a picture for, with the parameters of the side that receives (RFC 8851 §6.2.2 step 6,
/// §6.4 steps 6 and 7).
fn keep_consistent(streams: &mut Streams, common: &[Common], way: Way) {
    let is_consistent = |encoding: &Encoding| {
        let numbers = &encoding.payload_types;
        let its = common.iter().filter(|pair| {
            let number = pair.remote.payload_type;
            pair.local.codec.is_primary() && (numbers.is_empty() || numbers.contains(&number))
        });
        let receiver = |pair: &Common| match way {
            Way::Sent => leave_room(&pair.remote.codec, &encoding.restrictions),
            Way::Received => leave_room(&pair.local.codec, &encoding.restrictions),
        };
        its.into_iter().any(receiver)
    };
    streams.iter_mut().for_each(|stream| stream.retain(is_consistent));
    complete(streams);
}

/// The same under other numbers. What has none of them left is gone: an empty list would mean any.
fn renumbered(streams: &Streams, number: impl Fn(u8) -> Option<u8>) -> Streams {
    let encoding = |encoding: &Encoding| {
        let payload_types: Vec<u8> = encoding.payload_types.iter().filter_map(|old| number(*old)).collect();
        let is_whole = encoding.payload_types.is_empty() || !payload_types.is_empty();
        is_whole.then(|| Encoding { payload_types, ..encoding.clone() })
    };
    streams.iter().map(|stream| stream.iter().filter_map(encoding).collect()).collect()
}

impl AgreedLayers {
    fn some(send: Streams, receive: Streams) -> Option<Box<Self>> {
        let layers = AgreedLayers { send, receive };
        (!layers.send.is_empty() || !layers.receive.is_empty()).then(|| Box::new(layers))
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Encoding> {
        self.send.iter_mut().chain(&mut self.receive).flatten()
    }
}

/// What we answer to the layers of an offer: what is agreed on, and the same in our numbers, to be said.
pub(super) fn answer(
    ours: Option<&Layers>,
    reading: &Reading<'_>,
    common: &[Common],
    feedback: &[Feedback],
) -> Option<(Box<AgreedLayers>, Box<AgreedLayers>)> {
    let ours = ours?;
    let (mut sent, mut received) = read(reading)?;
    keep_consistent(&mut sent, common, Way::Received);
    keep_consistent(&mut received, common, Way::Sent);
    let codec = |number: u8| {
        let pair = common.iter().find(|pair| pair.remote.payload_type == number);
        pair.map(|pair| &pair.local.codec)
    };
    let all: Vec<&Codec> = common.iter().map(|pair| &pair.local.codec).collect();
    let receive = choose(sent, &ours.receive, Way::Received, codec, &all);
    let send = choose(received, &ours.send, Way::Sent, codec, &all);
    let own = |theirs: u8| {
        let pair = common.iter().find(|pair| pair.remote.payload_type == theirs);
        pair.map(|pair| pair.local.payload_type)
    };
    let mut said = AgreedLayers::some(renumbered(&send, own), renumbered(&receive, own))?;
    let mut agreed = AgreedLayers::some(send, said.receive.clone())?;
    let can_pause = pausable(feedback);
    for encoding in said.all_mut().chain(agreed.all_mut()) {
        encoding.paused &= can_pause;
    }
    Some((agreed, said))
}

/// What we offer, in the numbers of `payloads`: our own layers, or in a direction whose names the peer gave, those in force.
pub(super) fn offer(
    ours: Option<&Layers>,
    payloads: &[Payload],
    feedback: &[String],
    in_force: Option<&MediaStream>,
) -> Option<Box<AgreedLayers>> {
    let ours = ours?;
    let all: Vec<&Codec> = payloads.iter().map(|payload| &payload.codec).collect();
    let codec = |number: u8| {
        let payload = payloads.iter().find(|payload| payload.payload_type == number);
        payload.map(|payload| &payload.codec)
    };
    let goes_on = |slots: &[Vec<LocalEncoding>], way: Way| {
        let stream = in_force?;
        let layers = stream.layers()?;
        let streams = if way == Way::Sent { &layers.send } else { &layers.receive };
        let is_ours = |encoding: &Encoding| slots.iter().flatten().any(|own| own.rid == encoding.rid);
        if streams.iter().flatten().all(is_ours) {
            return None;
        }
        let now = |number: u8| {
            let codec = codec_in_force(stream, number, way)?;
            Some(payloads.iter().find(|payload| payload.codec.is_compatible(&codec))?.payload_type)
        };
        let streams = renumbered(streams, now);
        Some(choose(streams, slots, way, codec, &all)).filter(|streams| !streams.is_empty())
    };
    let own = |slots: &[Vec<LocalEncoding>]| {
        let numbers = |own: &LocalEncoding| match own.codecs.is_empty() {
            true => Vec::new(),
            false => {
                let numbers = own.codecs.iter().filter_map(|codec| {
                    Some(payloads.iter().find(|payload| payload.codec.is_compatible(codec))?.payload_type)
                });
                numbers.collect()
            }
        };
        let encoding = |own: &LocalEncoding| Encoding {
            rid: own.rid.clone(),
            payload_types: numbers(own),
            restrictions: own.restrictions.clone(),
            depends_on: Vec::new(),
            paused: own.paused,
        };
        slots.iter().map(|slot| slot.iter().map(encoding).collect()).collect::<Streams>()
    };
    let send = goes_on(&ours.send, Way::Sent).unwrap_or_else(|| own(&ours.send));
    let mut receive = goes_on(&ours.receive, Way::Received).unwrap_or_else(|| own(&ours.receive));
    // A name stands once in a section (RFC 8851 §4): that of the peer may be one of ours.
    let is_free = |encoding: &Encoding| send.iter().flatten().all(|other| other.rid != encoding.rid);
    receive.iter_mut().for_each(|stream| stream.retain(is_free));
    complete(&mut receive);
    let mut said = AgreedLayers::some(send, receive)?;
    let can_pause = feedback.iter().any(|message| is_pause(message));
    said.all_mut().for_each(|encoding| encoding.paused &= can_pause);
    Some(said)
}

/// What a number of an encoding in force stands for.
fn codec_in_force(stream: &MediaStream, number: u8, way: Way) -> Option<Codec> {
    let (payloads, events) = match way {
        Way::Sent => (&stream.send, &stream.send_events),
        Way::Received => (&stream.receive, &stream.receive_events),
    };
    let companions = stream.companions().iter().map(|companion| match way {
        Way::Sent => &companion.send,
        Way::Received => &companion.receive,
    });
    let known = payloads.iter().chain(companions).find(|payload| payload.payload_type == number);
    let event = || events.iter().find(|events| events.payload_type == number);
    known
        .map(|payload| payload.codec.clone())
        .or_else(|| event().map(|events| Codec::telephone_event(events.clock_rate)))
}

/// What an answer makes of the layers that we offered (RFC 8853 §5.3.3, RFC 8851 §6.4).
pub(super) fn answered(
    offered: Option<&AgreedLayers>,
    reading: &Reading<'_>,
    common: &[Common],
    feedback: &[Feedback],
) -> Option<Box<AgreedLayers>> {
    let offered = offered?;
    let (mut sent, mut received) = read(reading)?;
    keep_consistent(&mut sent, common, Way::Received);
    keep_consistent(&mut received, common, Way::Sent);
    let own = |theirs: u8| {
        let pair = common.iter().find(|pair| pair.remote.payload_type == theirs);
        pair.map(|pair| pair.local.payload_type)
    };
    let is_primary = |theirs: &u8| {
        let pair = common.iter().find(|pair| pair.remote.payload_type == *theirs);
        pair.is_some_and(|pair| pair.local.codec.is_primary())
    };
    let agree = |answered: Streams, offered: &Streams, way: Way| {
        let mut left: Vec<&Vec<Encoding>> = offered.iter().collect();
        let mut agreed = Streams::new();
        for stream in answered {
            let place = left
                .iter()
                .position(|own| own.iter().any(|own| stream.iter().any(|encoding| encoding.rid == own.rid)));
            let Some(place) = place else { continue };
            let ours = left.remove(place);
            let accept = |mut encoding: Encoding| {
                let before = ours.iter().find(|own| own.rid == encoding.rid)?;
                let listed =
                    |theirs: &u8| own(*theirs).is_some_and(|own| before.payload_types.contains(&own));
                let sound = match (before.payload_types.is_empty(), encoding.payload_types.is_empty()) {
                    (true, true) => true,
                    (true, false) => false,
                    // Without a list anything may come; of what we send, we know which to take.
                    (false, true) => way == Way::Sent,
                    (false, false) => {
                        encoding.payload_types.iter().all(listed)
                            && encoding.payload_types.iter().any(is_primary)
                    }
                };
                encoding.restrictions = narrowed(&before.restrictions, &encoding.restrictions, way)?;
                encoding.depends_on = before.depends_on.clone();
                sound.then_some(encoding)
            };
            agreed.push(stream.into_iter().filter_map(accept).collect());
        }
        complete(&mut agreed);
        agreed
    };
    let send = agree(received, &offered.send, Way::Sent);
    let receive = renumbered(&agree(sent, &offered.receive, Way::Received), own);
    let mut agreed = AgreedLayers::some(send, receive)?;
    let can_pause = pausable(feedback);
    agreed.all_mut().for_each(|encoding| encoding.paused &= can_pause);
    Some(agreed)
}

/// The restrictions of an answer, if they are those of the offer or tighter (RFC 8851 §6.4).
fn narrowed(offered: &Restrictions, answered: &Restrictions, way: Way) -> Option<Restrictions> {
    let mut agreed = answered.clone();
    for (restriction, most) in answered.known() {
        let wider = match (offered.stated(restriction)?, most) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(before), Some(now)) => now > before,
        };
        if wider {
            return None;
        }
    }
    if answered.others().iter().any(|other| !offered.others().contains(other)) {
        return None;
    }
    for (restriction, most) in offered.known() {
        if answered.stated(restriction).is_none() {
            match way {
                // What we said of what we send holds, whether the peer repeats it or not.
                Way::Sent => agreed.set(restriction, most),
                Way::Received => return None,
            }
        }
    }
    Some(agreed)
}
