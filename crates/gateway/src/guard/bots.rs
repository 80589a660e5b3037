//! Programs that say by their `User-Agent` what they are.
//!
//! Keeps off the noise of tools that look for holes everywhere, and slows crawlers down. No
//! defence against somebody who lies about the name: that is what limits are for.

use std::sync::Arc;

use archipel_model::{Bots, LimitBy, RateLimit};
use http::{HeaderMap, HeaderValue, header};

use crate::guard::limit::Limit;
use crate::guard::rate::Moments;
use crate::refusal::{Problem, Refusal};

/// Tools that visit a site only to look for weaknesses in it: what their name contains, in lower
/// case, and what they are.
const KNOWN: [(&str, &str); 18] = [
    ("acunetix", "looks for weaknesses of web applications"),
    ("dirbuster", "guesses paths that nothing links to"),
    ("fimap", "looks for files that can be included"),
    ("gobuster", "guesses paths that nothing links to"),
    ("feroxbuster", "guesses paths that nothing links to"),
    ("havij", "injects SQL"),
    ("jorgee", "looks for administration pages"),
    ("masscan", "scans whole networks for open ports"),
    ("morfeus", "looks for weaknesses of PHP programs"),
    ("netsparker", "looks for weaknesses of web applications"),
    ("nikto", "looks for weaknesses of web servers"),
    ("nmap scripting engine", "scans hosts for weaknesses"),
    ("nuclei", "tries a library of known weaknesses"),
    ("openvas", "looks for weaknesses of hosts"),
    ("sqlmap", "injects SQL"),
    ("wpscan", "looks for weaknesses of WordPress"),
    ("zgrab", "scans whole networks for banners"),
    ("zmeu", "looks for weaknesses of PHP programs"),
];
/// Words by which crawlers call themselves one.
const CRAWLERS: [&str; 4] = ["bot", "crawler", "spider", "slurp"];
/// Names are at the front; what follows is not looked at.
const LOOK_AT: usize = 256;

pub(crate) struct BotRules {
    known: bool,
    deny: Vec<String>,
    allow: Vec<String>,
    pub(crate) crawl: Option<Limit>,
    pub(crate) robots: Option<String>,
}

impl BotRules {
    pub(crate) fn new(bots: &Bots, moments: &Arc<Moments>) -> Self {
        let lower = |texts: &[String]| texts.iter().map(|t| t.to_ascii_lowercase()).collect();
        // By the crawler's own word, wherever it comes from.
        let by_name = |rule: &RateLimit| RateLimit { by: vec![LimitBy::Key], ..rule.clone() };
        let crawl = bots.crawl.as_ref().map(by_name);
        Self {
            known: bots.known,
            deny: lower(&bots.deny),
            allow: lower(&bots.allow),
            crawl: crawl.map(|rule| Limit::new("crawl", &rule, Arc::clone(moments))),
            robots: bots.robots.clone(),
        }
    }

    /// The word by which a crawler is to be counted, if the request is one's.
    pub(crate) fn look(&self, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
        let agent = headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
        let agent = &agent[..agent.len().min(LOOK_AT)];
        let agent = String::from_utf8_lossy(agent).to_ascii_lowercase();
        let named = |names: &[String]| names.iter().find(|name| agent.contains(*name)).cloned();
        if named(&self.allow).is_some() {
            return Ok(None);
        }
        if let Some(name) = named(&self.deny) {
            let detail = format!("programs that call themselves `{name}` are not served here");
            return Err(Refusal::new(Problem::BotDenied, format!("bots deny {name}"), detail));
        }
        if self.known
            && let Some((name, what)) = KNOWN.iter().find(|(name, _)| agent.contains(name))
        {
            let detail = format!(
                "`{name}` {what}; whoever runs this site can let it in with \
                 [gateway.bots] allow = [\"{name}\"]"
            );
            return Err(Refusal::new(Problem::BotDenied, format!("bots known {name}"), detail));
        }
        Ok(self.crawl.as_ref().and_then(|_| crawler(&agent)).map(str::to_owned))
    }
}

/// `mozilla/5.0 (compatible; examplebot/2.1; …)` → `examplebot`
fn crawler(agent: &str) -> Option<&str> {
    let words = agent.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    words.into_iter().find(|word| CRAWLERS.iter().any(|kind| word.contains(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crawler_is_known_by_its_own_word() {
        let check = |agent: &str, expected: Option<&str>| assert_eq!(crawler(agent), expected);
        check("mozilla/5.0 (compatible; examplebot/2.1; +http://example.org)", Some("examplebot"));
        check("other-crawler/1", Some("other-crawler"));
        check("mozilla/5.0 (x11; linux x86_64) firefox/140.0", None);
        check("", None);
    }

    #[test]
    fn names_are_compared_without_case_and_what_is_allowed_counts_most() {
        let bots = Bots {
            known: true,
            deny: vec!["BadThing".to_owned()],
            allow: vec!["badthing-friend".to_owned(), "nikto".to_owned()],
            crawl: None,
            robots: None,
        };
        let rules = BotRules::new(&bots, &Arc::new(Moments::new()));
        let check = |agent: &str, refused: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_str(agent).unwrap());
            assert_eq!(rules.look(&headers).is_err(), refused, "{agent}");
        };
        check("badthing/1", true);
        check("BADTHING-FRIEND/1", false);
        check("Nikto/2", false);
        check("sqlmap/1.8", true);
        check("Mozilla/5.0", false);
    }
}
