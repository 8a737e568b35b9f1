//! Option tags and event packages, as types that keep what they do not know.

use super::{AllowEvents, Event, ProxyRequire, Require, Supported, Unsupported};
use alloc::boxed::Box;
use core::fmt;

macro_rules! registered {
    ($(#[$meta:meta])* $kind:ident $same:ident; $($variant:ident $text:literal $rfc:literal,)*) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $kind {
            $(#[doc = concat!("`", $text, "` (", $rfc, ").")] $variant,)*
            /// Any other token.
            Other(Box<str>),
        }

        impl $kind {
            /// Those known by name.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant),*];

            /// As it stands on the wire.
            pub fn as_str(&self) -> &str {
                match self { $(Self::$variant => $text,)* Self::Other(text) => text }
            }
        }

        impl From<&str> for $kind {
            fn from(text: &str) -> Self {
                $(if text.$same($text) { return Self::$variant; })*
                Self::Other(text.into())
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

registered! {
    /// An option tag: an extension that `Require`, `Supported` and others name (RFC 3261 §19.2). Tags compare
    /// without regard to case (§7.3.1). Unknown ones are kept.
    OptionTag eq_ignore_ascii_case;
    Reliable "100rel" "RFC 3262",
    Reliable199 "199" "RFC 6228",
    AnswerMode "answermode" "RFC 5373",
    EarlySession "early-session" "RFC 3959",
    EventList "eventlist" "RFC 4662",
    ExplicitSub "explicitsub" "RFC 7614",
    FromChange "from-change" "RFC 4916",
    GeolocationHttp "geolocation-http" "RFC 6442",
    GeolocationSip "geolocation-sip" "RFC 6442",
    Gin "gin" "RFC 6140",
    Gruu "gruu" "RFC 5627",
    HistInfo "histinfo" "RFC 7044",
    Ice "ice" "RFC 5768",
    Join "join" "RFC 3911",
    MultipleRefer "multiple-refer" "RFC 5368",
    NoReferSub "norefersub" "RFC 4488",
    NoSub "nosub" "RFC 7614",
    Outbound "outbound" "RFC 5626",
    Path "path" "RFC 3327",
    Policy "policy" "RFC 6794",
    Precondition "precondition" "RFC 3312",
    Pref "pref" "RFC 3840",
    Privacy "privacy" "RFC 3323",
    RecordAware "record-aware" "RFC 7866",
    RecipientListInvite "recipient-list-invite" "RFC 5366",
    RecipientListMessage "recipient-list-message" "RFC 5365",
    RecipientListSubscribe "recipient-list-subscribe" "RFC 5367",
    Replaces "replaces" "RFC 3891",
    ResourcePriority "resource-priority" "RFC 4412",
    SdpAnat "sdp-anat" "RFC 4092",
    SecAgree "sec-agree" "RFC 3329",
    Siprec "siprec" "RFC 7866",
    TargetDialog "tdialog" "RFC 4538",
    Timer "timer" "RFC 4028",
    Trickle "trickle-ice" "RFC 8840",
    Uui "uui" "RFC 7433",
}

registered! {
    /// An event package (RFC 6665 §7.2). Packages compare octet by octet (§8.2.1); templates such as `presence.winfo`
    /// are packages of their own. Unknown ones are kept.
    EventPackage eq;
    CallCompletion "call-completion" "RFC 6910",
    Conference "conference" "RFC 4575",
    ConsentPendingAdditions "consent-pending-additions" "RFC 5362",
    Dialog "dialog" "RFC 4235",
    Kpml "kpml" "RFC 4730",
    LoadControl "load-control" "RFC 7200",
    MessageSummary "message-summary" "RFC 3842",
    Presence "presence" "RFC 3856",
    PresenceWinfo "presence.winfo" "RFC 3857",
    Refer "refer" "RFC 3515",
    Reg "reg" "RFC 3680",
    RegWinfo "reg.winfo" "RFC 3857",
    SessionSpecPolicy "session-spec-policy" "RFC 6795",
    SpiritsIndps "spirits-INDPs" "RFC 3910",
    SpiritsUserProf "spirits-user-prof" "RFC 3910",
    UaProfile "ua-profile" "RFC 6080",
    VqRtcpxr "vq-rtcpxr" "RFC 6035",
    XcapDiff "xcap-diff" "RFC 5875",
}

macro_rules! option_tag_fields {
    ($($kind:ident)*) => {$(
        impl $kind {
            /// The tag.
            pub fn tag(&self) -> OptionTag {
                OptionTag::from(self.0.as_str())
            }
        }

        impl core::convert::From<OptionTag> for $kind {
            fn from(tag: OptionTag) -> Self {
                Self(tag.as_str().into())
            }
        }
    )*};
}

option_tag_fields!(Require ProxyRequire Supported Unsupported);

impl Event {
    /// The package.
    pub fn package(&self) -> EventPackage {
        EventPackage::from(self.token.as_str())
    }
}

impl AllowEvents {
    /// The package.
    pub fn package(&self) -> EventPackage {
        EventPackage::from(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown() {
        for tag in OptionTag::KNOWN {
            assert_eq!(&OptionTag::from(tag.as_str()), tag);
        }
        for package in EventPackage::KNOWN {
            assert_eq!(&EventPackage::from(package.as_str()), package);
        }
        assert_eq!(Supported::new("TIMER").tag(), OptionTag::Timer);
        assert_eq!(Require::from(OptionTag::Reliable).0, "100rel");
        assert_eq!(OptionTag::from("com.example.x").as_str(), "com.example.x");
        assert_eq!(Event::new("presence.winfo").package(), EventPackage::PresenceWinfo);
        assert_eq!(EventPackage::from("PRESENCE"), EventPackage::Other("PRESENCE".into()));
    }
}
