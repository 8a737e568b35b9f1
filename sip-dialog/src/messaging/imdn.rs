//! Whether a message was delivered, processed and shown (RFC 5438): headers of [`Cpim`] that ask for it, and
//! `message/imdn+xml` documents that tell.
//!
//! [`Imdn::answer`] makes the message that tells, and knows who may tell what: no notification is told of a notification,
//! and `processing` is told by servers alone.

use super::cpim::{self, Cpim, CpimAddress, SUBJECT};
use crate::packages::DocumentError;
use crate::packages::dialog_info::words;
use crate::packages::presence::{Extension, Note};
use crate::packages::xml::{self, Element, Vocabulary};

/// The namespace of the headers (§6.1).
pub const NAMESPACE: &str = "urn:ietf:params:imdn";
/// The headers, which a message may require (§6).
pub(super) const HEADERS: [&str; 5] = [MESSAGE_ID, DISPOSITION, ORIGINAL_TO, RECORD_ROUTE, ROUTE];

const PREFIX: &str = "imdn";
const MESSAGE_ID: &str = "Message-ID";
const DISPOSITION: &str = "Disposition-Notification";
const ORIGINAL_TO: &str = "Original-To";
const RECORD_ROUTE: &str = "IMDN-Record-Route";
const ROUTE: &str = "IMDN-Route";

const XML_NAMESPACE: &str = "urn:ietf:params:xml:ns:imdn";
const VOCABULARY: Vocabulary = Vocabulary { namespace: XML_NAMESPACE, prefixes: &[], declaring: None };

words! {
    /// What a sender asks to be told (§6.2).
    Disposition {
        /// That it was delivered.
        PositiveDelivery "positive-delivery",
        /// That it could not be delivered.
        NegativeDelivery "negative-delivery",
        /// That a server has it.
        Processing "processing",
        /// That it was shown.
        Display "display",
    }
}

words! {
    /// What became of the delivery (§11.1.7).
    DeliveryStatus {
        /// It is there.
        Delivered "delivered",
        /// It could not be brought.
        Failed "failed",
        /// Nobody is told.
        Forbidden "forbidden",
        /// A server has failed.
        Error "error",
    }
}

words! {
    /// What a server does with it (§11.1.7).
    ProcessingStatus {
        /// It goes on.
        Processed "processed",
        /// It waits for the recipient.
        Stored "stored",
        /// Nobody is told.
        Forbidden "forbidden",
        /// A server has failed.
        Error "error",
    }
}

words! {
    /// Whether it was shown (§11.1.7).
    DisplayStatus {
        /// It was.
        Displayed "displayed",
        /// Nobody is told.
        Forbidden "forbidden",
        /// It cannot be known.
        Error "error",
    }
}

/// What is told (§11.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notification {
    /// Of the delivery.
    Delivery(DeliveryStatus),
    /// Of what a server does.
    Processing(ProcessingStatus),
    /// Of its being shown.
    Display(DisplayStatus),
}

impl Notification {
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Delivery(status) => ("delivery-notification", status.as_str()),
            Self::Processing(status) => ("processing-notification", status.as_str()),
            Self::Display(status) => ("display-notification", status.as_str()),
        }
    }

    fn parse(element: &Element) -> Option<Self> {
        let status = || element.child("status")?.elements().find(|it| it.is(XML_NAMESPACE, it.name()));
        match element.name() {
            "delivery-notification" => DeliveryStatus::parse(status()?.name()).map(Self::Delivery),
            "processing-notification" => ProcessingStatus::parse(status()?.name()).map(Self::Processing),
            "display-notification" => DisplayStatus::parse(status()?.name()).map(Self::Display),
            _ => None,
        }
    }

    /// What a sender must have asked for to be told this (§7.1.1.3).
    pub fn asked_by(self) -> Disposition {
        match self {
            Self::Delivery(DeliveryStatus::Delivered) => Disposition::PositiveDelivery,
            Self::Delivery(_) => Disposition::NegativeDelivery,
            Self::Processing(_) => Disposition::Processing,
            Self::Display(_) => Disposition::Display,
        }
    }
}

/// Who tells (§7.2, §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Teller {
    /// The recipient: of delivery and display.
    Recipient,
    /// A server on the way: of processing, and of a delivery that failed.
    Intermediary,
}

/// Why nothing is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTold {
    /// The message tells of another one itself (§7.2.1).
    #[error("the message is a notification itself, of which none is told")]
    Notification,
    /// Its sender did not ask.
    #[error("the sender has not asked for {}", .0.as_str())]
    NotAsked(Disposition),
    /// It is for others to tell.
    #[error("this one tells nothing about that")]
    NotOurs,
    /// Without a Message-ID nobody could tell which message it is about (§6.3).
    #[error("the message has no Message-ID")]
    NoMessageId,
    /// Without a From there is nobody to tell.
    #[error("the message has no From")]
    NoSender,
}

/// A document (§11.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imdn {
    /// The Message-ID of the message it is about.
    pub message_id: String,
    /// When that was sent: a date and time of RFC 3339, as written.
    pub date_time: String,
    /// Who got it.
    pub recipient_uri: Option<String>,
    /// To whom it was sent first.
    pub original_recipient_uri: Option<String>,
    /// What it is about, and in which language.
    pub subject: Option<Note>,
    /// What is told; `None` if only others have a word for it.
    pub notification: Option<Notification>,
    /// What others have defined.
    pub extensions: Vec<Extension>,
}

impl Imdn {
    /// The type of the document.
    pub const CONTENT_TYPE: &'static str = "message/imdn+xml";

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no document of this kind, or passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        let root = xml::read_whole(octets, &VOCABULARY)?;
        let bad = |what| DocumentError::Malformed { element: "imdn", what };
        if !root.is(XML_NAMESPACE, "imdn") {
            return Err(bad("the root"));
        }
        let text = |name| root.child(name).map(|child| child.text().to_owned());
        let ours = root.elements().filter(|child| child.namespace() == XML_NAMESPACE);
        Ok(Self {
            message_id: text("message-id").ok_or(bad("message-id"))?,
            date_time: text("datetime").ok_or(bad("datetime"))?,
            recipient_uri: text("recipient-uri"),
            original_recipient_uri: text("original-recipient-uri"),
            subject: root.child("subject").map(Note::parse),
            notification: ours.into_iter().find_map(Notification::parse),
            extensions: root.elements().filter(|it| it.namespace() != XML_NAMESPACE).cloned().collect(),
        })
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        let mut root = Element::of(XML_NAMESPACE, "imdn");
        root.push_leaf(XML_NAMESPACE, "message-id", &self.message_id);
        root.push_leaf(XML_NAMESPACE, "datetime", &self.date_time);
        let uris = [
            ("recipient-uri", &self.recipient_uri),
            ("original-recipient-uri", &self.original_recipient_uri),
        ];
        for (name, uri) in uris {
            if let Some(uri) = uri {
                root.push_leaf(XML_NAMESPACE, name, uri);
            }
        }
        root.push_all(self.subject.iter().map(|subject| subject.named(XML_NAMESPACE, "subject")));
        if let Some((notification, status)) = self.notification.map(Notification::parts) {
            let status = Element::of(XML_NAMESPACE, "status").with_child(Element::of(XML_NAMESPACE, status));
            root.push(Element::of(XML_NAMESPACE, notification).with_child(status));
        }
        root.push_all(self.extensions.iter().cloned());
        xml::document(&root, &VOCABULARY)
    }

    /// What tells this about a message, if it is to be told: its sender has asked, it is no notification itself, and
    /// `teller` is who tells such things. `id` is the Message-ID of the answer, at least 64 bits of randomness (§6.3).
    /// Send it to [`Cpim::next_hop`], and no second one of the same kind for the same message.
    ///
    /// # Errors
    /// If it is not to be told.
    pub fn answer(
        message: &Cpim,
        notification: Notification,
        teller: Teller,
        id: &str,
    ) -> Result<Cpim, NotTold> {
        if message.is_notification() {
            return Err(NotTold::Notification);
        }
        let asked = notification.asked_by();
        if !message.asks_for().contains(&asked) {
            return Err(NotTold::NotAsked(asked));
        }
        let ours = match notification {
            Notification::Processing(_) => teller == Teller::Intermediary,
            Notification::Delivery(DeliveryStatus::Delivered) | Notification::Display(_) => {
                teller == Teller::Recipient
            }
            Notification::Delivery(_) => true,
        };
        if !ours {
            return Err(NotTold::NotOurs);
        }
        let recipient = message.to().into_iter().next();
        let subject = message.all(cpim::NAMESPACE, SUBJECT).next();
        let document = Self {
            message_id: message.message_id().ok_or(NotTold::NoMessageId)?,
            date_time: message.date_time().unwrap_or_default().into_owned(),
            recipient_uri: recipient.as_ref().map(|recipient| recipient.uri.clone()),
            original_recipient_uri: message.original_to().map(|original| original.uri),
            subject: subject.map(|subject| Note {
                text: subject.value().into_owned(),
                language: subject.language().map(Into::into),
            }),
            notification: Some(notification),
            extensions: Vec::new(),
        };
        let mut answer = Cpim::new(Self::CONTENT_TYPE, document.to_xml());
        answer.push_field("Content-Disposition", "notification");
        if let Some(recipient) = &recipient {
            answer.push_from(recipient);
        }
        answer.push_to(&message.from().ok_or(NotTold::NoSender)?);
        answer.push_of(NAMESPACE, PREFIX, MESSAGE_ID, id);
        for route in message.record_routes() {
            answer.push_address_of(NAMESPACE, PREFIX, ROUTE, &route);
        }
        Ok(answer)
    }
}

impl Cpim {
    /// Asks to be told about this message. `id` is at least 64 bits of randomness (§6.3); the message needs a DateTime also
    /// (§7.1.1.2).
    pub fn ask_for(&mut self, id: &str, dispositions: &[Disposition]) {
        self.push_of(NAMESPACE, PREFIX, MESSAGE_ID, id);
        let words: Vec<&str> = dispositions.iter().map(|disposition| disposition.as_str()).collect();
        self.push_of(NAMESPACE, PREFIX, DISPOSITION, &words.join(", "));
    }

    /// What its sender asks to be told; words that are not known are ignored (§7.2.1), and so is all in a notification.
    pub fn asks_for(&self) -> Vec<Disposition> {
        if self.is_notification() {
            return Vec::new();
        }
        let headers = self.all(NAMESPACE, DISPOSITION);
        let words = headers.flat_map(|header| header.raw().split(','));
        words.filter_map(|word| Disposition::parse(word.split(';').next()?.trim())).collect()
    }

    /// What names the message (§6.3).
    pub fn message_id(&self) -> Option<String> {
        let id = self.all(NAMESPACE, MESSAGE_ID).next()?.value().trim().to_owned();
        Some(id).filter(|id| !id.is_empty())
    }

    /// To whom it was sent before a server made it one for somebody else (§6.4).
    pub fn original_to(&self) -> Option<CpimAddress> {
        self.all(NAMESPACE, ORIGINAL_TO).next().and_then(|header| CpimAddress::parse(header.raw()))
    }

    /// Says to whom it was sent, unless somebody has said so before (§8).
    pub fn set_original_to(&mut self, original: &CpimAddress) {
        if self.all(NAMESPACE, ORIGINAL_TO).next().is_none() {
            self.push_address_of(NAMESPACE, PREFIX, ORIGINAL_TO, original);
        }
    }

    /// The servers that want to see what is told of it, the next one first (§6.5).
    pub fn record_routes(&self) -> Vec<CpimAddress> {
        self.all(NAMESPACE, RECORD_ROUTE).filter_map(|header| CpimAddress::parse(header.raw())).collect()
    }

    /// Has a server see what is told of the message, before all others that do (§8).
    pub fn record_route(&mut self, server: &CpimAddress) {
        self.insert_address_of(NAMESPACE, PREFIX, RECORD_ROUTE, server);
    }

    /// The servers that it is to pass, the next one first (§6.6).
    pub fn routes(&self) -> Vec<CpimAddress> {
        self.all(NAMESPACE, ROUTE).filter_map(|header| CpimAddress::parse(header.raw())).collect()
    }

    /// Takes a server off the route of a notification if it is the next one (§8).
    pub fn pass(&mut self, server: &str) {
        if self.routes().first().is_some_and(|first| first.uri == server) {
            self.remove_first(NAMESPACE, ROUTE);
        }
    }

    /// Where a notification goes: to the next server on its route, or to whom it is for (§7.2.1).
    pub fn next_hop(&self) -> Option<String> {
        self.routes().into_iter().chain(self.to()).next().map(|next| next.uri)
    }

    /// Whether it tells of another message (§9): by its content, or by what it is for.
    pub fn is_notification(&self) -> bool {
        let is = |name: &str, value: &str| {
            let found = self.field(name).and_then(|found| found.split(';').next());
            found.is_some_and(|found| found.trim().eq_ignore_ascii_case(value))
        };
        is("Content-Type", Imdn::CONTENT_TYPE) || is("Content-Disposition", "notification")
    }
}
