//! Causes of the telephone network (Q.850) and status codes of ours (RFC 3398 §7.2.4.1, §8.2.6.1).

use crate::StatusCode;
use crate::headers::Reason;

/// The protocol of a `Reason` whose cause is one of the telephone network (RFC 3326 §2).
const PROTOCOL: &str = "Q.850";

impl Reason {
    /// A cause of the telephone network: 16 for an ordinary end, 17 for a busy line.
    pub fn q850(cause: u8) -> Self {
        Self::with_cause(PROTOCOL, (cause & 0x7f).into(), "")
    }

    /// The cause of the telephone network, 0 to 127, if it is one.
    pub fn q850_cause(&self) -> Option<u8> {
        let cause = self.cause().and_then(|cause| u8::try_from(cause).ok()).filter(|cause| *cause < 128);
        cause.filter(|_| self.token.eq_ignore_ascii_case(PROTOCOL))
    }

    /// The status code that it stands for: its own of a `SIP` reason, else that of RFC 3398 §7.2.4.1. `None` for an ordinary end,
    /// and for what has no status.
    pub fn status(&self) -> Option<StatusCode> {
        match self.q850_cause() {
            Some(cause) => StatusCode::of_q850(cause),
            None if self.token.eq_ignore_ascii_case("SIP") => StatusCode::new(self.cause()?),
            None => None,
        }
    }
}

impl StatusCode {
    /// The status for a call that ends with this cause in the telephone network (RFC 3398 §7.2.4.1); a cause without one of its
    /// own has that of its class. `None` for 16, an ordinary end, which has no status.
    pub fn of_q850(cause: u8) -> Option<Self> {
        let code = match cause {
            16 => return None,
            1..=3 | 26 => 404,
            17 => 486,
            18 => 408,
            19 | 20 => 480,
            21 | 55 | 57 | 87 => 403,
            22 | 23 => 410,
            27 => 502,
            28 => 484,
            29 | 79 => 501,
            0..=31 => 480,
            32..=63 => 503,
            65 | 70 => 488,
            64..=79 => 501,
            102 => 504,
            80..=95 => 503,
            _ => 500,
        };
        Self::new(code)
    }

    /// The cause with which the telephone network is told of this failure (RFC 3398 §8.2.6.1). `None` for what is no failure, for
    /// 487, and for 488 and 606, whose Warning tells: 31 unless it says more.
    pub fn q850_cause(self) -> Option<u8> {
        Some(match self.code() {
            300..=399 => 23,
            401..=403 | 407 | 603 => 21,
            404 | 485 | 604 => 1,
            405 => 63,
            406 | 415 | 501 => 79,
            408 | 504 => 102,
            410 => 22,
            413 | 414 | 416 | 420 | 421 | 423 | 505 | 513 => 127,
            480 => 18,
            482 | 483 => 25,
            484 => 28,
            486 | 600 => 17,
            487 | 488 | 606 => return None,
            502 => 38,
            400..=599 => 41,
            600..=699 => 31,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;

    /// RFC 3398 §7.2.4.1, §8.2.6.1, line by line where they say something.
    #[test]
    fn causes_and_statuses() {
        let causes = [
            (1, 404),
            (2, 404),
            (3, 404),
            (17, 486),
            (18, 408),
            (19, 480),
            (20, 480),
            (21, 403),
            (22, 410),
            (23, 410),
            (26, 404),
            (27, 502),
            (28, 484),
            (29, 501),
            (31, 480),
            (34, 503),
            (38, 503),
            (41, 503),
            (42, 503),
            (47, 503),
            (55, 403),
            (57, 403),
            (58, 503),
            (65, 488),
            (70, 488),
            (79, 501),
            (87, 403),
            (88, 503),
            (102, 504),
            (111, 500),
            (127, 500),
        ];
        for (cause, status) in causes {
            assert_eq!(StatusCode::of_q850(cause).map(StatusCode::code), Some(status), "{cause}");
        }
        assert_eq!(StatusCode::of_q850(16), None);
        let statuses = [
            (400, 41),
            (401, 21),
            (402, 21),
            (403, 21),
            (404, 1),
            (405, 63),
            (406, 79),
            (407, 21),
            (408, 102),
            (410, 22),
            (413, 127),
            (414, 127),
            (415, 79),
            (416, 127),
            (420, 127),
            (421, 127),
            (423, 127),
            (480, 18),
            (481, 41),
            (482, 25),
            (483, 25),
            (484, 28),
            (485, 1),
            (486, 17),
            (500, 41),
            (501, 79),
            (502, 38),
            (503, 41),
            (504, 102),
            (505, 127),
            (513, 127),
            (600, 17),
            (603, 21),
            (604, 1),
        ];
        for (status, cause) in statuses {
            assert_eq!(StatusCode::new(status).and_then(StatusCode::q850_cause), Some(cause), "{status}");
        }
        for none in [180, 200, 487, 488, 606] {
            assert_eq!(StatusCode::new(none).and_then(StatusCode::q850_cause), None, "{none}");
        }
    }

    #[test]
    fn reasons_of_either_network() {
        let busy = Reason::parse("Q.850;cause=17;text=\"busy\"").unwrap();
        assert_eq!((busy.q850_cause(), busy.status()), (Some(17), Some(StatusCode::BUSY_HERE)));
        assert_eq!(Reason::q850(17), Reason::parse("Q.850;cause=17").unwrap());
        let elsewhere = Reason::parse("SIP;cause=200").unwrap();
        assert_eq!((elsewhere.q850_cause(), elsewhere.status()), (None, Some(StatusCode::OK)));
        for none in ["Q.850;cause=128", "Q.850", "Q.850;cause=16", "preemption;cause=1"] {
            assert_eq!(Reason::parse(none).unwrap().status(), None, "{none}");
        }
    }
}
