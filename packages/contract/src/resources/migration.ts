import { Type } from 'typebox';
import { Body, Flag, Name, OneOf, Opt, Ref } from '../bodies.ts';
import { hasListed, hasMany, integer, none, one, type ResourceSpec, text, time } from '../resource.ts';

export const MigrationCreate = Body({
  name: Opt(Name()),
  resource_type: OneOf('MigrationResourceType'),
  family_id: Ref(),
  destination_appliance_id: Ref(),
  automatic_cutover: Opt(Flag()),
});
/** No host has to be told: they are served where they were. */
export const MigrationCreated = Type.Object({ id: Type.String(), rescan_host_ids: Type.Array(Type.String()) });
export const MigrationSync = Body({ automatic_cutover: Opt(Flag()), rescan_complete: Opt(Flag()) });
export const MigrationDelete = Body({ force: Opt(Flag()) });

export const migrationSession: ResourceSpec = {
  name: 'migration_session',
  description: 'A volume or a group on its way to another appliance of the cluster, with its snapshots and clones.',
  byName: true,
  fields: {
    id: text('Identifier.'),
    name: text('Name.'),
    resource_type: one('MigrationResourceType', 'What moves.'),
    family_id: text('Family of what moves.'),
    source_appliance_id: text('Where it comes from.'),
    destination_appliance_id: text('Where it goes.'),
    state: one('MigrationSessionState', 'State of the migration.'),
    created_timestamp: time('When it was made.'),
    last_sync_timestamp: time('When the destination last had everything that was there when it was asked.'),
    progress_percentage: integer('How much of what is being copied is there.'),
    estimated_completion_timestamp: time('When the copy will be complete, at the present rate.'),
    current_transfer_rate: integer('Bytes a second.'),
  },
  associations: {
    volumes: hasMany('volume', 'migration_session_id'),
    volume_groups: hasMany('volume_group', 'migration_session_id'),
    replication_sessions: hasListed('replication_session', 'session_ids'),
    virtual_volumes: none('virtual_volume', 'many'),
  },
  create: { body: MigrationCreate, answer: MigrationCreated },
  remove: { body: MigrationDelete },
  actions: {
    sync: { summary: 'Copy what is not at the destination yet.', body: MigrationSync, required: true },
    pause: { summary: 'Stop copying; what is there stays.', body: Body({}) },
    resume: { summary: 'Go on copying.', body: Body({}) },
    cutover: { summary: 'Copy the rest, and serve it from the destination.', body: Body({}) },
  },
};
