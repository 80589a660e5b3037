// Holds answers against openapi.yaml and events against their schemas.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { parse } from 'yaml';

export const ROOT = join(import.meta.dirname, '..', '..');

type Node = Record<string, any>;
const spec = parse(readFileSync(join(ROOT, 'openapi.yaml'), 'utf8')) as Node;
const ajv = new Ajv2020({
  strict: false,
  formats: { 'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ },
});
ajv.addSchema(spec, 'http://service/openapi');
const compiled = new Map<string, ValidateFunction>();

function resolve(node: Node | undefined): Node | undefined {
  while (node?.$ref) {
    node = String(node.$ref).slice(2).split('/').reduce<Node | undefined>((at, step) => at?.[step], spec);
  }
  return node;
}

const paths = Object.keys(spec.paths).map((template) => ({
  template,
  form: new RegExp('^' + template.replace(/[.:]/g, '\\$&').replace(/\{[^}]+\}/g, '[^/]+') + '$'),
}));

export function check(method: string, target: string, status: number, type: string | null, body: string): void {
  const path = target.split('?')[0] ?? '';
  const template = paths.find(({ form }) => form.test(path))?.template;
  assert.ok(template, `openapi.yaml has no path for ${path}`);
  const response = resolve(spec.paths[template][method.toLowerCase()]?.responses[String(status)]);
  assert.ok(response, `openapi.yaml does not allow ${status} for ${method} ${template}: ${body}`);
  if (!response.content) return assert.equal(body, '', `an unexpected body with ${status}`);
  const content = response.content[type ?? ''];
  assert.ok(content, `openapi.yaml does not allow ${type} for ${status} of ${method} ${template}`);
  if (content.schema) validate(`${template} ${method} ${status}`, content.schema, body);
}

export function checkEvent(topic: string, data: unknown): void {
  const schema = JSON.parse(readFileSync(join(ROOT, 'events', `${topic}.schema.json`), 'utf8')) as Node;
  validate(topic, { ...schema, $id: undefined }, JSON.stringify(data));
}

function validate(name: string, schema: Node, body: string): void {
  let check = compiled.get(name);
  if (!check) {
    const absolute = JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"http://service/openapi#/')) as Node;
    check = ajv.compile(absolute);
    compiled.set(name, check);
  }
  assert.ok(check(JSON.parse(body)), `${name}: ${ajv.errorsText(check.errors)}\n${body}`);
}
