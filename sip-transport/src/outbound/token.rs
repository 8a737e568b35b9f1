//! Flow tokens: RFC 5626 §5.2.

use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, BufMut};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::path::{FlowId, Path, Transport};

/// Octets of the MAC: 80 bits, as in the example of RFC 5626 §5.2.
const MAC: usize = 10;

/// Writes flows as the user part of a URI, and reads them back: nobody without the key can make one up or change one.
///
/// A token holds the flow itself, so a server keeps no table of them. It is good for as long as the key is, and a token of a
/// connection for as long as that connection. One that was made for a dialog is good within that dialog alone: everybody who
/// takes part in it, and every proxy on the way, sees it in Record-Route.
///
/// ```
/// use sip_transport::outbound::FlowTokens;
/// use sip_transport::{FlowId, Path, Transport};
///
/// let tokens = FlowTokens::new(&[7; 32]);
/// let flow = Path { flow: Some(FlowId(3)), ..Path::to(Transport::Tls, "192.0.2.7:41000".parse()?) };
/// let token = tokens.token(&flow);
/// assert_eq!(tokens.flow(&token), Ok(flow));
/// assert!(FlowTokens::new(&[8; 32]).flow(&token).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FlowTokens {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for FlowTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FlowTokens")
    }
}

/// A flow token that was not made with this key, or was changed since: 403 (RFC 5626 §5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a flow token of this server")]
pub struct BadToken;

impl FlowTokens {
    /// Letters of the shortest token: a UDP flow over IPv4.
    pub const SHORTEST: usize = 34;

    /// With a key that only this server knows.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> FlowTokens {
        let mut block = [0; 64];
        block.iter_mut().zip(key).for_each(|(octet, key)| *octet = *key);
        FlowTokens { mac: Hmac::new(&block.into()) }
    }

    /// The token of a flow: letters, digits, `-` and `_`, 34 to 45 of them over IPv4.
    #[must_use]
    pub fn token(&self, path: &Path) -> String {
        self.write(path, None)
    }

    /// The token of a flow for the requests of this Call-ID; as long as any.
    #[must_use]
    pub fn token_for(&self, path: &Path, call_id: &str) -> String {
        self.write(path, Some(call_id))
    }

    fn write(&self, path: &Path, call_id: Option<&str>) -> String {
        let mut octets = Vec::with_capacity(64);
        let kind = Transport::ALL.iter().position(|transport| *transport == path.transport).unwrap_or(0);
        octets.put_u8(u8::try_from(kind).unwrap_or(0));
        put(&mut octets, path.local);
        put(&mut octets, path.remote);
        // A datagram's flow is its addresses. Connections come and go between the same two.
        if let Some(flow) = path.flow
            && path.transport.is_reliable()
        {
            octets.put_u64(flow.0);
        }
        let mac = self.mac_of(&octets, call_id);
        octets.extend(mac.finalize().into_bytes().into_iter().take(MAC));
        BASE64URL_NOPAD.encode(&octets)
    }

    /// The flow of a token.
    ///
    /// # Errors
    /// When it is none that was made with this key, or one for a Call-ID.
    pub fn flow(&self, token: &str) -> Result<Path, BadToken> {
        self.read(token, None)
    }

    /// The flow of a token that was made for this Call-ID.
    ///
    /// # Errors
    /// When it is none that was made so.
    pub fn flow_for(&self, token: &str, call_id: &str) -> Result<Path, BadToken> {
        self.read(token, Some(call_id))
    }

    fn read(&self, token: &str, call_id: Option<&str>) -> Result<Path, BadToken> {
        let octets = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| BadToken)?;
        let (content, tag) =
            octets.len().checked_sub(MAC).and_then(|at| octets.split_at_checked(at)).ok_or(BadToken)?;
        self.mac_of(content, call_id).verify_truncated_left(tag).map_err(|_| BadToken)?;
        read(content).ok_or(BadToken)
    }

    fn mac_of(&self, content: &[u8], call_id: Option<&str>) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        if call_id.is_some() {
            // Its length tells where the Call-ID begins. No content begins with so great a number: that would be a transport.
            mac.update(&[u8::try_from(content.len()).unwrap_or(u8::MAX)]);
        }
        mac.update(content);
        mac.update(call_id.unwrap_or_default().as_bytes());
        mac
    }
}

fn put(octets: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            octets.put_u8(4);
            octets.put_u32(ip.to_bits());
        }
        IpAddr::V6(ip) => {
            octets.put_u8(6);
            octets.put_u128(ip.to_bits());
        }
    }
    octets.put_u16(address.port());
}

fn read(mut octets: &[u8]) -> Option<Path> {
    let transport = *Transport::ALL.get(usize::from(octets.try_get_u8().ok()?))?;
    let local = get(&mut octets)?;
    let remote = get(&mut octets)?;
    let flow = if octets.is_empty() { None } else { Some(FlowId(octets.try_get_u64().ok()?)) };
    octets.is_empty().then_some(Path { transport, local, remote, flow })
}

fn get(octets: &mut &[u8]) -> Option<SocketAddr> {
    let ip = match octets.try_get_u8().ok()? {
        4 => IpAddr::V4(octets.try_get_u32().ok()?.into()),
        6 => IpAddr::V6(octets.try_get_u128().ok()?.into()),
        _ => return None,
    };
    Some(SocketAddr::new(ip, octets.try_get_u16().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_path() -> impl Strategy<Value = Path> {
        let transport = prop::sample::select(&Transport::ALL[..]);
        let address = || (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from);
        (transport, address(), address(), any::<Option<u64>>()).prop_map(
            |(transport, local, remote, flow)| {
                let flow = flow.map(FlowId).filter(|_| transport.is_reliable());
                Path { transport, local, remote, flow }
            },
        )
    }

    proptest! {
        /// RFC 5626 §5.2: "the flow can be recovered from the token".
        #[test]
        fn every_flow_is_recovered(path in any_path()) {
            let tokens = FlowTokens::new(&[1; 32]);
            let token = tokens.token(&path);
            prop_assert_eq!(tokens.flow(&token), Ok(path));
            let uri = format!("sip:{token}@example.com;lr").parse::<sip_message::Uri>().unwrap();
            prop_assert_eq!(uri.user(), Some(&token[..]), "it can stand in a URI as it is");
        }

        /// RFC 5626 §5.2: "the token cannot be modified by attackers".
        #[test]
        fn a_changed_token_is_refused(path in any_path(), at in any::<prop::sample::Index>(), bit in 0..6_u32) {
            let tokens = FlowTokens::new(&[1; 32]);
            let mut token = tokens.token(&path).into_bytes();
            let at = at.index(token.len());
            let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let value = digits.iter().position(|digit| *digit == token[at]).unwrap();
            token[at] = digits[value ^ (1 << bit)];
            prop_assert_eq!(tokens.flow(&String::from_utf8(token).unwrap()), Err(BadToken));
        }

        /// One dialog's token is of no use in another, nor for a registration, and the other way round.
        #[test]
        fn a_token_for_a_dialog_is_good_in_it_alone(path in any_path(), call_id in "\\PC{0,60}", other in "\\PC{0,60}") {
            let tokens = FlowTokens::new(&[1; 32]);
            let token = tokens.token_for(&path, &call_id);
            prop_assert_eq!(token.len(), tokens.token(&path).len());
            prop_assert_eq!(tokens.flow_for(&token, &call_id), Ok(path));
            prop_assert_eq!(tokens.flow_for(&token, &other).is_ok(), call_id == other);
            prop_assert_eq!(tokens.flow(&token), Err(BadToken));
            prop_assert_eq!(tokens.flow_for(&tokens.token(&path), &call_id), Err(BadToken));
        }

        #[test]
        fn any_text_is_read(text in ".*") {
            let _ = FlowTokens::new(&[1; 32]).flow(&text);
        }
    }

    /// The end of a content must not pass for the beginning of a Call-ID.
    #[test]
    fn a_number_of_a_connection_is_no_part_of_a_call_id() {
        let tokens = FlowTokens::new(&[1; 32]);
        let remote = "192.0.2.7:5060".parse().unwrap();
        let flow = Some(FlowId(u64::from_be_bytes(*b"8letters")));
        let token = tokens.token_for(&Path { flow, ..Path::to(Transport::Tcp, remote) }, "call");
        let octets = BASE64URL_NOPAD.decode(token.as_bytes()).unwrap();
        let (content, mac) = octets.split_at(octets.len() - MAC);
        let shorter = [&content[..content.len() - 8], mac].concat();
        let moved = tokens.flow_for(&BASE64URL_NOPAD.encode(&shorter), "8letterscall");
        assert_eq!(moved, Err(BadToken));
    }

    /// A UDP flow outlives the process: its token names no number of a socket.
    #[test]
    fn a_udp_token_is_the_two_addresses() {
        let tokens = FlowTokens::new(&[1; 32]);
        let path = Path::to(Transport::Udp, "192.0.2.7:5060".parse().unwrap());
        let on_socket = Path { flow: Some(FlowId(5)), ..path };
        assert_eq!(tokens.token(&on_socket), tokens.token(&path));
        assert_eq!(tokens.token(&path).len(), FlowTokens::SHORTEST);
    }
}
