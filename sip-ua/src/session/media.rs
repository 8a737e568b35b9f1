//! The end of a session that waits to be agreed on, and its line in offer and answer (RFC 4975 §8, RFC 4145).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use msrp::auth::{AuthError, Grant};
use msrp::sdp::Setup;
use msrp::tokio::{ConnectError, Endpoint, Options, Pending, Session};
use msrp::{Path, SessionConfig};
use sdp::sdp_types::Attribute;
use sdp::{Direction, LocalMedia, LocalStream, MediaKind, Negotiated};
use tokio::sync::watch;

use super::SessionError;
use super::options::SessionOptions;
use super::said::{Said, TCP, TLS, Way, resolve};
use crate::media::{MediaPlace, MediaSession};
use crate::phone::CallError;

/// The attribute of paths (RFC 4975 §8.2).
const PATH: &str = "path";
/// What a chat takes.
const TEXTS: &str = "text/plain";
/// The port of relays that name none (RFC 4976 §8).
const RELAY_PORT: u16 = msrp::auth::RELAY_PORT;

/// What our line of a session is to say.
pub(super) struct Plan<'p> {
    pub(super) place: MediaPlace,
    pub(super) setup: Setup,
    pub(super) direction: Direction,
    /// The line is `TCP/TLS/MSRP`.
    pub(super) secure: bool,
    /// `a=msrp-cema` (RFC 6714).
    pub(super) cema: bool,
    /// Further attributes.
    pub(super) more: &'p [(&'p str, String)],
}

/// The media of the call that sets a session up.
#[derive(Debug)]
pub(super) struct SessionMedia {
    local: Mutex<LocalMedia>,
    protocol: &'static str,
    /// What the other side says; a new offer or answer may say something else.
    agreed: watch::Sender<Option<Said>>,
}

/// What both the call and the session are made of.
pub(super) struct Opened {
    pub(super) media: Arc<SessionMedia>,
    pub(super) pending: Pending,
    pub(super) endpoint: Endpoint,
    /// What our relay gave, if we have one.
    pub(super) grant: Option<Grant>,
}

impl Opened {
    pub(super) fn is_relayed(&self) -> bool {
        self.grant.is_some()
    }
}

/// Opens an end of a session: listens, or asks our relay for a place there.
pub(super) async fn open(
    options: &SessionOptions,
    plan: Plan<'_>,
    configure: impl FnOnce(&mut SessionConfig),
) -> Result<Opened, SessionError> {
    let made = options.made().await?;
    let host = match plan.place.told {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let listens = options.relay.is_none() && plan.setup != Setup::Active;
    let at = match listens {
        true => Options::new(SocketAddr::new(plan.place.bind, 0)),
        false => Options::active_only(),
    };
    let at = at.host(host);
    let tls = made.tls.clone();
    let at = if plan.secure { at.tls(tls) } else { at.tls_to_others(tls) };
    let endpoint = Endpoint::bind(at).await.map_err(CallError::Media)?;
    let mut pending = endpoint.open().map_err(|error| CallError::Media(std::io::Error::other(error)))?;
    configure(pending.config_mut());
    let grant = match &options.relay {
        Some(relay) => Some(pending.authenticate(std::slice::from_ref(relay)).await?),
        None => None,
    };
    let path = pending.path().map_err(|error| ConnectError::Auth(AuthError::Path(error)))?;
    let address = match (&grant, path.first()) {
        (Some(_), Some(first)) => {
            // RFC 6714 §4.2: c and m lines are the relay's too.
            let port = first.port().unwrap_or(RELAY_PORT);
            let addresses = resolve(first.host(), port).await;
            let family = addresses.iter().find(|address| address.is_ipv4() == plan.place.told.is_ipv4());
            family.or(addresses.first()).copied().ok_or(ConnectError::Path)?
        }
        // RFC 6135 §4.2.2: who does not listen has port 9.
        _ => SocketAddr::new(plan.place.told, pending.uri().port().unwrap_or(9)),
    };
    let protocol = if plan.secure { TLS } else { TCP };
    let mut attributes = vec![
        (PATH, Some(path.to_string())),
        // What a relay waits for is said by us all the same.
        ("setup", Some(plan.setup.to_string())),
    ];
    if plan.secure && options.relay.is_none() {
        attributes.push(("fingerprint", Some(made.fingerprint.clone())));
    }
    if plan.cema {
        attributes.push(("msrp-cema", None));
    }
    if !plan.more.iter().any(|(name, _)| *name == "accept-types") {
        attributes.push(("accept-types", Some(TEXTS.into())));
    }
    // What has no value is a flag.
    attributes
        .extend(plan.more.iter().map(|(name, value)| (*name, (!value.is_empty()).then(|| value.clone()))));
    let attributes = attributes.into_iter().map(|(name, value)| Attribute { attribute: name.into(), value });
    let stream = LocalStream::other(MediaKind::Message, address, protocol, ["*"])
        .with_direction(plan.direction)
        .with_options(|options| options.attributes = attributes.collect());
    let local = Mutex::new(LocalMedia::new([stream]));
    let media = Arc::new(SessionMedia { local, protocol, agreed: watch::Sender::new(None) });
    Ok(Opened { media, pending, endpoint, grant })
}

/// Connects as the peer's description has it.
pub(super) async fn connect(
    pending: Pending,
    said: &Said,
    way: Way,
    relayed: bool,
) -> Result<Session, ConnectError> {
    match way {
        // Our relay finds the peer by its path.
        Way::MediaLine(address) if !relayed => pending.connect_to(address, said.path.clone()).await,
        _ => pending.connect(said.path.clone()).await,
    }
}

/// Expects the certificates that were announced.
pub(super) fn expect(pending: Pending, said: &Said) -> Pending {
    said.fingerprints.iter().fold(pending, |pending, fingerprint| pending.fingerprint(*fingerprint))
}

impl SessionMedia {
    /// What the other side says, and will.
    pub(super) fn said(&self) -> watch::Receiver<Option<Said>> {
        self.agreed.subscribe()
    }

    /// Describes another path of ours from now on; gives what was described before.
    pub(super) fn set_path(&self, path: &Path) -> LocalMedia {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        let before = local.clone();
        let streams = before.streams.iter().cloned().map(|stream| {
            stream.with_options(|options| {
                for attribute in &mut options.attributes {
                    if attribute.attribute == PATH {
                        attribute.value = Some(path.to_string());
                    }
                }
            })
        });
        local.streams = streams.collect();
        before
    }

    pub(super) fn set_described(&self, local: LocalMedia) {
        *self.local.lock().unwrap_or_else(PoisonError::into_inner) = local;
    }

    /// What the other side says, once it has.
    pub(super) fn agreed(&self) -> Result<Said, SessionError> {
        let said = self.agreed.borrow().clone().ok_or(SessionError::NotDescribed)?;
        if said.unverifiable { Err(SessionError::Fingerprint) } else { Ok(said) }
    }
}

impl MediaSession for SessionMedia {
    fn describe(&self) -> LocalMedia {
        self.local.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn apply(&self, agreed: &Negotiated) {
        let said = agreed.streams.first().and_then(|stream| Said::of_answer(self.protocol, stream));
        if let Some(said) = said {
            self.agreed.send_replace(Some(said));
        }
    }

    fn close(&self) {}
}
