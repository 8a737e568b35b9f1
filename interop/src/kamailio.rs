//! Kamailio, a registrar and proxy.

use std::net::{Ipv4Addr, SocketAddr};

use crate::certificates::Certificates;
use crate::dir::Dir;
use crate::ports::{free_tcp_and_udp_port, wait_until_bound, wait_until_listening};
use crate::process::Process;

/// A running Kamailio that asks for digest: every user's password is `secret`, the realm `127.0.0.1`.
#[derive(Debug)]
pub struct Kamailio {
    /// The process.
    pub process: Process,
    /// Where it listens, over UDP and TCP.
    pub address: SocketAddr,
    /// Where it listens over TLS, and over secure WebSocket, if it does.
    pub tls: SocketAddr,
    /// Where it listens over WebSocket, if it does.
    pub ws: SocketAddr,
}

impl Kamailio {
    /// Starts it on a free port.
    pub fn start(dir: &Dir) -> Self {
        Self::with_config(dir, include_str!("../configs/kamailio.cfg"))
    }

    /// Starts it as a carrier: as before, but it takes no other port of this host for its own, and takes itself off the Route that
    /// its users put in beforehand.
    pub fn start_carrier(dir: &Dir) -> Self {
        let config = include_str!("../configs/kamailio.cfg").replace("alias=\"127.0.0.1\"\n", "");
        Self::with_config(dir, &config.replace("\trecord_route();", "\tloose_route();\n\trecord_route();"))
    }

    /// Starts it as the edge of a domain whose registrar is another (RFC 5626 §5).
    pub fn start_edge(dir: &Dir, registrar: &Self) -> Self {
        let config = include_str!("../configs/kamailio-edge.cfg");
        Self::with_config(dir, &config.replace("@REGISTRAR@", &registrar.address.to_string()))
    }

    /// Starts it as registrar and proxy of `far.test`, which asks nobody and sends calls to `example.test` to this next hop.
    pub fn start_neighbour(dir: &Dir, next_hop: &str) -> Self {
        Self::with_config(dir, &include_str!("../configs/kamailio-neighbour.cfg").replace("@NEXT@", next_hop))
    }

    /// What has to be there of the package for its tables in text files.
    pub const TABLES: &str = "/usr/share/kamailio/dbtext/kamailio";

    /// Empty tables, as text files.
    fn tables(dir: &Dir, names: &[&str]) -> String {
        let tables = dir.file("tables");
        std::fs::create_dir_all(&tables).expect("a folder for Kamailio's tables");
        for table in names {
            let from = std::path::Path::new(Self::TABLES).join(table);
            std::fs::copy(&from, tables.join(table)).expect("an empty table of Kamailio's");
        }
        tables.display().to_string()
    }

    /// Starts it as a presence server.
    pub fn start_presence(dir: &Dir) -> Self {
        let tables = Self::tables(dir, &["version", "presentity", "active_watchers", "watchers", "xcap"]);
        let config = include_str!("../configs/kamailio-presence.cfg");
        Self::with_config(dir, &config.replace("@TABLES@", &tables))
    }

    /// Starts it as the registrar of `example.test`, which tells this presence server who is registered.
    pub fn start_publisher(dir: &Dir, presence: SocketAddr) -> Self {
        let tables = Self::tables(dir, &["version", "pua"]);
        let config = include_str!("../configs/kamailio-publisher.cfg");
        let config = config.replace("@TABLES@", &tables).replace("@PRESENCE@", &presence.to_string());
        Self::with_config(dir, &config)
    }

    /// Starts it as a relay of MSRP.
    pub fn start_msrp(dir: &Dir) -> Self {
        Self::with_config(dir, include_str!("../configs/kamailio-msrp.cfg"))
    }

    /// Starts it with TLS and WebSocket.
    pub fn start_secure(dir: &Dir, certificates: &Certificates) -> Self {
        let config = include_str!("../configs/kamailio-secure.cfg")
            .replace("@KEY@", &certificates.key.display().to_string())
            .replace("@CERTIFICATE@", &certificates.certificate.display().to_string())
            .replace("@CA@", &certificates.ca.display().to_string());
        Self::with_config(dir, &config)
    }

    /// Starts it on free ports, which stand for `@PORT@`, `@TLS@` and `@WS@` in the configuration.
    pub fn with_config(dir: &Dir, config: &str) -> Self {
        let [port, tls, ws] = [(); 3].map(|()| free_tcp_and_udp_port());
        let run = dir.file(&format!("kamailio-{port}"));
        std::fs::create_dir_all(&run).expect("Kamailio's folder");
        let streams =
            [("tcp:127.0.0.1:@PORT@", port), ("tls:127.0.0.1:@TLS@", tls), ("tcp:127.0.0.1:@WS@", ws)];
        let streams = streams.map(|(listener, port)| config.contains(listener).then_some(port));
        let config = config
            .replace("@PORT@", &port.to_string())
            .replace("@TLS@", &tls.to_string())
            .replace("@WS@", &ws.to_string());
        let config = dir.write(&format!("kamailio-{port}.cfg"), config);
        let arguments = [
            "-f".into(),
            config.display().to_string(),
            "-DD".into(),
            "-E".into(),
            "-m".into(),
            "64".into(),
            "-M".into(),
            "8".into(),
            "-P".into(),
            run.join("pid").display().to_string(),
            "-Y".into(),
            run.display().to_string(),
        ];
        let program = if std::path::Path::new("/usr/sbin/kamailio").is_file() {
            "/usr/sbin/kamailio"
        } else {
            "kamailio"
        };
        let process = Process::start(dir, &format!("kamailio-{port}-log"), program, arguments);
        wait_until_bound(port);
        streams.into_iter().flatten().for_each(wait_until_listening);
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { process, address: at(port), tls: at(tls), ws: at(ws) }
    }

    /// `sip:127.0.0.1:PORT`.
    pub fn uri(&self) -> String {
        format!("sip:{}", self.address)
    }
}
