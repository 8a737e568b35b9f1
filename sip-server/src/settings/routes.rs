//! Rules out of settings, with everything that one of them names looked up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sip_auth::Secret;
use sip_message::{Method, StatusCode, Uri};

use super::check::{networks, sip_uri};
use super::fault::{Faults, did_you_mean};
use super::file::{BlockSettings, File, RegistrationSettings, RouteSettings, TrunkSettings};
use super::names::Names;
use super::value::At;
use crate::Users;
use crate::routing::rules::{
    Action, Block, Check, Gateway, Goal, Pattern, Rewrite, Route, RuleSet, Trunk, TrunkAccount,
    TrunkIdentity, TrunkRegistration, UserRules,
};

pub(super) fn compile(file: &File, users: Option<&Users>, open: bool, faults: &mut Faults) -> RuleSet {
    let mut set = RuleSet {
        domain: file.domains.first().map(|domain| domain.to_string()).unwrap_or_default(),
        foreign_domains: file.routing.foreign_domains,
        history: file.routing.history,
        history_contacts: file.routing.history_contacts,
        diversion: file.routing.diversion,
        hide: *file.routing.hide_topology,
        emergency: file.routing.emergency.iter().map(|number| number.to_string()).collect(),
        ..RuleSet::default()
    };
    let of_trunks = file.trunk.iter().filter_map(|trunk| trunk.hide_topology.as_ref());
    for hide in of_trunks.chain([&file.routing.hide_topology]).filter(|hide| ***hide && !file.record_route) {
        faults.add(hide.offset, "hide_topology: without record_route requests in dialogs would pass us by");
    }
    let dnd = &file.routing.do_not_disturb;
    let busy = status(dnd, [480, 486, 600, 603].contains(&**dnd), "480, 486, 600 or 603", faults);
    for rewrite in &file.rewrite {
        let pattern =
            pattern(required(&rewrite.pattern, rewrite.at, "a [[rewrite]] without pattern", faults), faults);
        groups_of(pattern.as_ref(), &rewrite.replace, faults);
        if let Some(pattern) = pattern {
            set.rewrites.push(Rewrite { pattern, replace: rewrite.replace.to_string() });
        }
    }
    for trunk in &file.trunk {
        let name = required(&trunk.name, trunk.at, "a trunk without a name", faults);
        let compiled = self::trunk(trunk, *file.routing.hide_topology, faults);
        if let Some(most) = trunk.max_calls.as_ref().filter(|_| !file.record_route) {
            faults.add(most.offset, "max_calls: without record_route the end of a call is not seen");
        }
        if let Some(name) = name
            && set.trunks.insert(name.to_string(), compiled).is_some()
        {
            faults.add(name.offset, format!("the trunk \"{}\" is there already", **name));
        }
    }
    set.routes = file.route.iter().filter_map(|one| route(one, file, users, open, faults)).collect();
    set.blocks = file.block.iter().filter_map(|one| block(one, faults)).collect();
    let more = (file.users_file.is_some() || file.users_database.is_some()) && !open;
    let names = Names { file, users, more, routes: set.routes.clone() };
    for user in &file.user {
        let rules = names.user(user, busy, faults);
        set.users.insert(user.name.to_string(), rules);
    }
    for name in users.into_iter().flat_map(Users::names) {
        set.users.entry(name.to_owned()).or_default();
    }
    for (name, goal) in &file.aliases {
        if let Some(goal) = names.goal(goal, faults) {
            set.aliases.insert(name.to_string(), goal);
        }
        names.unique(name, "alias", faults);
    }
    for group in &file.hunt_group {
        if let Some(name) = required(&group.name, group.at, "a hunt group without a name", faults) {
            names.unique(name, "hunt group", faults);
            let compiled = names.group(group, faults);
            if set.groups.insert(name.to_string(), compiled).is_some() {
                faults.add(name.offset, format!("the hunt group \"{}\" is there already", **name));
            }
        }
    }
    for route in &file.route {
        match (&route.to, &route.domain) {
            (Some(to), None) if !to.contains('$') => drop(names.goal(to, faults)),
            (Some(to), Some(_)) if !to.contains('$') => drop(sip_uri(to, faults)),
            _ => {}
        }
    }
    for registration in file.trunk.iter().filter_map(|trunk| trunk.registration.as_ref()) {
        if !registration.contact.is_empty() {
            names.goal(&registration.contact, faults);
        }
    }
    names.loops(&set, faults);
    // Nothing but users without wishes is no rule: their calls go the shortest way.
    let plain = set.users.values().all(|rules| *rules == UserRules::default());
    if plain && set.aliases.is_empty() && set.groups.is_empty() && set.routes.is_empty() {
        set.users = HashMap::new();
    }
    set
}

fn required<'t>(
    text: &'t At<String>,
    at: usize,
    message: &str,
    faults: &mut Faults,
) -> Option<&'t At<String>> {
    if text.is_empty() {
        faults.add(at, message);
    }
    Some(text).filter(|text| !text.is_empty())
}

fn pattern(text: Option<&At<String>>, faults: &mut Faults) -> Option<Pattern> {
    let text = text?;
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            // The parser draws a picture over several lines; its last one says what is wrong.
            let error = error.to_string();
            let said = error.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            let said = said.trim().trim_start_matches("error: ");
            faults.add(text.offset, format!("\"{}\" is no regular expression: {said}", **text));
            None
        }
    }
}

/// Whether `$1` has a group to stand for.
fn groups_of(pattern: Option<&Pattern>, template: &At<String>, faults: &mut Faults) {
    let there = pattern.map_or(0, Pattern::groups);
    for rest in template.split('$').skip(1) {
        let digits: String =
            rest.trim_start_matches('{').chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        match digits.parse::<usize>() {
            Ok(number) if number > there => {
                faults.add(
                    template.offset,
                    format!("${number}: the pattern has {there} groups in parentheses"),
                );
            }
            Err(_) if digits.starts_with(|c: char| c.is_ascii_digit()) => {
                let number: String = digits.chars().take_while(char::is_ascii_digit).collect();
                faults
                    .add(template.offset, format!("${digits} is a name; write ${{{number}}} before letters"));
            }
            _ => {}
        }
    }
}

fn status(code: &At<u16>, allowed: bool, which: &str, faults: &mut Faults) -> StatusCode {
    let status = StatusCode::new(**code).filter(|_| allowed);
    if status.is_none() {
        faults.add(code.offset, format!("{} is no status for this: expected {which}", **code));
    }
    status.unwrap_or(StatusCode::FORBIDDEN)
}

fn refusal(code: &At<u16>, faults: &mut Faults) -> StatusCode {
    status(code, (400..700).contains(&**code), "400 to 699", faults)
}

fn trunk(trunk: &TrunkSettings, hide: bool, faults: &mut Faults) -> Trunk {
    if trunk.gateways.is_empty() {
        faults.add(
            trunk.at,
            "a trunk without gateways: add gateways = [{ uri = \"sip:gateway.example.net\" }]",
        );
    }
    let gateways = trunk.gateways.iter().filter_map(|gateway| {
        let text = required(&gateway.uri, gateway.at, "a gateway without uri", faults)?;
        let uri = sip_uri(text, faults)?;
        if uri.user().is_some() {
            faults.add(text.offset, "the user part of a gateway's URI is the called number: leave it out");
        }
        Some(Gateway { uri, priority: gateway.priority, weight: gateway.weight })
    });
    let gateways = gateways.collect();
    let account = match (&trunk.username, &trunk.password) {
        (Some(username), Some(password)) => {
            let (username, secret) = (username.to_string(), Secret::password(password.as_str()));
            Some(TrunkAccount {
                username,
                secret,
                realm: trunk.realm.as_ref().map(|realm| realm.to_string()),
            })
        }
        (None, None) => None,
        (username, password) => {
            let at = username.as_ref().map(|one| one.offset).or(password.as_ref().map(|one| one.offset));
            faults.add(at.unwrap_or(trunk.at), "username and password go together: add the other one");
            None
        }
    };
    let mut identity_of = |text: &At<String>| match text.parse::<Uri>() {
        Ok(uri) => Some(uri),
        Err(error) => {
            faults.add(text.offset, format!("\"{}\" is no URI: {error}", **text));
            None
        }
    };
    let asserted = trunk.asserted_identity.as_ref().and_then(&mut identity_of);
    let preferred = trunk.preferred_identity.as_ref().and_then(&mut identity_of);
    if let (Some(_), Some(second)) = (&trunk.asserted_identity, &trunk.preferred_identity) {
        faults.add(second.offset, "asserted_identity is there already: a carrier takes the one or the other");
    }
    if let Some(most) = trunk.max_calls.as_ref().filter(|most| ***most == 0) {
        faults.add(most.offset, "max_calls: 0 would let no call out; leave it out for any number");
    }
    let hide = trunk.hide_topology.as_ref().map_or(hide, |hide| **hide);
    let tls_name = trunk.tls_name.as_ref().and_then(|name| domain_name(name, faults));
    let identity = Arc::new(TrunkIdentity { account, asserted, preferred, tls_name, hide });
    let check = trunk.check.as_ref().map(|check| {
        for (value, name, most) in
            [(&check.interval, "interval", 3600), (&check.falls, "falls", 100), (&check.rises, "rises", 100)]
        {
            if !(1..=most).contains(&**value) {
                faults.add(value.offset, format!("{name}: expected 1 to {most}"));
            }
        }
        let interval = Duration::from_secs(u64::from(*check.interval));
        Check { interval, falls: *check.falls, rises: *check.rises }
    });
    let registration = trunk.registration.as_ref().and_then(|one| registration(one, faults)).map(Arc::new);
    let max_calls = trunk.max_calls.as_deref().copied();
    let networks = networks(&trunk.addresses, faults);
    let from = trunk.from.as_ref();
    let from = from.map(|all| all.iter().filter_map(|one| pattern(Some(one), faults)).collect());
    let (strip, add) = (trunk.strip, trunk.add.clone());
    Trunk { gateways, strip, add, identity, check, max_calls, registration, networks, from }
}

/// A name that a certificate can prove (RFC 5922 §7.1).
fn domain_name(name: &At<String>, faults: &mut Faults) -> Option<Arc<str>> {
    let fits = sip_transport::identity::Identities::of_domain(name).proves(name);
    if !fits {
        faults.add(
            name.offset,
            format!("\"{}\" is no domain name: write it like \"sip.carrier.example\"", **name),
        );
    }
    fits.then(|| name.as_str().into())
}

fn registration(one: &RegistrationSettings, faults: &mut Faults) -> Option<TrunkRegistration> {
    let registrar = required(
        &one.registrar,
        one.at,
        "a registration without registrar: add registrar = \"sip:carrier.example\"",
        faults,
    );
    let address = required(
        &one.address,
        one.at,
        "a registration without address: add address = \"sip:us@carrier.example\"",
        faults,
    );
    let contact = required(
        &one.contact,
        one.at,
        "a registration without contact: add the name that its calls reach",
        faults,
    );
    if !(60..=86_400).contains(&*one.expires) {
        faults.add(one.expires.offset, "expires: expected 60 to 86400");
    }
    Some(TrunkRegistration {
        registrar: sip_uri(registrar?, faults)?,
        address: sip_uri(address?, faults)?,
        contact: contact?.to_string(),
        expires: *one.expires,
    })
}

fn block(block: &BlockSettings, faults: &mut Faults) -> Option<Block> {
    if block.caller.is_none() && block.called.is_none() && block.source.is_empty() {
        faults.add(
            block.at,
            "a [[block]] that names nobody would stop everybody: add caller, source or called",
        );
    }
    let before = (block.caller.is_some(), block.called.is_some());
    let caller = pattern(block.caller.as_ref(), faults);
    let called = pattern(block.called.as_ref(), faults);
    let compiled = before == (caller.is_some(), called.is_some());
    let source = networks(&block.source, faults);
    let status = refusal(&block.status, faults);
    compiled.then_some(Block { caller, source, called, status })
}

fn route(
    route: &RouteSettings,
    file: &File,
    users: Option<&Users>,
    open: bool,
    faults: &mut Faults,
) -> Option<Route> {
    let pattern = match &route.pattern {
        Some(text) => Some(pattern(Some(text), faults)?),
        None => None,
    };
    let action = action(route, pattern.as_ref(), file, faults)?;
    let anyone = match route.callers.as_str() {
        "anyone" => true,
        "users" => false,
        _ => {
            faults.add(route.callers.offset, "expected \"users\" or \"anyone\"");
            false
        }
    };
    let leaves = match &action {
        Action::Via(_) | Action::Trunk(..) => true,
        Action::To(text) => matches!(text.parse(), Ok(Goal::Uri(_))),
        _ => false,
    };
    if leaves && !anyone && !file.authentication {
        faults.add(
            route.at,
            "nobody proves to be a user (authentication = false), so nobody may leave by this route: write callers = \
             \"anyone\" if really anybody may",
        );
    }
    if *route.stateless && route.via.is_none() {
        faults.add(
            route.stateless.offset,
            "stateless goes with via: whatever comes again has to go to the same next hop",
        );
    }
    if *route.stateless && (!anyone || !route.users.is_empty()) {
        faults.add(
            route.stateless.offset,
            "stateless: without transactions nobody is asked who he is; write callers = \"anyone\", and no users",
        );
    }
    for user in &route.users {
        let known = file.user.iter().any(|one| *one.name == **user)
            || users.is_some_and(|users| users.contains(user))
            || ((file.users_file.is_some() || file.users_database.is_some()) && !open);
        if !known {
            let hint = did_you_mean(user, file.user.iter().map(|one| one.name.as_str()));
            faults.add(user.offset, format!("there is no user \"{}\"{hint}", **user));
        }
    }
    let methods = route.methods.iter().map(|name| {
        let method = Method::from(name.as_str());
        if let Method::Other(_) = method {
            faults.add(
                name.offset,
                format!("\"{}\" is no method that is known: write it like \"INVITE\"", **name),
            );
        }
        method
    });
    let methods = methods.collect();
    Some(Route {
        pattern,
        prefix: route.prefix.as_ref().map(|text| text.to_string()),
        domain: route.domain.as_ref().map(|text| text.to_string()),
        methods,
        from_network: networks(&route.from_network, faults),
        users: route.users.iter().map(|user| user.to_string()).collect(),
        anyone,
        before_users: route.before_users,
        stateless: *route.stateless,
        action,
    })
}

fn action(
    route: &RouteSettings,
    pattern: Option<&Pattern>,
    file: &File,
    faults: &mut Faults,
) -> Option<Action> {
    let named = [
        route.to.is_some(),
        route.via.is_some(),
        route.trunk.is_some(),
        !route.redirect.is_empty(),
        route.reject.is_some(),
    ];
    if named.iter().filter(|named| **named).count() != 1 {
        faults.add(route.at, "a route does one thing: name one of to, via, trunk, redirect, reject");
        return None;
    }
    if let (Some(number), None) = (&route.number, &route.trunk) {
        faults.add(number.offset, "number goes with trunk");
    }
    if let Some(to) = &route.to {
        groups_of(pattern, to, faults);
        return Some(Action::To(to.to_string()));
    }
    if let Some(via) = &route.via {
        return sip_uri(via, faults).map(Action::Via);
    }
    if let Some(name) = &route.trunk {
        if !file.trunk.iter().any(|trunk| *trunk.name == **name) {
            let hint = did_you_mean(name, file.trunk.iter().map(|trunk| trunk.name.as_str()));
            faults.add(name.offset, format!("there is no trunk \"{}\"{hint}", **name));
        }
        if let Some(number) = &route.number {
            groups_of(pattern, number, faults);
        }
        let number = route.number.as_ref().map(|number| number.to_string());
        return Some(Action::Trunk(name.to_string(), number));
    }
    if let Some(code) = &route.reject {
        return Some(Action::Reject(refusal(code, faults)));
    }
    let contacts: Vec<Option<Uri>> = route.redirect.iter().map(|text| sip_uri(text, faults)).collect();
    contacts.into_iter().collect::<Option<_>>().map(Action::Redirect)
}
