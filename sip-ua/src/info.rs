//! INFO of packages inside calls (RFC 6086).

use sip_dialog::Body;
use sip_message::{Method, Response};

use crate::builder::PhoneBuilder;
use crate::call::Call;
use crate::core::PackagedInfo;
use crate::requests::RequestError;

/// Why an INFO was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InfoError {
    /// The peer has not said that it takes this package, and nothing of it may be sent (RFC 6086 §5.2.2).
    #[error("the other side does not take INFO of the package '{0}'")]
    NotTaken(String),
    /// It was refused, nobody answered, or the call is over.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl PhoneBuilder {
    /// Takes INFO of a package in calls, and says so to their peers (RFC 6086): [`Call::next_info`] gives them. Several times for
    /// several packages; others are refused.
    pub fn info_package(mut self, package: &str) -> Self {
        self.info_packages.get_or_insert_default().push(package.into());
        self
    }
}

impl Call {
    /// Waits for the next INFO of a package that [`PhoneBuilder::info_package`] has named; `None` when the call is over.
    pub async fn next_info(&self) -> Option<PackagedInfo> {
        let look = |mailbox: Option<&mut crate::shell::Mailbox>| match mailbox {
            Some(mailbox) => match mailbox.rare().and_then(|rare| rare.infos.pop_front()) {
                Some(info) => Some(Some(info)),
                None => mailbox.ended.is_some().then_some(None),
            },
            None => Some(None),
        };
        let info = self.phone().inner.wait_for_call(self.key(), look).await?;
        self.phone().inner.with(|shell, _| shell.core.infos_taken(self.key(), 1));
        Some(info)
    }

    /// Sends an INFO of a package that the peer takes.
    ///
    /// # Errors
    /// If it does not take it, refuses it, or the call is over.
    pub async fn send_info(&self, package: &str, body: Option<Body>) -> Result<Response, InfoError> {
        let takes =
            |shell: &mut crate::shell::Shell, _| shell.core.dialogs().peer_takes_info(self.key(), package);
        if self.phone().inner.with(takes) != Some(true) {
            return Err(InfoError::NotTaken(package.into()));
        }
        // RFC 6086 §11.5: how its body is meant.
        let fields = [("Info-Package", package), ("Content-Disposition", "Info-Package")];
        let fields = if body.is_some() { &fields[..] } else { fields.get(..1).unwrap_or_default() };
        Ok(self.request(Method::Info, fields, body).await?)
    }
}
