//! Noticing that this machine is at another address, so that nobody has to tell the phone.
//!
//! The kernel is asked which address it would send from, every few seconds and at once when something could not be sent. That
//! costs a socket that sends nothing, works on every system, and sees just what matters to peers; a subscription to every change
//! of addresses and routes (netlink, and something else on each other system) would tell of many that do not.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sip_transport::tokio::Listen;
use sip_transport::{CloseReason, FlowEvent, SendError};
use tokio::sync::Notify;

use crate::phone::{Inner, Phone};

/// How often addresses are looked at while everything can be sent.
const EVERY: Duration = Duration::from_secs(2);
/// The least time between two looks: a network that is down refuses every datagram.
const LEAST: Duration = Duration::from_millis(200);

/// What was seen of the network, for each listener.
#[derive(Debug, Default)]
struct Seen(Vec<Place>);

#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The address that the listener had last.
    ip: Option<IpAddr>,
    /// There was none since.
    lost: bool,
}

impl Seen {
    fn new(ips: Vec<Option<IpAddr>>) -> Self {
        Self(ips.into_iter().map(|ip| Place { ip, lost: ip.is_none() }).collect())
    }

    /// Whether peers have to be told: a listener has an address that is not its last one, or has one again. It may be the same
    /// in another network, and what was open in the last one is gone. As long as there is none there is nothing to tell.
    fn look(&mut self, ips: Vec<Option<IpAddr>>) -> bool {
        if ips.len() != self.0.len() {
            *self = Self::new(ips);
            return true;
        }
        let mut changed = false;
        for (place, ip) in self.0.iter_mut().zip(ips) {
            let Some(ip) = ip else {
                place.lost = true;
                continue;
            };
            changed |= place.lost || place.ip != Some(ip);
            *place = Place { ip: Some(ip), lost: false };
        }
        changed
    }
}

fn present(phone: &Phone) -> Vec<Option<IpAddr>> {
    phone.listening().iter().map(Listen::present_ip).collect()
}

/// Whether this says that the network may be another one.
pub(crate) fn is_suspicious(event: &FlowEvent) -> bool {
    matches!(
        event,
        FlowEvent::SendFailed { error: SendError::Unreachable | SendError::NoLocal | SendError::Io(_), .. }
            | FlowEvent::Closed { reason: CloseReason::Error(_), .. }
    )
}

/// Follows the network until the phone is closed: what [`Phone::network_changed`] does, by itself.
pub(crate) fn follow(phone: &Phone, alarm: Arc<Notify>) {
    let handle = phone.inner.handle.clone();
    let inner: Weak<Inner> = Arc::downgrade(&phone.inner);
    let mut seen = Seen::new(present(phone));
    tokio::spawn(async move {
        loop {
            let next = async {
                tokio::time::sleep(LEAST).await;
                tokio::select! {
                    () = tokio::time::sleep(EVERY.saturating_sub(LEAST)) => {}
                    () = alarm.notified() => {}
                }
            };
            tokio::select! {
                () = handle.stopped() => return,
                () = next => {}
            }
            let Some(inner) = inner.upgrade() else { return };
            let phone = Phone { inner };
            if !seen.look(present(&phone)) {
                continue;
            }
            tracing::info!(?seen, "the network is another one");
            if let Err(error) = phone.network_changed() {
                tracing::warn!(%error, "the phone cannot follow into the new network; it tries again");
                seen.0.iter_mut().for_each(|place| place.lost = true);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<Option<IpAddr>> {
        texts.iter().map(|text| text.parse().ok()).collect()
    }

    /// Peers are told of an address once, and of none that is not there.
    #[test]
    fn what_peers_have_to_be_told() {
        let mut seen = Seen::new(ips(&["192.0.2.1", "2001:db8::1"]));
        assert!(!seen.look(ips(&["192.0.2.1", "2001:db8::1"])));
        assert!(seen.look(ips(&["192.0.2.1", "2001:db8::2"])), "one of two is another");
        assert!(!seen.look(ips(&["192.0.2.1", "2001:db8::2"])), "told once");
        assert!(!seen.look(ips(&["", "2001:db8::2"])), "without an address there is nothing to tell");
        assert!(!seen.look(ips(&["", "2001:db8::2"])));
        assert!(seen.look(ips(&["198.51.100.1", "2001:db8::2"])));
    }

    /// The same address after none at all may be one in another network.
    #[test]
    fn an_address_that_comes_back() {
        let mut seen = Seen::new(ips(&["192.0.2.1"]));
        assert!(!seen.look(ips(&[""])));
        assert!(seen.look(ips(&["192.0.2.1"])));
        assert!(!seen.look(ips(&["192.0.2.1"])));
        // And one that came after the phone.
        let mut seen = Seen::new(ips(&[""]));
        assert!(!seen.look(ips(&[""])));
        assert!(seen.look(ips(&["192.0.2.1"])));
    }
}
