//! `application/dialog-info+xml`: the calls of a user, for lamps, pick-up and shared lines (RFC 4235).
//!
//! A notifier numbers its documents; a subscriber puts them into a [`DialogTable`].

use std::collections::BTreeMap;

use super::xml::{self, Element, Writer};
use super::{Completeness, DocumentError, MAX_ROWS, Update, update};
use crate::event::Body;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:dialog-info";
const NAMESPACES: &[&str] = &[NAMESPACE];

macro_rules! words {
    ($(#[$doc:meta])* $kind:ident { $($(#[$one:meta])* $name:ident $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $kind {
            $($(#[$one])* $name,)*
        }

        impl $kind {
            /// The word in the document.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The value of a word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$name),)* _ => None }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Where a dialog stands (§3.7.1).
    DialogState {
        /// The INVITE is out, or came in.
        Trying "trying",
        /// A 1xx without a tag came.
        Proceeding "proceeding",
        /// It rings.
        Early "early",
        /// It is answered.
        Confirmed "confirmed",
        /// It is over.
        Terminated "terminated",
    }
}

words! {
    /// What ended a dialog (§3.7.1).
    DialogEvent {
        /// Given up by the caller.
        Cancelled "cancelled",
        /// Refused.
        Rejected "rejected",
        /// Taken over by another dialog.
        Replaced "replaced",
        /// Hung up here.
        LocalBye "local-bye",
        /// Hung up there.
        RemoteBye "remote-bye",
        /// Failed.
        Error "error",
        /// Nobody answered in time.
        Timeout "timeout",
    }
}

words! {
    /// Who began a dialog (§4.1.1).
    Direction {
        /// The observed user calls.
        Initiator "initiator",
        /// The observed user is called.
        Recipient "recipient",
    }
}

/// A document (§4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogInfo {
    /// Its number within the subscription.
    pub version: u32,
    /// Whether it holds all dialogs.
    pub completeness: Completeness,
    /// The URI of the observed user.
    pub entity: String,
    /// The dialogs.
    pub dialogs: Vec<DialogEntry>,
}

/// A dialog of the observed user (§4.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogEntry {
    /// Names the dialog within the subscription.
    pub id: String,
    /// The Call-ID.
    pub call_id: Option<String>,
    /// The tag of the observed user.
    pub local_tag: Option<String>,
    /// The tag of the other side.
    pub remote_tag: Option<String>,
    /// Who began.
    pub direction: Option<Direction>,
    /// Where it stands.
    pub state: DialogState,
    /// What ended it.
    pub event: Option<DialogEvent>,
    /// The status that ended it.
    pub code: Option<u16>,
    /// Seconds since it began.
    pub duration: Option<u64>,
    /// The dialog that it took the place of: Call-ID, local and remote tag (§4.1.4).
    pub replaces: Option<(String, String, String)>,
    /// Who referred to it (§4.1.5).
    pub referred_by: Option<Name>,
    /// The observed user.
    pub local: Participant,
    /// The other side.
    pub remote: Participant,
}

impl DialogEntry {
    /// A dialog of which nothing else is known.
    pub fn new(id: &str, state: DialogState) -> Self {
        Self {
            id: id.into(),
            call_id: None,
            local_tag: None,
            remote_tag: None,
            direction: None,
            state,
            event: None,
            code: None,
            duration: None,
            replaces: None,
            referred_by: None,
            local: Participant::default(),
            remote: Participant::default(),
        }
    }
}

/// A URI and the name to show with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The URI.
    pub uri: String,
    /// The display name.
    pub display: Option<String>,
}

/// One side of a dialog (§4.1.6). What a document leaves out is as it was in the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Participant {
    /// Who it is.
    pub identities: Vec<Name>,
    /// Its Contact, and parameters of it by name and value.
    pub target: Option<(String, Vec<(String, String)>)>,
    /// Its session description: type and text.
    pub session_description: Option<(String, String)>,
}

impl Participant {
    fn parse(element: &Element) -> Self {
        let identities = element.children("identity").map(name).collect();
        let target = element.child("target").and_then(|target| {
            let param = |param: &Element| Some((param.owned("pname")?, param.owned("pval")?));
            Some((target.owned("uri")?, target.children("param").filter_map(param).collect()))
        });
        let session_description = element
            .child("session-description")
            .map(|session| (session.owned("type").unwrap_or_default(), session.text().to_owned()));
        Self { identities, target, session_description }
    }

    fn write(&self, out: &mut Writer, side: &'static str) {
        if *self == Self::default() {
            return;
        }
        out.start(side, &[]);
        for Name { uri, display } in &self.identities {
            out.leaf("identity", &[("display", display.as_deref())], uri);
        }
        if let Some((uri, params)) = &self.target {
            if params.is_empty() {
                out.leaf("target", &[("uri", Some(uri))], "");
            } else {
                out.start("target", &[("uri", Some(uri))]);
                for (name, value) in params {
                    out.leaf("param", &[("pname", Some(name)), ("pval", Some(value))], "");
                }
                out.end();
            }
        }
        if let Some((kind, text)) = &self.session_description {
            out.leaf("session-description", &[("type", Some(kind))], text);
        }
        out.end();
    }

    fn inherit(&mut self, old: Self) {
        if self.identities.is_empty() {
            self.identities = old.identities;
        }
        self.target = self.target.take().or(old.target);
        self.session_description = self.session_description.take().or(old.session_description);
    }
}

fn name(element: &Element) -> Name {
    Name { uri: element.text().into(), display: element.owned("display") }
}

impl DialogInfo {
    /// The type of the body.
    pub const CONTENT_TYPE: &'static str = "application/dialog-info+xml";

    /// Reads a document.
    ///
    /// # Errors
    /// If it is no document of this kind, or passes a limit.
    pub fn parse(octets: &[u8]) -> Result<Self, DocumentError> {
        let root = xml::read(octets, NAMESPACES)?;
        let bad = |what| DocumentError::Malformed { element: "dialog-info", what };
        if !root.is(NAMESPACE, "dialog-info") {
            return Err(bad("the root"));
        }
        let completeness = root.attribute("state").and_then(Completeness::parse);
        let dialogs: Result<Vec<DialogEntry>, DocumentError> =
            root.children("dialog").map(DialogEntry::parse).collect();
        Ok(Self {
            version: root.number("version").ok_or(bad("version"))?,
            completeness: completeness.ok_or(bad("state"))?,
            entity: root.owned("entity").ok_or(bad("entity"))?,
            dialogs: dialogs?,
        })
    }

    /// The document as text.
    pub fn to_xml(&self) -> String {
        let mut out = Writer::new();
        out.start(
            "dialog-info",
            &[
                ("xmlns", Some(NAMESPACE)),
                ("version", Some(&self.version.to_string())),
                ("state", Some(self.completeness.as_str())),
                ("entity", Some(&self.entity)),
            ],
        );
        for dialog in &self.dialogs {
            dialog.write(&mut out);
        }
        out.finish()
    }

    /// The body.
    pub fn to_body(&self) -> Body {
        Body { content_type: Self::CONTENT_TYPE.into(), octets: self.to_xml().into() }
    }
}

impl DialogEntry {
    fn parse(element: &Element) -> Result<Self, DocumentError> {
        let bad = |what| DocumentError::Malformed { element: "dialog", what };
        let state = element.child("state").ok_or(bad("state"))?;
        let side = |name: &'static str| element.child(name).map(Participant::parse).unwrap_or_default();
        let replaces = element.child("replaces").and_then(|replaces| {
            Some((replaces.owned("call-id")?, replaces.owned("local-tag")?, replaces.owned("remote-tag")?))
        });
        Ok(Self {
            id: element.owned("id").ok_or(bad("id"))?,
            call_id: element.owned("call-id"),
            local_tag: element.owned("local-tag"),
            remote_tag: element.owned("remote-tag"),
            direction: element.attribute("direction").and_then(Direction::parse),
            state: DialogState::parse(state.text()).ok_or(bad("state"))?,
            event: state.attribute("event").and_then(DialogEvent::parse),
            code: state.number("code"),
            duration: element.child("duration").and_then(|duration| duration.text().parse().ok()),
            replaces,
            referred_by: element.child("referred-by").map(name),
            local: side("local"),
            remote: side("remote"),
        })
    }

    fn write(&self, out: &mut Writer) {
        let attributes = [
            ("id", Some(self.id.as_str())),
            ("call-id", self.call_id.as_deref()),
            ("local-tag", self.local_tag.as_deref()),
            ("remote-tag", self.remote_tag.as_deref()),
            ("direction", self.direction.map(Direction::as_str)),
        ];
        out.start("dialog", &attributes);
        let code = self.code.map(|code| code.to_string());
        let attributes = [("event", self.event.map(DialogEvent::as_str)), ("code", code.as_deref())];
        out.leaf("state", &attributes, self.state.as_str());
        if let Some(duration) = self.duration {
            out.leaf("duration", &[], &duration.to_string());
        }
        if let Some((call_id, local, remote)) = &self.replaces {
            let tags = [("local-tag", Some(local.as_str())), ("remote-tag", Some(remote.as_str()))];
            let [local, remote] = tags;
            out.leaf("replaces", &[("call-id", Some(call_id)), local, remote], "");
        }
        if let Some(Name { uri, display }) = &self.referred_by {
            out.leaf("referred-by", &[("display", display.as_deref())], uri);
        }
        self.local.write(out, "local");
        self.remote.write(out, "remote");
        out.end();
    }
}

/// What a subscriber knows of the dialogs of a user (§4.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DialogTable {
    version: Option<u32>,
    rows: BTreeMap<String, DialogEntry>,
}

impl DialogTable {
    /// A table that has seen no document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a document in. A dialog that is over can be seen until the next one.
    pub fn receive(&mut self, document: DialogInfo) -> Update {
        let update = update(self.version, document.version, document.completeness);
        if update == Update::Stale {
            return update;
        }
        self.version = Some(document.version);
        let old = match document.completeness {
            Completeness::Full => std::mem::take(&mut self.rows),
            Completeness::Partial => {
                self.rows.retain(|_, row| row.state != DialogState::Terminated);
                BTreeMap::new()
            }
        };
        for mut dialog in document.dialogs {
            // §4.1.6: identity, target and session are not repeated.
            if let Some(known) = self.rows.remove(&dialog.id).or_else(|| old.get(&dialog.id).cloned()) {
                dialog.local.inherit(known.local);
                dialog.remote.inherit(known.remote);
            }
            if self.rows.len() < MAX_ROWS {
                self.rows.insert(dialog.id.clone(), dialog);
            }
        }
        update
    }

    /// The dialogs, by id.
    pub fn dialogs(&self) -> impl Iterator<Item = &DialogEntry> {
        self.rows.values()
    }

    /// The dialog of this id.
    pub fn get(&self, id: &str) -> Option<&DialogEntry> {
        self.rows.get(id)
    }
}
