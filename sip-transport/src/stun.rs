//! STUN Binding, as much of it as keeps a UDP flow alive (RFC 5626 §8, RFC 8489): requests without attributes, and the
//! answers to them.
//!
//! ```
//! use sip_transport::stun::{self, Binding, Outcome, TransactionId};
//!
//! let id = TransactionId([7; 12]);
//! let source = "203.0.113.7:4242".parse()?;
//! let answer = stun::answer(&stun::request(id), source).ok_or("no answer")?;
//! assert_eq!(stun::parse(&answer), Some(Binding::Answer { id, outcome: Outcome::Mapped(source) }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

const MAGIC_COOKIE: u32 = 0x2112_a442;
const HEADER: usize = 20;

const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;

const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// Attributes of credentials: nobody is asked for any here, so they are read over (RFC 8489 §9). Below 0x8000, all others
/// would have to be understood (§14).
const READ_OVER: [u16; 7] = [0x0006, 0x0008, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e];

/// Unknown attributes that are named in an answer: no more, or a small datagram from a forged source gets a large answer.
const NAMED: usize = 4;

/// What ties an answer to its request: 96 bits that nobody can guess (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// A Binding message (RFC 8489 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Asks for an answer.
    Request {
        /// Comes back with the answer.
        id: TransactionId,
        /// Attributes that we would have to understand and do not.
        unknown: Vec<u16>,
    },
    /// Answers a request.
    Answer {
        /// The request's.
        id: TransactionId,
        /// What it says.
        outcome: Outcome,
    },
}

/// What an answer to a Binding request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The address and port that the request came from, as the peer saw it (XOR-MAPPED-ADDRESS).
    Mapped(SocketAddr),
    /// An error response with this code (RFC 8489 §14.8), 0 if none can be read.
    Error(u16),
}

/// Whether a datagram is STUN and not SIP: no SIP message begins with an octet below 4 (RFC 5626 §8, RFC 8489 §5).
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER && u16_at(datagram, 0).is_some_and(|kind| kind < 0x4000) && {
        u16_at(datagram, 4).map(u32::from).zip(u16_at(datagram, 6).map(u32::from))
            == Some((MAGIC_COOKIE >> 16, MAGIC_COOKIE & 0xffff))
    }
}

/// Reads a Binding message; `None` for what is none, whole and well-formed.
#[must_use]
pub fn parse(datagram: &[u8]) -> Option<Binding> {
    if !is_stun(datagram) {
        return None;
    }
    let kind = u16_at(datagram, 0)?;
    let length = usize::from(u16_at(datagram, 2)?);
    let attributes = datagram.get(HEADER..)?;
    if length != attributes.len() || length % 4 != 0 {
        return None;
    }
    let id = TransactionId(datagram.get(8..HEADER)?.try_into().ok()?);
    let (mut rest, mut unknown) = (attributes, Vec::new());
    let (mut mapped, mut code) = (None, 0);
    while !rest.is_empty() {
        let (attribute, size) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let value = rest.get(4..)?.get(..size)?;
        rest = rest.get(4..)?.get(size.checked_next_multiple_of(4)?..)?;
        match attribute {
            XOR_MAPPED_ADDRESS => mapped = mapped.or(address(value, &id)),
            ERROR_CODE => code = error_code(value).unwrap_or(0),
            UNKNOWN_ATTRIBUTES => {}
            known if READ_OVER.contains(&known) => {}
            0..0x8000 if unknown.len() < NAMED => unknown.push(attribute),
            _ => {}
        }
    }
    match kind {
        REQUEST => Some(Binding::Request { id, unknown }),
        SUCCESS => Some(Binding::Answer { id, outcome: Outcome::Mapped(mapped?) }),
        ERROR => Some(Binding::Answer { id, outcome: Outcome::Error(code) }),
        _ => None, // an indication, or another method
    }
}

/// A Binding request: a keep-alive.
#[must_use]
pub fn request(id: TransactionId) -> Bytes {
    message(REQUEST, id, &[])
}

/// The answer to a datagram that came from `source`, if it is a Binding request (RFC 5626 §8): its own address, or 420 if it
/// wants what we do not understand (RFC 8489 §6.3.1).
#[must_use]
pub fn answer(datagram: &[u8], source: SocketAddr) -> Option<Bytes> {
    let Binding::Request { id, unknown } = parse(datagram)? else { return None };
    let mut attributes = BytesMut::new();
    if unknown.is_empty() {
        let source = SocketAddr::new(source.ip().to_canonical(), source.port());
        put(&mut attributes, XOR_MAPPED_ADDRESS, &xored(source, &id));
        return Some(message(SUCCESS, id, &attributes));
    }
    put(&mut attributes, ERROR_CODE, b"\0\0\x04\x14");
    let named: Vec<u8> = unknown.iter().flat_map(|attribute| attribute.to_be_bytes()).collect();
    put(&mut attributes, UNKNOWN_ATTRIBUTES, &named);
    Some(message(ERROR, id, &attributes))
}

fn message(kind: u16, id: TransactionId, attributes: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER.saturating_add(attributes.len()));
    bytes.put_u16(kind);
    bytes.put_u16(u16::try_from(attributes.len()).unwrap_or(0)); // a few dozen octets
    bytes.put_u32(MAGIC_COOKIE);
    bytes.put_slice(&id.0);
    bytes.put_slice(attributes);
    bytes.freeze()
}

/// Adds an attribute, filled up to a multiple of four octets (RFC 8489 §14).
fn put(attributes: &mut BytesMut, kind: u16, value: &[u8]) {
    attributes.put_u16(kind);
    attributes.put_u16(u16::try_from(value.len()).unwrap_or(0));
    attributes.put_slice(value);
    attributes.put_bytes(0, value.len().next_multiple_of(4).saturating_sub(value.len()));
}

/// What an address is XORed with: the cookie and the transaction (RFC 8489 §14.2).
fn mask(id: &TransactionId) -> u128 {
    let mut octets = [0; 16];
    let (cookie, rest) = octets.split_at_mut(4);
    cookie.copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    rest.copy_from_slice(&id.0);
    u128::from_be_bytes(octets)
}

fn xored(address: SocketAddr, id: &TransactionId) -> Vec<u8> {
    let family = if address.is_ipv4() { 1 } else { 2 };
    let mut value = vec![0, family];
    value.put_u16(address.port() ^ (MAGIC_COOKIE >> 16) as u16);
    match address.ip() {
        IpAddr::V4(ip) => value.put_u32(ip.to_bits() ^ MAGIC_COOKIE),
        IpAddr::V6(ip) => value.put_u128(ip.to_bits() ^ mask(id)),
    }
    value
}

fn address(value: &[u8], id: &TransactionId) -> Option<SocketAddr> {
    let port = u16_at(value, 2)? ^ (MAGIC_COOKIE >> 16) as u16;
    let octets = value.get(4..)?;
    let ip: IpAddr = match value.get(1)? {
        1 => Ipv4Addr::from_bits(u32::from_be_bytes(octets.try_into().ok()?) ^ MAGIC_COOKIE).into(),
        2 => Ipv6Addr::from_bits(u128::from_be_bytes(octets.try_into().ok()?) ^ mask(id)).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn error_code(value: &[u8]) -> Option<u16> {
    let class = u16::from(value.get(2)? & 0b111);
    class.checked_mul(100)?.checked_add(u16::from(*value.get(3)?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: TransactionId =
        TransactionId([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);

    fn success(attribute: &[u8]) -> Vec<u8> {
        message(SUCCESS, ID, attribute).to_vec()
    }

    /// RFC 5769 §2.2 and §2.3: the addresses of the test vectors, under their transaction.
    #[test]
    fn the_addresses_of_the_test_vectors() {
        let v4 = b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43";
        let v6 = b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
        for (attribute, expected) in
            [(&v4[..], "192.0.2.1:32853"), (&v6[..], "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
        {
            let source: SocketAddr = expected.parse().unwrap();
            let outcome = Outcome::Mapped(source);
            assert_eq!(parse(&success(attribute)), Some(Binding::Answer { id: ID, outcome }));
            assert_eq!(&answer(&request(ID), source).unwrap()[..], &success(attribute)[..]);
        }
    }

    /// RFC 8489 §6.3.1: what has to be understood and is not is named in a 420; credentials and what may be ignored are not.
    #[test]
    fn unknown_attributes_are_answered_with_420() {
        let mut attributes = BytesMut::new();
        put(&mut attributes, 0x0003, &[0, 0, 0, 6]); // CHANGE-REQUEST of RFC 5780
        put(&mut attributes, 0x0006, b"user"); // USERNAME
        put(&mut attributes, 0x8022, b"some software"); // SOFTWARE
        let answer = answer(&message(REQUEST, ID, &attributes), "192.0.2.1:5060".parse().unwrap()).unwrap();
        assert_eq!(parse(&answer), Some(Binding::Answer { id: ID, outcome: Outcome::Error(420) }));
        assert!(answer.ends_with(b"\x00\x0a\x00\x02\x00\x03\x00\x00"));
    }

    /// RFC 8489 §14: no answer to an answer, to an indication or to what is cut or counts wrongly.
    #[test]
    fn what_is_no_request_gets_no_answer() {
        let source = "192.0.2.1:5060".parse().unwrap();
        let mut attributes = BytesMut::new();
        put(&mut attributes, 0x8022, b"x");
        let whole = message(REQUEST, ID, &attributes);
        assert!(answer(&whole, source).is_some());
        for cut in 0..whole.len() {
            assert_eq!(answer(&whole[..cut], source), None, "cut at {cut}");
        }
        for kind in [SUCCESS, ERROR, 0x0011, 0x0003] {
            assert_eq!(answer(&message(kind, ID, &[]), source), None);
        }
        let mut other_cookie = whole.to_vec();
        other_cookie[4] ^= 1;
        assert_eq!(answer(&other_cookie, source), None);
        assert!(!is_stun(b"OPTIONS sip:a@example.com SIP/2.0\r\n"));
    }

    proptest! {
        #[test]
        fn every_address_comes_back(ip in any::<IpAddr>(), port in any::<u16>(), id in any::<[u8; 12]>()) {
            let (source, id) = (SocketAddr::new(ip.to_canonical(), port), TransactionId(id));
            let answer = answer(&request(id), source).unwrap();
            prop_assert_eq!(parse(&answer), Some(Binding::Answer { id, outcome: Outcome::Mapped(source) }));
            prop_assert!(answer.len() <= 44);
        }

        /// Whatever comes is read without a panic, and its answer is no more than thrice as long (R32).
        #[test]
        fn any_octets_are_read(octets in prop::collection::vec(any::<u8>(), 0..128), framed in any::<bool>()) {
            let datagram = if framed {
                let whole = octets.len() / 4 * 4;
                message(REQUEST, ID, &octets[..whole]).to_vec()
            } else {
                octets
            };
            if let Some(answer) = answer(&datagram, "[::1]:1".parse().unwrap()) {
                prop_assert!(answer.len() <= 3 * datagram.len());
            }
        }
    }
}
