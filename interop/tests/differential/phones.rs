//! baresip and PJSIP say what they read in what they repeat, in their status, and in their silence.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use interop::{Baresip, Dir, Pjsip, isolated, turn};
use sip_message::Response;

use crate::answers::{Facts, PATIENCE, ask, facts, ours, with_own_via};
use crate::known::{Known, Side};
use crate::mutants::{MUTANTS, Random, mutate, seeds};

/// The suites as they are and as OPTIONS, which a phone answers without a call, and mutants of the latter.
fn requests() -> Vec<Vec<u8>> {
    let seeds: Vec<Vec<u8>> = seeds().into_iter().filter(|seed| !seed.starts_with(b"SIP/2.0 ")).collect();
    let options: Vec<Vec<u8>> = seeds.iter().map(|seed| as_options(seed)).collect();
    let mut requests: Vec<Vec<u8>> = Vec::new();
    for seed in seeds.iter().chain(&options) {
        requests.push(with_own_via(seed, requests.len()));
    }
    // Mutants of what nobody reads are read by nobody.
    let read: Vec<&Vec<u8>> = options.iter().filter(|seed| ours(seed).is_ok()).collect();
    let mut random = Random(5118);
    for _ in 0..MUTANTS {
        let seed = with_own_via(read[random.next(read.len())], requests.len());
        requests.push(mutate(&mut random, &seed));
    }
    requests
}

/// The request with its method, wherever that stands, made OPTIONS.
fn as_options(octets: &[u8]) -> Vec<u8> {
    let method = octets.split(|octet| *octet == b' ').next().unwrap_or_default();
    let mut out = Vec::new();
    let mut rest = octets;
    while let Some((first, behind)) = rest.split_first() {
        if !method.is_empty() && rest.starts_with(method) {
            out.extend_from_slice(b"OPTIONS");
            rest = &rest[method.len()..];
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    out
}

#[derive(Default)]
struct Compared {
    both: usize,
    known: BTreeMap<String, usize>,
    /// How often, and one of them.
    unexplained: BTreeMap<String, (usize, String)>,
}

impl Compared {
    fn differ(&mut self, known: &Known, side: Side, what: &str, octets: &[u8]) {
        match known.why(side, what, octets) {
            Some(why) => *self.known.entry(format!("{side:?}: {why}")).or_insert(0) += 1,
            None => {
                let example = String::from_utf8_lossy(octets).escape_debug().to_string();
                self.unexplained.entry(format!("{side:?}: {what}")).or_insert((0, example)).0 += 1;
            }
        }
    }

    fn compare(&mut self, known: &Known, octets: &[u8], answer: Option<&Response>) {
        // A phone that answers with 400 has not read the request, as one that says nothing.
        let read = answer.filter(|answer| answer.status().code() != 400);
        match (ours(octets), read) {
            (Err(_), None) => {}
            (Err(rule), Some(_)) => self.differ(known, Side::TheyRead, &rule, octets),
            (Ok(_), None) => {
                let said = answer.map_or("silence".into(), |answer| answer.status().code().to_string());
                self.differ(known, Side::WeRead, &said, octets);
            }
            (Ok(ours), Some(answer)) => {
                self.both += 1;
                self.compare_facts(known, octets, &ours, answer);
            }
        }
    }

    fn compare_facts(&mut self, known: &Known, octets: &[u8], ours: &Facts, answer: &Response) {
        let Some(theirs) = facts(&answer.headers) else {
            let text = answer.to_string();
            return self.differ(
                known,
                Side::Facts,
                &format!("an answer that cannot be read: {text}"),
                octets,
            );
        };
        for (fact, our) in ours {
            let their = &theirs[fact];
            // RFC 3261 §8.2.6.2: an answer has a tag of its own where the request has none.
            let is_same = our == their || (*fact == "to tag" && our.is_empty());
            if !is_same {
                self.differ(known, Side::Facts, &format!("{fact}: {our:?}, theirs {their:?}"), octets);
            }
        }
    }
}

fn compare(peer: SocketAddr, known: &Known) {
    let requests = requests();
    let start = Instant::now();
    let all: Vec<(usize, &[u8])> = requests.iter().map(Vec::as_slice).enumerate().collect();
    let mut answers = ask(peer, &all, PATIENCE);
    // Silence that nothing explains may be a datagram that got lost: once more, as RFC 3261 §17.1.2.2 does it.
    let silent = |number: &usize| {
        let request = &requests[*number];
        ours(request).is_ok() && known.why(Side::WeRead, "silence", request).is_none()
    };
    let again: Vec<usize> =
        (0..requests.len()).filter(|number| answers[*number].is_none() && silent(number)).collect();
    let repeated: Vec<(usize, &[u8])> =
        again.iter().map(|number| (*number, requests[*number].as_slice())).collect();
    for (number, answer) in again.iter().zip(ask(peer, &repeated, 10 * PATIENCE)) {
        answers[*number] = answer;
    }
    let mut compared = Compared::default();
    for (request, answer) in requests.iter().zip(&answers) {
        compared.compare(known, request, answer.as_ref());
    }
    let answered = answers.iter().flatten().count();
    println!(
        "{}: {answered} of {} answered, {} read by both, in {:?}; known differences:",
        known.name,
        requests.len(),
        compared.both,
        start.elapsed()
    );
    compared.known.iter().for_each(|(why, count)| println!("  {count:5} {why}"));
    assert!(compared.both > MUTANTS / 4, "only {} requests were read by both", compared.both);
    let unexplained: Vec<String> = compared
        .unexplained
        .iter()
        .map(|(what, (count, example))| format!("{count:5} {what}\n      {example}"))
        .collect();
    assert!(unexplained.is_empty(), "{} differences:\n{}", unexplained.len(), unexplained.join("\n"));
}

#[test]
fn baresip_and_we_read_the_same_in_torture_messages_and_their_mutants() {
    let Some(_turn) = turn(&["baresip"]) else { return };
    if !isolated("phones::baresip_and_we_read_the_same_in_torture_messages_and_their_mutants") {
        return;
    }
    let dir = Dir::new("differential-baresip");
    let account = "<sip:bob@127.0.0.1;transport=udp>;regint=0";
    let baresip = Baresip::start(&dir, account, 440.0, &[]);
    compare(SocketAddr::from(([127, 0, 0, 1], baresip.port)), &Known::baresip());
}

#[test]
fn pjsip_and_we_read_the_same_in_torture_messages_and_their_mutants() {
    let Some(_turn) = turn(&[Pjsip::PYTHON]) else { return };
    if !isolated("phones::pjsip_and_we_read_the_same_in_torture_messages_and_their_mutants") {
        return;
    }
    let dir = Dir::new("differential-pjsip");
    let pjsip = Pjsip::start(&dir);
    compare(pjsip.address, &Known::pjsip());
}
