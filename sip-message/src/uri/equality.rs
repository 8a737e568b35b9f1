//! When two URIs are the same: RFC 3261 §19.1.4.

use super::{Uri, lower_octets, octets, same_name};
use alloc::vec::Vec;

/// Parameters that, present in one URI only, make it another (RFC 3261 §19.1.4).
const TELLING: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// Up to so many parameters, looking each one up is cheaper than sorting them.
const FEW: usize = 16;

impl Uri {
    /// Whether both name the same resource: RFC 3261 §19.1.4 for `sip` and `sips`, texts without regard to
    /// case for others.
    pub fn equivalent(&self, other: &Self) -> bool {
        if !self.scheme().eq_ignore_ascii_case(other.scheme()) {
            return false;
        }
        if !self.is_sip() && !self.is_sips() {
            return self.text.eq_ignore_ascii_case(&other.text);
        }
        same_text(self.user(), other.user())
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port == other.port
            && params_agree(self, other)
            && headers_agree(self, other)
    }
}

fn same_text(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => octets(one).eq(octets(other)),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn same_value(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => lower_octets(one).eq(lower_octets(other)),
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn is_telling(name: &str) -> bool {
    TELLING.iter().any(|telling| same_name(name, telling))
}

fn params_agree(one: &Uri, other: &Uri) -> bool {
    if one.params().nth(FEW).is_some() || other.params().nth(FEW).is_some() {
        return sorted_params_agree(one, other);
    }
    each_param_agrees(one, other) && each_param_agrees(other, one)
}

/// Of a name that stands there twice, which §19.1.1 forbids, the first counts.
fn each_param_agrees(one: &Uri, other: &Uri) -> bool {
    let first = |uri: &'_ Uri, name: &str| {
        uri.params()
            .find(|(known, _)| lower_octets(known).eq(lower_octets(name)))
            .map(|(_, value)| value.map(|value| lower_octets(value).collect::<Vec<_>>()))
    };
    one.params().all(|(name, value)| match other.params().find(|(known, _)| same_octets(known, name)) {
        Some((_, theirs)) => {
            // Nearly always the parameter itself is the first of its name.
            same_value(value, theirs) || first(one, name) == first(other, name)
        }
        None => !is_telling(name),
    })
}

fn same_octets(one: &str, other: &str) -> bool {
    lower_octets(one).eq(lower_octets(other))
}

/// The same for URIs of many parameters, in the time of sorting them.
fn sorted_params_agree(one: &Uri, other: &Uri) -> bool {
    let (one, other) = (sorted(one), sorted(other));
    let (mut ours, mut theirs) = (one.iter().peekable(), other.iter().peekable());
    loop {
        let lone = match (ours.peek(), theirs.peek()) {
            (None, None) => return true,
            (Some(a), Some(b)) => match a.name.cmp(&b.name) {
                core::cmp::Ordering::Equal if !same_value(a.value, b.value) => return false,
                core::cmp::Ordering::Equal => {
                    ours.next();
                    theirs.next();
                    continue;
                }
                core::cmp::Ordering::Less => ours.next(),
                core::cmp::Ordering::Greater => theirs.next(),
            },
            (Some(_), None) => ours.next(),
            (None, Some(_)) => theirs.next(),
        };
        if lone.is_some_and(|param| TELLING.iter().any(|telling| telling.as_bytes() == param.name)) {
            return false;
        }
    }
}

struct Param<'u> {
    /// In lower case, escapes undone.
    name: Vec<u8>,
    value: Option<&'u str>,
}

/// The first parameter of each name, by name.
fn sorted(uri: &Uri) -> Vec<Param<'_>> {
    let mut all: Vec<Param<'_>> =
        uri.params().map(|(name, value)| Param { name: lower_octets(name).collect(), value }).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name)); // stable: the first stays the first
    all.dedup_by(|later, first| later.name == first.name);
    all
}

fn headers_agree(one: &Uri, other: &Uri) -> bool {
    let sorted = |uri: &Uri| {
        let mut all: Vec<_> = uri
            .headers()
            .map(|(name, value)| (lower_octets(name).collect::<Vec<_>>(), octets(value).collect::<Vec<_>>()))
            .collect();
        all.sort();
        all
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_uri_equals_itself_even_with_a_parameter_twice() {
        let twice = uri("sip:h;u=a;u=b;%75=c");
        assert!(twice.equivalent(&twice) && twice.equivalent(&uri("sip:h;u=a")));
    }

    /// RFC 3261 §10.3 step 5: what is equal must not get two places in a table.
    #[test]
    fn equal_ports_are_equal_addresses_of_record() {
        let (one, other) = (uri("sip:h:65535"), uri("sip:h:065535"));
        assert!(one.equivalent(&other));
        assert_eq!(one.canonical_aor(), other.canonical_aor());
    }

    /// Both ways of comparing give the same answer for every pair of short parameter lists.
    #[test]
    fn sorting_and_looking_up_agree() {
        let words = [
            "",
            ";u=a",
            ";U=%41",
            ";u=b",
            ";u",
            ";%75=a",
            ";ttl=1",
            ";TTL=1",
            ";%74tl=2",
            ";lr",
            ";user=phone",
        ];
        let mut lists: alloc::vec::Vec<String> = alloc::vec::Vec::new();
        for a in words {
            for b in words {
                lists.push(format!("sip:h{a}{b}"));
            }
        }
        for a in &lists {
            for b in &lists {
                let (one, other) = (uri(a), uri(b));
                let looked_up = each_param_agrees(&one, &other) && each_param_agrees(&other, &one);
                assert_eq!(sorted_params_agree(&one, &other), looked_up, "{a} {b}");
            }
        }
    }
}
