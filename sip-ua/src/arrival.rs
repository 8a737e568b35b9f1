//! What a call that comes in says of itself. Each is read when it is asked for.

use sip_message::Header;
use sip_message::headers::{AlertInfo, Diversion, HistoryInfo, NameAddr, Privacy, Reason, UserToUser};
use sip_transport::proxy_protocol::{Network, NetworkError};

use crate::builder::PhoneBuilder;
use crate::call::IncomingCall;
use crate::core::{AnswerPolicy, HowToAnswer};
use crate::shell::Ended;
use sip_dialog::Cause;

impl PhoneBuilder {
    /// A neighbour that belongs to our trust domain, `192.0.2.0/24` or `192.0.2.1`: what it says of who calls is believed
    /// (RFC 3325 §2.3). Once for each; nobody is trusted unless it is said.
    ///
    /// # Errors
    /// If the text is no network.
    pub fn trust(mut self, network: &str) -> Result<Self, NetworkError> {
        self.trusted.push(network.parse::<Network>()?);
        Ok(self)
    }

    /// Lets these callers have their calls answered without anybody at hand (RFC 5373), if a [trusted](Self::trust) neighbour vouches
    /// for them: [`IncomingCall::how_to_answer`] says so. Without it no caller may.
    pub fn answer_policy(mut self, policy: AnswerPolicy) -> Self {
        self.answer_policy = Some(policy);
        self
    }

    /// What the phone can do, told to the registrar (RFC 3840): `audio` with no values, `language` with `en` and `de`,
    /// `+sip.example`. Once for each.
    pub fn feature(mut self, name: &str, values: &[&str]) -> Self {
        self.features.push((name.into(), values.iter().map(|value| String::from(*value)).collect()));
        self
    }

    /// Tells those we call where the call has been before, if it is sent on, and callers where it came (History-Info, RFC 7044).
    pub fn history(mut self) -> Self {
        self.history = true;
        self
    }
}

impl IncomingCall {
    /// Who calls as the network vouches for it (RFC 3325): a `sip` address, a number, or both. Empty unless the call came from a
    /// [trusted](PhoneBuilder::trust) neighbour: what others write there proves nothing.
    pub fn asserted_identities(&self) -> Vec<NameAddr> {
        let (request, path) = (self.request(), self.path());
        self.phone().inner.with(|shell, _| shell.core.asserted_identities(request, path))
    }

    /// How the caller wants to be answered and, by the [policy](PhoneBuilder::answer_policy) of the phone, may be. One that wants it
    /// at once or not at all and may not have it was refused (403) before anybody saw it.
    pub fn how_to_answer(&self) -> HowToAnswer {
        let (request, path) = (self.request(), self.path());
        self.phone().inner.with(|shell, _| shell.core.how_to_answer(request, path))
    }

    /// What is to be hidden (RFC 3323): whoever passes the call on has to keep it.
    pub fn privacy(&self) -> Option<Privacy> {
        self.request().headers.get().ok().flatten()
    }

    /// Who diverted the call here, the last one first (RFC 5806). Anybody can write it.
    pub fn diversions(&self) -> Vec<Diversion> {
        self.all()
    }

    /// Where the call was sent before it came here, in order (RFC 7044). Anybody can write it.
    pub fn history(&self) -> Vec<HistoryInfo> {
        self.all()
    }

    /// Data of the caller's user agent (RFC 7433).
    pub fn user_to_user(&self) -> Vec<UserToUser> {
        self.all()
    }

    /// How it is to ring: links to sounds, which are not to be followed without thought, or indications (RFC 7462).
    pub fn alerts(&self) -> Vec<AlertInfo> {
        self.all()
    }

    /// Why the call is made, as a gateway knows it (RFC 3326).
    pub fn reasons(&self) -> Vec<Reason> {
        self.all()
    }

    /// The elements of a field that can be read.
    fn all<H: Header>(&self) -> Vec<H> {
        self.request().headers.all().flatten().collect()
    }
}

impl Ended {
    /// Why the other side ended the call, by its own words (RFC 3326): a cause of the telephone network, or "completed elsewhere".
    pub fn reasons(&self) -> Vec<Reason> {
        let headers = match &self.cause {
            Cause::HungUpByPeer(request) | Cause::CancelledByCaller(request) => &request.headers,
            Cause::Rejected(response) => &response.headers,
            _ => return Vec::new(),
        };
        headers.all().flatten().collect()
    }
}
