//! `Via`: the path of a request, which its responses take back.

use crate::headers::Header;
use crate::params::{Params, is_canonical};
use crate::parts::{Parts, params_part};
use crate::scan::contains;
use crate::syntax::{TOKEN, find_outside, number, push_number, span, token, trim};
use crate::uri::host_length;
use crate::{HeaderName, ValueError};
use alloc::string::String;

/// One `Via` (RFC 3261 §20.42).
///
/// ```
/// use sip_message::headers::{Header, Via};
/// let via = Via::parse("SIP / 2.0 / UDP first.example.com: 4000;ttl=16 ;branch=z9hG4bKa7c6a8dlze.1")?;
/// assert_eq!((via.transport(), via.host(), via.port()), ("UDP", "first.example.com", Some(4000)));
/// assert_eq!(via.branch(), Some("z9hG4bKa7c6a8dlze.1"));
/// # Ok::<(), sip_message::ValueError>(())
/// ```
#[derive(Clone)]
pub struct Via {
    /// The text of transport, host and parameters, one behind the other.
    params: Params,
    /// Octets of the transport; those of the host follow.
    transport: usize,
    port: Option<u16>,
}

impl Via {
    /// `SIP/2.0/transport host:port`. A transport that is no token, or a host that is none, is written as
    /// `UNKNOWN` or `invalid`.
    pub fn new(transport: &str, host: &str, port: Option<u16>) -> Self {
        let transport = if token(transport) { transport } else { "UNKNOWN" };
        let host = if host_length(host, 0) == Ok(host.len()) { host } else { "invalid" };
        let mut via = Self { params: Params::default(), transport: transport.len(), port };
        // Nearly every Via gets a branch next.
        via.params.set_owned_with([transport, host], 48);
        via
    }

    /// The transport: `UDP`, `TCP`, `TLS`, `WS`, ...
    pub fn transport(&self) -> &str {
        self.params.owned().get(..self.transport).unwrap_or_default()
    }

    /// The host of sent-by, brackets of an IPv6 address included.
    pub fn host(&self) -> &str {
        self.params.owned().get(self.transport..).unwrap_or_default()
    }

    /// The port of sent-by, if it is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// `branch`: the transaction's identity (RFC 3261 §8.1.1.7).
    pub fn branch(&self) -> Option<&str> {
        self.params.value("branch")
    }

    /// `received`: where the request really came from (RFC 3261 §18.2.1). An IPv6 address comes without the
    /// brackets that some write (RFC 5118 §4.5).
    pub fn received(&self) -> Option<&str> {
        let value = self.params.value("received")?;
        Some(value.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(value))
    }

    /// `rport`: `Some(None)` when the client asks for it, `Some(Some(port))` once filled in (RFC 3581 §3).
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.get("rport").map(|value| value.and_then(number))
    }

    /// `maddr`: where responses go instead of the sent-by (RFC 3261 §18.2.2).
    pub fn maddr(&self) -> Option<&str> {
        self.params.value("maddr")
    }

    /// `ttl` of a multicast request.
    pub fn ttl(&self) -> Option<u8> {
        self.params.value("ttl").and_then(number)
    }

    /// All parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// A parameter: `Some(None)` for a flag.
    pub fn param(&self, name: &str) -> Option<Option<&str>> {
        self.params.get(name)
    }

    /// Sets or replaces a parameter.
    pub fn set_param(&mut self, name: &str, value: Option<&str>) {
        self.params.set(name, value);
    }

    /// With a parameter.
    #[must_use]
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Self {
        self.params.set(name, value);
        self
    }

    /// Removes a parameter.
    pub fn remove_param(&mut self, name: &str) -> bool {
        self.params.remove(name)
    }
}

impl Header for Via {
    const NAME: HeaderName = HeaderName::VIA;

    fn parse(text: &str) -> Result<Self, ValueError> {
        let at = |rest: &str| text.len().saturating_sub(rest.len());
        let blank = |rest: &str| rest.bytes().position(|byte| !matches!(byte, b' ' | b'\t'));
        let skip = |rest| blank(rest).and_then(|from| str::get(rest, from..)).unwrap_or_default();
        let rest = match text.strip_prefix("SIP/2.0/") {
            Some(rest) => rest,
            None => sent_protocol(text)?,
        };
        let rest = skip(rest);
        let end = rest.bytes().position(|byte| matches!(byte, b' ' | b'\t'));
        let end = end.ok_or(ValueError::new("a host after the transport", at(rest)))?;
        let (transport, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if !token(transport) {
            return Err(ValueError::new("a transport", at(rest)));
        }
        let rest = skip(rest);
        let length = host_length(rest, at(rest))?;
        let (host, rest) = rest.split_at_checked(length).unwrap_or((rest, ""));
        let mut rest = skip(rest);
        let mut port = None;
        if let Some(after) = rest.strip_prefix(':') {
            let after = skip(after);
            let end = after.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(after.len());
            let (digits, beyond) = after.split_at_checked(end).unwrap_or((after, ""));
            port = Some(number(digits).ok_or(ValueError::new("a port from 0 to 65535", at(after)))?);
            rest = beyond;
        }
        let params = Params::behind([transport, host], without_comment(rest), at(rest))?;
        Ok(Self { params, transport: transport.len(), port })
    }

    fn write(&self, out: &mut String) {
        out.push_str("SIP/2.0/");
        out.push_str(self.transport());
        out.push(' ');
        out.push_str(self.host());
        if let Some(port) = self.port {
            out.push(':');
            push_number(out, u64::from(port));
        }
        out.push_str(self.params.as_str());
    }

    fn parts(&self) -> Parts {
        let mut parts = Parts::from([
            ("protocol", "SIP/2.0".into()),
            ("transport", self.transport().into()),
            ("host", self.host().into()),
        ]);
        if let Some(port) = self.port {
            parts.push(("port", port.into()));
        }
        params_part(&self.params, &mut parts);
        parts
    }
}

/// The parameters of a `Via` in its usual shape: nothing but single spaces, canonical parameters, no comment. `None`: ask
/// [`Via::parse`].
pub(super) fn plain_via(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("SIP/2.0/")?;
    let (transport, rest) = rest.split_at_checked(span(rest.as_bytes(), TOKEN))?;
    let sent_by = rest.strip_prefix(' ').filter(|_| !transport.is_empty())?;
    let (_, mut rest) = sent_by.split_at_checked(host_length(sent_by, 0).ok()?)?;
    if let Some(after) = rest.strip_prefix(':') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, behind) = after.split_at_checked(digits)?;
        number::<u16>(digits)?;
        rest = behind;
    }
    is_canonical(rest.as_bytes()).then_some(rest)
}

/// What follows `SIP/2.0/` when white space or other letters are in it.
fn sent_protocol(text: &str) -> Result<&str, ValueError> {
    let wrong = |rest: &str| ValueError::new("SIP/2.0/transport", text.len().saturating_sub(rest.len()));
    let (protocol, rest) = text.split_once('/').ok_or(wrong(text))?;
    let (version, rest) = rest.split_once('/').ok_or(wrong(rest))?;
    if !trim(protocol).eq_ignore_ascii_case("SIP") || trim(version) != "2.0" {
        return Err(ValueError::new("SIP/2.0", 0));
    }
    Ok(rest)
}

/// RFC 2543 allowed a comment at the end of a Via; RFC 3261 §25.1 does not. It is passed over. It stands after
/// white space: a '(' within a parameter's value is the value's.
pub(crate) fn without_comment(rest: &str) -> &str {
    if !contains(rest.as_bytes(), b'(') {
        return rest;
    }
    match find_outside(rest, false, |byte| byte == b'(') {
        Some(open) => {
            let (before, comment) = rest.split_at_checked(open).unwrap_or((rest, ""));
            let apart = before.is_empty() || before.ends_with([' ', '\t']);
            if apart && is_comment(comment) { before } else { rest }
        }
        None => rest,
    }
}

/// Whether this is one comment from end to end: what stood behind it would be passed over with it.
fn is_comment(text: &str) -> bool {
    let (mut depth, mut escaped) = (0usize, false);
    for (at, byte) in trim(text).bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth = depth.saturating_add(1),
            b')' if depth <= 1 => return at.saturating_add(1) == trim(text).len(),
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

impl PartialEq for Via {
    fn eq(&self, other: &Self) -> bool {
        (self.transport(), self.host(), self.port) == (other.transport(), other.host(), other.port)
            && self.params == other.params
    }
}

impl Eq for Via {}

impl core::hash::Hash for Via {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (self.transport(), self.host(), self.port, &self.params).hash(state);
    }
}

impl core::fmt::Debug for Via {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Via")
            .field("transport", &self.transport())
            .field("host", &self.host())
            .field("port", &self.port)
            .field("params", &self.params)
            .finish()
    }
}

impl core::fmt::Display for Via {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn ipv6_received_and_rport() {
        let via =
            Via::parse("SIP/2.0/TCP [2001:db8::1]:5061;received=2001:db8::9;rport=4444;branch=z9hG4bKx")
                .unwrap();
        assert_eq!((via.host(), via.port()), ("[2001:db8::1]", Some(5061)));
        assert_eq!((via.received(), via.rport()), (Some("2001:db8::9"), Some(Some(4444))));
        assert_eq!(Via::parse("SIP/2.0/UDP h;rport").unwrap().rport(), Some(None));
        assert_eq!(Via::parse(&via.to_string()).unwrap(), via);
    }

    #[test]
    fn refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:70000",
            "SIP/2.0/UDP ;branch=x",
            "SIP/2.0/UDP [::1;branch=x",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP 19()2.0.2.1;branch=x",
            "SIP/2.0/UDP h (a comment);branch=x",
            "SIP/2.0/UDP h (open",
        ] {
            assert!(Via::parse(bad).is_err(), "{bad} passed");
        }
    }
}
