//! Fields that name another dialog: `Replaces`, `Join`, `Target-Dialog`.

use super::shapes::{call_id, split_head};
use crate::headers::Header;
use crate::params::Params;
use crate::parts::Parts;
use crate::{HeaderName, ValueError};
use alloc::string::String;

macro_rules! dialog_references {
    ($($kind:ident $name:ident ($one:ident $one_text:literal) ($other:ident $other_text:literal) $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $kind {
            call_id: String,
            params: Params,
        }

        impl $kind {
            /// The dialog of this Call-ID and these tags.
            pub fn new(call_id: &str, $one: &str, $other: &str) -> Self {
                let mut params = Params::default();
                params.set($one_text, Some($one));
                params.set($other_text, Some($other));
                let call_id = call_id.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, ';' | ',')).collect();
                Self { call_id, params }
            }

            /// The Call-ID.
            pub fn call_id(&self) -> &str {
                &self.call_id
            }

            #[doc = concat!("The `", $one_text, "`, as seen by the one who receives the field.")]
            pub fn $one(&self) -> &str {
                self.params.value($one_text).unwrap_or_default()
            }

            #[doc = concat!("The `", $other_text, "`, as seen by the one who receives the field.")]
            pub fn $other(&self) -> &str {
                self.params.value($other_text).unwrap_or_default()
            }

            /// All parameters.
            pub fn params(&self) -> &Params {
                &self.params
            }
        }

        impl Header for $kind {
            const NAME: HeaderName = HeaderName::$name;

            fn parse(text: &str) -> Result<Self, ValueError> {
                let (head, params, at) = split_head(text);
                if !call_id(head) {
                    return Err(ValueError::new("a Call-ID", 0));
                }
                let params = Params::parse(params, at)?;
                for tag in [$one_text, $other_text] {
                    let mut tags = params.iter().filter(|(name, _)| name.eq_ignore_ascii_case(tag));
                    let is_one = tags.next().is_some_and(|(_, value)| value.is_some_and(crate::syntax::token));
                    if !is_one || tags.next().is_some() {
                        return Err(ValueError::new(concat!("exactly one ", $one_text, " and one ", $other_text), at));
                    }
                }
                Ok(Self { call_id: head.into(), params })
            }

            fn write(&self, out: &mut String) {
                out.push_str(&self.call_id);
                out.push_str(self.params.as_str());
            }

            fn parts(&self) -> Parts {
                Parts::from([("call_id", self.call_id.as_str().into()), ("params", (&self.params).into())])
            }
        }
    )*};
}

dialog_references! {
    Replaces REPLACES (to_tag "to-tag") (from_tag "from-tag")
        "`Replaces`: the dialog that a new call takes the place of (RFC 3891 §6.1).";
    Join JOIN (to_tag "to-tag") (from_tag "from-tag")
        "`Join`: the dialog that a new call is added to (RFC 3911 §7.1).";
    TargetDialog TARGET_DIALOG (local_tag "local-tag") (remote_tag "remote-tag")
        "`Target-Dialog`: the dialog whose knowledge authorises a request (RFC 4538 §7).";
}

impl Replaces {
    /// Whether only a dialog that is not confirmed yet may be replaced (RFC 3891 §3).
    pub fn early_only(&self) -> bool {
        self.params.get("early-only").is_some()
    }

    /// With `early-only`.
    #[must_use]
    pub fn with_early_only(mut self) -> Self {
        self.params.set("early-only", None);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3891 §6.1: "exactly one to-tag and exactly one from-tag".
    #[test]
    fn both_tags_once() {
        let replaces =
            Replaces::parse("98732@sip.example.com ;from-tag=r33th4x0r ;to-tag=ff87ff;early-only").unwrap();
        assert_eq!(
            (replaces.call_id(), replaces.from_tag(), replaces.to_tag()),
            ("98732@sip.example.com", "r33th4x0r", "ff87ff")
        );
        assert!(replaces.early_only());
        for bad in [
            "",
            "a",
            "a;to-tag=1",
            "a;to-tag=1;from-tag=2;to-tag=3",
            "a;to-tag;from-tag=1",
            ";to-tag=1;from-tag=2",
        ] {
            assert!(Replaces::parse(bad).is_err() && Join::parse(bad).is_err(), "{bad} passed");
        }
        let target =
            TargetDialog::parse("fa77as7dad8-sd98ajzz@host.example.com;local-tag=kkaz-;remote-tag=6544")
                .unwrap();
        assert_eq!((target.local_tag(), target.remote_tag()), ("kkaz-", "6544"));
        assert_eq!(Join::new("a@b", "t", "f"), Join::parse("a@b;to-tag=t;from-tag=f").unwrap());
    }
}
