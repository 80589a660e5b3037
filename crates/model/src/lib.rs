//! Ids and the resolved application: plain data that every other crate reads.
//!
//! Nothing here awaits, reads the clock, or knows a file format. `manifest` makes an [`App`],
//! everyone else takes it as it is: an `App` has been checked as a whole, so a reference in it
//! (a callee, a secret, a topic) always resolves.

mod app;
mod command;
mod export;
mod gateway;
mod guard;
mod health;
mod name;
mod policy;
mod quantity;
mod safeguards;
mod state;
mod steer;
pub mod suggest;
mod template;
mod tls;
mod trace;
mod watch;

pub use app::{
    App, Database, DatabaseEngine, EnvValue, EventContract, EventSchema, External, Hidden, Job,
    JobRetry, Overlap, Protocol, SecretRule, Service, Storage, Subscription, WorkflowPolicy,
    WorkflowSchedule,
};
pub use command::Command;
pub use export::{Export, ExportProtocol};
pub use gateway::{Gateway, PathPattern, PathPatternError, Route, RouteCache, Segment};
pub use guard::{
    AccessFormat, AccessLog, Algorithm, ApiKeys, Auth, Basic, Bots, Cidr, CidrError, Cors, Guard,
    HeaderChanges, Jwt, KeySource, LimitBy, RateLimit, RouteGuard, SecurityHeaders, is_header_name,
};
pub use health::{Check, Health, Probe};
pub use name::{
    AppName, InstanceId, JobName, NameError, ProfileName, SecretName, ServiceName, TopicName,
    TopicPattern, WatchName,
};
pub use policy::{
    Backoff, EdgePolicy, LogPolicy, Memory, Restart, RestartOn, Retry, RetryOn, Sampling, Signal,
    Stop, TelemetryPolicy,
};
pub use quantity::{Bytes, QuantityError, parse_duration, show_duration};
pub use safeguards::{Breaker, Bulkhead, Fallback, FallbackOn, Hedge, Priority, Safeguards, Spare};
pub use state::InstanceState;
pub use steer::{
    Compare, Condition, Elsewhere, Lead, Mirror, Part, Respond, Sample, Steer, Sticky, Want,
};
pub use template::{Template, TemplateError};
pub use tls::{AutoTls, CertificateFiles, ClientCa, Tls, ToHttps, is_local_host};
pub use trace::{SpanId, TraceId, TraceIdError};
pub use watch::{
    Aggregate, AlertPace, AlertRule, Channel, ChannelKind, Comparison, Events, HttpStep, Mail,
    MailTls, Millionths, Severity, Slo, Synthetic, SyntheticStep, Watch,
};
