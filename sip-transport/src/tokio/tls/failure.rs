//! The words of rustls in ours.

use rustls::{CertificateError, Error};

use crate::path::{SendError, TlsFailure};

/// What an error of rustls means to the one who sends.
pub(in crate::tokio) fn failure(error: &Error) -> TlsFailure {
    match error {
        Error::InvalidCertificate(reason) => certificate(reason),
        Error::NoCertificatesPresented => TlsFailure::NoCertificate,
        Error::AlertReceived(alert) => TlsFailure::Alert(u8::from(*alert)),
        Error::UnsupportedNameType => TlsFailure::BadDomain,
        _ => TlsFailure::Handshake,
    }
}

fn certificate(reason: &CertificateError) -> TlsFailure {
    use CertificateError as C;
    match reason {
        C::Expired | C::ExpiredContext { .. } => TlsFailure::Expired,
        C::NotValidYet | C::NotValidYetContext { .. } => TlsFailure::NotYetValid,
        C::Revoked => TlsFailure::Revoked,
        C::UnknownIssuer => TlsFailure::UnknownIssuer,
        C::NotValidForName | C::NotValidForNameContext { .. } => TlsFailure::OtherDomain,
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => TlsFailure::WrongPurpose,
        _ => TlsFailure::BadCertificate,
    }
}

/// The same where rustls has put its error into one of input and output.
pub(in crate::tokio) fn io_failure(error: &std::io::Error) -> SendError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => SendError::Tls(failure(error)),
        None => SendError::from(error),
    }
}
