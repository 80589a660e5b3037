//! From the application to what each part must do: ports, edges, tokens, order.
//!
//! Pure but for the port book, which is asked once per key and remembers. The plan does not
//! change while services come and go; only a new manifest makes a new plan.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use archipel_gateway::{Entrance, Listener, PublicRoutes};
use archipel_model::{App, Gateway, Hidden, InstanceId, SecretName, ServiceName, TopicName};

use crate::order;
use crate::secrets::{Secret, Tokens};

/// What follows from a manifest before anything has been started.
#[derive(Debug)]
pub struct Plan {
    pub app: App,
    /// The services of this run: all, or those named by `--only`.
    pub selected: BTreeSet<ServiceName>,
    pub services: BTreeMap<ServiceName, ServicePlan>,
    pub secrets: BTreeMap<SecretName, Secret>,
}

#[derive(Debug, Clone)]
pub struct ServicePlan {
    /// One for each replica; fixed for the first when the manifest says so.
    pub ports: Vec<u16>,
    pub api_port: u16,
    pub grpc_port: u16,
    /// Where this service finds each of its callees.
    pub edges: BTreeMap<ServiceName, u16>,
    pub tokens: Tokens,
    /// Start order by `depends_on`.
    pub level: u32,
    /// Start preference within a level: callees first.
    pub call_depth: u32,
}

/// What the API of one service must know; `api` serves it on the service's own port.
#[derive(Debug, Clone)]
pub struct ApiPlan {
    pub service: ServiceName,
    pub port: u16,
    pub grpc_port: u16,
    pub token: Secret,
    pub publishes: BTreeSet<TopicName>,
    /// Topic or pattern, and where its events are posted.
    pub subscriptions: Vec<(String, String)>,
    pub calls: BTreeMap<ServiceName, archipel_model::EdgePolicy>,
    pub workflows: archipel_model::WorkflowPolicy,
}

impl Plan {
    /// `port_for` gives the port that belongs to a key and keeps giving the same.
    ///
    /// # Errors
    /// The first error of `port_for`.
    pub fn new<E>(
        mut app: App,
        only: &BTreeSet<ServiceName>,
        secrets: BTreeMap<SecretName, Secret>,
        mut tokens: BTreeMap<ServiceName, Tokens>,
        mut port_for: impl FnMut(&str) -> Result<u16, E>,
    ) -> Result<Arc<Self>, E> {
        // Port 0 means any, but the same every time: an address that people can keep.
        if let Some(gateway) = app.gateway.as_mut().filter(|gateway| gateway.listen.port() == 0) {
            gateway.listen.set_port(port_for("gateway")?);
        }
        let levels = order::levels(&app);
        let depths = order::call_depths(&app);
        let mut services = BTreeMap::new();
        for (name, service) in &app.services {
            let mut ports = Vec::new();
            for replica in 0..service.replicas {
                ports.push(match (service.port, replica) {
                    (Some(fixed), 0) => fixed,
                    _ => port_for(&format!("instance/{name}/{replica}"))?,
                });
            }
            let mut edges = BTreeMap::new();
            for callee in service.calls.keys() {
                edges.insert(callee.clone(), port_for(&format!("edge/{name}/{callee}"))?);
            }
            let plan = ServicePlan {
                ports,
                api_port: port_for(&format!("api/{name}"))?,
                grpc_port: port_for(&format!("grpc/{name}"))?,
                edges,
                tokens: tokens.remove(name).expect("tokens are made for every service"),
                level: levels[name],
                call_depth: depths[name],
            };
            services.insert(name.clone(), plan);
        }
        let selected = app
            .services
            .keys()
            .filter(|name| only.is_empty() || only.contains(*name))
            .cloned()
            .collect();
        Ok(Arc::new(Self { app, selected, services, secrets }))
    }

    /// The same with the ports that are assigned now.
    ///
    /// # Errors
    /// The first error of `port_for`.
    pub fn with_ports<E>(
        &self,
        port_for: impl FnMut(&str) -> Result<u16, E>,
    ) -> Result<Arc<Self>, E> {
        let tokens = self.services.iter().map(|(name, of)| (name.clone(), of.tokens.clone()));
        let (app, secrets) = (self.app.clone(), self.secrets.clone());
        Self::new(app, &self.selected, secrets, tokens.collect(), port_for)
    }

    /// Every instance of the selected services, callees first.
    pub fn instances(&self) -> Vec<InstanceId> {
        let mut services: Vec<&ServiceName> = self.selected.iter().collect();
        services.sort_by_key(|name| {
            let plan = &self.services[*name];
            (plan.level, plan.call_depth, *name)
        });
        let replicas = |name: &ServiceName| self.app.services[name].replicas;
        services
            .into_iter()
            .flat_map(|name| {
                (0..replicas(name)).map(|replica| InstanceId { service: name.clone(), replica })
            })
            .collect()
    }

    /// The public entrance and one loopback port for each declared edge.
    pub fn listeners(&self) -> Vec<Listener> {
        let public = self.app.gateway.iter().map(|gateway| Listener {
            id: "gateway".to_owned(),
            addr: gateway.listen,
            entrance: Entrance::Public(PublicRoutes {
                hosts: gateway.hosts.clone(),
                routes: gateway.routes.clone(),
                guard: Box::new(gateway.guard.clone()),
                secrets: self.secrets_of(gateway),
                cache_max: gateway.cache_max.0,
            }),
        });
        let edges = self.services.iter().flat_map(|(caller, plan)| {
            plan.edges.iter().map(move |(callee, port)| Listener {
                id: format!("edge/{caller}/{callee}"),
                addr: SocketAddr::from((Ipv4Addr::LOCALHOST, *port)),
                entrance: Entrance::Edge {
                    caller: caller.clone(),
                    callee: callee.clone(),
                    policy: self.app.services[caller].calls[callee].clone(),
                },
            })
        });
        public.chain(edges).collect()
    }

    /// Those that the entrance checks proofs with.
    fn secrets_of(&self, gateway: &Gateway) -> BTreeMap<SecretName, Hidden> {
        let value = |name: &SecretName| {
            let secret = self.secrets.get(name)?;
            Some((name.clone(), Hidden::new(secret.reveal().to_owned())))
        };
        gateway.guard.secrets().into_iter().filter_map(value).collect()
    }

    pub fn apis(&self) -> Vec<ApiPlan> {
        self.services
            .iter()
            .map(|(name, plan)| ApiPlan {
                service: name.clone(),
                port: plan.api_port,
                grpc_port: plan.grpc_port,
                token: plan.tokens.api.clone(),
                publishes: self.app.services[name].publishes.clone(),
                subscriptions: self.app.services[name]
                    .subscribes
                    .iter()
                    .map(|(pattern, how)| (pattern.to_string(), how.path.clone()))
                    .collect(),
                calls: self.app.services[name].calls.clone(),
                workflows: self.app.services[name].workflows.clone(),
            })
            .collect()
    }
}
