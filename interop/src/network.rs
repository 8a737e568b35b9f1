//! Two hosts of a test that runs in a network of its own ([`crate::isolated`]): this one, and another at the end of a link
//! that can be as bad as `nft` makes it.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::PATIENCE;

/// This host's address.
pub const NEAR: &str = "10.77.0.1";
/// The other's.
pub const FAR: &str = "10.77.0.2";

/// An address that this host can move to.
pub const ELSEWHERE: &str = "10.77.0.7";

/// Loss and duplication of a link, each way, by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bad {
    /// Packets of a hundred that are lost on their arrival.
    pub loss: u32,
    /// Packets of a hundred that are sent twice.
    pub twice: u32,
}

/// The link. Its two ends are called `near` and `far`, and the other host is the network namespace `far`.
#[derive(Debug)]
pub struct Link(());

impl Link {
    /// Joins the two hosts.
    ///
    /// # Panics
    /// If that cannot be done, as outside of a network of the test's own.
    pub fn new() -> Self {
        for command in [
            "netns add far".into(),
            "link add near type veth peer name far netns far".into(),
            format!("addr add {NEAR}/24 dev near"),
            format!("-n far addr add {FAR}/24 dev far"),
            "link set near up".into(),
            "-n far link set far up".into(),
            "-n far link set lo up".into(),
        ] {
            ip(&command);
        }
        Self(())
    }

    /// Makes packets of a protocol (`udp`, `tcp`) get lost or come twice from now on.
    ///
    /// # Panics
    /// If `nft` refuses.
    pub fn make(&self, protocol: &str, bad: Bad) {
        let Bad { loss, twice } = bad;
        for (host, device, other) in [(None, "near", FAR), (Some("far"), "far", NEAR)] {
            let arrives =
                format!("iifname {device} ip protocol {protocol} numgen random mod 100 < {loss} drop");
            let leaves = format!(
                "oifname {device} ip protocol {protocol} numgen random mod 100 < {twice} dup to {other} device {device}"
            );
            rules(
                host,
                &format!(
                    "table ip bad-{protocol} {{\n\
                     chain arrives {{\ntype filter hook input priority 0\n{arrives}\n}}\n\
                     chain leaves {{\ntype filter hook output priority 0\n{leaves}\n}}\n}}\n"
                ),
            );
        }
    }

    /// Whether the far end of the link is up. This end has its address and its routes all along, as where a cable is
    /// drawn somewhere on the way.
    pub fn set_up(&self, up: bool) {
        ip(if up { "-n far link set far up" } else { "-n far link set far down" });
    }

    /// Makes the far host the way to everywhere else, as a router is.
    pub fn lead_everywhere(&self) {
        ip(&format!("route add default via {FAR}"));
    }

    /// This host is at [`ELSEWHERE`] now and no longer at [`NEAR`], with nothing between: as when one WLAN is left for another.
    pub fn move_near(&self) {
        ip(&format!("addr del {NEAR}/24 dev near"));
        ip(&format!("addr add {ELSEWHERE}/24 dev near"));
        self.lead_everywhere();
    }

    /// Breaks the far host's TCP connections to this one by a reset, or `false` where the kernel has no such command.
    pub fn break_connections(&self) -> bool {
        let command = [OsStr::new("-K"), OsStr::new("dst"), OsStr::new(NEAR)];
        let (program, arguments) = on_far("ss", command);
        let output = Command::new(program).args(arguments).output().expect("ss runs");
        String::from_utf8_lossy(&output.stdout).contains("ESTAB")
    }

    /// Waits until the far host has acknowledged everything that this one sent over TCP.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn wait_until_acknowledged(&self) {
        let deadline = Instant::now() + PATIENCE;
        while connections().iter().any(|connection| connection.get(2).is_none_or(|queue| queue != "0")) {
            assert!(Instant::now() < deadline, "not acknowledged");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Loses from now on, both ways, what belongs to the TCP connections that there are to the far host: so does a firewall
    /// that has forgotten them.
    pub fn forget_connections(&self) {
        let all = connections();
        let own = all.iter().filter_map(|connection| connection.get(3)?.rsplit_once(':'));
        let ports: Vec<&str> = own.map(|(_, port)| port).collect();
        assert!(!ports.is_empty(), "no connection to the far host");
        let ports = ports.join(", ");
        rules(
            None,
            &format!(
                "table ip forgotten {{\n\
                 chain arrives {{\ntype filter hook input priority 0\ntcp dport {{ {ports} }} drop\n}}\n\
                 chain leaves {{\ntype filter hook output priority 0\ntcp sport {{ {ports} }} drop\n}}\n}}\n"
            ),
        );
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

/// The TCP connections to the far host: state, octets unread, octets unacknowledged, own address, ...
fn connections() -> Vec<Vec<String>> {
    let output = Command::new("ss").args(["-Htn", "dst", FAR]).output().expect("ss runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// A program and its arguments, for the far host.
pub(crate) fn on_far<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> (OsString, Vec<OsString>) {
    let mut all: Vec<OsString> = ["netns", "exec", "far"].map(OsString::from).to_vec();
    all.push(program.as_ref().to_os_string());
    all.extend(arguments.into_iter().map(|argument| argument.as_ref().to_os_string()));
    ("ip".into(), all)
}

fn ip(command: &str) {
    let status = Command::new("ip").args(command.split(' ')).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {command}");
}

/// Gives rules to a host's `nft`.
fn rules(host: Option<&str>, rules: &str) {
    let mut command = match host {
        Some(host) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", host, "nft"]);
            command
        }
        None => Command::new("nft"),
    };
    let mut nft = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft runs");
    nft.stdin.take().expect("its input").write_all(rules.as_bytes()).expect("rules for nft");
    assert!(nft.wait().is_ok_and(|status| status.success()), "nft refuses\n{rules}");
}
