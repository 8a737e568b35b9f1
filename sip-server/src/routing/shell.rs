//! The way of requests to a router and of its decisions back.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sip_transport::tokio::Handle;
use tokio::task::JoinSet;

use super::{Call, Router};
use crate::ServerCore;
use crate::location::QuestionKey;

/// Carries requests to the router and decisions back, many at a time: as many as the core lets wait.
pub(crate) async fn ask_router(handle: Handle<ServerCore>, router: Arc<dyn Router>, timeout: Duration) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            (key, call) = next_call(&handle) => {
                let (handle, router) = (handle.clone(), router.clone());
                running.spawn(async move {
                    let decision = tokio::time::timeout(timeout, router.decide(call)).await;
                    handle.with(|core, now| core.decided(now, key, decision.ok()));
                });
            }
            Some(done) = running.join_next() => {
                // A router that panics leaves its request to the timeout of the core.
                if let Err(error) = done {
                    tracing::warn!(%error, "a router's decision was not made");
                }
            }
        }
    }
}

async fn next_call(handle: &Handle<ServerCore>) -> (QuestionKey, Call) {
    poll_fn(|context| {
        handle.with(|core, _| match core.poll_call() {
            Some(call) => Poll::Ready(call),
            None => {
                core.wake_on_call(context.waker().clone());
                Poll::Pending
            }
        })
    })
    .await
}
