//! Typed header fields.

mod address;
mod auth;
mod content;
mod event;
mod simple;
mod via;

pub use address::{
    Contact, From, NameAddr, PAssertedIdentity, PPreferredIdentity, Path, RecordRoute, ReferTo, ReferredBy,
    ReplyTo, Route, ServiceRoute, To,
};
pub use auth::{
    AuthParams, AuthenticationInfo, Authorization, Challenge, Credentials, ProxyAuthenticate,
    ProxyAuthorization, WwwAuthenticate,
};
pub use content::{ContentDisposition, ContentType};
pub use event::{Event, Reason, RetryAfter};
pub use simple::{
    Accept, Allow, CSeq, CallId, ContentEncoding, ContentLength, Expires, MaxForwards, MinExpires,
    Organization, ProxyRequire, Require, Server, Subject, Supported, Unsupported, UserAgent,
};
pub use via::Via;
