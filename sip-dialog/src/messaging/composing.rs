//! `application/im-iscomposing+xml`: somebody is writing (RFC 3994).
//!
//! [`Composer`] says when to tell the other side, and [`ComposingPeer`] whether the other side is writing. Both are told the
//! time; neither sends anything.

use std::time::{Duration, Instant};

use crate::event::Body;
use crate::packages::DocumentError;
use crate::packages::dialog_info::words;
use crate::packages::presence::Extension;
use crate::packages::xml::{self, Element, Vocabulary};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:im-iscomposing";
const VOCABULARY: Vocabulary = Vocabulary { namespace: NAMESPACE, prefixes: &[], declaring: None };

/// The shortest time between two messages that say `active` (§3.2).
pub const LEAST_REFRESH: Duration = Duration::from_secs(60);
/// After this time without a key `idle` is sent, unless somebody wants it otherwise (§3.2).
pub const IDLE_AFTER: Duration = Duration::from_secs(15);
/// A peer that names no time counts as idle after this one (§3.3).
pub const WITHOUT_REFRESH: Duration = Duration::from_secs(120);
/// The longest time that a peer counts as writing without saying so again: it may name any, and be gone.
pub const MOST_REFRESH: Duration = Duration::from_secs(3600);

words! {
    /// Whether somebody is writing (§3.4).
    ComposingState {
        /// They are.
        Active "active",
        /// They are not.
        Idle "idle",
    }
}

/// A document (§3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsComposing {
    /// Whether somebody is writing. A word that is not known counts as idle (§3.5).
    pub state: ComposingState,
    /// When they wrote something last: a date and time of RFC 3339, as written.
    pub last_active: Option<String>,
    /// What they are making: a media type, or its first half.
    pub content_type: Option<String>,
    /// Seconds after which it is said again.
    pub refresh: Option<u64>,
    /// What others have defined.
    pub extensions: Vec<Extension>,
}

impl IsComposing {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "application/im-iscomposing+xml";

    /// A document that says no more.
    pub fn new(state: ComposingState) -> Self {
        Self { state, last_active: None, content_type: None, refresh: None, extensions: Vec::new() }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no document of this kind, or passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        let root = xml::read_whole(octets, &VOCABULARY)?;
        let bad = |what| DocumentError::Malformed { element: "isComposing", what };
        if !root.is(NAMESPACE, "isComposing") {
            return Err(bad("the root"));
        }
        let state = root.child("state").ok_or(bad("state"))?.text();
        let text = |name| root.child(name).map(|child| child.text().to_owned());
        Ok(Self {
            state: ComposingState::parse(state).unwrap_or(ComposingState::Idle),
            last_active: text("lastactive"),
            content_type: text("contenttype"),
            refresh: root.child("refresh").and_then(|refresh| refresh.text().parse().ok()),
            extensions: root.elements().filter(|it| it.namespace() != NAMESPACE).cloned().collect(),
        })
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        let mut root = Element::of(NAMESPACE, "isComposing");
        root.push_leaf(NAMESPACE, "state", self.state.as_str());
        let refresh = self.refresh.map(|seconds| seconds.to_string());
        let texts =
            [("lastactive", &self.last_active), ("contenttype", &self.content_type), ("refresh", &refresh)];
        for (name, text) in texts {
            if let Some(text) = text {
                root.push_leaf(NAMESPACE, name, text);
            }
        }
        root.push_all(self.extensions.iter().cloned());
        xml::document(&root, &VOCABULARY)
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_xml().into() }
    }
}

/// What tells the other side that we write (§3.2, figure 1): once for each message as a rule, since the message itself says
/// that it is written; again no sooner than after the refresh interval.
#[derive(Clone, Debug)]
pub struct Composer {
    refresh: Option<Duration>,
    idle_after: Duration,
    /// The last key, and when `active` was sent, while we write.
    active: Option<(Instant, Instant)>,
    refused: bool,
}

impl Composer {
    /// One that repeats `active` after `refresh` (at least [`LEAST_REFRESH`]) or never, and becomes idle after
    /// `idle_after`, such as [`IDLE_AFTER`].
    pub fn new(refresh: Option<Duration>, idle_after: Duration) -> Self {
        let refresh = refresh.map(|refresh| refresh.max(LEAST_REFRESH));
        Self { refresh, idle_after, active: None, refused: false }
    }

    /// Whether we write.
    pub fn state(&self) -> ComposingState {
        if self.active.is_some() { ComposingState::Active } else { ComposingState::Idle }
    }

    fn says(&self, state: ComposingState) -> Option<IsComposing> {
        let refresh = self.refresh.filter(|_| state == ComposingState::Active);
        let refresh = refresh.map(|refresh| refresh.as_secs());
        Some(IsComposing { refresh, ..IsComposing::new(state) }).filter(|_| !self.refused)
    }

    /// A key was pressed: what to send, if anything.
    pub fn composing(&mut self, now: Instant) -> Option<IsComposing> {
        if let Some((key, _)) = &mut self.active {
            *key = now;
            return self.handle_timeout(now);
        }
        self.active = Some((now, now));
        self.says(ComposingState::Active)
    }

    /// The message was sent: it says by itself that we write no more.
    pub fn sent(&mut self) {
        self.active = None;
    }

    /// The other side answered 415: it is told no more (§4).
    pub fn refused(&mut self) {
        self.refused = true;
    }

    /// When to call [`Composer::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (key, told) = self.active?;
        let idle = key.checked_add(self.idle_after)?;
        let again = self.refresh.and_then(|refresh| told.checked_add(refresh));
        Some(again.map_or(idle, |again| again.min(idle)))
    }

    /// What to send, if anything.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<IsComposing> {
        let (key, told) = self.active?;
        if now.saturating_duration_since(key) >= self.idle_after {
            self.active = None;
            return self.says(ComposingState::Idle);
        }
        let again = self.refresh.is_some_and(|refresh| now.saturating_duration_since(told) >= refresh);
        if !again {
            return None;
        }
        self.active = Some((key, now));
        self.says(ComposingState::Active)
    }
}

/// What the other side says of its writing (§3.3, figure 2).
#[derive(Clone, Debug, Default)]
pub struct ComposingPeer {
    until: Option<Instant>,
}

impl ComposingPeer {
    /// One that has said nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it is writing.
    pub fn state(&self) -> ComposingState {
        if self.until.is_some() { ComposingState::Active } else { ComposingState::Idle }
    }

    /// A document came.
    pub fn receive(&mut self, now: Instant, document: &IsComposing) {
        let after = document.refresh.map_or(WITHOUT_REFRESH, Duration::from_secs).min(MOST_REFRESH);
        self.until = match document.state {
            ComposingState::Active => now.checked_add(after),
            ComposingState::Idle => None,
        };
    }

    /// A message with content came: it is no longer being written.
    pub fn received_content(&mut self) {
        self.until = None;
    }

    /// When to call [`ComposingPeer::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it counts as idle from now on.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let over = self.until.is_some_and(|until| now >= until);
        if over {
            self.until = None;
        }
        over
    }
}
