//! What a file of settings may hold. The documentation of the fields is the reference, `docs/server-settings.md`.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::fault::Faults;
use super::value::{At, Described, Private, Setting, known_table, settings};
use crate::events::{EventLimits, Package};
use crate::protection::ProtectionConfig;
use crate::server::MsrpRelay;
use crate::{Limits, registrar};

fn texts(all: &[&str]) -> Vec<At<String>> {
    all.iter().map(|one| At::nowhere((*one).to_owned())).collect()
}

settings! {
    /// The whole file.
    File {
        /// Where to listen: `udp:ADDRESS:PORT`, and `tcp:`, `tls:`, `ws:` (WebSocket), `wss:` alike, IPv6 addresses in brackets.
        /// Without a word about it on the loopback interface alone, where nobody else can reach the server. A change needs a new start.
        listen: Vec<At<String>> = texts(&["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]),
        /// What others are told of a listener, for a server behind a NAT: `"udp:10.0.0.1:5060" = "203.0.113.7"`, with a port if it is
        /// another one there. The listener as it stands in `listen`. A change needs a new start.
        advertise: BTreeMap<At<String>, At<String>> = BTreeMap::new(),
        /// Networks whose balancers send the PROXY protocol's header (version 2), which is believed: for all listeners but those
        /// of UDP. A change needs a new start.
        proxy_protocol_from: Vec<At<String>> = Vec::new(),
        /// Origins of web pages that may connect over WebSocket, `https://phone.example.com`; without a word about it, any. Programs
        /// that are no browsers are not bound by it. A change needs a new start.
        websocket_origins: Option<Vec<At<String>>> = None,
        /// The domains whose users register here. The first one stands for the server's own addresses too, and is the realm.
        domains: Vec<At<String>> = Vec::new(),
        /// The realm of challenges; the first domain if it is not given. Passwords kept as `ha1` hold for one realm.
        realm: Option<At<String>> = None,
        /// Whether users prove who they are. `false` lets anybody register any name and call as anybody: for tests, and behind
        /// something that asks.
        authentication: bool = true,
        /// A file with a line `name:password` for each user, beside those of `[[user]]`. Its place is relative to that of this file.
        users_file: Option<At<String>> = None,
        /// A database with more users: a file of SQLite, its place relative to that of this file, or a PostgreSQL database by its URL,
        /// `postgres://user:password@host/database`. Read is a table `users` with the columns `name`, `password`, `ha1`, `ha1_sha256`,
        /// or what `users_query` says. It may be changed while the server runs; what was read is remembered for a minute. A change
        /// needs a new start.
        users_database: Option<At<String>> = None,
        /// The query for one user, for a table of another shape: `SELECT ha1 FROM subscriber WHERE username = $1`. The name stands for
        /// `$1` (PostgreSQL) or `?1` (SQLite); of the columns those named `password`, `ha1` and `ha1_sha256` count. A change needs a
        /// new start.
        users_query: Option<At<String>> = None,
        /// A file of authorities in PEM, one of which has issued the certificate of the PostgreSQL database; those of the system if it
        /// is not given. A database on this machine needs none with `?sslmode=disable` in its URL. A change needs a new start.
        users_database_authority: Option<At<String>> = None,
        /// Digest algorithms to offer, the most wanted first: `MD5`, `SHA-256`, `SHA-512-256`. Many phones know MD5 alone and give up
        /// when they see another; name `SHA-256` where none of them call.
        digest: Vec<At<String>> = texts(&["MD5"]),
        /// Send every new request that no rule decides on to this URI instead of looking its user up.
        next_hop: Option<At<String>> = None,
        /// Whether to stay in the path of dialogs (Record-Route). Calls to and from the outside depend on it.
        record_route: bool = true,
        /// Threads that carry messages, 64 at most: calls are shared out among them, each call to one. One is the cheapest and takes some
        /// ten thousand calls a second. Without, calls are one thread's, and the handshakes of TLS take place on all processors. A change
        /// needs a new start.
        threads: Option<At<u32>> = None,
        /// Heed the reports of next hops that have too much to do (RFC 7339). A change needs a new start.
        heed_overload: bool = false,
        /// Seconds of the session interval that every call gets at most, whether or not its phones ask for one (RFC 4028): a phone that is
        /// gone is noticed. From 90 on, 1800 is usual; without a word about it the phones decide.
        session_expires: Option<At<u32>> = None,
        /// Seconds of the shortest session interval that is let pass, at least 90, if `session_expires` is given.
        min_session_expires: At<u32> = At::nowhere(90),
        /// A file in which bindings are kept beside memory: what was acknowledged is there after the next start. Beside it lies
        /// `FILE.key`, with which calls go on over a restart. Its place is relative to that of this file. Or the URL of a Redis or Valkey,
        /// `redis://user:password@host`, `rediss:` over TLS, `redis+unix:///path` for a socket: several servers of the same domains then
        /// share their bindings, and reach each other's phones. `memory`: in memory alone. Without, `sip server` takes a file of its own
        /// ($STATE_DIRECTORY/location under systemd, else in $XDG_STATE_HOME/sip-server) where no port is 0; the library keeps them in memory.
        /// A change needs a new start.
        location: Option<At<String>> = None,
        /// Milliseconds after a 200 to REGISTER within which the disk has it, for a file. 0: before the 200 goes, so that a power cut
        /// loses nothing; the end of the program alone never does. A change needs a new start.
        location_flush: At<u32> = At::nowhere(0),
        /// What the keys in Redis begin with, `sip:location:` if it is not given: for several groups of servers in one. A change needs a
        /// new start.
        location_prefix: Option<At<String>> = None,
        /// A file of authorities in PEM, one of which has issued the certificate of the Redis at a `rediss:` URL; those of the system if
        /// it is not given. A change needs a new start.
        location_authority: Option<At<String>> = None,
        /// Certificates, for `tls:` and `wss:`.
        tls: Option<TlsSettings> = None,
        /// A capture server that gets every message.
        hep: Option<HepSettings> = None,
        /// How the registrar works.
        registrar: RegistrarSettings = RegistrarSettings::default(),
        /// What peers may make the server hold.
        limits: LimitSettings = LimitSettings::default(),
        /// Networks of servers that are trusted to say who calls, and who are told it whatever the caller wants hidden from others
        /// (RFC 3325), beside the gateways of trunks that are named by their address.
        trusted_peers: Vec<At<String>> = Vec::new(),
        /// Sources that are not heard for a while: those that guess passwords, look for users, scan or flood.
        protection: ProtectionSettings = ProtectionSettings::default(),
        /// What the program does beside the calls.
        operation: OperationSettings = OperationSettings::default(),
        /// Presence, waiting messages and registrations for those who subscribe to them.
        events: EventSettings = EventSettings::default(),
        /// Messages for users who are away.
        messages: MessageSettings = MessageSettings::default(),
        /// A relay of session messages and files.
        msrp: MsrpSettings = MsrpSettings::default(),
        /// What holds for all routing.
        routing: RoutingSettings = RoutingSettings::default(),
        /// A user.
        user: Vec<UserSettings> = Vec::new(),
        /// Other names: `sales = "alice"`. What they lead to is a user, a hunt group, a number of the dial plan, or a URI.
        aliases: BTreeMap<At<String>, At<String>> = BTreeMap::new(),
        /// A change of called numbers, before anything else looks at them. All that match are made, in the order of the file.
        rewrite: Vec<RewriteSettings> = Vec::new(),
        /// A static route. The first that matches is taken, after the names of users, aliases and hunt groups. Everything that it
        /// names has to match; exactly one of `to`, `via`, `trunk`, `redirect`, `reject` says what it does.
        route: Vec<RouteSettings> = Vec::new(),
        /// Several users under one name.
        hunt_group: Vec<HuntGroupSettings> = Vec::new(),
        /// Somebody who is not let through. Everything that it names has to match.
        block: Vec<BlockSettings> = Vec::new(),
        /// A way to another network.
        trunk: Vec<TrunkSettings> = Vec::new(),
    }
}

settings! {
    /// `[tls]`
    TlsSettings {
        /// Our certificate, with those between it and the authority, in PEM.
        certificate: Option<At<String>> = None,
        /// The certificate's private key in PEM, if it is not in the same file.
        key: Option<At<String>> = None,
        /// Files of authorities to trust instead of the system's.
        authorities: Vec<At<String>> = Vec::new(),
        /// Files of authorities whose certificates prove users of ours: who shows one is not asked for a password, and is the users that
        /// its subjectAltName names by their addresses, `URI:sip:alice@example.com`, or without any `sip` URI by `email:`. Others from
        /// there are refused with 403. A user of `[[user]]` needs no password then. Authorities of servers prove no user.
        user_authorities: Vec<At<String>> = Vec::new(),
        /// Files of certificates that their authorities have taken back (RFC 5280 §5), in PEM or DER: nobody is believed who is in one.
        /// Of authorities without a list all are believed. Read again at SIGHUP; connections that stand are not asked again.
        revocation_lists: Vec<At<String>> = Vec::new(),
        /// What is asked of those who connect to us: `ignore` (no certificate), `ask` (one if they have it), `require`.
        clients: At<String> = At::nowhere("ignore".into()),
    }
}

settings! {
    /// `[msrp]`: chats in sessions and files between phones that cannot connect to each other (RFC 4976), for the users of `[[user]]` and
    /// `users_file`. It takes what its users send to any address that is not this machine's.
    MsrpSettings {
        /// Where the relay listens, `0.0.0.0:2855`, over TLS alone and with the certificate of `[tls]`. Without, there is none. A change
        /// needs a new start.
        relay: Option<At<String>> = None,
        /// Where it listens for WebSockets too, `0.0.0.0:8443` (RFC 7977), over TLS with the same certificate: for pages in browsers, those
        /// of `websocket_origins`. A change needs a new start.
        websockets: Option<At<String>> = None,
        /// The host that phones and other relays connect to, for which the certificate is; the first domain if it is not given. A change
        /// needs a new start.
        host: Option<At<String>> = None,
        /// Seconds for which the URIs that it hands out are good at most, from 60 on; phones renew them or their sessions end. A change needs
        /// a new start.
        expires: At<u32> = At::nowhere(MsrpRelay::EXPIRES),
        /// Connections at one time; more are closed. A change needs a new start.
        connections: usize = MsrpRelay::CONNECTIONS,
        /// Connections from one address at one time. A change needs a new start.
        connections_per_source: usize = MsrpRelay::PER_SOURCE,
    }
}

settings! {
    /// `[hep]`
    HepSettings {
        /// The capture server's `ADDRESS:PORT`.
        collector: At<String> = At::default(),
        /// Our number as capture agent.
        id: u32 = 2001,
        /// The key that the capture server asks for.
        key: Option<Private> = None,
    }
}

settings! {
    /// `[registrar]`
    RegistrarSettings {
        /// Seconds of a binding whose REGISTER names none.
        default_expires: At<u32> = At::nowhere(registrar::Config::DEFAULT_EXPIRES),
        /// The shortest time that is granted, in seconds; shorter requests get 423. At most 3600.
        min_expires: At<u32> = At::nowhere(registrar::Config::MIN_EXPIRES),
        /// The longest time that is granted, in seconds.
        max_expires: At<u32> = At::nowhere(registrar::Config::MAX_EXPIRES),
        /// Proxies that users shall pass on their way out, the first one first, `sip:edge.example.com;lr`: phones are told it when they
        /// register (Service-Route, RFC 3608).
        service_route: Vec<At<String>> = Vec::new(),
        /// Bindings of one user; more get 403.
        max_bindings: usize = registrar::Config::MAX_BINDINGS,
    }
}

settings! {
    /// `[limits]`
    LimitSettings {
        /// Requests under way. Above, new ones get 503; BYE passes.
        contexts: At<usize> = At::nowhere(Limits::CONTEXTS),
        /// Branches of one request, all steps together.
        branches: At<usize> = At::nowhere(Limits::BRANCHES),
        /// Bindings in memory. A change needs a new start.
        bindings: At<usize> = At::nowhere(Limits::BINDINGS),
        /// Questions to a location store or router outside that wait for their answer.
        questions: At<usize> = At::nowhere(Limits::QUESTIONS),
        /// Seconds for which such an answer is awaited.
        question_timeout: At<u32> = At::nowhere(8),
    }
}

settings! {
    /// `[protection]`
    ProtectionSettings {
        /// Whether sources are watched. They are not where nobody has to prove who he is.
        on: bool = true,
        /// Networks that are always heard: trunks that are named by a host name, the own office, health checks. Loopback and the
        /// addresses of gateways are trusted anyway.
        trusted: Vec<At<String>> = Vec::new(),
        /// Wrong passwords in a minute. One more, and the source is shut out; where users of ours have proven themselves lately, only
        /// the guessed name is refused.
        wrong_passwords: u32 = ProtectionConfig::WRONG_PASSWORDS,
        /// Requests in a minute to users that do not exist, or to elsewhere without leave. One more, and the source is shut out.
        probes: u32 = ProtectionConfig::PROBES,
        /// Requests in a second from a source without users of ours. What comes above is dropped.
        requests_per_second: u32 = ProtectionConfig::REQUESTS_PER_SECOND,
        /// Beginnings of the User-Agent values of programs that search for victims.
        scanners: Vec<At<String>> = texts(&ProtectionConfig::SCANNERS),
        /// Seconds for which a source is shut out the first time. They double each time.
        ban: u32 = 600,
        /// The most of them.
        longest_ban: u32 = 86_400,
    }
}

settings! {
    /// `[events]`: SUBSCRIBE and PUBLISH are answered by the server, for all phones of a user, instead of going to one of them.
    EventSettings {
        /// Whether they are.
        on: bool = true,
        /// For these packages; others go to the phones.
        packages: Vec<At<String>> = Package::ALL.iter().map(|it| At::nowhere(it.name().to_owned())).collect(),
        /// What users may see of each other: `allow`, `confirm` (nothing until the other one agrees), `polite-block` (somebody who is
        /// away), `block`. Users may be of another mind, in `[user.watchers]`.
        users: At<String> = At::nowhere("allow".into()),
        /// What those may see who prove nothing.
        strangers: At<String> = At::nowhere("block".into()),
        /// Whether who is registered and publishes nothing is shown as there.
        from_registrations: bool = true,
        /// Whether who is in a call and publishes nothing is shown as on the phone.
        from_calls: bool = true,
        /// The file of SQLite in which subscriptions and publications outlive a restart, which is made if it is not there; it may be
        /// that of the messages. Changes are written within a second: a crash may lose those of the last one, and the phones
        /// concerned subscribe or publish anew. Its place is relative to that of this file. A change needs a new start.
        file: Option<At<String>> = None,
        /// Seconds of a SUBSCRIBE or PUBLISH that names none.
        default_expires: At<u32> = At::nowhere(3600),
        /// The shortest time that is granted, in seconds; shorter requests get 423.
        min_expires: At<u32> = At::nowhere(60),
        /// The longest time that is granted, in seconds.
        max_expires: At<u32> = At::nowhere(7200),
        /// Subscriptions at one time, some 900 octets each. Above, new ones get 503.
        subscriptions: usize = EventLimits::SUBSCRIPTIONS,
        /// Subscriptions from one address. Above, new ones get 480. Trusted peers are not counted.
        per_source: usize = EventLimits::PER_SOURCE,
        /// Watchers of one user. Above, new ones get 480.
        per_user: usize = EventLimits::PER_RESOURCE,
        /// Users whose state phones can subscribe to at once (RFC 4662).
        list: Vec<EventListSettings> = Vec::new(),
    }
}

settings! {
    /// `[[events.list]]`
    EventListSettings {
        /// The name that is subscribed to: no user's.
        name: At<String> = At::nowhere(String::new()),
        /// The users, by name or as `user@domain`; at most 200.
        members: Vec<At<String>> = Vec::new(),
    }
}

settings! {
    /// `[messages]`: kept with 202 for users who are away, and delivered in order when they register.
    MessageSettings {
        /// The file of SQLite in which they are, which is made if it is not there; without it none are kept. Its place is relative to
        /// that of this file. A change needs a new start.
        file: Option<At<String>> = None,
        /// Messages for one user at a time. A change needs a new start.
        per_user: usize = 100,
        /// Users with messages at a time: where users are in a database a sender must not fill the disk with messages for made-up names.
        /// Messages for further users are not kept. A change needs a new start.
        users: usize = 100_000,
        /// Days for which one is kept, unless its Expires says less. A change needs a new start.
        days: u32 = 7,
    }
}

settings! {
    /// `[user.watchers]`: who may see whether this user is there. A watcher is a user's name, or `user@domain`.
    WatcherSettings {
        /// See it.
        allow: Vec<At<String>> = Vec::new(),
        /// See it when this user has agreed.
        confirm: Vec<At<String>> = Vec::new(),
        /// See somebody who is away.
        polite_block: Vec<At<String>> = Vec::new(),
        /// Are refused.
        block: Vec<At<String>> = Vec::new(),
        /// All others: `allow`, `confirm`, `polite-block`, `block`; without, what `[events]` says.
        others: Option<At<String>> = None,
    }
}

settings! {
    /// `[operation]`
    OperationSettings {
        /// A file to which a record of every call is appended, a line of JSON each. Its place is relative to that of this file. A
        /// change needs a new start.
        call_records: Option<At<String>> = None,
        /// Answer `/metrics` (Prometheus), `/healthz` and `/readyz` by HTTP at this `ADDRESS:PORT`, which strangers should not reach. A
        /// change needs a new start.
        http: Option<At<String>> = None,
        /// When told to end, first take nothing new for up to so many seconds, until what is under way is done. A change needs a new
        /// start.
        drain: u32 = 0,
    }
}

settings! {
    /// `[routing]`
    RoutingSettings {
        /// Whether users may call foreign domains that no route names. Without a word about it: yes if there is no trunk, else no,
        /// so that no gateway is called around the dial plan. A trunk's gateways are never called so.
        foreign_domains: Option<bool> = None,
        /// Numbers that no block list stops, as they are dialled or re-written.
        emergency: Vec<At<String>> = texts(&["112", "911"]),
        /// The status for users who do not want to be disturbed: 480, 486, 600 or 603.
        do_not_disturb: At<u16> = At::nowhere(480),
        /// Whether 300, 301 and 302 of a callee are followed here instead of by the caller: with the caller's rights, and to nowhere that
        /// the caller may not call by the rules of this file.
        recurse_redirects: bool = false,
        /// Whether callers who want it are told of phones that have given up while others ring still (199, RFC 6228).
        early_ends: bool = true,
        /// Whether History-Info (RFC 7044) tells of calls that were forwarded.
        history: bool = true,
        /// Whether it tells of each phone too that a request was sent to, with what came of it: the phones of a user are told each
        /// other's addresses.
        history_contacts: bool = false,
        /// Whether Diversion (RFC 5806) does.
        diversion: bool = true,
        /// Whether trunks, and foreign domains in calls with them, are shown neither our other proxies nor the addresses of our phones:
        /// Via, Record-Route and Contact name this server alone, and carry what they stand for sealed; so does Refer-To where it
        /// asks for a call in place of another one, and Referred-By of that REFER names the user. `location` keeps the key of it over
        /// restarts. Other fields and bodies leave as they are, and so does a REGISTER of a phone to elsewhere.
        hide_topology: At<bool> = At::nowhere(false),
    }
}

settings! {
    /// `[[user]]`
    UserSettings {
        /// The user part, good in every domain of ours, or `user@domain`.
        name: At<String> = At::default(),
        /// The password. One of `password`, `ha1` and `ha1_sha256` is needed where users prove who they are, and not by certificates.
        password: Option<At<Private>> = None,
        /// In its stead: MD5 of `name:realm:password`, in hexadecimal.
        ha1: Option<At<Private>> = None,
        /// The same by SHA-256.
        ha1_sha256: Option<At<Private>> = None,
        /// Where calls go when and if.
        forward: ForwardSettings = ForwardSettings::default(),
        /// Calls are refused, or go where `forward.busy` says.
        do_not_disturb: bool = false,
        /// Who may see whether the user is there.
        watchers: WatcherSettings = WatcherSettings::default(),
    }
}

settings! {
    /// `[user.forward]`: each a user, alias, hunt group, number of the dial plan, or URI.
    ForwardSettings {
        /// Instead of the user's phones.
        always: Option<At<String>> = None,
        /// If they are busy.
        busy: Option<At<String>> = None,
        /// If nobody answers within `after` seconds.
        no_answer: Option<At<String>> = None,
        /// How many seconds they ring.
        after: At<u32> = At::nowhere(20),
        /// If none is registered or can be reached.
        unreachable: Option<At<String>> = None,
    }
}

settings! {
    /// `[[rewrite]]`
    RewriteSettings {
        /// A regular expression that the whole number matches.
        pattern: At<String> = At::default(),
        /// The new number; `$1` or `${1}` is what the first group has matched.
        replace: At<String> = At::default(),
    }
}

settings! {
    /// `[[route]]`
    RouteSettings {
        /// A regular expression that the whole number or user part matches.
        pattern: Option<At<String>> = None,
        /// How the number begins.
        prefix: Option<At<String>> = None,
        /// The domain of the Request-URI; without, only our own match.
        domain: Option<At<String>> = None,
        /// Methods, `INVITE`; without, all.
        methods: Vec<At<String>> = Vec::new(),
        /// Networks that the request comes from, `192.0.2.0/24`.
        from_network: Vec<At<String>> = Vec::new(),
        /// Users that the sender has proved to be one of.
        users: Vec<At<String>> = Vec::new(),
        /// Who may leave by it: `users`, who have proved to be ours, or `anyone`. Mind toll fraud.
        callers: At<String> = At::nowhere("users".into()),
        /// Whether it takes the names of users, aliases and hunt groups too.
        before_users: bool = false,
        /// Call this user, alias, hunt group, number or URI instead; `$1` is what the first group has matched.
        to: Option<At<String>> = None,
        /// Send it to this next hop, the Request-URI as it is.
        via: Option<At<String>> = None,
        /// Forward it to `via` without transactions (RFC 3261 §16.11): nothing is kept of it, and its retransmissions pass as they come. For
        /// `callers = "anyone"`, since nobody is asked who he is; calls are in no call record. Requests in its dialogs go so, too.
        stateless: At<bool> = At::nowhere(false),
        /// Send it to this trunk.
        trunk: Option<At<String>> = None,
        /// The number for the trunk, if not the one that was called; `$1` is what the first group has matched.
        number: Option<At<String>> = None,
        /// Answer 302 with these URIs.
        redirect: Vec<At<String>> = Vec::new(),
        /// Answer with this status, 400 to 699.
        reject: Option<At<u16>> = None,
    }
}

settings! {
    /// `[[hunt_group]]`
    HuntGroupSettings {
        /// Its name.
        name: At<String> = At::default(),
        /// `parallel`, `serial` or `round-robin`.
        strategy: At<String> = At::nowhere("parallel".into()),
        /// Users, numbers of the dial plan, or URIs. Their own forwarding does not count here; do-not-disturb does.
        members: Vec<At<String>> = Vec::new(),
        /// Seconds for which each, or all together, may ring.
        ring: At<u32> = At::nowhere(20),
        /// Who is called if nobody answers.
        otherwise: Option<At<String>> = None,
    }
}

settings! {
    /// `[[block]]`
    BlockSettings {
        /// A regular expression that the whole user part of From matches, or `user@host`.
        caller: Option<At<String>> = None,
        /// Networks that the request comes from.
        source: Vec<At<String>> = Vec::new(),
        /// A regular expression that the whole called number matches, as it was dialled or re-written.
        called: Option<At<String>> = None,
        /// The answer, 400 to 699.
        status: At<u16> = At::nowhere(403),
    }
}

settings! {
    /// `[[trunk]]`
    TrunkSettings {
        /// Its name.
        name: At<String> = At::default(),
        /// Its gateways. One that cannot be reached, is silent or answers 503 gives way to the next.
        gateways: Vec<GatewaySettings> = Vec::new(),
        /// How many characters are taken off the beginning of a number.
        strip: usize = 0,
        /// What is put before it then.
        add: String = String::new(),
        /// Our user name there: challenges of the gateways are answered, in calls and in their dialogs.
        username: Option<At<String>> = None,
        /// The password that goes with it.
        password: Option<At<Private>> = None,
        /// The realm that they hold for; without, any that the gateways name.
        realm: Option<At<String>> = None,
        /// Who we say is calling, in P-Asserted-Identity: `sip:+4930100@example.com`. What callers assert of themselves is taken out in
        /// any case.
        asserted_identity: Option<At<String>> = None,
        /// The same in P-Preferred-Identity, for a carrier of which we are a customer and which picks the number itself. One of the two.
        preferred_identity: Option<At<String>> = None,
        /// How many calls may go out by it at a time. One more is answered 503, if the rules name nobody else. A call is counted until its
        /// BYE, or until nothing was heard of it for a day: `session_expires` makes sure that something is.
        max_calls: Option<At<usize>> = None,
        /// Networks that its calls come from, `192.0.2.0/28`, beside the gateways that are named by their address. Who calls from there is
        /// not asked for a password, is believed in P-Asserted-Identity, and is always heard (`[protection]`).
        addresses: Vec<At<String>> = Vec::new(),
        /// Whether it is shown neither our other proxies nor the addresses of our phones, as `routing.hide_topology` has it. Without a word
        /// about it as that says.
        hide_topology: Option<At<bool>> = None,
        /// The name in the certificate of its TLS connections, `sip.carrier.example`, whatever its addresses (RFC 5922): what comes
        /// over one that proves it is the trunk's, as what comes from `addresses`, if `[tls]` has `clients = "ask"`; and a gateway
        /// that is called over TLS has to prove it instead of the host of its URI.
        tls_name: Option<At<String>> = None,
        /// Who the trunk may say is calling: regular expressions that all of `user@host` in From has to match, as in `\+.*@.*`. Another
        /// From is refused with 403, a caller who withholds the number is not. Without it the trunk may use any From, ours too.
        from: Option<Vec<At<String>>> = None,
        /// Ask the gateways whether they are there.
        check: Option<CheckSettings> = None,
        /// Register at the carrier's registrar.
        registration: Option<RegistrationSettings> = None,
    }
}

settings! {
    /// `[trunk.check]`: OPTIONS at intervals. A gateway that is down is called only if all are.
    CheckSettings {
        /// Seconds from one answer to the next question.
        interval: At<u32> = At::nowhere(30),
        /// Failures in a row (silence, no connection, 408, 503) after which a gateway is down.
        falls: At<u32> = At::nowhere(3),
        /// Answers in a row after which it is up again.
        rises: At<u32> = At::nowhere(2),
    }
}

settings! {
    /// `[trunk.registration]`: kept up by the server, with `username` and `password` of the trunk.
    RegistrationSettings {
        /// The registrar, `sip:carrier.example`.
        registrar: At<String> = At::default(),
        /// Our address there, `sip:us@carrier.example`.
        address: At<String> = At::default(),
        /// The user, alias, hunt group or number of ours that calls reach which the carrier sends to our registration.
        contact: At<String> = At::default(),
        /// Seconds to ask for.
        expires: At<u32> = At::nowhere(3600),
    }
}

settings! {
    /// `[[trunk.gateways]]`
    GatewaySettings {
        /// Its URI without user part, `sip:gateway.example.net` or `sip:192.0.2.9:5080;transport=tcp`.
        uri: At<String> = At::default(),
        /// Lower is tried first.
        priority: u16 = 0,
        /// Its share among those of the same priority.
        weight: u16 = 1,
    }
}
