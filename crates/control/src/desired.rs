//! What the supervisor and the gateway should do now: pure functions of plan and state.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use archipel_gateway::{Endpoint, Table, Upstream};
use archipel_model::{InstanceId, InstanceState, Service, ServiceName};
use archipel_supervisor::{InstanceSpec, Isolation, MemoryTier};

use crate::digest;
use crate::environment::{self, DatabaseUrl, Facts};
use crate::paths::StateDir;
use crate::plan::Plan;
use crate::state::{Preparation, ServiceState, note_for_callers};

/// What instances need besides the plan.
pub(crate) struct Surroundings {
    pub(crate) state: StateDir,
    /// Variables every process inherits.
    pub(crate) inherited: BTreeMap<String, String>,
    pub(crate) memory_tier: MemoryTier,
}

/// The environment that all instances of a service share, without the inherited part.
pub(crate) fn own_environment(
    plan: &Plan,
    service: &Service,
    database: Option<&DatabaseUrl>,
    around: &Surroundings,
) -> BTreeMap<String, String> {
    let of = &plan.services[&service.name];
    let hint = |memory| archipel_supervisor::memory_hints(memory, around.memory_tier);
    let hints = service.memory.as_ref().map(hint).unwrap_or_default();
    environment::shared(&Facts {
        app: &plan.app,
        service,
        edges: &of.edges,
        api_port: of.api_port,
        grpc_port: of.grpc_port,
        tokens: &of.tokens,
        secrets: &plan.secrets,
        database,
        hints: &hints,
    })
}

/// The own environment on top of the inherited one, with `PATH` for the service's directory.
pub(crate) fn whole_environment(
    own: &BTreeMap<String, String>,
    service: &Service,
    around: &Surroundings,
) -> BTreeMap<String, String> {
    let mut env = around.inherited.clone();
    if let Some(path) = env.get("PATH") {
        let path = environment::path_for(&service.path, path);
        env.insert("PATH".to_owned(), path);
    }
    env.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    env
}

/// Covers everything of Archipel but the service's own directory.
pub(crate) fn isolation(state: &StateDir, service: &ServiceName) -> Isolation {
    Isolation { hide: vec![state.root().to_owned()], keep: vec![state.data(service)] }
}

/// The specification of one instance. Its hash covers what the manifest and the build decide,
/// not what is inherited: an `up` from another terminal must not restart everything.
pub(crate) fn instance(
    plan: &Plan,
    id: &InstanceId,
    build_hash: &str,
    database: Option<&DatabaseUrl>,
    around: &Surroundings,
) -> InstanceSpec {
    let service = &plan.app.services[&id.service];
    let of = &plan.services[&id.service];
    let port = of.ports[id.replica as usize];
    let mut own = own_environment(plan, service, database, around);
    own.extend(environment::of_instance(service, id.replica, port));
    environment::name_instance(&mut own, service, id.replica);
    let env = whole_environment(&own, service, around);
    let argv = service.run.expand(|name| env.get(name).cloned());
    let isolate = isolation(&around.state, &id.service);
    let spec_hash = digest::of_debug(&(
        (build_hash, &argv, &service.path, &own),
        (&service.health, &service.memory, &service.stop, service.protocol),
        &isolate,
    ));
    InstanceSpec {
        id: id.clone(),
        argv,
        cwd: service.path.clone(),
        env,
        port: Some(port),
        protocol: service.protocol,
        health: service.health.clone(),
        memory: service.memory,
        stop: service.stop.clone(),
        restart: service.restart,
        isolate,
        spec_hash,
        level: of.level,
    }
}

/// Where every service can be reached now.
pub(crate) fn table(plan: &Plan, services: &BTreeMap<ServiceName, ServiceState>) -> Table {
    let mut upstreams = BTreeMap::new();
    for (name, service) in &plan.app.services {
        let state = &services[name];
        let endpoints: Vec<Endpoint> = state
            .instances
            .iter()
            .filter(|instance| instance.state == InstanceState::Ready)
            .filter_map(|instance| {
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, instance.port?));
                Some(Endpoint { instance: instance.id.clone(), addr })
            })
            .collect();
        let note = endpoints.is_empty().then(|| note_for_callers(service, state));
        let upstream = Upstream {
            endpoints,
            protocol: service.protocol,
            app_token: Some(plan.services[name].tokens.app.reveal().to_owned()),
            external: None,
            note,
            awaited: state.is_awaited(),
            slow_start: service.slow_start,
        };
        upstreams.insert(name.clone(), upstream);
    }
    for (name, external) in &plan.app.externals {
        let upstream = Upstream { external: Some(external.url.clone()), ..Upstream::default() };
        upstreams.insert(name.clone(), upstream);
    }
    Table { listeners: plan.listeners(), services: upstreams }
}

/// The instances that should exist, given how far each service's preparation is.
pub(crate) fn instances(
    plan: &Plan,
    services: &BTreeMap<ServiceName, ServiceState>,
    databases: &BTreeMap<ServiceName, DatabaseUrl>,
    around: &Surroundings,
) -> Vec<InstanceSpec> {
    plan.instances()
        .iter()
        .filter_map(|id| match &services[&id.service].preparation {
            Preparation::Done(built) => {
                Some(instance(plan, id, &built.hash, databases.get(&id.service), around))
            }
            _ => None,
        })
        .collect()
}
