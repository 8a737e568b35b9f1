//! `application/reginfo+xml`: who is registered where (RFC 3680), with GRUUs (RFC 5628).
//!
//! A notifier numbers its documents; a subscriber puts them into a [`RegistrationTable`].

use std::collections::BTreeMap;

use super::dialog_info::words;
use super::xml::{self, Element, Writer};
use super::{Completeness, DocumentError, MAX_ROWS, Update, update};
use crate::event::Body;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:reginfo";
const GRUU: &str = "urn:ietf:params:xml:ns:gruuinfo";
const NAMESPACES: &[&str] = &[NAMESPACE, GRUU];

words! {
    /// Where a registration stands (§3.7.1).
    RegistrationState {
        /// Nothing is bound.
        Init "init",
        /// Something is bound.
        Active "active",
        /// The last binding is gone.
        Terminated "terminated",
    }
}

words! {
    /// Where a contact stands (§3.7.2).
    ContactState {
        /// It is bound.
        Active "active",
        /// It is bound no more.
        Terminated "terminated",
    }
}

words! {
    /// What happened to a contact (§3.7.2).
    ContactEvent {
        /// A REGISTER bound it.
        Registered "registered",
        /// It was bound by other means.
        Created "created",
        /// A REGISTER refreshed it.
        Refreshed "refreshed",
        /// Its time was made shorter: the phone shall register anew.
        Shortened "shortened",
        /// It was not refreshed.
        Expired "expired",
        /// It was taken away; to be registered anew at once.
        Deactivated "deactivated",
        /// It was taken away; to be registered anew later.
        Probation "probation",
        /// A REGISTER removed it.
        Unregistered "unregistered",
        /// It was taken away for good.
        Rejected "rejected",
    }
}

/// A document (§5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegInfo {
    /// Its number within the subscription.
    pub version: u32,
    /// Whether it holds everything.
    pub completeness: Completeness,
    /// The addresses-of-record.
    pub registrations: Vec<Registration>,
}

/// An address-of-record and its contacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The address-of-record.
    pub aor: String,
    /// Names it within the subscription.
    pub id: String,
    /// Where it stands.
    pub state: RegistrationState,
    /// Its contacts.
    pub contacts: Vec<RegisteredContact>,
}

/// A contact of an address-of-record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredContact {
    /// Names it within the subscription.
    pub id: String,
    /// Where it stands.
    pub state: ContactState,
    /// What brought it there.
    pub event: ContactEvent,
    /// The URI.
    pub uri: String,
    /// The display name.
    pub display_name: Option<String>,
    /// Seconds that are left.
    pub expires: Option<u64>,
    /// Seconds after which to register anew, after probation.
    pub retry_after: Option<u64>,
    /// Seconds since it was bound.
    pub duration_registered: Option<u64>,
    /// Its preference, as written.
    pub q: Option<String>,
    /// The Call-ID of the REGISTER.
    pub call_id: Option<String>,
    /// The CSeq of the REGISTER.
    pub cseq: Option<u64>,
    /// Parameters that RFC 3261 does not have, by name and value: features of the phone.
    pub params: Vec<(String, String)>,
    /// The public GRUU (RFC 5628 §4).
    pub public_gruu: Option<String>,
    /// The newest temporary GRUU, and the CSeq of the first REGISTER whose temporary GRUUs are still valid.
    pub temporary_gruu: Option<(String, Option<u64>)>,
}

impl RegisteredContact {
    /// A contact of which nothing else is known.
    pub fn new(id: &str, uri: &str, state: ContactState, event: ContactEvent) -> Self {
        Self {
            id: id.into(),
            state,
            event,
            uri: uri.into(),
            display_name: None,
            expires: None,
            retry_after: None,
            duration_registered: None,
            q: None,
            call_id: None,
            cseq: None,
            params: Vec::new(),
            public_gruu: None,
            temporary_gruu: None,
        }
    }

    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let bad = |what| DocumentError::Malformed { element: "contact", what };
        let gruu = |name: &'static str| element.children_of(GRUU, name).next();
        let temporary =
            gruu("temp-gruu").and_then(|gruu| Some((gruu.owned("uri")?, gruu.number("first-cseq"))));
        let param = |param: &Element| Some((param.owned("name")?, param.text().to_owned()));
        Ok(Self {
            id: element.owned("id").ok_or(bad("id"))?,
            state: element.attribute("state").and_then(ContactState::parse).ok_or(bad("state"))?,
            event: element.attribute("event").and_then(ContactEvent::parse).ok_or(bad("event"))?,
            uri: element.child("uri").ok_or(bad("uri"))?.text().into(),
            display_name: element.child("display-name").map(|name| name.text().into()),
            expires: element.number("expires"),
            retry_after: element.number("retry-after"),
            duration_registered: element.number("duration-registered"),
            q: element.owned("q"),
            call_id: element.owned("callid"),
            cseq: element.number("cseq"),
            params: element.children("unknown-param").filter_map(param).collect(),
            public_gruu: gruu("pub-gruu").and_then(|gruu| gruu.owned("uri")),
            temporary_gruu: temporary,
        })
    }

    fn write(&self, out: &mut Writer) {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let (expires, retry) = (number(self.expires), number(self.retry_after));
        let (duration, cseq) = (number(self.duration_registered), number(self.cseq));
        out.start(
            "contact",
            &[
                ("id", Some(&self.id)),
                ("state", Some(self.state.as_str())),
                ("event", Some(self.event.as_str())),
                ("expires", expires.as_deref()),
                ("retry-after", retry.as_deref()),
                ("duration-registered", duration.as_deref()),
                ("q", self.q.as_deref()),
                ("callid", self.call_id.as_deref()),
                ("cseq", cseq.as_deref()),
            ],
        );
        out.leaf("uri", &[], &self.uri);
        if let Some(name) = &self.display_name {
            out.leaf("display-name", &[], name);
        }
        for (name, value) in &self.params {
            out.leaf("unknown-param", &[("name", Some(name))], value);
        }
        if let Some(uri) = &self.public_gruu {
            out.leaf("gr:pub-gruu", &[("uri", Some(uri))], "");
        }
        if let Some((uri, first)) = &self.temporary_gruu {
            let first = number(*first);
            out.leaf("gr:temp-gruu", &[("uri", Some(uri)), ("first-cseq", first.as_deref())], "");
        }
        out.end();
    }
}

impl RegInfo {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "application/reginfo+xml";

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no document of this kind, or passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        let root = xml::read(octets, NAMESPACES)?;
        let bad = |what| DocumentError::Malformed { element: "reginfo", what };
        if !root.is(NAMESPACE, "reginfo") {
            return Err(bad("the root"));
        }
        let completeness = root.attribute("state").and_then(Completeness::parse);
        let registrations: Result<Vec<Registration>, DocumentError> =
            root.children("registration").map(Registration::parse).collect();
        Ok(Self {
            version: root.number("version").ok_or(bad("version"))?,
            completeness: completeness.ok_or(bad("state"))?,
            registrations: registrations?,
        })
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        let mut out = Writer::new();
        let contacts = || self.registrations.iter().flat_map(|registration| &registration.contacts);
        let gruus = contacts().any(|it| it.public_gruu.is_some() || it.temporary_gruu.is_some());
        out.start(
            "reginfo",
            &[
                ("xmlns", Some(NAMESPACE)),
                ("xmlns:gr", gruus.then_some(GRUU)),
                ("version", Some(&self.version.to_string())),
                ("state", Some(self.completeness.as_str())),
            ],
        );
        for registration in &self.registrations {
            let attributes = [
                ("aor", Some(registration.aor.as_str())),
                ("id", Some(registration.id.as_str())),
                ("state", Some(registration.state.as_str())),
            ];
            if registration.contacts.is_empty() {
                out.leaf("registration", &attributes, "");
                continue;
            }
            out.start("registration", &attributes);
            registration.contacts.iter().for_each(|contact| contact.write(&mut out));
            out.end();
        }
        out.finish()
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_xml().into() }
    }
}

impl Registration {
    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let bad = |what| DocumentError::Malformed { element: "registration", what };
        let contacts: Result<Vec<RegisteredContact>, DocumentError> =
            element.children("contact").map(RegisteredContact::parse).collect();
        Ok(Self {
            aor: element.owned("aor").ok_or(bad("aor"))?,
            id: element.owned("id").ok_or(bad("id"))?,
            state: element.attribute("state").and_then(RegistrationState::parse).ok_or(bad("state"))?,
            contacts: contacts?,
        })
    }
}

/// What a subscriber knows of registrations (§5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrationTable {
    version: Option<u32>,
    rows: BTreeMap<String, (Registration, BTreeMap<String, RegisteredContact>)>,
    contacts: usize,
}

impl RegistrationTable {
    /// A table that has seen no document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a document in. A contact that is gone can be seen until the next one.
    pub fn receive(&mut self, document: RegInfo) -> Update {
        let update = update(self.version, document.version, document.completeness);
        if update == Update::Stale {
            return update;
        }
        self.version = Some(document.version);
        if document.completeness == Completeness::Full {
            self.rows.clear();
        }
        for (_, contacts) in self.rows.values_mut() {
            contacts.retain(|_, contact| contact.state == ContactState::Active);
        }
        self.rows.retain(|_, (registration, contacts)| {
            registration.state != RegistrationState::Terminated || !contacts.is_empty()
        });
        self.contacts = self.rows.values().map(|(_, contacts)| contacts.len()).sum();
        for mut registration in document.registrations {
            let contacts = std::mem::take(&mut registration.contacts);
            if self.rows.len() >= MAX_ROWS && !self.rows.contains_key(&registration.id) {
                continue;
            }
            let row = self.rows.entry(registration.id.clone());
            let (known, table) = row.or_insert_with(|| (registration.clone(), BTreeMap::new()));
            *known = registration;
            for contact in contacts {
                if self.contacts < MAX_ROWS || table.contains_key(&contact.id) {
                    let new = table.insert(contact.id.clone(), contact).is_none();
                    self.contacts = self.contacts.saturating_add(usize::from(new));
                }
            }
        }
        update
    }

    /// The registrations by id, without their contacts.
    pub fn registrations(&self) -> impl Iterator<Item = &Registration> {
        self.rows.values().map(|(registration, _)| registration)
    }

    /// The contacts of the registration of this id.
    pub fn contacts(&self, registration: &str) -> impl Iterator<Item = &RegisteredContact> {
        self.rows.get(registration).into_iter().flat_map(|(_, contacts)| contacts.values())
    }
}
