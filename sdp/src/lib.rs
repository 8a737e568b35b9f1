//! SDP offer/answer: typed session descriptions and their negotiation.
//!
//! [`SessionDescription`] is the text of RFC 8866 with typed views of what calls need. [`OfferAnswer`] is RFC 3264 as a
//! pure state machine: it writes offers and answers for the local side, reads the peer's, and says what was agreed.
//! It does no I/O, reads no clock and draws no random number; how the texts travel is the caller's business.
//!
//! ```
//! use sdp::{LocalMedia, OfferAnswer, SessionDescription};
//!
//! // Alice calls Bob. Each has G.711 and DTMF at an address of its own; the session ids come from the caller.
//! let mut alice = OfferAnswer::new(LocalMedia::audio("192.0.2.1:49170".parse()?), 1001)?;
//! let mut bob = OfferAnswer::new(LocalMedia::audio("198.51.100.7:30000".parse()?), 2002)?;
//!
//! let offer = alice.create_offer()?.to_string();                                // INVITE
//! let answer = bob.receive_offer(&offer.parse()?)?.to_string();                 // 200 OK
//! alice.receive_answer(&answer.parse()?)?;
//!
//! let audio = alice.current().and_then(|agreed| agreed.audio()).unwrap();
//! assert_eq!(audio.remote.to_string(), "198.51.100.7:30000");
//! assert_eq!(audio.send[0].codec.name(), "PCMU");
//!
//! // Bob puts Alice on hold with a new offer.
//! bob.hold();
//! let answer = alice.receive_offer(&bob.create_offer()?)?;
//! bob.receive_answer(&answer)?;
//! assert!(alice.current().unwrap().audio().unwrap().held_by_remote);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A delayed offer is the same machine: the callee calls [`OfferAnswer::create_offer`] for its 2xx, the caller
//! [`OfferAnswer::receive_offer`] for its ACK. An offer that was refused (488, 491, any failed re-INVITE) is withdrawn by
//! [`OfferAnswer::rollback`]. With forking, every dialog continues on a clone of the machine that made the offer.
//!
//! [`guide`] goes through video, keys for secure RTP, holds and streams that come and go.

pub mod address;
pub mod attributes;
pub mod codec;
mod description;
pub mod events;
#[doc = include_str!("guide.md")]
pub mod guide {}
mod lenient;
mod levels;
pub mod limits;
pub mod offer_answer;
mod parameters;
mod parse;
mod print;
pub mod sdes;
mod section;

pub use address::{AddressError, Host, MediaAddress};
pub use codec::{Codec, EventPayload, Payload};
pub use description::{ParseError, SessionDescription, SyntaxError};
pub use events::EventSet;
pub use limits::Limits;
pub use offer_answer::{
    AgreedLayers, AnswerError, CodecOrder, Companion, CreateOfferError, Encoding, Extension,
    ExtensionEncryption, Feedback, Grouping, HeaderExtension, HoldStyle, Layers, LocalEncoding, LocalMedia,
    LocalMediaError, LocalStream, MediaStream, Negotiated, OfferAnswer, OfferError, Options, OtherTransport,
    PeerTransport, Profile, Protection, RejectReason, RejectedLine, RtcpMux, State, StreamKeys,
    StreamOptions,
};
pub use sdes::{CryptoSuite, SrtpKey, Unencrypted};
pub use section::MediaSection;

/// The data model below [`SessionDescription::session`].
pub use sdp_types;
/// Which way media flows, as the side that states it sees it (RFC 8866 §6.7).
pub use sdp_types::Direction;
/// The media type of a line (RFC 8866 §5.14).
pub use sdp_types::MediaType as MediaKind;
