//! Fields of words: what a user agent accepts, prefers, and says about a body or a call.

use super::shapes::{
    call_id, host_port, language, q_value, resource_value, split_head, star, word_fields, word_param_fields,
};
use super::simple::{Accept, ContentEncoding};
use super::{ContentType, Event};
use crate::headers::Header;
use crate::params::Params;
use crate::parts::{Part, Parts, params_part};
use crate::syntax::{push_quoted, token, trim, unquote};
use crate::{HeaderName, StatusCode, ValueError};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

word_fields! {
    Priority PRIORITY token "a priority" "`Priority`: `emergency`, `urgent`, `normal`, `non-urgent` or another token (RFC 3261 §20.26).";
    InReplyTo IN_REPLY_TO call_id "a Call-ID" "One Call-ID of `In-Reply-To` (RFC 3261 §20.21).";
    ContentLanguage CONTENT_LANGUAGE language "a language tag" "One language of `Content-Language` (RFC 3261 §20.13).";
    SipETag SIP_ETAG token "an entity tag" "`SIP-ETag`: the version of a published state (RFC 3903 §11.3.1).";
    SipIfMatch SIP_IF_MATCH token "an entity tag" "`SIP-If-Match`: which version a PUBLISH replaces (RFC 3903 §11.3.2).";
    SuppressIfMatch SUPPRESS_IF_MATCH token "an entity tag or '*'" "`Suppress-If-Match`: which state the subscriber has already (RFC 5839 §7.3).";
    RequestDisposition REQUEST_DISPOSITION token "a directive" "One directive of `Request-Disposition`: `proxy`, `no-fork`, ... (RFC 3841 §9.1).";
    AllowEvents ALLOW_EVENTS token "an event package" "One package of `Allow-Events` (RFC 6665 §8.2.2).";
}

word_param_fields! {
    AcceptEncoding ACCEPT_ENCODING token "a content coding or '*'" "One coding of `Accept-Encoding` (RFC 3261 §20.2).";
    AcceptLanguage ACCEPT_LANGUAGE language "a language range or '*'" "One range of `Accept-Language` (RFC 3261 §20.3).";
    SubscriptionState SUBSCRIPTION_STATE token "a state" "`Subscription-State`: `active`, `pending` or `terminated` (RFC 6665 §8.2.3).";
    AcceptContact ACCEPT_CONTACT star "'*'" "One `Accept-Contact`: features that a contact should have (RFC 3841 §9.2).";
    RejectContact REJECT_CONTACT star "'*'" "One `Reject-Contact`: features that a contact must not have (RFC 3841 §9.2).";
    FeatureCaps FEATURE_CAPS star "'*'" "One `Feature-Caps`: what an element on the way can do (RFC 6809 §6.2.1).";
    InfoPackage INFO_PACKAGE token "an info package" "`Info-Package`: what an INFO carries (RFC 6086 §7.2).";
    RecvInfo RECV_INFO token "an info package" "One package of `Recv-Info`: which INFO a user agent takes (RFC 6086 §7.3).";
    SecurityClient SECURITY_CLIENT token "a security mechanism" "One mechanism of `Security-Client` (RFC 3329 §2.2).";
    SecurityServer SECURITY_SERVER token "a security mechanism" "One mechanism of `Security-Server` (RFC 3329 §2.2).";
    SecurityVerify SECURITY_VERIFY token "a security mechanism" "One mechanism of `Security-Verify` (RFC 3329 §2.2).";
}

/// A preference from 0 to 1000; 1000 if none is given or it is malformed (RFC 3261 §20.1).
fn preference(params: &Params) -> u16 {
    params.value("q").and_then(q_value).unwrap_or(1000)
}

macro_rules! preferences {
    ($($kind:ident)*) => {$(
        impl $kind {
            /// The `q` parameter in thousandths, 1000 without one.
            pub fn q(&self) -> u16 {
                preference(&self.params)
            }
        }
    )*};
}

preferences!(AcceptEncoding AcceptLanguage SecurityClient SecurityServer SecurityVerify);

/// One `accept-range` of Accept (RFC 3261 §20.1): `application/sdp;level=1`, `text/*`, `*/*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaRange {
    range: ContentType,
}

impl MediaRange {
    /// Whether a body of this type is in the range, without regard to parameters.
    pub fn matches(&self, kind: &ContentType) -> bool {
        let fits = |range: &str, name: &str| range == "*" || range.eq_ignore_ascii_case(name);
        fits(self.range.kind(), kind.kind()) && fits(self.range.subtype(), kind.subtype())
    }

    /// The `q` parameter in thousandths, 1000 without one.
    pub fn q(&self) -> u16 {
        preference(self.range.params())
    }

    /// All parameters.
    pub fn params(&self) -> &Params {
        self.range.params()
    }
}

impl Accept {
    /// The range in its parts.
    ///
    /// # Errors
    /// If it is no `type/subtype`.
    pub fn range(&self) -> Result<MediaRange, ValueError> {
        let range = ContentType::parse(&self.0)?;
        if range.kind() == "*" && range.subtype() != "*" {
            return Err(ValueError::new("'*/*', 'type/*' or 'type/subtype'", 0));
        }
        Ok(MediaRange { range })
    }
}

/// What a feature parameter asks for of each kind (RFC 3841 §9.2).
macro_rules! contact_preferences {
    ($($kind:ident)*) => {$(
        impl $kind {
            /// With a feature (RFC 3840 §9): `audio` with no values, `methods` with some.
            #[must_use]
            pub fn with_feature(self, name: &str, values: &[&str]) -> Self {
                match super::features::feature_value(values) {
                    Some(value) => self.with_param(name, Some(&value)),
                    None => self.with_param(name, None),
                }
            }
        }
    )*};
}

contact_preferences!(AcceptContact RejectContact);

impl AcceptContact {
    /// A contact that does not match is not to be tried at all (RFC 3841 §7.2.4).
    pub fn is_required(&self) -> bool {
        self.param("require").is_some()
    }

    /// A contact that does not say anything of a feature does not match it (RFC 3841 §7.2.4).
    pub fn is_explicit(&self) -> bool {
        self.param("explicit").is_some()
    }
}

impl ContentEncoding {
    /// Whether the body is as it is without this coding.
    pub fn is_identity(&self) -> bool {
        self.0.eq_ignore_ascii_case("identity")
    }
}

/// One value of `Resource-Priority` or `Accept-Resource-Priority` (RFC 4412 §3).
macro_rules! resource_priorities {
    ($($kind:ident $name:ident $doc:literal;)*) => {
        word_fields! { $($kind $name resource_value "namespace.priority" $doc;)* }

        $(impl $kind {
            /// The namespace: `dsn`, `wps`, `ets`, `q735`, ...
            pub fn namespace(&self) -> &str {
                self.0.split_once('.').map_or("", |(namespace, _)| namespace)
            }

            /// The priority within the namespace.
            pub fn priority(&self) -> &str {
                self.0.split_once('.').map_or("", |(_, priority)| priority)
            }
        })*
    };
}

resource_priorities! {
    ResourcePriority RESOURCE_PRIORITY "One value of `Resource-Priority` (RFC 4412 §3.1).";
    AcceptResourcePriority ACCEPT_RESOURCE_PRIORITY "One value of `Accept-Resource-Priority` (RFC 4412 §3.2).";
}

impl SubscriptionState {
    /// Whether the subscription is over.
    pub fn is_terminated(&self) -> bool {
        self.value.eq_ignore_ascii_case("terminated")
    }

    /// Whether the notifier has accepted the subscription.
    pub fn is_active(&self) -> bool {
        self.value.eq_ignore_ascii_case("active")
    }

    /// Seconds until the subscription ends without a refresh.
    pub fn expires(&self) -> Option<u32> {
        self.params.value("expires").and_then(super::address::delta_seconds)
    }

    /// Why it ended: `deactivated`, `probation`, `rejected`, `timeout`, `giveup`, `noresource`, `invariant`.
    pub fn reason(&self) -> Option<&str> {
        self.params.value("reason")
    }

    /// Seconds after which to subscribe again.
    pub fn retry_after(&self) -> Option<u32> {
        self.params.value("retry-after").and_then(super::address::delta_seconds)
    }
}

/// `Privacy`: what to hide, values between semicolons (RFC 3323 §4.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Privacy {
    /// `header`, `session`, `user`, `none`, `critical`, `id` (RFC 3325), `history` (RFC 7044), ...
    pub values: Vec<String>,
}

impl Privacy {
    /// These values.
    pub fn new(values: &[&str]) -> Self {
        Self { values: values.iter().filter(|value| token(value)).map(|&value| value.into()).collect() }
    }

    /// Whether a value is asked for.
    pub fn wants(&self, value: &str) -> bool {
        self.values.iter().any(|one| one.eq_ignore_ascii_case(value))
    }
}

impl Header for Privacy {
    const NAME: HeaderName = HeaderName::PRIVACY;

    fn parse(text: &str) -> Result<Self, ValueError> {
        // RFC 3325 §9.3 prints "Privacy: id", others "header; user"; some write commas, as its first draft did.
        let mut values = Vec::new();
        for value in text.split([';', ',']).map(trim) {
            if !token(value) {
                return Err(ValueError::new("privacy values between ';'", 0));
            }
            values.push(value.into());
        }
        Ok(Self { values })
    }

    fn write(&self, out: &mut String) {
        for (index, value) in self.values.iter().enumerate() {
            if index > 0 {
                out.push(';');
            }
            out.push_str(value);
        }
    }

    fn parts(&self) -> Parts {
        let values = self.values.iter().map(|value| value.as_str().into()).collect();
        Parts::from([("values", Part::List(values))])
    }
}

/// One `Warning`: a code from 300 to 399, who warns, and a text for a person (RFC 3261 §20.43).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Warning {
    /// Three digits.
    pub code: u16,
    /// A host, or a pseudonym.
    pub agent: String,
    /// What was wrong.
    pub text: String,
}

impl Warning {
    /// A warning.
    pub fn new(code: StatusCode, agent: &str, text: &str) -> Self {
        Self { code: code.code(), agent: agent.into(), text: text.into() }
    }
}

impl Header for Warning {
    const NAME: HeaderName = HeaderName::WARNING;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let wrong = ValueError::new("code, agent and quoted text", 0);
        let (code, rest) = text.split_once([' ', '\t']).ok_or(wrong)?;
        let code: u16 = crate::syntax::number(code)
            .filter(|code| (100..=999).contains(code))
            .ok_or(ValueError::new("a warning code of three digits", 0))?;
        let (agent, phrase) = trim(rest).split_once([' ', '\t']).ok_or(wrong)?;
        if !host_port(agent) && !token(agent) {
            return Err(ValueError::new("a host or a pseudonym", 4));
        }
        let phrase = unquote(trim(phrase)).ok_or(wrong)?.into_owned();
        Ok(Self { code, agent: agent.into(), text: phrase })
    }

    fn write(&self, out: &mut String) {
        let _ = write!(out, "{:03} {} ", self.code, self.agent);
        push_quoted(out, &self.text);
    }

    fn parts(&self) -> Parts {
        Parts::from([
            ("code", self.code.into()),
            ("agent", self.agent.as_str().into()),
            ("text", self.text.as_str().into()),
        ])
    }
}

/// `User-to-User`: data from one user agent to the other, opaque to all between (RFC 7433 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserToUser {
    /// A token or a quoted string, as written.
    pub data: String,
    /// `purpose`, `content`, `encoding`.
    pub params: Params,
}

impl UserToUser {
    /// These octets in hexadecimal, with `encoding=hex`.
    pub fn from_octets(octets: &[u8]) -> Self {
        let mut data = String::new();
        for octet in octets {
            let _ = write!(data, "{octet:02x}");
        }
        let mut params = Params::default();
        params.set("encoding", Some("hex"));
        Self { data, params }
    }

    /// The octets of hexadecimal data (`encoding=hex`, the default of RFC 7434 §4); `None` if it is none.
    pub fn octets(&self) -> Option<Vec<u8>> {
        if !self.params.value("encoding").is_none_or(|encoding| encoding.eq_ignore_ascii_case("hex")) {
            return None;
        }
        let data = unquote(&self.data).unwrap_or(alloc::borrow::Cow::Borrowed(&self.data));
        let (pairs, odd) = data.as_bytes().as_chunks::<2>();
        if !odd.is_empty() {
            return None;
        }
        pairs
            .iter()
            .map(|[high, low]| {
                let digit =
                    |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                Some(digit(high)?.wrapping_shl(4) | digit(low)?)
            })
            .collect()
    }
}

impl Header for UserToUser {
    const NAME: HeaderName = HeaderName::USER_TO_USER;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let (head, params, at) = split_head(text);
        if !super::shapes::word(head) {
            return Err(ValueError::new("a token or a quoted string", 0));
        }
        Ok(Self { data: head.into(), params: Params::parse(params, at)? })
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.data);
        out.push_str(self.params.as_str());
    }

    fn parts(&self) -> Parts {
        let data = unquote(&self.data).map_or_else(|| self.data.as_str().into(), |data| Part::from(&*data));
        let mut parts = Parts::from([("data", data)]);
        params_part(&self.params, &mut parts);
        parts
    }
}

/// Whether two packages are the same, templates included (RFC 6665 §8.2.1: compared octet by octet, `id` too).
impl Event {
    /// The `id` parameter, which tells subscriptions to one package apart.
    pub fn id(&self) -> Option<&str> {
        self.params.value("id")
    }

    /// Whether a NOTIFY of this `Event` belongs to a subscription of the other.
    pub fn matches(&self, other: &Self) -> bool {
        self.token == other.token && self.id() == other.id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(header: &impl Header) -> String {
        let mut out = String::new();
        header.write(&mut out);
        out
    }

    #[test]
    fn preferences_and_ranges() {
        assert_eq!(AcceptLanguage::parse("en-gb;q=0.8").unwrap().q(), 800);
        assert_eq!(AcceptEncoding::parse("*;q=0").unwrap().q(), 0);
        assert!(AcceptLanguage::parse("e_n").is_err());
        let sdp = ContentType::parse("Application/SDP").unwrap();
        for (range, fits) in [
            ("application/sdp;level=1", true),
            ("application/*;q=0.2", true),
            ("*/*", true),
            ("text/*", false),
        ] {
            assert_eq!(Accept::new(range).range().unwrap().matches(&sdp), fits, "{range}");
        }
        assert!(Accept::new("*/sdp").range().is_err() && Accept::new("text").range().is_err());
    }

    #[test]
    fn warnings() {
        let text = "307 isi.edu \"Session parameter 'foo' not understood\"";
        let warning = Warning::parse(text).unwrap();
        assert_eq!((warning.code, warning.agent.as_str()), (307, "isi.edu"));
        assert_eq!(printed(&warning), text);
        // RFC 4475 §3.1.2.5 has a code of four digits.
        for bad in [
            "1812 overture \"In Progress\"",
            "307",
            "307 isi.edu",
            "307 isi.edu plain",
            "30 a \"b\"",
            "307 @ \"b\"",
        ] {
            assert!(Warning::parse(bad).is_err(), "{bad} passed");
        }
    }

    #[test]
    fn privacy_and_priorities() {
        let privacy = Privacy::parse("header ; user;ID").unwrap();
        assert!(privacy.wants("id") && privacy.wants("header") && !privacy.wants("none"));
        assert_eq!(printed(&privacy), "header;user;ID");
        assert!(Privacy::parse("").is_err() && Privacy::parse("a;;b").is_err());
        let priority = ResourcePriority::parse("dsn.flash-override").unwrap();
        assert_eq!((priority.namespace(), priority.priority()), ("dsn", "flash-override"));
        assert!(ResourcePriority::parse("dsn").is_err());
    }

    #[test]
    fn subscription_states() {
        let state = SubscriptionState::parse("terminated;reason=rejected;retry-after=60").unwrap();
        assert!(state.is_terminated() && !state.is_active());
        assert_eq!(
            (state.reason(), state.retry_after(), state.expires()),
            (Some("rejected"), Some(60), None)
        );
        let one = Event::parse("presence;id=7").unwrap();
        assert!(
            one.matches(&Event::parse("presence;id=7;x").unwrap()) && !one.matches(&Event::new("presence"))
        );
    }

    #[test]
    fn user_to_user_data() {
        let uui = UserToUser::parse("56a390f3d2b7310023a2;encoding=hex;purpose=foo;content=bar").unwrap();
        assert_eq!(uui.octets().unwrap()[..3], [0x56, 0xa3, 0x90]);
        assert_eq!(UserToUser::from_octets(&[1, 0xfe]), UserToUser::parse("01fe;encoding=hex").unwrap());
        assert_eq!(UserToUser::parse("\"a b\";encoding=text").unwrap().octets(), None);
        assert_eq!(UserToUser::parse("abc").unwrap().octets(), None);
        assert!(UserToUser::parse("a b").is_err());
    }
}
