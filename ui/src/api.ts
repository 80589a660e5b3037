// The admin API as a browser sees it; the shapes stand in crates/console/src/view.rs.

export interface Status {
  app: string;
  version: string;
  profile: string | null;
  manifest: string;
  pid: number;
  started_at_ms: number;
  generation: number;
  gateway: { url: string; error: string | null } | null;
  problems: string[];
  services: Service[];
}

export type StatusPatch = Pick<Status, "generation" | "gateway" | "problems" | "services">;

export interface Service {
  name: string;
  state: string;
  desired: number;
  ready: number;
  settled: boolean;
  needs_a_person: boolean;
  reason: string | null;
  last_lines: string[];
  build: { state: string; took_ms: number | null } | null;
  database: string | null;
  restarts: number;
  memory_bytes: number;
  memory_limit: number | null;
  memory_tier: string;
  instances: Instance[];
}

export interface Instance {
  id: string;
  state: string;
  pid: number | null;
  port: number | null;
  started_at_ms: number | null;
  ready_since_ms: number | null;
  restarts: number;
  next_start_at_ms: number | null;
  last_exit: string | null;
  last_probe: string | null;
  memory_bytes: number;
  adopted: boolean;
  inflight: number;
}

export interface Description {
  service: Service;
  path: string;
  build_command: string | null;
  run_command: string;
  urls: { name: string; url: string }[];
  routes: string[];
  calls: string[];
  called_by: string[];
  publishes: string[];
  subscribes: string[];
  database: string | null;
  env: { name: string; value: string; masked: boolean }[];
  health: string[];
  stop: string;
  restart: string;
  isolation: string;
}

export interface LogLine {
  at_ms: number;
  service: string;
  instance: string;
  stream: string;
  level: string | null;
  message: string;
  trace_id?: string;
  span_id?: string;
  fields?: Record<string, unknown>;
}

export interface TraceSummary {
  trace_id: string;
  service: string;
  name: string;
  path?: string;
  start_us: number;
  duration_us: number;
  spans: number;
  errors: number;
  services: Record<string, number>;
}

export interface Traces {
  traces: TraceSummary[];
  cut_at_ms: number | null;
}

export interface Span {
  trace_id: string;
  span_id: string;
  parent_id: string | null;
  service: string;
  instance: string | null;
  name: string;
  kind: string;
  status: string;
  start_us: number;
  duration_us: number;
  attributes: Record<string, unknown>;
  resource: Record<string, unknown>;
  events: { name: string; at_us: number; attributes: Record<string, unknown> }[];
  links: { trace_id: string; span_id: string; attributes: Record<string, unknown> }[];
}

export interface Trace {
  trace_id: string;
  spans: Span[];
  logs: LogLine[];
}

export interface Timing {
  count: number;
  errors: number;
  p50_us: number;
  p95_us: number;
  p99_us: number;
}

export interface TraceHistogram {
  since_ms: number;
  until_ms: number;
  step_ms: number;
  buckets: (Timing & { at_ms: number; classes: [number, number][] })[];
  cut_at_ms: number | null;
}

export interface Tallies {
  keys: string[];
  rows: (Timing & { values: string[] })[];
  cut_at_ms: number | null;
}

export interface LogSummary {
  from_ms: number;
  bucket_ms: number;
  total: number;
  truncated: boolean;
  buckets: { error: number; warn: number; other: number }[];
  services: Record<string, number>;
  instances: Record<string, number>;
  levels: Record<string, number>;
}

export interface Topics {
  topics: Topic[];
  outboxes: { service: string; pulled: number; problem: string | null }[];
}

export interface Topic {
  name: string;
  publisher: string | null;
  events: number;
  bytes: number;
  first: number;
  next: number;
  retain_ms: number;
  subscribers: Subscriber[];
}

export interface Subscriber {
  service: string;
  lag: number;
  oldest_age_ms: number | null;
  inflight: number;
  parked: number;
  dead: number;
  state: string;
  path: string;
  waiting: number;
  delivered: number;
  failed_attempts: number;
  expired: number;
  lost: number;
}

export interface StoredEvent {
  topic: string;
  seq: number;
  at_ms: number;
  event: Record<string, unknown> | null;
}

export interface DeadLetter {
  id: string;
  topic: string;
  subscriber: string;
  reason: string;
  attempts: number;
  first_at_ms: number;
  last_at_ms: number;
  state: string;
  event_id: string | null;
  event_type: string | null;
  event_source: string | null;
}

export type DeadLetterWhole = DeadLetter & { event: unknown };

export interface Graph {
  generation: number;
  listen: string | null;
  hosts: string[];
  routes: Route[];
  services: {
    name: string;
    protocol: string;
    calls: string[];
    database: string | null;
    labels: Record<string, string>;
  }[];
  externals: { name: string; url: string; owner: string | null }[];
  topics: {
    name: string;
    publisher: string | null;
    subscribers: string[];
    description: string | null;
  }[];
}

export interface Route {
  /** As its numbers name it. */
  label: string;
  host: string | null;
  method: string | null;
  path: string;
  to: string;
  targets: string[];
  strip: string | null;
  timeout_ms: number | null;
  body_bytes_max: number | null;
}

/** Requests, failed ones, 95th percentile in microseconds, within one step. */
export type Point = [number, number, number];

export interface Series {
  kind: "outside" | "service" | "archipel";
  caller: string | null;
  callee: string | null;
  route: string | null;
  requests: number;
  by_class: number[];
  refused: number;
  retries: number;
  broken: number;
  bytes: number;
  inflight: number;
  breaker_open: boolean;
  fallbacks: number;
  rate: number;
  failing: number;
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
  point: Point;
  history?: Point[];
}

export interface Traffic {
  at_ms: number;
  step_ms: number;
  connections: number;
  series: Series[];
}

/** What has passed each public route since Archipel started, and to whom. */
export interface Shares {
  requests: number;
  external: number;
  routes: {
    route: string;
    kind: string;
    to: { name: string; external: boolean; share: number | null; requests: number }[];
    requests: number;
    external: number;
    failed: number;
    fallback: { to: string; requests: number } | null;
    mirror: { to: string; done: number } | null;
    compare: { to: string; done: number; differing: number } | null;
  }[];
}

export interface Databases {
  databases: {
    service: string;
    engine: string;
    name: string;
    file: string | null;
    bytes: number | null;
    migrate: string | null;
  }[];
}

export interface Jobs {
  jobs: Job[];
}

export interface Job {
  name: string;
  service: string | null;
  schedule: string | null;
  timezone: string;
  next_at_ms: number | null;
  running: number;
  last: JobRun | null;
  command: string;
  runs: JobRun[];
}

export interface JobRun {
  started_at_ms: number;
  took_ms: number;
  exit_code: number;
  outcome: string;
}

export interface ErrorGroup {
  id: string;
  source: "span" | "log";
  service: string;
  title: string;
  place: string;
  count: number;
  first_ms: number;
  last_ms: number;
  instances: string[];
  releases: string[];
  example: string;
  trace_id: string | null;
  span_id: string | null;
  steps: [number, number][];
}

export interface Errors {
  total: number;
  errors: ErrorGroup[];
}

export interface Found {
  key: string;
  traces: TraceSummary[];
  logs: LogLine[];
  events: StoredEvent[];
  dead: DeadLetter[];
  workflows: Workflow[];
  cut: boolean;
}

export interface MetricLine {
  metric: string;
  service: string;
  instance: string;
  /** Of what a service sent: its attributes. */
  labels?: string;
  values: (number | null)[];
}

export interface ReceivedMetric {
  metric: string;
  instrument: string;
  unit: string;
  description: string;
  services: Record<string, number>;
  /** What it is asked by over time. */
  lines: string[];
}

export interface ReceivedMetrics {
  metrics: ReceivedMetric[];
}

export interface MetricLines {
  since_ms: number;
  step_ms: number;
  lines: MetricLine[];
  left_out: number;
}

export interface WorkflowRef {
  service: string;
  id: string;
}

export interface Workflow extends WorkflowRef {
  name: string;
  version: string | null;
  status: string;
  created_at_ms: number | null;
  updated_at_ms: number | null;
  ended_at_ms: number | null;
  scheduled_at_ms: number | null;
  parent: WorkflowRef | null;
  custom_status: string | null;
  /** Why it was given up until somebody resumes it. */
  parked: string | null;
  tags: Record<string, string>;
}

export interface Workflows {
  instances: Workflow[];
  counts: Record<string, number>;
  more: boolean;
  workers: Record<string, number>;
}

export interface WorkflowWhole extends Workflow {
  execution_id: string | null;
  input: string | null;
  output: string | null;
  failure: { kind: string; message: string; stack: string | null } | null;
  waits: string | null;
  turn: string;
  activities: { event_id: number; name: string; service: string; running: boolean; lost: number }[];
  timers: { event_id: number; fires_at_ms: number; event: string | null }[];
  children: { event_id: number; service: string; id: string }[];
  workers: number;
}

export interface WorkflowEvent {
  event_id: number;
  at_ms: number;
  kind: string;
  name: string | null;
  of: number | null;
  service: string | null;
  about: string | null;
  payload: string | null;
  payload_bytes: number | null;
  failure: string | null;
  trace_id?: string;
}

export interface WorkflowHistory {
  left_out: number;
  events: WorkflowEvent[];
}

export interface WorkflowsChanged {
  done: WorkflowRef[];
  failed: (WorkflowRef & { reason: string })[];
  more: boolean;
}

export interface TopicSchema {
  topic: string;
  file: string | null;
  document: unknown;
  example: unknown;
}

export interface Tables {
  service: string;
  engine: string;
  tables: { name: string; kind: string; rows: number | null; estimated: boolean; bytes: number | null; columns: string[] }[];
  time_max_ms: number;
  rows_max: number;
}

export interface SqlRows {
  columns: string[];
  rows: (string | null)[][];
  more: boolean;
  masked: string[];
  took_ms: number;
}

export interface Apis {
  apis: { service: string; protocol: string; file: string | null }[];
}

export interface Operation {
  method: string;
  path: string;
  summary: string | null;
  description: string | null;
  tags: string[];
  deprecated: boolean;
  secured: boolean;
  parameters: {
    name: string;
    in: string;
    required: boolean;
    description: string | null;
    kind: string;
    example: string | null;
    choices: string[];
  }[];
  body: { media_type: string; required: boolean; example: unknown; schema: unknown } | null;
  answers: Record<string, string>;
}

export interface Api {
  service: string;
  source: string | null;
  problem: string | null;
  title: string | null;
  version: string | null;
  operations: Operation[];
}

export interface Sent {
  status: number;
  headers: [string, string][];
  body: string;
  bytes: number;
  cut: boolean;
  /** More comes, as the body of another. */
  open: boolean;
  problem?: string;
  took_ms: number;
  trace_id: string;
}

export interface InForce {
  listeners: { name: string; address: string; open_to: string }[];
  kept: { name: string; bytes: number; bytes_max: number | null; age_max_ms: number | null; dir: string }[];
  limits: { name: string; value: string; key: string | null }[];
  files: { name: string; value: string; key: string | null }[];
  isolation: string;
}

/** What the API said when it refused, or why it could not be asked. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

const BASE = "/api/v1";

export const address = (path: string, query: Query = {}): string => {
  const words = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== "") words.append(key, String(one));
    }
  }
  // A plus is a plus to the server.
  const text = words.toString().replace(/\+/g, "%20");
  return `${BASE}${path}${text ? `?${text}` : ""}`;
};

export type Query = Record<string, string | number | undefined | string[]>;

async function ask(path: string, init: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "Archipel does not answer. Is it running?");
  }
  if (answer.ok) return answer;
  const problem = (await answer.json().catch(() => null)) as { detail?: string } | null;
  throw new ApiError(answer.status, problem?.detail ?? `the answer was ${answer.status}`);
}

export async function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  const answer = await ask(address(path, query), signal ? { signal } : {});
  return (await answer.json()) as T;
}

/** A document a line. */
export async function lines<T>(path: string, query: Query, signal?: AbortSignal): Promise<T[]> {
  const answer = await ask(address(path, query), signal ? { signal } : {});
  const text = await answer.text();
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as T);
}

function posted(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const headers = { "content-type": "application/json" };
  return ask(`${BASE}${path}`, {
    method: "POST",
    headers,
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });
}

export async function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return (await (await posted(path, body, signal)).json()) as T;
}

/** The documents of an answer, a line each, as they come. */
export async function* postLines<T>(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<T> {
  const reader = (await posted(path, body, signal)).body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (reader) {
    const { done, value } = await reader.read();
    if (done) return;
    const whole = (text + value).split("\n");
    text = whole.pop() ?? "";
    for (const line of whole) if (line !== "") yield JSON.parse(line) as T;
  }
}

export interface Alert {
  rule: string;
  labels: Record<string, string>;
  severity: string;
  state: string;
  since_ms: number;
  summary: string;
  description: string | null;
  link: string;
  told: string[];
  silence: string | null;
  explained: string | null;
}

export interface AlertEvent {
  at_ms: number;
  rule: string;
  labels: Record<string, string>;
  state: string;
  summary: string;
}

export interface Slo {
  name: string;
  on: string;
  good: string;
  target: number;
  window_ms: number;
  requests: number;
  bad: number;
  budget_left: number;
  burn: number[];
}

export interface Silence {
  id: string;
  rule: string | null;
  labels: Record<string, string>;
  until_ms: number;
  reason: string;
}

export interface Alerts {
  alerts: Alert[];
  firing: number;
  rules: {
    name: string;
    when: string;
    severity: string;
    description: string | null;
    shipped: boolean;
    notify: string[] | null;
    firing: number;
    problem: string | null;
    left_out: number;
  }[];
  slos: Slo[];
  channels: { name: string; kind: string; least: string; problem: string | null }[];
  silences: Silence[];
  history: AlertEvent[];
  deliveries: { id: string; at_ms: number; channel: string; title: string; state: string; tries: number; problem: string | null; next_ms: number | null }[];
  quiet_until_ms: number | null;
  problem: string | null;
}

export interface Check {
  name: string;
  steps: string[];
  every_ms: number;
  state: string;
  problem: string | null;
  certificate_ends_ms: number | null;
  runs: { at_ms: number; ok: boolean; took_ms: number; problem: string | null }[];
}

export interface Checks {
  checks: Check[];
}
