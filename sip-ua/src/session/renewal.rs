//! What keeps the paths of a session true: the URI of our relay is renewed before its time is over (RFC 4976 §9.4), and another path
//! of the other side's is taken over (RFC 4975 §8.4).

use std::sync::Arc;
use std::time::Duration;

use msrp::auth::Grant;
use msrp::tokio::{ConnectError, Route};
use msrp::{Path, SendError, UriError};
use sdp::LocalMedia;
use sip_dialog::CallKey;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::media::SessionMedia;
use super::said::Said;
use crate::call::{ChangeError, change};
use crate::media::MediaSession as _;
use crate::phone::Phone;

/// What failed is tried again so often, within the time that the old URI is still good: a tenth of it at least.
const ATTEMPTS: u32 = 3;

/// The task that keeps them, until it is dropped.
#[derive(Debug)]
pub(super) struct Kept(JoinHandle<()>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A session whose paths are kept.
pub(super) struct Keeper {
    pub(super) phone: Phone,
    pub(super) call: CallKey,
    pub(super) media: Arc<SessionMedia>,
    pub(super) route: Route,
    /// The path to which the session was opened.
    pub(super) theirs: Path,
    /// What our relay gave, if we have one.
    pub(super) grant: Option<Grant>,
}

/// Where the first of a path listens: another place would need another connection.
fn place(path: &Path) -> Option<(String, Option<u16>, bool)> {
    path.first().map(|uri| (uri.host().to_ascii_lowercase(), uri.port(), uri.is_secure()))
}

/// Why a path is not kept.
#[derive(Debug, thiserror::Error)]
enum Unkept {
    /// There is nothing to keep any more.
    #[error("the session is over")]
    Over,
    #[error(transparent)]
    Relay(#[from] ConnectError),
    #[error("the new path begins at another place")]
    Elsewhere,
    #[error(transparent)]
    Path(#[from] UriError),
    #[error(transparent)]
    Refused(ChangeError),
}

impl From<SendError> for Unkept {
    fn from(_: SendError) -> Self {
        Self::Over
    }
}

impl Keeper {
    pub(super) fn start(self) -> Kept {
        let mut said = self.media.said();
        // It may have said something else already.
        said.mark_changed();
        Kept(tokio::spawn(self.keep(said)))
    }

    async fn keep(mut self, mut said: watch::Receiver<Option<Said>>) {
        let mut due = self.due();
        let mut failures = 0;
        loop {
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = said.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let path = said.borrow_and_update().as_ref().map(|said| said.path.clone());
                    let Some(path) = path.filter(|path| *path != self.theirs) else { continue };
                    match self.follow(path).await {
                        Ok(()) => {}
                        Err(Unkept::Over) => return,
                        Err(error) => tracing::debug!(%error, "the other side's path is not taken over"),
                    }
                }
                () = wait => match self.renew().await {
                    Ok(()) => (due, failures) = (self.due(), 0),
                    Err(Unkept::Over) => return,
                    Err(error) => {
                        failures += 1;
                        tracing::debug!(%error, failures, "the URI of the relay is not renewed");
                        due = self.again().filter(|_| failures < ATTEMPTS);
                    }
                }
            }
        }
    }

    /// The other side has another path. Without a relay of ours our connection leads to its first hop, and to no other.
    async fn follow(&mut self, path: Path) -> Result<(), Unkept> {
        let way = match &self.grant {
            Some(grant) => grant.towards(&path)?,
            None if place(&self.theirs) == place(&path) => path.clone(),
            None => return Err(Unkept::Elsewhere),
        };
        self.route.set_remote(way).await?;
        self.theirs = path;
        Ok(())
    }

    /// Asks our relay for another URI and offers it. The old one is good until its time is over, so nothing is lost meanwhile.
    async fn renew(&mut self) -> Result<(), Unkept> {
        let (Some(relay), Some(old)) = (&self.phone.inner.sessions.relay, &self.grant) else { return Ok(()) };
        let grant = self.route.authenticate(std::slice::from_ref(relay)).await?;
        let own = self.route.uri();
        let path = grant.offered(own)?;
        if place(&path) != place(&old.offered(own)?) {
            return Err(Unkept::Elsewhere);
        }
        let before = self.media.set_path(&path);
        let offered = self.media.describe();
        let anew = |local: LocalMedia| {
            change(&self.phone, self.call, |core, now, call| core.offer_anew(now, call, local))
        };
        match anew(offered).await {
            Ok(()) => {}
            Err(ChangeError::Ended) => return Err(Unkept::Over),
            Err(refused) => {
                // What was agreed upon still holds (RFC 3261 §14.1).
                self.media.set_described(before.clone());
                // If the call has ended meanwhile, there is nothing to take back.
                let _ = self.phone.inner.with(|shell, _| shell.core.redescribe(self.call, before));
                return Err(Unkept::Refused(refused));
            }
        }
        // The answer may have another path too: that is followed next.
        self.route.set_remote(grant.towards(&self.theirs)?).await?;
        self.grant = Some(grant);
        Ok(())
    }

    /// When the URI is to be renewed: as with REGISTER between 80 and 90 % of its time. At a moment of chance, since two sides that have
    /// got their URIs together would offer together again and again (glare, RFC 3261 §14.1).
    fn due(&self) -> Option<Instant> {
        let validity = Duration::from_secs(self.grant.as_ref()?.expires()?);
        let chance = self.phone.inner.with(|shell, _| shell.core.chance());
        Instant::now().checked_add(validity.mul_f64(0.8 + (chance % 1000) as f64 / 10_000.0))
    }

    /// When it is to be tried again: in a quarter of the time that is left.
    fn again(&self) -> Option<Instant> {
        let validity = Duration::from_secs(self.grant.as_ref()?.expires()?);
        Instant::now().checked_add(validity.div_f64(40.0))
    }
}
