//! Subscriptions and publications of the owner (RFC 6665, RFC 3903).

use std::time::Instant;

use sip_dialog::{
    Acceptance, Body, Notification, Publication, PublicationChange, PublicationKey, Subscribe,
    SubscriberChange, SubscriptionChange, SubscriptionKey, TerminationReason,
};
use sip_message::headers::Event;
use sip_message::{StatusCode, Uri};

use super::{PhoneCore, PhoneError, PhoneEvent};

impl PhoneCore {
    /// Subscribes to a package of somebody: `presence`, `dialog`, `message-summary`. It is refreshed until it is ended;
    /// [`PhoneEvent::Subscription`] tells what comes of it.
    ///
    /// # Errors
    /// If the SUBSCRIBE cannot be sent.
    pub fn subscribe(
        &mut self,
        now: Instant,
        to: &Uri,
        package: &str,
        accept: &[&str],
        expires: u32,
    ) -> Result<SubscriptionKey, PhoneError> {
        let mut plan = Subscribe::new(to.clone(), self.config.identity.clone(), package);
        plan.expires = expires;
        plan.accept = accept.iter().map(|kind| (*kind).to_owned()).collect();
        plan.route = self.route().to_vec();
        let key = self.dialogs.subscribe(now, plan)?;
        self.dispatch(now);
        Ok(key)
    }

    /// Ends a subscription; its last state follows, and its end.
    ///
    /// # Errors
    /// If there is no such subscription.
    pub fn unsubscribe(&mut self, now: Instant, key: SubscriptionKey) -> Result<(), PhoneError> {
        self.dialogs.unsubscribe(now, key)?;
        self.dispatch(now);
        Ok(())
    }

    /// Publishes a state of our own (RFC 3903). It is kept fresh until it is removed; [`PhoneEvent::Publication`] tells what
    /// comes of it.
    ///
    /// # Errors
    /// If the PUBLISH cannot be sent.
    pub fn publish(
        &mut self,
        now: Instant,
        package: &str,
        body: Body,
        expires: u32,
    ) -> Result<PublicationKey, PhoneError> {
        let plan = Publication {
            to: self.config.identity.uri().clone(),
            from: self.config.identity.clone(),
            event: Event::new(package),
            expires,
            body,
            route: self.route().to_vec(),
            fields: Vec::new(),
        };
        let key = self.dialogs.publish(now, plan)?;
        self.dispatch(now);
        Ok(key)
    }

    /// Publishes another state in the place of the one before.
    ///
    /// # Errors
    /// If there is no such publication.
    pub fn republish(&mut self, now: Instant, key: PublicationKey, body: Body) -> Result<(), PhoneError> {
        self.dialogs.republish(now, key, body)?;
        self.dispatch(now);
        Ok(())
    }

    /// Removes what was published.
    ///
    /// # Errors
    /// If there is no such publication.
    pub fn unpublish(&mut self, now: Instant, key: PublicationKey) -> Result<(), PhoneError> {
        self.dialogs.unpublish(now, key)?;
        self.dispatch(now);
        Ok(())
    }

    /// Accepts somebody's subscription with us.
    ///
    /// # Errors
    /// If it was decided about before, or too late.
    pub fn accept_subscription(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        acceptance: Acceptance,
    ) -> Result<(), PhoneError> {
        self.dialogs.accept_subscription(now, key, acceptance)?;
        self.dispatch(now);
        Ok(())
    }

    /// Refuses somebody's subscription with us.
    ///
    /// # Errors
    /// If it was decided about before, or too late.
    pub fn reject_subscription(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        status: StatusCode,
    ) -> Result<(), PhoneError> {
        self.dialogs.reject_subscription(now, key, status, &[])?;
        self.dispatch(now);
        Ok(())
    }

    /// Tells a subscriber of a new state.
    ///
    /// # Errors
    /// If there is no such subscription any more.
    pub fn notify(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        state: Notification,
    ) -> Result<(), PhoneError> {
        self.dialogs.notify(now, key, state)?;
        self.dispatch(now);
        Ok(())
    }

    /// Ends somebody's subscription with us.
    ///
    /// # Errors
    /// If there is no such subscription any more.
    pub fn terminate_subscription(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        reason: &TerminationReason,
    ) -> Result<(), PhoneError> {
        self.dialogs.terminate_subscription(now, key, reason, None, None)?;
        self.dispatch(now);
        Ok(())
    }

    pub(super) fn subscriber_changed(&mut self, key: SubscriptionKey, what: SubscriberChange) {
        if matches!(what, SubscriberChange::Ended(_)) {
            // Who sent a REFER no longer listens, or nobody decided about it in time.
            if self.asked.remove(&key).is_some() {
                return;
            }
            let followed = self.followed.len();
            self.followed.retain(|_, referral| *referral != key);
            if self.followed.len() < followed {
                return;
            }
        }
        self.events.push_back(PhoneEvent::Subscriber { key, what });
    }

    pub(super) fn subscription_changed(&mut self, key: SubscriptionKey, what: SubscriptionChange) {
        if !self.transfer_changed(key, &what) {
            self.events.push_back(PhoneEvent::Subscription { key, what });
        }
    }

    pub(super) fn publication_changed(&mut self, key: PublicationKey, what: PublicationChange) {
        self.events.push_back(PhoneEvent::Publication { key, what });
    }
}
