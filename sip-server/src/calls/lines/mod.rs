//! The calls of each user: whose phone rings, who talks, and by which dialogs (RFC 4235 §3.7).
//!
//! ```text
//!             1xx without tag        1xx with tag          2xx
//!   Trying ──────────────▶ Proceeding ─────────▶ Early ─────────▶ Confirmed ──▶ gone: BYE, or silent for too long
//!      └──────────────────────┴──────────────────┴──▶ gone: refused, cancelled, answered elsewhere
//! ```

mod step;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_dialog::packages::dialog_info::{DialogEntry, DialogState, Direction, Name, Participant};
use sip_message::headers::{Contact, From, To};
use sip_message::{HeaderName, Method, Request, Response, StatusCode};
use sip_transaction::ServerTx;
use sip_transaction::slab::{Key, Slab};
use sip_transaction::tables::Sharded;
use sip_transaction::timers::{TimerId, Timers};

use super::elsewhere::{Elsewhere, Snapshot};
use crate::AddressOfRecord;

/// Dialogs that are followed at one time, some 300 octets each: callers that never send BYE must not take all memory. Those
/// above are not shown.
const MAX_LINES: usize = 400_000;

/// Dialogs of one user: each stands in every document about them, and a flood of calls must not make those endless.
const MAX_OF_USER: usize = 64;

/// Dialogs of one INVITE: a network of forks behind us can answer with as many tags as it likes.
const MAX_OF_CALL: usize = 64;

/// Call-ID, the caller's tag, the callee's tag.
type DialogKey = (Box<str>, Box<str>, Box<str>);

/// What all dialogs of an INVITE have in common.
#[derive(Debug)]
struct Facts {
    call_id: Box<str>,
    from_tag: Box<str>,
    caller: Name,
    /// As the INVITE said.
    caller_target: Option<String>,
    called: Name,
    started: Instant,
}

/// One user's side of a dialog.
#[derive(Debug)]
struct Line {
    user: AddressOfRecord,
    facts: Arc<Facts>,
    /// The branch by which the user is called; `None` for who calls.
    branch: Option<usize>,
    /// Of the callee.
    tag: Option<Box<str>>,
    /// The caller's Contact, if it is another since.
    caller_target: Option<String>,
    /// The callee's Contact.
    target: Option<String>,
    state: DialogState,
    id: String,
}

/// An INVITE whose transaction lives.
#[derive(Debug)]
struct Attempt {
    facts: Arc<Facts>,
    /// Who calls, if it is one of ours, and who is called by which branch.
    users: Vec<(Option<usize>, AddressOfRecord)>,
    lines: Vec<Key>,
    cancelled: bool,
    answered: bool,
}

/// A dialog that was confirmed.
#[derive(Debug)]
struct Talk {
    lines: Vec<Key>,
    heard: Instant,
    timer: TimerId,
}

/// A request that may change where a dialog leads (RFC 3261 §12.2), without its final response.
#[derive(Debug)]
struct Refresh {
    dialog: DialogKey,
    by_caller: bool,
    /// The Contact of its sender.
    target: Option<String>,
}

/// The calls of a user are others now.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) user: AddressOfRecord,
    /// The dialog that is over, to be told of once.
    pub(crate) ended: Option<Box<DialogEntry>>,
}

/// Follows the calls of users. It is told what passes, and does nothing to it.
#[derive(Debug)]
pub(crate) struct UserCalls {
    attempts: Sharded<ServerTx, Attempt>,
    lines: Slab<Line>,
    of_user: HashMap<AddressOfRecord, Vec<Key>>,
    talks: Sharded<DialogKey, Talk>,
    /// BYEs without a final response, and whether the caller sent them.
    farewells: Sharded<ServerTx, (DialogKey, bool)>,
    refreshes: Sharded<ServerTx, Refresh>,
    timers: Timers<DialogKey>,
    patience: Duration,
    /// BYE passes here, so that the end of a call that was answered is seen.
    stays: bool,
    changes: VecDeque<Change>,
    /// Those that other cores carry.
    elsewhere: Elsewhere,
}

impl UserCalls {
    /// `stays`: the server is on the way of what follows an INVITE. Otherwise a call that is answered is shown no longer: nobody
    /// would tell of its end.
    pub(crate) fn new(patience: Duration, stays: bool) -> Self {
        Self {
            attempts: Sharded::new(),
            lines: Slab::new(),
            of_user: HashMap::new(),
            talks: Sharded::new(),
            farewells: Sharded::new(),
            refreshes: Sharded::new(),
            timers: Timers::new([patience]),
            patience,
            stays,
            changes: VecDeque::new(),
            elsewhere: Elsewhere::default(),
        }
    }

    /// Another manner of the proxy, for calls from now on.
    pub(crate) fn set_stays(&mut self, stays: bool) {
        self.stays = stays;
    }

    pub(crate) fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The dialogs of a user, the oldest first.
    pub(crate) fn of(&self, now: Instant, user: &AddressOfRecord) -> Vec<DialogEntry> {
        let keys = self.of_user.get(user).map_or(&[][..], Vec::as_slice);
        let own = keys.iter().filter_map(|key| self.lines.get(*key)).map(|line| line.entry(now));
        own.chain(self.elsewhere.of(now, user)).take(MAX_OF_USER).collect()
    }

    /// Whether they talk to somebody.
    pub(crate) fn talks(&self, user: &AddressOfRecord) -> bool {
        let keys = self.of_user.get(user).map_or(&[][..], Vec::as_slice);
        let confirmed = |line: &Line| line.state == DialogState::Confirmed;
        keys.iter().filter_map(|key| self.lines.get(*key)).any(confirmed) || self.elsewhere.talks(user)
    }

    /// The calls of a user here, for another core.
    pub(crate) fn snapshot(&self, now: Instant, user: &AddressOfRecord) -> Snapshot {
        Snapshot { at: now, live: self.of(now, user), talks: self.talks(user) }
    }

    /// What another core has told of a user's calls there, and which of them is over.
    pub(crate) fn told(&mut self, core: usize, change: Change, snapshot: Snapshot) {
        self.elsewhere.set(&change.user, core, snapshot);
        self.changes.push_back(change);
    }

    /// Nobody watches this user: others need tell no more of them. Whether they have.
    pub(crate) fn forget_elsewhere(&mut self, user: &AddressOfRecord) -> bool {
        self.elsewhere.forget(user)
    }

    /// An INVITE outside of a dialog is going to be forwarded, from this user of ours if it is one.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: &Request,
        caller: Option<AddressOfRecord>,
    ) {
        let (Ok(Some(from)), Ok(Some(to))) = (request.headers.get::<From>(), request.headers.get::<To>())
        else {
            return;
        };
        let facts = Facts {
            call_id: request.headers.text(HeaderName::CALL_ID).unwrap_or_default().into(),
            from_tag: from.tag().unwrap_or_default().into(),
            caller: Name {
                uri: from.uri().to_string(),
                display: from.display_name().map(|name| name.to_string()),
            },
            caller_target: contact_of(request.headers.get::<Contact>()),
            called: Name {
                uri: to.uri().to_string(),
                display: to.display_name().map(|name| name.to_string()),
            },
            started: now,
        };
        let attempt = Attempt {
            facts: Arc::new(facts),
            users: Vec::new(),
            lines: Vec::new(),
            cancelled: false,
            answered: false,
        };
        self.attempts.insert(tx, attempt);
        if let Some(caller) = caller {
            self.takes_part(tx, None, caller);
        }
    }

    /// The INVITE goes to this user by this branch.
    pub(crate) fn forwarded(&mut self, tx: ServerTx, branch: usize, user: &AddressOfRecord) {
        self.takes_part(tx, Some(branch), user.clone());
    }

    fn takes_part(&mut self, tx: ServerTx, branch: Option<usize>, user: AddressOfRecord) {
        let Some(attempt) = self.attempts.get_mut(&tx) else { return };
        // The same branch goes on to another flow or gateway.
        if attempt.users.iter().any(|(known, _)| *known == branch) || attempt.users.len() >= MAX_OF_CALL {
            return;
        }
        attempt.users.push((branch, user));
        self.line(tx, branch, None);
    }

    pub(crate) fn cancelled(&mut self, tx: ServerTx) {
        if let Some(attempt) = self.attempts.get_mut(&tx) {
            attempt.cancelled = true;
        }
    }

    /// A request within a dialog.
    pub(crate) fn within(&mut self, now: Instant, tx: ServerTx, request: &Request) {
        if self.talks.is_empty() {
            return;
        }
        let (Ok(Some(from)), Ok(Some(to))) = (request.headers.get::<From>(), request.headers.get::<To>())
        else {
            return;
        };
        let call_id = request.headers.text(HeaderName::CALL_ID).unwrap_or_default();
        let (from, to) = (from.tag().unwrap_or_default(), to.tag().unwrap_or_default());
        for (caller, callee, by_caller) in [(from, to, true), (to, from, false)] {
            let key: DialogKey = (call_id.into(), caller.into(), callee.into());
            let Some(talk) = self.talks.get_mut(&key) else { continue };
            talk.heard = now;
            match request.method() {
                Method::Bye => {
                    self.farewells.insert(tx, (key, by_caller));
                }
                Method::Invite | Method::Update => {
                    let target = contact_of(request.headers.get::<Contact>());
                    self.refreshes.insert(tx, Refresh { dialog: key, by_caller, target });
                }
                _ => {}
            }
            return;
        }
    }

    /// A branch has brought a response that is no failure.
    pub(crate) fn branch_response(&mut self, now: Instant, tx: ServerTx, branch: usize, response: &Response) {
        self.progress(now, tx, Some(branch), response);
    }

    /// A branch has come to nothing.
    pub(crate) fn branch_failed(&mut self, now: Instant, tx: ServerTx, branch: usize, status: StatusCode) {
        self.fail(now, tx, |line| line.branch == Some(branch), status);
    }

    /// A response goes back to whoever sent the request of `tx`.
    pub(crate) fn response(&mut self, now: Instant, tx: ServerTx, response: &Response) {
        let status = response.status();
        if status.is_final()
            && let Some((key, by_caller)) = self.farewells.remove(&tx)
        {
            // RFC 3261 §15.1.1: these end the session; a challenge or a refusal of ours does not.
            if status.is_success() || matches!(status.code(), 408 | 481) {
                self.hang_up(now, &key, Some(by_caller));
            }
            return;
        }
        if status.is_final()
            && let Some(refresh) = self.refreshes.remove(&tx)
        {
            if status.is_success() {
                self.refreshed(refresh, contact_of(response.headers.get::<Contact>()));
            }
            return;
        }
        if !status.is_final() || status.is_success() {
            self.progress(now, tx, None, response);
        } else {
            self.fail(now, tx, |_| true, status);
        }
    }

    /// The server transaction is no more.
    pub(crate) fn transaction_over(&mut self, now: Instant, tx: ServerTx) {
        if let Some((key, by_caller)) = self.farewells.remove(&tx) {
            self.hang_up(now, &key, Some(by_caller));
        }
        self.refreshes.remove(&tx);
        self.fail(now, tx, |_| true, StatusCode::REQUEST_TIMEOUT);
        self.attempts.remove(&tx);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.timers.pop(now) {
            let Some(talk) = self.talks.get_mut(&key) else { continue };
            let left = self.patience.saturating_sub(now.saturating_duration_since(talk.heard));
            if left.is_zero() {
                self.hang_up(now, &key, None);
            } else {
                talk.timer = self.timers.arm(now, left, key);
            }
        }
    }
}

impl Line {
    fn caller_target(&self) -> Option<&String> {
        self.caller_target.as_ref().or(self.facts.caller_target.as_ref())
    }

    fn entry(&self, now: Instant) -> DialogEntry {
        let facts = &self.facts;
        let from_tag = (!facts.from_tag.is_empty()).then(|| facts.from_tag.to_string());
        let to_tag = self.tag.as_deref().map(str::to_owned);
        let side = |name: Name, target: Option<&String>| Participant {
            identities: vec![name],
            target: target.map(|uri| (uri.clone(), Vec::new())),
            session_description: None,
        };
        let caller = side(facts.caller.clone(), self.caller_target());
        let calls = self.branch.is_none();
        let callee = match calls {
            true => facts.called.clone(),
            false => Name { uri: format!("sip:{}", self.user), display: None },
        };
        let callee = side(callee, self.target.as_ref());
        let (local_tag, remote_tag, local, remote) = match calls {
            true => (from_tag, to_tag, caller, callee),
            false => (to_tag, from_tag, callee, caller),
        };
        DialogEntry {
            call_id: Some(facts.call_id.to_string()),
            local_tag,
            remote_tag,
            direction: Some(if calls { Direction::Initiator } else { Direction::Recipient }),
            duration: Some(now.saturating_duration_since(facts.started).as_secs()),
            local,
            remote,
            ..DialogEntry::new(&self.id, self.state)
        }
    }
}

fn contact_of(contact: Result<Option<Contact>, sip_message::HeaderError>) -> Option<String> {
    contact.ok().flatten().and_then(|contact| contact.uri().map(ToString::to_string))
}
