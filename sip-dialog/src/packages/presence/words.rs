//! The words that RFC 4480 and RFC 4589 have for what people do, feel and where they are.

use crate::packages::dialog_info::words;
use crate::packages::presence::{LOCATION, RPID};

/// A list of words, each of which is an empty element of a namespace.
pub trait Vocabulary: Copy + Eq {
    /// The namespace.
    const NAMESPACE: &'static str;

    /// The name of the element.
    fn name(self) -> &'static str;

    /// The word of this name.
    fn of(name: &str) -> Option<Self>;
}

macro_rules! vocabulary {
    ($(#[$doc:meta])* $kind:ident of $namespace:ident { $($name:ident $word:literal,)* }) => {
        words! { $(#[$doc])* $kind { $(#[doc = concat!("`", $word, "`.")] $name $word,)* } }

        impl Vocabulary for $kind {
            const NAMESPACE: &'static str = $namespace;

            fn name(self) -> &'static str {
                self.as_str()
            }

            fn of(name: &str) -> Option<Self> {
                Self::parse(name)
            }
        }
    };
}

vocabulary! {
    /// What a person does (RFC 4480 §3.2).
    Activity of RPID {
        Appointment "appointment",
        Away "away",
        Breakfast "breakfast",
        Busy "busy",
        Dinner "dinner",
        Holiday "holiday",
        InTransit "in-transit",
        LookingForWork "looking-for-work",
        Lunch "lunch",
        Meal "meal",
        Meeting "meeting",
        OnThePhone "on-the-phone",
        Performance "performance",
        PermanentAbsence "permanent-absence",
        Playing "playing",
        Presentation "presentation",
        Shopping "shopping",
        Sleeping "sleeping",
        Spectator "spectator",
        Steering "steering",
        Travel "travel",
        Tv "tv",
        Unknown "unknown",
        Vacation "vacation",
        Working "working",
        Worship "worship",
    }
}

vocabulary! {
    /// How a person feels (RFC 4480 §3.5).
    Mood of RPID {
        Afraid "afraid",
        Amazed "amazed",
        Angry "angry",
        Annoyed "annoyed",
        Anxious "anxious",
        Ashamed "ashamed",
        Bored "bored",
        Brave "brave",
        Calm "calm",
        Cold "cold",
        Confused "confused",
        Contented "contented",
        Cranky "cranky",
        Curious "curious",
        Depressed "depressed",
        Disappointed "disappointed",
        Disgusted "disgusted",
        Distracted "distracted",
        Embarrassed "embarrassed",
        Excited "excited",
        Flirtatious "flirtatious",
        Frustrated "frustrated",
        Grumpy "grumpy",
        Guilty "guilty",
        Happy "happy",
        Hot "hot",
        Humbled "humbled",
        Humiliated "humiliated",
        Hungry "hungry",
        Hurt "hurt",
        Impressed "impressed",
        InAwe "in_awe",
        InLove "in_love",
        Indignant "indignant",
        Interested "interested",
        Invincible "invincible",
        Jealous "jealous",
        Lonely "lonely",
        Mean "mean",
        Moody "moody",
        Nervous "nervous",
        Neutral "neutral",
        Offended "offended",
        Playful "playful",
        Proud "proud",
        Relieved "relieved",
        Remorseful "remorseful",
        Restless "restless",
        Sad "sad",
        Sarcastic "sarcastic",
        Serious "serious",
        Shocked "shocked",
        Shy "shy",
        Sick "sick",
        Sleepy "sleepy",
        Stressed "stressed",
        Surprised "surprised",
        Thirsty "thirsty",
        Unknown "unknown",
        Worried "worried",
    }
}

vocabulary! {
    /// Where a person is (RFC 4480 §3.7, RFC 4589 §3).
    PlaceType of LOCATION {
        Aircraft "aircraft",
        Airport "airport",
        Arena "arena",
        Automobile "automobile",
        Bank "bank",
        Bar "bar",
        Bicycle "bicycle",
        Bus "bus",
        BusStation "bus-station",
        Cafe "cafe",
        Classroom "classroom",
        Club "club",
        Construction "construction",
        ConventionCenter "convention-center",
        Government "government",
        Hospital "hospital",
        Hotel "hotel",
        Industrial "industrial",
        Library "library",
        Motorcycle "motorcycle",
        Office "office",
        Outdoors "outdoors",
        Parking "parking",
        PlaceOfWorship "place-of-worship",
        Prison "prison",
        Public "public",
        PublicTransport "public-transport",
        Residence "residence",
        Restaurant "restaurant",
        School "school",
        ShoppingArea "shopping-area",
        Stadium "stadium",
        Store "store",
        Street "street",
        Theater "theater",
        Train "train",
        TrainStation "train-station",
        Truck "truck",
        Underway "underway",
        Unknown "unknown",
        Warehouse "warehouse",
        Water "water",
        Watercraft "watercraft",
    }
}

vocabulary! {
    /// What others nearby will not overhear or see (RFC 4480 §3.8).
    Privacy of RPID {
        Audio "audio",
        Text "text",
        Video "video",
        Unknown "unknown",
    }
}

vocabulary! {
    /// Who answers instead of the presentity (RFC 4480 §3.9).
    Relationship of RPID {
        Assistant "assistant",
        Associate "associate",
        Family "family",
        Friend "friend",
        Presentity "self",
        Supervisor "supervisor",
        Unknown "unknown",
    }
}

vocabulary! {
    /// How a service delivers (RFC 4480 §3.10).
    ServiceClass of RPID {
        Courier "courier",
        Electronic "electronic",
        Freight "freight",
        InPerson "in-person",
        Postal "postal",
        Unknown "unknown",
    }
}

vocabulary! {
    /// The role that a person plays (RFC 4480 §3.11).
    Sphere of RPID {
        Home "home",
        Work "work",
        Unknown "unknown",
    }
}

vocabulary! {
    /// Whether a place suits talking (RFC 4480 §3.6).
    AudioPlace of RPID {
        Noisy "noisy",
        Ok "ok",
        Quiet "quiet",
        Unknown "unknown",
    }
}

vocabulary! {
    /// Whether a place suits pictures (RFC 4480 §3.6).
    VideoPlace of RPID {
        TooBright "toobright",
        Ok "ok",
        Dark "dark",
        Unknown "unknown",
    }
}

vocabulary! {
    /// Whether a place suits writing (RFC 4480 §3.6).
    TextPlace of RPID {
        Uncomfortable "uncomfortable",
        Inappropriate "inappropriate",
        Ok "ok",
        Unknown "unknown",
    }
}

words! {
    /// Whether somebody uses a service or a device (RFC 4480 §3.14).
    InputState {
        /// There was input a short time ago.
        Active "active",
        /// There was none for as long as the threshold.
        Idle "idle",
    }
}
