//! What passes, by kind.

use sip_message::{Method, StatusCode};

use crate::config::count;

/// The methods of [`Method::KNOWN`], and one place for all others: a peer must not name our counters.
const METHODS: usize = 16;

/// New requests by method, and responses given by class. Retransmissions are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    requests: [u64; METHODS],
    responses: [u64; 6],
}

impl Traffic {
    pub(crate) fn request(&mut self, method: &Method) {
        let known = Method::KNOWN.iter().position(|known| known == method);
        let place = known.unwrap_or(METHODS - 1).min(METHODS - 1);
        if let Some(counter) = self.requests.get_mut(place) {
            count(counter);
        }
    }

    pub(crate) fn response(&mut self, status: StatusCode) {
        let class = usize::from(status.class()).saturating_sub(1);
        if let Some(counter) = self.responses.get_mut(class) {
            count(counter);
        }
    }

    /// How many requests of each method came; those of unknown methods under `other`.
    pub fn requests(&self) -> impl Iterator<Item = (&str, u64)> {
        let names = Method::KNOWN.iter().take(METHODS - 1).map(Method::as_str);
        let others = self.requests.get(METHODS - 1).copied().unwrap_or(0);
        names.zip(self.requests).chain([("other", others)])
    }

    /// How many responses of each class, 1 to 6, were given.
    pub fn responses(&self) -> impl Iterator<Item = (u16, u64)> {
        (1..).zip(self.responses)
    }
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        let both = self.requests.iter_mut().zip(other.requests);
        let both = both.chain(self.responses.iter_mut().zip(other.responses));
        both.for_each(|(own, more)| *own = own.saturating_add(more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_method_has_its_counter_and_strangers_share_one() {
        assert!(Method::KNOWN.len() < METHODS);
        let mut traffic = Traffic::default();
        traffic.request(&Method::Invite);
        traffic.request(&Method::from("FROBNICATE"));
        traffic.request(&Method::from("TWIDDLE"));
        traffic.response(StatusCode::OK);
        let requests: Vec<_> = traffic.requests().filter(|(_, count)| *count > 0).collect();
        assert_eq!(requests, [("INVITE", 1), ("other", 2)]);
        assert_eq!(traffic.responses().find(|(_, count)| *count > 0), Some((2, 1)));
    }
}
