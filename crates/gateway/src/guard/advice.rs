//! What the one who gets a refusal can do about it, in one sentence.

use crate::refusal::Problem;

pub(crate) fn of(problem: Problem) -> &'static str {
    use Problem as P;
    match problem {
        P::NoRoute => {
            "Check the path; `[[gateway.routes]]` of the application file says what is served."
        }
        P::HostUnknown => {
            "Check the host name; `hosts` of `[gateway]` lists those that are served."
        }
        P::MethodNotAllowed => "Use a method that the `allow` header lists.",
        P::BadRequest => "Send the request in the form that HTTP asks for.",
        P::BadFraming => {
            "Send one `content-length`, or `transfer-encoding: chunked`, and one `host`."
        }
        P::HeadersTooLarge => {
            "Send fewer or smaller headers, or raise `max_headers` of `[gateway]`."
        }
        P::BodyTooLarge => "Send less, or raise `max_body` of the route.",
        P::Undeclared => "Declare the call in the application file.",
        P::UnknownService => "Check the name of the service.",
        P::NoInstance => "Try again in a moment; `archipel ps` tells why no instance is ready.",
        P::ConnectFailed => "Try again in a moment; the logs of the service tell more.",
        P::UpstreamReset => {
            "Repeat the request only if it may be done twice; the logs of the service tell more."
        }
        P::Timeout => {
            "Repeat the request only if it may be done twice; `timeout` of the route or edge is the limit."
        }
        P::Deadline => "Give the request more time, or ask for less.",
        P::TooManyInflight => "Try again in a moment; `bulkhead` of the edge is the limit.",
        P::CircuitOpen => {
            "Try again when `retry-after` says; `breaker` opened because too many requests failed."
        }
        P::Overloaded => {
            "Try again in a moment; requests of a higher `priority` are served meanwhile."
        }
        P::Fault => "Somebody tries out what happens; `archipel chaos heal` ends it.",
        P::NotCached => "Ask without `cache-control: only-if-cached`.",
        P::Unsupported => "Use plain HTTP requests.",
        P::CallerGone => "Send the whole request.",
        P::RateLimited => {
            "Wait as long as `retry-after` says; the `ratelimit` header tells where one stands."
        }
        P::Unauthenticated => "Send what the `www-authenticate` header asks for.",
        P::Forbidden => "Ask for a token with the scope that the `www-authenticate` header names.",
        P::AddressDenied => "Come from another address, or change `allow` and `deny` of the route.",
        P::BotDenied => {
            "Whoever runs this site can let the program in with `allow` in `[gateway.bots]`."
        }
        P::OriginDenied => "Add the origin, the method or the header to `cors` of the route.",
        P::KeysUnavailable => {
            "Try again in a moment; the log of Archipel tells why there are no keys."
        }
    }
}
