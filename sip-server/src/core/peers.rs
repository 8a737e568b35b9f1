//! Who is at the other end of connections, as certificates prove it (RFC 5922): users of ours, and trunks.

use std::collections::HashMap;
use std::sync::Arc;

use sip_message::headers::{Authorization, From, To};
use sip_message::{Method, Request};
use sip_transport::identity::Identities;
use sip_transport::{FlowId, Path};

use super::ServerCore;
use super::credentials::offers;
use crate::AddressOfRecord;

/// What the peers of connections have proven. As many entries as there are connections with a certificate, which the transport limits.
#[derive(Debug, Default)]
pub(super) struct Peers {
    proven: HashMap<FlowId, Arc<Identities>>,
}

impl Peers {
    pub(super) fn proven(&mut self, path: &Path, peer: Arc<Identities>) {
        if let Some(flow) = path.flow {
            self.proven.insert(flow, peer);
        }
    }

    pub(super) fn closed(&mut self, flow: FlowId) {
        self.proven.remove(&flow);
    }

    /// Whose certificate was shown on the connection of this path.
    pub(super) fn at(&self, path: &Path) -> Option<&Arc<Identities>> {
        if !path.transport.is_secure() || self.proven.is_empty() {
            return None;
        }
        self.proven.get(&path.flow?)
    }
}

/// What a certificate says of somebody who claims to be a user of ours.
pub(super) enum Certified {
    /// That he is this user.
    User(String),
    /// That he is another one: the first that it names.
    Another(AddressOfRecord),
    /// Nothing: it names no user of ours, or there is none.
    Nothing,
}

impl ServerCore {
    /// What the certificate on this connection says of who claims to be `aor`. Whoever has given credentials besides is judged by them
    /// where the certificate names others.
    pub(super) fn certified(&self, request: &Request, path: &Path, aor: &AddressOfRecord) -> Certified {
        let Some(peer) = self.peers.at(path) else { return Certified::Nothing };
        let mut named = peer.users().filter_map(|uri| self.domains.aor(uri)).peekable();
        let Some(first) = named.peek().cloned() else { return Certified::Nothing };
        if named.any(|one| one == *aor) {
            // Who is no user any more is none with a certificate either.
            return self.name_of(aor).map_or(Certified::Nothing, |name| Certified::User(name.to_owned()));
        }
        let asked = if *request.method() == Method::Register {
            request.headers.all::<Authorization>().flatten().next().is_some()
        } else {
            offers(request, &self.realm)
        };
        if asked { Certified::Nothing } else { Certified::Another(first) }
    }

    /// The user whom a certificate names, for a request whose From names nobody (RFC 3323 §4.1.1.3).
    pub(super) fn certified_anonymous(&self, path: &Path) -> Option<String> {
        let peer = self.peers.at(path)?;
        let mut named = peer.users().filter_map(|uri| self.domains.aor(uri));
        named.find_map(|aor| self.name_of(&aor).map(str::to_owned))
    }

    /// The user name under which the owner of an address-of-record is known.
    fn name_of<'a>(&self, aor: &'a AddressOfRecord) -> Option<&'a str> {
        let known = |name: &str| {
            self.users.as_ref().is_some_and(|users| users.contains(name))
                || self.book.as_ref().is_some_and(|book| book.cache.secret(name).is_some())
        };
        [aor.as_str(), aor.user()].into_iter().find(|name| known(name))
    }

    /// The names under which users outside are to be asked for whom a certificate names.
    pub(super) fn names_by_certificate(&self, request: &Request, path: &Path) -> Vec<String> {
        let Some(peer) = self.peers.at(path) else { return Vec::new() };
        let claimed = if *request.method() == Method::Register {
            request.headers.get::<To>().ok().flatten().map(|to| to.0)
        } else {
            request.headers.get::<From>().ok().flatten().map(|from| from.0)
        };
        let claimed = claimed.and_then(|claimed| self.domains.aor(claimed.uri()));
        let named = |aor: &AddressOfRecord| {
            peer.users().any(|uri| self.domains.aor(uri).is_some_and(|one| one == *aor))
        };
        let listed = |name: &str| self.users.as_ref().is_some_and(|users| users.contains(name));
        match claimed.filter(named) {
            Some(aor) if !listed(aor.as_str()) && !listed(aor.user()) => {
                vec![aor.as_str().to_owned(), aor.user().to_owned()]
            }
            _ => Vec::new(),
        }
    }

    /// Whether the peer of this connection has proven the name of a trunk.
    pub(super) fn is_trunk(&self, path: &Path) -> bool {
        self.peers.at(path).is_some_and(|peer| self.rules.trunk_is(peer))
    }

    /// Whether who sends on this path is trusted to say who calls (RFC 3325).
    pub(super) fn trusts(&self, path: &Path) -> bool {
        self.trust.has(path.remote.ip()) || self.is_trunk(path)
    }
}
