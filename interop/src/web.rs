//! Clients of browsers in Node (`interop/web`): JsSIP, and one of MSRP.

use std::net::SocketAddr;

use crate::dir::Dir;
use crate::process::Process;

/// A client that registers over WebSocket as a browser's does. It answers calls with 486.
#[derive(Debug)]
pub struct WebPhone {
    /// The process.
    pub process: Process,
}

/// A client of MSRP over WebSocket (RFC 7977), which echoes texts.
#[derive(Debug)]
pub struct WebChat {
    /// The process.
    pub process: Process,
}

impl WebChat {
    /// What has to be there besides `node`.
    pub const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/web/node_modules/ws");

    /// Asks the relay that takes WebSockets at `at` for a URI.
    pub fn start(dir: &Dir, at: SocketAddr, (user, password): (&str, &str)) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/web/msrp.mjs");
        let (url, relay) = (format!("ws://{at}"), format!("msrp://{user}@{at};ws"));
        Self { process: Process::start(dir, "web-chat", "node", [script, &url, &relay, user, password]) }
    }
}

impl WebPhone {
    /// What has to be there besides `node`: `npm install` in `interop/web`.
    pub const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/web/node_modules/jssip");

    /// Registers `user` of `domain`, then does what `action` says, such as `["message", "sip:bob@example.test", "hi"]`.
    pub fn start(
        dir: &Dir,
        at: SocketAddr,
        secure: bool,
        (user, password): (&str, &str),
        domain: &str,
        action: &[&str],
    ) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/web/phone.mjs");
        let url = format!("{}://{at}", if secure { "wss" } else { "ws" });
        let arguments = [script, &url, user, password, domain].into_iter().chain(action.iter().copied());
        Self { process: Process::start(dir, &format!("web-{user}"), "node", arguments) }
    }

    /// Waits until it has registered.
    pub fn registered(mut self) -> Self {
        self.process.wait_for("registered");
        self
    }

    /// Has it remove its registration and end.
    pub fn end(mut self) {
        self.process.type_line("end");
        self.process.wait_for("unregistered");
        assert_eq!(self.process.finish(), 0, "the web phone's end");
    }
}
