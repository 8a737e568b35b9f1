//! Fields that point somewhere: URIs and addresses with parameters of their own.

use super::address::NameAddr;
use super::shapes::{address_views, bare_uri_fields, split_head};
use crate::headers::Header;
use crate::params::Params;
use crate::parts::{Parts, params_part};
use crate::{HeaderName, Uri, ValueError};
use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt::Write as _;

address_views! {
    AlertInfo ALERT_INFO brackets "One `Alert-Info`: another ringing tone (RFC 3261 §20.4).";
    CallInfo CALL_INFO brackets "One `Call-Info`: an `icon`, `info`, `card` of the caller or callee (RFC 3261 §20.9).";
    ErrorInfo ERROR_INFO brackets "One `Error-Info`: more about an error (RFC 3261 §20.18).";
    HistoryInfo HISTORY_INFO brackets "One entry of `History-Info`: a target that was tried (RFC 7044 §5).";
    Diversion DIVERSION either "One `Diversion`: who diverted a call, and why (RFC 5806 §5).";
    Geolocation GEOLOCATION brackets "One `Geolocation`: where a location is found (RFC 6442 §4.1).";
    IdentityInfo IDENTITY_INFO brackets "`Identity-Info`: the certificate of a signature of RFC 4474 §9.";
    PermissionMissing PERMISSION_MISSING either "One `Permission-Missing`: who has not consented (RFC 5360 §5.9.3).";
    PolicyContact POLICY_CONTACT brackets "One `Policy-Contact`: where a session policy is found (RFC 6794 §4.4.5.2).";
    ReferEventsAt REFER_EVENTS_AT brackets "`Refer-Events-At`: where a refer's events are found (RFC 7614 §4.8).";
    PAssociatedUri P_ASSOCIATED_URI brackets "One `P-Associated-URI`: another identity of the registered user (RFC 7315 §5.1).";
    PCalledPartyId P_CALLED_PARTY_ID brackets "`P-Called-Party-ID`: whom the request was for (RFC 7315 §5.2).";
    PServedUser P_SERVED_USER either "`P-Served-User`: for whom a server acts (RFC 5502 §6).";
    PProfileKey P_PROFILE_KEY either "`P-Profile-Key`: the key of a wildcarded identity's profile (RFC 5002 §5).";
    PRefusedUriList P_REFUSED_URI_LIST either "One `P-Refused-URI-List`: a list that a server does not take (RFC 5318 §5).";
    PUserDatabase P_USER_DATABASE brackets "`P-User-Database`: which database has the user (RFC 4457 §4).";
    PChargeInfo P_CHARGE_INFO either "`P-Charge-Info`: who pays (RFC 8496 §6).";
    PDcsTracePartyId P_DCS_TRACE_PARTY_ID brackets "`P-DCS-Trace-Party-ID`: whom to trace (RFC 5503 §5.1).";
}

bare_uri_fields! {
    TriggerConsent TRIGGER_CONSENT "One `Trigger-Consent`: where permission is asked (RFC 5360 §5.11.2).";
    PolicyId POLICY_ID "One `Policy-ID`: the policy server that was asked (RFC 6794 §4.4.5.1).";
    PAssertedService P_ASSERTED_SERVICE "One `P-Asserted-Service`: the service that the network vouches for (RFC 6050 §4.1).";
    PPreferredService P_PREFERRED_SERVICE "One `P-Preferred-Service`: the service that a user agent asks for (RFC 6050 §4.2).";
}

impl CallInfo {
    /// What the link is for: `icon`, `info`, `card`, `jwscallback`, ...
    pub fn purpose(&self) -> Option<&str> {
        self.0.params().value("purpose")
    }
}

impl AlertInfo {
    /// How the call is to be announced, if the link is no sound but an indication (RFC 7462 §4).
    pub fn indication(&self) -> Option<crate::AlertUrn> {
        crate::AlertUrn::of(self.0.uri()).ok()
    }
}

impl HistoryInfo {
    /// The first entry of a request to this URI (RFC 7044 §6.1).
    pub fn first(uri: &Uri) -> Self {
        Self::at(uri, "1")
    }

    fn at(uri: &Uri, index: &str) -> Self {
        let mut uri = uri.clone();
        uri.remove_headers(); // what stands there belongs to the entry
        Self::new(&uri).with_param("index", Some(index))
    }

    /// The entry of the next request that is made for this one, which has failed or was sent on (RFC 7044 §10.3, rules 3 and 4):
    /// the last number of the index is one more. `None` without an index.
    pub fn next(&self, uri: &Uri) -> Option<Self> {
        let text = self.index().and(self.0.params().value("index"))?;
        let (before, last) = text.rsplit_once('.').map_or(("", text), |(before, last)| (before, last));
        let last = crate::syntax::number::<u32>(last)?.checked_add(1)?;
        let dot = if before.is_empty() { "" } else { "." };
        Some(Self::at(uri, &alloc::format!("{before}{dot}{last}")))
    }

    /// The entry of the target to which this one's element sends the request on (RFC 7044 §10.3 rule 1): one level more.
    pub fn below(&self, uri: &Uri) -> Option<Self> {
        let text = self.index().and(self.0.params().value("index"))?;
        Some(Self::at(uri, &alloc::format!("{text}.1")))
    }

    /// The entry that an element left out which sent the request on to this URI (RFC 7044 §9.1, §10.3 rule 6).
    pub fn missing(&self, uri: &Uri) -> Option<Self> {
        let text = self.index().and(self.0.params().value("index"))?;
        Some(Self::at(uri, &alloc::format!("{text}.0")))
    }

    /// The same entry with why the next target is tried (RFC 7044 §10.2); one that says so already is left as it is.
    #[must_use]
    pub fn because(self, status: crate::StatusCode) -> Self {
        if self.reason().is_some() {
            return self;
        }
        let (uri, params) = (self.0.uri(), self.0.params());
        let sign = if uri.headers().next().is_some() { '&' } else { '?' };
        let cause = status.code();
        let text = alloc::format!("<{uri}{sign}Reason=SIP%3Bcause%3D{cause}>{params}");
        Self::parse(&text).unwrap_or(self)
    }
    /// The place in the tree of targets, as numbers: `1.2.1` (RFC 7044 §10.3). `None` if it is absent or malformed.
    pub fn index(&self) -> Option<impl Iterator<Item = u32>> {
        let text = self.0.params().value("index")?;
        let numbers = || text.split('.').map(crate::syntax::number::<u32>);
        numbers().all(|number| number.is_some()).then(|| numbers().flatten())
    }

    /// Why the next target was tried: the `Reason` that is escaped into the URI's headers (RFC 7044 §10.2).
    pub fn reason(&self) -> Option<super::Reason> {
        let (_, value) = self.0.uri().headers().find(|(name, _)| name.eq_ignore_ascii_case("Reason"))?;
        super::Reason::parse(&crate::tel::decode_escapes(value)).ok()
    }
}

impl Diversion {
    /// Why: `user-busy`, `no-answer`, `unconditional`, `deflection`, ... quotes undone.
    pub fn reason(&self) -> Option<Cow<'_, str>> {
        self.0.params().unquoted("reason")
    }

    /// How often this party diverted; 1 if it does not say (RFC 5806 §5).
    pub fn counter(&self) -> u32 {
        self.0.params().value("counter").and_then(crate::syntax::number).unwrap_or(1)
    }
}

/// One `Identity`: a signed PASSporT over who calls whom (RFC 8224 §4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    digest: String,
    info: Option<String>,
    /// Parameters other than `info`.
    params: Params,
}

impl Identity {
    /// A signature in the three parts of a PASSporT (or `..signature`), and where its certificate is.
    pub fn new(digest: &str, info: &Uri) -> Self {
        let digest = digest.chars().filter(|&c| is_digest(c)).collect();
        Self { digest, info: Some(info.as_str().into()), params: Params::default() }
    }

    /// With a parameter such as `alg` or `ppt`; `info` is given to [`Identity::new`].
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        if !name.eq_ignore_ascii_case("info") {
            self.params.set(name, value);
        }
        self
    }

    /// The PASSporT: `header.claims.signature`, or `..signature` in the compact form (RFC 8225 §7).
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where the certificate is found.
    pub fn info(&self) -> Option<&str> {
        self.info.as_deref()
    }

    /// The signature's algorithm, `ES256` if it is not named.
    pub fn algorithm(&self) -> &str {
        self.params.value("alg").unwrap_or("ES256")
    }

    /// The PASSporT's extension: `shaken`, `div`, `rph`, ... without quotes.
    pub fn ppt(&self) -> Option<Cow<'_, str>> {
        self.params.unquoted("ppt")
    }

    /// Parameters other than `info`.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

/// `base64-char / "."`, the characters of base64url, and padding, which some write.
fn is_digest(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '/' | '+' | '.' | '-' | '_' | '=')
}

impl Header for Identity {
    const NAME: HeaderName = HeaderName::IDENTITY;

    fn parse(text: &str) -> Result<Self, ValueError> {
        // The digest of RFC 4474 stands in quotes and has no parameters.
        let (head, mut rest, mut at) = split_head(text);
        let bare = head.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(head);
        if bare.is_empty() || !bare.chars().all(is_digest) {
            return Err(ValueError::new("a signed identity digest", 0));
        }
        let mut info = None;
        let mut others = String::new();
        while let Some(after) = rest.strip_prefix(';') {
            // ';' and ',' may stand in the URI of info=<...>.
            let end = crate::syntax::find_outside(after, true, |byte| byte == b';').unwrap_or(after.len());
            let (one, remaining) = after.split_at_checked(end).unwrap_or((after, ""));
            let (name, value) = one.split_once('=').unwrap_or((one, ""));
            if crate::syntax::trim(name).eq_ignore_ascii_case("info") {
                let uri = crate::syntax::trim(value)
                    .strip_prefix('<')
                    .and_then(|inner| inner.strip_suffix('>'))
                    .ok_or(ValueError::new("info=<URI>", at))?;
                uri.parse::<Uri>()
                    .map_err(|error| ValueError::new(error.expected, at.saturating_add(error.at)))?;
                if info.replace(String::from(uri)).is_some() {
                    return Err(ValueError::new("one info parameter", at));
                }
            } else {
                others.push(';');
                others.push_str(one);
            }
            at = at.saturating_add(end).saturating_add(1);
            rest = remaining;
        }
        Ok(Self { digest: bare.into(), info, params: Params::parse(&others, head.len())? })
    }

    fn write(&self, out: &mut String) {
        match &self.info {
            Some(info) => {
                let _ = write!(out, "{};info=<{info}>", self.digest);
            }
            None => {
                let _ = write!(out, "\"{}\"", self.digest);
            }
        }
        out.push_str(self.params.as_str());
    }

    fn parts(&self) -> Parts {
        let mut parts = Parts::from([("digest", self.digest.as_str().into())]);
        if let Some(info) = &self.info {
            parts.push(("info", info.as_str().into()));
        }
        params_part(&self.params, &mut parts);
        parts
    }
}

/// `Session-ID`: one identifier of a session for all who carry it (RFC 7989 §5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// 32 hexadecimal digits of the one who sends.
    local: String,
    params: Params,
}

impl SessionId {
    /// Nobody yet.
    pub const NIL: &'static str = "00000000000000000000000000000000";

    /// The identifier of the one who sends, and of the other side as far as it is known.
    pub fn new(local: u128, remote: Option<u128>) -> Self {
        let text = |id: u128| alloc::format!("{id:032x}");
        let mut params = Params::default();
        if let Some(remote) = remote {
            params.set("remote", Some(&text(remote)));
        }
        Self { local: text(local), params }
    }

    /// The identifier of the one who sends: 32 digits.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The identifier of the other side; absent from the older users of RFC 7329.
    pub fn remote(&self) -> Option<&str> {
        self.params.value("remote")
    }

    /// All parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

impl Header for SessionId {
    const NAME: HeaderName = HeaderName::SESSION_ID;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let (head, params, at) = split_head(text);
        let is_id = |text: &str| text.len() == 32 && super::shapes::hexadecimal(text);
        if !is_id(head) {
            return Err(ValueError::new("32 hexadecimal digits", 0));
        }
        let params = Params::parse(params, at)?;
        let remotes = || params.iter().filter(|(name, _)| name.eq_ignore_ascii_case("remote"));
        if remotes().count() > 1 || !remotes().all(|(_, value)| value.is_some_and(is_id)) {
            return Err(ValueError::new("at most one remote parameter of 32 hexadecimal digits", at));
        }
        Ok(Self { local: head.to_ascii_lowercase(), params })
    }

    fn write(&self, out: &mut String) {
        out.push_str(&self.local);
        out.push_str(self.params.as_str());
    }

    fn parts(&self) -> Parts {
        let mut parts = Parts::from([("local", self.local.as_str().into())]);
        params_part(&self.params, &mut parts);
        parts
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

    /// The example of RFC 8224 §4.1, shortened, and the form of RFC 4474.
    #[test]
    fn identities() {
        let text = "eyJhbGciOi.eyJkZXN0Ijp7InVyaS.sig-_;info=<https://biloxi.example.org/biloxi.cer;v=1,2>;alg=ES256;ppt=\"shaken\"";
        let identity = Identity::parse(text).unwrap();
        assert_eq!(identity.info(), Some("https://biloxi.example.org/biloxi.cer;v=1,2"));
        assert_eq!((identity.algorithm(), identity.ppt().as_deref()), ("ES256", Some("shaken")));
        assert_eq!(printed(&identity), text);
        let old =
            Identity::parse("\"CyI4+nAkHrH3ntmaxgr01TMxTmtjP7MASwliNRdupRI1vpkXRvZXx1ja9k0nB2s=\"").unwrap();
        assert_eq!(old.info(), None);
        assert_eq!(Identity::parse(&printed(&old)).unwrap(), old);
        for bad in
            ["", ";info=<a:b>", "a b;info=<a:b>", "abc;info=a:b", "abc;info=<>", "abc;info=<a:b>;info=<a:b>"]
        {
            assert!(Identity::parse(bad).is_err(), "{bad} passed");
        }
    }

    /// RFC 7989 §5 and §8: an old implementation sends no remote.
    #[test]
    fn session_identifiers() {
        let id =
            SessionId::parse("ab30317f1a784dc48ff824d0d3715d86 ;remote=47755a9de7794ba387653f2099600ef2")
                .unwrap();
        assert_eq!(id.remote(), Some("47755a9de7794ba387653f2099600ef2"));
        assert_eq!(SessionId::new(0, None).local(), SessionId::NIL);
        assert_eq!(SessionId::parse(SessionId::NIL).unwrap().remote(), None);
        for bad in ["", "ab", "zb30317f1a784dc48ff824d0d3715d86", "ab30317f1a784dc48ff824d0d3715d86;remote=1"]
        {
            assert!(SessionId::parse(bad).is_err(), "{bad} passed");
        }
    }

    /// RFC 7044 §10.4 and RFC 5806 §6.
    #[test]
    fn histories_and_diversions() {
        let entry = HistoryInfo::parse(
            "<sip:bob@192.0.2.4?Reason=SIP%3Bcause%3D302%3Btext%3D%22Moved%22>;index=1.1.2;mp=1.1",
        )
        .unwrap();
        assert_eq!(entry.index().unwrap().collect::<std::vec::Vec<_>>(), [1, 1, 2]);
        assert_eq!(entry.reason().unwrap().cause(), Some(302));
        assert!(HistoryInfo::parse("sip:bob@192.0.2.4;index=1").is_err());
        let diversion = Diversion::parse("<sip:UserB@there.com>;reason=\"user-busy\";counter=3").unwrap();
        assert_eq!((diversion.reason().as_deref(), diversion.counter()), (Some("user-busy"), 3));
    }

    #[test]
    fn uris_without_brackets_stay_without() {
        let text = "sip:123@relay.example.com;target-uri=\"sip:friends@relay.example.com\"";
        let trigger = TriggerConsent::parse(text).unwrap();
        assert_eq!(trigger.uri().to_string(), "sip:123@relay.example.com");
        assert_eq!(printed(&trigger), text);
        assert!(TriggerConsent::new(&"sip:a@b;lr".parse().unwrap()).is_err());
        let service = "urn:urn-7:3gpp-service.exampletelephony.version1";
        assert_eq!(printed(&PAssertedService::parse(service).unwrap()), service);
    }

    use std::string::ToString;
}
