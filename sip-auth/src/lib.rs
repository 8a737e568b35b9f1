//! Digest authentication for SIP (RFC 7616, RFC 8760, RFC 3261 §22): challenges, credentials and their verification, as
//! pure computation. No I/O, no clock, no randomness: time, client nonces and the server's secret come from the caller.
//!
//! [`Authenticator`] is the client: it holds accounts, answers 401 and 407, and signs later requests with the nonces it
//! knows. [`Verifier`] is the server: it makes challenges and judges requests.
//!
//! ```
//! use sip_auth::{Attempts, Authenticator, Secret, Verdict, Verifier, VerifierConfig};
//! use sip_message::{Method, Request, Uri};
//! use std::time::{Duration, Instant};
//!
//! let now = Instant::now();
//! let config = VerifierConfig::new("example.com", [7; 32]); // a secret drawn at random in earnest
//! let mut registrar = Verifier::new(config, now, Duration::from_secs(1_700_000_000))?;
//! let users = |name: &str| (name == "alice").then(|| Secret::password("wonderland"));
//! let mut phone = Authenticator::default();
//! phone.add_account(None, "alice", Secret::password("wonderland"));
//!
//! let mut register = Request::builder(Method::Register, &"sip:example.com".parse::<Uri>()?)
//!     .raw("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1").raw("From", "<sip:alice@example.com>;tag=1")
//!     .raw("To", "<sip:alice@example.com>").raw("Call-ID", "1@192.0.2.1").raw("CSeq", "1 REGISTER").build()?;
//!
//! // First try, without credentials: 401.
//! let verdict = registrar.verify(&register, now, users);
//! let unauthorized = registrar.refusal(&register, &verdict, now).ok_or("refused")?.build()?;
//! assert_eq!(unauthorized.status().code(), 401);
//!
//! // Second try, with them. (CSeq and branch are new too, RFC 3261 §22.2.)
//! let mut attempts = Attempts::default();
//! phone.answer(&mut register, &unauthorized, &mut attempts, "a-random-cnonce")?;
//! let Verdict::Accepted(accepted) = registrar.verify(&register, now, users) else { panic!("refused") };
//! assert_eq!(accepted.username(), "alice");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod algorithm;
pub mod client;
pub mod digest;
mod fields;
mod nonce;
mod replay;
mod secret;
pub mod server;

pub use algorithm::{Algorithm, Hash, UnknownAlgorithm};
pub use client::{Attempts, Authenticator, ClientError, ClientPolicy, Preference};
pub use digest::{DigestRequest, HexDigest, Qop};
pub use fields::Role;
pub use secret::Secret;
pub use server::{
    Accepted, BadCredentials, Begun, ChallengeReason, Pending, UriCheck, Verdict, Verifier, VerifierConfig,
    VerifierConfigError,
};
