//! Keys of a telephone, both ways (RFC 4733).

use super::AudioStream;
use crate::dtmf::{self, MAX_QUEUED};

/// Digits waiting for the caller.
const MAX_DIGITS: usize = 256;

/// Why digits cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigitError {
    /// Neither a digit nor `*`, `#`, `A` to `D` or `!` (flash).
    #[error("{0:?} is no key of a telephone; use 0-9 * # A-D or ! for a flash")]
    NotAKey(char),
    /// The peer did not agree to telephone-event.
    #[error("the peer takes no telephone events; send tones in the audio instead")]
    NotNegotiated,
    /// Too many are waiting.
    #[error("more than {MAX_QUEUED} digits are waiting; send them later")]
    QueueFull,
}

impl AudioStream {
    /// Queues digits as telephone events (RFC 4733).
    ///
    /// # Errors
    /// [`DigitError`]; then none of them is sent.
    pub fn send_digits(&mut self, keys: &str) -> Result<(), DigitError> {
        if self.format.telephone_event.is_none() {
            return Err(DigitError::NotNegotiated);
        }
        let to_event = |key| dtmf::Event::from_key(key).ok_or(DigitError::NotAKey(key));
        let events: Vec<dtmf::Event> = keys.chars().map(to_event).collect::<Result<_, _>>()?;
        if self.events_out.queued() + events.len() > MAX_QUEUED {
            return Err(DigitError::QueueFull);
        }
        events
            .into_iter()
            .try_for_each(|event| self.events_out.push(event))
            .map_err(|_| DigitError::QueueFull)
    }

    /// Whether digits are still being sent or wait.
    #[must_use]
    pub fn is_sending_digits(&self) -> bool {
        !self.events_out.is_idle()
    }

    /// The next digit that the peer pressed, each once.
    pub fn poll_digit(&mut self) -> Option<char> {
        self.digits.pop_front()
    }

    pub(super) fn collect_digits(&mut self) {
        while let Some(notice) = self.events_in.poll() {
            if let dtmf::Notice::Started(event) = notice
                && let Some(key) = event.key()
                && self.digits.len() < MAX_DIGITS
            {
                self.digits.push_back(key);
            }
        }
    }
}
