//! Fields of a token or number followed by parameters.

use super::address::delta_seconds;
use crate::headers::Header;
use crate::params::Params;
use crate::parts::{Parts, params_part};
use crate::syntax::{token, trim};
use crate::{HeaderName, ValueError};
use alloc::string::String;
use core::fmt::Write as _;

fn split_params(text: &str) -> (&str, &str, usize) {
    let end = text.find(';').unwrap_or(text.len());
    let (head, params) = text.split_at_checked(end).unwrap_or((text, ""));
    (trim(head), params, end)
}

macro_rules! token_with_params {
    ($($kind:ident $name:ident $what:literal $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind {
            /// The token before the parameters.
            pub token: String,
            /// The parameters.
            pub params: Params,
        }

        impl $kind {
            /// A token without parameters.
            pub fn new(token: &str) -> Self {
                Self { token: token.into(), params: Params::default() }
            }

            /// With a parameter.
            #[must_use]
            pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
                self.params.set(name, value);
                self
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                let (head, params, at) = split_params(text);
                if !token(head) {
                    return Err(ValueError::new($what, 0));
                }
                Ok(Self { token: head.into(), params: Params::parse(params, at)? })
            }

            fn write(&self, out: &mut String) {
                out.push_str(&self.token);
                out.push_str(self.params.as_str());
            }

            fn parts(&self) -> Parts {
                let mut parts = Parts::from([("value", self.token.as_str().into())]);
                params_part(&self.params, &mut parts);
                parts
            }
        }
    )*};
}

token_with_params! {
    Event EVENT "an event package" "`Event`: a package and its `id` (RFC 6665 §8.2.1).";
    Reason REASON "a protocol" "One `Reason`: a protocol such as `SIP` or `Q.850`, `cause` and `text` (RFC 3326 §2).";
}

impl Reason {
    /// `protocol;cause=cause;text="text"`.
    pub fn with_cause(protocol: &str, cause: u16, text: &str) -> Self {
        let mut number = String::new();
        let _ = write!(number, "{cause}");
        let mut reason = Self::new(protocol).with_param("cause", Some(&number));
        if !text.is_empty() {
            let mut quoted = String::new();
            crate::syntax::push_quoted(&mut quoted, text);
            reason.params.set("text", Some(&quoted));
        }
        reason
    }

    /// The `cause` number.
    pub fn cause(&self) -> Option<u16> {
        self.params.value("cause").and_then(crate::syntax::number)
    }
}

/// `Retry-After`: seconds to wait, and for how long the callee will then be free (RFC 3261 §20.33).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RetryAfter {
    /// Seconds to wait.
    pub seconds: u32,
    /// Such as `duration`.
    pub params: Params,
}

impl RetryAfter {
    /// Seconds without more.
    pub fn new(seconds: u32) -> Self {
        Self { seconds, params: Params::default() }
    }
}

impl Header for RetryAfter {
    const NAME: HeaderName = HeaderName::RETRY_AFTER;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let (head, params, at) = split_params(text);
        let seconds = head.split('(').next().map(trim).and_then(delta_seconds);
        let seconds = seconds.ok_or(ValueError::new("a number of seconds", 0))?;
        Ok(Self { seconds, params: Params::parse(params, at)? })
    }

    fn write(&self, out: &mut String) {
        let _ = write!(out, "{}{}", self.seconds, self.params);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_params() {
        let reason = Reason::parse("Q.850 ;cause=16 ;text=\"Terminated\"").unwrap();
        assert_eq!((reason.token.as_str(), reason.cause()), ("Q.850", Some(16)));
        let mut out = String::new();
        Reason::with_cause("SIP", 200, "Call completed elsewhere").write(&mut out);
        assert_eq!(out, "SIP;cause=200;text=\"Call completed elsewhere\"");
        assert_eq!(RetryAfter::parse("18000;duration=3600").unwrap().seconds, 18_000);
        assert_eq!(RetryAfter::parse("120 (I'm in a meeting)").unwrap().seconds, 120);
        assert!(RetryAfter::parse("soon").is_err());
    }
}
