//! A service as the data plane sees it: the instances of this moment behind a stable handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use archipel_model::{InstanceId, Protocol, ServiceName};
use http::HeaderValue;
use http::uri::{PathAndQuery, Uri};
use tokio::sync::Notify;

use crate::Caller;
use crate::refusal::{Problem, Refusal};
use crate::safeguard::limiter::Limiter;
use crate::shared::Shared;
use crate::table::Upstream;
use crate::upstream::instance::{Instance, Speaks, Target};

/// Routes and edges hold this; what is behind it changes without them.
pub(crate) struct Service {
    pub(crate) name: ServiceName,
    pub(crate) name_header: HeaderValue,
    pub(crate) live: ArcSwap<Live>,
    /// Wakes the requests that wait for another `live`.
    pub(crate) changed: Notify,
    /// How many those are.
    pub(crate) held: AtomicUsize,
    /// Where something that leads here has a priority.
    pub(crate) limiter: ArcSwapOption<Limiter>,
}

/// How the instances of a service are seen from here, at one moment.
#[derive(Debug, Clone)]
pub struct ServiceCount {
    pub service: ServiceName,
    /// Requests it can take at once, and those refused as too many, where that is found out.
    pub limit: Option<(u32, u64)>,
    pub instances: Vec<InstanceCount>,
}

#[derive(Debug, Clone)]
pub struct InstanceCount {
    pub instance: InstanceId,
    pub inflight: usize,
    /// Of late, with bad news foremost; zero where there is no choice among instances.
    pub latency: Duration,
    /// It is passed over now, because it fails.
    pub ejected: bool,
    pub ejections: u64,
}

/// One snapshot.
pub(crate) struct Live {
    pub(crate) instances: Vec<Arc<Instance>>,
    pub(crate) speaks: Speaks,
    pub(crate) app_token: Option<HeaderValue>,
    pub(crate) external: Option<External>,
    /// Why `instances` is empty, and what to answer.
    pub(crate) absent: Option<(Problem, String)>,
    /// It is empty, and will not be for long.
    pub(crate) awaited: bool,
    pub(crate) slow_start: Duration,
}

/// What changes in a request that leaves the application.
pub(crate) struct External {
    pub(crate) authority: HeaderValue,
    /// Without a slash at its end.
    pub(crate) prefix: String,
}

impl Service {
    pub(crate) fn new(name: ServiceName) -> Self {
        let name_header = HeaderValue::from_str(name.as_str())
            .expect("a service name is lower-case letters, digits and hyphens");
        let gone = Live::absent(Problem::UnknownService, "it is not part of the application");
        let live = ArcSwap::from_pointee(gone);
        let (changed, held) = (Notify::new(), AtomicUsize::new(0));
        Self { name, name_header, live, changed, held, limiter: ArcSwapOption::empty() }
    }

    /// Takes over what the table says now; instances that stay keep their connections. Returns
    /// those that left, retired.
    pub(crate) fn update(
        &self,
        upstream: Option<&Upstream>,
        shared: &Arc<Shared>,
    ) -> Vec<Arc<Instance>> {
        let before = self.live.load_full();
        let next = match upstream {
            Some(upstream) => Live::next(upstream, &before, shared),
            None => Live::absent(Problem::UnknownService, "it is not part of the application"),
        };
        let next = Arc::new(next);
        self.live.store(Arc::clone(&next));
        self.changed.notify_waiters();
        let stays = |old: &Arc<Instance>| next.instances.iter().any(|new| Arc::ptr_eq(old, new));
        let gone: Vec<_> = before.instances.iter().filter(|i| !stays(i)).cloned().collect();
        for instance in &gone {
            instance.retire();
        }
        gone
    }

    pub(crate) fn count(&self, shared: &Shared) -> ServiceCount {
        let now = shared.millis();
        let live = self.live.load();
        let count = |instance: &Arc<Instance>| {
            Some(InstanceCount {
                instance: instance.id.clone()?,
                inflight: instance.inflight.load(Relaxed),
                latency: Duration::from_micros(instance.latency.now(now) as u64),
                ejected: instance.outlier.is_out(now),
                ejections: instance.outlier.ejections(),
            })
        };
        let limit = self.limiter.load();
        ServiceCount {
            service: self.name.clone(),
            limit: limit.as_ref().map(|limiter| (limiter.limit(), limiter.refused())),
            instances: live.instances.iter().filter_map(count).collect(),
        }
    }

    /// What we ask for ourselves has bounds of its own, and some of it waits on purpose.
    pub(crate) fn limiter_for(&self, caller: &Caller) -> Option<Arc<Limiter>> {
        if *caller == Caller::Archipel { None } else { self.limiter.load_full() }
    }

    /// How much it can take is found out only where that decides who is refused.
    pub(crate) fn limit(&self, wanted: bool, now_ms: u64) {
        match (wanted, self.limiter.load().is_some()) {
            (true, false) => self.limiter.store(Some(Arc::new(Limiter::new(now_ms)))),
            (false, true) => self.limiter.store(None),
            _ => {}
        }
    }

    pub(crate) fn refuse_absent(&self, live: &Live, rule: &str) -> Refusal {
        let (problem, note) = match &live.absent {
            Some((problem, note)) => (*problem, note.as_str()),
            None => (Problem::NoInstance, "none has become ready yet"),
        };
        let detail = match problem {
            Problem::NoInstance => format!("no instance of `{}` is ready: {note}", self.name),
            _ => format!("`{}` cannot be called: {note}", self.name),
        };
        let mut refusal = Refusal::new(problem, rule, detail);
        refusal.retry_after_s = (problem == Problem::NoInstance).then_some(1);
        refusal
    }
}

impl Live {
    fn absent(problem: Problem, note: &str) -> Self {
        Self {
            instances: Vec::new(),
            speaks: Speaks::Http1,
            app_token: None,
            external: None,
            absent: Some((problem, note.to_owned())),
            awaited: false,
            slow_start: Duration::ZERO,
        }
    }

    /// Passes over an instance that failed once too often, unless half of them are out already:
    /// then the trouble is elsewhere.
    pub(crate) fn eject(&self, instance: &Instance, service: &ServiceName, now_ms: u64) {
        let out = self.instances.iter().filter(|other| other.outlier.is_out(now_ms)).count();
        if (out + 1) * 2 > self.instances.len() {
            return;
        }
        if let (Some(time), Some(id)) = (instance.outlier.eject(now_ms), &instance.id) {
            let out_for = archipel_model::show_duration(time);
            tracing::info!(%service, instance = %id, %out_for, "an instance that fails is passed over");
        }
    }

    fn next(upstream: &Upstream, before: &Live, shared: &Arc<Shared>) -> Self {
        let speaks = match upstream.protocol {
            Protocol::Http => Speaks::Http1,
            Protocol::Grpc => Speaks::Http2,
            Protocol::Tcp => {
                return Self::absent(Problem::Unsupported, "it speaks plain TCP, not HTTP");
            }
        };
        let (wanted, external) = match &upstream.external {
            None => {
                let own = |e: &crate::Endpoint| (Some(e.instance.clone()), Target::Addr(e.addr));
                (upstream.endpoints.iter().map(own).collect::<Vec<_>>(), None)
            }
            Some(url) => match read_external(url) {
                Ok((target, external)) => (vec![(None, target)], Some(external)),
                Err(why) => return Self::absent(Problem::Unsupported, &format!("`{url}` {why}")),
            },
        };
        let joins = !before.instances.is_empty();
        let instance = |(id, target)| {
            let same = |i: &&Arc<Instance>| i.id == id && i.target == target && i.speaks == speaks;
            match before.instances.iter().find(same) {
                Some(kept) => Arc::clone(kept),
                None => {
                    let new = Instance::new(id, target, speaks, Arc::clone(shared));
                    Arc::new(if joins { new.joining(shared.millis()) } else { new })
                }
            }
        };
        let instances: Vec<_> = wanted.into_iter().map(instance).collect();
        let absent = instances.is_empty().then(|| {
            let note = upstream.note.as_deref().unwrap_or("none has become ready yet");
            (Problem::NoInstance, note.to_owned())
        });
        let token = |token: &String| {
            let mut value = HeaderValue::from_str(token).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        // Our tokens are between us and our apps.
        let app_token = upstream.app_token.as_ref().filter(|_| external.is_none()).and_then(token);
        let awaited = absent.is_some() && upstream.awaited;
        let slow_start = upstream.slow_start.unwrap_or(shared.limits.slow_start);
        Self { instances, speaks, app_token, external, absent, awaited, slow_start }
    }
}

impl External {
    /// The path as the foreign system wants it.
    pub(crate) fn path(&self, path: &PathAndQuery) -> Option<PathAndQuery> {
        if self.prefix.is_empty() {
            return None;
        }
        PathAndQuery::try_from(format!("{}{path}", self.prefix)).ok()
    }
}

fn read_external(url: &str) -> Result<(Target, External), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "is not a URL")?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err("needs TLS, which the gateway does not speak to other systems yet: \
                        use an `http://` address, or a local proxy that adds TLS");
        }
        _ => return Err("does not start with `http://`"),
    }
    if uri.query().is_some() {
        return Err("has a query, which cannot be a prefix");
    }
    let authority = uri.authority().ok_or("has no host")?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let target = Target::Name(host.to_owned(), uri.port_u16().unwrap_or(80));
    let bare = authority.as_str().rsplit('@').next().unwrap_or_default();
    let authority = HeaderValue::from_str(bare).map_err(|_| "has no valid host")?;
    let prefix = uri.path().trim_end_matches('/').to_owned();
    Ok((target, External { authority, prefix }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn externals_are_http_urls_with_an_optional_prefix() {
        let (target, external) = read_external("http://10.0.0.12:8080/api/").unwrap();
        assert_eq!(target, Target::Name("10.0.0.12".into(), 8080));
        assert_eq!(external.authority, "10.0.0.12:8080");
        let path = PathAndQuery::from_static("/a?b=1");
        assert_eq!(external.path(&path).unwrap(), "/api/a?b=1");
        let (target, external) = read_external("http://[::1]").unwrap();
        assert_eq!(target, Target::Name("::1".into(), 80));
        assert!(external.path(&path).is_none());
        for bad in ["https://x", "ftp://x", "x", "", "http://x/?a=b"] {
            assert!(read_external(bad).is_err(), "{bad}");
        }
    }
}
