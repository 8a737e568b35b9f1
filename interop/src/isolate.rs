//! A network of the test's own: hostile messages name hosts all over the world, and nothing may be sent there.

use std::env;
use std::process::{Command, Stdio};

use crate::gate::is_required;
use crate::ours::program;
use crate::uas;

/// Set in the process that runs inside.
const INSIDE: &str = "INTEROP_ISOLATED";

/// Whether to go on: `true` inside a network that has only loopback. Outside, the test of this name is run again
/// inside of one and `false` comes back.
///
/// # Panics
/// If that run fails, or if no such network can be made where these tests must run.
pub fn isolated(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let (sip, uas) = (program(), uas::program()); // built out here: inside there is no registry to ask
    let own = env::current_exe().expect("this program");
    // Names of further networks are files, which are the test's own as well: none is left behind.
    let names =
        "mount -t tmpfs names /run/netns 2>/dev/null || { mount -t tmpfs run /run && mkdir /run/netns; }";
    let enter = format!("ip link set lo up && {{ {names}; }} && exec \"$0\" --exact \"$1\" --nocapture");
    for user in [&["-n", "-m"][..], &["-r", "-n", "-m"]] {
        let unshare = |shell: &str| {
            let mut command = Command::new("unshare");
            command.args(user).args(["sh", "-c", shell]).arg(&own).arg(test);
            command.env(INSIDE, "1").env("SIP_BIN", sip).env("UAS_BIN", uas);
            command
        };
        let possible = unshare(&format!("ip link set lo up && {{ {names}; }}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if possible.is_ok_and(|status| status.success()) {
            let passed = unshare(&enter).status().is_ok_and(|status| status.success());
            assert!(passed, "{test} failed in its own network; see above");
            return false;
        }
    }
    assert!(
        !is_required(),
        "{test} needs unshare and ip (packages util-linux and iproute2) and the right to use them"
    );
    println!("skipped: {test} needs a network of its own, and unshare gives none here");
    false
}
