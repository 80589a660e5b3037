//! Headers that we add to answers, and those that a route changes.

use archipel_model::{HeaderChanges, SecurityHeaders};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// Security headers: where the app has its own, the app is right.
#[derive(Default)]
pub(crate) struct Hardening {
    always: Vec<(HeaderName, HeaderValue)>,
    /// On TLS only: browsers ignore it elsewhere, as they must.
    hsts: Option<HeaderValue>,
}

impl Hardening {
    pub(crate) fn new(rule: &SecurityHeaders) -> Self {
        let text = |text: &Option<String>| {
            text.as_deref().and_then(|text| HeaderValue::from_str(text).ok())
        };
        let nosniff = rule.nosniff.then(|| HeaderValue::from_static("nosniff"));
        let always = [
            (header::X_CONTENT_TYPE_OPTIONS, nosniff),
            (header::REFERRER_POLICY, text(&rule.referrer)),
            (header::X_FRAME_OPTIONS, text(&rule.frame)),
            (header::CONTENT_SECURITY_POLICY, text(&rule.csp)),
        ];
        let hsts = rule.hsts.map(|age| format!("max-age={}", age.as_secs()));
        Self {
            always: always.into_iter().filter_map(|(n, v)| Some((n, v?))).collect(),
            hsts: text(&hsts),
        }
    }

    pub(crate) fn put(&self, headers: &mut HeaderMap, secure: bool) {
        let hsts = self.hsts.as_ref().filter(|_| secure);
        let hsts = hsts.map(|value| (&header::STRICT_TRANSPORT_SECURITY, value));
        for (name, value) in self.always.iter().map(|(n, v)| (n, v)).chain(hsts) {
            if !headers.contains_key(name) {
                headers.insert(name.clone(), value.clone());
            }
        }
    }
}

#[derive(Default)]
pub(crate) struct Changes {
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl Changes {
    pub(crate) fn new(changes: &HeaderChanges) -> Self {
        let pair = |(name, value): (&String, &String)| {
            Some((name.parse().ok()?, HeaderValue::from_str(value).ok()?))
        };
        Self {
            set: changes.set.iter().filter_map(pair).collect(),
            remove: changes.remove.iter().filter_map(|name| name.parse().ok()).collect(),
        }
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
    }
}
