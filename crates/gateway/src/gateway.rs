//! The handle: takes tables, opens and closes listeners, makes calls, tells what is going on.

mod ways;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use archipel_model::{EdgePolicy, InstanceId, Route, ServiceName};
use archipel_rt::{CancellationToken, chain, clock};
use http::{Request, Response, header};

use crate::cache::{CacheCount, Purge};
use crate::cores::{Cores, Threads};
use crate::entry::listener::Door;
use crate::guard::keep::Keep;
use crate::guard::tally::RefusalCount;
use crate::hop::budget;
use crate::hop::fault::{Fault, FaultCount};
use crate::hop::outgoing::Origin;
use crate::hop::{self, Passage};
use crate::message::body::Body;
use crate::message::trace::Trace;
use crate::record::access::Caller;
use crate::record::counters::SeriesCount;
use crate::record::flow::{Flight, Start};
use crate::record::tap::Records;
use crate::refusal::Refusal;
use crate::safeguard::{self, SafeguardCount, fallback};
use crate::shadow::report::RouteReport;
use crate::shared::{Limits, Shared};
use crate::table::{Entrance, ListenError, Listener, PublicRoutes, Table};
use crate::tls::{TlsDoor, TlsFault};
use crate::upstream::instance::Instance;
use crate::upstream::service::{Service, ServiceCount};
use crate::way::Way;

/// The data plane; cloning shares it.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    services: ArcSwap<BTreeMap<ServiceName, Arc<Service>>>,
    /// Open listeners by id; held while a table is applied, so tables apply one after another.
    doors: tokio::sync::Mutex<BTreeMap<String, OpenDoor>>,
    bound: Mutex<BTreeMap<String, SocketAddr>>,
    /// For [`Gateway::call`], made on first use; one per pair of names that exist.
    calls: Mutex<HashMap<(Caller, ServiceName), Arc<Way>>>,
    /// Left the table with requests in flight.
    retired: Mutex<Vec<Weak<Instance>>>,
    keep: Keep,
    threads: Option<Threads>,
}

struct OpenDoor {
    wanted: SocketAddr,
    door: Arc<Door>,
}

/// A moment's numbers.
#[derive(Debug, Clone)]
pub struct Counters {
    pub series: Vec<SeriesCount>,
    pub safeguards: Vec<SafeguardCount>,
    pub services: Vec<ServiceCount>,
    /// Open client connections.
    pub connections: usize,
    /// Access records that nobody took in time.
    pub access_dropped: u64,
    /// Answers that we made ourselves, by why.
    pub refusals: Vec<RefusalCount>,
    /// Of instances that serve now, since they do; by whoever called them.
    pub instances: Vec<(InstanceId, SeriesCount)>,
    /// Of routes that cache.
    pub cache: Vec<CacheCount>,
    /// Bytes of stored answers.
    pub cache_bytes: usize,
}

impl Gateway {
    /// `stop` begins what [`Gateway::shutdown`] does, without waiting for it.
    pub fn new(stop: &CancellationToken) -> Self {
        Self::with_limits(stop, Limits::default())
    }

    pub fn with_limits(stop: &CancellationToken, limits: Limits) -> Self {
        Self::with_cores(stop, limits, Cores::default(), None)
    }

    /// With as many threads of its own, each with a runtime, over which clients' connections are
    /// spread: what is fastest, when there is one for each core.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn on_cores(stop: &CancellationToken, limits: Limits, cores: usize) -> io::Result<Self> {
        let (cores, threads) = Cores::start(cores)?;
        Ok(Self::with_cores(stop, limits, cores, Some(threads)))
    }

    fn with_cores(
        stop: &CancellationToken,
        limits: Limits,
        cores: Cores,
        threads: Option<Threads>,
    ) -> Self {
        let shared = Arc::new(Shared::new(stop, limits, cores));
        let inner = Arc::new(Inner {
            shared: Arc::clone(&shared),
            services: ArcSwap::default(),
            doors: tokio::sync::Mutex::default(),
            bound: Mutex::default(),
            calls: Mutex::default(),
            retired: Mutex::default(),
            keep: Keep::new(),
            threads,
        });
        shared
            .tasks
            .spawn("gateway.sweep", sweep(Arc::downgrade(&inner), shared.tasks.stop_token()));
        Self { inner }
    }

    /// Makes the gateway be as `table` says: opens what is new, closes what is gone without
    /// breaking off a request, and changes the rest in place.
    ///
    /// Returns the listeners that could not be opened; everything else is in force.
    pub async fn apply(&self, table: Table) -> Vec<ListenError> {
        let mut doors = self.inner.doors.lock().await;
        // Ways hold services, so a service exists before anything leads to it. And it keeps its
        // instances until nothing leads to it any more: first the new, then the doors, then the old.
        let services = self.inner.upsert_services(&table);
        let gone: Vec<String> = doors
            .iter()
            .filter(|(id, open)| {
                !table.listeners.iter().any(|l| l.id == **id && l.addr == open.wanted)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            if let Some(open) = doors.remove(&id) {
                open.door.close.cancel();
                open.door.closed.cancelled().await;
            }
        }
        let mut errors = Vec::new();
        let has_http = table.listeners.iter().any(|l| l.entrance.is_redirect());
        for Listener { id, addr, entrance } in table.listeners {
            let open = doors.get(&id).map(|open| Arc::clone(&open.door));
            let tls = match self.inner.tls(addr, &entrance, has_http, open.as_deref()).await {
                Ok(tls) => tls,
                Err(fault) => {
                    // An open listener goes on as it was.
                    let source = std::io::Error::other(chain(&fault));
                    errors.push(ListenError { id, addr, source });
                    continue;
                }
            };
            let moved_to = entrance.moved_to();
            let way_in = Arc::new(self.inner.way_in(entrance, &services));
            if let Some(door) = open {
                door.way_in.store(way_in);
                door.moved_to.store(moved_to, Relaxed);
                door.tls.store(tls);
                continue;
            }
            match Door::open(addr, way_in, tls, moved_to, Arc::clone(&self.inner.shared)) {
                Ok(door) => {
                    doors.insert(id, OpenDoor { wanted: addr, door });
                }
                Err(source) => errors.push(ListenError { id, addr, source }),
            }
        }
        let bound = doors.iter().map(|(id, open)| (id.clone(), open.door.addr)).collect();
        *lock(&self.inner.bound) = bound;
        self.inner.forget_services(&table.services.keys().cloned().collect());
        errors
    }

    /// The address of an open listener, also when port 0 was asked for.
    pub fn bound(&self, listener: &str) -> Option<SocketAddr> {
        lock(&self.inner.bound).get(listener).copied()
    }

    /// Sends one request to a service on behalf of `caller`, with the same balancing, retries,
    /// identity and counting as one that comes through a listener. Whether the edge is declared
    /// is for the one who calls to have checked.
    ///
    /// Dropping the future, or the body of the answer, ends the request at the instance.
    ///
    /// # Errors
    /// [`Refusal`] when no instance gave an answer; its `problem` says why.
    pub async fn call(
        &self,
        caller: Caller,
        callee: &ServiceName,
        policy: &EdgePolicy,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Refusal> {
        let shared = &self.inner.shared;
        let way = self.inner.call_way(caller, callee, policy)?;
        let ready = fallback::ready(&way, &request);
        let trace = Trace::read(request.headers());
        let request_id = trace.request_id(request.headers());
        if !request.headers().contains_key(header::HOST)
            && let Some(service) = &way.service
        {
            request.headers_mut().insert(header::HOST, service.name_header.clone());
        }
        let start = Start {
            way,
            trace,
            started: clock::now(),
            method: request.method().clone(),
            path: shared.tap.is_open().then(|| request.uri().path_and_query().cloned()).flatten(),
            busy: None,
        };
        let mut flight = Flight::new(Arc::clone(shared), start);
        safeguard::rank::settle(shared, &mut flight, request.headers(), false);
        let passage =
            Passage { shared, policy, request, request_id: &request_id, origin: Origin::Inside };
        let forwarded = hop::forward(&mut flight, passage).await;
        if let Some(instead) = ready.as_ref().and_then(|ready| ready.instead_of(&forwarded)) {
            return Ok(instead.answer(flight, request_id));
        }
        match forwarded {
            Ok((answer, _)) => {
                let response = hop::answer(flight, answer, request_id, policy.idle);
                Ok(match ready {
                    None => response,
                    Some(ready) => ready.remember(response),
                })
            }
            Err(refusal) => {
                shared.tally.count(&refusal);
                flight.refused(refusal.problem);
                Err(refusal)
            }
        }
    }

    /// Requests under way at an instance, also after it left the table: 0 means drained.
    pub fn inflight(&self, instance: &InstanceId) -> usize {
        let count = |i: &Instance| match &i.id {
            Some(id) if id == instance => i.inflight.load(Relaxed),
            _ => 0,
        };
        let services = self.inner.services.load();
        let service = services.get(&instance.service);
        let current: usize = service
            .map(|service| service.live.load().instances.iter().map(|i| count(i)).sum())
            .unwrap_or_default();
        let retired = lock(&self.inner.retired);
        current + retired.iter().filter_map(Weak::upgrade).map(|i| count(&i)).sum::<usize>()
    }

    /// All access records from now on; a second subscriber takes the first one's place. When
    /// `capacity` records of one thread wait, further ones are dropped and counted.
    pub fn access(&self, capacity: usize) -> Records {
        self.inner.shared.tap.subscribe(capacity)
    }

    /// Replaces the faults in force; none of the old ones goes on.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.inner.shared.faults.set(faults);
    }

    /// The faults in force and how often each has struck.
    pub fn faults(&self) -> Vec<FaultCount> {
        self.inner.shared.faults.read()
    }

    pub fn counters(&self) -> Counters {
        let shared = &self.inner.shared;
        Counters {
            series: shared.counters.read(),
            safeguards: shared.safeguards.read(),
            services: self.inner.services.load().values().map(|s| s.count(shared)).collect(),
            connections: shared
                .limits
                .connections_max
                .saturating_sub(shared.connections.available_permits()),
            access_dropped: shared.tap.dropped(),
            refusals: shared.tally.read(),
            instances: self.inner.instances(),
            cache: shared.cache.counts(),
            cache_bytes: shared.cache.bytes(),
        }
    }

    /// Forgets stored answers. Returns how many that were.
    pub fn purge_cache(&self, what: &Purge) -> usize {
        self.inner.shared.cache.purge(what)
    }

    /// What copies and fallbacks have come to, of the routes that have any.
    pub fn routes(&self) -> Vec<RouteReport> {
        self.inner.shared.watches.read()
    }

    /// The secret under which sticky visitors are hashed: the same one keeps them where they are
    /// over restarts. Without it one is drawn.
    pub fn set_visitor_secret(&self, secret: &str) {
        self.inner.shared.visitors.set(secret);
    }

    /// Stops accepting, lets requests finish (`connection: close`, GOAWAY), and cuts what is left
    /// after `grace`. Returns how many connections had to be cut.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        let shared = &self.inner.shared;
        let left = shared.tasks.shutdown(grace).await;
        shared.cut.cancel();
        for service in self.inner.services.load().values() {
            service.update(None, shared);
        }
        // Both obey `cut` at once; the second is for the unforeseen.
        shared.tasks.shutdown(Duration::from_secs(1)).await;
        shared.upstream.shutdown(Duration::from_secs(1)).await;
        if let Some(threads) = &self.inner.threads {
            threads.end();
        }
        left
    }
}

impl Inner {
    fn instances(&self) -> Vec<(InstanceId, SeriesCount)> {
        let services = self.services.load();
        let all = services.values().flat_map(|service| service.live.load().instances.clone());
        all.filter_map(|instance| Some((instance.id.clone()?, instance.series.read()))).collect()
    }

    fn upsert_services(&self, table: &Table) -> Arc<BTreeMap<ServiceName, Arc<Service>>> {
        let mut services = BTreeMap::clone(&self.services.load());
        // Also those that a listener names and the table lacks: they refuse with a reason.
        let named = table.listeners.iter().flat_map(|l| callees(&l.entrance));
        for name in table.services.keys().chain(named) {
            let new = || Arc::new(Service::new(name.clone()));
            services.entry(name.clone()).or_insert_with(new);
        }
        let ranked = safeguard::with_priority(table);
        for (name, service) in &services {
            service.limit(ranked.contains(name), self.shared.millis());
        }
        for (name, upstream) in &table.services {
            let gone = services[name].update(Some(upstream), &self.shared);
            self.remember_retired(&gone);
        }
        let services = Arc::new(services);
        self.services.store(Arc::clone(&services));
        services
    }

    fn forget_services(&self, keep: &BTreeSet<ServiceName>) {
        let mut services = BTreeMap::clone(&self.services.load());
        services.retain(|name, service| {
            let stays = keep.contains(name);
            if !stays {
                self.remember_retired(&service.update(None, &self.shared));
            }
            stays
        });
        self.services.store(Arc::new(services));
        lock(&self.calls).retain(|(_, callee), _| keep.contains(callee));
        self.shared.counters.prune();
        self.shared.watches.prune();
        self.shared.safeguards.prune();
        self.shared.cache.prune();
    }

    fn remember_retired(&self, gone: &[Arc<Instance>]) {
        let mut retired = lock(&self.retired);
        retired.retain(|instance| instance.strong_count() > 0);
        retired.extend(gone.iter().map(Arc::downgrade));
    }

    /// What a listener needs for TLS: what it has, when nothing changed.
    async fn tls(
        &self,
        addr: SocketAddr,
        entrance: &Entrance,
        has_http: bool,
        open: Option<&Door>,
    ) -> Result<Option<Arc<TlsDoor>>, TlsFault> {
        let Entrance::Public(PublicRoutes { tls: Some(wanted), hosts, .. }) = entrance else {
            return Ok(None);
        };
        if let Some(same) = open.and_then(|door| door.tls.load_full())
            && same.is(wanted, hosts)
        {
            return Ok(Some(same));
        }
        let (wanted, hosts, shared) = (wanted.clone(), hosts.clone(), Arc::clone(&self.shared));
        let opening = move || TlsDoor::open(&wanted, &hosts, addr.ip(), has_http, &shared);
        archipel_rt::blocking(opening).await.map(Some)
    }
}

fn callees(entrance: &Entrance) -> Vec<&ServiceName> {
    match entrance {
        Entrance::Edge { callee, .. } => vec![callee],
        Entrance::Redirect { .. } => vec![],
        Entrance::Public(routes) => routes.routes.iter().flat_map(Route::callees).collect(),
    }
}

/// Closes upstream connections before the other side does, and turns the budgets of retries.
async fn sweep(inner: Weak<Inner>, stop: CancellationToken) {
    let mut turned = clock::now();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = clock::sleep(Duration::from_millis(500)) => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        let now = clock::now();
        if now - turned >= budget::TURN {
            turned = now;
            inner.shared.counters.turn_budgets();
            inner.shared.safeguards.turn();
            for service in inner.services.load().values() {
                service.live.load().instances.iter().for_each(|i| i.outlier.turn());
            }
        }
        for service in inner.services.load().values() {
            for instance in &service.live.load().instances {
                instance.prune(now);
            }
        }
    }
}

/// Nothing of ours panics while it holds a lock; if it did, the data would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
