//! REFER: asking somebody to send a request, mostly to call somebody else, and hearing how it goes (RFC 3515, RFC 7647).
//!
//! A REFER makes a subscription of the package `refer`: in the dialog of the call that it came in, or in one of its own.
//! Several in one dialog are told apart by the `id` of Event, the CSeq of the REFER.

use std::time::{Duration, Instant};

use sip_message::headers::{
    CSeq, CallId, From, NameAddr, ReferEventsAt, ReferSub, ReferTo, ReferredBy, Replaces, Require, Route,
    Supported, TargetDialog, To,
};
use sip_message::{
    Header, HeaderName, Method, Request, RequestBuilder, Response, StatusCode, Uri, ValueError,
};
use sip_transaction::{Failure, ServerTx};
use sip_transport::Path;

use crate::call::CallState;
use crate::dialog::{Dialog, DialogId};
use crate::event::{CallKey, Error, Event};
use crate::explicit_refer::ReferRequirement;
use crate::layer::Dialogs;
use crate::packages::refer::Report;
use crate::subscription::{
    Alarm, EventId, EventPurpose, Notification, Notifier, Subscriber, SubscriberEnd, SubscriptionChange,
    SubscriptionEnd, SubscriptionKey, TerminationReason, Undecided, later,
};

/// What somebody is asked for.
#[derive(Clone, Debug)]
pub struct Refer {
    /// Whom to call; with a `Replaces` header for an attended transfer ([`refer_to_replacing`]).
    pub refer_to: Uri,
    /// Who asks, as the one who is called shall see it (RFC 3892).
    pub referred_by: Option<ReferredBy>,
    /// Whether we want to hear how it goes; without, `Refer-Sub: false` is sent (RFC 4488).
    pub subscription: bool,
    /// What the peer has to be able to do about the subscription, or it refuses with 420 (RFC 7614).
    pub requires: Option<ReferRequirement>,
    /// Further fields, by name and value.
    pub fields: Vec<(String, String)>,
}

impl Refer {
    /// To call this one, and to say how it goes.
    pub fn new(refer_to: Uri) -> Self {
        Self { refer_to, referred_by: None, subscription: true, requires: None, fields: Vec::new() }
    }
}

/// A Refer-To URI that asks for a call in place of another one: `target?Replaces=...` (RFC 3891 §4, RFC 5589 §7.1).
///
/// ```
/// use sip_message::headers::Replaces;
/// let replaces = Replaces::new("12345@192.168.118.3", "12345", "5FFE-3994");
/// let uri = sip_dialog::refer_to_replacing(&"sip:dave@denver.example.org".parse()?, &replaces)?;
/// assert_eq!(
///     uri.as_str(),
///     "sip:dave@denver.example.org?Replaces=12345%40192.168.118.3%3Bto-tag%3D12345%3Bfrom-tag%3D5FFE-3994"
/// );
/// # Ok::<(), sip_message::ValueError>(())
/// ```
///
/// # Errors
/// If the URI is not one that has headers.
pub fn refer_to_replacing(target: &Uri, replaces: &Replaces) -> Result<Uri, ValueError> {
    let mut value = String::new();
    replaces.write(&mut value);
    let mut text = String::from(target.as_str());
    text.push(if target.headers().next().is_some() { '&' } else { '?' });
    text.push_str("Replaces=");
    for octet in value.bytes() {
        if octet.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&octet) {
            text.push(char::from(octet));
        } else {
            text.push_str(&format!("%{octet:02X}"));
        }
    }
    text.parse()
}

/// The headers of this name in a URI, with their escapes undone; `None` for one that is no text then.
pub fn uri_headers<'u>(uri: &'u Uri, name: &'u str) -> impl Iterator<Item = Option<String>> + 'u {
    let named = uri.headers().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
    named.map(|(_, value)| unescape(value))
}

/// A header of a URI with its escapes undone.
fn unescape(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let digit = |octet: Option<u8>| char::from(octet?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        octets.push(u8::try_from((high << 4) | low).ok()?);
    }
    String::from_utf8(octets).ok()
}

/// What a REFER asks for: the URI without headers, and what it shall replace.
fn referral(request: &Request) -> Result<(Uri, Option<Replaces>), StatusCode> {
    let bad = StatusCode::BAD_REQUEST;
    if request.headers.count(HeaderName::REFER_TO) != 1 || request.headers.all::<ReferTo>().count() != 1 {
        return Err(bad); // RFC 3515 §2.4.2: exactly one
    }
    let mut uri = request.headers.require::<ReferTo>().map_err(|_| bad)?.uri().clone();
    let mut replaces = None;
    for text in uri_headers(&uri, "Replaces") {
        let text = text.ok_or(bad)?;
        if replaces.replace(Replaces::parse(&text).map_err(|_| bad)?).is_some() {
            tracing::debug!("a Refer-To that replaces two calls");
            return Err(bad);
        }
    }
    uri.remove_headers();
    Ok((uri, replaces))
}

impl Dialogs {
    /// Asks the peer of an established call to call somebody (a transfer). How it goes is told by
    /// [`SubscriptionChange::Progress`](crate::SubscriptionChange::Progress) until `Terminated`; the call itself stays until
    /// it is hung up, and the reports go on after that.
    ///
    /// A peer whose Contact is a GRUU gets the REFER outside of the dialog, with the dialog's name in Target-Dialog (RFC 6665
    /// §4.5.2, RFC 4538).
    ///
    /// # Errors
    /// If the call is not established, NOTIFY is not in `Config::allow`, or the REFER cannot be built.
    pub fn refer(&mut self, now: Instant, call: CallKey, refer: Refer) -> Result<SubscriptionKey, Error> {
        self.may_be_notified()?;
        let (state, dialog) = match self.calls.get_mut(&call) {
            Some(call) => (call.state, call.dialog.as_mut()),
            None => return Err(Error::NoSuchCall),
        };
        let wanted = "a REFER needs an established call";
        let wrong = Error::WrongState { state: state.describe(), wanted };
        let Some(dialog) = dialog.filter(|_| state == CallState::Confirmed) else { return Err(wrong) };
        if dialog.remote_target().param("gr").is_some() {
            let (id, to) = (dialog.id().clone(), dialog.remote_target().clone());
            let (mut from, route) = (dialog.local().clone(), dialog.route_set().to_vec());
            from.remove_param("tag");
            // The tags as the peer sees them (RFC 4538 §3).
            let target = TargetDialog::new(&id.call_id, &id.remote_tag, &id.local_tag);
            return self.send_refer(now, to, from, route, Some(target), refer);
        }
        let builder = dialog.request(Method::Refer);
        let (id, hop, number) = (dialog.id().clone(), dialog.next_hop().clone(), dialog.local_cseq());
        let request = self.finish(asking(builder, &refer))?;
        let key = SubscriptionKey(self.fresh_key());
        let mut subscriber = Subscriber::of_refer(now, Some(number));
        subscriber.silent = refer.requires.is_some();
        subscriber.dialog = Some(id.clone());
        self.subscriptions.subscribers.insert(key, subscriber);
        self.join_dialog(&id, key);
        let until = now + self.patience();
        self.subscriptions.alarms.arm(until, Alarm::NotifyWait(key));
        self.dispatch(now, key, request, hop, EventPurpose::Refer(key))
            .inspect_err(|_| self.drop_subscriber(key))?;
        Ok(key)
    }

    /// Asks somebody outside of calls to send a request, with a dialog of its own for the reports (RFC 3515 §2.4.7).
    ///
    /// # Errors
    /// If NOTIFY is not in `Config::allow`, there is no listener, or the REFER cannot be built.
    pub fn refer_outside(
        &mut self,
        now: Instant,
        to: Uri,
        from: NameAddr,
        route: Vec<Route>,
        refer: Refer,
    ) -> Result<SubscriptionKey, Error> {
        self.may_be_notified()?;
        self.send_refer(now, to, from, route, None, refer)
    }

    fn send_refer(
        &mut self,
        now: Instant,
        to: Uri,
        from: NameAddr,
        route: Vec<Route>,
        target: Option<TargetDialog>,
        refer: Refer,
    ) -> Result<SubscriptionKey, Error> {
        let hop = route.first().map_or(&to, |route| route.uri()).clone();
        let contact = self.contact_for(from.uri().user(), if to.is_sips() { &to } else { &hop })?;
        let (tag, call_id) = (self.token(), self.token());
        let mut builder = Request::builder(Method::Refer, &to)
            .headers(&route)
            .header(&From(from).with_tag(&tag))
            .header(&To::new(&to))
            .header(&CallId::new(&call_id))
            .header(&CSeq::new(1, Method::Refer))
            .header(&contact);
        if let Some(target) = &target {
            builder = builder.header(target);
        }
        let request = self.finish(asking(builder, &refer))?;
        let key = SubscriptionKey(self.fresh_key());
        let mut subscriber = Subscriber::of_refer(now, None);
        subscriber.silent = refer.requires.is_some();
        self.subscriptions.subscribers.insert(key, subscriber);
        self.open_attempt(now, key, (call_id, tag), contact);
        self.dispatch(now, key, request, hop, EventPurpose::Refer(key))
            .inspect_err(|_| self.drop_subscriber(key))?;
        Ok(key)
    }

    pub(crate) fn refer_answered(&mut self, now: Instant, key: SubscriptionKey, response: Response) {
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        subscriber.client = None;
        let attempt = subscriber.attempt.take();
        let accepted = response.status().is_success();
        // RFC 4488 §4: the 2xx says whether there is no subscription.
        let (silent, established) = (subscriber.silent, subscriber.established);
        let none =
            silent || response.headers.get::<ReferSub>().ok().flatten().is_some_and(|sub| !sub.is_true());
        if accepted
            && silent
            && let Ok(Some(at)) = response.headers.get::<ReferEventsAt>()
        {
            let uri = at.0.uri().clone(); // of no meaning in any other message (RFC 7614 §4.8)
            self.tell(key, SubscriptionChange::EventsAt { uri });
        }
        if (accepted && !none) || (!accepted && established) {
            return self.unsubscribe_if_due(now, key);
        }
        if let Some(attempt) = attempt {
            self.forget_attempt(&attempt);
        }
        let end =
            if accepted { SubscriptionEnd::NotMade } else { SubscriptionEnd::Refused(Box::new(response)) };
        self.end_subscription(now, key, end, None);
    }

    /// RFC 5057 §5.2: it is the REFER that failed, not the call.
    pub(crate) fn refer_failed(&mut self, now: Instant, key: SubscriptionKey, failure: Failure) {
        let Some(subscriber) = self.subscriptions.subscribers.get_mut(&key) else { return };
        subscriber.client = None;
        let attempt = subscriber.attempt.take();
        if subscriber.established {
            return self.unsubscribe_if_due(now, key);
        }
        if let Some(attempt) = attempt {
            self.forget_attempt(&attempt);
        }
        self.end_subscription(now, key, SubscriptionEnd::Failed(failure), None);
    }

    /// What names an established call of ours to its peer, for [`refer_to_replacing`]: the attended transfer of another
    /// call to it (RFC 5589 §7.1).
    pub fn replacing(&self, call: CallKey) -> Option<Replaces> {
        let call = self.calls.get(&call).filter(|call| call.state == CallState::Confirmed)?;
        let id = call.dialog.as_ref()?.id();
        // The tags as the peer sees them: its own is that of To (RFC 3891 §4).
        Some(Replaces::new(&id.call_id, &id.remote_tag, &id.local_tag))
    }

    // ---- being asked -----------------------------------------------------------------------------------------

    pub(crate) fn refer_came(
        &mut self,
        now: Instant,
        tx: ServerTx,
        request: Request,
        path: Path,
        id: Option<DialogId>,
    ) {
        if let Some(id) = &id {
            if self.dialog_of(id).is_none() {
                if self.call_with(id).is_some() {
                    let reason = "Not Before the Call Is Answered";
                    return self.answer_because(now, tx, &request, StatusCode::FORBIDDEN, reason);
                }
                let status = StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST;
                return self.answer_status(now, tx, &request, status);
            }
            if !self.in_order(now, id, tx, &request) {
                return;
            }
        }
        let (refer_to, replaces) = match referral(&request) {
            Ok(referral) => referral,
            Err(status) => return self.answer_status(now, tx, &request, status),
        };
        let Some(source) = self.room_for_source(now, tx, &request, &path) else { return };
        let own: Option<Dialog> = match &id {
            Some(_) => None,
            None => match self.dialog_for(now, tx, &request, &path) {
                Some(dialog) => Some(dialog),
                None => return,
            },
        };
        let number = request.headers.get::<CSeq>().ok().flatten().map(|cseq| cseq.number);
        let event = EventId::refer(number.filter(|_| id.is_some()));
        let key = SubscriptionKey(self.fresh_key());
        let undecided = Undecided { tx, request: request.clone(), dialog: own };
        let mut notifier = Notifier::new(now, event, undecided, Some(source));
        notifier.dialog = id.clone();
        self.await_decision(now, key, notifier);
        if let Some(id) = &id {
            self.join_dialog(id, key);
        }
        let call = id.and_then(|id| self.call_with(&id));
        let target = self.target_dialog(&request);
        let referred_by = request.headers.get::<ReferredBy>().ok().flatten();
        self.events.push_back(Event::Referred {
            key,
            call,
            target,
            refer_to,
            replaces,
            referred_by,
            request,
            path,
        });
    }

    /// Accepts a REFER: 202, and at once a NOTIFY with `100 Trying` (RFC 3515 §2.4.4). Then send the request, and `report`
    /// how it goes.
    ///
    /// # Errors
    /// If it has been answered, or the response cannot be built.
    pub fn accept_refer(&mut self, now: Instant, key: SubscriptionKey) -> Result<(), Error> {
        let refers = self.subscriptions.notifiers.get(&key).is_some_and(|it| it.event.package == "refer");
        if !refers {
            return Err(Error::NoSuchSubscription);
        }
        let Undecided { tx, request, dialog } = self.take_undecided(key)?;
        let joined = self.subscriptions.notifiers.get(&key).and_then(|notifier| notifier.dialog.clone());
        let contact = match (&dialog, joined) {
            (Some(dialog), _) => Some(dialog.contact().clone()),
            (None, Some(id)) => self.dialog_of(&id).map(|dialog| dialog.contact().clone()),
            (None, None) => None,
        };
        if let Some(requirement) = ReferRequirement::of(&request) {
            let accepted =
                self.accept_refer_without_subscription(now, key, tx, &request, dialog.as_ref(), requirement);
            if accepted.is_err() {
                self.end_notifier(key, SubscriberEnd::ByUs);
            }
            return accepted;
        }
        let silent = request.headers.get::<ReferSub>().ok().flatten().is_some_and(|sub| !sub.is_true());
        let mut builder = request.reply(StatusCode::ACCEPTED);
        if let Some(dialog) = &dialog {
            builder = builder.to_tag(&dialog.id().local_tag);
        }
        if let Some(contact) = &contact {
            builder = builder.header(contact);
        }
        if silent {
            builder = builder.header(&ReferSub::new("false")); // RFC 4488 §4
        }
        let response = match builder.build() {
            Ok(response) => response,
            Err(error) => {
                self.end_notifier(key, SubscriberEnd::ByUs);
                return Err(error.into());
            }
        };
        self.answer(now, tx, response);
        if silent {
            self.end_notifier(key, SubscriberEnd::NotWanted);
            return Ok(());
        }
        let until = later(now, Duration::from_secs(self.config.events.refer_expires.into()));
        if let Some(notifier) = self.subscriptions.notifiers.get_mut(&key) {
            notifier.expires_at = until;
            if let Some(dialog) = &dialog {
                notifier.dialog = Some(dialog.id().clone());
            }
        }
        if let Some(dialog) = dialog {
            self.own_dialog(dialog, key);
        }
        self.subscriptions.alarms.arm(until, Alarm::Granted(key));
        self.notify(now, key, Notification::full(Report::new(StatusCode::TRYING).to_body()))
    }

    /// Refuses a REFER, with 603 for a person's no (RFC 3515 §2.4.4).
    ///
    /// # Errors
    /// If it has been answered, or the status is no failure.
    pub fn decline_refer(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        status: StatusCode,
    ) -> Result<(), Error> {
        self.reject_subscription(now, key, status, &[])
    }

    /// Tells who referred us how the request goes. A final status is the last report and ends the subscription
    /// (RFC 3515 §2.4.5); without one it ends when its time is over.
    ///
    /// # Errors
    /// If nobody listens (any more), or the REFER is not accepted.
    pub fn report(&mut self, now: Instant, key: SubscriptionKey, report: &Report) -> Result<(), Error> {
        if self.report_to_subscribers(now, key, report).is_some() {
            return Ok(());
        }
        let body = report.to_body();
        let notifier = self.decided(key)?;
        if notifier.event.package != "refer" {
            return Err(Error::Subscription("is not that of a REFER"));
        }
        if report.status.is_final() {
            let reason = TerminationReason::NoResource;
            return self.terminate_subscription(now, key, &reason, None, Some(body));
        }
        self.notify(now, key, Notification::full(body))
    }
}

fn asking(builder: RequestBuilder, refer: &Refer) -> RequestBuilder {
    let mut builder = builder.header(&ReferTo::new(&refer.refer_to));
    if let Some(by) = &refer.referred_by {
        builder = builder.header(by);
    }
    if !refer.subscription {
        builder = builder.header(&ReferSub::new("false")).header(&Supported("norefersub".into()));
    }
    if let Some(requirement) = refer.requires {
        builder = builder.header(&Require::from(requirement.tag()));
    }
    for (name, value) in &refer.fields {
        builder = builder.raw(name.as_str(), value);
    }
    builder
}
