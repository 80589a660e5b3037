//! The keys about answers from memory.

use super::process_keys::table_node;
use super::*;
use crate::tree::Value;

static ROUTE_CACHE_LONG: Keys = Keys {
    id: "routeCache",
    what: "the cache of a route",
    keys: &[
        key(
            "ttl",
            DURATION,
            "How long an answer is good that does not say so itself. Without it, only those are kept that do.",
        ),
        key(
            "stale_while_revalidate",
            DURATION,
            "How long beyond its time an answer is given out while a newer one is fetched, unless it says otherwise.",
        ),
        key(
            "stale_if_error",
            DURATION,
            "How long beyond its time an answer is given out when the service fails, unless it says otherwise.",
        ),
        key(
            "vary",
            Shape::List(&TEXTS),
            "Headers of the request that answers depend on, beside those that their `Vary` names.",
        ),
        key(
            "cookies",
            Shape::List(&TEXTS),
            "The cookies that answers depend on; the service sees no others. [] for none. Without it, `ttl` does not hold for requests with cookies.",
        ),
        key("max_object", SIZE_TEXT, "Larger answers are not kept. Default 1M."),
    ],
    rules: &[],
    synonyms: &[
        ("max_age", "ttl"),
        ("default_ttl", "ttl"),
        ("swr", "stale_while_revalidate"),
        ("key", "vary"),
        ("headers", "vary"),
        ("max_size", "max_object"),
    ],
};
static ROUTE_CACHE_FORMS: Either =
    Either { options: &[DURATION, Shape::Keys(&ROUTE_CACHE_LONG)], expand: Some(expand_cache) };
pub(crate) const ROUTE_CACHE: Shape = Shape::Either(&ROUTE_CACHE_FORMS);

fn expand_cache(node: &Node) -> Option<Node> {
    let ttl = Node { value: Value::Text(node.text()?.to_owned()), span: node.span };
    Some(table_node(node, [("ttl", ttl)]))
}

pub(crate) static GATEWAY_CACHE: Keys = Keys {
    id: "gatewayCache",
    what: "the cache of the gateway",
    keys: &[key("max", SIZE_TEXT, "Memory for all stored answers together. Default 64M.")],
    rules: &[],
    synonyms: &[("size", "max"), ("limit", "max"), ("memory", "max")],
};
