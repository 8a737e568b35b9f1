//! SIP messages: text on the wire to typed values and back (RFC 3261 §7, §19, §20, §25), without I/O.
//!
//! A message is one `Bytes` as it arrived plus a table of its lines. Reading a field parses it then and there;
//! changing one writes a new line beside the old octets; whatever is not touched leaves byte for byte as it came.
//!
//! ```
//! use sip_message::headers::{Contact, MaxForwards, Via};
//! use sip_message::{Limits, Message, Method, StatusCode};
//!
//! let datagram = "INVITE sip:bob@biloxi.example SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds\r\n\
//!     Max-Forwards: 70\r\n\
//!     To: Bob <sip:bob@biloxi.example>\r\n\
//!     From: Alice <sip:alice@atlanta.example>;tag=1928301774\r\n\
//!     Call-ID: a84b4c76e66710@pc33.atlanta.example\r\n\
//!     CSeq: 314159 INVITE\r\n\
//!     Contact: <sip:alice@pc33.atlanta.example>\r\n\
//!     Content-Length: 0\r\n\r\n";
//!
//! let Message::Request(mut request) = Message::parse(datagram.into(), &Limits::default())? else { panic!() };
//! assert_eq!(request.method(), &Method::Invite);
//! request.check()?; // or the status to answer with
//! let via: Via = request.headers.require()?;
//! assert_eq!(via.branch(), Some("z9hG4bK776asdhds"));
//!
//! let ringing = request.reply(StatusCode::RINGING).to_tag("8321234356").build()?; // what a phone says
//! assert!(ringing.to_string().starts_with("SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP pc33"));
//!
//! request.headers.update_first::<MaxForwards>(|hops| hops.0 -= 1)?; // what a proxy does
//! request.headers.push_front(&Via::new("UDP", "proxy.biloxi.example", None).with_param("branch", Some("z9hG4bK1")));
//! assert_eq!(request.headers.all::<Via>().count(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Two grammars: [`Message::parse`] accepts whatever can be framed, so that one bad field never makes a request
//! unanswerable; typed values are strict; [`Request::check`] names the status for what is wrong.
//!
//! The crate is `no_std` with `alloc`. Nothing in it panics on any input.
//!
//! # Guide
//!
#![doc = include_str!("../docs/guide.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod body;
mod build;
mod check;
mod error;
mod essentials;
mod fields;
pub mod framing;
mod header_table;
mod limits;
mod message;
mod method;
mod name;
mod params;
mod parts;
mod print;
mod q850;
mod scan;
mod status;
mod syntax;
mod tel;
mod uri;
pub mod websocket;

/// The table of a message's header fields, and the typed fields.
///
/// Every registered field that the crate knows, and the type that reads one element of it:
///
#[doc = include_str!("../docs/fields.md")]
pub mod headers {
    pub use crate::fields::*;
    pub use crate::header_table::{Header, Headers};
}

pub use build::{Identity, RequestBuilder, ResponseBuilder};
pub use error::{
    BufferTooSmall, BuildError, CheckError, HeaderError, ParseError, ParseErrorKind, ValueError,
};
pub use essentials::{Essentials, TopVia, UriParts};
pub use headers::{Header, Headers};
pub use limits::Limits;
pub use message::{Message, Request, Response};
pub use method::Method;
pub use name::{AsHeaderName, HeaderName};
pub use params::Params;
pub use parts::{Element, Part, Parts};
pub use print::Layout;
pub use status::StatusCode;
pub use tel::Tel;
pub use uri::{AlertUrn, ImPres, ServiceUrn, Uri};
