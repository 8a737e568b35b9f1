//! Request methods.

use alloc::boxed::Box;
use core::fmt;

macro_rules! methods {
    ($($variant:ident $text:literal $rfc:literal),* $(,)?) => {
        /// A request method (RFC 3261 §7.1). Names are case-sensitive; unknown ones are kept.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Method {
            $(#[doc = concat!("`", $text, "`, ", $rfc, ".")] $variant,)*
            /// Any other token.
            Other(Box<str>),
        }

        impl Method {
            /// The methods known by name, in the order of their registration.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),*];

            /// The name as it stands on the wire.
            pub fn as_str(&self) -> &str {
                match self { $(Self::$variant => $text,)* Self::Other(name) => name }
            }
        }

        impl Method {
            /// The method of this name, if it is one of [`Method::KNOWN`].
            pub(crate) fn known(name: &[u8]) -> Option<Self> {
                $(if name == $text.as_bytes() {
                    return Some(Self::$variant);
                })*
                None
            }
        }

        impl From<&str> for Method {
            fn from(name: &str) -> Self {
                match name { $($text => Self::$variant,)* other => Self::Other(other.into()) }
            }
        }
    };
}

methods! {
    Invite "INVITE" "RFC 3261 §13",
    Ack "ACK" "RFC 3261 §13, §17",
    Bye "BYE" "RFC 3261 §15",
    Cancel "CANCEL" "RFC 3261 §9",
    Register "REGISTER" "RFC 3261 §10",
    Options "OPTIONS" "RFC 3261 §11",
    Info "INFO" "RFC 6086",
    Prack "PRACK" "RFC 3262",
    Update "UPDATE" "RFC 3311",
    Subscribe "SUBSCRIBE" "RFC 6665",
    Notify "NOTIFY" "RFC 6665",
    Message "MESSAGE" "RFC 3428",
    Refer "REFER" "RFC 3515",
    Publish "PUBLISH" "RFC 3903",
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
