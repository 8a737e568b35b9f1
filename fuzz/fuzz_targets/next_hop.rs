//! The choice of servers (RFC 3263): any records, in any order, late, twice or never. It ends after a bounded number of
//! questions, with places that a secure URI may use or with a reason.
#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use sip_transport::resolve::{
    MAX_CANDIDATES, MAX_SERVICES, MAX_TARGETS, Need, Progress, Resolution, taking_turns,
};
use sip_transport::{Naptr, Question, Records, ResolveError, Srv, Supported, Transport};

const URIS: [&str; 8] = [
    "sip:example.com",
    "sips:example.com",
    "sip:example.com:5070",
    "sip:example.com;transport=tcp",
    "sips:example.com;transport=ws",
    "sip:192.0.2.1",
    "sip:example.com;maddr=[2001:db8::1]",
    "sip:example.com.;transport=tls",
];
const NAMES: [&str; 6] = ["a.example.com", "b.example.com.", ".", "", "_sip._udp.x", "a.example.com."];
const SERVICES: [&str; 7] = ["SIP+D2U", "SIP+D2T", "SIPS+D2T", "SIP+D2W", "SIPS+D2W", "sips+d2u", "E2U+sip"];

struct Octets<'a>(std::slice::Iter<'a, u8>);

impl Octets<'_> {
    fn next(&mut self) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0))
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.next() % list.len()]
    }

    fn number(&mut self) -> u16 {
        (self.next() * 257) as u16
    }

    fn records(&mut self) -> Result<Records, ResolveError> {
        let (kind, count) = (self.next() % 5, self.next());
        Ok(match kind {
            0 => Records::Naptr(
                (0..count)
                    .map(|_| Naptr {
                        order: (self.next() % 4) as u16,
                        preference: (self.next() % 4) as u16,
                        flags: self.of(&["s", "S", "u", ""]).into(),
                        service: self.of(&SERVICES).into(),
                        regexp: self.of(&["", "", "", "!x!y!"]).into(),
                        replacement: self.of(&NAMES).into(),
                    })
                    .collect(),
            ),
            1 => Records::Srv(
                (0..count)
                    .map(|_| Srv {
                        priority: (self.next() % 4) as u16,
                        weight: self.number(),
                        port: self.number(),
                        target: self.of(&NAMES).into(),
                    })
                    .collect(),
            ),
            2 => Records::Addresses((0..count).map(|_| [192, 0, 2, self.next() as u8].into()).collect()),
            3 => Records::Addresses(
                (0..count).map(|_| [0x2001, 0xdb8, 0, 0, 0, 0, 0, self.number()].into()).collect(),
            ),
            _ => {
                return Err([ResolveError::NotFound, ResolveError::TimedOut, ResolveError::Failed][count % 3]);
            }
        })
    }
}

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let mut octets = Octets(octets.iter());
    let uri = octets.of(&URIS);
    let mut supported = Supported::NONE;
    let (mask, size) = (octets.next(), octets.next() * 10);
    for (bit, transport) in Transport::ALL.into_iter().enumerate() {
        if mask >> bit & 1 == 0 {
            supported = supported.with(transport, mask & 64 == 0).with(transport, mask & 128 != 0);
        }
    }
    let need = Need { size, supported, random: octets.next() as u64 };
    let mut resolution = Resolution::new(&uri.parse().unwrap(), need);
    let (mut flying, mut asked) = (Vec::<Question>::new(), 0);
    let end = loop {
        let fresh = resolution.ask();
        asked += fresh.len();
        assert!(asked <= 1 + MAX_SERVICES.max(3) + 2 * MAX_TARGETS, "{asked} questions");
        flying.extend(fresh);
        let progress = resolution.progress();
        if !matches!(progress, Progress::Waiting(_)) {
            break progress;
        }
        assert!(!flying.is_empty(), "it waits for nothing");
        let turn = octets.next();
        if turn % 16 == 15 {
            resolution.settle();
            flying.clear();
        } else {
            let question = flying.swap_remove(turn % flying.len());
            let records = octets.records();
            resolution.answer(&question, records);
        }
    };
    if let Progress::Done(places) = end {
        assert!(!places.is_empty() && places.len() <= MAX_CANDIDATES);
        for place in &places {
            assert!(supported.contains(place.transport, place.remote.is_ipv4()));
            assert!(place.transport.is_secure() || !uri.starts_with("sips"));
        }
        let turns = taking_turns(&places);
        assert!(turns.len() == places.len() && places.iter().all(|place| turns.contains(place)));
    }
});
