//! Header field names: one table with compact forms, list rules and the section that defines each.

use crate::scan::{position, word};
use core::fmt;

/// The name of a known header field (RFC 3261 §7.3.1). Unknown names are plain text: see [`AsHeaderName`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderName(u8);

struct Entry {
    name: &'static str,
    compact: Option<u8>,
    list: bool,
    rfc: &'static str,
}

macro_rules! compact {
    () => {
        None
    };
    ($letter:literal) => {
        Some($letter)
    };
}

macro_rules! names {
    ($($constant:ident $name:literal $([$compact:literal])? $kind:ident $section:literal;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u8)]
        enum Index { $($constant),* }

        impl HeaderName {
            $(#[doc = concat!("`", $name, "` (", $section, ")")]
            pub const $constant: Self = Self(Index::$constant as u8);)*
        }

        const TABLE: &[Entry] = &[$(Entry { name: $name, compact: compact!($($compact)?), list: names!(@$kind), rfc: $section }),*];
    };
    (@list) => { true };
    (@one) => { false };
}

names! {
    VIA "Via" [b'v'] list "RFC 3261 §20.42";
    FROM "From" [b'f'] one "RFC 3261 §20.20";
    TO "To" [b't'] one "RFC 3261 §20.39";
    CALL_ID "Call-ID" [b'i'] one "RFC 3261 §20.8";
    CSEQ "CSeq" one "RFC 3261 §20.16";
    CONTACT "Contact" [b'm'] list "RFC 3261 §20.10";
    MAX_FORWARDS "Max-Forwards" one "RFC 3261 §20.22";
    ROUTE "Route" list "RFC 3261 §20.34";
    RECORD_ROUTE "Record-Route" list "RFC 3261 §20.30";
    CONTENT_LENGTH "Content-Length" [b'l'] one "RFC 3261 §20.14";
    CONTENT_TYPE "Content-Type" [b'c'] one "RFC 3261 §20.15";
    ALLOW "Allow" list "RFC 3261 §20.5";
    SUPPORTED "Supported" [b'k'] list "RFC 3261 §20.37";
    USER_AGENT "User-Agent" one "RFC 3261 §20.41";
    EXPIRES "Expires" one "RFC 3261 §20.19";
    AUTHORIZATION "Authorization" one "RFC 3261 §20.7";
    PROXY_AUTHORIZATION "Proxy-Authorization" one "RFC 3261 §20.28";
    WWW_AUTHENTICATE "WWW-Authenticate" one "RFC 3261 §20.44";
    PROXY_AUTHENTICATE "Proxy-Authenticate" one "RFC 3261 §20.27";
    AUTHENTICATION_INFO "Authentication-Info" one "RFC 3261 §20.6";
    PROXY_AUTHENTICATION_INFO "Proxy-Authentication-Info" one "RFC 7615 §4";
    ACCEPT "Accept" list "RFC 3261 §20.1";
    ACCEPT_ENCODING "Accept-Encoding" list "RFC 3261 §20.2";
    ACCEPT_LANGUAGE "Accept-Language" list "RFC 3261 §20.3";
    ALERT_INFO "Alert-Info" list "RFC 3261 §20.4";
    CALL_INFO "Call-Info" list "RFC 3261 §20.9";
    CONTENT_DISPOSITION "Content-Disposition" one "RFC 3261 §20.11";
    CONTENT_ENCODING "Content-Encoding" [b'e'] list "RFC 3261 §20.12";
    CONTENT_LANGUAGE "Content-Language" list "RFC 3261 §20.13";
    CONTENT_ID "Content-ID" one "RFC 8262 §4";
    DATE "Date" one "RFC 3261 §20.17";
    ERROR_INFO "Error-Info" list "RFC 3261 §20.18";
    IN_REPLY_TO "In-Reply-To" list "RFC 3261 §20.21";
    MIN_EXPIRES "Min-Expires" one "RFC 3261 §20.23";
    MIME_VERSION "MIME-Version" one "RFC 3261 §20.24";
    ORGANIZATION "Organization" one "RFC 3261 §20.25";
    PRIORITY "Priority" one "RFC 3261 §20.26";
    PROXY_REQUIRE "Proxy-Require" list "RFC 3261 §20.29";
    REPLY_TO "Reply-To" one "RFC 3261 §20.31";
    REQUIRE "Require" list "RFC 3261 §20.32";
    RETRY_AFTER "Retry-After" one "RFC 3261 §20.33";
    SERVER "Server" one "RFC 3261 §20.35";
    SUBJECT "Subject" [b's'] one "RFC 3261 §20.36";
    TIMESTAMP "Timestamp" one "RFC 3261 §20.38";
    UNSUPPORTED "Unsupported" list "RFC 3261 §20.40";
    WARNING "Warning" list "RFC 3261 §20.43";
    RACK "RAck" one "RFC 3262 §7.2";
    RSEQ "RSeq" one "RFC 3262 §7.1";
    EVENT "Event" [b'o'] one "RFC 6665 §8.2.1";
    ALLOW_EVENTS "Allow-Events" [b'u'] list "RFC 6665 §8.2.2";
    SUBSCRIPTION_STATE "Subscription-State" one "RFC 6665 §8.2.3";
    REFER_TO "Refer-To" [b'r'] one "RFC 3515 §2.1";
    REFERRED_BY "Referred-By" [b'b'] one "RFC 3892 §3";
    REPLACES "Replaces" one "RFC 3891 §6.1";
    REASON "Reason" list "RFC 3326 §2";
    PATH "Path" list "RFC 3327 §4";
    SERVICE_ROUTE "Service-Route" list "RFC 3608 §5";
    PRIVACY "Privacy" one "RFC 3323 §4.2";
    P_ASSERTED_IDENTITY "P-Asserted-Identity" list "RFC 3325 §9.1";
    P_PREFERRED_IDENTITY "P-Preferred-Identity" list "RFC 3325 §9.2";
    SESSION_EXPIRES "Session-Expires" [b'x'] one "RFC 4028 §4";
    MIN_SE "Min-SE" one "RFC 4028 §5";
    SIP_ETAG "SIP-ETag" one "RFC 3903 §11.3.1";
    SIP_IF_MATCH "SIP-If-Match" one "RFC 3903 §11.3.2";
    ACCEPT_CONTACT "Accept-Contact" [b'a'] list "RFC 3841 §9.2";
    REJECT_CONTACT "Reject-Contact" [b'j'] list "RFC 3841 §9.2";
    REQUEST_DISPOSITION "Request-Disposition" [b'd'] list "RFC 3841 §9.1";
    IDENTITY "Identity" [b'y'] list "RFC 8224 §4";
    MAX_BREADTH "Max-Breadth" one "RFC 5393 §5.8";
    ACCEPT_RESOURCE_PRIORITY "Accept-Resource-Priority" list "RFC 4412 §3.2";
    ANSWER_MODE "Answer-Mode" one "RFC 5373 §2";
    DIVERSION "Diversion" list "RFC 5806 §5";
    FEATURE_CAPS "Feature-Caps" list "RFC 6809 §6.2.1";
    FLOW_TIMER "Flow-Timer" one "RFC 5626 §10";
    GEOLOCATION "Geolocation" list "RFC 6442 §4.1";
    GEOLOCATION_ERROR "Geolocation-Error" one "RFC 6442 §4.4";
    GEOLOCATION_ROUTING "Geolocation-Routing" one "RFC 6442 §4.2";
    HISTORY_INFO "History-Info" list "RFC 7044 §5";
    IDENTITY_INFO "Identity-Info" [b'n'] one "RFC 4474 §9";
    INFO_PACKAGE "Info-Package" one "RFC 6086 §7.2";
    JOIN "Join" one "RFC 3911 §7.1";
    PERMISSION_MISSING "Permission-Missing" list "RFC 5360 §5.9.3";
    POLICY_CONTACT "Policy-Contact" list "RFC 6794 §4.4.5.2";
    POLICY_ID "Policy-ID" list "RFC 6794 §4.4.5.1";
    PRIV_ANSWER_MODE "Priv-Answer-Mode" one "RFC 5373 §2";
    P_ACCESS_NETWORK_INFO "P-Access-Network-Info" list "RFC 7315 §5.4";
    P_ANSWER_STATE "P-Answer-State" one "RFC 4964 §7.1";
    P_ASSERTED_SERVICE "P-Asserted-Service" list "RFC 6050 §4.1";
    P_ASSOCIATED_URI "P-Associated-URI" list "RFC 7315 §5.1";
    P_CALLED_PARTY_ID "P-Called-Party-ID" one "RFC 7315 §5.2";
    P_CHARGE_INFO "P-Charge-Info" one "RFC 8496 §6";
    P_CHARGING_FUNCTION_ADDRESSES "P-Charging-Function-Addresses" list "RFC 7315 §5.5";
    P_CHARGING_VECTOR "P-Charging-Vector" one "RFC 7315 §5.6";
    P_DCS_BILLING_INFO "P-DCS-Billing-Info" one "RFC 5503 §7.1";
    P_DCS_LAES "P-DCS-LAES" one "RFC 5503 §8.1";
    P_DCS_OSPS "P-DCS-OSPS" one "RFC 5503 §6.1";
    P_DCS_REDIRECT "P-DCS-Redirect" one "RFC 5503 §8.1";
    P_DCS_TRACE_PARTY_ID "P-DCS-Trace-Party-ID" one "RFC 5503 §5.1";
    P_EARLY_MEDIA "P-Early-Media" list "RFC 5009 §9";
    P_MEDIA_AUTHORIZATION "P-Media-Authorization" list "RFC 3313 §5.1";
    P_PREFERRED_SERVICE "P-Preferred-Service" list "RFC 6050 §4.2";
    P_PROFILE_KEY "P-Profile-Key" one "RFC 5002 §5";
    P_REFUSED_URI_LIST "P-Refused-URI-List" list "RFC 5318 §5";
    P_SERVED_USER "P-Served-User" one "RFC 5502 §6";
    P_USER_DATABASE "P-User-Database" one "RFC 4457 §4";
    P_VISITED_NETWORK_ID "P-Visited-Network-ID" list "RFC 7315 §5.3";
    RECV_INFO "Recv-Info" list "RFC 6086 §7.3";
    REFER_EVENTS_AT "Refer-Events-At" one "RFC 7614 §4.8";
    REFER_SUB "Refer-Sub" one "RFC 4488 §4";
    RESOURCE_PRIORITY "Resource-Priority" list "RFC 4412 §3.1";
    SECURITY_CLIENT "Security-Client" list "RFC 3329 §2.2";
    SECURITY_SERVER "Security-Server" list "RFC 3329 §2.2";
    SECURITY_VERIFY "Security-Verify" list "RFC 3329 §2.2";
    SESSION_ID "Session-ID" one "RFC 7989 §5";
    SUPPRESS_IF_MATCH "Suppress-If-Match" one "RFC 5839 §7.3";
    TARGET_DIALOG "Target-Dialog" one "RFC 4538 §7";
    TRIGGER_CONSENT "Trigger-Consent" list "RFC 5360 §5.11.2";
    USER_TO_USER "User-to-User" list "RFC 7433 §4.1";
}

/// Slots of the look-up table: several for each name, so that probes stay short.
const SLOTS: usize = 512;
const EMPTY: u8 = u8::MAX;

/// A name in the shape in which names are compared: eight octets a word, letters in lower case, zeros behind the
/// end. No known name is longer.
type Key = [u64; 4];
/// Makes letters lower case and leaves '-' and digits; what else it changes into those are control characters.
const LOWER: u64 = u64::from_le_bytes([0x20; 8]);

/// Where a name is looked for first: `last` is the word with its last octet.
#[inline]
const fn slot(first: u64, last: u64, len: usize) -> usize {
    let mixed = first ^ last.rotate_left(29) ^ (len as u64) << 7;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize
}

#[allow(clippy::indexing_slicing)] // evaluated by the compiler: an index out of bounds would not build
const fn key_of(name: &[u8]) -> Key {
    let mut key = [0; 4];
    let mut at = 0;
    while at < name.len() {
        key[at / 8] |= ((name[at] | 0x20) as u64) << (at % 8 * 8);
        at += 1;
    }
    key
}

#[allow(clippy::indexing_slicing)] // as above
const fn keys() -> [Key; TABLE.len()] {
    let mut keys = [[0; 4]; TABLE.len()];
    let mut id = 0;
    while id < TABLE.len() {
        keys[id] = key_of(TABLE[id].name.as_bytes());
        id += 1;
    }
    keys
}

#[allow(clippy::indexing_slicing)] // as above
const fn lookup_table() -> [u8; SLOTS] {
    let mut slots = [EMPTY; SLOTS];
    let mut id = 0;
    while id < TABLE.len() {
        let len = TABLE[id].name.len();
        let mut at = slot(KEYS[id][0], KEYS[id][(len - 1) / 8], len);
        while slots[at] != EMPTY {
            at = (at + 1) % SLOTS;
        }
        slots[at] = id as u8;
        id += 1;
    }
    slots
}

#[allow(clippy::indexing_slicing)] // as above
const fn compact_table() -> [u8; 26] {
    let mut letters = [EMPTY; 26];
    let mut id = 0;
    while id < TABLE.len() {
        if let Some(letter) = TABLE[id].compact {
            letters[(letter - b'a') as usize] = id as u8;
        }
        id += 1;
    }
    letters
}

static KEYS: [Key; TABLE.len()] = keys();
static LOOKUP: [u8; SLOTS] = lookup_table();
static COMPACT: [u8; 26] = compact_table();

impl HeaderName {
    /// The known name that `text` spells, long or compact, in any case (RFC 3261 §7.3.1, §7.3.3).
    pub fn find(text: &[u8]) -> Option<Self> {
        let mut key = [0; 4];
        if text.len() > size_of::<Key>() {
            return None;
        }
        for (slot, at) in key.iter_mut().zip((0..text.len()).step_by(8)) {
            let past = text.len().saturating_sub(at).saturating_mul(8);
            let behind = u64::MAX.checked_shl(u32::try_from(past).unwrap_or(u32::MAX)).unwrap_or(0);
            *slot = (word(text, at) | LOWER) & !behind;
        }
        let last = key.get(text.len().saturating_sub(1) / 8)?;
        let found = Self::look_up(&key, *last, text.len())?;
        (text.len() == 1 || found.as_str().as_bytes().eq_ignore_ascii_case(text)).then_some(found)
    }

    /// The known name before the first colon of `line`, and where that colon is. `None` if there is something
    /// else, white space between them included: [`HeaderName::find`] tells more. No control character may stand
    /// before the colon.
    #[inline]
    pub(crate) fn before_colon(line: &[u8]) -> Option<(Self, usize)> {
        let (key, last, len) = Self::key_before_colon(line)?;
        Some((Self::look_up(&key, last, len)?, len))
    }

    /// Where the first colon of `line` is, unless that is further than any known name is long, and the known name
    /// that is all that stands before it. Somebody has to see that it has no control characters: some of those pass
    /// for '-' and digits.
    pub(crate) fn and_colon(line: &[u8]) -> Option<(Option<Self>, usize)> {
        let (key, last, len) = Self::key_before_colon(line)?;
        Some((Self::look_up(&key, last, len), len))
    }

    /// What stands before the first colon, its last word, and its octets.
    #[inline(always)]
    fn key_before_colon(line: &[u8]) -> Option<(Key, u64, usize)> {
        let mut key = [0; 4];
        let mut at = 0usize;
        for index in 0..key.len() {
            let octets = word(line, at);
            let folded = octets | LOWER;
            let slot = key.get_mut(index)?;
            if let Some(colon) = position(octets, b':') {
                // Cut the octets behind the name. Of a name that fills its words the last one was the one before.
                *slot = folded & !u64::MAX.wrapping_shl((colon as u32).wrapping_mul(8));
                let len = at.saturating_add(colon);
                let last = if colon == 0 { word(line, at.saturating_sub(8)) | LOWER } else { *slot };
                return Some((key, last, len));
            }
            *slot = folded;
            at = at.saturating_add(8);
        }
        None
    }

    #[inline]
    fn look_up(key: &Key, last: u64, len: usize) -> Option<Self> {
        let [first, ..] = *key;
        if len <= 1 {
            let index = u8::try_from(first).ok()?.checked_sub(b'a')?;
            return COMPACT.get(usize::from(index)).copied().filter(|&id| id != EMPTY).map(Self);
        }
        let mut at = slot(first, last, len);
        loop {
            let id = *LOOKUP.get(at)?;
            let known = KEYS.get(usize::from(id))?; // EMPTY is past the table's end
            if known == key {
                return Some(Self(id));
            }
            at = at.wrapping_add(1) % SLOTS;
        }
    }

    fn entry(self) -> &'static Entry {
        const { assert!(TABLE.len() < EMPTY as usize) };
        #[allow(clippy::indexing_slicing)] // values of this type are made from the table alone
        &TABLE[usize::from(self.0)]
    }

    /// The long form, in its usual spelling.
    pub fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// The one-letter form, where one is registered.
    pub fn compact(self) -> Option<char> {
        self.entry().compact.map(char::from)
    }

    /// Whether several values may share one field, separated by commas (RFC 3261 §7.3.1).
    pub fn is_list(self) -> bool {
        self.entry().list
    }

    /// The RFC and section that define the field.
    pub fn rfc(self) -> &'static str {
        self.entry().rfc
    }

    /// Every known name.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len()).filter_map(|id| u8::try_from(id).ok().map(Self))
    }

    pub(crate) const fn id(self) -> u8 {
        self.0
    }

    /// The name of this [`HeaderName::id`].
    pub(crate) fn from_id(id: u8) -> Option<Self> {
        const { assert!(TABLE.len() <= 128) }; // a set of names fits a u128
        (usize::from(id) < TABLE.len()).then_some(Self(id))
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A header field's name given as a constant or as text: `headers.text("X-Trace")`.
pub trait AsHeaderName {
    /// The known name, if it is one.
    fn known(&self) -> Option<HeaderName>;
    /// The spelling to write.
    fn text(&self) -> &str;
}

impl AsHeaderName for HeaderName {
    fn known(&self) -> Option<HeaderName> {
        Some(*self)
    }
    fn text(&self) -> &str {
        self.as_str()
    }
}

impl AsHeaderName for &str {
    fn known(&self) -> Option<HeaderName> {
        HeaderName::find(self.as_bytes())
    }
    fn text(&self) -> &str {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    /// Octets of a key.
    const KEY: usize = size_of::<Key>();

    #[test]
    fn every_name_is_found_in_any_case_and_in_its_compact_form() {
        for name in HeaderName::all() {
            assert_eq!(HeaderName::find(name.as_str().as_bytes()), Some(name));
            assert_eq!(HeaderName::find(name.as_str().to_uppercase().as_bytes()), Some(name));
            if let Some(letter) = name.compact() {
                assert_eq!(HeaderName::find(&[letter as u8]), Some(name));
                assert_eq!(HeaderName::find(&[letter.to_ascii_uppercase() as u8]), Some(name));
            }
        }
        assert_eq!(HeaderName::find(b"X-Trace"), None);
        assert_eq!(HeaderName::find(b"z"), None);
        assert_eq!(HeaderName::find(b"9"), None);
        assert_eq!(HeaderName::find(b""), None);
        assert_eq!(HeaderName::find(b"Call\rID"), None);
        assert_eq!(HeaderName::find(&[b'a'; KEY]), None);
        assert_eq!(HeaderName::find(&[b'a'; KEY + 1]), None);
    }

    /// A header field line starts with its name; what stands behind the colon does not matter.
    #[test]
    fn every_name_is_found_before_its_colon() {
        for name in HeaderName::all() {
            assert!(name.as_str().len() <= KEY);
            for line in [format!("{name}:"), format!("{name}: value: 1, 2, 3, 4, 5"), format!("{name}:x\r\n")]
            {
                let colon = name.as_str().len();
                assert_eq!(HeaderName::before_colon(line.as_bytes()), Some((name, colon)), "{line}");
                assert_eq!(HeaderName::before_colon(line.to_uppercase().as_bytes()), Some((name, colon)));
            }
            if let Some(letter) = name.compact() {
                assert_eq!(HeaderName::before_colon(format!("{letter}: 1").as_bytes()), Some((name, 1)));
            }
            let spaced = format!("{name} : 1");
            assert_eq!(HeaderName::before_colon(spaced.as_bytes()), None);
            assert!(HeaderName::and_colon(spaced.as_bytes()).is_none_or(|(found, _)| found.is_none()));
            assert_eq!(HeaderName::before_colon(format!("{name}").as_bytes()), None);
        }
        assert_eq!(HeaderName::and_colon(b"X-Trace: value"), Some((None, 7)));
        assert_eq!(HeaderName::and_colon(b": value"), Some((None, 0)));
        assert_eq!(HeaderName::before_colon(b": value"), None);
        assert_eq!(HeaderName::before_colon(b""), None);
        assert_eq!(HeaderName::before_colon(&[b'a'; 100]), None);
    }
}
