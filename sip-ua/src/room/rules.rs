//! The rules of a chat room, without I/O and clock: who is in it, under which nickname, and who gets what (RFC 7701).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use msrp::{MediaTypes, Received, StatusCode};
use sip_dialog::messaging::cpim::Cpim;
use sip_message::{ImPres, Uri};

use super::nickname::{Nicknames, folded};

/// What a chat room allows (RFC 7701 §4.1).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoomPolicy {
    /// Whether participants may have nicknames.
    pub nicknames: bool,
    /// Nicknames that nobody gets.
    pub reserved_nicknames: Vec<String>,
    /// How long a nickname waits for who left.
    pub quarantine: Duration,
    /// Whether participants may write to one alone.
    pub private_messages: bool,
    /// Sessions at once.
    pub sessions: usize,
    /// Sessions of one user: devices.
    pub sessions_of_one: usize,
    /// What messages may have inside.
    pub wrapped_types: MediaTypes,
    /// Octets of the largest message.
    pub max_size: u64,
}

impl Default for RoomPolicy {
    /// Nicknames, kept for five minutes; private messages; 200 sessions, five of one user; anything inside, up to a MiB.
    fn default() -> Self {
        Self {
            nicknames: true,
            reserved_nicknames: Vec::new(),
            quarantine: Duration::from_secs(300),
            private_messages: true,
            sessions: 200,
            sessions_of_one: 5,
            wrapped_types: MediaTypes::any(),
            max_size: 1 << 20,
        }
    }
}

/// One session of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Seat(pub(super) u64);

/// What a participant's device has said of itself in its session description.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// It has said `private-messages` in `a=chatroom`.
    pub(super) takes_private: bool,
    /// What it takes inside of a message.
    pub(super) wrapped: MediaTypes,
}

#[derive(Debug)]
struct Sitting {
    who: Uri,
    device: Device,
    /// As it is shown, and as it is compared.
    nickname: Option<(String, String)>,
}

impl Sitting {
    /// Whether the user does not want to be known (RFC 3323 §4.1.1.3).
    fn is_anonymous(&self) -> bool {
        self.who.host().eq_ignore_ascii_case("anonymous.invalid")
    }
}

/// A chat room.
#[derive(Debug)]
pub(super) struct Rules {
    uri: Uri,
    policy: RoomPolicy,
    seats: BTreeMap<Seat, Sitting>,
    nicknames: Nicknames,
    next: u64,
}

/// Who one is, whatever the port and parameters: what tells users apart.
fn user_of(uri: &Uri) -> String {
    match uri.user() {
        Some(user) => format!("{user}@{}", uri.host().to_ascii_lowercase()),
        None => uri.as_str().to_ascii_lowercase(),
    }
}

/// Whether a URI in a message names somebody: `sip`, `sips` and `im` are ways to the same (RFC 7701 §6.1).
pub(super) fn names(text: &str, who: &Uri) -> bool {
    let Ok(mut uri) = text.parse::<Uri>() else { return false };
    if let Ok(mailbox) = ImPres::of(&uri)
        && mailbox.is_im()
        && let Ok(sip) = mailbox.to_sip()
    {
        uri = sip;
    }
    uri.equivalent(who) || (is_sip(&uri) && is_sip(who) && user_of(&uri) == user_of(who))
}

fn is_sip(uri: &Uri) -> bool {
    uri.scheme().eq_ignore_ascii_case("sip") || uri.scheme().eq_ignore_ascii_case("sips")
}

impl Rules {
    pub(super) fn new(uri: Uri, policy: RoomPolicy) -> Self {
        Self { uri, policy, seats: BTreeMap::new(), nicknames: Nicknames::default(), next: 0 }
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn policy(&self) -> &RoomPolicy {
        &self.policy
    }

    /// Lets somebody in; `None` if the room is full, for all or for this user.
    pub(super) fn enter(&mut self, who: Uri, device: Device) -> Option<Seat> {
        let user = user_of(&who);
        let same = self.seats.values().filter(|sitting| user_of(&sitting.who) == user).count();
        if self.seats.len() >= self.policy.sessions || same >= self.policy.sessions_of_one {
            return None;
        }
        let seat = Seat(self.next);
        self.next = self.next.wrapping_add(1);
        self.seats.insert(seat, Sitting { who, device, nickname: None });
        Some(seat)
    }

    pub(super) fn leave(&mut self, seat: Seat, now: Instant) {
        let Some(sitting) = self.seats.remove(&seat) else { return };
        if let Some((_, name)) = sitting.nickname {
            self.nicknames.release(&name, now, self.policy.quarantine);
        }
    }

    /// Whether somebody of this address is in the room.
    pub(super) fn has(&self, who: &Uri) -> bool {
        self.seats.values().any(|sitting| !sitting.is_anonymous() && user_of(&sitting.who) == user_of(who))
    }

    /// Those in the room, a line each session, with their nicknames. Who wants not to be known has an address that says nothing
    /// (RFC 4575 §5.6).
    pub(super) fn roster(&self) -> impl Iterator<Item = (String, Option<String>)> {
        self.seats.iter().map(|(seat, sitting)| {
            let who = match sitting.is_anonymous() {
                true => format!("sip:anonymous{}@anonymous.invalid", seat.0),
                false => sitting.who.as_str().to_owned(),
            };
            (who, sitting.nickname.as_ref().map(|(shown, _)| shown.clone()))
        })
    }

    /// A wish for a nickname (RFC 7701 §7.1 to §7.3).
    pub(super) fn nickname(&mut self, seat: Seat, name: &str, now: Instant) -> StatusCode {
        if !self.policy.nicknames {
            return StatusCode::FORBIDDEN;
        }
        let Some(sitting) = self.seats.get_mut(&seat) else { return StatusCode::NO_SESSION };
        let wanted = if name.is_empty() {
            None
        } else {
            let Some(compared) = folded(name) else { return StatusCode::MALFORMED_NICKNAME };
            let reserved =
                self.policy.reserved_nicknames.iter().any(|one| folded(one).as_ref() == Some(&compared));
            // Users without a name of their own are told apart by their sessions.
            let user = if sitting.is_anonymous() { format!("{seat:?}") } else { user_of(&sitting.who) };
            if reserved || !self.nicknames.take(&compared, &user, now) {
                return StatusCode::NICKNAME_FAILED;
            }
            Some((name.to_owned(), compared))
        };
        // §7.2: the old one goes when the new one is there; nobody returns to it, so that it need not wait.
        if let Some((_, old)) = std::mem::replace(&mut sitting.nickname, wanted) {
            self.nicknames.release(&old, now, Duration::ZERO);
        }
        StatusCode::OK
    }

    /// Who gets a message (RFC 7701 §6): one to the room, all but the session that it came in; one to a participant, each of that
    /// one's devices.
    ///
    /// # Errors
    /// The answer of §6.2 and §6.3.
    pub(super) fn recipients(&self, seat: Seat, message: &Received) -> Result<Vec<Seat>, StatusCode> {
        let sitting = self.seats.get(&seat).ok_or(StatusCode::NO_SESSION)?;
        let kind = message.content_type.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(Cpim::CONTENT_TYPE) {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let cpim = Cpim::parse(&message.body).map_err(|_| StatusCode::BAD_REQUEST)?;
        if !cpim.from().is_some_and(|from| names(&from.uri, &sitting.who)) {
            return Err(StatusCode::FORBIDDEN);
        }
        // §6.2: one recipient, and no copies to others.
        let to = cpim.to();
        let [to] = to.as_slice() else { return Err(StatusCode::FORBIDDEN) };
        if !cpim.cc().is_empty() {
            return Err(StatusCode::FORBIDDEN);
        }
        if !self.policy.wrapped_types.takes(cpim.content_type()) {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let takes = |sitting: &Sitting| sitting.device.wrapped.takes(cpim.content_type());
        if names(&to.uri, &self.uri) {
            let all = self.seats.iter().filter(|&(other, sitting)| *other != seat && takes(sitting));
            return Ok(all.map(|(other, _)| *other).collect());
        }
        if !self.policy.private_messages {
            return Err(StatusCode::FORBIDDEN);
        }
        let mut found = self
            .seats
            .iter()
            .filter(|(_, sitting)| !sitting.is_anonymous() && names(&to.uri, &sitting.who))
            .peekable();
        if found.peek().is_none() {
            return Err(StatusCode::NOT_FOUND);
        }
        let mut able = found.filter(|(_, sitting)| sitting.device.takes_private).peekable();
        if able.peek().is_none() {
            return Err(StatusCode::NO_PRIVATE_MESSAGES);
        }
        Ok(able.filter(|(_, sitting)| takes(sitting)).map(|(other, _)| *other).collect())
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
