//! The calls of each user: whose phone rings, who talks, and by which dialogs (RFC 4235 §3.7).
//!
//! ```text
//!             1xx without tag        1xx with tag          2xx
//!   Trying ──────────────▶ Proceeding ─────────▶ Early ─────────▶ Confirmed ──▶ gone: BYE, or silent for too long
//!      └──────────────────────┴──────────────────┴──▶ gone: refused, cancelled, answered elsewhere
//! ```

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_dialog::packages::dialog_info::{
    DialogEntry, DialogEvent, DialogState, Direction, Name, Participant,
};
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

    // ---- what passes -----------------------------------------------------------------------------------------

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

    // ---- the state machine -----------------------------------------------------------------------------------

    /// §3.7.1: each tag of a fork is a dialog of its own; the first takes the place of the one that had none.
    fn progress(&mut self, now: Instant, tx: ServerTx, branch: Option<usize>, response: &Response) {
        let status = response.status();
        if status == StatusCode::TRYING {
            return;
        }
        let to = response.headers.get::<To>().ok().flatten();
        let tag = to.as_ref().and_then(|to| to.tag());
        if status == StatusCode::EARLY_DIALOG_TERMINATED {
            let is_it = |line: &Line| line.branch == branch && tag.is_some() && line.tag.as_deref() == tag;
            return self.fail(now, tx, is_it, StatusCode::TEMPORARILY_UNAVAILABLE);
        }
        let Some(key) = self.line(tx, branch, tag) else { return };
        let target = contact_of(response.headers.get::<Contact>());
        let state = match (status.is_success(), tag) {
            (true, _) => DialogState::Confirmed,
            (false, Some(_)) => DialogState::Early,
            (false, None) => DialogState::Proceeding,
        };
        let Some(line) = self.lines.get_mut(key) else { return };
        let rank = |state: DialogState| match state {
            DialogState::Trying => 0,
            DialogState::Proceeding => 1,
            DialogState::Early => 2,
            DialogState::Confirmed | DialogState::Terminated => 3,
        };
        let moved = rank(state) > rank(line.state) || (target.is_some() && line.target != target);
        if rank(state) > rank(line.state) {
            line.state = state;
        }
        line.target = target.or(line.target.take());
        if moved {
            self.changes.push_back(Change { user: line.user.clone(), ended: None });
        }
        if status.is_success() {
            let dialog =
                (line.facts.call_id.clone(), line.facts.from_tag.clone(), tag.unwrap_or_default().into());
            self.talk(now, dialog, key);
            if let Some(attempt) = self.attempts.get_mut(&tx) {
                attempt.answered = true;
            }
            // The other phones are cancelled, and the caller's other early dialogs are over (RFC 3261 §13.2.2.4).
            let elsewhere = |line: &Line| line.branch.is_some() == branch.is_some();
            self.fail(now, tx, elsewhere, StatusCode::REQUEST_TERMINATED);
        }
    }

    /// The line of a branch and a tag: the one that there is, the one that has no tag yet, or another one.
    fn line(&mut self, tx: ServerTx, branch: Option<usize>, tag: Option<&str>) -> Option<Key> {
        let attempt = self.attempts.get_mut(&tx)?;
        let of_branch = |key: &&Key| self.lines.get(**key).is_some_and(|line| line.branch == branch);
        let mut known = attempt.lines.iter().filter(of_branch).copied();
        let same =
            known.clone().find(|key| self.lines.get(*key).is_some_and(|line| line.tag.as_deref() == tag));
        if let Some(key) = same.or_else(|| if tag.is_none() { known.clone().next() } else { None }) {
            return Some(key);
        }
        let fresh = known.find(|key| self.lines.get(*key).is_some_and(|line| line.tag.is_none()));
        if let Some(key) = fresh {
            let line = self.lines.get_mut(key)?;
            line.tag = tag.map(Into::into);
            return Some(key);
        }
        let (_, user) = attempt.users.iter().find(|(of, _)| *of == branch)?;
        let of_user = self.of_user.get(user).map_or(0, Vec::len);
        if self.lines.len() >= MAX_LINES || of_user >= MAX_OF_USER || attempt.lines.len() >= MAX_OF_CALL {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        let facts = &attempt.facts;
        (&facts.call_id, &facts.from_tag, facts.started, branch, attempt.lines.len()).hash(&mut hasher);
        let line = Line {
            user: user.clone(),
            facts: facts.clone(),
            branch,
            tag: tag.map(Into::into),
            caller_target: None,
            target: None,
            state: DialogState::Trying,
            id: format!("d{:016x}", hasher.finish()),
        };
        let user = user.clone();
        let key = self.lines.insert(line);
        attempt.lines.push(key);
        self.of_user.entry(user.clone()).or_default().push(key);
        self.changes.push_back(Change { user, ended: None });
        Some(key)
    }

    fn talk(&mut self, now: Instant, dialog: DialogKey, line: Key) {
        if !self.stays {
            return self.end(now, line, None, None);
        }
        if let Some(talk) = self.talks.get_mut(&dialog) {
            if !talk.lines.contains(&line) {
                talk.lines.push(line);
            }
            return;
        }
        let timer = self.timers.arm(now, self.patience, dialog.clone());
        self.talks.insert(dialog, Talk { lines: vec![line], heard: now, timer });
    }

    /// Those lines of an INVITE that were not answered are over.
    fn fail(&mut self, now: Instant, tx: ServerTx, which: impl Fn(&Line) -> bool, status: StatusCode) {
        let Some(attempt) = self.attempts.get(&tx) else { return };
        let event = match status {
            _ if attempt.cancelled || attempt.answered => DialogEvent::Cancelled,
            StatusCode::REQUEST_TIMEOUT => DialogEvent::Timeout,
            StatusCode::REQUEST_TERMINATED => DialogEvent::Cancelled,
            _ => DialogEvent::Rejected,
        };
        let over = |key: &Key| {
            self.lines.get(*key).is_some_and(|line| line.state != DialogState::Confirmed && which(line))
        };
        let over: Vec<Key> = attempt.lines.iter().copied().filter(over).collect();
        for key in over {
            self.end(now, key, Some(event), Some(status.code()));
        }
    }

    /// RFC 3261 §12.2.1.2, RFC 3311 §5: a re-INVITE or UPDATE that was accepted says where each side is reached from now on.
    fn refreshed(&mut self, refresh: Refresh, answered: Option<String>) {
        let Some(talk) = self.talks.get(&refresh.dialog) else { return };
        let (caller, callee) = match refresh.by_caller {
            true => (refresh.target, answered),
            false => (answered, refresh.target),
        };
        for key in &talk.lines {
            let Some(line) = self.lines.get_mut(*key) else { continue };
            let mut moved = false;
            if caller.is_some() && line.caller_target() != caller.as_ref() {
                line.caller_target.clone_from(&caller);
                moved = true;
            }
            if callee.is_some() && line.target != callee {
                line.target.clone_from(&callee);
                moved = true;
            }
            if moved {
                self.changes.push_back(Change { user: line.user.clone(), ended: None });
            }
        }
    }

    fn hang_up(&mut self, now: Instant, dialog: &DialogKey, by_caller: Option<bool>) {
        let Some(talk) = self.talks.remove(dialog) else { return };
        self.timers.cancel(talk.timer);
        for key in talk.lines {
            let event = self.lines.get(key).map(|line| match by_caller {
                Some(by_caller) if by_caller == line.branch.is_none() => DialogEvent::LocalBye,
                Some(_) => DialogEvent::RemoteBye,
                None => DialogEvent::Timeout,
            });
            self.end(now, key, event, None);
        }
    }

    fn end(&mut self, now: Instant, key: Key, event: Option<DialogEvent>, code: Option<u16>) {
        let Some(line) = self.lines.remove(key) else { return };
        if let Some(all) = self.of_user.get_mut(&line.user) {
            all.retain(|other| *other != key);
            if all.is_empty() {
                self.of_user.remove(&line.user);
            }
        }
        let over = DialogEntry { state: DialogState::Terminated, event, code, ..line.entry(now) };
        self.changes.push_back(Change { user: line.user, ended: Some(Box::new(over)) });
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
