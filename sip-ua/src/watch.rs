//! Subscriptions and publications as values (RFC 6665, RFC 3903).

use std::collections::VecDeque;
use std::sync::Arc;

use sip_dialog::packages::message_summary::MessageSummary;
use sip_dialog::packages::presence::Presence;
use sip_dialog::{
    Body, PublicationChange, PublicationEnd, PublicationKey, SubscriptionChange, SubscriptionKey,
};
use sip_message::{Request, StatusCode, Uri};
use tokio::sync::Notify;

use crate::phone::Phone;
use crate::presence::PresenceState;
use crate::requests::RequestError;

/// News of one subscription that wait to be read; the oldest goes. A notifier that is never listened to must not fill the
/// memory.
const MAX_NEWS: usize = 256;

/// What happened to a subscription, or a publication, until its handle asks.
#[derive(Debug)]
pub(crate) struct News<T> {
    waiting: VecDeque<T>,
    over: bool,
    changed: Arc<Notify>,
}

impl<T> Default for News<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), over: false, changed: Arc::default() }
    }
}

impl<T> News<T> {
    pub(crate) fn add(&mut self, news: T, over: bool) {
        if self.waiting.len() >= MAX_NEWS {
            self.waiting.pop_front();
        }
        self.waiting.push_back(news);
        self.over |= over;
        self.changed.notify_waiters();
    }

    /// What rings when there is something new.
    pub(crate) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// The next one; `Some(None)` when there is and will be none.
    pub(crate) fn next(&mut self) -> Option<Option<T>> {
        match self.waiting.pop_front() {
            Some(news) => Some(Some(news)),
            None => self.over.then_some(None),
        }
    }
}

/// A subscription of ours; it is refreshed, and made anew where the notifier wants that. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    phone: Phone,
    key: SubscriptionKey,
}

impl Subscription {
    /// What is new; `None` once it has ended for good.
    pub async fn next(&mut self) -> Option<SubscriptionChange> {
        let key = self.key;
        self.phone
            .inner
            .wait_for(
                |shell| shell.subscriptions.get(&key).map(News::bell),
                |shell| shell.subscriptions.get_mut(&key).map_or(Some(None), News::next),
            )
            .await
    }

    /// The next state that is notified; `None` once it has ended for good.
    pub async fn notified(&mut self) -> Option<Request> {
        loop {
            if let SubscriptionChange::Notified { request } = self.next().await? {
                return Some(request);
            }
        }
    }

    /// Ends it; what is still notified can be read.
    pub fn end(&self) {
        // It may have ended by itself.
        let _ = self.phone.inner.with(|shell, now| shell.core.unsubscribe(now, self.key));
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.phone.inner.with(|shell, now| {
            let _ = shell.core.unsubscribe(now, self.key);
            shell.subscriptions.remove(&self.key);
        });
    }
}

/// The presence of somebody, as it changes. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Watch {
    subscription: Subscription,
}

impl Watch {
    /// The next state; `None` once there is none to come. What is no PIDF is passed over.
    pub async fn next(&mut self) -> Option<Presence> {
        loop {
            let request = self.subscription.notified().await?;
            match Presence::parse(request.body()) {
                Ok(presence) => return Some(presence),
                Err(error) => tracing::debug!(%error, "a presence document that cannot be read"),
            }
        }
    }

    /// The next state in a few words: open or not, what they do (RFC 4480), their note; `None` once there is none to come.
    pub async fn next_state(&mut self) -> Option<PresenceState> {
        Some(PresenceState::of(&self.next().await?))
    }
}

/// Messages that wait for us at a server, as their number changes (RFC 3842). Dropping it ends the subscription.
#[derive(Debug)]
pub struct WaitingMessages {
    subscription: Subscription,
}

impl WaitingMessages {
    /// The next summary; `None` once there is none to come.
    pub async fn next(&mut self) -> Option<MessageSummary> {
        loop {
            let request = self.subscription.notified().await?;
            match MessageSummary::parse(request.body()) {
                Ok(summary) => return Some(summary),
                Err(error) => tracing::debug!(%error, "a message summary that cannot be read"),
            }
        }
    }
}

/// A state that we have published; it is kept fresh. Dropping it removes the state.
#[derive(Debug)]
pub struct Published {
    phone: Phone,
    key: PublicationKey,
}

impl Published {
    /// Publishes another state in its place.
    ///
    /// # Errors
    /// If it has ended.
    pub fn update(&self, body: Body) -> Result<(), RequestError> {
        Ok(self.phone.inner.with(|shell, now| shell.core.republish(now, self.key, body))?)
    }

    /// Removes it; [`Published::next`] tells when it is gone.
    pub fn remove(&self) {
        // It may have ended by itself.
        let _ = self.phone.inner.with(|shell, now| shell.core.unpublish(now, self.key));
    }

    /// What is new; `None` once it has ended.
    pub async fn next(&mut self) -> Option<PublicationChange> {
        let key = self.key;
        self.phone
            .inner
            .wait_for(
                |shell| shell.publications.get(&key).map(News::bell),
                |shell| shell.publications.get_mut(&key).map_or(Some(None), News::next),
            )
            .await
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.phone.inner.with(|shell, now| {
            let _ = shell.core.unpublish(now, self.key);
            shell.publications.remove(&self.key);
        });
    }
}

impl Phone {
    /// Subscribes to a package of somebody: `presence`, `dialog`, `reg`, whatever there is. `accept` names the types of bodies
    /// that can be read; without any, those that the package requires.
    ///
    /// # Errors
    /// If the address is none, or the SUBSCRIBE cannot be sent. That it is refused is told by [`Subscription::next`].
    pub async fn subscribe(
        &self,
        to: &str,
        package: &str,
        accept: &[&str],
    ) -> Result<Subscription, RequestError> {
        let uri: Uri = to.parse().map_err(|error| RequestError::Address { text: to.into(), error })?;
        let key = self.inner.with(|shell, now| {
            let key = shell.core.subscribe(now, &uri, package, accept, EXPIRES)?;
            shell.subscriptions.insert(key, News::default());
            Ok::<_, crate::core::PhoneError>(key)
        })?;
        Ok(Subscription { phone: self.clone(), key })
    }

    /// Asks a phone that we have no call with to call somebody (REFER, RFC 3515): it has to be willing to. How that goes is told
    /// by [`Subscription::next`] with [`SubscriptionChange::Progress`], until the call is answered or has failed.
    ///
    /// # Errors
    /// If one of the addresses is none, or the REFER cannot be sent.
    pub async fn refer(&self, to: &str, refer_to: &str) -> Result<Subscription, RequestError> {
        let uri = |text: &str| {
            text.parse::<Uri>().map_err(|error| RequestError::Address { text: text.into(), error })
        };
        let (to, refer_to) = (uri(to)?, uri(refer_to)?);
        let key = self.inner.with(|shell, now| {
            let key = shell.core.refer(now, &to, &refer_to)?;
            shell.subscriptions.insert(key, News::default());
            Ok::<_, crate::core::PhoneError>(key)
        })?;
        Ok(Subscription { phone: self.clone(), key })
    }

    /// Watches the presence of somebody (RFC 3856).
    ///
    /// # Errors
    /// As [`Phone::subscribe`].
    pub async fn watch(&self, to: &str) -> Result<Watch, RequestError> {
        let subscription = self.subscribe(to, "presence", &[Presence::CONTENT_TYPE]).await?;
        Ok(Watch { subscription })
    }

    /// Hears of the messages that wait for us at our server (RFC 3842).
    ///
    /// # Errors
    /// As [`Phone::subscribe`].
    pub async fn waiting_messages(&self) -> Result<WaitingMessages, RequestError> {
        let account = self.address();
        let accept = [MessageSummary::CONTENT_TYPE];
        let subscription = self.subscribe(&account, "message-summary", &accept).await?;
        Ok(WaitingMessages { subscription })
    }

    /// Publishes a state of our own at our server, and waits until it is there (RFC 3903).
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn publish(&self, package: &str, body: Body) -> Result<Published, RequestError> {
        let key = self.inner.with(|shell, now| {
            let key = shell.core.publish(now, package, body, EXPIRES)?;
            shell.publications.insert(key, News::default());
            Ok::<_, crate::core::PhoneError>(key)
        })?;
        let mut published = Published { phone: self.clone(), key };
        loop {
            match published.next().await {
                Some(PublicationChange::Published { .. }) => return Ok(published),
                Some(PublicationChange::Ended(PublicationEnd::Refused(response))) => {
                    return Err(RequestError::Refused {
                        status: response.status(),
                        reason: response.reason().into(),
                    });
                }
                Some(PublicationChange::Ended(PublicationEnd::Failed(failure))) => {
                    return Err(RequestError::NoAnswer(failure.status()));
                }
                Some(_) => {}
                None => return Err(RequestError::NoAnswer(StatusCode::SERVICE_UNAVAILABLE)),
            }
        }
    }
}

/// Seconds that subscriptions and publications ask for; they are refreshed.
const EXPIRES: u32 = 3600;
