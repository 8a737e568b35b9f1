//! What a response, a refusal or a BYE makes of a user's lines (RFC 4235 §3.7.1).

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use sip_dialog::packages::dialog_info::{DialogEntry, DialogEvent, DialogState};
use sip_message::headers::{Contact, To};
use sip_message::{Response, StatusCode};
use sip_transaction::ServerTx;
use sip_transaction::slab::Key;

use super::{
    Change, DialogKey, Line, MAX_LINES, MAX_OF_CALL, MAX_OF_USER, Refresh, Talk, UserCalls, contact_of,
};

impl UserCalls {
    /// §3.7.1: each tag of a fork is a dialog of its own; the first takes the place of the one that had none.
    pub(super) fn progress(
        &mut self,
        now: Instant,
        tx: ServerTx,
        branch: Option<usize>,
        response: &Response,
    ) {
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
    pub(super) fn line(&mut self, tx: ServerTx, branch: Option<usize>, tag: Option<&str>) -> Option<Key> {
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
    pub(super) fn fail(
        &mut self,
        now: Instant,
        tx: ServerTx,
        which: impl Fn(&Line) -> bool,
        status: StatusCode,
    ) {
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
    pub(super) fn refreshed(&mut self, refresh: Refresh, answered: Option<String>) {
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

    pub(super) fn hang_up(&mut self, now: Instant, dialog: &DialogKey, by_caller: Option<bool>) {
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
