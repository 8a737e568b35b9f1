//! `sip watch` and `sip publish`: who is there, and saying that we are.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde_json::json;
use sip_dialog::packages::presence::Presence;
use sip_dialog::{PublicationChange, PublicationEnd, SubscriptionChange, SubscriptionEnd};
use sip_ua::{PresenceState, Subscription};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args::{PublishArgs, WatchArgs};
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::once::{refused, sender};
use crate::output::Output;

/// Changes that wait to be shown.
const WAITING: usize = 64;
/// How long a server may take to hear that we go.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// What is known of one of those who are watched.
struct Row {
    who: String,
    state: Option<PresenceState>,
    /// What stands in the place of a state.
    word: String,
}

impl Row {
    /// `sip:bob@example.com  open    on the phone  back at four  2026-01-01T10:00:00Z`.
    fn line(&self, width: usize) -> String {
        let Some(state) = &self.state else { return format!("{:<width$}  {}", self.who, self.word) };
        let open = if state.open { "open" } else { "closed" };
        let since = state.since.map(|since| since.to_rfc3339()).unwrap_or_default();
        let (activity, note) = (state.activity(), state.note.as_deref().unwrap_or_default());
        format!("{:<width$}  {open:<6}  {activity:<14}  {note:<20}  {since}", self.who).trim_end().to_owned()
    }

    fn show(&self, output: Output) {
        let state = self.state.as_ref();
        output.event(
            json!({
                "event": "presence",
                "uri": self.who,
                "word": state.is_none().then_some(&self.word),
                "open": state.map(|state| state.open),
                "activity": state.map(PresenceState::activity),
                "note": state.and_then(|state| state.note.as_deref()),
                "since": state.and_then(|state| state.since).map(|since| since.to_rfc3339()),
            }),
            self.line(self.who.chars().count()),
        );
    }
}

/// `sip watch`.
pub(crate) async fn watch(
    args: WatchArgs,
    output: Output,
    mut interrupt: Interrupt,
) -> Result<Code, Failure> {
    let first = args.uris.first().map(String::as_str).unwrap_or_default();
    let phone = sender(&args.sender, first).await?;
    let (tell, mut told) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    let mut rows = Vec::new();
    for (index, uri) in args.uris.iter().enumerate() {
        let subscription = phone.subscribe(uri, "presence", &[Presence::CONTENT_TYPE]).await;
        let subscription = subscription.map_err(Failure::fault)?;
        tasks.spawn(follow(index, subscription, tell.clone()));
        rows.push(Row { who: uri.clone(), state: None, word: "asked".into() });
    }
    drop(tell);
    let end = async {
        match args.duration {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let width = rows.iter().map(|row| row.who.chars().count()).max().unwrap_or_default();
    let mut shown = 0;
    let mut seen = BTreeSet::new();
    let mut failure = None;
    loop {
        let (index, change) = tokio::select! {
            change = told.recv() => match change {
                Some(change) => change,
                None => break, // nobody is left to watch
            },
            () = &mut end => break,
            () = interrupt.requested() => break,
        };
        let Some(row) = rows.get_mut(index) else { continue };
        match change {
            Change::State(state) => {
                row.state = Some(state);
                seen.insert(index);
            }
            Change::Word(word) => (row.state, row.word) = (None, word),
            Change::Refused(refusal) => {
                (row.state, row.word) = (None, refusal.to_string());
                failure = Some(refusal);
            }
        }
        if output.is_table() {
            output.table(shown, rows.iter().map(|row| row.line(width)));
            shown = rows.len();
        } else {
            row.show(output);
        }
        if args.once && seen.len() >= rows.len() {
            break;
        }
    }
    // Each ends its subscription as it goes.
    tasks.shutdown().await;
    phone.close().await;
    match failure {
        Some(failure) if seen.is_empty() => Err(failure),
        _ => Ok(Code::Well),
    }
}

enum Change {
    State(PresenceState),
    Word(String),
    Refused(Failure),
}

/// Tells what becomes of one subscription.
async fn follow(index: usize, mut subscription: Subscription, tell: mpsc::Sender<(usize, Change)>) {
    while let Some(change) = subscription.next().await {
        let change = match change {
            SubscriptionChange::Notified { request } => match Presence::parse(request.body()) {
                Ok(presence) => Change::State(PresenceState::of(&presence)),
                // A NOTIFY without a state tells the subscription's alone.
                Err(_) if request.body().is_empty() => continue,
                Err(error) => Change::Word(format!("unreadable: {error}")),
            },
            SubscriptionChange::Pending { .. } => Change::Word("waits to be allowed".into()),
            SubscriptionChange::Terminated { again: Some(_), .. } => Change::Word("asked again".into()),
            SubscriptionChange::Terminated { end, again: None } => match end {
                SubscriptionEnd::Refused(response) => {
                    Change::Refused(refused(response.status(), response.reason()))
                }
                SubscriptionEnd::Failed(failure) => Change::Refused(Failure::new(
                    Code::of(failure.status()),
                    format_args!("no answer: {failure}"),
                )),
                _ => Change::Word("not told any more".into()),
            },
            _ => continue,
        };
        if tell.send((index, change)).await.is_err() {
            return;
        }
    }
}

/// `sip publish`.
pub(crate) async fn publish(
    args: PublishArgs,
    output: Output,
    mut interrupt: Interrupt,
) -> Result<Code, Failure> {
    let mut state = args.state.since(SystemTime::now());
    state.note = args.note;
    let address = args.sender.from.clone().unwrap_or_default();
    let phone = sender(&args.sender, &address).await?;
    let published = tokio::select! {
        published = phone.publish_presence(&state) => published,
        () = interrupt.requested() => {
            phone.close().await;
            return Err(Failure::new(Code::NoAnswer, "interrupted before there was an answer"));
        }
    };
    let mut published = match published {
        Ok(published) => published,
        Err(error) => {
            phone.close().await;
            let code = error.status().map_or(Code::Fault, Code::of);
            return Err(Failure::new(code, error));
        }
    };
    output.event(
        json!({ "event": "published", "uri": address, "state": state.to_string() }),
        format_args!("{address} is {state}"),
    );
    let end = async {
        match args.once {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let outcome = loop {
        let change = tokio::select! {
            change = published.next() => change,
            () = &mut end => break Ok(Code::Well),
            () = interrupt.requested() => break Ok(Code::Well),
        };
        match change {
            Some(PublicationChange::Failed { status, again }) => output.event(
                json!({ "event": "not refreshed", "status": status.code(), "again_seconds": again.as_secs() }),
                format_args!("not refreshed: {}; again in {} s", status.code(), again.as_secs()),
            ),
            Some(PublicationChange::Ended(PublicationEnd::Refused(response))) => {
                break Err(refused(response.status(), response.reason()));
            }
            Some(_) => {}
            None => break Err(Failure::new(Code::Unreachable, "the server does not keep it any more")),
        }
    };
    if timeout(LEAVE_PATIENCE, published.remove()).await.is_err() {
        tracing::info!("the server did not confirm that the state is removed");
    }
    phone.close().await;
    outcome
}
