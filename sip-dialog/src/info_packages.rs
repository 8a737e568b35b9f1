//! Info packages (RFC 6086): which kinds of INFO each side of a call takes.
//!
//! ```text
//!   INVITE  Recv-Info: dtmf, weather               what we take, even nothing
//!   200     Recv-Info: weather                     what the peer takes, if it knows of this
//!   INFO    Info-Package: weather                  469 with Recv-Info for any other
//! ```

use sip_message::headers::{InfoPackage, RecvInfo};
use sip_message::{BuildError, HeaderName, Headers, Request, ResponseBuilder, StatusCode};

use crate::call::Session;
use crate::event::CallKey;
use crate::layer::Dialogs;

/// Packages remembered of what a peer takes: more would only cost memory.
const MAX_PACKAGES: usize = 32;

impl Session {
    /// Takes note of which packages the peer takes. What it has said holds until it says something else (§5.2.2).
    pub(crate) fn learn_info_packages(&mut self, headers: &Headers) {
        if !headers.contains(HeaderName::RECV_INFO) {
            return;
        }
        let named = headers.all::<RecvInfo>().flatten().take(MAX_PACKAGES);
        self.peer_info_packages = Some(named.map(|package| package.value.to_ascii_lowercase()).collect());
    }
}

impl Dialogs {
    /// Says which packages we take, in requests that begin or change a call (§5.2.3).
    pub(crate) fn tell_info_packages(&self, headers: &mut Headers) -> Result<(), BuildError> {
        match &self.config.info_packages {
            Some(packages) if !headers.contains(HeaderName::RECV_INFO) => {
                headers.push_raw(HeaderName::RECV_INFO, &packages.join(", "))
            }
            _ => Ok(()),
        }
    }

    /// The same in the response to a request that says it, and in no other (§5.2.3).
    pub fn answer_info_packages(&self, request: &Headers, builder: ResponseBuilder) -> ResponseBuilder {
        if self.config.info_packages.is_none() || !request.contains(HeaderName::RECV_INFO) {
            return builder;
        }
        self.with_info_packages(builder)
    }

    fn with_info_packages(&self, builder: ResponseBuilder) -> ResponseBuilder {
        let packages = self.config.info_packages.as_deref().unwrap_or_default();
        builder.raw(HeaderName::RECV_INFO, &packages.join(", "))
    }

    /// The package of an INFO if we take it, `None` for an INFO without one (legacy usage).
    ///
    /// # Errors
    /// 469 for a package that we do not take, 400 for a field that cannot be read (§4.2.2): see
    /// [`bad_info_package`](Self::bad_info_package).
    pub fn info_package(&self, info: &Request) -> Result<Option<String>, StatusCode> {
        let package = info.headers.get::<InfoPackage>().map_err(|_| StatusCode::BAD_REQUEST)?;
        let Some(InfoPackage { value: name, .. }) = package else { return Ok(None) };
        let ours = self.config.info_packages.iter().flatten().find(|known| known.eq_ignore_ascii_case(&name));
        ours.cloned().map(Some).ok_or(StatusCode::BAD_INFO_PACKAGE)
    }

    /// What a 469 says: which packages we take (§4.2.2).
    pub fn bad_info_package(&self, builder: ResponseBuilder) -> ResponseBuilder {
        self.with_info_packages(builder)
    }

    /// Whether the peer of a call takes INFO of this package. `None` as long as it has not said whether it knows of packages at all;
    /// nothing of a package may be sent to it then (§5.2.2).
    pub fn peer_takes_info(&self, key: CallKey, package: &str) -> Option<bool> {
        let taken = self.calls.get(&key)?.session.peer_info_packages.as_ref()?;
        Some(taken.iter().any(|known| known.eq_ignore_ascii_case(package)))
    }
}
