//! Makes gates and wards from what a table says, with what outlives tables: counts, keys, files.
//!
//! A table comes whenever an instance starts or ends. That must not give anybody a new burst,
//! nor fetch keys again. What the last table used is found by being equal, through weak
//! references: it lives exactly as long as some entrance uses it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use archipel_model::{
    AccessLog, Auth, Guard, Hidden, Jwt, KeySource, Route, SecretName, ServiceName,
};
use archipel_rt::clock::{self, Instant};

use crate::guard::auth::Rule;
use crate::guard::auth::keyring::{Keyring, Source};
use crate::guard::auth::password::Passwords;
use crate::guard::bots::BotRules;
use crate::guard::cors::CorsRule;
use crate::guard::gate::Gate;
use crate::guard::harden::{Changes, Hardening};
use crate::guard::limit::Limit;
use crate::guard::log::Writer;
use crate::guard::rate::Moments;
use crate::guard::ward::Ward;
use crate::shared::Shared;
use crate::upstream::service::Service;

/// RFC 7518, section 3.2: as long as the hash.
const SECRET_MIN: usize = 32;

pub(crate) struct Keep {
    epoch: Instant,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    moments: HashMap<String, Weak<Moments>>,
    rules: Vec<(Made, Weak<Rule>)>,
    logs: Vec<(AccessLog, Weak<Writer>)>,
}

/// All that a rule is made from.
#[derive(PartialEq)]
struct Made {
    name: String,
    auth: Auth,
    secrets: Vec<Option<Hidden>>,
    /// Identity of the service that is asked for keys.
    service: Option<usize>,
}

/// A gate with the rules that its routes name.
pub(crate) struct Built {
    pub(crate) gate: Arc<Gate>,
    limits: HashMap<String, Arc<Limit>>,
    auth: HashMap<String, Arc<Rule>>,
}

/// What rules are made with.
pub(crate) struct Means<'a> {
    pub(crate) secrets: &'a BTreeMap<SecretName, Hidden>,
    pub(crate) services: &'a BTreeMap<ServiceName, Arc<Service>>,
    pub(crate) shared: &'a Arc<Shared>,
}

impl Keep {
    pub(crate) fn new() -> Self {
        Self { epoch: clock::now(), kept: Mutex::default() }
    }

    pub(crate) fn build(&self, guard: &Guard, means: &Means<'_>) -> Built {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let limits: HashMap<String, Arc<Limit>> = guard
            .limits
            .iter()
            .map(|(name, rule)| {
                let moments = kept.moments(&format!("limit {name}"));
                (name.clone(), Arc::new(Limit::new(name, rule, moments)))
            })
            .collect();
        let auth: HashMap<String, Arc<Rule>> = guard
            .auth
            .iter()
            .map(|(name, auth)| (name.clone(), kept.rule(name, auth, means)))
            .collect();
        let bots = guard.bots.as_ref().map(|bots| BotRules::new(bots, &kept.moments("crawl")));
        let log = guard.access_log.as_ref().map(|log| kept.log(log, means.shared));
        kept.forget();
        drop(kept);
        let limits_of_all = &means.shared.limits;
        let gate = Gate {
            trusted: guard.trusted.clone(),
            bots,
            limits: guard.limit.iter().filter_map(|name| limits.get(name).cloned()).collect(),
            hardening: guard.headers.as_ref().map(Hardening::new).unwrap_or_default(),
            reasons: guard.reasons,
            identity_headers: auth.values().flat_map(|rule| rule.identity_headers()).collect(),
            log,
            epoch: self.epoch,
            connections_max: guard
                .connections_max
                .map_or(limits_of_all.connections_max / 4, |max| max as usize),
            connections_told: guard.connections_max.is_some(),
            head_max: guard.head_max.map(|bytes| bytes.0),
            headers_max: guard.headers_max,
        };
        Built { gate: Arc::new(gate), limits, auth }
    }
}

impl Built {
    /// `rule`: as refusals name the route.
    pub(crate) fn ward(&self, route: &Route, rule: &str) -> Ward {
        let own = &route.guard;
        let limits = own.limits.iter().filter_map(|name| self.limits.get(name).cloned());
        let (identity_limits, limits) = limits.partition(|limit| limit.needs_identity);
        let method = route.method.as_deref().and_then(|method| method.parse().ok());
        Ward {
            gate: Arc::clone(&self.gate),
            rule: rule.to_owned(),
            limits,
            identity_limits,
            // A name that leads nowhere must not open the door.
            auth: own.auth.as_ref().map(|name| match self.auth.get(name) {
                Some(rule) => Arc::clone(rule),
                None => {
                    let why = format!("the rule `{name}` is not defined");
                    Arc::new(Rule::broken(name, why))
                }
            }),
            scopes: own.scopes.clone(),
            cors: own.cors.as_ref().map(|cors| CorsRule::new(cors, method.as_ref())),
            allow: own.allow.clone(),
            deny: own.deny.clone(),
            request: Changes::new(&own.request_headers),
            response: Changes::new(&own.response_headers),
        }
    }
}

impl Kept {
    fn moments(&mut self, name: &str) -> Arc<Moments> {
        if let Some(moments) = self.moments.get(name).and_then(Weak::upgrade) {
            return moments;
        }
        let moments = Arc::new(Moments::new());
        self.moments.insert(name.to_owned(), Arc::downgrade(&moments));
        moments
    }

    fn log(&mut self, log: &AccessLog, shared: &Arc<Shared>) -> Arc<Writer> {
        let open = self.logs.iter().find(|(other, _)| other == log);
        if let Some(writer) = open.and_then(|(_, writer)| writer.upgrade()) {
            return writer;
        }
        let writer = Writer::open(log, &shared.tasks);
        self.logs.push((log.clone(), Arc::downgrade(&writer)));
        writer
    }

    fn rule(&mut self, name: &str, auth: &Auth, means: &Means<'_>) -> Arc<Rule> {
        let secret = |name: &SecretName| means.secrets.get(name).cloned();
        let made = Made {
            name: name.to_owned(),
            auth: auth.clone(),
            secrets: match auth {
                Auth::Jwt(jwt) => match &jwt.keys {
                    KeySource::Secret(name) => vec![secret(name)],
                    _ => Vec::new(),
                },
                Auth::Keys(keys) => keys.keys.values().map(secret).collect(),
                Auth::Basic(basic) => basic.users.values().map(secret).collect(),
            },
            service: match auth {
                Auth::Jwt(jwt) => match &jwt.keys {
                    KeySource::Service { service, .. } => {
                        means.services.get(service).map(|service| Arc::as_ptr(service) as usize)
                    }
                    _ => None,
                },
                _ => None,
            },
        };
        let same = self.rules.iter().find(|(other, _)| *other == made);
        if let Some(rule) = same.and_then(|(_, rule)| rule.upgrade()) {
            return rule;
        }
        let rule = Arc::new(new_rule(name, auth, means));
        self.rules.push((made, Arc::downgrade(&rule)));
        rule
    }

    fn forget(&mut self) {
        self.moments.retain(|_, moments| moments.strong_count() > 0);
        self.rules.retain(|(_, rule)| rule.strong_count() > 0);
        self.logs.retain(|(_, log)| log.strong_count() > 0);
    }
}

fn new_rule(name: &str, auth: &Auth, means: &Means<'_>) -> Rule {
    let holders = |names: &BTreeMap<String, SecretName>| -> Vec<(String, String)> {
        let value = |(who, secret): (&String, &SecretName)| {
            // Without a value nobody holds it: an empty one would let everybody in.
            let value = means.secrets.get(secret).map(Hidden::reveal).filter(|v| !v.is_empty())?;
            Some((who.clone(), value.to_owned()))
        };
        names.iter().filter_map(value).collect()
    };
    match auth {
        Auth::Jwt(jwt) => match source(name, jwt, means) {
            Ok(source) => {
                let stop = means.shared.tasks.stop_token().child_token();
                let keys = Keyring::open(name, source, means.shared, stop.clone());
                Rule::jwt(name, jwt, keys, stop)
            }
            Err(why) => {
                tracing::warn!(rule = name, why, "nobody can pass this rule");
                Rule::broken(name, why)
            }
        },
        Auth::Keys(keys) => {
            let all = holders(&keys.keys);
            let all = all.iter().map(|(who, key)| (who.as_str(), key.as_str()));
            let passwords = Passwords::keys(keys.header.as_deref(), keys.forward.as_deref(), all);
            Rule::password(name, passwords)
        }
        Auth::Basic(basic) => {
            let all = holders(&basic.users);
            let all = all.iter().map(|(who, key)| (who.as_str(), key.as_str()));
            Rule::password(name, Passwords::basic(basic.forward.as_deref(), all))
        }
    }
}

fn source(name: &str, jwt: &Jwt, means: &Means<'_>) -> Result<Source, String> {
    // As metrics and traces show who is asked for keys.
    let asked = || format!("keys-{name}").parse::<ServiceName>().map_err(|error| error.to_string());
    Ok(match &jwt.keys {
        KeySource::Secret(secret) => {
            let value = means.secrets.get(secret).map(Hidden::reveal).unwrap_or_default();
            if value.len() < SECRET_MIN {
                return Err(format!(
                    "the secret `{secret}` has no value of {SECRET_MIN} or more bytes"
                ));
            }
            Source::Secret(value.to_owned())
        }
        KeySource::File(file) => Source::File(file.clone()),
        KeySource::Url(url) => Source::Url(asked()?, url.clone()),
        KeySource::Service { service, path } => match means.services.get(service) {
            Some(service) => Source::Service(Arc::clone(service), path.clone()),
            None => return Err(format!("there is no service `{service}`")),
        },
        KeySource::Discovery => match &jwt.issuer {
            Some(issuer) => Source::Discovery(asked()?, issuer.clone()),
            None => return Err("it names neither keys nor an issuer".to_owned()),
        },
    })
}
