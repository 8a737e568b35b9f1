//! Sequences of operations, against a model that is a list and nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;

use super::{ALIASES, Full, Origin, Proof, Table};
use crate::identity::Identities;
use crate::limits::Limits;
use crate::path::{FlowId, Path, Transport};
use crate::tokio::socket::Socket;

const DOMAINS: [&str; 3] = ["a.example", "b.example", "127.0.0.1"];
const TRANSPORTS: [Transport; 3] = [Transport::Tcp, Transport::Tls, Transport::Ws];

#[derive(Clone, Debug)]
enum Operation {
    Accept {
        transport: usize,
        remote: u8,
    },
    Open {
        transport: usize,
        remote: u8,
        domain: Option<usize>,
    },
    /// The handshake of a connection ends, with what its peer has proven.
    Establish {
        which: usize,
        proven: Option<usize>,
    },
    Alias {
        which: usize,
        remote: u8,
    },
    CameFrom {
        which: usize,
        remote: u8,
    },
    Remove {
        which: usize,
    },
    Find {
        transport: usize,
        remote: u8,
        domain: Option<usize>,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let (transport, remote, which) = (0..TRANSPORTS.len(), 0..5_u8, 0..20_usize);
    let domain = proptest::option::of(0..DOMAINS.len());
    prop_oneof![
        3 => (transport.clone(), remote.clone()).prop_map(|(transport, remote)| Operation::Accept { transport, remote }),
        3 => (transport.clone(), remote.clone(), domain.clone())
            .prop_map(|(transport, remote, domain)| Operation::Open { transport, remote, domain }),
        4 => (which.clone(), domain.clone()).prop_map(|(which, proven)| Operation::Establish { which, proven }),
        2 => (which.clone(), remote.clone()).prop_map(|(which, remote)| Operation::Alias { which, remote }),
        1 => (which.clone(), remote.clone()).prop_map(|(which, remote)| Operation::CameFrom { which, remote }),
        3 => which.prop_map(|which| Operation::Remove { which }),
        6 => (transport, remote, domain)
            .prop_map(|(transport, remote, domain)| Operation::Find { transport, remote, domain }),
    ]
}

/// All remotes but one are on 127.0.0.1.
fn address(number: u8) -> SocketAddr {
    if number == 4 {
        "127.0.0.2:5060".parse().unwrap()
    } else {
        ([127, 0, 0, 1], 5060 + u16::from(number)).into()
    }
}

#[derive(Clone, Debug)]
struct Known {
    flow: FlowId,
    transport: Transport,
    remote: SocketAddr,
    aliases: Vec<SocketAddr>,
    accepted: bool,
    asked: Option<usize>,
    open: bool,
    proven: Option<usize>,
}

impl Known {
    fn leads_to(&self, remote: SocketAddr) -> bool {
        self.remote == remote || self.aliases.contains(&remote)
    }

    /// The rule in words: plain connections serve whoever is there; one that is being opened serves what it is opened for;
    /// an open secure one serves what its peer has proven, and the address that it came from serves itself.
    fn serves(&self, remote: SocketAddr, domain: Option<usize>) -> bool {
        if !self.transport.is_secure() {
            return true;
        }
        if !self.open {
            return !self.accepted && self.asked == domain;
        }
        let host = domain.map_or_else(|| remote.ip().to_string(), |domain| DOMAINS[domain].to_owned());
        let own = self.accepted && self.remote == remote && host == remote.ip().to_string();
        // Domains alone are proven here: no address is.
        let proven = self.proven.map(|proven| DOMAINS[proven]).filter(|proven| *proven != "127.0.0.1");
        own || proven == Some(host.as_str())
    }
}

fn run(operations: Vec<Operation>, socket: &Arc<Socket>) {
    let now = Instant::now();
    let limits = Limits { connections: 12, connections_per_source: 4, ..Limits::default() };
    let (mut table, mut model, mut next) = (Table::default(), Vec::<Known>::new(), 1_u64);
    for operation in operations {
        let pick = |which: usize| (!model.is_empty()).then(|| which % model.len().max(1));
        match operation {
            Operation::Accept { transport, remote } => {
                let (transport, remote) = (TRANSPORTS[transport], address(remote));
                let same = model.iter().filter(|one| one.accepted && one.remote.ip() == remote.ip()).count();
                let room = table.has_room(&limits, Some(remote.ip()));
                let expected = match () {
                    () if model.len() >= 12 => Err(Full::Total),
                    () if same >= 4 => Err(Full::Source),
                    () => Ok(()),
                };
                assert_eq!(room, expected);
                if room.is_ok() {
                    let flow = FlowId(next);
                    table.insert(flow, Path::to(transport, remote), Origin::Accepted(None), now);
                    let (aliases, asked, proven) = (Vec::new(), None, None);
                    model.push(Known {
                        flow,
                        transport,
                        remote,
                        aliases,
                        accepted: true,
                        asked,
                        open: false,
                        proven,
                    });
                    next += 1;
                }
            }
            Operation::Open { transport, remote, domain } => {
                let (transport, remote) = (TRANSPORTS[transport], address(remote));
                let room = table.has_room(&limits, None);
                assert_eq!(room.is_ok(), model.len() < 12);
                if room.is_ok() {
                    let flow = FlowId(next);
                    let asked = domain.map(|domain| Arc::from(DOMAINS[domain]));
                    table.insert(flow, Path::to(transport, remote), Origin::Opened(asked), now);
                    let aliases = Vec::new();
                    let (accepted, open, proven) = (false, false, None);
                    model.push(Known {
                        flow,
                        transport,
                        remote,
                        aliases,
                        accepted,
                        asked: domain,
                        open,
                        proven,
                    });
                    next += 1;
                }
            }
            Operation::Establish { which, proven } => {
                let Some(known) = pick(which).map(|at| &mut model[at]) else { continue };
                let connection = table.get_mut(known.flow).unwrap();
                connection.socket = Some(socket.clone());
                known.open = true;
                if known.transport.is_secure() {
                    connection.proof = match proven {
                        Some(proven) => Proof::Domains(Identities::of_domain(DOMAINS[proven]).into()),
                        None => Proof::Nothing,
                    };
                    known.proven = proven;
                }
            }
            Operation::Alias { which, remote } => {
                let Some(known) = pick(which).map(|at| &mut model[at]) else { continue };
                let remote = address(remote);
                table.alias(known.flow, remote);
                if !known.leads_to(remote) && known.aliases.len() < ALIASES {
                    known.aliases.push(remote);
                }
            }
            Operation::CameFrom { which, remote } => {
                let Some(known) = pick(which).map(|at| &mut model[at]) else { continue };
                // Told in the handshake of an accepted connection, before there can be aliases.
                if known.accepted && !known.open && known.aliases.is_empty() {
                    known.remote = address(remote);
                    table.came_from(known.flow, known.remote);
                }
            }
            Operation::Remove { which } => {
                let Some(at) = pick(which) else { continue };
                let known = model.remove(at);
                assert!(table.remove(known.flow).is_some());
                assert!(table.remove(known.flow).is_none() && table.get_mut(known.flow).is_none());
            }
            Operation::Find { transport, remote, domain } => {
                let (transport, remote) = (TRANSPORTS[transport], address(remote));
                let found = table.to_remote(transport, remote, domain.map(|domain| DOMAINS[domain]));
                let fits = |one: &&Known| {
                    one.transport == transport && one.leads_to(remote) && one.serves(remote, domain)
                };
                let newest = model.iter().filter(fits).map(|one| one.flow).max();
                assert_eq!(found, newest, "{transport} {remote} {domain:?} in {model:#?}");
            }
        }
        assert_eq!(table.len(), model.len());
        let addresses: usize = model.iter().map(|one| 1 + one.aliases.len()).sum();
        assert_eq!(table.by_remote.len(), addresses);
        assert_eq!(
            table.accepted_from.values().sum::<usize>(),
            model.iter().filter(|one| one.accepted).count()
        );
    }
    for known in model {
        table.remove(known.flow);
    }
    assert!(table.by_flow.is_empty() && table.by_remote.is_empty() && table.accepted_from.is_empty());
}

#[test]
fn a_table_of_connections_does_what_a_list_would_do() {
    let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let socket = runtime.block_on(async {
        let listener = ::tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = ::tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        Arc::new(Socket::plain(stream))
    });
    proptest!(ProptestConfig::with_cases(512), |(operations in proptest::collection::vec(operation(), 0..120))| {
        run(operations, &socket);
    });
    drop(socket);
}
