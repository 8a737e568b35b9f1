//! Reading the identities of a certificate.

use std::net::IpAddr;

use sip_message::Uri;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::Identities;
use crate::locals::parse_ip;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Why the names of a certificate cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is no certificate, or its subjectAltName cannot be read.
    #[error("the certificate cannot be read")]
    Malformed,
    /// A name with NUL in it: written to look like another one to those who stop reading there.
    #[error("a name in the certificate contains NUL")]
    Nul,
}

impl Identities {
    /// The identities of a certificate in DER (RFC 5922 §7.1): the hosts of `sip` URIs without a user in its
    /// subjectAltName; if there are none, its DNS names; if there is no subjectAltName at all, its common name.
    ///
    /// Its users are the `sip` URIs with a user in its subjectAltName; if there is no `sip` URI at all, its mail addresses
    /// (RFC 3261 §23.1: users are named by "an email address of the form "bob@biloxi.com"").
    ///
    /// # Errors
    /// When the certificate cannot be read or one of its names contains NUL.
    pub fn from_certificate(der: &[u8]) -> Result<Identities, IdentityError> {
        let certificate = Certificate::from_der(der).map_err(|_| IdentityError::Malformed)?;
        let certificate = certificate.tbs_certificate();
        let names = certificate.get_extension::<SubjectAltName>().map_err(|_| IdentityError::Malformed)?;
        match names {
            Some((_, SubjectAltName(names))) => Identities::from_names(&names),
            None => {
                // The most specific one comes last.
                let common = certificate.subject().iter().filter(|one| one.oid == COMMON_NAME).last();
                let Some(common) = common else { return Ok(Identities::default()) };
                if !matches!(common.value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String) {
                    return Ok(Identities::default());
                }
                let text = std::str::from_utf8(common.value.value()).map_err(|_| IdentityError::Malformed)?;
                refuse_nul(text)?;
                Ok(Identities::of_domain(text))
            }
        }
    }

    fn from_names(names: &[GeneralName]) -> Result<Identities, IdentityError> {
        let (mut uris, mut dns, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        let (mut users, mut mail) = (Vec::new(), Vec::new());
        for name in names {
            match name {
                GeneralName::UniformResourceIdentifier(uri) => {
                    refuse_nul(uri.as_str())?;
                    uris.extend(host_of(uri.as_str()));
                    users.extend(user_of(uri.as_str()));
                }
                GeneralName::Rfc822Name(address) => {
                    refuse_nul(address.as_str())?;
                    mail.extend(user_of(&format!("sip:{}", address.as_str())));
                }
                GeneralName::DnsName(name) => {
                    refuse_nul(name.as_str())?;
                    dns.extend(super::domain(name.as_str()));
                }
                GeneralName::IpAddress(octets) => addresses.extend(address(octets.as_bytes())),
                _ => {}
            }
        }
        if uris.is_empty() && users.is_empty() {
            users = mail;
        }
        let mut domains = Vec::new();
        if uris.is_empty() {
            domains = dns;
        }
        for host in uris {
            match parse_ip(&host) {
                Some(ip) => addresses.push(ip.to_canonical()),
                None => domains.extend(super::domain(&host)),
            }
        }
        Ok(Identities { domains, addresses, users })
    }
}

fn refuse_nul(name: &str) -> Result<(), IdentityError> {
    if name.contains('\0') { Err(IdentityError::Nul) } else { Ok(()) }
}

/// The host of a `sip` URI without a user. `sips` is not accepted (RFC 5922 §7.1), nor a URI that names a person.
fn host_of(uri: &str) -> Option<String> {
    if uri.contains('@') {
        return None;
    }
    let uri: Uri = uri.parse().ok()?;
    (uri.is_sip() && !uri.is_sips()).then(|| uri.host().to_owned())
}

/// A `sip` URI that names a person.
fn user_of(uri: &str) -> Option<Uri> {
    let uri: Uri = uri.parse().ok()?;
    (uri.is_sip() && !uri.is_sips() && uri.user().is_some()).then_some(uri)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyPair, SanType};

    fn certificate(common: Option<&str>, names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    fn domains(common: Option<&str>, names: Vec<SanType>) -> Vec<String> {
        Identities::from_certificate(&certificate(common, names)).unwrap().domains
    }

    /// RFC 5922 §7.1, step 1: DNS names count only where no `sip` URI does.
    #[test]
    fn sip_uris_go_before_dns_names() {
        let both = vec![dns("host.example.com"), uri("sip:example.com"), uri("SIP:Example.NET;lr")];
        assert_eq!(domains(None, both), ["example.com", "example.net"]);
        let others = vec![
            uri("sips:a.example"),
            uri("sip:alice@a.example"),
            uri("https://a.example"),
            dns("B.example"),
        ];
        assert_eq!(domains(None, others), ["b.example"]);
        assert_eq!(domains(None, vec![uri("sip:example.com:5070")]), ["example.com"], "a port says nothing");
    }

    /// RFC 5922 §7.1, step 2.
    #[test]
    fn the_common_name_counts_only_without_any_subject_alt_name() {
        assert_eq!(domains(Some("example.com"), vec![]), ["example.com"]);
        assert_eq!(domains(Some("Example Company Ltd"), vec![]), [""; 0]);
        assert_eq!(domains(Some("example.com"), vec![uri("https://example.com")]), [""; 0]);
        assert_eq!(domains(Some("example.com"), vec![dns("other.example")]), ["other.example"]);
    }

    /// RFC 5922 §7.2: as a whole, in any case, no suffixes, no wildcards.
    #[test]
    fn comparison_is_of_whole_names() {
        let identities = Identities::from_certificate(&certificate(None, vec![dns("Example.com")])).unwrap();
        for same in ["example.com", "EXAMPLE.COM", "example.com."] {
            assert!(identities.proves(same), "{same}");
        }
        for other in
            ["", ".", "foo.example.com", ".example.com", "example.com..", "xample.com", "com", "example.co"]
        {
            assert!(!identities.proves(other), "{other}");
        }
        let wild =
            Identities::from_certificate(&certificate(None, vec![dns("*.example.com"), dns("*")])).unwrap();
        assert!(
            !wild.proves("foo.example.com") && !wild.proves("example.com") && !wild.proves("*.example.com")
        );
        assert!(wild.is_empty());
    }

    fn users(names: Vec<SanType>) -> Vec<String> {
        let identities = Identities::from_certificate(&certificate(Some("alice"), names)).unwrap();
        identities.users().map(ToString::to_string).collect()
    }

    /// RFC 5922 §7.1: a `sip` URI with a user names a person, and no domain.
    #[test]
    fn users_are_sip_uris_and_mail_addresses_only_where_there_is_no_sip_uri() {
        let mail = |text: &str| SanType::Rfc822Name(text.try_into().unwrap());
        let named = vec![uri("sip:alice@example.com"), mail("bob@example.com"), uri("sip:+4930@example.com")];
        assert_eq!(users(named.clone()), ["sip:alice@example.com", "sip:+4930@example.com"]);
        assert!(domains(None, named).is_empty());
        assert_eq!(users(vec![mail("bob@example.com"), uri("https://example.com")]), ["sip:bob@example.com"]);
        assert_eq!(users(vec![mail("bob@example.com"), uri("sip:example.com")]), [""; 0], "a server's");
        assert_eq!(users(vec![uri("sips:alice@example.com"), dns("alice.example.com")]), [""; 0]);
        assert_eq!(users(vec![]), [""; 0], "a common name is nobody's address");
        let both = certificate(None, vec![uri("sip:alice@example.com"), uri("sip:example.com")]);
        let both = Identities::from_certificate(&both).unwrap();
        assert!(both.proves("example.com") && both.users().count() == 1);
        assert!(both.without_users().users().next().is_none());
        let nul = certificate(None, vec![uri("sip:alice@example.com\0.evil.example")]);
        assert_eq!(Identities::from_certificate(&nul), Err(IdentityError::Nul));
    }

    #[test]
    fn addresses_are_proven_by_addresses() {
        let names = vec![
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            uri("sip:192.0.2.7"),
            dns("192.0.2.9"),
        ];
        let identities = Identities::from_certificate(&certificate(Some("192.0.2.8"), names)).unwrap();
        for proven in ["192.0.2.1", "[2001:db8:0::1]", "2001:DB8::1", "192.0.2.7"] {
            assert!(identities.proves(proven), "{proven}");
        }
        for not in ["192.0.2.8", "192.0.2.9", "192.0.2.10", "[2001:db8::2]"] {
            assert!(!identities.proves(not), "{not}");
        }
    }

    /// PJSIP, Asterisk and others read `example.com` here.
    #[test]
    fn nul_in_a_name_is_refused() {
        let plain = |names| Identities::from_certificate(&certificate(None, names));
        assert_eq!(plain(vec![dns("example.com\0.evil.example")]), Err(IdentityError::Nul));
        assert_eq!(plain(vec![uri("sip:example.com\0.evil.example")]), Err(IdentityError::Nul));
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        let value = DnValue::Utf8String("example.com\0.evil.example".into());
        params.distinguished_name.push(DnType::CommonName, value);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(Identities::from_certificate(der.der()), Err(IdentityError::Nul));
    }

    #[test]
    fn what_cannot_be_read_proves_nothing() {
        assert_eq!(Identities::from_certificate(b"no certificate"), Err(IdentityError::Malformed));
        let good = certificate(None, vec![dns("example.com")]);
        for cut in 0..good.len() {
            assert_eq!(Identities::from_certificate(&good[..cut]), Err(IdentityError::Malformed));
        }
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        let broken = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x7f, 0x82]);
        params.custom_extensions = vec![broken];
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(Identities::from_certificate(der.der()), Err(IdentityError::Malformed));
    }
}
