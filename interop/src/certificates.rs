//! An authority of the test's own, and a certificate for loopback.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::dir::Dir;

/// Files in PEM.
#[derive(Debug)]
pub struct Certificates {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The certificate for `127.0.0.1` and `example.test`, of servers and clients.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Both in one file.
    pub both: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// Makes them, in the test's folder.
    ///
    /// # Panics
    /// If they cannot be made.
    pub fn new(dir: &Dir) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "Interop CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");

        let certificates = Self {
            ca: dir.write("ca.pem", issuer.pem()),
            both: dir.file("both.pem"),
            certificate: dir.file("certificate.pem"),
            key: dir.file("key.pem"),
            issuer,
        };
        certificates.renew();
        certificates
    }

    /// Puts another certificate of the same authority into the files, with another key.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn renew(&self) {
        let mut params = CertificateParams::new(vec!["example.test".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, "example.test");
        params.subject_alt_names.push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let key = key.serialize_pem();
        for (file, content) in
            [(&self.both, format!("{certificate}{key}")), (&self.certificate, certificate), (&self.key, key)]
        {
            std::fs::write(file, content).expect("a certificate's file");
        }
    }

    /// Options of `sip phone`, `sip call` and `sip server` that name them.
    pub fn arguments(&self) -> Vec<String> {
        let mut all = vec!["--tls-cert".to_owned(), self.certificate.display().to_string()];
        all.extend(["--tls-key".to_owned(), self.key.display().to_string()]);
        all.extend(self.trust());
        all
    }

    /// Options that name the authority alone.
    pub fn trust(&self) -> Vec<String> {
        vec!["--tls-ca".to_owned(), self.ca.display().to_string()]
    }
}
