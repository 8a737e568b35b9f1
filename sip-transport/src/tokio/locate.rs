//! One resolution over a name service, for who wants to know a next hop without a core: `sip resolve` and tests.

use ::tokio::task::JoinSet;
use ::tokio::time::{Instant, sleep_until, timeout};

use crate::core::{Question, Records, ResolveError};
use crate::limits::Limits;
use crate::resolve::{Progress, Resolution};
use crate::tokio::dns::Resolve;

/// Asks `resolver` until `resolution` is at its end, several questions at once where they do not depend on each
/// other. `seen` is shown each answer as it comes, in case somebody wants to be told how the end was reached.
///
/// A question that takes longer than [`Limits::QUERY`] counts as timed out. Never gives [`Progress::Waiting`].
pub async fn locate(
    resolver: &dyn Resolve,
    mut resolution: Resolution,
    mut seen: impl FnMut(&Question, &Result<Records, ResolveError>),
) -> Progress {
    let mut flying = JoinSet::new();
    loop {
        for question in resolution.ask() {
            let answer = resolver.resolve(question.clone());
            flying.spawn(async move {
                let records = timeout(Limits::QUERY, answer).await.unwrap_or(Err(ResolveError::TimedOut));
                (question, records)
            });
        }
        let patience = match resolution.progress() {
            Progress::Waiting(patience) => patience.map(|patience| Instant::now() + patience),
            end => return end,
        };
        let enough = async {
            match patience {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        ::tokio::select! {
            answered = flying.join_next() => match answered {
                Some(Ok((question, records))) => {
                    seen(&question, &records);
                    resolution.answer(&question, records);
                }
                // A resolver that panicked has no more to say than one that is silent.
                Some(Err(_)) | None => resolution.settle(),
            },
            () = enough => resolution.settle(),
        }
    }
}
