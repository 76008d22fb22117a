import { display } from '@antipode/contract';
import type { Catalog } from '../catalog/catalog.ts';
import type { RemoteSystemDocument } from '../catalog/documents.ts';
import { certificateMember } from '../security/certificate-member.ts';
import type { LinkState } from './link-monitor.ts';
import type { RemoteRecord, RemoteStore, TrustRecord, TrustStore } from './remote-systems.ts';

/** Peers and exchanged certificates, as rows of the catalog. */
export function remoteStore(catalog: Catalog): RemoteStore {
  const save = (record: RemoteRecord) => catalog.put('remote_system', remoteDocument(record), record);
  return {
    list: () =>
      catalog
        .list('remote_system')
        .map((row) => catalog.private<RemoteRecord>('remote_system', row.id))
        .filter((record) => record !== undefined),
    save,
    follow: (record) =>
      catalog.eventually(() => {
        const present = record();
        if (present !== undefined) save(present);
      }),
    remove: (id) => catalog.remove('remote_system', id),
  };
}

export function trustStore(catalog: Catalog): TrustStore {
  const idOf = (serial: string) => `peer-${serial}`;
  return {
    list: () =>
      catalog
        .list('x509_certificate')
        .map((row) => catalog.private<TrustRecord>('x509_certificate', row.id))
        .filter((record) => record !== undefined),
    save: (record) =>
      catalog.put(
        'x509_certificate',
        {
          id: idOf(record.serial),
          type: 'CA_Server_Validation',
          service: 'Replication_HTTP',
          scope: record.serial,
          is_current: true,
          is_valid: true,
          members: [certificateMember(record.certificate)],
        },
        record,
      ),
    remove: (serial) => catalog.remove('x509_certificate', idOf(serial)),
  };
}

function remoteDocument(record: RemoteRecord): RemoteSystemDocument {
  return {
    id: record.id,
    name: record.name,
    description: record.description,
    serial_number: record.serial,
    version: record.version,
    management_address: record.managementAddress,
    type: 'PowerStore',
    state: 'OK',
    data_connection_type: 'TCP',
    data_connection_state: 'Initializing',
    data_network_latency: record.latency as RemoteSystemDocument['data_network_latency'],
    iscsi_addresses: [],
    discovery_chap_mode: 'Disabled',
    session_chap_mode: 'Disabled',
    data_connections: [],
    capabilities: ['Asynchronous_Block_Replication'],
    user_name: '',
  };
}

/** The state of a link changes often: shown, and no commit [C7.3]. */
export function showLink(catalog: Catalog, record: RemoteRecord, state: LinkState): void {
  const data =
    !state.up || state.data === 'lost' ? 'Complete_Data_Connection_Loss' : state.data === 'ok' ? 'OK' : 'Initializing';
  const connection = {
    node_id: 'N1',
    initiator_address: null,
    target_address: record.data.host,
    status: data === 'OK' ? 'Login_Success' : 'Network_Error',
    status_l10n: display(data === 'OK' ? 'Login_Success' : 'Network_Error'),
    data_connection_type: 'TCP',
    data_connection_type_l10n: display('TCP'),
  };
  catalog.live('remote_system', record.id, {
    state: state.up ? 'OK' : 'Management_Connection_Lost',
    data_connection_state: data,
    data_connections: [connection],
  });
}
