//! Where `sip server` keeps its bindings if nobody says: what was answered 200 has to be there after the next start.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use sip_transport::tokio::Listen;

use crate::exit::Failure;

/// In the place of a file: bindings are in memory alone.
pub(crate) const MEMORY: &str = "memory";

/// The file for a server of these listeners; none where a port is a free one, since nobody finds such a server after its next
/// start, or where this system has no place for it.
///
/// The place is what systemd gives (`StateDirectory=`), or the user's for states (XDG), by the first listener's address since several
/// servers may run there.
pub(crate) fn location_file<'l>(
    listen: impl IntoIterator<Item = &'l str>,
) -> Result<Option<PathBuf>, Failure> {
    let listen: Vec<Listen> = listen.into_iter().filter_map(|text| text.parse().ok()).collect();
    let Some(first) = listen.first() else { return Ok(None) };
    if listen.iter().any(|listen| listen.address.port() == 0 || listen.client) {
        return Ok(None);
    }
    let name = format!("location-{}", first.address.to_string().replace(':', "-").replace(['[', ']'], ""));
    let Some(file) = place(&name, |name| env::var_os(name)) else { return Ok(None) };
    match file.parent().map(make) {
        None | Some(Ok(())) => Ok(Some(file)),
        Some(Err(error)) => Err(Failure::fault(format_args!(
            "cannot make a folder for the bindings, {}: {error}; name a file for them (--location FILE, location = \"FILE\"), or \
             \"{MEMORY}\" to have them in memory alone",
            file.display()
        ))),
    }
}

fn place(name: &str, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(all) = variable("STATE_DIRECTORY")
        && let Some(own) = env::split_paths(&all).find(|path| path.is_absolute())
    {
        return Some(own.join("location"));
    }
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let states = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(states.join("sip-server").join(name))
}

/// For its owner alone: who calls from where is nobody else's business.
fn make(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_systemds_or_the_users() {
        let at = |set: &[(&str, &str)]| {
            let variable =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            place("location-127.0.0.1-5060", variable).map(|path| path.display().to_string())
        };
        let states = "/home/bob/states/sip-server/location-127.0.0.1-5060";
        let own = "/home/bob/.local/state/sip-server/location-127.0.0.1-5060";
        let (home, xdg) = (("HOME", "/home/bob"), ("XDG_STATE_HOME", "/home/bob/states"));
        assert_eq!(
            at(&[("STATE_DIRECTORY", "/var/lib/sip:/var/lib/b"), home, xdg]).unwrap(),
            "/var/lib/sip/location"
        );
        assert_eq!(at(&[home, xdg]).unwrap(), states);
        assert_eq!(at(&[home, ("XDG_STATE_HOME", "relative")]).unwrap(), own);
        assert_eq!(at(&[home]).unwrap(), own);
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn a_server_on_a_free_port_keeps_nothing() {
        for listen in [&["udp:127.0.0.1:0"][..], &["udp:127.0.0.1:5060", "tcp:127.0.0.1:0"], &[]] {
            assert!(location_file(listen.iter().copied()).is_ok_and(|file| file.is_none()), "{listen:?}");
        }
    }
}
