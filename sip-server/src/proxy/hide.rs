//! Topology hiding: what leaves for others shows neither by which proxies of ours it came nor where our phones are.
//!
//! ```text
//!   inside                           we                                         outside
//!   Via: phone, edge            kept beside the branch                    Via: we
//!   Record-Route: we, edge      ─▶ sealed into one of ours ─▶             Record-Route: <we;lr;th=...>
//!   Contact: <sip:bob@phone>    ─▶ sealed into one of ours ─▶             Contact: <sip:bob@we;th=...>
//!                               ◀─ opened in Route and Request-URI ◀─
//! ```
//!
//! Via, Record-Route and Contact are the fields that say where a message was and where the next one goes (RFC 3261 §16.6, §12.1): who
//! stands between takes them as he finds them, so that nothing but the next hops is told. The Vias come back with the
//! response and are kept no longer than its transaction. What dialogs need travels with them, sealed: no state, and calls outlive
//! a restart with the same key. What of this a transfer takes into another dialog is in [`transfer`](super::transfer).

use std::hash::Hasher;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Nonce};
use data_encoding::BASE64URL_NOPAD;
use sip_message::headers::{Contact, NameAddr, RecordRoute as Field, Route, Via};
use sip_message::{HeaderError, HeaderName, Headers, Method, Request, Response, Uri};
use sip_transaction::{ServerTx, Target};
use sip_transport::outbound::BadToken;
use sip_transport::{Local, Path};

use super::context::leaving_from;
use super::route::RouteError;
use super::transfer::dialog_named;
use super::{Layer, Proxy};
use crate::domains::Domains;
use crate::routing::Rules;

/// The URI parameter with what is hidden.
pub(super) const HIDDEN: &str = "th";

/// The URI parameter of a Record-Route of ours behind which things are hidden; those on the other side do not see it.
pub(super) const HIDES: &str = "hd";

/// Octets of the nonce before what is sealed.
const NONCE: usize = 12;

/// Parameters of a Contact that say which phone it is, and to a registrar alone.
const OF_PHONES: [&str; 4] = ["+sip.instance", "reg-id", "pub-gruu", "temp-gruu"];

/// What is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sealed {
    /// A Contact that came from outside.
    Contact = 1,
    Routes = 2,
    /// A Contact of inside: who is referred to it may call it.
    Inside = 3,
}

/// What a request has brought back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// What was sealed for its own dialog.
    pub(super) own: bool,
    /// A Contact that was sealed for the dialog that it is to replace or to join.
    pub(super) referred: bool,
}

/// Seals what is hidden and opens it again. The same comes out the same each time, so that a dialog's remote target stays as it
/// is; and it can be opened with the Call-ID for which it was sealed alone.
#[derive(Clone)]
pub(crate) struct Seals {
    cipher: Box<Aes128Gcm>,
    keys: [(u64, u64); 2],
}

impl std::fmt::Debug for Seals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seals")
    }
}

impl Seals {
    pub(crate) fn new(key: [u8; 16], keys: [(u64, u64); 2]) -> Self {
        Self { cipher: Box::new(Aes128Gcm::new(&key.into())), keys }
    }

    pub(super) fn seal(&self, kind: Sealed, text: &str, call_id: &str) -> Option<String> {
        let about = about(kind, call_id);
        let nonce = self.nonce(&about, text);
        let payload = Payload { msg: text.as_bytes(), aad: &about };
        let mut octets = nonce.to_vec();
        octets.extend(self.cipher.encrypt(&Nonce::from(nonce), payload).ok()?);
        Some(BASE64URL_NOPAD.encode(&octets))
    }

    fn open(&self, kind: Sealed, token: &str, call_id: &str) -> Option<String> {
        let octets = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (nonce, sealed) = octets.split_at_checked(NONCE)?;
        let nonce: [u8; NONCE] = nonce.try_into().ok()?;
        let payload = Payload { msg: sealed, aad: &about(kind, call_id) };
        let clear = self.cipher.decrypt(&Nonce::from(nonce), payload).ok()?;
        String::from_utf8(clear).ok()
    }

    /// A nonce that is another one for anything else: 96 bits of two keyed hashes of all that it is used with.
    fn nonce(&self, about: &[u8], text: &str) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        let hashes = self.keys.map(|(high, low)| {
            // As in `RecordRoute::ticket`.
            #[allow(deprecated)]
            let mut hasher = std::hash::SipHasher::new_with_keys(high, low);
            hasher.write_usize(about.len());
            hasher.write(about);
            hasher.write(text.as_bytes());
            hasher.finish().to_be_bytes()
        });
        nonce.iter_mut().zip(hashes.concat()).for_each(|(octet, hash)| *octet = hash);
        nonce
    }

    /// Opens what a request from outside brings back, in its Request-URI and its first Route.
    ///
    /// # Errors
    /// When it is not ours, or was made for another dialog.
    pub(super) fn open_request(
        &self,
        request: &mut Request,
        domains: &Domains,
    ) -> Result<Brought, RouteError> {
        let malformed = |error| HeaderError::Malformed { name: HeaderName::ROUTE, error };
        // Most requests bring nothing, and are read no further for it.
        let brings = |text: &str| text.contains(";th=");
        if !brings(request.uri_text()) && !request.headers.text(HeaderName::ROUTE).is_some_and(brings) {
            return Ok(Brought::default());
        }
        let call_id = request.headers.text(HeaderName::CALL_ID).unwrap_or_default().to_owned();
        let mut uri = request.uri().map_err(malformed)?;
        let hidden = |uri: &Uri| uri.param(HIDDEN).flatten().map(str::to_owned);
        if uri.has_lr() && hidden(&uri).is_some() && domains.is_us(&uri) {
            // A strict router has put our Record-Route there, and the Request-URI behind the Routes (RFC 3261 §16.4).
            let mut routes: Vec<Route> = request.headers.all::<Route>().collect::<Result<_, _>>()?;
            let Some(last) = routes.pop() else { return Err(BadToken.into()) };
            request.headers.remove(HeaderName::ROUTE);
            routes.iter().for_each(|route| request.headers.push_back(route));
            request.headers.push_front(&Route::new(&uri));
            uri = last.uri().clone();
            request.set_uri(&uri);
        }
        let mut brought = Brought::default();
        if let Some(token) = hidden(&uri)
            && domains.of(&uri).is_some()
        {
            let mut own = [Sealed::Contact, Sealed::Inside].into_iter();
            let own = own.find_map(|kind| self.open(kind, &token, &call_id));
            brought = Brought { own: own.is_some(), referred: own.is_none() };
            let named = || self.open(Sealed::Inside, &token, &dialog_named(request)?);
            let contact = own.or_else(named).ok_or(BadToken)?;
            request.set_uri(&contact.parse().map_err(|_| BadToken)?);
        }
        if let Some(first) = request.headers.get::<Route>()?
            && let Some(token) = hidden(first.uri())
            && domains.of(first.uri()).is_some()
        {
            let routes = self.open(Sealed::Routes, &token, &call_id).ok_or(BadToken)?;
            request.headers.pop_front::<Route>()?;
            for route in routes.lines().rev() {
                let route = NameAddr::new(&route.parse().map_err(|_| BadToken)?);
                request.headers.push_front(&Route(route));
            }
            brought.own = true;
        }
        Ok(brought)
    }

    /// Hides what a request that leaves by `local` would tell, and gives the Vias, which its responses need. `kind`: of its Contact.
    pub(super) fn hide_request(
        &self,
        request: &mut Request,
        kind: Sealed,
        local: &Local,
        (domains, rules): (&Domains, &Rules),
    ) -> Vec<Via> {
        let vias = request.headers.all::<Via>().flatten().collect();
        request.headers.remove(HeaderName::VIA);
        // What a registrar keeps has to lead to the phone without a dialog.
        if *request.method() != Method::Register {
            let call_id = request.headers.text(HeaderName::CALL_ID).unwrap_or_default().to_owned();
            let routes: Vec<Uri> = uris(&request.headers);
            self.hide_routes(&mut request.headers, &routes, &[], local, &call_id);
            self.hide_contacts(&mut request.headers, kind, local, domains, &call_id);
        }
        if *request.method() == Method::Refer && kind == Sealed::Inside {
            self.hide_referral(&mut request.headers, local, domains, rules);
        }
        vias
    }

    /// Hides what a response to a request from outside would tell. The request had `outer` values of Record-Route when it came. `kind`: of
    /// its Contact.
    pub(super) fn hide_response(
        &self,
        headers: &mut Headers,
        outer: usize,
        kind: Sealed,
        local: &Local,
        domains: &Domains,
    ) {
        let call_id = headers.text(HeaderName::CALL_ID).unwrap_or_default().to_owned();
        let mut inner = uris(headers);
        let outer = inner.split_off(inner.len().saturating_sub(outer));
        // The caller there goes the route the other way round (RFC 3261 §12.1.2).
        inner.reverse();
        self.hide_routes(headers, &inner, &outer, local, &call_id);
        self.hide_contacts(headers, kind, local, domains, &call_id);
    }

    /// One value of ours in the stead of all those of `inner`, which are in the order in which a request from outside visits them.
    fn hide_routes(&self, headers: &mut Headers, inner: &[Uri], outer: &[Uri], local: &Local, call_id: &str) {
        if inner.is_empty() {
            return;
        }
        let text: Vec<&str> = inner.iter().map(Uri::as_str).collect();
        let sips = inner.iter().all(Uri::is_sips);
        let sealed = self.seal(Sealed::Routes, &text.join("\n"), call_id);
        let (Some(token), Some(mut ours)) = (sealed, our_uri(local, None, sips)) else { return };
        ours.set_param("lr", None);
        ours.set_param(HIDDEN, Some(&token));
        headers.remove(HeaderName::RECORD_ROUTE);
        for uri in [&ours].into_iter().chain(outer) {
            headers.push_back(&Field::new(uri));
        }
    }

    fn hide_contacts(
        &self,
        headers: &mut Headers,
        kind: Sealed,
        local: &Local,
        domains: &Domains,
        call_id: &str,
    ) {
        let contacts: Vec<Contact> = headers.all::<Contact>().flatten().collect();
        if !contacts.iter().filter_map(Contact::uri).any(|uri| leads_past_us(uri, domains)) {
            return;
        }
        headers.remove(HeaderName::CONTACT);
        for contact in contacts {
            match contact {
                Contact::Address(address) if leads_past_us(address.uri(), domains) => {
                    if let Some(hidden) = self.contact(&address, kind, local, call_id) {
                        headers.push_back(&Contact::Address(hidden));
                    }
                }
                other => headers.push_back(&other),
            }
        }
    }

    fn contact(&self, address: &NameAddr, kind: Sealed, local: &Local, call_id: &str) -> Option<NameAddr> {
        let inner = address.uri();
        let mut uri = our_uri(local, inner.user(), inner.is_sips())?;
        uri.set_param(HIDDEN, Some(&self.seal(kind, inner.as_str(), call_id)?));
        let hidden = NameAddr::new(&uri);
        let mut hidden = match address.display_name() {
            Some(name) => hidden.with_display_name(name),
            None => hidden,
        };
        for (name, value) in address.params().iter() {
            if !OF_PHONES.iter().any(|one| name.eq_ignore_ascii_case(one)) {
                hidden.set_param(name, value);
            }
        }
        Some(hidden)
    }

    /// Shows to those inside the routes that a response from outside has sealed.
    pub(super) fn open_response(&self, headers: &mut Headers) {
        let routes = uris(headers);
        if routes.iter().all(|uri| uri.param(HIDDEN).is_none()) {
            return;
        }
        let call_id = headers.text(HeaderName::CALL_ID).unwrap_or_default().to_owned();
        headers.remove(HeaderName::RECORD_ROUTE);
        for uri in routes {
            let token = uri.param(HIDDEN).flatten();
            match token.and_then(|token| self.open(Sealed::Routes, token, &call_id)) {
                Some(inner) => {
                    for uri in inner.lines().filter_map(|line| line.parse().ok()) {
                        headers.push_back(&Field::new(&uri));
                    }
                }
                None => headers.push_back(&Field::new(&uri)),
            }
        }
    }
}

fn about(kind: Sealed, call_id: &str) -> Vec<u8> {
    let mut about = vec![kind as u8];
    about.extend_from_slice(call_id.as_bytes());
    about
}

fn uris(headers: &Headers) -> Vec<Uri> {
    headers.all::<Field>().flatten().map(|field| field.uri().clone()).collect()
}

/// Whether a URI is none of ours, and one that can be hidden behind ours.
pub(super) fn leads_past_us(uri: &Uri, domains: &Domains) -> bool {
    (uri.is_sip() || uri.is_sips()) && domains.of(uri).is_none()
}

pub(super) fn our_uri(local: &Local, user: Option<&str>, sips: bool) -> Option<Uri> {
    let sips = sips.then(|| local.sips_uri(user)).flatten();
    sips.unwrap_or_else(|| local.uri(user)).ok()
}

/// How a request and its responses are hidden.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hiding {
    /// It came from outside: so many values of Record-Route were on it.
    pub(crate) from: Option<usize>,
    /// It leaves for those from whom its dialog is hidden.
    pub(crate) to: bool,
    /// It is hidden from everybody to whom it leaves, but users of ours and next hops that are trusted.
    pub(crate) outside: bool,
    /// The Vias that are on no branch that is hidden.
    pub(super) vias: Vec<Via>,
}

impl Hiding {
    /// For a request that has just come.
    pub(crate) fn of(request: &Request, from: bool, to: bool, outside: bool) -> Option<Box<Self>> {
        let from = from.then(|| uris(&request.headers).len());
        (from.is_some() || to || outside).then(|| Box::new(Self { from, to, outside, vias: Vec::new() }))
    }

    /// What the Contact of the request is sealed as.
    fn kind(hiding: Option<&Self>) -> Sealed {
        if hiding.is_some_and(|hiding| hiding.from.is_some()) { Sealed::Contact } else { Sealed::Inside }
    }
}

impl Proxy {
    /// Hides what is inside from a branch that leaves by `local`. Without a Record-Route of ours nothing would come back.
    pub(super) fn hide(&mut self, tx: ServerTx, index: usize, request: &mut Request, local: Option<&Local>) {
        let (Some(own), Some(local)) = (&self.manner.record_route, local) else { return };
        let Some(context) = self.contexts.get_mut(&tx) else { return };
        let (kind, ours) =
            (Hiding::kind(context.hiding.as_deref()), (&self.manner.domains, &self.manner.rules));
        let vias = own.seals().hide_request(request, kind, local, ours);
        context.hiding.get_or_insert_default().vias = vias;
        if let Some(branch) = context.branches.get_mut(index) {
            branch.hidden = true;
        }
    }

    /// Hides what is inside from a request that came on `path` and has no responses.
    pub(crate) fn hide_stateless(
        &self,
        request: &mut Request,
        target: &Target,
        (hiding, path): (Option<&Hiding>, &Path),
        layer: &Layer,
    ) {
        if let Some(own) = &self.manner.record_route
            && let Some(local) = leaving_from(layer.transactions.locals(), target, path)
        {
            let ours = (&self.manner.domains, &self.manner.rules);
            own.seals().hide_request(request, Hiding::kind(hiding), local, ours);
        }
    }

    /// Shows to those inside what was hidden from the branch that answers, and hides from those outside what the answer tells.
    pub(super) fn unhide(&self, tx: ServerTx, index: usize, response: &mut Response, layer: &Layer) {
        let Some(context) = self.contexts.get(&tx) else { return };
        let (Some(hiding), Some(own)) = (&context.hiding, &self.manner.record_route) else { return };
        let outside = context.branches.get(index).is_some_and(|branch| branch.hidden);
        if outside {
            response.headers.remove(HeaderName::VIA);
            hiding.vias.iter().rev().for_each(|via| response.headers.push_front(via));
            own.seals().open_response(&mut response.headers);
        }
        if let (Some(outer), Some(local)) = (hiding.from, layer.transactions.locals().at(&context.path)) {
            let kind = if outside { Sealed::Contact } else { Sealed::Inside };
            own.seals().hide_response(&mut response.headers, outer, kind, local, &self.manner.domains);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seals() -> Seals {
        Seals::new([7; 16], [(1, 2), (3, 4)])
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_opened_for_its_dialog_alone(text in "\\PC{0,200}", call_id in "\\PC{0,40}", other in "\\PC{0,40}") {
            let token = seals().seal(Sealed::Contact, &text, &call_id).unwrap();
            prop_assert_eq!(&token, &seals().seal(Sealed::Contact, &text, &call_id).unwrap(), "the same each time");
            prop_assert_eq!(seals().open(Sealed::Contact, &token, &call_id), Some(text.clone()));
            prop_assert_eq!(seals().open(Sealed::Routes, &token, &call_id), None, "for nothing else");
            let another = Seals::new([8; 16], [(1, 2), (3, 4)]);
            prop_assert_eq!(another.open(Sealed::Contact, &token, &call_id), None, "by nobody else");
            if other != call_id {
                prop_assert_eq!(seals().open(Sealed::Contact, &token, &other), None);
            }
            let uri: Uri = format!("sip:bob@192.0.2.1;th={token}").parse().unwrap();
            prop_assert_eq!(uri.param(HIDDEN).flatten(), Some(&token[..]), "it can stand in a URI as it is");
        }

        #[test]
        fn a_changed_seal_is_not_opened(at in any::<prop::sample::Index>(), bit in 0..6_u32) {
            let mut token = seals().seal(Sealed::Routes, "sip:192.0.2.1;lr", "c").unwrap().into_bytes();
            let at = at.index(token.len());
            let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let value = digits.iter().position(|digit| *digit == token[at]).unwrap();
            token[at] = digits[value ^ (1 << bit)];
            prop_assert_eq!(seals().open(Sealed::Routes, &String::from_utf8(token).unwrap(), "c"), None);
        }
    }
}
