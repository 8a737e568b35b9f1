//! Fields of one number, one token or plain text.

use super::address::delta_seconds;
use crate::headers::Header;
use crate::parts::Parts;
use crate::syntax::{VISIBLE, is_lws, long_span, number, push_number, token, trim};
use crate::{HeaderName, Method, ValueError};
use alloc::string::String;

/// `CSeq`: a request's number within its dialog, and its method (RFC 3261 §20.16).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Under 2³¹ (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The request's method.
    pub method: Method,
}

impl CSeq {
    /// A number and a method.
    pub fn new(number: u32, method: Method) -> Self {
        Self { number, method }
    }
}

impl Header for CSeq {
    const NAME: HeaderName = HeaderName::CSEQ;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let end =
            text.bytes().position(is_lws).ok_or(ValueError::new("a number, a space and a method", 0))?;
        let (digits, method) = text.split_at_checked(end).unwrap_or((text, ""));
        let number: u32 = number(digits)
            .filter(|&number| number < 1 << 31)
            .ok_or(ValueError::new("a number under 2147483648", 0))?;
        let method = trim(method);
        if !token(method) {
            return Err(ValueError::new("a method", end));
        }
        Ok(Self { number, method: Method::from(method) })
    }

    fn write(&self, out: &mut String) {
        push_number(out, u64::from(self.number));
        out.push(' ');
        out.push_str(self.method.as_str());
    }

    fn parts(&self) -> Parts {
        Parts::from([("number", self.number.into()), ("method", self.method.as_str().into())])
    }
}

/// `Max-Forwards`: how many hops are left (RFC 3261 §20.22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaxForwards(pub u8);

impl MaxForwards {
    /// One hop less, or `None` when there is none left (483).
    pub fn decrement(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl Header for MaxForwards {
    const NAME: HeaderName = HeaderName::MAX_FORWARDS;

    fn parse(text: &str) -> Result<Self, ValueError> {
        number(text).map(Self).ok_or(ValueError::new("a number from 0 to 255", 0))
    }

    fn write(&self, out: &mut String) {
        push_number(out, u64::from(self.0));
    }

    fn parts(&self) -> Parts {
        Parts::from([("value", self.0.into())])
    }
}

/// `Content-Length`: octets of the body (RFC 3261 §20.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentLength(pub usize);

impl Header for ContentLength {
    const NAME: HeaderName = HeaderName::CONTENT_LENGTH;

    fn parse(text: &str) -> Result<Self, ValueError> {
        number(text).map(Self).ok_or(ValueError::new("a number of octets", 0))
    }

    fn write(&self, out: &mut String) {
        push_number(out, self.0 as u64);
    }

    fn parts(&self) -> Parts {
        Parts::from([("value", self.0.into())])
    }
}

macro_rules! seconds {
    ($($kind:ident $name:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind(pub u32);

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                delta_seconds(text).map(Self).ok_or(ValueError::new("a number of seconds", 0))
            }

            fn write(&self, out: &mut String) {
                push_number(out, u64::from(self.0));
            }

            fn parts(&self) -> Parts {
                Parts::from([("value", self.0.into())])
            }
        }
    )*};
}

seconds! {
    Expires EXPIRES "`Expires` in seconds; more than 2³²−1 counts as that (RFC 3261 §20.19).";
    MinExpires MIN_EXPIRES "`Min-Expires` in seconds (RFC 3261 §20.23).";
}

/// `Call-ID` (RFC 3261 §20.8): compared octet by octet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallId(String);

impl CallId {
    /// A Call-ID of this text; characters that none can hold are dropped.
    pub fn new(text: &str) -> Self {
        Self(text.chars().filter(|c| c.is_ascii_graphic()).collect())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Header for CallId {
    const NAME: HeaderName = HeaderName::CALL_ID;

    fn parse(text: &str) -> Result<Self, ValueError> {
        match long_span(text.as_bytes(), VISIBLE) {
            0 if text.is_empty() => Err(ValueError::new("a Call-ID", 0)),
            length if length == text.len() => Ok(Self(text.into())),
            at => Err(ValueError::new("a Call-ID without spaces", at)),
        }
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

macro_rules! tokens {
    ($($kind:ident $name:ident $what:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind(pub String);

        impl $kind {
            /// One value.
            pub fn new(value: &str) -> Self {
                Self(value.into())
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                if token(text) { Ok(Self(text.into())) } else { Err(ValueError::new($what, 0)) }
            }

            fn write(&self, out: &mut String) {
                out.push_str(&self.0);
            }
        }
    )*};
}

tokens! {
    Require REQUIRE "an option tag" "One option tag of `Require` (RFC 3261 §20.32).";
    ProxyRequire PROXY_REQUIRE "an option tag" "One option tag of `Proxy-Require` (RFC 3261 §20.29).";
    Supported SUPPORTED "an option tag" "One option tag of `Supported` (RFC 3261 §20.37).";
    Unsupported UNSUPPORTED "an option tag" "One option tag of `Unsupported` (RFC 3261 §20.40).";
    ContentEncoding CONTENT_ENCODING "a content coding" "One coding of `Content-Encoding` (RFC 3261 §20.12).";
}

/// One method of `Allow` (RFC 3261 §20.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Allow(pub Method);

impl Header for Allow {
    const NAME: HeaderName = HeaderName::ALLOW;

    fn parse(text: &str) -> Result<Self, ValueError> {
        if token(text) { Ok(Self(Method::from(text))) } else { Err(ValueError::new("a method", 0)) }
    }

    fn write(&self, out: &mut String) {
        out.push_str(self.0.as_str());
    }

    fn parts(&self) -> Parts {
        Parts::from([("method", self.0.as_str().into())])
    }
}

macro_rules! texts {
    ($($kind:ident $name:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind(pub String);

        impl $kind {
            /// One value.
            pub fn new(value: &str) -> Self {
                Self(value.into())
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                Ok(Self(text.into()))
            }

            fn write(&self, out: &mut String) {
                out.push_str(&self.0);
            }
        }
    )*};
}

texts! {
    UserAgent USER_AGENT "`User-Agent` (RFC 3261 §20.41).";
    Server SERVER "`Server` (RFC 3261 §20.35).";
    Subject SUBJECT "`Subject` (RFC 3261 §20.36).";
    Organization ORGANIZATION "`Organization` (RFC 3261 §20.25).";
    Accept ACCEPT "One media range of `Accept`, parameters included (RFC 3261 §20.1).";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3261 §8.1.1.5: a sequence number is under 2³¹; RFC 4475 §3.1.2.4 shows what must not wrap.
    #[test]
    fn numbers_do_not_wrap() {
        assert_eq!(CSeq::parse("0009\t INVITE").unwrap(), CSeq::new(9, Method::Invite));
        for bad in [
            "36893488147419103232 REGISTER",
            "2147483648 INVITE",
            "-1 INVITE",
            "1",
            "1 ",
            " INVITE",
            "1 IN VITE",
        ] {
            assert!(CSeq::parse(bad).is_err(), "{bad} passed");
        }
        assert_eq!(MaxForwards::parse("0068"), Ok(MaxForwards(68)));
        assert!(MaxForwards::parse("256").is_err() && MaxForwards::parse("+1").is_err());
        assert_eq!(Expires::parse("1000000000000"), Ok(Expires(u32::MAX)));
        assert!(Expires::parse("").is_err() && Expires::parse("-1").is_err());
        assert!(ContentLength::parse("99999999999999999999999").is_err());
        assert_eq!(MaxForwards(0).decrement(), None);
    }
}
