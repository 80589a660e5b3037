//! What a request of one route must pass.

use std::sync::Arc;

use archipel_model::Cidr;
use http::{HeaderMap, Method, Request, header};

use crate::guard::auth::Rule;
use crate::guard::client::is_trusted as is_in;
use crate::guard::cors::{CorsRule, preflight};
use crate::guard::gate::{Gate, Stop, Visit};
use crate::guard::harden::Changes;
use crate::guard::limit::{Limit, Who};
use crate::refusal::{Problem, Refusal};

pub(crate) struct Ward {
    pub(crate) gate: Arc<Gate>,
    pub(crate) rule: String,
    /// By what is known of a request at once.
    pub(crate) limits: Vec<Arc<Limit>>,
    /// By what is only known after `auth`.
    pub(crate) identity_limits: Vec<Arc<Limit>>,
    pub(crate) auth: Option<Arc<Rule>>,
    pub(crate) scopes: Vec<String>,
    pub(crate) cors: Option<CorsRule>,
    pub(crate) allow: Vec<Cidr>,
    pub(crate) deny: Vec<Cidr>,
    pub(crate) request: Changes,
    pub(crate) response: Changes,
}

impl Ward {
    /// Of requests that find no route.
    pub(crate) fn of_nowhere(gate: Arc<Gate>) -> Self {
        Self {
            gate,
            rule: "routes".to_owned(),
            limits: Vec::new(),
            identity_limits: Vec::new(),
            auth: None,
            scopes: Vec::new(),
            cors: None,
            allow: Vec::new(),
            deny: Vec::new(),
            request: Changes::default(),
            response: Changes::default(),
        }
    }

    /// `found`: what the router says.
    pub(crate) async fn admit<B>(
        &self,
        found: Result<(), Refusal>,
        request: &mut Request<B>,
        visit: &mut Visit,
    ) -> Result<(), Stop> {
        if let Err(refusal) = &found
            && matches!(refusal.problem, Problem::BadFraming | Problem::BadRequest)
        {
            return Err(Stop::Refuse(refusal.clone()));
        }
        self.gate.pass(request, visit, &self.rule)?;
        found?;
        self.address(visit)?;
        if let Some(cors) = &self.cors {
            if let Some(asked) = preflight(request.method(), request.headers()) {
                let answer = cors.answer(&asked, request.headers(), &self.rule)?;
                return Err(Stop::Answer(Box::new(answer)));
            }
            visit.origin = cors.origin(request.headers());
        }
        self.count(&self.limits, request.headers(), visit)?;
        if let Some(auth) = &self.auth {
            let known = auth.identify(request.headers()).await;
            let identity = known.map_err(|fault| {
                let (refusal, challenge) = auth.refuse(fault);
                visit.challenge = challenge;
                refusal
            })?;
            if let Some(scope) = auth.missing_scope(&identity, &self.scopes) {
                let (refusal, challenge) = auth.refuse_scope(scope);
                visit.challenge = Some(challenge);
                return Err(refusal.into());
            }
            auth.introduce(&identity, request.headers_mut());
            visit.identity = Some(identity);
        }
        self.count(&self.identity_limits, request.headers(), visit)?;
        self.request.apply(request.headers_mut());
        Ok(())
    }

    fn address(&self, visit: &Visit) -> Result<(), Refusal> {
        let addr = visit.client.addr;
        let allowed = self.allow.is_empty() || is_in(&self.allow, addr);
        if allowed && !is_in(&self.deny, addr) {
            return Ok(());
        }
        let list = if allowed { "deny" } else { "allow" };
        let detail = format!("the address {addr} may not come in here (`{list}` of the route)");
        Err(Refusal::new(Problem::AddressDenied, format!("{list} of {}", self.rule), detail))
    }

    fn count(
        &self,
        limits: &[Arc<Limit>],
        headers: &HeaderMap,
        visit: &mut Visit,
    ) -> Result<(), Refusal> {
        for limit in limits {
            let identity = visit.identity.as_deref();
            let who = Who {
                ip: visit.client.addr,
                headers,
                consumer: identity.and_then(|identity| identity.consumer.as_deref()),
                user: identity.and_then(|identity| identity.user.as_deref()),
                route: &self.rule,
            };
            let standing = limit.take(&who, visit.now);
            visit.told.add(limit, &standing);
            if !standing.admitted {
                return Err(limit.refusal(&standing));
            }
        }
        Ok(())
    }

    /// Adds to the answer, ours or the app's, what the entrance and the route say.
    pub(crate) fn dress(&self, visit: &mut Visit, headers: &mut HeaderMap) {
        if let Some(cors) = &self.cors
            && !headers.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS)
        {
            cors.put(headers, visit.origin.take());
        }
        self.response.apply(headers);
        self.gate.dress(visit, headers);
    }

    /// Whether a preflight for this route is for us to answer.
    pub(crate) fn answers_preflights(&self) -> bool {
        self.cors.is_some()
    }
}

/// The method whose route a request is about: a preflight asks about another than its own.
pub(crate) fn asked(method: &Method, headers: &HeaderMap) -> Option<Method> {
    preflight(method, headers)
}
