//! Typed header fields.

mod address;
mod auth;
mod content;
mod dialog_reference;
mod event;
mod features;
mod links;
mod network;
mod outbound;
pub(crate) mod plain;
mod session;
mod shapes;
mod simple;
mod tags;
mod via;
mod views;
mod words;

pub use address::{
    Contact, From, NameAddr, PAssertedIdentity, PPreferredIdentity, Path, RecordRoute, ReferTo, ReferredBy,
    ReplyTo, Route, ServiceRoute, To,
};
pub use auth::{
    AuthParams, AuthenticationInfo, Authorization, Challenge, Credentials, ProxyAuthenticate,
    ProxyAuthorization, WwwAuthenticate,
};
pub use content::{ContentDisposition, ContentId, ContentType};
pub use dialog_reference::{Join, Replaces, TargetDialog};
pub use event::{Event, Reason, RetryAfter};
pub use links::{
    AlertInfo, CallInfo, Diversion, ErrorInfo, Geolocation, HistoryInfo, Identity, IdentityInfo,
    PAssertedService, PAssociatedUri, PCalledPartyId, PChargeInfo, PDcsTracePartyId, PPreferredService,
    PProfileKey, PRefusedUriList, PServedUser, PUserDatabase, PermissionMissing, PolicyContact, PolicyId,
    ReferEventsAt, SessionId, TriggerConsent,
};
pub use network::{
    PAccessNetworkInfo, PAnswerState, PChargingFunctionAddresses, PChargingVector, PDcsBillingInfo, PDcsLaes,
    PDcsOsps, PDcsRedirect, PEarlyMedia, PMediaAuthorization, PVisitedNetworkId,
};
pub use outbound::InstanceId;
pub use session::{
    AnswerMode, Date, FlowTimer, GeolocationError, GeolocationRouting, MaxBreadth, MimeVersion, MinSe,
    PrivAnswerMode, RAck, RSeq, ReferSub, Refresher, SessionExpires, Timestamp,
};
pub use simple::{
    Accept, Allow, CSeq, CallId, ContentEncoding, ContentLength, Expires, MaxForwards, MinExpires,
    Organization, ProxyRequire, Require, Server, Subject, Supported, Unsupported, UserAgent,
};
pub use tags::{EventPackage, OptionTag};
pub use via::Via;
pub(crate) use via::without_comment;
pub use views::ProxyAuthenticationInfo;
pub use words::{
    AcceptContact, AcceptEncoding, AcceptLanguage, AcceptResourcePriority, AllowEvents, ContentLanguage,
    FeatureCaps, InReplyTo, InfoPackage, MediaRange, Priority, Privacy, RecvInfo, RejectContact,
    RequestDisposition, ResourcePriority, SecurityClient, SecurityServer, SecurityVerify, SipETag,
    SipIfMatch, SubscriptionState, SuppressIfMatch, UserToUser, Warning,
};
