//! Media with ffmpeg on the other end: pictures that it sends are put together and decode to what they show, pictures that are cut up
//! here are decoded by it; its sound comes through SRTP and ours is heard by it; G.722 and Opus are coded here and decoded there, and
//! the other way; pictures go through a call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use interop::{Dir, PATIENCE, Process, assert_holds_tone, free_port, turn, wait_until_bound};
use rtp::audio::tone::Tone;
use rtp::audio_stream::{AudioStream, Config, FRAME, FRAME_DURATION, Format};
use rtp::codec::Codec;
use rtp::g711::Law;
use rtp::ntp::NtpTimestamp;
use rtp::packet::{Header, Packet};
use rtp::session::{self, Channel, Remote};
use rtp::srtp::{MasterKey, Profile, Session};
use rtp::video::{Frame, Payload, h264, vp8};
use sip_ua::{Phone, Srtp, VideoCodec, VideoEvent, VideoFrame};

const WIDTH: usize = 320;
const HEIGHT: usize = 240;
const FRAMES: usize = 50;
/// Left half red, right half blue, and noise over both so that a frame takes many packets.
const PICTURE: &str = "color=c=red:size=160x240:rate=25[l];color=c=blue:size=160x240:rate=25[r];[l][r]hstack,noise=alls=30:allf=t";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Video {
    H264,
    Vp8,
}

impl Video {
    fn encoder(self) -> Vec<&'static str> {
        match self {
            Self::H264 => "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 25 -x264-params slices=1:sliced-threads=0 -bsf:v dump_extra",
            Self::Vp8 => "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 2M -g 25",
        }
        .split(' ')
        .collect()
    }

    /// The format of a file with frames.
    fn container(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Vp8 => "ivf",
        }
    }
}

fn ffmpeg(dir: &Dir, name: &str, arguments: &[&str]) -> Process {
    let quiet = ["-hide_banner", "-loglevel", "warning", "-nostdin", "-y"];
    Process::start(dir, name, "ffmpeg", quiet.iter().chain(arguments))
}

/// The colours of the two halves of a picture that ffmpeg decodes from a file.
fn halves(dir: &Dir, file: &Path, format: &str) -> [[u32; 3]; 2] {
    let raw = dir.file("picture.rgb");
    let arguments = [
        "-f",
        format,
        "-i",
        file.to_str().unwrap(),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        raw.to_str().unwrap(),
    ];
    assert_eq!(ffmpeg(dir, "decoder", &arguments).finish_within(PATIENCE), 0);
    let octets = fs::read(raw).unwrap();
    let size = WIDTH * HEIGHT * 3;
    assert!(octets.len() >= size * 10, "{} frames", octets.len() / size);
    halves_of(&octets[octets.len() - size..])
}

fn halves_of(picture: &[u8]) -> [[u32; 3]; 2] {
    [0, WIDTH / 2].map(|from| {
        let pixels = (0..HEIGHT).flat_map(|y| (from..from + WIDTH / 2).map(move |x| 3 * (y * WIDTH + x)));
        let count = (WIDTH / 2 * HEIGHT) as u32;
        let sum = pixels.fold([0; 3], |sum: [u32; 3], at| {
            [0, 1, 2].map(|colour| sum[colour] + u32::from(picture[at + colour]))
        });
        sum.map(|sum| sum / count)
    })
}

fn assert_red_and_blue([left, right]: [[u32; 3]; 2]) {
    assert!(left[0] > 180 && left[1] < 70 && left[2] < 70, "{left:?}");
    assert!(right[2] > 180 && right[0] < 70 && right[1] < 70, "{right:?}");
}

/// What a decoder reads frames from: a byte stream, or an IVF file.
fn file(video: Video, frames: &[Frame]) -> Vec<u8> {
    if video == Video::H264 {
        return frames.iter().flat_map(|frame| frame.data.clone()).collect();
    }
    let mut out = b"DKIF\0\0\x20\0VP80".to_vec();
    out.extend([WIDTH as u16, HEIGHT as u16].map(u16::to_le_bytes).concat());
    out.extend([25, 1, frames.len() as u32, 0].map(u32::to_le_bytes).concat());
    for (number, frame) in (0u64..).zip(frames) {
        out.extend((frame.data.len() as u32).to_le_bytes());
        out.extend(number.to_le_bytes());
        out.extend(&frame.data);
    }
    out
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
}

/// Every datagram until the sender has ended.
fn receive(socket: &UdpSocket, sender: &mut Process, mut take: impl FnMut(&[u8])) {
    let mut buffer = [0; 2048];
    let mut ended = false;
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((length, _)) => take(&buffer[..length]),
            Err(_) if ended => return,
            Err(_) => ended = sender.ends_within(Duration::from_millis(1)),
        }
    }
}

#[test]
fn pictures_of_ffmpeg_are_put_together() {
    let Some(_turn) = turn(&["ffmpeg"]) else { return };
    for video in [Video::H264, Video::Vp8] {
        let dir = Dir::new("ffmpeg-sends");
        let socket = socket();
        let to = format!("rtp://{}?pkt_size=1200", socket.local_addr().unwrap());
        let frames = FRAMES.to_string();
        let input = ["-re", "-f", "lavfi", "-i", PICTURE, "-frames:v", &frames];
        let arguments: Vec<&str> = [&input[..], &video.encoder(), &["-f", "rtp", &to]].concat();
        let mut sender = ffmpeg(&dir, "sender", &arguments);
        let (mut h264, mut vp8) = (h264::Depacketizer::new(), vp8::Depacketizer::new());
        let (mut frames, mut packets) = (Vec::new(), 0);
        receive(&socket, &mut sender, |datagram| {
            let packet = Packet::parse(datagram).unwrap();
            let Header { sequence_number, timestamp, marker, .. } = packet.header;
            packets += 1;
            match video {
                Video::H264 => frames.extend(h264.push(sequence_number, timestamp, marker, packet.payload)),
                Video::Vp8 => frames.extend(vp8.push(sequence_number, timestamp, marker, packet.payload)),
            }
        });
        assert_eq!(frames.len(), FRAMES, "{video:?}");
        assert!(packets > 2 * FRAMES, "{packets} packets: nothing was fragmented");
        let key_frames: Vec<usize> = (0..FRAMES).filter(|at| frames[*at].key_frame).collect();
        assert!(key_frames.starts_with(&[0]) && key_frames.len() >= 2, "{video:?} {key_frames:?}");
        assert!(!frames.iter().any(|frame| frame.damaged), "{video:?}");
        let written = dir.write("heard", file(video, &frames));
        assert_red_and_blue(halves(&dir, &written, video.container()));
    }
}

/// The frames of a file that ffmpeg has encoded.
fn encoded(dir: &Dir, video: Video) -> Vec<Vec<u8>> {
    let path = dir.file("encoded");
    let frames = FRAMES.to_string();
    let input = ["-f", "lavfi", "-i", PICTURE, "-frames:v", &frames];
    let output = ["-f", video.container(), path.to_str().unwrap()];
    let arguments: Vec<&str> = [&input[..], &video.encoder(), &output].concat();
    assert_eq!(ffmpeg(dir, "encoder", &arguments).finish_within(PATIENCE), 0);
    let octets = fs::read(path).unwrap();
    let mut frames = Vec::new();
    if video == Video::H264 {
        let mut frame = Vec::new();
        for unit in h264::nal_units(&octets) {
            frame.extend([0, 0, 0, 1]);
            frame.extend(unit);
            if matches!(unit[0] & 0x1f, 1 | 5) {
                frames.push(std::mem::take(&mut frame)); // one slice is one picture
            }
        }
    } else {
        let mut rest = &octets[32..];
        while let Some((header, behind)) = rest.split_first_chunk::<12>() {
            let length = u32::from_le_bytes(*header.first_chunk().unwrap()) as usize;
            frames.push(behind[..length].to_vec());
            rest = &behind[length..];
        }
    }
    assert_eq!(frames.len(), FRAMES);
    frames
}

/// Packets with numbers of their own.
struct Stream {
    socket: UdpSocket,
    to: SocketAddr,
    header: Header,
    session: Option<Session>,
}

impl Stream {
    fn to(port: u16, payload_type: u8) -> Self {
        let header = Header { payload_type, marker: false, sequence_number: 65_000, timestamp: 0, ssrc: 7 };
        Self { socket: socket(), to: SocketAddr::from(([127, 0, 0, 1], port)), header, session: None }
    }

    fn send(&mut self, marker: bool, payload: &[u8]) {
        let header = Header { marker, ..self.header };
        let mut datagram = header.build(payload).unwrap().to_vec();
        if let Some(session) = &mut self.session {
            session.protect_rtp(&mut datagram).unwrap();
        }
        let _ = self.socket.send_to(&datagram, self.to); // the other side may have ended
        self.header.sequence_number = self.header.sequence_number.wrapping_add(1);
    }
}

fn description(media: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{media}")
}

#[test]
fn ffmpeg_decodes_pictures_that_were_cut_up_here() {
    let Some(_turn) = turn(&["ffmpeg"]) else { return };
    for video in [Video::H264, Video::Vp8] {
        let dir = Dir::new("ffmpeg-hears");
        let frames = encoded(&dir, video);
        let port = free_port(1);
        let format = match video {
            Video::H264 => "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n",
            Video::Vp8 => "a=rtpmap:96 VP8/90000\r\n",
        };
        let sdp = dir.write("offer.sdp", description(&format!("m=video {port} RTP/AVP 96\r\n{format}")));
        let raw = dir.file("heard.rgb");
        let arguments = [
            "-protocol_whitelist",
            "file,udp,rtp",
            "-analyzeduration",
            "1M",
            "-i",
            sdp.to_str().unwrap(),
            "-frames:v",
            "20",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            raw.to_str().unwrap(),
        ];
        let mut decoder = ffmpeg(&dir, "decoder", &arguments);
        wait_until_bound(port);
        let mut stream = Stream::to(port, 96);
        let (cutter, mut vp8) = (h264::Packetizer::new(1200), vp8::Packetizer::new(1200, 30_000));
        // The film goes on until it has seen enough of it.
        let mut film = frames.iter().cycle().take(40 * FRAMES);
        while !decoder.ends_within(Duration::from_millis(20)) {
            let frame = film.next().expect("ffmpeg sees no picture");
            let payloads: Vec<Payload> = match video {
                Video::H264 => cutter.packetize(frame).collect(),
                Video::Vp8 => vp8.packetize(frame).collect(),
            };
            for Payload { marker, payload } in payloads {
                stream.send(marker, &payload);
            }
            stream.header.timestamp = stream.header.timestamp.wrapping_add(3600);
        }
        let octets = fs::read(raw).unwrap();
        let size = WIDTH * HEIGHT * 3;
        assert_eq!(octets.len(), 20 * size, "{video:?}");
        assert_red_and_blue(halves_of(&octets[19 * size..]));
    }
}

/// Pictures that ffmpeg has encoded go through a call between two phones, and ffmpeg decodes what came.
#[tokio::test]
async fn pictures_of_ffmpeg_go_through_a_call() {
    let Some(_turn) = turn(&["ffmpeg"]) else { return };
    for video in [Video::H264, Video::Vp8] {
        let dir = Dir::new("ffmpeg-calls");
        let codec = if video == Video::H264 { VideoCodec::H264 } else { VideoCodec::Vp8 };
        let film = encoded(&dir, video);
        let phone = async |user: &str| {
            let builder = Phone::builder(&format!("sip:{user}@localhost")).srtp(Srtp::Required);
            builder.video([codec]).listen("udp:127.0.0.1:0").bind().await.unwrap()
        };
        let (alice, bob) = (phone("alice").await, phone("bob").await);
        let to = bob.locals().iter().next().unwrap().uri(Some("bob")).unwrap().to_string();
        let calling = async {
            let call = alice.call(&to).await.unwrap().answered().await.unwrap();
            let camera = call.video().unwrap();
            for (number, frame) in (0u32..).zip(film) {
                let frame = VideoFrame::new(codec, Duration::from_millis(40) * number, frame);
                camera.send(frame).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await; // a camera, eight times as fast
            }
            call
        };
        let watching = async {
            let call = bob.incoming().await.unwrap().answer().await.unwrap();
            let (screen, mut frames) = (call.video().unwrap(), Vec::new());
            while frames.len() < FRAMES {
                let Some(VideoEvent::Frame(frame)) = screen.next().await else {
                    panic!("a frame is missing")
                };
                let VideoFrame { key_frame, data, .. } = frame;
                frames.push(Frame { timestamp: 0, key_frame, damaged: false, data: data.into() });
            }
            (call, frames)
        };
        let both = async { tokio::join!(calling, watching) };
        let (call, (_callee, frames)) = tokio::time::timeout(PATIENCE, both).await.expect("pictures in time");
        call.hang_up().await;
        let written = dir.write("seen", file(video, &frames));
        assert_red_and_blue(halves(&dir, &written, video.container()));
    }
}

/// Octets 1 to 30 as master key and salt, and the same in base64.
const KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e";

fn srtp(profile: Profile) -> Session {
    let octets: Vec<u8> = (1..=30).collect();
    let key = || MasterKey::from_key_and_salt(profile, &octets).unwrap();
    Session::new(profile, &key(), &key()).unwrap()
}

const SUITES: [(&str, Profile); 2] = [
    ("AES_CM_128_HMAC_SHA1_80", Profile::AesCm128HmacSha1Tag80),
    ("AES_CM_128_HMAC_SHA1_32", Profile::AesCm128HmacSha1Tag32),
];

#[test]
fn sound_of_ffmpeg_comes_through_srtp() {
    let Some(_turn) = turn(&["ffmpeg"]) else { return };
    for (suite, profile) in SUITES {
        let dir = Dir::new("ffmpeg-srtp");
        let socket = socket();
        let to = format!("srtp://{}", socket.local_addr().unwrap());
        let arguments = [
            "-re",
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=8000:duration=2",
            "-c:a",
            "pcm_mulaw",
            "-f",
            "rtp",
            "-srtp_out_suite",
            suite,
            "-srtp_out_params",
            KEY,
            &to,
        ];
        let mut sender = ffmpeg(&dir, "sender", &arguments);
        let (mut session, mut heard) = (srtp(profile), Vec::new());
        receive(&socket, &mut sender, |datagram| {
            let mut datagram = datagram.to_vec();
            session.unprotect_rtp(&mut datagram).unwrap();
            let packet = Packet::parse(&datagram).unwrap();
            assert_eq!(packet.header.payload_type, 0);
            heard.extend(Law::Mu.decode(packet.payload));
        });
        let path = dir.file("heard.wav");
        rtp::audio::wav::write(&path, &heard).unwrap();
        assert_holds_tone(&path, 440.0, 1.8);
    }
}

#[test]
fn ffmpeg_hears_sound_that_was_protected_here() {
    let Some(_turn) = turn(&["ffmpeg"]) else { return };
    for (suite, profile) in SUITES {
        let dir = Dir::new("ffmpeg-srtp-hears");
        let port = free_port(1);
        let media = format!("m=audio {port} RTP/SAVP 8\r\na=crypto:1 {suite} inline:{KEY}\r\n");
        let sdp = dir.write("offer.sdp", description(&media));
        let path = dir.file("heard.wav");
        let arguments = [
            "-protocol_whitelist",
            "file,udp,rtp,srtp",
            "-i",
            sdp.to_str().unwrap(),
            "-t",
            "2",
            path.to_str().unwrap(),
        ];
        let mut recorder = ffmpeg(&dir, "recorder", &arguments);
        wait_until_bound(port);
        let mut stream = Stream::to(port, 8);
        stream.session = Some(srtp(profile));
        let tone: Vec<i16> = Tone::sine(620.0).samples().take(8000).collect();
        let mut frames = tone.as_chunks::<160>().0.iter().cycle().take(20_000);
        while !recorder.ends_within(Duration::from_millis(10)) {
            stream.send(false, &Law::A.encode(frames.next().expect("ffmpeg hears nothing")));
            stream.header.timestamp = stream.header.timestamp.wrapping_add(160);
        }
        assert_holds_tone(&path, 620.0, 1.8);
    }
}

/// Codecs with their payload type, ffmpeg's encoder, and what a description says of them.
const CODECS: [(Codec, u8, &str, &str); 2] = [
    (Codec::G722, 9, "-c:a g722 -ar 16000", ""),
    (Codec::Opus, 111, "-c:a libopus -ar 48000 -payload_type 111", "a=rtpmap:111 opus/48000/2\r\n"),
];

/// One end of a call with ffmpeg, which is at this address.
fn audio_stream(now: Instant, codec: Codec, payload_type: u8, peer: SocketAddr) -> AudioStream {
    let session = session::Config::new([7; 32], "interop@example.com", NtpTimestamp(0));
    let format = Format::of(codec, payload_type);
    let mut stream = AudioStream::new(now, Config { session, jitter: Default::default(), format });
    stream.set_remote(now, Remote::port_pair(peer));
    stream
}

#[test]
fn g722_and_opus_of_ffmpeg_are_heard() {
    let Some(_turn) = turn(&["ffmpeg"]) else { return };
    for (codec, payload_type, encoder, _) in CODECS {
        let dir = Dir::new("ffmpeg-codecs");
        let socket = socket();
        let to = format!("rtp://{}", socket.local_addr().unwrap());
        let input = ["-re", "-f", "lavfi", "-i", "sine=frequency=440:duration=2"];
        let arguments: Vec<&str> =
            input.into_iter().chain(encoder.split(' ')).chain(["-f", "rtp", &to]).collect();
        let mut sender = ffmpeg(&dir, "sender", &arguments);
        let mut datagrams = Vec::new();
        receive(&socket, &mut sender, |datagram| datagrams.push(datagram.to_vec()));
        // They are played in the time that their timestamps tell.
        let (start, peer) = (Instant::now(), SocketAddr::from(([127, 0, 0, 1], 9)));
        let mut stream = audio_stream(start, codec, payload_type, peer);
        let timestamp = |datagram: &[u8]| Packet::parse(datagram).unwrap().header.timestamp;
        let (first, count) = (timestamp(&datagrams[0]), datagrams.len());
        let (mut arrivals, mut heard, mut refused) = (datagrams.into_iter().peekable(), Vec::new(), 0);
        for tick in 0..110u32 {
            let now = start + FRAME_DURATION * tick;
            let due = |datagram: &Vec<u8>| {
                let units = timestamp(datagram).wrapping_sub(first);
                u64::from(units) * 50 <= u64::from(tick) * u64::from(codec.clock_rate())
            };
            while let Some(datagram) = arrivals.next_if(due) {
                refused += usize::from(stream.receive(now, Channel::Rtp, peer, &datagram).is_err());
            }
            heard.extend(stream.next_frame(now));
        }
        assert!(
            refused <= 1,
            "{refused} packets: only the first of a source is on probation (RFC 3550 appendix A.1)"
        );
        let statistics = stream.statistics();
        assert!(arrivals.next().is_none() && statistics.unknown_payloads == 0, "{codec:?}: {statistics:?}");
        assert_eq!(statistics.session.received.lost(), 0, "{codec:?}: {count} packets");
        let path = dir.file("heard.wav");
        rtp::audio::wav::write(&path, &heard).unwrap();
        assert_holds_tone(&path, 440.0, 1.8);
    }
}

#[test]
fn ffmpeg_hears_g722_and_opus_that_were_encoded_here() {
    let Some(_turn) = turn(&["ffmpeg"]) else { return };
    for (codec, payload_type, _, format) in CODECS {
        let dir = Dir::new("ffmpeg-codecs-hears");
        let port = free_port(1);
        let media = format!("m=audio {port} RTP/AVP {payload_type}\r\n{format}");
        let sdp = dir.write("offer.sdp", description(&media));
        let path = dir.file("heard.wav");
        let input = ["-protocol_whitelist", "file,udp,rtp", "-i", sdp.to_str().unwrap()];
        let output = ["-t", "2", "-ar", "8000", "-ac", "1", path.to_str().unwrap()];
        let arguments: Vec<&str> = input.into_iter().chain(output).collect();
        let mut recorder = ffmpeg(&dir, "recorder", &arguments);
        wait_until_bound(port);
        let (socket, to) = (socket(), SocketAddr::from(([127, 0, 0, 1], port)));
        let mut now = Instant::now();
        let mut stream = audio_stream(now, codec, payload_type, to);
        let tone = Tone::sine(620.0);
        let mut tone = tone.samples().take(4000 * FRAME);
        while !recorder.ends_within(Duration::from_millis(10)) {
            let frame: Vec<i16> = tone.by_ref().take(FRAME).collect();
            assert_eq!(frame.len(), FRAME, "ffmpeg hears nothing of {codec:?}");
            stream.tick(now, &frame);
            now += FRAME_DURATION;
            while let Some(transmit) = stream.poll_transmit() {
                if transmit.channel == Channel::Rtp {
                    let _ = socket.send_to(&transmit.payload, to); // the other side may have ended
                }
            }
        }
        assert_holds_tone(&path, 620.0, 1.8);
    }
}
