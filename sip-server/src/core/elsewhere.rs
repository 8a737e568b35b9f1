//! Users who prove who they are elsewhere than in SIP: to the relay of session messages.

use std::net::IpAddr;
use std::time::Instant;

use super::ServerCore;
use super::common::Common;
use crate::config::count;

impl ServerCore {
    /// The realm of challenges.
    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    /// The domain that stands first.
    pub(crate) fn first_domain(&self) -> Option<String> {
        self.domains.first().map(str::to_owned)
    }

    /// `H(username:realm:password)` of a user of the list.
    pub(crate) fn user_ha1(&self, username: &str, realm: &str, hash: sip_auth::Hash) -> Option<String> {
        let secret = self.users.as_ref()?.secret(username)?;
        Some(secret.for_hash(hash, username, realm)?.as_str().to_owned())
    }

    /// Whether nobody there, or nobody of this name there, is heard.
    pub(crate) fn shuts_out(&mut self, now: Instant, ip: IpAddr, user: &str) -> bool {
        self.guard
            .as_ref()
            .map(Common::lock)
            .is_some_and(|mut guard| guard.is_banned(now, ip) || guard.refuses(now, ip, user))
    }

    /// A user has proved there who they are, or has not.
    pub(crate) fn judged(&mut self, now: Instant, ip: IpAddr, user: &str, good: bool) {
        if !good {
            count(&mut self.layer.counters.wrong_credentials);
        }
        match self.guard.as_ref().map(Common::lock) {
            Some(mut guard) if good => guard.good(now, ip),
            Some(mut guard) => guard.wrong_password(now, ip, user),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sip_transport::{Local, Locals, Transport};

    use super::*;
    use crate::protection::ProtectionConfig;
    use crate::{Config, Users};

    #[test]
    fn who_guesses_elsewhere_is_shut_out_here_and_there() {
        let local = Local::new(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
        let mut config = Config::new([7; 32], Locals::new(vec![local]));
        config.domains = vec!["example.com".into()];
        config.users = Some(Users::parse("alice:wonderland").unwrap());
        let protection = ProtectionConfig::default();
        let allowed = protection.wrong_passwords;
        config.protection = Some(protection);
        let now = Instant::now();
        let mut core = ServerCore::new(config, now, Duration::ZERO).unwrap();
        let guesser: IpAddr = "198.51.100.7".parse().unwrap();
        let other: IpAddr = "198.51.100.8".parse().unwrap();
        for _ in 0..=allowed {
            assert!(!core.shuts_out(now, guesser, "alice"));
            core.judged(now, guesser, "alice", false);
        }
        assert!(core.shuts_out(now, guesser, "alice") && !core.shuts_out(now, other, "alice"));
        assert_eq!(core.banned(now).len(), 1);
        assert!(core.user_ha1("alice", core.realm(), sip_auth::Hash::Md5).is_some());
        assert!(core.user_ha1("bob", core.realm(), sip_auth::Hash::Md5).is_none());
    }
}
