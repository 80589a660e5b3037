//! Which stored answers are to be forgotten.

use http::HeaderMap;
use http::header::HeaderName;

use crate::cache::key::Key;
use crate::cache::stored::Stored;

/// What services call what they answer, to have it forgotten by that name: separated by commas,
/// and by spaces.
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// All that is said must fit; nothing said is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purge {
    /// As the route stands in the file.
    pub route: Option<String>,
    /// With its port, or with any.
    pub host: Option<String>,
    /// `/a` is `/a` with any query, `/a?b` only that, `/a/**` also all below it.
    pub path: Option<String>,
    /// A word of the answer's `Cache-Tag` or `Surrogate-Key`.
    pub tag: Option<String>,
}

impl Purge {
    pub(crate) fn fits(&self, key: &Key, stored: &Stored) -> bool {
        self.route.as_ref().is_none_or(|route| stored.variant.route() == route)
            && self.host.as_ref().is_none_or(|host| is_host(&key.host, host))
            && self.path.as_ref().is_none_or(|path| is_at(&key.target, path))
            && self.tag.as_ref().is_none_or(|tag| has_tag(&stored.headers, tag))
    }
}

fn is_host(stored: &str, host: &str) -> bool {
    let name = stored.rsplit_once(':').map_or(stored, |(name, _)| name);
    stored.eq_ignore_ascii_case(host) || name.eq_ignore_ascii_case(host)
}

fn is_at(target: &str, path: &str) -> bool {
    let at = target.split('?').next().unwrap_or_default();
    match path.strip_suffix("/**") {
        Some(top) => {
            at.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        None => at == path || target == path,
    }
}

fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    [CACHE_TAG, SURROGATE_KEY].iter().any(|name| {
        let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        let mut words = lines.flat_map(|line| line.split([',', ' ']));
        words.any(|word| word.eq_ignore_ascii_case(tag))
    })
}
