import { type TObject, type TProperties, type TSchema, Type } from 'typebox';
import { Nullable, OneOf, Timestamp } from './bodies.ts';

/** What stands inside of attributes, where resources hold more than one value. An attribute that has no value is null. */
const Shape = <T extends TProperties>(properties: T): TObject<T> => Type.Object(properties);
const OrNull = <T extends TSchema>(schema: T) => Nullable(schema);
const Words = () => Nullable(Type.String());

export const Texts = () => Type.String();
/** A list of which nothing can be here. */
export const Nothing = () => Type.Never();

export const ProtectionDataShape = Shape({
  family_id: Type.String(),
  parent_id: Words(),
  source_id: Words(),
  source_timestamp: OrNull(Timestamp()),
  creator_type: OneOf('StorageCreatorType'),
  creator_type_l10n: Type.String(),
  copy_signature: Words(),
  expiration_timestamp: OrNull(Timestamp()),
  created_by_rule_id: Words(),
  created_by_rule_name: Words(),
  is_app_consistent: Type.Boolean(),
  is_secure: Type.Boolean(),
});

export const LocationShape = Shape({
  from_appliance_id: Type.String(),
  to_appliance_id: Type.String(),
  reason: OneOf('LocationHistoryReason'),
  reason_l10n: Type.String(),
  migrated_on: Timestamp(),
});

export const HostInitiatorShape = Shape({
  port_name: Type.String(),
  port_type: OneOf('InitiatorProtocolType'),
  port_type_l10n: Type.String(),
  chap_single_username: Words(),
  chap_mutual_username: Words(),
  active_sessions: Type.Array(Nothing()),
});

export const ElementPairShape = Shape({
  local_storage_element_id: Type.String(),
  remote_storage_element_id: Type.String(),
  storage_element_type: OneOf('StorageElementType'),
  replication_shadow_id: Words(),
});

export const DataConnectionShape = Shape({
  node_id: Type.String(),
  initiator_address: Words(),
  target_address: Words(),
  status: OneOf('TransitConnectionStatus'),
  status_l10n: Type.String(),
  data_connection_type: OneOf('DataConnectionType'),
  data_connection_type_l10n: Type.String(),
});

/** An answer as it was, or would have been: what is in it follows from `response_type`. */
export const ResponseShape = Type.Object({ response_type: Type.String() }, { additionalProperties: true });
