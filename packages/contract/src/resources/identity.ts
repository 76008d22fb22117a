import { Type } from 'typebox';
import { Body, Flag, OneOf, Opt, Ref } from '../bodies.ts';
import { flag, integer, objectOf, one, type ResourceSpec, text, time } from '../resource.ts';

const readOnly = { byName: false, associations: {}, actions: {} } as const;
const Password = () => Type.String({ minLength: 8, maxLength: 40 });

export const LocalUserCreate = Body({
  name: Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9._-]+$' }),
  password: Password(),
  role_id: Ref(),
  is_mfa_bypass: Opt(Flag()),
});
export const LocalUserModify = Body({
  password: Opt(Password()),
  current_password: Opt(Type.String({ maxLength: 256 })),
  role_id: Opt(Ref()),
  is_locked: Opt(Flag()),
  is_mfa_bypass: Opt(Flag()),
});

export const localUser: ResourceSpec = {
  ...readOnly,
  name: 'local_user',
  description: 'Somebody who may log in.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name, unique.'),
    role_id: text('Role.'),
    is_built_in: flag('The user came with the system.'),
    is_default_password: flag('The password is the one that the system made up.'),
    is_locked: flag('The user cannot log in.'),
    is_mfa_bypass: flag('A password suffices; it always does here.'),
    mfa_alias: text('Name at a second factor.'),
    password_expiration_timestamp: time('When the password has to be changed; passwords do not age here.'),
  },
  create: { body: LocalUserCreate },
  modify: { body: LocalUserModify },
  remove: {},
};

export const role: ResourceSpec = {
  ...readOnly,
  name: 'role',
  description: 'What its holders may do.',
  byName: true,
  fields: {
    id: text('Identity.'),
    name: text('Name.'),
    description: text('What it allows.'),
    is_built_in: flag('It came with the system.'),
  },
};

export const SecurityConfigModify = Body({
  idle_timeout: Opt(Type.Integer({ minimum: 60, maximum: 2_147_483_647 })),
  // There is one, and it is on.
  protocol_mode: Opt(OneOf('SecurityProtocolMode')),
});

export const securityConfig: ResourceSpec = {
  ...readOnly,
  name: 'security_config',
  description: 'How logins are guarded.',
  simple: true,
  fields: {
    id: text('Always "1".'),
    idle_timeout: integer('Seconds after which an unused login ends.'),
    protocol_mode: one('SecurityProtocolMode', 'Oldest TLS that is spoken.'),
    is_http_redirect_enabled: flag('Plain HTTP leads to HTTPS; there is no plain HTTP here.'),
    is_stig_enabled: flag('Hardened as the STIG asks.'),
    is_fips_enabled: flag('Only approved cryptography.'),
    vasa_retain_certificate: flag('VASA keeps its certificate.'),
    cert_user_name_policy: one('CertUserNamePolicy', 'How a certificate names a user.'),
    default_mfa_service: objectOf(Type.Null(), 'Second factor; there is none.'),
  },
  modify: { body: SecurityConfigModify },
};

export const identityResources = [localUser, role, securityConfig] as const;
