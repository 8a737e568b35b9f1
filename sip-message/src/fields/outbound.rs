//! What names a user agent and one of its flows in Contact: RFC 5626 (outbound) and RFC 5627 (GRUU).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::Uri;
use crate::error::ValueError;
use crate::fields::{Contact, NameAddr, Via};

/// The media feature tag in Contact that names a user agent (RFC 5626 §4.1).
const INSTANCE: &str = "+sip.instance";

/// What names one user agent for good, whatever its addresses (RFC 5626 §4.1): a URN, mostly `urn:uuid:...`.
///
/// Two that a registrar has to take for the same are equal: scheme and namespace in any case, and the whole of a UUID in
/// any case (RFC 8141 §3.1, RFC 9562 §4).
///
/// ```
/// use sip_message::headers::{Contact, InstanceId};
///
/// let ours = InstanceId::uuid([7; 16]);
/// let contact = Contact::new(&"sip:alice@192.0.2.1".parse()?).with_instance(&ours).with_reg_id(1);
/// assert_eq!(contact.instance(), Some(ours));
/// assert_eq!(contact.reg_id(), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(String);

impl InstanceId {
    /// A UUID of version 4 from random octets (RFC 9562 §5.4). Keep it: it has to be the same after a restart.
    #[must_use]
    pub fn uuid(random: [u8; 16]) -> Self {
        let mut octets = u128::from_be_bytes(random);
        octets &= !(0xf << 76) & !(0b11 << 62);
        octets |= (0x4 << 76) | (0b10 << 62);
        let (a, b, c) = (octets >> 96, octets >> 80 & 0xffff, octets >> 64 & 0xffff);
        let (d, e) = (octets >> 48 & 0xffff, octets & 0xffff_ffff_ffff);
        Self(format!("urn:uuid:{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}"))
    }

    /// The URN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceId {
    type Err = ValueError;

    /// Reads a URN, with or without the angle brackets that Contact has around it.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let inner = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        let mut parts = inner.splitn(3, ':');
        let (scheme, namespace, name) = (parts.next(), parts.next(), parts.next());
        let is_urn = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn"));
        let (Some(namespace), Some(name), true) = (namespace, name, is_urn) else {
            return Err(ValueError::new("a URN (urn:uuid:...)", 0));
        };
        let namespace_ok = namespace.len() >= 2
            && namespace.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'\\');
        if !namespace_ok || name.is_empty() || !name.bytes().all(is_visible) {
            return Err(ValueError::new("a URN (urn:uuid:...)", 0));
        }
        let namespace = namespace.to_ascii_lowercase();
        let name = if namespace == "uuid" { name.to_ascii_lowercase() } else { name.to_owned() };
        Ok(Self(format!("urn:{namespace}:{name}")))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NameAddr {
    /// The user agent that the `+sip.instance` parameter names (RFC 5626 §4.1). A malformed one counts as absent.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        self.params().unquoted(INSTANCE)?.parse().ok()
    }

    /// The `reg-id` parameter: which of a user agent's flows (RFC 5626 §4.2.1), 1 to 2³¹−1. A malformed one counts as
    /// absent.
    #[must_use]
    pub fn reg_id(&self) -> Option<u32> {
        let text = self.params().value("reg-id")?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|&id| digits && id > 0 && id < 1 << 31)
    }

    /// The public GRUU that a registrar gave out (RFC 5627 §5.2), in the Contact of its 200.
    #[must_use]
    pub fn pub_gruu(&self) -> Option<Uri> {
        self.params().unquoted("pub-gruu")?.parse().ok()
    }

    /// The temporary GRUU, likewise.
    #[must_use]
    pub fn temp_gruu(&self) -> Option<Uri> {
        self.params().unquoted("temp-gruu")?.parse().ok()
    }
}

impl Contact {
    /// The user agent that the `+sip.instance` parameter names; see [`NameAddr::instance`].
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        self.address()?.instance()
    }

    /// Which of its flows; see [`NameAddr::reg_id`].
    #[must_use]
    pub fn reg_id(&self) -> Option<u32> {
        self.address()?.reg_id()
    }

    /// With this user agent's name as `+sip.instance`.
    #[must_use]
    pub fn with_instance(self, instance: &InstanceId) -> Self {
        self.with_param(INSTANCE, Some(&format!("\"<{instance}>\"")))
    }

    /// With `reg-id`, the number of a flow.
    #[must_use]
    pub fn with_reg_id(self, id: u32) -> Self {
        self.with_param("reg-id", Some(&format!("{id}")))
    }
}

impl Via {
    /// The `keep` parameter (RFC 6223 §4): `None` if there is none; `Some(None)` offers to send keep-alives; a number of
    /// seconds accepts them, 0 without a wish for how often. A malformed value counts as 0.
    #[must_use]
    pub fn keep(&self) -> Option<Option<u32>> {
        self.param("keep").map(|value| value.map(|seconds| seconds.parse().unwrap_or(0)))
    }
}

impl Uri {
    /// Whether it is a globally routable user agent URI: it has the parameter `gr` (RFC 5627 §3.1).
    #[must_use]
    pub fn is_gruu(&self) -> bool {
        self.param("gr").is_some()
    }

    /// The instance that a public GRUU names by the value of `gr` (RFC 5627 §5.1). `None` for a temporary one, whose `gr` has no
    /// value.
    #[must_use]
    pub fn gruu_instance(&self) -> Option<InstanceId> {
        let value = self.param("gr").flatten()?;
        crate::tel::decode_escapes(value).parse().ok()
    }

    /// The public GRUU of an instance at this address-of-record (RFC 5627 §5.1).
    #[must_use]
    pub fn public_gruu(&self, instance: &InstanceId) -> Uri {
        let mut gruu = self.clone();
        gruu.set_param("gr", Some(instance.as_str()));
        gruu
    }

    /// Whether it has the parameter `ob`: the flow over which it came is to be used (RFC 5626 §4.3, §5.1).
    #[must_use]
    pub fn has_ob(&self) -> bool {
        self.param("ob").is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn read<H: crate::Header>(name: &str, value: &str) -> H {
        let mut headers = crate::Headers::new();
        headers.push_front_raw(name, value).unwrap();
        headers.require().unwrap()
    }

    fn contact(text: &str) -> Contact {
        read("Contact", text)
    }

    /// RFC 5626 §9.2: the Contact of the example.
    #[test]
    fn the_contact_of_the_examples() {
        let contact = contact(
            "<sip:line1@192.168.1.2;transport=tcp>; reg-id=1;\
             +sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\"",
        );
        assert_eq!(contact.reg_id(), Some(1));
        let instance = contact.instance().unwrap();
        assert_eq!(instance.as_str(), "urn:uuid:00000000-0000-1000-8000-000a95a0e128");
        let again = Contact::new(contact.uri().unwrap()).with_instance(&instance).with_reg_id(1);
        let again = read::<Contact>("Contact", &again.address().unwrap().to_string());
        assert_eq!(again.instance(), Some(instance));
    }

    /// RFC 5626 §10: reg-id is a number of at least one digit, 1 to 2³¹−1; nonsense is as good as none.
    #[test]
    fn a_reg_id_is_a_positive_number() {
        for (value, id) in [
            ("1", Some(1)),
            ("2147483647", Some(2_147_483_647)),
            ("0", None),
            ("2147483648", None),
            ("+1", None),
        ] {
            assert_eq!(contact(&format!("<sip:a@b>;reg-id={value}")).reg_id(), id, "{value}");
        }
        assert_eq!(contact("*").reg_id(), None);
    }

    /// RFC 8141 §3.1: which part of a URN is compared in any case.
    #[test]
    fn urns_are_compared_as_urns() {
        let id = |text: &str| text.parse::<InstanceId>();
        assert_eq!(id("<URN:UUID:AB>").unwrap(), id("urn:uuid:ab").unwrap());
        assert_eq!(id("urn:IMEI:90420156-025763-0").unwrap(), id("URN:imei:90420156-025763-0").unwrap());
        assert_ne!(id("urn:x-y:AB").unwrap(), id("urn:x-y:ab").unwrap());
        for bad in ["", "urn", "urn:uuid:", "uuid:1", "urn:u:1", "urn:uuid:a b", "urn:uuid:a\">"] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }

    /// RFC 9562 §5.4: version 4, variant 10.
    #[test]
    fn random_octets_make_a_uuid_of_version_4() {
        assert_eq!(InstanceId::uuid([0xff; 16]).as_str(), "urn:uuid:ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(InstanceId::uuid([0; 16]).as_str(), "urn:uuid:00000000-0000-4000-8000-000000000000");
    }

    /// RFC 5627 §5.1 and §4.2: public and temporary GRUUs.
    #[test]
    fn gruus_name_an_instance_or_hide_it() {
        let id = InstanceId::uuid([1; 16]);
        let public = "sip:callee@example.com".parse::<Uri>().unwrap().public_gruu(&id);
        assert!(public.is_gruu());
        assert_eq!(public.to_string().parse::<Uri>().unwrap().gruu_instance(), Some(id));
        let temporary: Uri = "sip:tgruu.7hs==jd7vnzga5w7fajsc7-ajd6fabz0f8g5@example.com;gr".parse().unwrap();
        assert!(temporary.is_gruu() && temporary.gruu_instance().is_none());
        let ok = contact(
            "<sip:callee@192.0.2.1>;pub-gruu=\"sip:callee@example.com;gr=urn:uuid:f81d4fae\";\
             temp-gruu=\"sip:tgruu.7hs@example.com;gr\";expires=3600",
        );
        let address = ok.address().unwrap();
        assert!(address.pub_gruu().unwrap().gruu_instance().is_some());
        assert!(address.temp_gruu().unwrap().is_gruu());
    }

    #[test]
    fn keep_is_offered_and_accepted_in_via() {
        let via = |text: &str| read::<Via>("Via", text).keep();
        assert_eq!(via("SIP/2.0/TCP a;branch=z9hG4bK1"), None);
        assert_eq!(via("SIP/2.0/TCP a;branch=z9hG4bK1;keep"), Some(None));
        assert_eq!(via("SIP/2.0/TCP a;branch=z9hG4bK1;keep=30"), Some(Some(30)));
    }
}
