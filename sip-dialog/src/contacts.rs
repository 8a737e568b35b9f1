//! Where we can be reached: the Contact of each dialog (RFC 3261 §8.1.1.8, §12.1.1, RFC 5627).

use std::time::Instant;

use sip_message::headers::{Contact, Route};
use sip_message::{Method, Request, Uri};
use sip_transport::locals::parse_ip;
use sip_transport::{Local, Locals, Path, Transport};

use crate::dialog::Dialog;
use crate::event::Error;
use crate::layer::Dialogs;

impl Dialogs {
    /// Has dialogs from now on name this URI as our Contact, or the listener's address again (RFC 5627 §4.4).
    pub fn use_gruu(&mut self, gruu: Option<Uri>) {
        self.gruu = gruu;
    }

    /// The Contact of a call that takes `hop`, by which we can be reached from there: a `sips` URI if the hop's is one (RFC 3261 §8.1.1.8), else a
    /// `sip` one, over TLS too (RFC 5630 §5.1.1.2).
    ///
    /// # Errors
    /// Without a listener of the hop's transport, and for a `sips` hop without a secure one.
    pub fn contact_for(&self, user: Option<&str>, hop: &Uri) -> Result<Contact, Error> {
        if let Some(gruu) = self.gruu.as_ref().filter(|gruu| gruu.is_sips() == hop.is_sips()) {
            return Ok(self.contact_of(gruu));
        }
        let mut uri = uri_of(self.local_for(hop)?, user, hop.is_sips())?;
        if self.config.outbound {
            uri.set_param("ob", None);
        }
        Ok(self.contact_of(&uri))
    }

    fn contact_of(&self, uri: &Uri) -> Contact {
        let contact = Contact::new(uri);
        if self.config.focus { contact.with_feature("isfocus", &[]) } else { contact }
    }

    /// The same with the scheme that the caller chooses: a REGISTER may have a `sips` Contact only if its Request-URI is
    /// `sips` too (RFC 5630 §5.2), whatever its Route.
    ///
    /// # Errors
    /// As for [`contact_for`](Dialogs::contact_for).
    pub fn contact_as(&self, user: Option<&str>, hop: &Uri, sips: bool) -> Result<Contact, Error> {
        let uri = uri_of(self.local_for(hop)?, user, sips)?;
        Ok(Contact::new(&uri))
    }

    /// The listener from which `hop` is best reached: of its transport and address family, as far as the URI tells.
    ///
    /// # Errors
    /// Without any listener.
    pub fn local_for(&self, hop: &Uri) -> Result<&Local, Error> {
        listener_for(&self.config.transaction.locals, hop)
    }

    /// Takes what the network has become: the listeners are these from now on, and every dialog has the Contact that leads
    /// to the one that suits it. A request in each tells its peer (RFC 3261 §12.2.1.2); that is the application's to send.
    /// Requests over UDP that nothing was answered to are sent again from there, with that Contact.
    pub fn relocate(&mut self, now: Instant, locals: &Locals) {
        let before = std::mem::replace(&mut self.config.transaction.locals, locals.clone());
        let gruu = self.gruu.as_ref();
        let rewrite = |request: &mut Request| {
            let Some(hop) = hop_of(request) else { return };
            if *request.method() == Method::Register {
                return; // its Contacts are what it is about, and its sender makes another one
            }
            let old = request.headers.get::<Contact>().ok().flatten();
            // A Contact that names somebody else is the application's.
            let ours = old.filter(|old| old.uri().is_some_and(|uri| before.is_ours(uri.host(), uri.port())));
            let Some(old) = ours else { return };
            if let Some(uri) = moved(locals, gruu, &old, &hop).as_ref().and_then(Contact::uri) {
                request.headers.set(&old.with_uri(uri));
            }
        };
        // Those that a challenge has sent again.
        self.sent.values_mut().for_each(|sent| rewrite(&mut sent.request));
        self.transactions.relocate(now, locals.clone(), rewrite, &mut self.out);
        let gruu = self.gruu.as_ref();
        for call in self.calls.values_mut() {
            let early = call.setup.iter_mut().flat_map(|setup| &mut setup.early);
            for dialog in early.map(|early| &mut early.dialog).chain(&mut call.dialog) {
                relocate_dialog(locals, gruu, dialog);
            }
            if let Some(setup) = &mut call.setup
                && let Some(contact) =
                    setup.hop.as_ref().and_then(|hop| moved(locals, gruu, &setup.contact, hop))
            {
                setup.contact = contact;
            }
        }
        for dialog in self.subscriptions.own_dialogs() {
            relocate_dialog(locals, gruu, dialog);
        }
    }

    /// The Contact of the listener that a request came to, as `sips` URI if the dialog is one of `sips` (RFC 3261 §12.1.1).
    pub(crate) fn contact_at(&self, user: Option<&str>, path: &Path, secure: bool) -> Result<Contact, Error> {
        if let Some(gruu) = self.gruu.as_ref().filter(|gruu| gruu.is_sips() == secure) {
            return Ok(self.contact_of(gruu));
        }
        let local = self.config.transaction.locals.at(path).ok_or(Error::NoListener)?;
        let uri = uri_of(local, user, secure).or_else(|_| uri_of(local, None, secure))?;
        Ok(self.contact_of(&uri))
    }
}

/// Where a request goes first.
fn hop_of(request: &Request) -> Option<Uri> {
    match request.headers.get::<Route>().ok()? {
        Some(route) => Some(route.uri().clone()),
        None => request.uri().ok(),
    }
}

fn relocate_dialog(locals: &Locals, gruu: Option<&Uri>, dialog: &mut Dialog) {
    if let Some(contact) = moved(locals, gruu, dialog.contact(), dialog.next_hop()) {
        dialog.set_contact(contact);
    }
}

/// A Contact as it has to be with these listeners, for requests that come by `hop`.
fn moved(locals: &Locals, gruu: Option<&Uri>, contact: &Contact, hop: &Uri) -> Option<Contact> {
    let is_focus = contact.features("isfocus").is_some();
    let contact_of = |uri: &Uri| {
        let contact = Contact::new(uri);
        if is_focus { contact.with_feature("isfocus", &[]) } else { contact }
    };
    let old = contact.uri()?;
    if let Some(gruu) = gruu.filter(|gruu| gruu.is_sips() == old.is_sips()) {
        return Some(contact_of(gruu));
    }
    let mut uri = uri_of(listener_for(locals, hop).ok()?, old.user(), old.is_sips()).ok()?;
    if old.has_ob() {
        uri.set_param("ob", None);
    }
    Some(contact_of(&uri))
}

/// The listener from which `hop` is best reached.
fn listener_for<'l>(locals: &'l Locals, hop: &Uri) -> Result<&'l Local, Error> {
    let transport = Transport::of_uri(hop).unwrap_or(Transport::Udp);
    let host = hop.maddr().unwrap_or(hop.host());
    let remote = parse_ip(host).map(|ip| (ip, hop.port().unwrap_or(transport.default_port())).into());
    let by_path = |transport| remote.and_then(|remote| locals.for_path(transport, remote));
    let by_transport = |transport| locals.iter().find(|local| local.transport == transport);
    by_path(transport)
        .or_else(|| by_transport(transport))
        .or_else(|| by_path(Transport::Tcp))
        .or_else(|| locals.iter().next())
        .ok_or(Error::NoListener)
}

fn uri_of(local: &Local, user: Option<&str>, secure: bool) -> Result<Uri, Error> {
    let uri = if secure { local.sips_uri(user).ok_or(Error::NoListener)? } else { local.uri(user) };
    uri.map_err(|_| Error::NoListener)
}
