//! One source and what it has done lately.

use std::net::IpAddr;

/// Who is judged together: an IPv4 address, or the 64 bits of IPv6 that one customer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SourceKey(IpAddr);

impl From<IpAddr> for SourceKey {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(ip) => Self(IpAddr::V6((u128::from(ip) >> 64 << 64).into())),
            ip => Self(ip),
        }
    }
}

impl SourceKey {
    /// The address that stands for it.
    pub(super) fn ip(self) -> IpAddr {
        self.0
    }
}

/// Events in the current stretch of so many seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    stretch: u32,
    count: u32,
}

impl Window {
    /// One more event at this second; how many there are now in its stretch of `length` seconds.
    pub(super) fn add(&mut self, second: u32, length: u32) -> u32 {
        let stretch = second.checked_div(length).unwrap_or(second);
        if self.stretch != stretch {
            *self = Self { stretch, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }

    /// How many there are at this second.
    pub(super) fn count(&self, second: u32, length: u32) -> u32 {
        if self.stretch == second.checked_div(length).unwrap_or(second) { self.count } else { 0 }
    }
}

/// What is remembered of a source. Times are seconds since the start of the server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source {
    pub(super) requests: Window,
    pub(super) wrong_passwords: Window,
    pub(super) probes: Window,
    /// When it was heard of last.
    pub(super) seen: u32,
    /// When a user of ours was there last.
    pub(super) good: Option<u32>,
    /// Until when it is shut out.
    pub(super) banned_until: u32,
    /// How often it was.
    pub(super) bans: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_of_ipv6_is_one_source_and_a_mapped_address_is_its_own() {
        let key = |text: &str| SourceKey::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8:1:2::7"), key("2001:db8:1:2:ffff::1"));
        assert_ne!(key("2001:db8:1:2::7"), key("2001:db8:1:3::7"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn a_window_counts_its_own_stretch() {
        let mut window = Window::default();
        assert_eq!([window.add(60, 60), window.add(119, 60)], [1, 2]);
        assert_eq!((window.count(119, 60), window.count(120, 60)), (2, 0));
        assert_eq!(window.add(120, 60), 1);
    }
}
