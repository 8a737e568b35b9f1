//! TLS as the command line describes it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sip_transport::tokio::tls::{
    ClientCertificates, CredentialsError, Identity, RevocationLists, Roots, Tls, TlsOptions,
};

use crate::exit::Failure;

/// Certificates, ours and those that we trust.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArgs {
    /// Our certificate, with those between it and the authority, in PEM. Needed to listen with tls: and wss:.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The certificate's private key in PEM, if it is not in the same file.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Trust the authorities in this file instead of the system's; several times if needed.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Vec<PathBuf>,

    /// Believe no certificate that is in this list of revoked ones, in PEM or DER, of a trusted authority; several times if
    /// needed. Of authorities without a list all are believed.
    #[arg(long, value_name = "FILE", conflicts_with = "tls_insecure")]
    pub(crate) tls_crl: Vec<PathBuf>,

    /// What is asked of those who connect to us: no certificate, one if they have it, or one in any case.
    #[arg(long, value_name = "HOW", default_value = "ignore")]
    pub(crate) tls_clients: Clients,

    /// Believe every certificate, for tests: anybody on the way can then listen in and change what is said.
    #[arg(long, conflicts_with = "tls_ca")]
    pub(crate) tls_insecure: bool,
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clients {
    /// No certificate.
    #[default]
    Ignore,
    /// A certificate, if they have one.
    Ask,
    /// A certificate.
    Require,
}

impl TlsArgs {
    /// Reads the files.
    pub(crate) fn read(&self) -> Result<Tls, Failure> {
        if self.tls_insecure {
            eprintln!(
                "sip: warning: --tls-insecure: certificates are not verified, this connection is not private"
            );
        }
        self.options().and_then(Tls::new).map_err(Failure::fault)
    }

    /// Our certificate for the relay of session messages.
    pub(crate) fn msrp_identity(&self) -> Result<Option<sip_server::MsrpIdentity>, Failure> {
        let Some(certificate) = &self.tls_cert else { return Ok(None) };
        let key = self.tls_key.as_ref().unwrap_or(certificate);
        sip_server::MsrpIdentity::from_pem_files(certificate, key).map(Some).map_err(Failure::fault)
    }

    fn options(&self) -> Result<TlsOptions, CredentialsError> {
        let mut options =
            TlsOptions::new().insecure(self.tls_insecure).client_certificates(match self.tls_clients {
                Clients::Ignore => ClientCertificates::Ignored,
                Clients::Ask => ClientCertificates::Asked,
                Clients::Require => ClientCertificates::Required,
            });
        if let Some(certificate) = &self.tls_cert {
            let key = self.tls_key.as_ref().unwrap_or(certificate);
            options = options.identity(Identity::from_pem_files(certificate, key)?);
        }
        let mut roots: Option<Roots> = None;
        for file in &self.tls_ca {
            let more = Roots::from_pem_file(file)?;
            roots = Some(roots.unwrap_or_default().and(more));
        }
        if let Some(roots) = roots {
            options = options.roots(roots);
        }
        let lists = self.tls_crl.iter().try_fold(RevocationLists::default(), |lists, file| {
            RevocationLists::from_file(file).map(|more| lists.and(more))
        })?;
        Ok(options.revocation_lists(lists))
    }

    /// The same files again, which may have changed: for connections made from now on.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub(crate) fn reload(&self, tls: &Tls) -> Result<(), CredentialsError> {
        tls.reload(self.options()?)
    }
}
