//! In which order servers are tried: SRV records by priority and weight (RFC 2782), the addresses of one server by the
//! default rules of RFC 6724, and connections that race by turns of the address families (RFC 8305).

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr};

use super::Candidate;
use crate::core::Srv;

/// Sorts records by priority and, within one, draws by weight (RFC 2782, "Usage rules").
///
/// The same records and the same `random` give the same order, however the name server has turned them around: a
/// stateless proxy needs that (RFC 3263 §4.4).
pub(super) fn in_order(mut records: Vec<Srv>, random: &mut u64) -> Vec<Srv> {
    // Weight 0 first within a priority: RFC 2782 wants such records to have a small chance only.
    records.sort_by(|one, other| {
        let key = |srv: &Srv| (srv.priority, srv.weight, srv.port);
        key(one).cmp(&key(other)).then_with(|| one.target.cmp(&other.target))
    });
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let (priority, least) = (first.priority, first.weight);
        let same = || records.iter().take_while(|srv| srv.priority == priority);
        let total: u64 = same().map(|srv| u64::from(srv.weight)).sum();
        let chosen = if total == 0 {
            // Nobody has a weight: equals share alike.
            usize::try_from(draw(random) % (same().count() as u64).max(1)).unwrap_or(0)
        } else {
            // RFC 2782 draws from 0 to the sum, both included, and takes the first whose running sum reaches the
            // number. 0 is there for the records of weight 0; without any, it would only favour the first.
            let drawn = if least == 0 {
                draw(random) % total.saturating_add(1)
            } else {
                (draw(random) % total).saturating_add(1)
            };
            let mut sum = 0_u64;
            let reached = same().position(|srv| {
                sum = sum.saturating_add(u64::from(srv.weight));
                sum >= drawn
            });
            reached.unwrap_or(0)
        };
        ordered.push(records.remove(chosen));
    }
    ordered
}

/// One step of the SplitMix64 generator.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The addresses of one host in the order in which they are tried (RFC 6157 §5, RFC 7984 §4): by the precedence of
/// RFC 6724, and as the name server gave them among equals. Those of two hosts are never mixed.
pub(super) fn by_precedence(addresses: &mut [IpAddr]) {
    addresses.sort_by_key(|ip| Reverse(precedence(*ip)));
}

/// The default policy table of RFC 6724 §2.1.
fn precedence(ip: IpAddr) -> u8 {
    let IpAddr::V6(ip) = ip else { return 35 };
    let [first, second, ..] = ip.segments();
    match ip {
        Ipv6Addr::LOCALHOST => 50,
        _ if first == 0x2002 => 30,
        _ if (first, second) == (0x2001, 0) => 5,
        _ if first & 0xfe00 == 0xfc00 => 3,
        // Site-local and 6bone addresses, both gone: RFC 3879, RFC 3701.
        _ if first & 0xffc0 == 0xfec0 || first == 0x3ffe => 1,
        _ => 40,
    }
}

/// The order in which connections to these candidates are attempted when they race: within each host the address
/// families take turns (RFC 8305 §4), so that a family which leads nowhere costs one delay and not one for each of
/// its addresses.
#[must_use]
pub fn taking_turns(candidates: &[Candidate]) -> Vec<Candidate> {
    let mut turns = Vec::with_capacity(candidates.len());
    for host in candidates.chunk_by(|one, other| one.host == other.host) {
        let Some(first) = host.first() else { continue };
        let is_first = |candidate: &&Candidate| candidate.remote.is_ipv4() == first.remote.is_ipv4();
        let mut these = host.iter().filter(is_first);
        let mut those = host.iter().filter(|candidate| !is_first(candidate));
        loop {
            let (this, that) = (these.next(), those.next());
            if this.is_none() && that.is_none() {
                break;
            }
            turns.extend(this.into_iter().chain(that).copied());
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Transport;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.to_owned() }
    }

    /// How often each of these records comes first in 10,000 draws.
    fn first_of(records: &[Srv]) -> Vec<f64> {
        let mut random = 42;
        let mut first = vec![0.0; records.len()];
        for _ in 0..10_000 {
            let ordered = in_order(records.to_vec(), &mut random);
            let index = records.iter().position(|record| record == &ordered[0]).unwrap();
            first[index] += 1.0;
        }
        first
    }

    /// Within three standard deviations of the share that the weight says.
    fn assert_shares(weights: &[u16]) {
        let targets = ["a", "b", "c", "d", "e"];
        let records: Vec<Srv> =
            weights.iter().zip(targets).map(|(weight, name)| srv(1, *weight, name)).collect();
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for (count, weight) in first_of(&records).into_iter().zip(weights) {
            let share = f64::from(*weight) / total;
            let sigma = (10_000.0 * share * (1.0 - share)).sqrt();
            let off = (count - 10_000.0 * share).abs();
            assert!(off <= 3.0 * sigma.max(1.0), "weight {weight} of {weights:?}: {count} times");
        }
    }

    #[test]
    fn rfc_2782_weights_share_the_load_within_three_sigma_over_ten_thousand_picks() {
        for weights in
            [&[75, 25][..], &[1, 2], &[1, 1, 1], &[10, 20, 30, 40], &[1, 999], &[60, 20, 10, 10, 5]]
        {
            assert_shares(weights);
        }
    }

    #[test]
    fn rfc_2782_a_weight_of_0_has_a_small_chance_and_all_0_share_alike() {
        let first = first_of(&[srv(1, 0, "a"), srv(1, 99, "b")]);
        assert!((40.0..160.0).contains(&first[0]), "one in a hundred: {first:?}");
        let first = first_of(&[srv(1, 0, "a"), srv(1, 0, "b")]);
        assert!((4_850.0..5_150.0).contains(&first[0]), "half and half: {first:?}");
    }

    #[test]
    fn rfc_2782_a_lower_priority_comes_first_whatever_the_weights() {
        let mut random = 1;
        for _ in 0..100 {
            let records = vec![srv(2, 9_999, "late"), srv(1, 0, "a"), srv(1, 1, "b")];
            assert_eq!(in_order(records, &mut random)[2].target, "late");
        }
    }

    /// RFC 3263 §4.4: however the name server turns its records around, the same number gives the same order.
    #[test]
    fn rfc_3263_4_4_the_order_depends_on_the_number_and_the_records_alone() {
        let records = vec![srv(1, 5, "a"), srv(1, 5, "b"), srv(1, 5, "c"), srv(0, 0, "d")];
        for number in 0..50 {
            let turned: Vec<Srv> = records.iter().rev().cloned().collect();
            assert_eq!(in_order(records.clone(), &mut { number }), in_order(turned, &mut { number }));
        }
    }

    #[test]
    fn rfc_6724_the_policy_table_decides_and_equals_keep_their_order() {
        let ips = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let mut list = ips(&[
            "fd00::1",
            "192.0.2.2",
            "2001:0:1::1",
            "2002::1",
            "2001:db8::2",
            "192.0.2.1",
            "::1",
            "2001:db8::1",
        ]);
        by_precedence(&mut list);
        let expected = [
            "::1",
            "2001:db8::2",
            "2001:db8::1",
            "192.0.2.2",
            "192.0.2.1",
            "2002::1",
            "2001:0:1::1",
            "fd00::1",
        ];
        assert_eq!(list, ips(&expected));
    }

    #[test]
    fn rfc_8305_4_families_take_turns_within_a_host_and_hosts_are_not_mixed() {
        let candidate = |host, remote: &str| Candidate {
            transport: Transport::Tcp,
            remote: remote.parse().unwrap(),
            host,
        };
        let list = [
            candidate(0, "[2001:db8::1]:1"),
            candidate(0, "[2001:db8::2]:1"),
            candidate(0, "192.0.2.1:1"),
            candidate(1, "192.0.2.2:1"),
            candidate(1, "[2001:db8::3]:1"),
        ];
        let order = [0, 2, 1, 3, 4].map(|index: usize| list[index]);
        assert_eq!(taking_turns(&list), order);
    }
}
