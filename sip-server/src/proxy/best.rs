//! The best of several final responses: RFC 3261 §16.7 steps 6 and 7.

use sip_message::{HeaderName, Headers, Response, StatusCode};

/// The final responses of a context that were not forwarded at once: the best one, and every challenge.
#[derive(Debug, Default)]
pub(crate) struct Best {
    chosen: Option<Final>,
    /// WWW-Authenticate and Proxy-Authenticate of all 401 and 407.
    challenges: Headers,
}

/// A failure response, received or our own.
#[derive(Debug)]
pub(crate) enum Final {
    /// From downstream, our Via taken off.
    Received(Box<Response>),
    /// Nothing came, or nothing that can be forwarded: this status stands for it.
    Local(StatusCode),
    /// It was not sent, because the next hop has asked to be spared: 503 without Retry-After (RFC 7339 §5.10).
    Spared,
}

impl Final {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Received(response) => response.status(),
            Self::Local(status) => *status,
            Self::Spared => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

const CHALLENGES: [HeaderName; 2] = [HeaderName::WWW_AUTHENTICATE, HeaderName::PROXY_AUTHENTICATE];

/// Lower is better: a 6xx first, then the lowest class; within one those that tell the client how to succeed, and those
/// last that say the least.
fn rank(status: StatusCode) -> (u16, u16) {
    let class = if status.class() == 6 { 0 } else { status.class() };
    let within = match status.code() {
        401 | 407 => 0,
        415 | 420 | 484 => 1,
        408 | 480 | 487 | 503 => 3,
        _ => 2,
    };
    (class, within)
}

impl Best {
    /// Adds a final response to the context.
    pub(crate) fn add(&mut self, new: Final) {
        if let Final::Received(response) = &new
            && is_challenge(response.status())
        {
            for name in CHALLENGES {
                self.challenges.copy_from(&response.headers, name);
            }
        }
        if self.chosen.as_ref().is_none_or(|old| rank(new.status()) < rank(old.status())) {
            self.chosen = Some(new);
        }
    }

    /// The response to forward; 408 if there was none at all. Challenges of all branches go with a 401 or 407 (step 7),
    /// and a 503 becomes 500, since it is about one server and not about this one (step 6).
    pub(crate) fn take(&mut self) -> Final {
        let chosen = self.chosen.take().unwrap_or(Final::Local(StatusCode::REQUEST_TIMEOUT));
        match chosen {
            Final::Received(mut response) if is_challenge(response.status()) => {
                for name in CHALLENGES {
                    response.headers.remove(name);
                    response.headers.copy_from(&self.challenges, name);
                }
                Final::Received(response)
            }
            Final::Spared => Final::Local(StatusCode::SERVICE_UNAVAILABLE),
            other if other.status() == StatusCode::SERVICE_UNAVAILABLE => {
                Final::Local(StatusCode::SERVER_INTERNAL_ERROR)
            }
            other => other,
        }
    }
}

fn is_challenge(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip_message::Limits;

    fn received(status: u16, extra: &str) -> Final {
        let text = format!("SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP h\r\n{extra}\r\n");
        Final::Received(Box::new(Response::parse(text.into(), &Limits::default()).unwrap()))
    }

    fn best_of(codes: &[u16]) -> u16 {
        let mut best = Best::default();
        codes.iter().for_each(|code| best.add(received(*code, "")));
        best.take().status().code()
    }

    /// RFC 3261 §16.7 step 6.
    #[test]
    fn the_choice_among_failures() {
        assert_eq!(best_of(&[486, 603]), 603);
        assert_eq!(best_of(&[603, 302]), 603);
        assert_eq!(best_of(&[500, 486]), 486);
        assert_eq!(best_of(&[404, 302]), 302);
        assert_eq!(best_of(&[408, 486]), 486);
        assert_eq!(best_of(&[486, 407]), 407);
        assert_eq!(best_of(&[404, 420]), 420);
        assert_eq!(best_of(&[503]), 500);
        assert_eq!(best_of(&[503, 502]), 502);
        assert_eq!(best_of(&[]), 408);
    }

    /// RFC 3261 §16.7 step 7: all challenges reach the client.
    #[test]
    fn challenges_of_all_branches_are_gathered() {
        let mut best = Best::default();
        best.add(received(407, "Proxy-Authenticate: Digest realm=\"a\", nonce=\"1\"\r\n"));
        best.add(received(401, "WWW-Authenticate: Digest realm=\"b\", nonce=\"2\"\r\n"));
        best.add(received(407, "Proxy-Authenticate: Digest realm=\"c\", nonce=\"3\"\r\n"));
        let Final::Received(response) = best.take() else { panic!("one of those received") };
        assert_eq!(response.status().code(), 407);
        assert_eq!(response.headers.count(HeaderName::PROXY_AUTHENTICATE), 2);
        assert_eq!(response.headers.count(HeaderName::WWW_AUTHENTICATE), 1);
    }
}
