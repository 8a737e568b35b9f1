//! `a=crypto:<tag> <suite> <key parameters> [<session parameters>]` (RFC 4568 §4, §6, §9.2).

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, BASE64_NOPAD};
use sdp_types::{AttributeError, TypedAttribute};
use zeroize::Zeroizing;

use super::{CryptoSuite, KeyLengthError, SrtpKey, Unencrypted};

/// RFC 4568 §4.1: a tag has at most nine digits.
const LARGEST_TAG: u32 = 999_999_999;
/// RFC 4568 §6.1: no suite allows more packets under one key.
const LONGEST_LIFETIME: u64 = 1 << 48;
/// RFC 4568 §6.1: a master key identifier in packets is 1–128 octets long.
const LONGEST_MKI: u8 = 128;
/// RFC 4568 §6.3.7: the smallest window size hint.
const SMALLEST_WINDOW: u32 = 64;

/// One `a=crypto` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// Names the line within its section; the answer repeats it.
    pub tag: u32,
    /// The name of the suite; see [`Crypto::known_suite`].
    pub suite: String,
    /// One key, or several that packets tell apart by their master key identifiers.
    pub keys: Vec<KeyParameter>,
    /// How SRTP departs from its defaults.
    pub session: Vec<SessionParameter>,
}

/// `inline:<key||salt>[|lifetime][|MKI:length]` (RFC 4568 §6.1).
#[derive(Clone, PartialEq, Eq)]
pub struct KeyParameter {
    /// Master key and salt, one behind the other. Wiped when dropped.
    pub key_and_salt: Zeroizing<Vec<u8>>,
    /// Most SRTP or SRTCP packets under this key.
    pub lifetime: Option<u64>,
    /// The master key identifier.
    pub mki: Option<Mki>,
}

/// A master key identifier (RFC 4568 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mki {
    /// Its value.
    pub value: u64,
    /// How many octets it takes in each packet, 1–128.
    pub length: u8,
}

/// A session parameter (RFC 4568 §6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionParameter {
    /// `KDR=n`: keys are derived anew every 2^n packets.
    KeyDerivationRate(u8),
    /// `UNENCRYPTED_SRTP`.
    UnencryptedSrtp,
    /// `UNENCRYPTED_SRTCP`.
    UnencryptedSrtcp,
    /// `UNAUTHENTICATED_SRTP`.
    UnauthenticatedSrtp,
    /// `FEC_ORDER=`.
    FecOrder(FecOrder),
    /// `FEC_KEY=`: keys of their own for forward error correction.
    FecKey(Vec<KeyParameter>),
    /// `WSH=n`: a hint for the size of the replay window, 64 at least.
    WindowSizeHint(u32),
    /// Anything else. One that begins with `-` may be ignored (RFC 4568 §6.3.6).
    Other(String),
}

/// What the sender does first (RFC 4568 §6.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FecOrder {
    /// Forward error correction before SRTP.
    FecSrtp,
    /// SRTP before forward error correction.
    SrtpFec,
}

impl Crypto {
    /// The line for a key of ours.
    pub fn of(tag: u32, key: &SrtpKey) -> Self {
        let key_and_salt = Zeroizing::new(key.key_and_salt().to_vec());
        let keys = vec![KeyParameter { key_and_salt, lifetime: key.lifetime(), mki: key.mki() }];
        let Unencrypted { srtp, srtcp } = key.unencrypted();
        let parameters =
            [(srtp, SessionParameter::UnencryptedSrtp), (srtcp, SessionParameter::UnencryptedSrtcp)];
        let session = parameters.into_iter().filter_map(|(said, parameter)| said.then_some(parameter));
        Crypto { tag, suite: key.suite().name().to_owned(), keys, session: session.collect() }
    }

    /// The suite, if it is one of ours.
    pub fn known_suite(&self) -> Option<CryptoSuite> {
        CryptoSuite::from_name(&self.suite)
    }

    /// The keys, the first of them to be used first, if the line asks for nothing we lack; none otherwise.
    ///
    /// The suite is a known one and the keys are as long as it wants. One key has a master key identifier or none; several have one
    /// each, of one length and all different (RFC 4568 §6.1). Of session parameters those that only hint are passed over (`WSH`, and
    /// `-` extensions, RFC 4568 §6.3.6, §6.3.7), and those that leave encryption out are noted in the keys, for whoever accepts
    /// that; an AEAD is not used for that. `KDR`, `FEC_ORDER`, `FEC_KEY` and `UNAUTHENTICATED_SRTP` are lacked: a line with one
    /// of them must not be accepted (RFC 4568 §5.1.2), and RFC 4568 §6.3.3 itself advises against the last.
    pub fn usable_keys(&self) -> Vec<SrtpKey> {
        self.keys_if_usable().unwrap_or_default()
    }

    fn keys_if_usable(&self) -> Option<Vec<SrtpKey>> {
        let suite = self.known_suite()?;
        let mut unencrypted = Unencrypted::default();
        for parameter in &self.session {
            match parameter {
                SessionParameter::WindowSizeHint(_) => {}
                SessionParameter::Other(text) if text.starts_with('-') => {}
                SessionParameter::UnencryptedSrtp if !suite.is_aead() => unencrypted.srtp = true,
                SessionParameter::UnencryptedSrtcp if !suite.is_aead() => unencrypted.srtcp = true,
                _ => return None,
            }
        }
        let names: Vec<Mki> = self.keys.iter().filter_map(|key| key.mki).collect();
        let alike = names.windows(2).all(|pair| matches!(pair, [one, two] if one.length == two.length));
        let fits = |mki: &Mki| mki.length >= 8 || mki.value >> (u32::from(mki.length) * 8) == 0;
        let distinct =
            names.iter().enumerate().all(|(at, mki)| !names.iter().take(at).any(|other| other == mki));
        let named = names.len() == self.keys.len() || (names.is_empty() && self.keys.len() == 1);
        if !(alike && distinct && named && names.iter().all(fits)) {
            return None;
        }
        let key = |parameter: &KeyParameter| Some(parameter.key(suite).ok()?.with_unencrypted(unencrypted));
        self.keys.iter().map(key).collect()
    }
}

impl KeyParameter {
    /// The key for a suite.
    ///
    /// # Errors
    /// [`KeyLengthError`] if it is too short or too long for the suite.
    pub fn key(&self, suite: CryptoSuite) -> Result<SrtpKey, KeyLengthError> {
        let key = SrtpKey::new(suite, &self.key_and_salt)?;
        let key = match self.lifetime {
            Some(packets) => key.with_lifetime(packets),
            None => key,
        };
        Ok(match self.mki {
            Some(mki) => key.with_mki(mki),
            None => key,
        })
    }
}

/// What is wrong, without the text: it may hold a key.
fn error(what: &str) -> AttributeError {
    AttributeError::Other { error: what.to_owned(), attr: Crypto::NAME.to_owned() }
}

fn decimal<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl FromStr for KeyParameter {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let mut fields = text.split('|');
        let inline = fields.next().and_then(|field| field.split_once(':'));
        let (_, encoded) = inline
            .filter(|(method, _)| method.eq_ignore_ascii_case("inline"))
            .ok_or_else(|| error("the key method is not inline"))?;
        // 46 octets need padding, which some leave out.
        let key_and_salt = BASE64_NOPAD
            .decode(encoded.trim_end_matches('=').as_bytes())
            .map_err(|_| error("the key is not base64"))?;
        if key_and_salt.is_empty() {
            return Err(error("the key is empty"));
        }
        let mut parameter =
            KeyParameter { key_and_salt: Zeroizing::new(key_and_salt), lifetime: None, mki: None };
        for (position, field) in fields.enumerate() {
            match field.split_once(':') {
                Some((value, length)) if parameter.mki.is_none() => {
                    let value = decimal(value).ok_or_else(|| error("the MKI is no number"))?;
                    let length = decimal(length).filter(|length| (1..=LONGEST_MKI).contains(length));
                    let length = length.ok_or_else(|| error("the MKI length is not 1-128"))?;
                    parameter.mki = Some(Mki { value, length });
                }
                None if position == 0 => {
                    let packets = match field.strip_prefix("2^") {
                        Some(exponent) => decimal(exponent).and_then(|exponent| 1_u64.checked_shl(exponent)),
                        None => decimal(field),
                    };
                    let packets = packets.filter(|packets| (1..=LONGEST_LIFETIME).contains(packets));
                    parameter.lifetime =
                        Some(packets.ok_or_else(|| error("the lifetime is not 1-2^48 packets"))?);
                }
                _ => return Err(error("there is more than lifetime and MKI behind a key")),
            }
        }
        Ok(parameter)
    }
}

impl fmt::Display for KeyParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("inline:")?;
        f.write_str(&Zeroizing::new(BASE64.encode(&self.key_and_salt)))?;
        match self.lifetime {
            Some(packets) if packets.is_power_of_two() => write!(f, "|2^{}", packets.trailing_zeros())?,
            Some(packets) => write!(f, "|{packets}")?,
            None => {}
        }
        match self.mki {
            Some(mki) => write!(f, "|{}:{}", mki.value, mki.length),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for KeyParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyParameter")
            .field("octets", &self.key_and_salt.len())
            .field("lifetime", &self.lifetime)
            .field("mki", &self.mki)
            .finish_non_exhaustive()
    }
}

fn keys(text: &str) -> Result<Vec<KeyParameter>, AttributeError> {
    text.split(';').filter(|key| !key.is_empty()).map(str::parse).collect()
}

impl FromStr for SessionParameter {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        Ok(match value {
            // The grammar of §9.2 begins at 0, the text of §6.3.1 at 1.
            Some(rate) if is("KDR") => match decimal(rate) {
                Some(rate @ 0..=24) => SessionParameter::KeyDerivationRate(rate),
                _ => return Err(error("KDR is not 0-24")),
            },
            None if is("UNENCRYPTED_SRTP") => SessionParameter::UnencryptedSrtp,
            None if is("UNENCRYPTED_SRTCP") => SessionParameter::UnencryptedSrtcp,
            None if is("UNAUTHENTICATED_SRTP") => SessionParameter::UnauthenticatedSrtp,
            Some(order) if is("FEC_ORDER") && order.eq_ignore_ascii_case("FEC_SRTP") => {
                SessionParameter::FecOrder(FecOrder::FecSrtp)
            }
            Some(order) if is("FEC_ORDER") && order.eq_ignore_ascii_case("SRTP_FEC") => {
                SessionParameter::FecOrder(FecOrder::SrtpFec)
            }
            Some(_) if is("FEC_ORDER") => return Err(error("FEC_ORDER is neither FEC_SRTP nor SRTP_FEC")),
            Some(value) if is("FEC_KEY") => match keys(value)? {
                none if none.is_empty() => return Err(error("FEC_KEY has no key")),
                keys => SessionParameter::FecKey(keys),
            },
            Some(size) if is("WSH") => match decimal(size) {
                Some(size) if size >= SMALLEST_WINDOW => SessionParameter::WindowSizeHint(size),
                _ => return Err(error("WSH is not a number from 64")),
            },
            _ => SessionParameter::Other(text.to_owned()),
        })
    }
}

impl fmt::Display for SessionParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionParameter::KeyDerivationRate(rate) => write!(f, "KDR={rate}"),
            SessionParameter::UnencryptedSrtp => f.write_str("UNENCRYPTED_SRTP"),
            SessionParameter::UnencryptedSrtcp => f.write_str("UNENCRYPTED_SRTCP"),
            SessionParameter::UnauthenticatedSrtp => f.write_str("UNAUTHENTICATED_SRTP"),
            SessionParameter::FecOrder(FecOrder::FecSrtp) => f.write_str("FEC_ORDER=FEC_SRTP"),
            SessionParameter::FecOrder(FecOrder::SrtpFec) => f.write_str("FEC_ORDER=SRTP_FEC"),
            SessionParameter::FecKey(keys) => list(f, "FEC_KEY=", keys),
            SessionParameter::WindowSizeHint(size) => write!(f, "WSH={size}"),
            SessionParameter::Other(text) => f.write_str(text),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, before: &str, keys: &[KeyParameter]) -> fmt::Result {
    let mut separator = before;
    for key in keys {
        write!(f, "{separator}{key}")?;
        separator = ";";
    }
    Ok(())
}

impl FromStr for Crypto {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let mut fields = text.split_ascii_whitespace();
        let tag = fields.next().and_then(decimal).filter(|tag| *tag <= LARGEST_TAG);
        let tag = tag.ok_or_else(|| error("the tag is no number of up to nine digits"))?;
        let suite = fields.next().ok_or_else(|| error("there is no suite"))?.to_owned();
        let mut keys = keys(fields.next().ok_or_else(|| error("there is no key"))?)?;
        let mut session = Vec::new();
        for field in fields {
            // RFC 4568 §7.1.5 prints a space between `;` and the next key, which the grammar does not allow.
            if session.is_empty() && field.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("inline:"))
            {
                keys.extend(self::keys(field)?);
            } else {
                session.push(field.parse()?);
            }
        }
        if keys.is_empty() {
            return Err(error("there is no key"));
        }
        Ok(Crypto { tag, suite, keys, session })
    }
}

impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tag, self.suite)?;
        list(f, " ", &self.keys)?;
        self.session.iter().try_for_each(|parameter| write!(f, " {parameter}"))
    }
}

impl TypedAttribute for Crypto {
    const NAME: &'static str = "crypto";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn the_examples_of_rfc_4568_section_7_1_5() {
        let text = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4 FEC_ORDER=FEC_SRTP");
        let crypto: Crypto = text.parse().unwrap();
        assert_eq!(crypto.known_suite(), Some(CryptoSuite::AesCm128HmacSha1_80));
        assert_eq!(crypto.keys[0].lifetime, Some(1 << 20));
        assert_eq!(crypto.keys[0].mki, Some(Mki { value: 1, length: 4 }));
        assert_eq!(crypto.session, [SessionParameter::FecOrder(FecOrder::FecSrtp)]);
        assert_eq!(crypto.to_string(), text);
        assert_eq!(crypto.usable_keys(), [], "we have no FEC");
        let two =
            format!("2 F8_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4; inline:{KEY}|2^20|2:4 FEC_ORDER=SRTP_FEC");
        let crypto: Crypto = two.parse().unwrap();
        assert_eq!((crypto.known_suite(), crypto.keys.len(), crypto.session.len()), (None, 2, 1));
    }

    #[test]
    fn only_lines_without_what_we_lack_give_a_key_rfc_4568_section_5_1_2() {
        let key = |rest: &str| {
            let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}").parse::<Crypto>().unwrap();
            let keys = line.usable_keys();
            assert!(keys.len() < 2);
            keys.into_iter().next()
        };
        assert_eq!(key("").unwrap().key(), b"YS___semctl () {");
        assert_eq!(key("|2^31").unwrap().lifetime(), Some(1 << 31));
        assert!(key(" WSH=128").is_some() && key(" -x=1").is_some());
        let mki = |value, length| Some(Mki { value, length });
        assert_eq!(key("|2^31|1:1").unwrap().mki(), mki(1, 1));
        assert_eq!(key("|255:128").unwrap().mki(), mki(255, 128));
        let unencrypted = key(" UNENCRYPTED_SRTP").unwrap().unencrypted();
        assert_eq!(unencrypted, Unencrypted { srtp: true, srtcp: false });
        assert!(key(" UNENCRYPTED_SRTCP").unwrap().unencrypted().srtcp);
        for lacked in [
            "|256:1",
            " KDR=1",
            " KDR=0",
            " UNAUTHENTICATED_SRTP",
            " UNENCRYPTED_SRTP UNAUTHENTICATED_SRTP",
            " FEC_ORDER=FEC_SRTP",
            " x=1",
        ] {
            assert_eq!(key(lacked), None, "{lacked}");
        }
        let short: Crypto = "1 AES_256_CM_HMAC_SHA1_80 inline:AAAA".parse().unwrap();
        assert_eq!(short.usable_keys(), []);
        let aead = SrtpKey::new(CryptoSuite::AeadAes128Gcm, &[7; 28]).unwrap();
        let aead = aead.with_unencrypted(Unencrypted { srtp: true, srtcp: true });
        assert_eq!(Crypto::of(1, &aead).usable_keys(), []);
    }

    #[test]
    fn several_keys_have_names_of_one_length_rfc_4568_section_6_1() {
        let keys = |parameters: &[&str]| {
            let parameters: Vec<_> = parameters.iter().map(|rest| format!("inline:{KEY}{rest}")).collect();
            let line = format!("1 AES_CM_128_HMAC_SHA1_80 {}", parameters.join(";"));
            line.parse::<Crypto>().unwrap().usable_keys().len()
        };
        assert_eq!(keys(&["|1:4", "|2:4", "|3:4"]), 3);
        for refused in [["|1:4", "|2:3"], ["|1:4", "|1:4"], ["|1:4", ""], ["", ""]] {
            assert_eq!(keys(&refused), 0, "{refused:?}");
        }
    }

    #[test]
    fn what_a_key_is_about_is_written_and_read_again() {
        let key = SrtpKey::new(CryptoSuite::AesCm192HmacSha1_80, &[7; 38]).unwrap();
        let key = key.with_lifetime(1 << 20).with_mki(Mki { value: 9, length: 2 });
        let key = key.with_unencrypted(Unencrypted { srtp: true, srtcp: true });
        let text = Crypto::of(3, &key).to_string();
        assert!(text.ends_with("|2^20|9:2 UNENCRYPTED_SRTP UNENCRYPTED_SRTCP"), "{text}");
        assert_eq!(text.parse::<Crypto>().unwrap().usable_keys(), [key]);
    }

    #[test]
    fn padding_is_written_and_may_be_missing_rfc_6188() {
        let key = SrtpKey::new(CryptoSuite::AesCm256HmacSha1_80, &[7; 46]).unwrap();
        let text = Crypto::of(3, &key).to_string();
        assert!(text.ends_with("=="), "{text}");
        for text in [text.as_str(), text.trim_end_matches('=')] {
            assert_eq!(text.parse::<Crypto>().unwrap().usable_keys(), std::slice::from_ref(&key));
        }
    }

    #[test]
    fn what_is_no_crypto_line_is_refused_without_showing_the_key() {
        for bad in [
            "",
            "1",
            "1 S",
            "x S inline:AAAA",
            "1234567890 S inline:AAAA",
            "1 S inline:",
            "1 S inline:?",
            "1 S uri:AAAA",
            "1 S inline:AAAA|0",
            "1 S inline:AAAA|2^49",
            "1 S inline:AAAA|1:0",
            "1 S inline:AAAA|1:129",
            "1 S inline:AAAA|1:1|2",
            "1 S inline:AAAA|5|1:1|1:1",
            "1 S inline:AAAA KDR=25",
            "1 S inline:AAAA WSH=63",
            "1 S inline:AAAA FEC_ORDER=x",
            "1 S inline:AAAA FEC_KEY=",
            "1 S ;",
        ] {
            let error = bad.parse::<Crypto>().unwrap_err().to_string();
            assert!(!error.contains("AAAA"), "{bad}: {error}");
        }
        let debug = format!("{:?}", format!("1 S inline:{KEY}").parse::<Crypto>().unwrap());
        assert!(!debug.contains("89, 83"), "{debug}");
    }

    fn key() -> impl Strategy<Value = KeyParameter> {
        let mki = (any::<u64>(), 1..=128_u8).prop_map(|(value, length)| Mki { value, length });
        let parts = (
            proptest::collection::vec(any::<u8>(), 1..50),
            proptest::option::of(1..=LONGEST_LIFETIME),
            proptest::option::of(mki),
        );
        parts.prop_map(|(octets, lifetime, mki)| KeyParameter {
            key_and_salt: Zeroizing::new(octets),
            lifetime,
            mki,
        })
    }

    fn session() -> impl Strategy<Value = SessionParameter> {
        prop_oneof![
            (0..=24_u8).prop_map(SessionParameter::KeyDerivationRate),
            Just(SessionParameter::UnencryptedSrtp),
            Just(SessionParameter::UnencryptedSrtcp),
            Just(SessionParameter::UnauthenticatedSrtp),
            Just(SessionParameter::FecOrder(FecOrder::SrtpFec)),
            proptest::collection::vec(key(), 1..3).prop_map(SessionParameter::FecKey),
            (64..u32::MAX).prop_map(SessionParameter::WindowSizeHint),
            "-?x[a-z]{0,6}(=[a-z0-9]{1,4})?".prop_map(SessionParameter::Other),
        ]
    }

    proptest! {
        #[test]
        fn print_and_parse_are_inverse(
            tag in 0..=LARGEST_TAG, suite in "[A-Z0-9_]{1,24}", keys in proptest::collection::vec(key(), 1..4),
            session in proptest::collection::vec(session(), 0..4),
        ) {
            let crypto = Crypto { tag, suite, keys, session };
            prop_assert_eq!(crypto.to_string().parse::<Crypto>().unwrap(), crypto);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~]{0,60}") {
            if let Ok(crypto) = text.parse::<Crypto>() {
                prop_assert_eq!(crypto.to_string().parse::<Crypto>().unwrap(), crypto);
            }
        }
    }
}
