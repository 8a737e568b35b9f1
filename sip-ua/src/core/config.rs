//! What a phone is told once.

use sip_message::Uri;
use sip_message::headers::{InstanceId, NameAddr, Route};
use sip_transport::proxy_protocol::Network;

use super::AnswerPolicy;

/// How a phone behaves.
#[derive(Clone, Debug)]
pub struct PhoneConfig {
    /// The dialog layer and what is below it.
    pub dialogs: sip_dialog::Config,
    /// Who we are: the From of what we send, and the address-of-record that we register.
    pub identity: NameAddr,
    /// User name and password for whoever challenges us; the user of [`identity`](Self::identity) if it is empty.
    pub credentials: Option<(String, String)>,
    /// Proxies that every request passes first.
    pub route: Vec<Route>,
    /// Where to register; the domain of [`identity`](Self::identity) if it is not set.
    pub registrar: Option<Uri>,
    /// Seconds that a registration is asked for.
    pub expires: u32,
    /// Who this phone is, whatever its address: it registers the flow itself then, and keeps it alive (RFC 5626). It has to be the
    /// same after each start. `None`: it registers its address alone.
    pub instance: Option<InstanceId>,
    /// Outbound proxies in the place of [`route`](Self::route), a flow over each (RFC 5626 §4.2.1): calls take any that works, and
    /// one that dies is made anew while the others go on. Four at most are used, and without an
    /// [`instance`](Self::instance) the first alone.
    pub outbound_proxies: Vec<Uri>,
    /// Neighbours that belong to our trust domain (RFC 3325 §2.3): what they say of who calls is believed. None unless it is set.
    pub trusted: Vec<Network>,
    /// Calls that may be answered without anybody at hand; `answermode` is supported then (RFC 5373). `None`: none, and who
    /// requires it is answered 420.
    pub answer_policy: Option<AnswerPolicy>,
    /// What the phone can do, told in the Contact of its registration (RFC 3840): names such as `audio` or `+sip.example`, and
    /// their values, none for a flag.
    pub features: Vec<(String, Vec<String>)>,
    /// Takes messages (RFC 3428): [`PhoneEvent::Message`](super::PhoneEvent::Message) tells them.
    pub messages: bool,
    /// Types of messages that the owner reads itself, such as `application/vnd.example`. Texts, envelopes, receipts and who is
    /// writing are read without being named here, all else is answered 415.
    pub message_types: Vec<String>,
    /// Tells senders who ask for it that their message has been delivered (RFC 5438 §7.2.1.1).
    pub delivery_receipts: bool,
    /// Packages that the owner notifies about (RFC 6665 §4.2): [`PhoneEvent::SubscriptionRequested`](super::PhoneEvent::SubscriptionRequested)
    /// tells who subscribes.
    pub notifies: Vec<String>,
    /// Offers the next hop of a registration to keep the way to it alive, and does so if it agrees (RFC 6223).
    pub offer_keep_alive: bool,
}

impl PhoneConfig {
    /// An hour, as phones ask for.
    pub const EXPIRES: u32 = 3600;

    /// A phone for `identity` over this dialog layer.
    pub fn new(identity: NameAddr, dialogs: sip_dialog::Config) -> Self {
        Self {
            dialogs,
            identity,
            credentials: None,
            route: Vec::new(),
            registrar: None,
            expires: Self::EXPIRES,
            instance: None,
            outbound_proxies: Vec::new(),
            trusted: Vec::new(),
            answer_policy: None,
            features: Vec::new(),
            messages: true,
            message_types: Vec::new(),
            delivery_receipts: true,
            notifies: Vec::new(),
            offer_keep_alive: true,
        }
    }
}
