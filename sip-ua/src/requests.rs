//! Requests outside of calls: OPTIONS, MESSAGE and whatever else (RFC 3261 §11, RFC 3428).

use std::time::Instant;

use sip_dialog::messaging::cpim::Cpim;
use sip_dialog::{Body, RequestKey};
use sip_message::headers::{Contact, NameAddr};
use sip_message::{Method, Request, Response, StatusCode, Uri, ValueError};

use crate::chat::plain;
use crate::core::{MessageKey, PhoneCore, PhoneError};
use crate::phone::Phone;

/// Why a request outside of calls was not answered with a 2xx.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The address is none.
    #[error("'{text}' is no address that a request can go to: {error}")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong with it.
        error: ValueError,
    },
    /// The far end, or a proxy for it, said no.
    #[error("{} {reason}", status.code())]
    Refused {
        /// The final status.
        status: StatusCode,
        /// Its reason phrase.
        reason: String,
    },
    /// Nobody answered (408), or there was no way to ask (503).
    #[error("no answer: {} {}", .0.code(), .0.reason())]
    NoAnswer(StatusCode),
    /// The phone says no.
    #[error(transparent)]
    Phone(#[from] PhoneError),
}

impl RequestError {
    /// The status that tells this failure best.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } | Self::NoAnswer(status) => Some(*status),
            _ => None,
        }
    }
}

/// A message that came (RFC 3428).
#[derive(Clone, Debug)]
pub struct TextMessage {
    /// Who sent it.
    pub from: NameAddr,
    /// Its text; empty if it is none.
    pub text: String,
    /// The MESSAGE, with whatever it carries.
    pub request: Request,
    /// The `message/cpim` that it came in (RFC 3862): who writes as they say, when, and which receipts they want.
    pub envelope: Option<Box<Cpim>>,
}

impl Phone {
    /// Asks another phone or server what it can do (RFC 3261 §11.1).
    ///
    /// # Errors
    /// If it is not answered with a 2xx.
    pub async fn options(&self, to: &str) -> Result<Response, RequestError> {
        self.request(to, Method::Options, &[], None).await
    }

    /// Sends a text (RFC 3428). 200 means that the far end has it, 202 that a server keeps it.
    ///
    /// # Errors
    /// If it is not answered with a 2xx.
    pub async fn send_message(&self, to: &str, text: &str) -> Result<StatusCode, RequestError> {
        let to: Uri = to.parse().map_err(|error| RequestError::Address { text: to.into(), error })?;
        self.send_body(&to, plain(text)).await
    }

    /// Sends a message when those before it to the same destination are answered (RFC 3428 §8).
    pub(crate) async fn send_body(&self, to: &Uri, body: Body) -> Result<StatusCode, RequestError> {
        let key = self.inner.with(|shell, now| {
            let key = shell.core.send_message(now, to, body)?;
            shell.sent.insert(key, None);
            Ok::<_, PhoneError>(key)
        })?;
        let _forgotten = Sent { phone: self, key };
        let result = self.inner.wait(|shell| shell.sent.get_mut(&key).and_then(Option::take)).await;
        success(result).map(|response| response.status())
    }

    /// Sends a request outside of any dialog, whatever it is, and waits for its final response. Challenges are answered.
    ///
    /// # Errors
    /// If it is not answered with a 2xx.
    pub async fn request(
        &self,
        to: &str,
        method: Method,
        fields: &[(&str, &str)],
        body: Option<Body>,
    ) -> Result<Response, RequestError> {
        let to: Uri = to.parse().map_err(|error| RequestError::Address { text: to.into(), error })?;
        self.answer_to(|core, now| core.request(now, &to, method, fields, body)).await
    }

    /// The bindings that the registrar has for our address; with a Contact, after it was bound for `expires` seconds, and
    /// removed with 0 (RFC 3261 §10.2). `*` with 0 seconds removes all.
    ///
    /// # Errors
    /// If it is not answered with a 2xx.
    pub async fn bindings(
        &self,
        contact: Option<&str>,
        expires: Option<u32>,
    ) -> Result<Vec<Contact>, RequestError> {
        let response = self.answer_to(|core, now| core.bindings(now, contact, expires)).await?;
        Ok(response.headers.all::<Contact>().flatten().collect())
    }

    pub(crate) async fn answer_to(
        &self,
        ask: impl FnOnce(&mut PhoneCore, Instant) -> Result<RequestKey, PhoneError>,
    ) -> Result<Response, RequestError> {
        let key = self.inner.with(|shell, now| {
            let key = ask(&mut shell.core, now)?;
            shell.responses.insert(key, None);
            Ok::<_, PhoneError>(key)
        })?;
        let _forgotten = Awaited { phone: self, key };
        let result = self.inner.wait(|shell| shell.responses.get_mut(&key).and_then(Option::take)).await;
        success(result)
    }

    /// The next message that comes. What was answered 200 waits here until it is taken; when 256 wait, further ones are
    /// refused with 486.
    pub async fn next_message(&self) -> TextMessage {
        self.inner
            .wait(|shell| {
                let message = shell.messages.pop_front()?;
                shell.make_room();
                Some(message)
            })
            .await
    }
}

fn success(result: Result<Response, StatusCode>) -> Result<Response, RequestError> {
    match result {
        Ok(response) if response.status().is_success() => Ok(response),
        Ok(response) => {
            Err(RequestError::Refused { status: response.status(), reason: response.reason().into() })
        }
        Err(status) => Err(RequestError::NoAnswer(status)),
    }
}

/// Somebody waits for a message to be taken; when nobody does any more, its answer is forgotten.
struct Sent<'p> {
    phone: &'p Phone,
    key: MessageKey,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.phone.inner.with(|shell, _| shell.sent.remove(&self.key));
    }
}

/// Somebody waits for the response to a request; when nobody does any more, it is forgotten.
struct Awaited<'p> {
    phone: &'p Phone,
    key: RequestKey,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.phone.inner.with(|shell, _| shell.responses.remove(&self.key));
    }
}
