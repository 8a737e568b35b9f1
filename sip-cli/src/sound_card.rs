//! The microphone and the loudspeaker of this machine, for one call at a time.

use std::sync::{Mutex, PoisonError};

use sip_ua::{Audio, LiveSound, SoundCard};

use crate::exit::Failure;

/// The sound card in use.
#[derive(Debug)]
pub(crate) struct Talk {
    live: LiveSound,
    _card: SoundCard,
    /// Whom we talk with.
    with: Mutex<Option<Audio>>,
}

impl Talk {
    /// Opens it, if it is wanted, before anybody is called for it.
    pub(crate) fn open(wanted: bool) -> Result<Option<Self>, Failure> {
        if !wanted {
            return Ok(None);
        }
        let live = LiveSound::new();
        let card = SoundCard::open(&live).map_err(Failure::fault)?;
        Ok(Some(Self { live, _card: card, with: Mutex::new(None) }))
    }

    /// Talks with the peer of this call; the one before hears silence.
    pub(crate) fn begin(&self, audio: &Audio) {
        let before = self.with.lock().unwrap_or_else(PoisonError::into_inner).replace(audio.clone());
        if let Some(before) = before {
            before.stop_playing();
        }
        audio.connect(&self.live);
    }
}
