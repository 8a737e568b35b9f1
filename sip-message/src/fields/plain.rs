//! Fields that are only looked at: whether they can be read, without keeping what was read.
//!
//! Each accepts at once what its full type reads in the usual shape, and asks that type about all the rest: it can be
//! faster, and never of another opinion.

use super::address::plain_address;
use super::via::plain_via;
use super::{From, To, Via};
use crate::headers::Header;
use crate::params::count_param;
use crate::syntax::{VISIBLE, long_span};
use crate::{HeaderName, ValueError};
use alloc::string::String;

/// A `Via` in its usual shape; whether its branch stands there twice.
pub(crate) fn via(text: &str) -> Option<bool> {
    plain_via(text).map(|params| count_param(params, "branch") > 1)
}

/// How many tags a `From` or `To` in its usual shape has.
pub(crate) fn tags_of_plain(text: &str) -> Option<usize> {
    plain_address(text).map(|params| count_param(params, "tag"))
}

/// Whether this is a `Call-ID` in its usual shape.
pub(crate) fn call_id(text: &str) -> bool {
    !text.is_empty() && long_span(text.as_bytes(), VISIBLE) == text.len()
}

/// A field that was found to be readable.
macro_rules! readable {
    ($($kind:ident $full:ident $plain:ident $param:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        pub(crate) struct $kind {
            /// Whether the parameter that identifies something stands there more than once.
            pub(crate) twice: bool,
        }

        impl Header for $kind {
            const NAME: HeaderName = $full::NAME;

            fn parse(text: &str) -> Result<Self, ValueError> {
                let twice = match $plain(text) {
                    Some(params) => count_param(params, $param) > 1,
                    None => count_param($full::parse(text)?.params().as_str(), $param) > 1,
                };
                Ok(Self { twice })
            }

            fn write(&self, _out: &mut String) {}
        }
    )*};
}

readable! {
    ReadableVia Via plain_via "branch" "A `Via` and its branch.";
    ReadableFrom From plain_address "tag" "A `From` and its tag.";
    ReadableTo To plain_address "tag" "A `To` and its tag.";
}

/// A `Call-ID`.
pub(crate) struct ReadableCallId;

impl Header for ReadableCallId {
    const NAME: HeaderName = HeaderName::CALL_ID;

    fn parse(text: &str) -> Result<Self, ValueError> {
        if call_id(text) { Ok(Self) } else { super::CallId::parse(text).map(|_| Self) }
    }

    fn write(&self, _out: &mut String) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;
    use std::vec::Vec;

    #[test]
    fn of_one_opinion_with_the_full_types() {
        let vias = [
            "SIP/2.0/UDP h",
            "SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport",
            "SIP/2.0/UDP h;branch=1;BRANCH=2",
            "SIP/2.0/UDP  h",
            "SIP / 2.0 / UDP h ; branch = z",
            "SIP/2.0/UDP [::1]:1;x=\"a;branch=1\";branch=2",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:65536",
            "SIP/2.0/UDP h;",
            "SIP/2.0/UDP h;=",
            "SIP/2.0/ h",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP h (comment)",
            "SIP/3.0/UDP h",
            "SIP/2.0/U(P h",
            "SIP/2.0/UDP :5060",
            "SIP/2.0/UDP h;branch=\"open",
            "SIP/2.0/UDP h\u{e4}",
        ];
        for text in vias {
            let (full, plain) = (Via::parse(text), ReadableVia::parse(text));
            assert_eq!(full.as_ref().err(), plain.as_ref().err(), "{text}");
            if let (Ok(full), Ok(plain)) = (full, plain) {
                assert_eq!(plain.twice, count(full.params(), "branch") > 1, "{text}");
            }
        }
        let addresses = [
            "<sip:a@b>",
            "<sip:a@b>;tag=1",
            "A B <sip:a@b>;tag=1;TAG=2",
            "\"a <x>\" <sip:a@b>;tag=1",
            "\"A\"<sip:a@b>;tag=1;tag=2",
            "\"A\" \t <sip:a@b>;tag=1",
            "\"\" <sip:a@b>;tag=1",
            "\"\u{e4};tag=1\" <sip:a@b>",
            "\"a \\\"b\" <sip:a@b>;tag=1",
            "\"A\\\" <sip:a@b>;tag=1",
            "\"A\" x <sip:a@b>",
            "\"A\" \"B\" <sip:a@b>",
            "\"A <sip:a@b>;tag=1",
            "\"A\"",
            "\"",
            "sip:a@b;tag=1",
            "<sip:a@b",
            "<>",
            "<sip:a@b>x",
            "<sip:a@b> ;tag=1",
            "<sip:a@b>;tag=\"open",
            "Bell, A <sip:a@b>",
            "<tel:+1>;tag=x",
            "<sip:a@b>;tag",
            "<sip:a b>",
            "\u{e4} <sip:a@b>;tag=1",
            "A\\ <sip:a@b>",
            "",
            "<sip:a@b>;;",
            "<sip:a@b?x=y>;tag=1",
        ];
        for text in addresses {
            let (full, plain) = (From::parse(text), ReadableFrom::parse(text));
            assert_eq!(full.as_ref().err(), plain.as_ref().err(), "{text}");
            if let (Ok(full), Ok(plain)) = (full, plain) {
                assert_eq!(plain.twice, count(full.params(), "tag") > 1, "{text}");
            }
        }
        for text in ["a@b", "", "a b", "\u{e4}", "x"] {
            assert_eq!(
                super::super::CallId::parse(text).is_ok(),
                ReadableCallId::parse(text).is_ok(),
                "{text}"
            );
        }
    }

    fn count(params: &Params, name: &str) -> usize {
        params.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).collect::<Vec<_>>().len()
    }
}
