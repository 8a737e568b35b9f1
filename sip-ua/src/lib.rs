//! A SIP phone as a library: registration, calls, hold, digits and media; chats, files and presence.
//!
//! ```no_run
//! use sip_ua::Phone;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let phone = Phone::builder("sip:alice@example.com").password("secret").bind().await?;
//! phone.register().await?;
//! let mut ringing = phone.call("sip:bob@example.com").await?; // authenticates; drop = CANCEL
//! while let Some(progress) = ringing.progress().await {
//!     println!("{} {}", progress.status(), progress.reason());
//! }
//! let call = ringing.answered().await?; // drop = BYE
//! call.audio().play("hello.wav").await?;
//! call.hang_up().await;
//! phone.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! The [`guide`] goes from registering to an attended transfer; [`guide::chat`] and [`guide::presence`] are about people who do
//! not talk.
//!
//! What a dropped handle means:
//!
//! | handle | dropped |
//! |---|---|
//! | [`OutgoingCall`] | CANCEL; an answer that crosses it is acknowledged and hung up |
//! | [`IncomingCall`] | 480 Temporarily Unavailable |
//! | [`Call`], [`ChatSession`] | BYE |
//! | [`IncomingChat`] | 480 Temporarily Unavailable |
//! | [`Chat`] | nothing: there is no session; texts that nobody read go to [`Phone::next_message`] |
//! | [`Watch`], [`Published`], [`PublishedPresence`] | the subscription ends, what was published is removed |
//! | [`Phone`], the last one | the sockets close; use [`Phone::close`] to end calls and the registration before |
//!
//! Futures only wait: dropping one loses nothing, the core goes on. [`core::PhoneCore`] is the same phone without
//! sockets, sound and clock; the simulator runs it.

mod arrival;
mod builder;
mod call;
mod call_options;
mod chat;
pub mod core;
#[doc = include_str!("../guide.md")]
pub mod guide {
    #[doc = include_str!("../guide/chat.md")]
    pub mod chat {}
    #[doc = include_str!("../guide/presence.md")]
    pub mod presence {}
}
mod identity;
mod info;
mod media;
mod network;
mod network_watch;
mod notifier;
mod phone;
mod presence;
mod quality;
mod quality_reports;
mod requests;
mod room;
mod session;
mod shell;
mod transfer;
mod watch;

pub use builder::{BindError, PhoneBuilder};
pub use call::{Call, ChangeError, IncomingCall, OutgoingCall, Summary};
pub use call_options::CallOptions;
pub use chat::{Chat, ChatEvent, Receipt, SentMessage};
pub use core::PackagedInfo;
pub use identity::IdentityError;
pub use info::InfoError;
pub use media::{
    Audio, AudioError, AudioLevels, LiveSound, MediaEngine, MediaFuture, MediaPacket, MediaPlace,
    MediaReport, MediaSession, MediaTap, NoMedia, Srtp, Video, VideoError,
};
#[cfg(feature = "sound-card")]
pub use media::{SoundCard, SoundCardError};
pub use notifier::Subscriber;
pub use phone::{CallError, Phone, RegisterError};
pub use presence::{PresenceState, PresenceStateError, PublishedPresence};
pub use quality::{ReportedCall, quality_report};
pub use requests::{RequestError, TextMessage};
pub use room::{ChatRoom, RoomChat, RoomMessage, RoomPolicy};
pub use rtp::audio_stream::Statistics;
pub use rtp::codec::Codec;
pub use rtp::extension::AudioLevel;
pub use rtp::ntp::NtpTimestamp;
pub use rtp::video::Codec as VideoCodec;
pub use rtp::video_stream::{Event as VideoEvent, VideoFrame};
pub use sdp::CryptoSuite;
pub use session::{ChatSession, FileToSend, IncomingChat, IncomingFile, PostedText, SessionError};
pub use shell::{Ended, Progress};
pub use sip_dialog::SessionTimer;
pub use sip_dialog::packages::presence::Activity;
pub use transfer::{Referral, TransferError};
pub use watch::{Published, Subscription, WaitingMessages, Watch};
