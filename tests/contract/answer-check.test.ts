import { RestError } from '@antipode/contract';
import { type Answered, wrongAnswer } from '@antipode/contract/testing';
import { describe, expect, it } from 'vitest';

const answer = (given: Partial<Answered>): Answered => ({
  method: 'GET',
  url: '/api/rest/volume?select=*',
  status: 200,
  contentRange: undefined,
  body: [],
  ...given,
});
const volumes = (body: unknown) => wrongAnswer(answer({ body }));

describe('the check of answers that every test goes through', () => {
  it('passes what is published', () => {
    expect(volumes([{ id: '1', size: 8192, state: 'Ready', state_l10n: 'Ready', description: null }])).toBeUndefined();
    expect(volumes([{ appliance: { id: 'A1', nodes: [{ id: 'N1' }] }, protection_policy: null }])).toBeUndefined();
    expect(
      wrongAnswer(answer({ method: 'PATCH', url: '/api/rest/volume/1', status: 204, body: undefined })),
    ).toBeUndefined();
    expect(wrongAnswer(answer({ url: '/api/rest/nas_server', body: [] }))).toBeUndefined();
    expect(wrongAnswer(answer({ url: '/api/antipode/v1/anything', body: 7 }))).toBeUndefined();
    const refused = new RestError('volume_not_found', '1');
    expect(wrongAnswer(answer({ url: '/api/rest/volume/1', status: 404, body: refused.body() }))).toBeUndefined();
  });

  it.each([
    ['an attribute that is not published', { body: [{ id: '1', colour: 'red' }] }],
    ['one in an association', { body: [{ appliance: { colour: 'red' } }] }],
    ['another type', { body: [{ size: '8192' }] }],
    ['another literal', { body: [{ state: 'Happy' }] }],
    ['no list where there is one', { body: {} }],
    ['a status that is not published', { status: 203 }],
    ['a page without its range', { status: 206 }],
    ['a body where there is none', { method: 'PATCH', url: '/api/rest/volume/1', status: 204, body: {} }],
    ['an operation that is not published', { url: '/api/rest/zebra' }],
    ['something in what is always empty', { url: '/api/rest/nas_server', body: [{ id: '1' }] }],
    ['an error without its form', { status: 404, body: { error: 'no' } }],
    [
      'a code that there is not',
      { status: 404, body: { messages: [{ code: '0xE00000000000', severity: 'Error', message_l10n: 'x' }] } },
    ],
    ['a code of another status', { status: 400, body: new RestError('volume_not_found', '1').body() }],
  ] as const)('finds %s', (_, given) => {
    expect(wrongAnswer(answer(given))).toMatch(/answered/);
  });
});
