//! Calls that answer themselves, and who may have that (RFC 5373).

use sip_message::headers::{AnswerMode, PrivAnswerMode};
use sip_message::{Request, Uri};
use sip_transport::Path;

use super::PhoneCore;

/// Whose calls may be answered without anybody at hand: only callers whom a trusted peer vouches for (RFC 5373 §4.5.1, §7.2). A
/// phone that answers whoever asks for it is a bug in the room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerPolicy {
    /// Addresses whose `Answer-Mode: Auto` is followed.
    pub callers: Vec<Uri>,
    /// Addresses whose `Priv-Answer-Mode: Auto` is followed, whatever else the phone is told.
    pub privileged: Vec<Uri>,
}

/// How a caller is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HowToAnswer {
    /// By a person.
    ByPerson,
    /// At once.
    AtOnce,
    /// Not at all: the caller wants it at once or not (`require`), and may not have it.
    NotAtAll,
}

impl PhoneCore {
    /// How the caller wants to be answered and may be. [`HowToAnswer::ByPerson`] without a policy, whatever the call says.
    pub fn how_to_answer(&self, request: &Request, path: &Path) -> HowToAnswer {
        let Some(policy) = &self.config.answer_policy else { return HowToAnswer::ByPerson };
        // §4.1: with privilege first; without it as if that field was not there.
        let privileged = request.headers.get::<PrivAnswerMode>().ok().flatten();
        if let Some(mode) = &privileged
            && self.is_one_of(&policy.privileged, request, path)
        {
            return if mode.is_automatic() { HowToAnswer::AtOnce } else { HowToAnswer::ByPerson };
        }
        match request.headers.get::<AnswerMode>().ok().flatten() {
            Some(mode) if mode.is_automatic() => match self.is_one_of(&policy.callers, request, path) {
                true => HowToAnswer::AtOnce,
                false if mode.is_required() => HowToAnswer::NotAtAll,
                false => HowToAnswer::ByPerson,
            },
            Some(_) => HowToAnswer::ByPerson,
            None => match privileged {
                Some(mode) if mode.is_automatic() && mode.is_required() => HowToAnswer::NotAtAll,
                _ => HowToAnswer::ByPerson,
            },
        }
    }
}
