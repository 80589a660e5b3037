//! What is kept of a route's answers.

use archipel_model::{Bytes, Gateway, RouteCache};

use super::{Reader, texts};
use crate::Code;
use crate::shape::format::Format;
use crate::sink::shown;
use crate::source::Sited;
use crate::tree::Node;

impl Reader<'_> {
    pub(crate) fn route_cache(&mut self, route: &Node) -> Option<RouteCache> {
        let node = route.get("cache")?;
        // The short form.
        if node.text().is_some() {
            let ttl = Some(self.period(route, "cache")?);
            return Some(RouteCache { ttl, ..RouteCache::default() });
        }
        node.table()?;
        Some(RouteCache {
            ttl: self.period(node, "ttl"),
            stale_while_revalidate: self.period(node, "stale_while_revalidate"),
            stale_if_error: self.period(node, "stale_if_error"),
            vary: self.tokens(node, "vary", "the name of a header"),
            cookies: node
                .get("cookies")
                .map(|_| self.tokens(node, "cookies", "the name of a cookie")),
            object_max: self.size(node, "max_object"),
        })
    }

    pub(crate) fn cache_max(&mut self, gateway: &Node) -> Bytes {
        let max = gateway.get("cache").and_then(|cache| self.size(cache, "max"));
        max.unwrap_or(Gateway::CACHE_MAX_DEFAULT)
    }

    /// Words as HTTP has them for names.
    fn tokens(&mut self, table: &Node, key: &str, what: &str) -> Vec<String> {
        let all = texts(table, key, Format::NonEmpty);
        all.iter().filter_map(|text| self.token(text, what)).collect()
    }

    fn token(&mut self, text: &Sited<&str>, what: &str) -> Option<String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if text.value.bytes().all(fits) {
            return Some(text.value.to_owned());
        }
        let message = format!("`{}` is not {what}", shown(text.value));
        self.out
            .report(Code::BadText, text.span, message)
            .label("letters, digits and hyphens")
            .help("for example \"Accept-Language\" for a header, \"lang\" for a cookie");
        None
    }
}
