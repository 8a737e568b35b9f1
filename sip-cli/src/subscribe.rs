//! `sip subscribe` and `sip refer`: what is notified, as it comes.

use std::time::Duration;

use serde_json::{Value, json};
use sip_dialog::packages::message_summary::MessageSummary;
use sip_dialog::packages::presence::Presence;
use sip_dialog::{SubscriptionChange, SubscriptionEnd};
use sip_message::{Request, StatusCode};
use sip_ua::{Phone, RequestError, Subscription};

use crate::args::{ReferArgs, SubscribeArgs};
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::once::{refused, sender};
use crate::output::Output;

/// How long the last state is waited for after the subscription was ended.
const LAST_STATE: Duration = Duration::from_secs(2);

/// `sip subscribe`.
pub(crate) async fn run(
    args: SubscribeArgs,
    output: Output,
    mut interrupt: Interrupt,
) -> Result<Code, Failure> {
    let phone = sender(&args.sender, &args.uri).await?;
    let subscription = phone.subscribe(&args.uri, &args.package, &[]).await;
    let mut subscription = subscription.map_err(not_sent)?;
    let end = async {
        match args.duration {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let outcome = loop {
        let change = tokio::select! {
            change = subscription.next() => change,
            () = &mut end => break Ok(Code::Well),
            () = interrupt.requested() => break Ok(Code::Well),
        };
        match change {
            Some(SubscriptionChange::Active { expires }) => {
                state(output, "active", expires);
            }
            Some(SubscriptionChange::Pending { expires }) => {
                state(output, "pending", expires);
            }
            Some(SubscriptionChange::Notified { request }) => {
                notified(output, &request);
                if args.once {
                    break Ok(Code::Well);
                }
            }
            Some(SubscriptionChange::Terminated { end, again }) => match again {
                Some(wait) => output.event(
                    json!({ "event": "terminated", "again_seconds": wait.as_secs() }),
                    format_args!("ended; again in {} s", wait.as_secs()),
                ),
                None => break ended(output, &end),
            },
            Some(_) => {}
            None => break Ok(Code::Well),
        }
    };
    finish(&phone, subscription).await;
    outcome
}

fn not_sent(error: RequestError) -> Failure {
    Failure::fault(error)
}

/// Ends the subscription, and gives the notifier the time to say its last word.
async fn finish(phone: &Phone, mut subscription: Subscription) {
    subscription.end();
    let last = async { while subscription.next().await.is_some() {} };
    if tokio::time::timeout(LAST_STATE, last).await.is_err() {
        tracing::debug!("no last NOTIFY came");
    }
    drop(subscription);
    phone.close().await;
}

fn state(output: Output, word: &str, expires: Option<Duration>) {
    let seconds = expires.map(|expires| expires.as_secs());
    let lasting = seconds.map(|seconds| format!(" for {seconds} s")).unwrap_or_default();
    output.event(json!({ "event": word, "seconds": seconds }), format_args!("{word}{lasting}"));
}

/// Why it ended, and what that is to a script.
fn ended(output: Output, end: &SubscriptionEnd) -> Result<Code, Failure> {
    match end {
        SubscriptionEnd::Refused(response) => Err(refused(response.status(), response.reason())),
        SubscriptionEnd::Failed(failure) => {
            let status = failure.status();
            Err(Failure::new(Code::of(status), format_args!("no answer: {failure}")))
        }
        SubscriptionEnd::NoNotify => {
            Err(Failure::new(Code::Unreachable, "it was accepted, but no state was ever notified"))
        }
        SubscriptionEnd::ByNotifier { reason, .. } => {
            let reason = reason.as_ref().map_or("without a reason", |reason| reason.as_str());
            output.event(json!({ "event": "ended", "reason": reason }), format_args!("ended: {reason}"));
            Ok(Code::Well)
        }
        _ => Ok(Code::Well),
    }
}

/// A state, in words where we know its kind.
fn notified(output: Output, request: &Request) {
    let body = request.body();
    let kind = request.headers.text("Content-Type").unwrap_or_default().to_owned();
    let (text, value) = match Known::of(&kind) {
        Some(Known::Presence) => presence(body),
        Some(Known::Summary) => summary(body),
        None => None,
    }
    .unwrap_or_else(|| {
        let raw = String::from_utf8_lossy(body).into_owned();
        (raw.trim_end().to_owned(), Value::Null)
    });
    output.event(
        json!({
            "event": "notified",
            "state": request.headers.text("Subscription-State"),
            "content_type": kind,
            "body": String::from_utf8_lossy(body),
            "read": value,
        }),
        if text.is_empty() { "no state".into() } else { text },
    );
}

enum Known {
    Presence,
    Summary,
}

impl Known {
    fn of(kind: &str) -> Option<Self> {
        let bare = kind.split(';').next().unwrap_or_default().trim();
        if bare.eq_ignore_ascii_case(Presence::CONTENT_TYPE) {
            Some(Self::Presence)
        } else if bare.eq_ignore_ascii_case(MessageSummary::CONTENT_TYPE) {
            Some(Self::Summary)
        } else {
            None
        }
    }
}

fn presence(body: &[u8]) -> Option<(String, Value)> {
    let presence = Presence::parse(body).ok()?;
    let notes: Vec<&str> = presence.notes.iter().map(|note| note.text.as_str()).collect();
    let word = if presence.is_open() { "open" } else { "closed" };
    let mut text = format!("{} is {word}", presence.entity);
    for note in &notes {
        text.push_str(": ");
        text.push_str(note);
    }
    Some((text, json!({ "entity": presence.entity, "basic": word, "notes": notes })))
}

fn summary(body: &[u8]) -> Option<(String, Value)> {
    let summary = MessageSummary::parse(body).ok()?;
    let voice = summary.voice().unwrap_or_default();
    let text = format!("{} new voice messages, {} old", voice.new, voice.old);
    Some((text, json!({ "waiting": summary.waiting, "new": voice.new, "old": voice.old })))
}

/// `sip refer`.
pub(crate) async fn refer(
    args: ReferArgs,
    output: Output,
    mut interrupt: Interrupt,
) -> Result<Code, Failure> {
    let phone = sender(&args.sender, &args.uri).await?;
    let mut subscription = phone.refer(&args.uri, &args.target).await.map_err(not_sent)?;
    let mut last: Option<StatusCode> = None;
    let outcome = loop {
        let change = tokio::select! {
            change = subscription.next() => change,
            () = interrupt.requested() => break Ok(Code::NoAnswer),
        };
        match change {
            Some(SubscriptionChange::Progress { status }) => {
                last = Some(status);
                output.event(
                    json!({ "event": "progress", "status": status.code(), "reason": status.reason() }),
                    format_args!("{} {}", status.code(), status.reason()),
                );
            }
            Some(SubscriptionChange::Terminated { end, again: None }) => {
                break match (last, &end) {
                    (_, SubscriptionEnd::Refused(_) | SubscriptionEnd::Failed(_)) => ended(output, &end),
                    (Some(status), _) if status.is_success() => Ok(Code::Well),
                    (Some(status), _) if status.is_final() => Err(Failure::new(
                        Code::of(status),
                        format_args!("its call: {} {}", status.code(), status.reason()),
                    )),
                    _ => Err(Failure::new(Code::Unreachable, "the phone did not say how its call went")),
                };
            }
            Some(_) => {}
            None => break Ok(Code::Well),
        }
    };
    drop(subscription);
    phone.close().await;
    outcome
}
