//! From command line to phone: who we are, where we listen, and what a failure is in exit codes.

use std::net::IpAddr;

use sip_message::headers::InstanceId;
use sip_message::{StatusCode, Uri};
use sip_transport::Transport;
use sip_transport::locals::parse_ip;
use sip_ua::{CallError, Phone, PhoneBuilder, RegisterError};

use crate::args::{Account, SessionArgs};
use crate::exit::{Code, Failure};
use crate::sound::SoundArgs;
use crate::tls::TlsArgs;

/// Who calls when nobody is named (RFC 3261 §8.1.1.3).
pub(crate) const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// A phone as the command line describes it.
pub(crate) struct Identity<'a> {
    /// Our address.
    pub(crate) address: &'a str,
    /// Who we are to servers.
    pub(crate) account: &'a Account,
    /// Certificates.
    pub(crate) tls: &'a TlsArgs,
    /// Listeners; empty for the usual ones.
    pub(crate) listen: &'a [String],
    /// Seconds to register for.
    pub(crate) expires: u32,
    /// Who this phone is, to register its connection.
    pub(crate) instance: Option<&'a InstanceId>,
    /// Where requests go first unless there is a proxy: decides on IPv4 or IPv6.
    pub(crate) peer: Option<&'a str>,
    /// Codecs and protection of calls.
    pub(crate) sound: &'a SoundArgs,
    /// Chats in sessions, and files.
    pub(crate) sessions: &'a SessionArgs,
    /// It hosts a chat room.
    pub(crate) focus: bool,
}

impl Identity<'_> {
    /// Opens the sockets.
    pub(crate) async fn bind(&self) -> Result<Phone, Failure> {
        self.bind_with(|builder| builder).await
    }

    /// The same with what else the phone is to have.
    pub(crate) async fn bind_with(
        &self,
        more: impl FnOnce(PhoneBuilder) -> PhoneBuilder,
    ) -> Result<Phone, Failure> {
        let Account { username, password, proxy } = self.account;
        let mut builder = Phone::builder(self.address)
            .expires(self.expires)
            .follow_network(true)
            .user_agent(concat!("sip/", env!("CARGO_PKG_VERSION")));
        builder = self.sessions.apply(self.sound.apply(builder));
        if self.focus {
            builder = builder.focus();
        }
        if let Some(instance) = self.instance {
            builder = builder.instance(instance.clone());
        }
        if let Some(username) = username {
            builder = builder.username(username);
        }
        if let Some(password) = password {
            builder = builder.password(password);
        }
        if let Some(proxy) = proxy {
            builder = builder.proxy(proxy);
        }
        if self.listen.is_empty() {
            let first = proxy.as_deref().or(self.peer);
            for address in usual_listeners(first) {
                builder = builder.listen(&format!("udp:{address}:0")).listen(&format!("tcp:{address}:0"));
                match transport_of(first) {
                    Some(Transport::Tls) if self.tls.tls_cert.is_some() => {
                        builder = builder.listen(&format!("tls:{address}:0"));
                    }
                    Some(other @ (Transport::Tls | Transport::Ws | Transport::Wss)) => {
                        builder = builder.listen(&format!("{}:client:{address}", other.uri_param()));
                    }
                    _ => {}
                }
            }
        }
        for listen in self.listen {
            builder = builder.listen(listen);
        }
        more(builder).tls(self.tls.read()?).bind().await.map_err(Failure::fault)
    }
}

/// The transport that a URI asks for.
fn transport_of(uri: Option<&str>) -> Option<Transport> {
    Transport::of_uri(&uri?.parse().ok()?)
}

/// The addresses to listen on so that this URI can be reached: IPv6 only for a URI that says so. A server on the
/// loopback interface may listen there only, and cannot send to us anywhere else.
fn usual_listeners(uri: Option<&str>) -> &'static [&'static str] {
    let uri = uri.and_then(|uri| uri.parse::<Uri>().ok());
    match uri.and_then(|uri| parse_ip(uri.host())) {
        Some(IpAddr::V4(ip)) if ip.is_loopback() => &["0.0.0.0", "127.0.0.1"],
        Some(IpAddr::V6(ip)) if ip.is_loopback() => &["[::]", "[::1]"],
        Some(IpAddr::V6(_)) => &["[::]"],
        _ => &["0.0.0.0"],
    }
}

/// What a call that did not come about is to a script.
pub(crate) fn code_of(error: &CallError) -> Code {
    match error {
        CallError::Rejected { status, .. } => Code::of(*status),
        CallError::Cancelled => Code::NoAnswer,
        CallError::TimedOut | CallError::Unreachable(_) => Code::Unreachable,
        CallError::BadMedia => Code::BadMedia,
        CallError::Ended(_) => Code::Refused,
        _ => Code::Fault,
    }
}

/// A registration that failed.
pub(crate) fn not_registered(address: &str, error: &RegisterError) -> Failure {
    let code = match Code::of(error.status) {
        // A registrar is not busy and does not ring.
        Code::Busy | Code::NoAnswer | Code::BadMedia => Code::Refused,
        code => code,
    };
    let hint = match error.status {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => "; check user and password",
        StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE => "; is the server there?",
        _ => "",
    };
    let status = error.status;
    Failure::new(code, format!("{address} is not registered: {} {}{hint}", status.code(), status.reason()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_where_the_peer_can_reach_them() {
        assert_eq!(usual_listeners(Some("sip:bob@[2001:db8::1]:5060")), ["[::]"]);
        assert_eq!(usual_listeners(Some("sip:bob@[::1]:5060")), ["[::]", "[::1]"]);
        assert_eq!(usual_listeners(Some("sip:bob@127.0.0.1")), ["0.0.0.0", "127.0.0.1"]);
        assert_eq!(usual_listeners(Some("sip:bob@example.com")), ["0.0.0.0"]);
        assert_eq!(usual_listeners(None), ["0.0.0.0"]);
    }

    #[test]
    fn a_registrar_refuses_for_its_own_reasons() {
        for (status, code) in [
            (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            (StatusCode::SERVICE_UNAVAILABLE, Code::Unreachable),
            (StatusCode::NOT_FOUND, Code::Refused),
            (StatusCode::BUSY_HERE, Code::Refused),
        ] {
            assert_eq!(not_registered("sip:a@b", &RegisterError { status }).code, code);
        }
    }
}
