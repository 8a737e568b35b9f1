//! Registration at the registrar of a trunk (RFC 3261 §10.2), so that its calls to us find the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sip_auth::{Attempts, Authenticator};
use sip_message::headers::{CSeq, CallId, Contact, Expires, From, MinExpires, RetryAfter, To};
use sip_message::{Method, Request, Response, Uri};
use sip_transaction::timers::TimerId;
use sip_transaction::{ClientTx, Target};
use sip_transport::Transport;
use sip_transport::outbound::Recovery;

use super::{Ended, Job};
use crate::config::count;
use crate::core::ServerCore;
use crate::routing::rules::{TrunkAccount, TrunkIdentity, TrunkRegistration};

/// The longest time that a registrar's 423 makes us ask for: one that wants more is mistaken.
const MAX_EXPIRES: u32 = 86_400;

/// A refresh comes this much before the binding ends, or after half of its time if it is short.
const BEFORE: u32 = 60;

/// The longest Retry-After that is heeded: a slip of somebody's hand must not keep a trunk away for days.
const MAX_WAIT: u32 = 3600;

/// One registration, and where it stands.
#[derive(Debug)]
pub(super) struct Registrant {
    wanted: Arc<TrunkRegistration>,
    identity: Arc<TrunkIdentity>,
    target: Target,
    account: Option<Authenticator>,
    call_id: String,
    tag: String,
    cseq: u32,
    /// What is asked for: a 423 raises it.
    expires: u32,
    until: Option<Instant>,
    registered: bool,
    /// The registration is given up.
    leaving: bool,
    failures: u32,
    /// The REGISTER under way, and the tries of its credentials.
    sent: Option<(Request, Attempts)>,
    client: Option<ClientTx>,
    pub(super) timer: Option<TimerId>,
}

impl Registrant {
    pub(super) fn new(
        wanted: Arc<TrunkRegistration>,
        identity: Arc<TrunkIdentity>,
        target: Target,
        call_id: String,
        tag: String,
    ) -> Self {
        let account = identity.account.as_ref().map(TrunkAccount::authenticator);
        let expires = wanted.expires;
        Self {
            wanted,
            identity,
            target,
            account,
            call_id,
            tag,
            cseq: 0,
            expires,
            until: None,
            registered: false,
            leaving: false,
            failures: 0,
            sent: None,
            client: None,
            timer: None,
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registered
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whether it is what other rules want as well.
    pub(super) fn is_for(&self, wanted: &TrunkRegistration, identity: &Arc<TrunkIdentity>) -> bool {
        *self.wanted == *wanted && self.identity == *identity
    }

    /// The time that a 200 grants to our Contact (§10.2.4); what we asked for if it does not say.
    fn granted(&self, response: &Response, contact: &Uri) -> u32 {
        let ours = response.headers.all::<Contact>().flatten().find_map(|one| {
            let address = one.address()?;
            address.uri().equivalent(contact).then(|| one.expires())
        });
        let general = || response.headers.get::<Expires>().ok().flatten().map(|expires| expires.0);
        ours.flatten().or_else(general).unwrap_or(self.expires)
    }
}

impl ServerCore {
    /// RFC 3261 §10.2.2: removes our binding. One of which nothing is known may be there all the same if its REGISTER is under way.
    pub(super) fn deregister(&mut self, now: Instant, job: Job) {
        let Some(registrant) = self.trunks.registrants.get_mut(&job) else { return };
        if registrant.leaving {
            return;
        }
        if let Some(timer) = registrant.timer.take() {
            self.trunks.timers.cancel(timer);
        }
        if !registrant.registered && registrant.sent.is_none() {
            self.trunks.registrants.remove(&job);
            return;
        }
        registrant.leaving = true;
        // An answer that comes still is to the request before, and goes unheard: its job is another's now.
        if let Some(client) = registrant.client.take() {
            self.trunks.running.remove(&client);
        }
        self.send_register(now, job);
    }

    pub(super) fn send_register(&mut self, now: Instant, job: Job) {
        let Some(registrant) = self.trunks.registrants.get_mut(&job) else { return };
        registrant.timer = None;
        if registrant.until.is_some_and(|until| until <= now) {
            registrant.registered = false;
        }
        registrant.cseq = registrant.cseq.saturating_add(1);
        let wanted = registrant.wanted.clone();
        let (cseq, call_id, tag) = (registrant.cseq, registrant.call_id.clone(), registrant.tag.clone());
        let expires = if registrant.leaving { 0 } else { registrant.expires };
        let Some(contact) = self.contact_for(&wanted) else {
            tracing::warn!(registrar = %wanted.registrar, "no listener reaches the registrar of a trunk");
            return self.register_failed(now, job, None);
        };
        let request = Request::builder(Method::Register, &wanted.registrar)
            .header(&From::new(&wanted.address).with_tag(&tag))
            .header(&To::new(&wanted.address))
            .header(&CallId::new(&call_id))
            .header(&CSeq::new(cseq, Method::Register))
            .header(&Contact::new(&contact))
            .header(&Expires(expires))
            .build();
        let Ok(mut request) = request else { return self.register_failed(now, job, None) };
        let cnonce = self.layer.transactions.token();
        if let Some(account) = self.trunks.registrants.get_mut(&job).and_then(|one| one.account.as_mut()) {
            account.authorize(&mut request, &cnonce);
        }
        self.launch(now, job, request, Attempts::default());
    }

    /// Where the registrar finds us: a listener of its transport.
    fn contact_for(&self, wanted: &TrunkRegistration) -> Option<Uri> {
        let transport = Transport::of_uri(&wanted.registrar).unwrap_or(Transport::Udp);
        let locals = self.layer.transactions.locals();
        let local = locals.iter().find(|local| local.transport == transport)?;
        local.uri(Some(&wanted.contact)).ok()
    }

    fn launch(&mut self, now: Instant, job: Job, request: Request, attempts: Attempts) {
        let Some(registrant) = self.trunks.registrants.get_mut(&job) else { return };
        let target = registrant.target.clone();
        registrant.sent = Some((request.clone(), attempts));
        match self.layer.transactions.send(now, request, target, &mut self.layer.out) {
            Ok(client) => {
                count(&mut self.layer.counters.trunk_registers);
                registrant.client = Some(client);
                self.trunks.running.insert(client, job);
            }
            Err(_) => self.register_failed(now, job, None),
        }
    }

    pub(super) fn register_answered(&mut self, now: Instant, job: Job, ended: Ended) {
        let Some(registrant) = self.trunks.registrants.get_mut(&job) else { return };
        let Some((mut request, mut attempts)) = registrant.sent.take() else { return };
        let response = match ended {
            Ended::Answered(response) => *response,
            Ended::Failed => return self.register_failed(now, job, None),
        };
        if registrant.leaving && !matches!(response.status().code(), 401 | 407) {
            self.trunks.registrants.remove(&job);
            return;
        }
        match response.status().code() {
            200..300 => {
                let contact = request.headers.get::<Contact>().ok().flatten();
                let contact = contact.as_ref().and_then(|contact| contact.uri());
                let granted =
                    contact.map_or(registrant.expires, |uri| registrant.granted(&response, uri)).max(1);
                let early = granted.saturating_sub(BEFORE).max(granted / 2).max(1);
                registrant.failures = 0;
                registrant.registered = true;
                registrant.until = now.checked_add(Duration::from_secs(u64::from(granted)));
                self.register_later(now, job, Duration::from_secs(u64::from(early)));
            }
            401 | 407 => {
                let cnonce = self.layer.transactions.token();
                let answered = registrant.account.as_mut().is_some_and(|account| {
                    account.answer(&mut request, &response, &mut attempts, &cnonce).is_ok()
                });
                if !answered {
                    tracing::warn!(registrar = %registrant.wanted.registrar, "the credentials of a trunk are refused");
                    return self.register_failed(now, job, None);
                }
                registrant.cseq = registrant.cseq.saturating_add(1);
                // A number can always be written.
                let cseq = CSeq::new(registrant.cseq, Method::Register);
                request.headers.remove(sip_message::HeaderName::CSEQ);
                request.headers.push_back(&cseq);
                self.launch(now, job, request, attempts);
            }
            423 => {
                let least = response.headers.get::<MinExpires>().ok().flatten().map_or(0, |least| least.0);
                if least <= registrant.expires || least > MAX_EXPIRES {
                    return self.register_failed(now, job, None);
                }
                registrant.expires = least;
                self.send_register(now, job);
            }
            _ => {
                let wait = response.headers.get::<RetryAfter>().ok().flatten();
                self.register_failed(now, job, wait.map(|wait| wait.seconds.clamp(1, MAX_WAIT)));
            }
        }
    }

    /// The next try: when the registrar said, or after a time that doubles with each failure (RFC 5626 §4.5).
    fn register_failed(&mut self, now: Instant, job: Job, wait: Option<u32>) {
        if self.trunks.registrants.get(&job).is_some_and(|registrant| registrant.leaving) {
            self.trunks.registrants.remove(&job); // it ends by itself
            return;
        }
        let chance = self.layer.transactions.random();
        let Some(registrant) = self.trunks.registrants.get_mut(&job) else { return };
        if registrant.until.is_none_or(|until| until <= now) {
            registrant.registered = false;
        }
        let recovery = Recovery::default().wait(registrant.failures, false, chance);
        registrant.failures = registrant.failures.saturating_add(1);
        let wait = wait.map_or(recovery, |seconds| Duration::from_secs(u64::from(seconds)));
        self.register_later(now, job, wait);
    }

    fn register_later(&mut self, now: Instant, job: Job, wait: Duration) {
        if let Some(registrant) = self.trunks.registrants.get_mut(&job) {
            registrant.timer = Some(self.trunks.timers.arm(now, wait, job));
        }
    }
}
