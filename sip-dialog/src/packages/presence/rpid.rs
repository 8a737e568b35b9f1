//! Rich presence (RFC 4480): what a person does and feels and where, and what kind of service one is.
//!
//! What it has no word for stays as it came: a foreign element among the words is [`Choice::Element`], and an element of
//! which nothing can be made is left to the `extensions` of whatever it is in.

use super::words::{
    Activity, AudioPlace, InputState, Mood, PlaceType, Privacy, Relationship, ServiceClass, Sphere,
    TextPlace, VideoPlace, Vocabulary,
};
use super::{Note, RPID};
use crate::packages::xml::{Attribute, Content, Element};

/// What RFC 4480 says of a person, a service or a device. Table 1 of its §3.1 says which may have what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rpid {
    /// What the person does (§3.2); several for several times.
    pub activities: Vec<Qualified<Vec<Choice<Activity>>>>,
    /// What groups it with others (§3.3).
    pub class: Option<String>,
    /// How the person feels (§3.5).
    pub moods: Vec<Qualified<Vec<Choice<Mood>>>>,
    /// What the place is like (§3.6).
    pub place_is: Vec<Qualified<PlaceIs>>,
    /// What place it is (§3.7).
    pub place_types: Vec<Qualified<Vec<Choice<PlaceType>>>>,
    /// What others do not overhear (§3.8).
    pub privacy: Vec<Qualified<Vec<Choice<Privacy>>>>,
    /// Who answers (§3.9).
    pub relationship: Option<Qualified<Vec<Choice<Relationship>>>>,
    /// What kind of service it is (§3.10).
    pub service_class: Option<Qualified<Vec<Choice<ServiceClass>>>>,
    /// The role that the person plays (§3.11); the example of §4 has a text there, which is [`Choice::Other`].
    pub spheres: Vec<Qualified<Vec<Choice<Sphere>>>>,
    /// URIs of pictures (§3.12).
    pub status_icons: Vec<Qualified<String>>,
    /// The time zone (§3.13).
    pub time_offsets: Vec<Qualified<TimeOffset>>,
    /// Whether there was input (§3.14).
    pub user_input: Option<Qualified<UserInput>>,
}

/// What may be for a time, and have remarks (§3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Qualified<T> {
    /// Names the element within the document.
    pub id: Option<String>,
    /// Since when: a date and time of RFC 3339, as written.
    pub from: Option<String>,
    /// Until when it is expected to be.
    pub until: Option<String>,
    /// Attributes that others have defined.
    pub attributes: Vec<Attribute>,
    /// Remarks.
    pub notes: Vec<Note>,
    /// What is.
    pub value: T,
}

/// A word, or something else in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<W> {
    /// A word of the list.
    Word(W),
    /// `<other>`: a text.
    Other(Note),
    /// An element of another list (§6).
    Element(Element),
}

/// What a place is like (§3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceIs {
    /// For talking.
    pub audio: Option<AudioPlace>,
    /// For pictures.
    pub video: Option<VideoPlace>,
    /// For writing.
    pub text: Option<TextPlace>,
}

/// A time zone (§3.13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeOffset {
    /// Minutes east of UTC.
    pub minutes: i32,
    /// Its name, for people.
    pub description: Option<String>,
}

/// Whether there was input (§3.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInput {
    /// Whether there was.
    pub state: InputState,
    /// Seconds without input until it counts as idle.
    pub idle_threshold: Option<u64>,
    /// When there was some: a date and time of RFC 3339, as written.
    pub last_input: Option<String>,
}

impl<T> Qualified<T> {
    /// Without a time or a remark.
    pub fn new(value: T) -> Self {
        Self { id: None, from: None, until: None, attributes: Vec::new(), notes: Vec::new(), value }
    }

    /// All but the value; `own` are the attributes that the value has.
    fn parse(element: &Element, own: &[&str], value: T) -> Self {
        let known = |it: &Attribute| {
            it.namespace().is_empty()
                && (own.contains(&it.name()) || ["id", "from", "until"].contains(&it.name()))
        };
        Self {
            id: element.owned("id"),
            from: element.owned("from"),
            until: element.owned("until"),
            attributes: element.attributes().iter().filter(|it| !known(it)).cloned().collect(),
            notes: element.children_of(RPID, "note").map(Note::parse).collect(),
            value,
        }
    }

    fn element(&self, name: &str) -> Element {
        let mut element = Element::of(RPID, name)
            .with_optional("id", self.id.as_deref())
            .with_optional("from", self.from.as_deref())
            .with_optional("until", self.until.as_deref());
        element.attributes_mut().extend(self.attributes.iter().cloned());
        self.notes.iter().for_each(|note| element.push(note.element(RPID)));
        element
    }
}

impl<W: Vocabulary> Qualified<Vec<Choice<W>>> {
    /// These words.
    pub fn words(words: impl IntoIterator<Item = W>) -> Self {
        Self::new(words.into_iter().map(Choice::Word).collect())
    }

    /// The words that are known.
    pub fn known(&self) -> impl Iterator<Item = W> + '_ {
        self.value.iter().filter_map(|choice| match choice {
            Choice::Word(word) => Some(*word),
            _ => None,
        })
    }

    /// `None` if there is text beside the elements.
    fn choices(element: &Element) -> Option<Self> {
        let mut value = Vec::new();
        for content in element.content() {
            match content {
                Content::Text(text) if text.trim().is_empty() => {}
                Content::Text(_) => return None,
                Content::Element(child) if child.is(RPID, "note") => {}
                Content::Element(child) => value.push(Choice::parse(child)),
            }
        }
        Some(Self::parse(element, &[], value))
    }

    fn choices_element(&self, name: &str) -> Element {
        let mut element = self.element(name);
        self.value.iter().for_each(|choice| element.push(choice.element()));
        element
    }
}

impl<W: Vocabulary> Choice<W> {
    fn parse(child: &Element) -> Self {
        if child.is(RPID, "other") {
            return Self::Other(Note::parse(child));
        }
        let plain =
            child.namespace() == W::NAMESPACE && child.attributes().is_empty() && child.content().is_empty();
        let word = if plain { W::of(child.name()) } else { None };
        word.map_or_else(|| Self::Element(child.clone()), Self::Word)
    }

    fn element(&self) -> Element {
        match self {
            Self::Word(word) => Element::of(W::NAMESPACE, word.name()),
            Self::Other(note) => note.named(RPID, "other"),
            Self::Element(element) => element.clone(),
        }
    }
}

/// The word in an element that has nothing else.
fn only<W: Vocabulary>(element: &Element) -> Option<W> {
    let mut children = element.elements();
    let first = children.next().filter(|child| child.namespace() == W::NAMESPACE)?;
    W::of(first.name()).filter(|_| children.next().is_none())
}

impl Qualified<PlaceIs> {
    fn place(element: &Element) -> Option<Self> {
        let mut value = PlaceIs::default();
        for child in element.elements().filter(|child| !child.is(RPID, "note")) {
            match child.name() {
                _ if child.namespace() != RPID => return None,
                "audio" if value.audio.is_none() => value.audio = Some(only(child)?),
                "video" if value.video.is_none() => value.video = Some(only(child)?),
                "text" if value.text.is_none() => value.text = Some(only(child)?),
                _ => return None,
            }
        }
        Some(Self::parse(element, &[], value))
    }

    fn place_element(&self) -> Element {
        let mut element = self.element("place-is");
        let PlaceIs { audio, video, text } = self.value;
        let words = [
            ("audio", audio.map(Vocabulary::name)),
            ("video", video.map(Vocabulary::name)),
            ("text", text.map(Vocabulary::name)),
        ];
        for (medium, word) in words {
            if let Some(word) = word {
                element.push(Element::of(RPID, medium).with_child(Element::of(RPID, word)));
            }
        }
        element
    }
}

impl Rpid {
    /// Takes an element if it is one of these and can be read; if not, it is for the extensions.
    pub(super) fn take(&mut self, element: &Element) -> bool {
        if element.namespace() != RPID {
            return false;
        }
        match element.name() {
            "activities" => push(&mut self.activities, Qualified::choices(element)),
            "class" => set(&mut self.class, Some(element.text().into())),
            "mood" => push(&mut self.moods, Qualified::choices(element)),
            "place-is" => push(&mut self.place_is, Qualified::place(element)),
            "place-type" => push(&mut self.place_types, Qualified::choices(element)),
            "privacy" => push(&mut self.privacy, Qualified::choices(element)),
            "relationship" => set(&mut self.relationship, Qualified::choices(element)),
            "service-class" => set(&mut self.service_class, Qualified::choices(element)),
            "sphere" => {
                let text = || Choice::Other(Note { text: element.text().into(), language: None });
                let plain = element.elements().next().is_none() && !element.text().is_empty();
                let plain = plain.then(|| Qualified::parse(element, &[], vec![text()]));
                push(&mut self.spheres, plain.or_else(|| Qualified::choices(element)))
            }
            "status-icon" => {
                push(&mut self.status_icons, Some(Qualified::parse(element, &[], element.text().into())))
            }
            "time-offset" => {
                let offset = element.text().parse().ok().map(|minutes| {
                    let offset = TimeOffset { minutes, description: element.owned("description") };
                    Qualified::parse(element, &["description"], offset)
                });
                push(&mut self.time_offsets, offset)
            }
            "user-input" => {
                let input = InputState::parse(element.text()).map(|state| {
                    let input = UserInput {
                        state,
                        idle_threshold: element.number("idle-threshold"),
                        last_input: element.owned("last-input"),
                    };
                    Qualified::parse(element, &["idle-threshold", "last-input"], input)
                });
                set(&mut self.user_input, input)
            }
            _ => false,
        }
    }

    /// In the order of the schema (§5.1).
    pub(super) fn elements(&self) -> Vec<Element> {
        let mut out: Vec<Element> = Vec::new();
        out.extend(self.activities.iter().map(|it| it.choices_element("activities")));
        out.extend(self.class.iter().map(|class| Element::of(RPID, "class").with_text(class)));
        out.extend(self.moods.iter().map(|it| it.choices_element("mood")));
        out.extend(self.place_is.iter().map(Qualified::place_element));
        out.extend(self.place_types.iter().map(|it| it.choices_element("place-type")));
        out.extend(self.privacy.iter().map(|it| it.choices_element("privacy")));
        out.extend(self.relationship.iter().map(|it| it.choices_element("relationship")));
        out.extend(self.service_class.iter().map(|it| it.choices_element("service-class")));
        out.extend(self.spheres.iter().map(|sphere| match &sphere.value[..] {
            // A text of its own, as the RFC has it, where nothing else must be said.
            [Choice::Other(Note { text, language: None })] if !text.is_empty() && sphere.notes.is_empty() => {
                sphere.element("sphere").with_text(text)
            }
            _ => sphere.choices_element("sphere"),
        }));
        out.extend(self.status_icons.iter().map(|icon| icon.element("status-icon").with_text(&icon.value)));
        out.extend(self.time_offsets.iter().map(|it| {
            let description = it.value.description.as_deref();
            it.element("time-offset")
                .with_optional("description", description)
                .with_text(&it.value.minutes.to_string())
        }));
        out.extend(self.user_input.iter().map(|it| {
            let threshold = it.value.idle_threshold.map(|seconds| seconds.to_string());
            it.element("user-input")
                .with_optional("idle-threshold", threshold.as_deref())
                .with_optional("last-input", it.value.last_input.as_deref())
                .with_text(it.value.state.as_str())
        }));
        out
    }

    /// The identifiers in it, to make them unique within a document.
    pub(super) fn ids(&mut self) -> Vec<&mut String> {
        let mut ids: Vec<&mut String> = Vec::new();
        ids.extend(self.activities.iter_mut().filter_map(|it| it.id.as_mut()));
        ids.extend(self.moods.iter_mut().filter_map(|it| it.id.as_mut()));
        ids.extend(self.place_is.iter_mut().filter_map(|it| it.id.as_mut()));
        ids.extend(self.place_types.iter_mut().filter_map(|it| it.id.as_mut()));
        ids.extend(self.privacy.iter_mut().filter_map(|it| it.id.as_mut()));
        ids.extend(self.relationship.iter_mut().filter_map(|it| it.id.as_mut()));
        ids.extend(self.service_class.iter_mut().filter_map(|it| it.id.as_mut()));
        ids.extend(self.spheres.iter_mut().filter_map(|it| it.id.as_mut()));
        ids.extend(self.status_icons.iter_mut().filter_map(|it| it.id.as_mut()));
        ids.extend(self.time_offsets.iter_mut().filter_map(|it| it.id.as_mut()));
        ids.extend(self.user_input.iter_mut().filter_map(|it| it.id.as_mut()));
        ids
    }
}

fn push<T>(known: &mut Vec<T>, one: Option<T>) -> bool {
    let taken = one.is_some();
    known.extend(one);
    taken
}

/// Of what there can be one, a second is left alone.
fn set<T>(known: &mut Option<T>, one: Option<T>) -> bool {
    let taken = known.is_none() && one.is_some();
    if taken {
        *known = one;
    }
    taken
}
