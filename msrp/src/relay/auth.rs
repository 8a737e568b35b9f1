//! AUTH at the relay (RFC 4976 §6.3, §9.1).

use std::time::{Duration, Instant};

use super::peer::Nonce;
use super::{Grant, MAX_GRANTS, Relay};
use crate::auth::digest::{Parameters, Question, quoted, same};
use crate::message::Head;
use crate::status::StatusCode;
use crate::uri::{Path, Uri};

/// How long a nonce is good.
const NONCE_TIME: Duration = Duration::from_secs(300);
/// Nonces of one connection; with more clients behind it than this, some are asked twice.
const MAX_NONCES: usize = 16;

/// What credentials are worth.
enum Verdict {
    /// The name, and the proof that we know the password.
    Good(String, String),
    /// Right, but the nonce is not: to be asked again, without blame.
    Stale,
    /// None, or none that can be read.
    Missing,
    Wrong,
    /// Not looked at.
    ShutOut,
}

impl Relay {
    pub(super) fn authenticate(
        &mut self,
        now: Instant,
        connection: u64,
        head: &Head,
        to: &Path,
        from: &Path,
    ) {
        let secure = self.peers.get(&connection).is_some_and(|peer| peer.secure);
        if !secure && !self.config.over_plain_tcp {
            return self.answer(connection, head, StatusCode::FORBIDDEN, &[]);
        }
        let (username, information) = match self.verdict(now, connection, head, to) {
            Verdict::Good(username, information) => (username, information),
            verdict => {
                if matches!(verdict, Verdict::Wrong | Verdict::ShutOut)
                    && let Some(peer) = self.peers.get_mut(&connection)
                {
                    peer.failures = peer.failures.saturating_add(1);
                }
                match verdict {
                    Verdict::ShutOut => return self.answer(connection, head, StatusCode::FORBIDDEN, &[]),
                    Verdict::Wrong => {
                        self.counts.wrong_credentials = self.counts.wrong_credentials.saturating_add(1);
                    }
                    _ => {}
                }
                return self.challenge(now, connection, head, matches!(verdict, Verdict::Stale));
            }
        };
        if let Some(peer) = self.peers.get_mut(&connection) {
            peer.is_proven = true;
            peer.failures = 0;
        }
        if !self.accounts.may_relay(&username) {
            return self.answer(connection, head, StatusCode::FORBIDDEN, &[]);
        }
        let (least, most) = (self.config.min_expires, self.config.max_expires);
        let bound = |name, seconds: u64| [(name, seconds.to_string())];
        let expires = match head.expires() {
            Err(_) => return self.answer(connection, head, StatusCode::BAD_REQUEST, &[]),
            Ok(Some(seconds)) if seconds < least => {
                let fields = bound("Min-Expires", least);
                return self.answer(connection, head, StatusCode::OUT_OF_BOUNDS, &fields);
            }
            Ok(Some(seconds)) if seconds > most => {
                let fields = bound("Max-Expires", most);
                return self.answer(connection, head, StatusCode::OUT_OF_BOUNDS, &fields);
            }
            Ok(seconds) => seconds.unwrap_or(most),
        };
        match self.grant(now, connection, from, expires) {
            None => self.answer(connection, head, StatusCode::FORBIDDEN, &[]),
            Some(use_path) => self.answer(
                connection,
                head,
                StatusCode::OK,
                &[
                    ("Use-Path", use_path.to_string()),
                    ("Authentication-Info", information),
                    ("Expires", expires.to_string()),
                ],
            ),
        }
    }

    fn verdict(&mut self, now: Instant, connection: u64, head: &Head, to: &Path) -> Verdict {
        let Some(read) = head.get("Authorization").and_then(Parameters::of_digest) else {
            return Verdict::Missing;
        };
        let parts = || {
            let get = |name| read.get(name);
            Some((
                get("username")?,
                get("realm")?,
                get("nonce")?,
                get("nc")?,
                get("cnonce")?,
                get("response")?,
            ))
        };
        let (Some((username, realm, nonce, nc, cnonce, response)), Some(algorithm), Some(uri)) =
            (parts(), read.algorithm(), to.last())
        else {
            return Verdict::Missing;
        };
        let is_count = nc.len() == 8 && nc.bytes().all(|digit| digit.is_ascii_hexdigit());
        let (Some(count), Some("auth")) =
            (u32::from_str_radix(nc, 16).ok().filter(|_| is_count), read.get("qop"))
        else {
            return Verdict::Missing;
        };
        let from = self.peers.get(&connection).and_then(|peer| peer.from);
        if from.is_some_and(|from| self.accounts.is_shut_out(from, username)) {
            return Verdict::ShutOut;
        }
        // Who is not known takes as long as who is.
        let ha1 = self.accounts.ha1(username, &self.config.realm, algorithm);
        let is_known = ha1.is_some() && realm == self.config.realm;
        let ha1 = ha1.unwrap_or_else(|| algorithm.ha1(username, realm, ""));
        let question =
            Question { algorithm, ha1: &ha1, nonce, count: nc, cnonce, method: "AUTH", uri: uri.as_str() };
        let good = same(&response.to_ascii_lowercase(), &question.response()) && is_known;
        if let Some(from) = from {
            self.accounts.judged(from, username, good);
        }
        if !good {
            return Verdict::Wrong;
        }
        let Some(peer) = self.peers.get_mut(&connection) else { return Verdict::Wrong };
        peer.nonces.retain(|nonce| nonce.until > now);
        // A count that was there before is somebody's who has listened.
        let Some(known) = peer.nonces.iter_mut().find(|known| known.text == nonce && known.count < count)
        else {
            return Verdict::Stale;
        };
        known.count = count;
        let proof = Question { method: "", ..question }.response();
        let information = format!("rspauth=\"{proof}\", cnonce={}, nc={nc}, qop=auth", quoted(cnonce));
        Verdict::Good(username.to_owned(), information)
    }

    fn challenge(&mut self, now: Instant, connection: u64, head: &Head, stale: bool) {
        let text = format!("{:016x}{:016x}", self.tokens.next(), self.tokens.next());
        let stale = if stale { ", stale=true" } else { "" };
        let value =
            format!("Digest realm={}, nonce=\"{text}\", qop=\"auth\"{stale}", quoted(&self.config.realm));
        if let (Some(peer), Some(until)) = (self.peers.get_mut(&connection), now.checked_add(NONCE_TIME)) {
            if peer.nonces.len() >= MAX_NONCES {
                peer.nonces.pop_front();
            }
            peer.nonces.push_back(Nonce { text, until, count: 0 });
        }
        self.answer(connection, head, StatusCode::UNAUTHORIZED, &[("WWW-Authenticate", value)]);
    }

    /// A URI with 128 random bits, behind those of the relays between the client and us.
    fn grant(&mut self, now: Instant, connection: u64, from: &Path, expires: u64) -> Option<Path> {
        let token = format!("{:016x}{:016x}", self.tokens.next(), self.tokens.next());
        let uri = Uri::new(self.config.secure, &self.config.host, self.config.port, &token).ok()?;
        let between = from.uris().get(..from.uris().len().saturating_sub(1)).unwrap_or_default();
        let path = Path::new(between.iter().rev().chain([&uri]).cloned().collect()).ok()?;
        let hop = from.first()?.clone();
        let until = now.checked_add(Duration::from_secs(expires))?;
        let peer = self.peers.get_mut(&connection).filter(|peer| peer.grants.len() < MAX_GRANTS)?;
        self.counts.granted = self.counts.granted.saturating_add(1);
        peer.grants.insert(token.clone());
        self.by_end.insert((until, token.clone()));
        self.grants.insert(token, Grant { uri, connection, hop, until });
        Some(path)
    }
}
