//! Whether a test can run here, and whose turn it is.

use std::env;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held while a test runs: these tests share two cores and expect answers in time, so they go one by one.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code)] MutexGuard<'static, ()>);

static TURN: Mutex<()> = Mutex::new(());

/// The turn of a test that needs these programs, or `None` if it has to be skipped.
///
/// # Panics
/// If a program is missing where all must be there (`INTEROP_REQUIRED=1`, `CI=true`).
pub fn turn(programs: &[&str]) -> Option<Turn> {
    if set("INTEROP", &["off", "0"]) {
        println!("skipped: INTEROP=off");
        return None;
    }
    for program in programs {
        // A file's path stands for what has no program of its own: a module, a library of scripts.
        if !(is_installed(program) || Path::new(program).exists()) {
            let hint = "install the Debian packages faketime, ffmpeg, rtpengine-daemon, sip-tester, sipsak, baresip-core, linphone-cli, kamailio, kamailio-outbound-modules, kamailio-presence-modules, kamailio-tls-modules, kamailio-websocket-modules, postgresql, redis-server, nodejs, and see CONTRIBUTING.md for JsSIP and PJSIP";
            assert!(!is_required(), "{program} is required and not installed; {hint}");
            println!("skipped: {program} is not installed; {hint}");
            return None;
        }
    }
    Some(Turn(TURN.lock().unwrap_or_else(PoisonError::into_inner)))
}

fn set(name: &str, values: &[&str]) -> bool {
    env::var(name).is_ok_and(|value| values.contains(&value.as_str()))
}

/// Whether a test that cannot run here has failed.
pub(crate) fn is_required() -> bool {
    ["INTEROP_REQUIRED", "CI"]
        .iter()
        .any(|name| env::var_os(name).is_some() && !set(name, &["", "0", "false"]))
}

fn is_installed(program: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .any(|folder| Path::new(&folder).join(program).is_file())
}
