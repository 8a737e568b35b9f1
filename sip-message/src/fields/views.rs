//! Which type reads which field: one table for readers that know a name only when they run.

use super::*;
use crate::headers::{Header, Headers};
use crate::parts::{Element, Parts};
use crate::{HeaderError, HeaderName, ValueError};
use alloc::string::String;
use alloc::vec::Vec;

/// `Proxy-Authentication-Info`: a proxy's proof and its next nonce (RFC 7615 §4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProxyAuthenticationInfo(pub AuthenticationInfo);

impl Header for ProxyAuthenticationInfo {
    const NAME: HeaderName = HeaderName::PROXY_AUTHENTICATION_INFO;

    fn parse(text: &str) -> Result<Self, ValueError> {
        AuthenticationInfo::parse(text).map(Self)
    }

    fn write(&self, out: &mut String) {
        self.0.write(out);
    }

    fn parts(&self) -> Parts {
        self.0.parts()
    }
}

fn reprint<H: Header>(element: &str) -> Result<String, ValueError> {
    let mut out = String::new();
    H::parse(element)?.write(&mut out);
    Ok(out)
}

fn reprint_all<H: Header>(headers: &Headers) -> Vec<Result<String, HeaderError>> {
    headers
        .all::<H>()
        .map(|one| {
            one.map(|value| {
                let mut out = String::new();
                value.write(&mut out);
                out
            })
        })
        .collect()
}

macro_rules! views {
    ($($view:ident)*; $($text:ident)*) => {
        impl HeaderName {
            /// The type in [`headers`](crate::headers) that reads the field.
            pub fn view(self) -> &'static str {
                $(if self == <$view as Header>::NAME { return stringify!($view); })*
                $(if self == <$text as Header>::NAME { return stringify!($text); })*
                "" // the test below sees that no name gets here
            }

            /// Whether the field has parts; otherwise its value is a text for people.
            pub fn has_structure(self) -> bool {
                ![$(<$text as Header>::NAME),*].contains(&self)
            }

            /// Reads one element of the field with its type, and gives it as that type prints it.
            ///
            /// # Errors
            /// If the element does not follow the field's grammar.
            pub fn reprint(self, element: &str) -> Result<String, ValueError> {
                $(if self == <$view as Header>::NAME { return reprint::<$view>(element); })*
                $(if self == <$text as Header>::NAME { return reprint::<$text>(element); })*
                Err(ValueError::new("a field with a type", 0))
            }

            /// The elements of a value, read by the field's type.
            pub(crate) fn read_elements(self, value: &[u8]) -> Vec<Element> {
                $(if self == <$view as Header>::NAME { return crate::parts::read::<$view>(value); })*
                $(if self == <$text as Header>::NAME { return crate::parts::read::<$text>(value); })*
                Vec::new()
            }
        }

        impl Headers {
            /// Every element of a field, over all lines that carry it, as its type prints it.
            pub fn reprint(&self, name: HeaderName) -> Vec<Result<String, HeaderError>> {
                $(if name == <$view as Header>::NAME { return reprint_all::<$view>(self); })*
                $(if name == <$text as Header>::NAME { return reprint_all::<$text>(self); })*
                Vec::new()
            }
        }
    };
}

views! {
    Via From To CallId CSeq Contact MaxForwards Route RecordRoute ContentLength ContentType Allow Supported
    Expires Authorization ProxyAuthorization WwwAuthenticate ProxyAuthenticate AuthenticationInfo
    ProxyAuthenticationInfo Accept AcceptEncoding AcceptLanguage AlertInfo CallInfo ContentDisposition
    ContentEncoding ContentLanguage ContentId Date ErrorInfo InReplyTo MinExpires MimeVersion Priority
    ProxyRequire ReplyTo Require RetryAfter Timestamp Unsupported Warning RAck RSeq Event AllowEvents
    SubscriptionState ReferTo ReferredBy Replaces Reason Path ServiceRoute Privacy PAssertedIdentity
    PPreferredIdentity SessionExpires MinSe SipETag SipIfMatch AcceptContact RejectContact RequestDisposition
    Identity MaxBreadth AcceptResourcePriority AnswerMode Diversion FeatureCaps FlowTimer Geolocation
    GeolocationError GeolocationRouting HistoryInfo IdentityInfo InfoPackage Join PermissionMissing
    PolicyContact PolicyId PrivAnswerMode PAccessNetworkInfo PAnswerState PAssertedService PAssociatedUri
    PCalledPartyId PChargeInfo PChargingFunctionAddresses PChargingVector PDcsBillingInfo PDcsLaes PDcsOsps
    PDcsRedirect PDcsTracePartyId PEarlyMedia PMediaAuthorization PPreferredService PProfileKey
    PRefusedUriList PServedUser PUserDatabase PVisitedNetworkId RecvInfo ReferEventsAt ReferSub
    ResourcePriority SecurityClient SecurityServer SecurityVerify SessionId SuppressIfMatch TargetDialog
    TriggerConsent UserToUser;
    UserAgent Server Subject Organization
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    /// The table of `docs/fields.md`, from the table of names.
    fn listed() -> std::string::String {
        let mut names: Vec<HeaderName> = HeaderName::all().collect();
        names.sort_by_key(|name| name.as_str().to_ascii_lowercase());
        let mut text = std::string::String::from(
            "| field | compact | values on a line | type | defined in |\n|---|---|---|---|---|\n",
        );
        for name in names {
            let compact = name.compact().map(|letter| format!("`{letter}`")).unwrap_or_default();
            let values = if name.is_list() { "list" } else { "one" };
            text += &format!(
                "| `{name}` | {compact} | {values} | [`{0}`](headers::{0}) | {1} |\n",
                name.view(),
                name.rfc()
            );
        }
        text
    }

    #[test]
    fn every_name_has_a_type_and_stands_in_the_list() {
        for name in HeaderName::all() {
            assert!(!name.view().is_empty(), "{name} has no type");
        }
        let listed = listed();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fields.md"), &listed).unwrap();
        }
        assert!(
            include_str!("../../docs/fields.md") == listed,
            "docs/fields.md is not what the table says: run this test with UPDATE_DOCS=1"
        );
    }

    #[test]
    fn a_field_is_read_by_its_name() {
        assert_eq!(
            HeaderName::VIA.reprint("SIP / 2.0 / UDP h ; branch = z").unwrap(),
            "SIP/2.0/UDP h;branch=z"
        );
        assert!(HeaderName::CSEQ.reprint("x").is_err());
        assert!(HeaderName::VIA.has_structure() && !HeaderName::SUBJECT.has_structure());
        let mut headers = Headers::new();
        headers.push_raw("k", "timer, 100rel").unwrap();
        headers.push_raw("Supported", "a b").unwrap();
        let supported = headers.reprint(HeaderName::SUPPORTED);
        assert_eq!(supported[..2], [Ok("timer".into()), Ok("100rel".into())]);
        assert!(supported[2].is_err());
    }
}
