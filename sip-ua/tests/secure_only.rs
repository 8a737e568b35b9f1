//! SRTP with peers that know less than our phones: RTP/SAVP and nothing else (RFC 8643, RFC 4568), header extensions in the clear
//! alone (RFC 6904 §4.1).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use sip_message::{Message, Method, Request, StatusCode};
use sip_ua::{AudioLevels, CallError, CryptoSuite, Phone, Srtp};
use tokio::net::UdpSocket;

/// Longer than anything here takes on a loaded machine; nothing waits it out unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// 30 octets of 9 in base64.
const NINES: &str = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ";

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn phone() -> Phone {
    let builder = Phone::builder("sip:alice@example.com").listen("udp:127.0.0.1:0").srtp(Srtp::Optional);
    builder.bind().await.unwrap()
}

fn description(protocol: &str, keys: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio 9 {protocol} 0\r\n{keys}"
    )
}

/// A phone as a script: it answers each INVITE as `answer` says, and everything else with 200.
async fn script(
    socket: &UdpSocket,
    mut answer: impl FnMut(&Request) -> (StatusCode, Option<String>),
) -> std::convert::Infallible {
    let mut buffer = [0; 65_535];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        let Ok(Message::Request(request)) =
            Message::parse(buffer[..length].to_vec().into(), &Default::default())
        else {
            continue;
        };
        let (status, body) = match *request.method() {
            Method::Ack => continue,
            Method::Invite => answer(&request),
            _ => (StatusCode::OK, None),
        };
        let mut response = request.reply(status).to_tag("script");
        response = response.raw("Contact", &format!("<sip:bob@{}>", socket.local_addr().unwrap()));
        if let Some(body) = body {
            response = response.body("application/sdp", body);
        }
        socket.send_to(&response.build().unwrap().to_bytes(), from).await.unwrap();
    }
}

fn offered(request: &Request) -> (bool, String) {
    let text = String::from_utf8(request.body().to_vec()).unwrap();
    (text.contains(" RTP/SAVP "), text)
}

/// The offer that phones without SRTP understand is refused, the one that they do not is taken.
#[tokio::test]
async fn rfc8643_who_refuses_avp_with_keys_is_offered_savp() {
    let alice = phone().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut offers = Vec::new();
    let callee = script(&socket, |invite| {
        let (secure, text) = offered(invite);
        assert!(text.contains("a=crypto:"), "{text}");
        offers.push(secure);
        match secure {
            false => (StatusCode::NOT_ACCEPTABLE_HERE, None),
            true => {
                let tag = text.split("a=crypto:").find(|line| line.contains("HMAC_SHA1_80")).unwrap();
                let tag = tag.split(' ').next().unwrap();
                let keys = format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{NINES}\r\n");
                (StatusCode::OK, Some(description("RTP/SAVP", &keys)))
            }
        }
    });
    let to = format!("sip:bob@{}", socket.local_addr().unwrap());
    let caller = async {
        let call = alice.call(&to).await.unwrap().answered().await.unwrap();
        let suite = call.audio().crypto_suite();
        call.hang_up().await;
        suite
    };
    let suite = tokio::select! {
        suite = within("the call", caller) => suite,
        never = callee => match never {},
    };
    assert_eq!(suite, Some(CryptoSuite::AesCm128HmacSha1_80));
    assert_eq!(offers, [false, true]);
    within("the end", alice.close()).await;
}

/// Who refuses both has no call, and is not asked a third time.
#[tokio::test]
async fn who_refuses_both_offers_is_not_asked_again() {
    let alice = phone().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut offers = Vec::new();
    let callee = script(&socket, |invite| {
        offers.push(offered(invite).0);
        (StatusCode::NOT_ACCEPTABLE_HERE, None)
    });
    let to = format!("sip:bob@{}", socket.local_addr().unwrap());
    let refused = tokio::select! {
        refused = within("the call", async { alice.call(&to).await.unwrap().answered().await }) => refused.err(),
        never = callee => match never {},
    };
    assert!(
        matches!(refused, Some(CallError::Rejected { status: StatusCode::NOT_ACCEPTABLE_HERE, .. })),
        "{refused:?}"
    );
    assert_eq!(offers, [false, true]);
    within("the end", alice.close()).await;
}

/// An offer of RTP/SAVP alone is taken by a phone that merely wishes for protection.
#[tokio::test]
async fn an_offer_of_savp_alone_is_accepted() {
    let alice = phone().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = socket.local_addr().unwrap();
    let there = alice.locals().iter().next().unwrap().uri(Some("alice")).unwrap();
    let invite = |cseq: u32, method: &str, body: &str| {
        format!(
            "{method} {there} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{method}{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:bob@{here}>;tag=bob\r\nTo: <{there}>\r\nCall-ID: savp\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:bob@{here}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let keys = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{NINES}\r\n");
    let offer = invite(1, "INVITE", &description("RTP/SAVP", &keys));
    let port = there.port().unwrap();
    socket.send_to(offer.as_bytes(), ("127.0.0.1", port)).await.unwrap();
    let call = within("the answer", async { alice.incoming().await.unwrap().answer().await.unwrap() }).await;
    assert_eq!(call.audio().crypto_suite(), Some(CryptoSuite::AesCm128HmacSha1_80));
    let mut buffer = [0; 65_535];
    let answer = within("the 200", async {
        loop {
            let (length, _) = socket.recv_from(&mut buffer).await.unwrap();
            if let Ok(Message::Response(response)) =
                Message::parse(buffer[..length].to_vec().into(), &Default::default())
                && response.status() == StatusCode::OK
            {
                break String::from_utf8(response.body().to_vec()).unwrap();
            }
        }
    })
    .await;
    assert!(answer.contains("RTP/SAVP 0") && answer.contains("a=crypto:1 AES_CM_128"), "{answer}");
}

/// RFC 6904 §4.1: who does not know the encrypted form takes the plain one where both are offered, and gets nothing else.
#[tokio::test]
async fn rfc6904_4_1_a_peer_without_it_gets_levels_in_the_clear_or_none() {
    for (levels, expected) in [(AudioLevels::EncryptedIfPossible, true), (AudioLevels::EncryptedOnly, false)]
    {
        let builder = Phone::builder("sip:alice@example.com").listen("udp:127.0.0.1:0");
        let alice = builder.srtp(Srtp::Required).audio_levels(levels).bind().await.unwrap();
        let [socket, media] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0"));
        let (socket, media) = (socket.await.unwrap(), media.await.unwrap());
        let port = media.local_addr().unwrap().port();
        let callee = script(&socket, |invite| {
            let (_, text) = offered(invite);
            let line = |what: &str| text.lines().find(|line| line.contains(what));
            let tag = line("AES_CM_128_HMAC_SHA1_80").unwrap().split(' ').next().unwrap();
            let mut lines = format!("{tag} AES_CM_128_HMAC_SHA1_80 inline:{NINES}\r\n");
            assert!(
                line("rtp-hdrext:encrypt urn:ietf:params:rtp-hdrext:ssrc-audio-level").is_some(),
                "{text}"
            );
            let known =
                text.lines().filter(|line| line.starts_with("a=extmap:") && !line.contains("encrypt"));
            known.for_each(|line| lines += &format!("{line}\r\n"));
            let body = description("RTP/SAVP", &lines).replace("m=audio 9 ", &format!("m=audio {port} "));
            (StatusCode::OK, Some(body))
        });
        let to = format!("sip:bob@{}", socket.local_addr().unwrap());
        let caller = async {
            let call = alice.call(&to).await.unwrap().answered().await.unwrap();
            let mut buffer = [0; 2048];
            let (length, _) = media.recv_from(&mut buffer).await.unwrap();
            let packet = rtp::packet::Packet::parse(&buffer[..length]).unwrap();
            let seen: Vec<_> = rtp::extension::Elements::of(&packet).map(|(_, data)| data.to_vec()).collect();
            call.hang_up().await;
            seen
        };
        let seen = tokio::select! {
            seen = within("the call", caller) => seen,
            never = callee => match never {},
        };
        // Silence (RFC 6464 §3).
        assert_eq!(seen, if expected { vec![vec![127]] } else { vec![] }, "{levels:?}");
        within("the end", alice.close()).await;
    }
}
