//! What makes two requests the same: the URI, and what the answer varies by.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Request, header};
use quick_cache::Equivalent;

/// The URI as the caller wrote it: before `strip`, with its query, whose order matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// With the port, in lower case.
    pub(crate) host: Box<str>,
    /// Path and query.
    pub(crate) target: Box<str>,
}

/// The same, borrowed from a request.
#[derive(Debug)]
pub(crate) struct Uri<'a> {
    pub(crate) host: Cow<'a, str>,
    pub(crate) target: &'a str,
}

impl<'a> Uri<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        // One that is no text was refused before.
        let host = request.headers().get(header::HOST).map_or(Ok(""), HeaderValue::to_str);
        let host = host.unwrap_or_default();
        let host = match host.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Cow::Owned(host.to_ascii_lowercase()),
            false => Cow::Borrowed(host),
        };
        let target = request.uri().path_and_query().map_or("/", |whole| whole.as_str());
        Self { host, target }
    }

    pub(crate) fn to_key(&self) -> Key {
        Key { host: self.host.as_ref().into(), target: self.target.into() }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&*self.host, &*self.target).hash(state);
    }
}

impl Hash for Uri<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&*self.host, self.target).hash(state);
    }
}

impl Equivalent<Key> for Uri<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.target == *key.target && *self.host == *key.host
    }
}

/// What a route adds to the key of its own accord.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) headers: Vec<HeaderName>,
    /// The cookies that an answer may depend on; the service sees no others. `None`: nobody has
    /// said, so a request with cookies is taken to be about its sender.
    pub(crate) cookies: Option<Vec<String>>,
}

impl Parts {
    /// The sender is known by something that is not part of the key.
    pub(crate) fn is_personal(&self, headers: &HeaderMap) -> bool {
        headers.contains_key(header::AUTHORIZATION)
            || (self.cookies.is_none() && headers.contains_key(header::COOKIE))
    }

    /// Leaves the cookies that count: what the service does not see cannot be in its answer.
    pub(crate) fn drop_cookies(&self, headers: &mut HeaderMap) {
        let Some(names) = &self.cookies else { return };
        if !headers.contains_key(header::COOKIE) {
            return;
        }
        let pair = |name: &String| {
            cookie(headers, name).map(|value| [name.as_bytes(), b"=", value].concat())
        };
        let kept: Vec<Vec<u8>> = names.iter().filter_map(pair).collect();
        let kept = HeaderValue::from_bytes(&kept.join(&b"; "[..]));
        headers.remove(header::COOKIE);
        if let Some(kept) = kept.ok().filter(|kept| !kept.is_empty()) {
            headers.insert(header::COOKIE, kept);
        }
    }
}

/// What a stored answer varies by, with the values of the request that it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variant {
    /// Which route it came by: another one may ask another service under the same URI.
    route: Arc<str>,
    headers: Vec<(HeaderName, Box<[u8]>)>,
    cookies: Vec<(String, Box<[u8]>)>,
}

impl Variant {
    pub(crate) fn of(
        route: &Arc<str>,
        parts: &Parts,
        request: &HeaderMap,
        answer: &HeaderMap,
    ) -> Self {
        let mut names = parts.headers.clone();
        let vary = answer.get_all(header::VARY).iter();
        for name in vary.flat_map(|line| line.as_bytes().split(|b| *b == b',')) {
            if let Ok(name) = HeaderName::from_bytes(name.trim_ascii())
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        let value = |name: HeaderName| {
            let words: Vec<&[u8]> = words(request, &name).collect();
            let value = words.join(&b","[..]).into();
            (name, value)
        };
        let cookie =
            |name: &String| (name.clone(), cookie(request, name).unwrap_or_default().into());
        Self {
            route: Arc::clone(route),
            headers: names.into_iter().map(value).collect(),
            cookies: parts.cookies.iter().flatten().map(cookie).collect(),
        }
    }

    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    pub(crate) fn fits(&self, route: &str, request: &HeaderMap) -> bool {
        *self.route == *route
            && self.headers.iter().all(|(name, value)| {
                let stored = value.split(|b| *b == b',').filter(|word| !word.is_empty());
                words(request, name).eq(stored)
            })
            && self
                .cookies
                .iter()
                .all(|(name, value)| cookie(request, name).unwrap_or_default() == &**value)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
            + self.cookies.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// The members of a list, however it is spaced and spread over lines.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter();
    let words = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    words.map(<[u8]>::trim_ascii).filter(|word| !word.is_empty())
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    pairs.find_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(pair).collect()
    }

    #[test]
    fn lists_are_the_same_however_they_are_written() {
        let answer = map(&[("vary", "accept-language, X-B")]);
        let route = Arc::from("route /");
        let asked = map(&[("accept-language", "de, en"), ("x-b", "1")]);
        let variant = Variant::of(&route, &Parts::default(), &asked, &answer);
        let same = map(&[("accept-language", "de"), ("accept-language", "en"), ("x-b", " 1")]);
        assert!(variant.fits("route /", &same));
        assert!(!variant.fits("route /x", &same));
        let other = map(&[("accept-language", "en,de"), ("x-b", "1")]);
        assert!(!variant.fits("route /", &other));
        assert!(!variant.fits("route /", &map(&[("accept-language", "de,en")])));
    }

    #[test]
    fn only_declared_cookies_exist() {
        let parts = Parts { headers: vec![], cookies: Some(vec!["lang".to_owned()]) };
        let mut asked = map(&[("cookie", "session=1; lang=de; xlang=fr")]);
        let variant = Variant::of(&Arc::from("r"), &parts, &asked, &HeaderMap::new());
        assert!(variant.fits("r", &map(&[("cookie", "lang=de; session=2")])));
        assert!(!variant.fits("r", &map(&[("cookie", "lang=en")])));
        assert!(!variant.fits("r", &HeaderMap::new()));
        parts.drop_cookies(&mut asked);
        assert_eq!(asked["cookie"], "lang=de");
        Parts { cookies: Some(vec![]), ..parts }.drop_cookies(&mut asked);
        assert!(asked.is_empty());
    }
}
