//! What the core asks of the outside, carried there and back: it never waits itself.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::cores::{CoreHandle, Cores};
use crate::ServerCore;
use crate::calls::CallRecord;
use crate::events::EventStore;
use crate::location::{Answer, LocationStore, StoreError};
use crate::messages::{MessageAnswer, MessageStore};
use crate::operation::CallRecordFile;
use crate::push::{PushError, PushGateway};
use crate::routing::Router;
use crate::users::UserStore;

/// Call records written in one go.
const AT_ONCE: usize = 1024;

/// One kind of question: how it is taken out of the core, and how one hears of the next.
struct Questions<Q> {
    poll: fn(&mut ServerCore) -> Option<Q>,
    wake: fn(&mut ServerCore, Waker),
}

impl<Q> Questions<Q> {
    async fn next(&self, handle: &CoreHandle) -> (Q, Instant) {
        poll_fn(|context| {
            handle.with(|core, now| match (self.poll)(core) {
                Some(question) => Poll::Ready((question, now)),
                None => {
                    (self.wake)(core, context.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await
    }
}

/// Carries questions out and, by `answer`, answers back, many at a time: as many as the core lets wait.
async fn carry<Q, F>(
    handle: CoreHandle,
    questions: Questions<Q>,
    answer: impl Fn(CoreHandle, Q, Instant) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            (question, now) = questions.next(&handle) => {
                running.spawn(answer(handle.clone(), question, now));
            }
            Some(done) = running.join_next() => {
                // Who panics leaves the request to the timeout of the core.
                if let Err(error) = done {
                    tracing::warn!(%error, "a question was not answered");
                }
            }
        }
    }
}

/// The bindings of a location store.
pub(super) async fn answer_questions(handle: CoreHandle, store: Arc<dyn LocationStore>, timeout: Duration) {
    let questions = Questions { poll: ServerCore::poll_question, wake: ServerCore::wake_on_question };
    carry(handle, questions, move |handle, (key, question), asked| {
        let store = store.clone();
        async move {
            let answer = tokio::time::timeout(timeout, store.answer(question, asked)).await;
            let answer = answer.unwrap_or(Answer::Failed(StoreError::Unavailable));
            handle.with(|core, now| core.answer(now, key, answer));
        }
    })
    .await;
}

/// The decisions of a router.
pub(super) async fn ask_router(handle: CoreHandle, router: Arc<dyn Router>, timeout: Duration) {
    let questions = Questions { poll: ServerCore::poll_call, wake: ServerCore::wake_on_call };
    carry(handle, questions, move |handle, (key, call), _| {
        let router = router.clone();
        async move {
            let decision = tokio::time::timeout(timeout, router.decide(call)).await;
            handle.with(|core, now| core.decided(now, key, decision.ok()));
        }
    })
    .await;
}

/// Push notifications for phones that sleep.
pub(super) async fn wake_phones(handle: CoreHandle, gateway: Arc<dyn PushGateway>, timeout: Duration) {
    let questions = Questions { poll: ServerCore::poll_push, wake: ServerCore::wake_on_push };
    carry(handle, questions, move |handle, (key, push), _| {
        let gateway = gateway.clone();
        async move {
            let sent = tokio::time::timeout(timeout, gateway.wake(push)).await;
            let sent = sent.unwrap_or(Err(PushError::Unavailable));
            handle.with(|core, now| core.push_sent(now, key, sent));
        }
    })
    .await;
}

/// The secrets of users.
pub(super) async fn ask_users(handle: CoreHandle, store: Arc<dyn UserStore>, timeout: Duration) {
    let questions = Questions { poll: ServerCore::poll_user, wake: ServerCore::wake_on_user };
    let failing = Arc::new(AtomicBool::new(false));
    carry(handle, questions, move |handle, (key, name), _| {
        let (store, failing) = (store.clone(), failing.clone());
        async move {
            let secret = match tokio::time::timeout(timeout, store.find(name)).await {
                Ok(Ok(secret)) => {
                    if failing.swap(false, Ordering::Relaxed) {
                        tracing::info!("users are looked up again");
                    }
                    Ok(secret)
                }
                // Told once: the store may be gone for long.
                Ok(Err(error)) => {
                    if !failing.swap(true, Ordering::Relaxed) {
                        tracing::error!(%error, "a user was not looked up");
                    }
                    Err(())
                }
                Err(_) => {
                    if !failing.swap(true, Ordering::Relaxed) {
                        tracing::error!("a user was not looked up: the store does not answer");
                    }
                    Err(())
                }
            };
            handle.with(|core, now| core.user_found(now, key, secret));
        }
    })
    .await;
}

/// Messages for users who are away.
pub(super) async fn keep_messages(handle: CoreHandle, store: Arc<dyn MessageStore>, timeout: Duration) {
    let questions =
        Questions { poll: ServerCore::poll_message_question, wake: ServerCore::wake_on_message_question };
    carry(handle, questions, move |handle, (key, question), _| {
        // Asked here and now, so that messages stay in their order.
        let answer = store.answer(question);
        async move {
            let answer = tokio::time::timeout(timeout, answer).await.unwrap_or(MessageAnswer::Failed);
            handle.with(|core, now| core.message_answer(now, key, answer));
        }
    })
    .await;
}

/// How long a store of events that has failed is left alone.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// Keeps subscriptions and publications until the server is closed, and what is left then.
pub(super) async fn keep_events(handle: CoreHandle, store: Arc<dyn EventStore>) {
    let changes = Questions { poll: ServerCore::poll_event_changes, wake: ServerCore::wake_on_event_changes };
    let mut ended = pin!(handle.stopped());
    loop {
        let batch = tokio::select! {
            (batch, _) = changes.next(&handle) => batch,
            () = &mut ended => break,
        };
        while let Err(error) = store.write(batch.clone()).await {
            tracing::error!(%error, "subscriptions and publications are not kept");
            tokio::select! {
                () = tokio::time::sleep(STORE_AGAIN) => {}
                () = &mut ended => return,
            }
        }
        handle.with(|core, now| core.events_kept(now));
    }
    loop {
        let left = handle.look(|core| {
            core.end_events(tokio::time::Instant::now().into_std());
            core.poll_event_changes()
        });
        let Some(batch) = left else { return };
        if let Err(error) = store.write(batch).await {
            return tracing::error!(%error, "subscriptions and publications are lost");
        }
        handle.look(|core| core.events_kept(tokio::time::Instant::now().into_std()));
    }
}

/// Writes call records until the server is closed and there is none left.
pub(super) async fn write_records(cores: Cores, mut file: CallRecordFile) {
    let mut ended = pin!(cores.home.stopped());
    let mut last = false;
    while !last {
        tokio::select! {
            biased;
            () = record_waits(&cores) => {}
            () = &mut ended => last = true,
        }
        let mut records: Vec<CallRecord> = Vec::new();
        for core in cores.all() {
            let room = AT_ONCE.saturating_sub(records.len());
            core.look(|core| records.extend(std::iter::from_fn(|| core.poll_call_record()).take(room)));
        }
        last &= records.len() < AT_ONCE;
        // A disk may stand still; the server must not.
        let written = tokio::task::spawn_blocking(move || {
            let result = file.append(&records);
            (file, result)
        });
        let Ok((returned, result)) = written.await else { return };
        file = returned;
        if let Err((lost, error)) = result {
            tracing::error!(%error, lost, "call records are lost");
            cores.home.look(|core| core.count_lost_records(lost));
        }
    }
}

async fn record_waits(cores: &Cores) {
    poll_fn(|context| {
        let waits = |core: &mut ServerCore| {
            if !core.has_call_record() {
                core.wake_on_call_record(context.waker().clone());
            }
            core.has_call_record()
        };
        if cores.all().any(|core| core.look(waits)) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
