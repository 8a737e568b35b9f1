//! Globally routable URIs of single phones (RFC 5627): given out by the registrar, understood by the proxy.
//!
//! No table is kept. A public GRUU says its instance. A temporary one carries address-of-record, instance and registration
//! encrypted in its user part, with a fresh nonce each time: two of them cannot be told to be of one phone, and it is good as long
//! as a binding of that instance with that Call-ID is there (§5.1).

use std::hash::Hasher;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce};
use data_encoding::BASE64URL_NOPAD;
use sip_message::Uri;
use sip_message::headers::InstanceId;

use crate::AddressOfRecord;
use crate::domains::Domains;
use crate::location::Binding;

/// Octets of the nonce before what is encrypted.
const NONCE: usize = 12;

/// Address and instance together. Names that are longer are no names of phones, and their URIs would not fit into messages.
const LONGEST: usize = 256;

/// What stands before the encrypted part: no phone number and no usual name begins so.
const PREFIX: &str = "tgruu.";

/// Makes GRUUs and reads them, with a key that only this server (or its stand-ins) has.
#[derive(Clone)]
pub(crate) struct Gruus {
    cipher: Box<Aes128Gcm>,
    keys: (u64, u64),
}

/// What a GRUU of ours stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gruu {
    pub(crate) aor: AddressOfRecord,
    instance: InstanceId,
    /// Of a temporary one: which registration it belongs to.
    registration: Option<u64>,
}

impl Gruu {
    /// Whether a binding of the address-of-record is meant.
    pub(crate) fn is(&self, binding: &Binding, gruus: &Gruus) -> bool {
        binding.instance().is_some_and(|instance| instance == self.instance)
            && self
                .registration
                .is_none_or(|registration| registration == gruus.registration(&binding.call_id))
    }

    /// Whether it is a temporary one: without bindings such a GRUU is no more (§5.3).
    pub(crate) fn is_temporary(&self) -> bool {
        self.registration.is_some()
    }
}

impl Gruus {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut halves = key.chunks_exact(16).map(|half| half.try_into().unwrap_or_default());
        let mut half = || -> [u8; 16] { halves.next().unwrap_or_default() };
        let (cipher, hash) = (half(), u128::from_be_bytes(half()));
        let [high, low] = [hash >> 64, hash & u128::from(u64::MAX)].map(|k| u64::try_from(k).unwrap_or(0));
        Self { cipher: Box::new(Aes128Gcm::new(&cipher.into())), keys: (high, low) }
    }

    /// The public GRUU of an instance (§5.1).
    pub(crate) fn public(aor: &AddressOfRecord, instance: &InstanceId, sips: bool) -> Option<Uri> {
        let scheme = if sips { "sips" } else { "sip" };
        let aor: Uri = format!("{scheme}:{aor}").parse().ok()?;
        Some(aor.public_gruu(instance))
    }

    /// A new temporary GRUU of an instance for the registration with this Call-ID; `nonce` is used for no other. `None` if the
    /// names are too long for one.
    pub(crate) fn temporary(
        &self,
        (aor, instance, call_id): (&AddressOfRecord, &InstanceId, &str),
        nonce: [u8; NONCE],
        sips: bool,
    ) -> Option<Uri> {
        let names = format!("{aor} {instance}");
        if names.len() > LONGEST {
            return None;
        }
        let mut clear = self.registration(call_id).to_be_bytes().to_vec();
        clear.extend_from_slice(names.as_bytes());
        let mut octets = nonce.to_vec();
        octets.extend(self.cipher.encrypt(&Nonce::from(nonce), clear.as_slice()).ok()?);
        let (scheme, domain) = (if sips { "sips" } else { "sip" }, aor.domain());
        format!("{scheme}:{PREFIX}{}@{domain};gr", BASE64URL_NOPAD.encode(&octets)).parse().ok()
    }

    /// What a URI of ours with `gr` stands for (§6.1). `None` for one that this server never made.
    pub(crate) fn read(&self, uri: &Uri, domains: &Domains) -> Option<Gruu> {
        if let Some(instance) = uri.gruu_instance() {
            return Some(Gruu { aor: domains.aor(uri)?, instance, registration: None });
        }
        let domain = domains.of(uri)?;
        let octets = BASE64URL_NOPAD.decode(uri.user()?.strip_prefix(PREFIX)?.as_bytes()).ok()?;
        let (nonce, secret) = octets.split_at_checked(NONCE)?;
        let nonce: [u8; NONCE] = nonce.try_into().ok()?;
        let clear = self.cipher.decrypt(&Nonce::from(nonce), secret).ok()?;
        let (registration, names) = clear.split_at_checked(8)?;
        let registration = u64::from_be_bytes(registration.try_into().ok()?);
        let (aor, instance) = std::str::from_utf8(names).ok()?.split_once(' ')?;
        let aor = domains.aor(&format!("sip:{aor}").parse().ok()?)?;
        (aor.domain().eq_ignore_ascii_case(domain)).then_some(())?;
        Some(Gruu { aor, instance: instance.parse().ok()?, registration: Some(registration) })
    }

    fn registration(&self, call_id: &str) -> u64 {
        // SipHash-2-4 with secret keys; the standard library has it under this name alone.
        #[allow(deprecated)]
        let mut hasher = std::hash::SipHasher::new_with_keys(self.keys.0, self.keys.1);
        hasher.write(call_id.as_bytes());
        hasher.finish()
    }
}

impl std::fmt::Debug for Gruus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gruus").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sip_transport::{Local, Locals, Transport};

    fn domains() -> Domains {
        let local = Local::new(Transport::Udp, "192.0.2.1:5060".parse().unwrap());
        Domains::new(vec!["example.com".into()], Locals::new(vec![local]))
    }

    fn alice() -> (AddressOfRecord, InstanceId) {
        let aor = AddressOfRecord::new(&"sip:alice@example.com".parse().unwrap(), "example.com").unwrap();
        (aor, "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6".parse().unwrap())
    }

    /// RFC 5627 §3.1, §5.4.
    #[test]
    fn both_kinds_name_address_and_instance() {
        let (gruus, (aor, instance)) = (Gruus::new(&[7; 32]), alice());
        let public = Gruus::public(&aor, &instance, false).unwrap();
        assert_eq!(public.to_string(), format!("sip:alice@example.com;gr={instance}"));
        let read = gruus.read(&public, &domains()).unwrap();
        assert_eq!((read.aor, read.instance, read.registration), (aor.clone(), instance.clone(), None));

        let names = (&aor, &instance, "call-1");
        let temporary = gruus.temporary(names, [1; 12], true).unwrap();
        assert!(temporary.is_gruu() && temporary.is_sips() && temporary.gruu_instance().is_none());
        let read = gruus.read(&temporary.to_string().parse().unwrap(), &domains()).unwrap();
        assert_eq!((&read.aor, &read.instance, read.is_temporary()), (&aor, &instance, true));
        // §5.1: "computationally infeasible to determine whether they were issued for the same AOR"
        let another = gruus.temporary(names, [2; 12], true).unwrap();
        let tail = |uri: &Uri| uri.user().unwrap().chars().skip(PREFIX.len() + 16).collect::<String>();
        assert!(tail(&temporary).chars().zip(tail(&another).chars()).filter(|(a, b)| a == b).count() < 20);
        assert!(Gruus::new(&[8; 32]).read(&temporary, &domains()).is_none(), "of another server");
    }

    proptest! {
        #[test]
        fn what_was_made_up_is_none_of_ours(user in "[A-Za-z0-9_-]{0,200}") {
            let uri: Uri = format!("sip:{PREFIX}{user}@example.com;gr").parse().unwrap();
            prop_assert_eq!(Gruus::new(&[7; 32]).read(&uri, &domains()), None);
        }
    }
}
