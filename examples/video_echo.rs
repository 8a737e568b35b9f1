//! Answers everybody and sends back what it hears and sees. Frames stay encoded: nothing here knows a codec.
//!
//! `cargo run -p examples --example video_echo -- udp:127.0.0.1:5070`
#![allow(clippy::print_stdout)] // output is all there is to see

use std::error::Error;

use sip_ua::{CallError, IncomingCall, Phone, Video, VideoCodec, VideoError, VideoEvent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "udp:0.0.0.0:5070".into());
    let codecs = [VideoCodec::H264, VideoCodec::Vp8];
    let phone = Phone::builder("sip:echo@localhost").video(codecs).listen(&listen).bind().await?;
    for local in phone.locals() {
        println!("listening {}:{}", local.transport.uri_param(), local.bound);
    }
    while let Some(incoming) = phone.incoming().await {
        tokio::spawn(async move {
            if let Err(error) = answer(incoming).await {
                eprintln!("video_echo: {error}");
            }
        });
    }
    Ok(())
}

async fn answer(incoming: IncomingCall) -> Result<(), CallError> {
    let caller = incoming.from().uri().to_string();
    incoming.ring()?;
    let call = incoming.answer().await?;
    call.audio().echo(true);
    // From the start, or when the caller adds them; again if they were taken out meanwhile.
    while let Some(video) = call.video_added().await {
        let frames = mirror(&video).await;
        println!("{caller} looked at itself for {frames} frames");
    }
    call.ended().await;
    Ok(())
}

/// Sends back every frame until the pictures end.
async fn mirror(video: &Video) -> u64 {
    let mut frames = 0;
    while let Some(event) = video.next().await {
        match event {
            VideoEvent::Frame(frame) => match video.send(frame).await {
                Ok(()) => frames += 1,
                Err(VideoError::Ended) => break,
                Err(error) => println!("a frame is not sent back: {error}"),
            },
            // Whoever encodes has to make it: the caller itself.
            VideoEvent::KeyFrameWanted => {
                video.request_key_frame();
            }
            _ => {} // what was lost is asked for by the stream
        }
    }
    frames
}
