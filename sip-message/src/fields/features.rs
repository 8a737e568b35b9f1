//! What a user agent can do, told in its Contact (RFC 3840).

use super::address::Contact;
use crate::syntax::push_quoted;
use alloc::string::String;

/// The value of a feature parameter with these values; none for a flag, which is true (RFC 3840 §9).
pub(super) fn feature_value(values: &[&str]) -> Option<String> {
    if values.is_empty() {
        return None;
    }
    let mut quoted = String::new();
    push_quoted(&mut quoted, &values.join(","));
    Some(quoted)
}

impl Contact {
    /// With a feature of the user agent (RFC 3840 §9): `audio` with no values, `methods` with `INVITE` and `BYE`.
    ///
    /// ```
    /// use sip_message::headers::Contact;
    /// let contact = Contact::new(&"sip:alice@192.0.2.1".parse()?).with_feature("audio", &[]);
    /// let contact = contact.with_feature("methods", &["INVITE", "BYE"]);
    /// assert_eq!(contact.features("methods").unwrap(), ["INVITE", "BYE"]);
    /// assert!(contact.features("audio").unwrap().is_empty() && contact.features("video").is_none());
    /// # Ok::<(), sip_message::ValueError>(())
    /// ```
    #[must_use]
    pub fn with_feature(self, name: &str, values: &[&str]) -> Self {
        match feature_value(values) {
            Some(value) => self.with_param(name, Some(&value)),
            None => self.with_param(name, None),
        }
    }

    /// The values of a feature, none of them for a flag. `None` if the user agent says nothing of it.
    pub fn features(&self, name: &str) -> Option<alloc::vec::Vec<String>> {
        let params = self.address()?.params();
        let value = match params.get(name)? {
            Some(_) => params.unquoted(name)?,
            None => return Some(alloc::vec::Vec::new()),
        };
        Some(value.split(',').map(|one| String::from(one.trim())).collect())
    }
}
