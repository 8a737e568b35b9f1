//! Session timers that the proxy asks for: RFC 4028 §8. What it has asked for is remembered for the transaction, and of the dialog
//! nothing: every refresh is treated alike.

use sip_message::headers::{MinSe, OptionTag, Refresher, Require, SessionExpires, Supported};
use sip_message::{HeaderError, HeaderName, Headers, Method, Request, Response, ResponseBuilder, StatusCode};

use crate::config::SessionTimer;

/// What is remembered between request and response (§8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The Session-Expires that went on, in seconds.
    seconds: u32,
    /// The sender supports session timers.
    supported: bool,
}

/// RFC 4028 §5: "in no case less than 90 seconds", which holds where nothing is said.
const LEAST: u32 = 90;

/// §8.1: sees to it that a session refresh request asks for a timer of our liking. Fields that cannot be read are the callee's to
/// refuse.
///
/// # Errors
/// 422 with our Min-SE, for who supports timers and wants too short a one.
pub(crate) fn ask(
    timer: &SessionTimer,
    request: &mut Request,
) -> Result<Option<Asked>, Box<ResponseBuilder>> {
    if !matches!(request.method(), Method::Invite | Method::Update) {
        return Ok(None);
    }
    let read = |headers: &Headers| -> Result<_, HeaderError> {
        Ok((headers.get::<SessionExpires>()?, headers.get::<MinSe>()?))
    };
    let Ok((expires, min)) = read(&request.headers) else { return Ok(None) };
    let supported = request.headers.all::<Supported>().flatten().any(|tag| tag.tag() == OptionTag::Timer);
    let own_min = timer.min.max(LEAST);
    let too_short = expires.as_ref().is_some_and(|expires| expires.seconds < own_min);
    if too_short && supported {
        let reply = request.reply(StatusCode::SESSION_INTERVAL_TOO_SMALL).header(&MinSe::new(own_min));
        return Err(Box::new(reply));
    }
    let mut least = min.as_ref().map_or(LEAST, |min| min.seconds);
    if too_short && least < own_min {
        // "MUST NOT insert a Min-SE header field ... if that request contains a Supported header field with the value 'timer'".
        least = own_min;
        let raised = MinSe { seconds: own_min, ..min.unwrap_or(MinSe::new(own_min)) };
        replace(&mut request.headers, HeaderName::MIN_SE, &raised);
    }
    let wanted = timer.expires.max(own_min).max(least);
    let seconds = match &expires {
        Some(expires) if expires.seconds < least => least,
        Some(expires) => expires.seconds.min(wanted),
        // An UPDATE may be about something else than the session's life; a re-INVITE without would end the timer.
        None if *request.method() == Method::Update => return Ok(None),
        None => wanted,
    };
    if expires.as_ref().is_none_or(|expires| expires.seconds != seconds) {
        // "MUST NOT insert or modify the value of the 'refresher' parameter".
        let changed = SessionExpires { seconds, ..expires.unwrap_or(SessionExpires::new(seconds)) };
        replace(&mut request.headers, HeaderName::SESSION_EXPIRES, &changed);
    }
    Ok(Some(Asked { seconds, supported }))
}

/// §8.2: where the callee knows nothing of timers and the caller does, the caller refreshes.
pub(crate) fn answer(asked: Asked, response: &mut Response) {
    let headers = &mut response.headers;
    if !asked.supported || headers.contains(HeaderName::SESSION_EXPIRES) {
        return;
    }
    headers.push_back(&SessionExpires::new(asked.seconds).with_refresher(Refresher::Uac));
    if !headers.all::<Require>().flatten().any(|tag| tag.tag() == OptionTag::Timer) {
        headers.push_back(&Require::from(OptionTag::Timer));
    }
}

fn replace<H: sip_message::headers::Header>(headers: &mut Headers, name: HeaderName, value: &H) {
    headers.remove(name);
    headers.push_back(value);
}
