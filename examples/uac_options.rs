//! Asks a SIP server what it can do, as `ping` asks a host whether it is there.
//!
//! `cargo run -p examples --example uac_options -- sip:127.0.0.1:5060`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;
use std::time::Instant;

use sip_message::headers::{Accept, Allow, CSeq, CallId, From, Header, To};
use sip_message::{Headers, Method, Request, Uri};
use sip_transaction::tokio::Endpoint;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let uri: Uri = std::env::args().nth(1).ok_or("usage: uac_options sip:HOST[:PORT]")?.parse()?;
    let endpoint = Endpoint::builder().listen("udp:0.0.0.0:0")?.listen("tcp:0.0.0.0:0")?.bind().await?;

    // The endpoint adds the Via, resolves the host (RFC 3263), repeats the request, and tries the next server.
    let request = Request::builder(Method::Options, &uri)
        .header(&From::new(&"sip:anonymous@anonymous.invalid".parse()?).with_tag(&endpoint.token()))
        .header(&To::new(&uri))
        .header(&CallId::new(&endpoint.token()))
        .header(&CSeq::new(1, Method::Options))
        .raw("Accept", "application/sdp")
        .build()?;

    let asked = Instant::now();
    let response = endpoint.send(request)?.final_response().await?;
    println!("{} {} after {:.1?}", response.status(), response.reason(), asked.elapsed());
    println!("allows {}", list::<Allow>(&response.headers));
    println!("accepts {}", list::<Accept>(&response.headers));
    println!("is {}", response.headers.text("Server").unwrap_or("silent about itself"));
    endpoint.close().await;
    Ok(())
}

/// All elements of a field, from as many lines as there are.
fn list<H: Header>(headers: &Headers) -> String {
    let mut elements = Vec::new();
    for element in headers.all::<H>().flatten() {
        let mut text = String::new();
        element.write(&mut text);
        elements.push(text);
    }
    if elements.is_empty() { "nothing that it names".into() } else { elements.join(", ") }
}
