import { type EnumValue, RestError } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type { HostDocument, HostInitiator, InitiatorDocument, InitiatorPrivate } from '../catalog/documents.ts';

type PortType = EnumValue<'InitiatorProtocolType'>;

/** An initiator as a request gives it. */
export interface GivenInitiator extends InitiatorPrivate {
  readonly port_name: string;
  readonly port_type: PortType;
  readonly chap_single_username?: string;
  readonly chap_mutual_username?: string;
}

const nqn = /^nqn\.[^\s]{1,219}$/i;
/** What each protocol calls a port. */
const forms: Readonly<Record<PortType, RegExp>> = {
  iSCSI: /^(iqn\.\d{4}-\d{2}\.[^\s:]+(:\S+)?|eui\.[0-9a-f]{16}|naa\.([0-9a-f]{16}|[0-9a-f]{32}))$/i,
  FC: /^[0-9a-f]{2}(:[0-9a-f]{2}){7}$/i,
  NVMe: nqn,
  NVMe_vVol: nqn,
};

/** Refuses names that are none, names that another host has or that come twice, and a mixture of protocols. Changes nothing. */
export function checkInitiators(
  catalog: Catalog,
  host: { readonly id: string; readonly name: string },
  given: readonly GivenInitiator[],
  present: readonly InitiatorDocument[] = [],
): void {
  const seen = new Set<string>();
  for (const { port_name, port_type } of given) {
    if (!forms[port_type].test(port_name)) throw new RestError('bad_port_name', host.name, port_name, port_type);
    const key = port_name.toLowerCase();
    const owner = ownerOf(catalog, key);
    if (owner !== undefined || seen.has(key))
      throw new RestError('initiator_in_use', port_name, catalog.get('host', owner ?? '')?.name ?? host.name);
    seen.add(key);
  }
  // Virtual volumes are reached beside a host's own protocol.
  const types = new Set([...present, ...given].map(({ port_type }) => port_type));
  types.delete('NVMe_vVol');
  if (types.size > 1) throw new RestError('mixed_initiators', host.name, [...types].join(', '));
}

/** The host that a port belongs to. */
function ownerOf(catalog: Catalog, portName: string): string | undefined {
  const rows = catalog.all(`SELECT doc ->> '$.host_id' AS host FROM initiator WHERE lower(doc ->> '$.port_name') = ?`, [
    portName,
  ]);
  return rows[0] === undefined ? undefined : String(rows[0].host);
}

export const initiatorDocument = (id: string, hostId: string, given: GivenInitiator): InitiatorDocument => ({
  id,
  host_id: hostId,
  port_name: given.port_name,
  port_type: given.port_type,
  chap_single_username: given.chap_single_username ?? null,
  chap_mutual_username: given.chap_mutual_username ?? null,
  active_sessions: [],
});

/** The secrets of an initiator: those that were given, else those that there were. */
export const initiatorSecrets = (given: InitiatorPrivate, before: InitiatorPrivate = {}): InitiatorPrivate => {
  const single = given.chap_single_password ?? before.chap_single_password;
  const mutual = given.chap_mutual_password ?? before.chap_mutual_password;
  return {
    ...(single !== undefined && { chap_single_password: single }),
    ...(mutual !== undefined && { chap_mutual_password: mutual }),
  };
};

/** Enters in the host's row what the rows of its initiators say; part of the transaction that changes them. */
export function showInitiators(catalog: Catalog, hostId: string): void {
  const shown = catalog.list('initiator', 'host_id', hostId).map(
    (row): HostInitiator => ({
      port_name: row.port_name,
      port_type: row.port_type,
      port_type_l10n: row.port_type,
      chap_single_username: row.chap_single_username,
      chap_mutual_username: row.chap_mutual_username,
      active_sessions: row.active_sessions,
    }),
  );
  catalog.change('host', hostId, { host_initiators: shown } satisfies Partial<HostDocument>);
}
