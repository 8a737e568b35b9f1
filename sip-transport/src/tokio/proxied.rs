//! Reading the PROXY header of an accepted connection, and not an octet more.

use std::io;
use std::net::SocketAddr;

use ::tokio::net::TcpStream;

use crate::path::SendError;
use crate::proxy_protocol::{FIXED, decode};

/// The real source that the header names, if it names one.
pub(super) async fn read_header(stream: &TcpStream) -> Result<Option<SocketAddr>, SendError> {
    let mut octets = Vec::with_capacity(64);
    read_exactly(stream, &mut octets, FIXED).await?;
    loop {
        match decode(&octets) {
            Ok(Some((header, _))) => return Ok(header.source),
            Ok(None) => {
                let length = octets.get(14..FIXED).and_then(|length| length.first_chunk::<2>());
                let length = length.map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
                read_exactly(stream, &mut octets, length).await?;
            }
            Err(error) => {
                tracing::debug!(%error, "a connection from a proxy's network");
                return Err(SendError::Closed);
            }
        }
    }
}

async fn read_exactly(stream: &TcpStream, into: &mut Vec<u8>, length: usize) -> Result<(), SendError> {
    let mut at = into.len();
    into.resize(at.saturating_add(length), 0);
    while let Some(room) = into.get_mut(at..)
        && !room.is_empty()
    {
        match stream.try_read(room) {
            Ok(0) => return Err(SendError::Closed),
            Ok(read) => at = at.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.readable().await.map_err(|error| SendError::from(&error))?;
            }
            Err(error) => return Err(SendError::from(&error)),
        }
    }
    Ok(())
}
