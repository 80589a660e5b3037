//! The rules of `[gateway.auth]`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use archipel_model::{Algorithm, ApiKeys, Auth, Basic, Jwt, KeySource, SecretName, ServiceName};

use super::guard::{GuardDraft, all};
use super::{Reader, Want, text, texts};
use crate::Code;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::source::{Sited, Span};
use crate::tree::Node;

const JWKS_PATH: &str = "/.well-known/jwks.json";
const LEEWAY_DEFAULT: Duration = Duration::from_secs(30);
/// More would keep a stolen token good for too long.
const LEEWAY_MAX: Duration = Duration::from_secs(600);

impl Reader<'_> {
    pub(super) fn auth_rules(&mut self, gateway: &Node, draft: &mut GuardDraft) {
        for (name, entry) in gateway.entries("auth") {
            if let Some(auth) = self.auth_rule(name, &entry.node, draft) {
                draft.guard.auth.insert(name.to_owned(), auth);
            }
        }
    }

    fn auth_rule(&mut self, name: &str, node: &Node, draft: &mut GuardDraft) -> Option<Auth> {
        let forward = text(node, "forward", Format::NonEmpty);
        let header = text(node, "header", Format::NonEmpty);
        for said in forward.iter().chain(&header) {
            self.header_name(said);
        }
        let jwt = node.get("jwt");
        if let (Some(header), None) = (&header, node.get("keys")) {
            self.misplaced(header.span, "`header` brings API keys, and this rule has no `keys`");
        }
        if let (Some(forward), Some(_)) = (&forward, jwt) {
            let why = "what a token says goes into `forward` of `jwt`, claim by claim";
            self.misplaced(forward.span, why);
        }
        let lower = |said: Option<Sited<&str>>| said.map(|said| said.value.to_ascii_lowercase());
        let (forward, header) = (lower(forward), lower(header));
        if let Some(jwt) = jwt {
            return self.jwt(name, jwt, draft).map(|jwt| Auth::Jwt(Box::new(jwt)));
        }
        if node.get("keys").is_some() {
            let keys = holders(node, "keys", draft);
            return Some(Auth::Keys(ApiKeys { header, keys, forward }));
        }
        node.get("basic")?;
        Some(Auth::Basic(Basic { users: holders(node, "basic", draft), forward }))
    }

    fn misplaced(&mut self, span: Span, why: &str) {
        self.out.report(Code::BadAuth, span, why).label("has no effect here").help("remove it");
    }

    fn jwt(&mut self, name: &str, node: &Node, draft: &mut GuardDraft) -> Option<Jwt> {
        node.table()?;
        let issuer = text(node, "issuer", Format::NonEmpty);
        let keys = self.key_source(name, node, issuer.as_ref(), draft)?;
        let algorithms = self.algorithms(node, &keys);
        let leeway = self.duration(node, "leeway").unwrap_or(LEEWAY_DEFAULT);
        if leeway > LEEWAY_MAX {
            let span = node.get("leeway").map(|node| node.span).unwrap_or_default();
            self.out
                .report(Code::BadAuth, span, "expired tokens would be accepted for too long")
                .label("at most 10m")
                .help("clocks differ by seconds; 30s is the default");
        }
        let audience = match node.get("audience") {
            Some(list) if list.list().is_some() => all(node, "audience"),
            _ => text(node, "audience", Format::NonEmpty)
                .iter()
                .map(|a| a.value.to_owned())
                .collect(),
        };
        let mut forward = BTreeMap::new();
        for (claim, entry) in node.entries("forward") {
            let Some(header) = entry.node.text() else { continue };
            let header = Sited { value: header, span: entry.node.span };
            if self.header_name(&header) {
                forward.insert(claim.to_owned(), header.value.to_ascii_lowercase());
            }
        }
        let claims = node
            .entries("claims")
            .filter_map(|(claim, entry)| Some((claim.to_owned(), entry.node.text()?.to_owned())));
        Some(Jwt {
            issuer: issuer.map(|issuer| issuer.value.to_owned()),
            audience,
            keys,
            algorithms,
            leeway,
            claims: claims.collect(),
            scopes: all(node, "scopes"),
            cookie: text(node, "cookie", Format::NonEmpty).map(|text| text.value.to_owned()),
            forward,
        })
    }

    fn key_source(
        &mut self,
        name: &str,
        node: &Node,
        issuer: Option<&Sited<&str>>,
        draft: &mut GuardDraft,
    ) -> Option<KeySource> {
        if let Some(file) = text(node, "jwks_file", Format::NonEmpty) {
            let what = format!("`jwks_file` of auth rule `{name}`");
            return Some(KeySource::File(self.path_beside_file(&file, Want::File, what)));
        }
        if let Some(secret) = text(node, "secret", Format::Name) {
            let name = SecretName::new(secret.value).ok()?;
            draft.secrets.push(Sited { value: name.clone(), span: secret.span });
            return Some(KeySource::Secret(name));
        }
        if let Some(jwks) = node.get("jwks") {
            if let Some(url) = text(node, "jwks", Format::HttpUrl) {
                return Some(KeySource::Url(url.value.to_owned()));
            }
            let said = text(jwks, "service", Format::Name)?;
            let service = ServiceName::new(said.value).ok()?;
            draft.services.push(Sited { value: service.clone(), span: said.span });
            let path = text(jwks, "path", Format::UrlPath);
            let path = path.map_or(JWKS_PATH, |path| path.value).to_owned();
            return Some(KeySource::Service { service, path });
        }
        let found = issuer.filter(|issuer| Format::HttpUrl.accepts(issuer.value));
        if found.is_none() {
            let at = issuer.map_or(node.span, |issuer| issuer.span);
            let message = format!("auth rule `{}` cannot tell where the keys are", shown(name));
            self.out
                .report(Code::BadAuth, at, message)
                .label("no keys to check tokens with")
                .help("add `jwks`, `jwks_file` or `secret`; or an `issuer` that is a URL, whose OpenID document says where");
            return None;
        }
        Some(KeySource::Discovery)
    }

    /// Those of `secret` and those of public keys never mix: a public key is no secret.
    fn algorithms(&mut self, node: &Node, keys: &KeySource) -> BTreeSet<Algorithm> {
        use Algorithm as A;
        let shared = matches!(keys, KeySource::Secret(_));
        let mut algorithms = BTreeSet::new();
        for said in texts(node, "algorithms", Format::NonEmpty) {
            let Some(algorithm) = Algorithm::parse(said.value) else { continue };
            if algorithm.is_shared_secret() == shared {
                algorithms.insert(algorithm);
                continue;
            }
            let (why, help) = match shared {
                true => (
                    "is checked with a public key, and this rule has a `secret`",
                    "HS256, HS384 or HS512",
                ),
                false => (
                    "is checked with a secret, and this rule has public keys",
                    "anybody could sign with a public key: take RS256, PS256, ES256, EdDSA or their like",
                ),
            };
            self.out
                .report(Code::BadAuth, said.span, format!("`{}` {why}", said.value))
                .label("cannot be used here")
                .help(help);
        }
        if algorithms.is_empty() {
            algorithms = match shared {
                true => [A::HS256].into(),
                false => [A::RS256, A::PS256, A::ES256, A::EdDSA].into(),
            };
        }
        algorithms
    }
}

fn holders(node: &Node, key: &str, draft: &mut GuardDraft) -> BTreeMap<String, SecretName> {
    let table = node.entries(key).filter_map(|(who, entry)| {
        let secret = text(&entry.node, "secret", Format::Name)?;
        let name = SecretName::new(secret.value).ok()?;
        draft.secrets.push(Sited { value: name.clone(), span: secret.span });
        Some((who.to_owned(), name))
    });
    table.collect()
}
