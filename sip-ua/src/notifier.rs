//! Subscribers of ours as values: a phone that tells others of its state (RFC 6665 §4.2).

use sip_dialog::{Acceptance, Notification, SubscriberChange, SubscriptionKey, TerminationReason};
use sip_message::headers::{Event, From, NameAddr};
use sip_message::{Request, StatusCode};

use crate::core::PhoneError;
use crate::phone::Phone;
use crate::watch::News;

/// Somebody who subscribes to a package of ours. Dropping it refuses the subscription if it was not accepted (603), and ends it
/// if it was.
#[derive(Debug)]
pub struct Subscriber {
    phone: Phone,
    key: SubscriptionKey,
    request: Request,
    from: NameAddr,
    accepted: bool,
}

impl Subscriber {
    /// Who subscribes.
    pub fn from(&self) -> &NameAddr {
        &self.from
    }

    /// The SUBSCRIBE.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The package.
    pub fn package(&self) -> String {
        let event = self.request.headers.get::<Event>().ok().flatten();
        event.map(|event| event.package().as_str().to_owned()).unwrap_or_default()
    }

    /// Accepts, with the state as it is now.
    ///
    /// # Errors
    /// If it is too late.
    pub fn accept(&mut self, acceptance: Acceptance) -> Result<(), PhoneError> {
        self.phone.inner.with(|shell, now| shell.core.accept_subscription(now, self.key, acceptance))?;
        self.accepted = true;
        Ok(())
    }

    /// Refuses: 403 or 603 for who may not know, 404 for what is not here.
    ///
    /// # Errors
    /// If it is too late.
    pub fn reject(mut self, status: StatusCode) -> Result<(), PhoneError> {
        self.accepted = true; // decided: nothing is left to do when it is dropped
        self.phone.inner.with(|shell, now| shell.core.reject_subscription(now, self.key, status))
    }

    /// Tells a new state.
    ///
    /// # Errors
    /// If it has ended.
    pub fn notify(&self, state: Notification) -> Result<(), PhoneError> {
        self.phone.inner.with(|shell, now| shell.core.notify(now, self.key, state))
    }

    /// What is new; `None` once it has ended.
    pub async fn next(&mut self) -> Option<SubscriberChange> {
        let key = self.key;
        self.phone
            .inner
            .wait_for(
                |shell| shell.subscribers.get(&key).map(News::bell),
                |shell| shell.subscribers.get_mut(&key).map_or(Some(None), News::next),
            )
            .await
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.phone.inner.with(|shell, now| {
            // It may have ended by itself.
            let _ = match self.accepted {
                true => shell.core.terminate_subscription(now, self.key, &TerminationReason::NoResource),
                false => shell.core.reject_subscription(now, self.key, StatusCode::DECLINE),
            };
            shell.subscribers.remove(&self.key);
        });
    }
}

impl Phone {
    /// The next one who subscribes to a package that the phone notifies about
    /// ([`PhoneBuilder::notifies`](crate::PhoneBuilder::notifies)).
    pub async fn next_subscriber(&self) -> Subscriber {
        loop {
            let (key, request) = self.inner.wait(|shell| shell.new_subscribers.pop_front()).await;
            let Ok(Some(From(from))) = request.headers.get::<From>() else { continue };
            return Subscriber { phone: self.clone(), key, request, from, accepted: false };
        }
    }
}
