//! How the program ends: a code for scripts and one line for people.

use std::fmt;
use std::process::ExitCode;

use sip_message::StatusCode;

use crate::output::printable;

/// What became of it. The numbers are part of the command line's contract; `sip --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Answered and ended well.
    Well = 0,
    /// Wrong usage, or a fault of this program or machine.
    Fault = 1,
    /// Busy or declined.
    Busy = 2,
    /// Not answered in time, or cancelled.
    NoAnswer = 3,
    /// Nobody there to ask.
    Unreachable = 4,
    /// Refused otherwise.
    Refused = 5,
    /// User or password not accepted.
    Unauthenticated = 6,
    /// Nothing agreed on, or what was to be sent could not be.
    BadMedia = 7,
}

impl Code {
    /// What a final response other than 2xx means (RFC 3261 §21).
    pub(crate) fn of(status: StatusCode) -> Self {
        match status.code() {
            200..300 => Self::Well,
            401 | 407 => Self::Unauthenticated,
            486 | 600 | 603 => Self::Busy,
            487 => Self::NoAnswer,
            408 | 503 | 504 => Self::Unreachable,
            488 | 606 => Self::BadMedia,
            _ => Self::Refused,
        }
    }

    /// One word, for JSON.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Well => "ended",
            Self::Fault => "fault",
            Self::Busy => "busy",
            Self::NoAnswer => "no answer",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Unauthenticated => "not authenticated",
            Self::BadMedia => "bad media",
        }
    }

    /// The number.
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// Why the program cannot go on.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: Code,
    /// One line.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with this code.
    pub(crate) fn new(code: Code, message: impl fmt::Display) -> Self {
        // An error of somebody else may run over several lines; a script reads one.
        let message = message.to_string();
        let message = printable(&message.split_whitespace().collect::<Vec<_>>().join(" "));
        Self { code, message }
    }

    /// Wrong usage, or a fault of ours.
    pub(crate) fn fault(message: impl fmt::Display) -> Self {
        Self::new(Code::Fault, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_code() {
        for (status, code) in [
            (200, Code::Well),
            (302, Code::Refused),
            (401, Code::Unauthenticated),
            (403, Code::Refused),
            (404, Code::Refused),
            (407, Code::Unauthenticated),
            (408, Code::Unreachable),
            (480, Code::Refused),
            (486, Code::Busy),
            (487, Code::NoAnswer),
            (488, Code::BadMedia),
            (500, Code::Refused),
            (503, Code::Unreachable),
            (600, Code::Busy),
            (603, Code::Busy),
            (606, Code::BadMedia),
        ] {
            assert_eq!(Code::of(StatusCode::new(status).unwrap()), code, "{status}");
        }
    }

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(Failure::fault("several\n  lines\n").to_string(), "several lines");
    }
}
