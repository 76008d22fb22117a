import { buildOpenApi, calendarZone, catalogue, enums, RestError, resources } from '@antipode/contract';
import { describe, expect, it } from 'vitest';

describe('the error catalogue', () => {
  it('has one code an entry, of the form that clients know', () => {
    const codes = Object.values(catalogue).map((entry) => entry.code);
    expect(new Set(codes).size).toBe(codes.length);
    for (const code of codes) expect(code).toMatch(/^0xE[0-9A-F]{11}$/);
  });

  it('fills in arguments, and those alone', () => {
    const error = new RestError('not_found', 'job', '{0} $& \\1');
    expect(error.body().messages).toEqual([
      {
        code: '0xE04040020009',
        severity: 'Error',
        severity_l10n: 'Error',
        message_l10n: 'There is no job with the id {0} $& \\1.',
        arguments: ['job', '{0} $& \\1'],
      },
    ]);
    expect(error.status).toBe(404);
  });

  it('keeps what clients key on', () => {
    expect(catalogue.session_wrong_side.status).toBe(400);
    expect(catalogue.failed_over_already.code).toBe('0xE0201005000C');
    expect(catalogue.snapshot_name_in_use.status).toBe(400);
    expect(catalogue.name_in_use).toMatchObject({ status: 422, code: '0xE0A080010014' });
  });

  it('says what to do for every error', () => {
    for (const entry of Object.values(catalogue)) expect(entry.remedy).toMatch(/\.$/);
  });
});

describe('the specifications', () => {
  it.each(Object.values(resources).map((resource) => [resource.name, resource] as const))(
    '%s is whole: an id, associations to resources that there are, twins that do not collide',
    (_, resource) => {
      expect(resource.fields.id?.type).toBe('string');
      for (const [name, field] of Object.entries(resource.fields)) {
        expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
        if (field.of !== undefined) {
          expect(enums[field.of].length).toBeGreaterThan(0);
          expect(resource.fields).not.toHaveProperty(`${name}_l10n`);
        }
      }
      for (const name of Object.keys(resource.associations)) expect(resource.fields).not.toHaveProperty(name);
      if (resource.byName) expect(resource.fields.name?.type).toBe('string');
    },
  );

  it('literals are unique within their enumeration', () => {
    for (const literals of Object.values(enums)) expect(new Set(literals).size).toBe(literals.length);
  });
});

describe('time zones', () => {
  it('every literal is one that calendars know', () => {
    for (const zone of enums.TimeZone)
      expect(() => new Intl.DateTimeFormat('en', { timeZone: calendarZone(zone) }), zone).not.toThrow();
    expect(calendarZone('Etc__GMT_plus_12')).toBe('Etc/GMT+12');
  });
});

describe('the OpenAPI document', () => {
  const document = JSON.parse(JSON.stringify(buildOpenApi('4.1.0.0'))) as {
    openapi: string;
    paths: Record<string, Record<string, { responses?: Record<string, unknown> }>>;
    components: { schemas: Record<string, unknown> };
  };

  it('names every operation and every answer', () => {
    expect(document.openapi).toBe('3.1.0');
    for (const resource of Object.values(resources)) {
      if (!resource.noList) expect(document.paths).toHaveProperty([`/${resource.name}`]);
      for (const action of Object.keys(resource.actions))
        expect(document.paths[`/${resource.name}/{id}/${action}`]?.post?.responses).toHaveProperty('422');
    }
    expect(document.paths['/volume']?.post?.responses).toHaveProperty('201');
    expect(document.paths['/volume/{id}']?.delete?.responses).toHaveProperty('204');
  });

  it('refers only to what is in it', () => {
    const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(
      (match) => match[1] ?? '',
    );
    expect(references.length).toBeGreaterThan(50);
    for (const name of new Set(references)) expect(document.components.schemas).toHaveProperty(name);
  });
});
