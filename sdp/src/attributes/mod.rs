//! Attributes that `sdp_types` has no types for. All are read with [`MediaSection`](crate::MediaSection) and written with
//! `sdp_types::Attribute::from`.

mod restrictions;
mod simulcast;
mod t38;
mod words;

pub use restrictions::{Restriction, Restrictions};
pub use simulcast::{Alternatives, Simulcast, SimulcastDirection, SimulcastId};
pub use t38::{ErrorCorrection, RateManagement, T38};
pub use words::{Content, IceMismatch, Label, MsidSemantic, TlsId};

use sdp_types::AttributeError;

fn error(attribute: &str, what: &str) -> AttributeError {
    AttributeError::Other { error: what.to_owned(), attr: attribute.to_owned() }
}

/// RFC 8866 §9: `token`.
pub(crate) fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}
