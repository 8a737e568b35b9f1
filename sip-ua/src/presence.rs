//! Presence in a few words: open or not, what somebody does, a note (RFC 3863, RFC 4479, RFC 4480).

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use sip_dialog::PublicationChange;
use sip_dialog::packages::presence::rpid::{Choice, Qualified};
use sip_dialog::packages::presence::{Activity, Basic, Note, Person, Presence, Tuple, Words};
use sip_message::headers::Date;

use crate::phone::Phone;
use crate::requests::RequestError;
use crate::watch::Published;

/// How somebody is, as people read it: the sum of a presence document, or what makes one.
///
/// ```
/// use sip_ua::{Activity, PresenceState};
///
/// let state: PresenceState = "on the phone".parse()?;
/// assert_eq!(state, PresenceState::doing(Activity::OnThePhone));
/// assert_eq!(state.with_note("back at four").to_string(), "open, on the phone: back at four");
/// # Ok::<(), sip_ua::PresenceStateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceState {
    /// Whether they can be reached in any way (RFC 3863 §4.1.4).
    pub open: bool,
    /// What they do, without those that nobody has a word for (RFC 4480 §3.2).
    pub activities: Vec<Activity>,
    /// What they do in words of their own (`<other>`).
    pub others: Vec<String>,
    /// A remark for people.
    pub note: Option<String>,
    /// Since when, if it is told.
    pub since: Option<Date>,
}

/// The word is none for a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no state; use open, closed, or an activity of RFC 4480 such as away, busy, 'on the phone' or vacation"
)]
pub struct PresenceStateError(String);

impl PresenceState {
    /// Can be reached, and nothing else is told.
    pub fn open() -> Self {
        Self { open: true, activities: Vec::new(), others: Vec::new(), note: None, since: None }
    }

    /// Cannot be reached.
    pub fn closed() -> Self {
        Self { open: false, ..Self::open() }
    }

    /// Can be reached, and does this. Use [`PresenceState::closed`] and `activities` for who cannot.
    pub fn doing(activity: Activity) -> Self {
        Self { activities: vec![activity], ..Self::open() }
    }

    /// With a remark.
    #[must_use]
    pub fn with_note(mut self, note: &str) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Since this moment.
    #[must_use]
    pub fn since(mut self, time: SystemTime) -> Self {
        self.since = date(time);
        self
    }

    /// The sum of a document: open if any way is, every activity of every person and service once, the first note, and the
    /// last moment that something changed.
    pub fn of(document: &Presence) -> Self {
        let mut state = Self { open: document.is_open(), ..Self::open() };
        let rpids = document.persons.iter().map(|person| &person.rpid);
        let all = rpids.chain(document.tuples.iter().map(|tuple| &tuple.rpid)).flat_map(|it| &it.activities);
        let mut remarks = Vec::new();
        let mut dates = Vec::new();
        for activities in all {
            for activity in &activities.value {
                match activity {
                    Choice::Word(word) if !state.activities.contains(word) => state.activities.push(*word),
                    Choice::Other(other) if !state.others.contains(&other.text) => {
                        state.others.push(other.text.clone());
                    }
                    Choice::Word(_) | Choice::Other(_) | Choice::Element(_) => {}
                }
            }
            remarks.extend(&activities.notes);
            dates.push(activities.from.as_deref());
        }
        let persons = document.persons.iter().flat_map(|person| &person.notes);
        let tuples = document.tuples.iter().flat_map(|tuple| &tuple.notes);
        let note = document.notes.iter().chain(persons).chain(tuples).chain(remarks).map(|note| &note.text);
        state.note = note.into_iter().find(|text| !text.trim().is_empty()).cloned();
        dates.extend(document.persons.iter().map(|person| person.timestamp.as_deref()));
        dates.extend(document.tuples.iter().map(|tuple| tuple.timestamp.as_deref()));
        let dates = dates.into_iter().flatten().filter_map(Date::from_rfc3339);
        state.since = dates.max_by_key(|date| date.unix_seconds());
        state
    }

    /// The document: a way to reach `address`, and the person behind it if anything is said of it.
    pub fn to_document(&self, address: &str) -> Presence {
        let basic = if self.open { Basic::Open } else { Basic::Closed };
        let mut document = Presence::new(address, basic, Some(address));
        let since = self.since.map(Date::to_rfc3339);
        if let Some(Tuple { timestamp, .. }) = document.tuples.first_mut() {
            timestamp.clone_from(&since);
        }
        let words = self.activities.iter().copied().map(Choice::Word);
        let others = self.others.iter().map(|text| Choice::Other(remark(text)));
        let doing: Vec<_> = words.chain(others).collect();
        if doing.is_empty() && self.note.is_none() {
            return document;
        }
        let mut person = Person { id: "p1".into(), ..Person::default() };
        person.timestamp.clone_from(&since);
        if !doing.is_empty() {
            person.rpid.activities.push(Qualified { from: since, ..Qualified::new(doing) });
        }
        person.notes.extend(self.note.as_deref().map(remark));
        document.persons.push(person);
        document
    }

    /// What they do, in words: `on the phone`, `away`. Empty if nothing is told.
    pub fn activity(&self) -> String {
        let words = self.activities.iter().map(|activity| activity.name().replace('-', " "));
        words.chain(self.others.iter().cloned()).collect::<Vec<_>>().join(", ")
    }
}

/// The moment as documents write it; `None` before 1970 and where no calendar goes.
pub(crate) fn date(time: SystemTime) -> Option<Date> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    i64::try_from(seconds).ok().and_then(Date::from_unix_seconds)
}

fn remark(text: &str) -> Note {
    Note { text: text.into(), language: None }
}

/// As people say it: `open, on the phone: back at four`.
impl fmt::Display for PresenceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.open { "open" } else { "closed" })?;
        let activity = self.activity();
        if !activity.is_empty() {
            write!(f, ", {activity}")?;
        }
        self.note.iter().try_for_each(|note| write!(f, ": {note}"))
    }
}

/// `open`, `closed`, or an activity with spaces or hyphens.
impl FromStr for PresenceState {
    type Err = PresenceStateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = text.trim().to_ascii_lowercase().replace(' ', "-");
        match word.as_str() {
            "open" => Ok(Self::open()),
            "closed" => Ok(Self::closed()),
            activity => {
                Activity::of(activity).map(Self::doing).ok_or_else(|| PresenceStateError(text.into()))
            }
        }
    }
}

/// Our presence at the server; it is kept fresh. Dropping it removes it.
#[derive(Debug)]
pub struct PublishedPresence {
    published: Published,
    address: String,
}

impl PublishedPresence {
    /// Publishes another state in its place.
    ///
    /// # Errors
    /// If it has ended.
    pub fn set(&self, state: &PresenceState) -> Result<(), RequestError> {
        self.published.update(state.to_document(&self.address).to_body())
    }

    /// What is new: that the server has it, or not; `None` once it has ended.
    pub async fn next(&mut self) -> Option<PublicationChange> {
        self.published.next().await
    }

    /// Removes it, and waits until the server has done so, or does not answer.
    pub async fn remove(mut self) {
        self.published.remove();
        while self.published.next().await.is_some() {}
    }
}

impl Phone {
    /// Publishes our presence at our server, and waits until it is there (RFC 3903). It is refreshed until it is removed or
    /// dropped.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn publish_presence(&self, state: &PresenceState) -> Result<PublishedPresence, RequestError> {
        let address = self.address();
        let published = self.publish("presence", state.to_document(&address).to_body()).await?;
        Ok(PublishedPresence { published, address })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    /// RFC 4480 §3.2, RFC 4479 §3.1: what was told is read again, through the document as it is sent.
    #[test]
    fn a_state_there_and_back() {
        let time = UNIX_EPOCH + std::time::Duration::from_secs(1_790_000_000);
        let mut state =
            PresenceState::doing(Activity::OnThePhone).with_note("back at <four> & later").since(time);
        state.activities.push(Activity::Busy);
        state.others.push("juggling".into());
        for state in
            [state, PresenceState::open(), PresenceState::closed(), PresenceState::closed().since(time)]
        {
            let written = state.to_document("sip:alice@example.com").to_body();
            assert_eq!(PresenceState::of(&Presence::parse(&written.octets).unwrap()), state);
        }
    }

    /// RFC 4480 §4: its own example, of which the words, a note and the time are read.
    #[test]
    fn words_for_people() {
        for (word, shown) in [
            ("open", "open"),
            ("Closed", "closed"),
            ("on the phone", "open, on the phone"),
            ("on-the-phone", "open, on the phone"),
            ("away", "open, away"),
            ("vacation", "open, vacation"),
        ] {
            assert_eq!(word.parse::<PresenceState>().unwrap().to_string(), shown);
        }
        assert!("juggling".parse::<PresenceState>().is_err());
        let several = Presence::composed(
            "sip:alice@example.com",
            &[
                PresenceState::doing(Activity::Away).to_document("sip:alice@desk.example.com"),
                PresenceState::closed().with_note("").to_document("sip:alice@home.example.com"),
                PresenceState::doing(Activity::Away)
                    .with_note("lunch")
                    .to_document("sip:alice@cell.example.com"),
            ],
        );
        assert_eq!(PresenceState::of(&several).to_string(), "open, away: lunch");
    }
}
