//! Where we can be reached: the Contact of each dialog (RFC 3261 §8.1.1.8, §12.1.1, RFC 5627).

use sip_message::Uri;
use sip_message::headers::Contact;
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
            return Ok(Contact::new(gruu));
        }
        let mut uri = uri_of(self.local_for(hop)?, user, hop.is_sips())?;
        if self.config.outbound {
            uri.set_param("ob", None);
        }
        Ok(Contact::new(&uri))
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
    pub fn relocate(&mut self, locals: &Locals) {
        self.config.transaction.locals = locals.clone();
        self.transactions.set_locals(locals.clone());
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
            return Ok(Contact::new(gruu));
        }
        let local = self.config.transaction.locals.at(path).ok_or(Error::NoListener)?;
        let uri = uri_of(local, user, secure).or_else(|_| uri_of(local, None, secure))?;
        Ok(Contact::new(&uri))
    }
}

fn relocate_dialog(locals: &Locals, gruu: Option<&Uri>, dialog: &mut Dialog) {
    if let Some(contact) = moved(locals, gruu, dialog.contact(), dialog.next_hop()) {
        dialog.set_contact(contact);
    }
}

/// A Contact as it has to be with these listeners, for requests that come by `hop`.
fn moved(locals: &Locals, gruu: Option<&Uri>, old: &Contact, hop: &Uri) -> Option<Contact> {
    let old = old.uri()?;
    if let Some(gruu) = gruu.filter(|gruu| gruu.is_sips() == old.is_sips()) {
        return Some(Contact::new(gruu));
    }
    let mut uri = uri_of(listener_for(locals, hop).ok()?, old.user(), old.is_sips()).ok()?;
    if old.has_ob() {
        uri.set_param("ob", None);
    }
    Some(Contact::new(&uri))
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
