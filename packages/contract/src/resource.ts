import type { TArray, TObject, TSchema } from 'typebox';
import type { EnumName } from './enums.ts';

/** An attribute of a resource as the query grammar sees it. */
export interface FieldSpec {
  readonly type: 'string' | 'int' | 'boolean' | 'timestamp' | 'enum' | 'object' | 'list';
  /** Literals, for an enumeration or a list of one; such a field has a `*_l10n` twin. */
  readonly of?: EnumName;
  /** A literal of an open set: it has a `*_l10n` twin too, and any value may be asked for. */
  readonly words?: true;
  /** What an object is made of, or an item of a list. */
  readonly shape?: TSchema;
  readonly description: string;
}

/** Another resource that `select` can expand: rows of `resource` whose `theirs` equals our `ours`. */
export interface AssociationSpec {
  readonly resource: string;
  readonly many: boolean;
  readonly ours: string;
  readonly theirs: string;
  /** `ours` is a list of ids rather than one. */
  readonly list?: true;
  /** `theirs` is a list of ids that may hold ours. */
  readonly listing?: true;
  /** There are no such things here: it can be selected, and is always empty. */
  readonly none?: true;
}

export interface ActionSpec {
  readonly summary: string;
  readonly body?: TObject;
  /** It changes nothing: everybody may, and no job or audit entry tells of it. */
  readonly reads?: true;
  /** The body must be there. */
  readonly required?: true;
  /** Shape of a 200 answer; absent: 204. */
  readonly answer?: TObject | TArray;
}

/** One resource of the REST interface: all that routes, validation, queries, documentation and clients need to know. */
export interface ResourceSpec {
  readonly name: string;
  readonly description: string;
  readonly fields: Readonly<Record<string, FieldSpec>>;
  readonly associations: Readonly<Record<string, AssociationSpec>>;
  /** `name:x` instead of an id is understood. */
  readonly byName: boolean;
  /** Collections that take no filter, order or page. */
  readonly simple?: true;
  readonly noInstance?: true;
  /** There is no collection to be read. */
  readonly noList?: true;
  /** Outside the published interface: always there, or only for those who ask with a DELL-VISIBILITY header. */
  readonly hidden?: 'always' | 'on_request';
  /** `answer`: of a 201; absent: the id. `upload`: the field of a form in which a file arrives, in place of a body. */
  readonly create?: { readonly body: TObject; readonly answer?: TObject; readonly upload?: string };
  readonly modify?: { readonly body: TObject };
  readonly remove?: { readonly body?: TObject };
  /** Actions on an instance: `POST /resource/{id}/action`. */
  readonly actions: Readonly<Record<string, ActionSpec>>;
  /** Actions on the collection: `POST /resource/action`. */
  readonly collectionActions?: Readonly<Record<string, ActionSpec>>;
}

export const text = (description: string): FieldSpec => ({ type: 'string', description });
/** A literal of an open set, shown in words beside it. */
export const phrase = (description: string): FieldSpec => ({ type: 'string', description, words: true });
export const integer = (description: string): FieldSpec => ({ type: 'int', description });
export const flag = (description: string): FieldSpec => ({ type: 'boolean', description });
export const time = (description: string): FieldSpec => ({ type: 'timestamp', description });
export const one = (of: EnumName, description: string): FieldSpec => ({ type: 'enum', of, description });
export const objectOf = (shape: TSchema, description: string): FieldSpec => ({ type: 'object', shape, description });
export const listOf = (shape: TSchema, description: string): FieldSpec => ({ type: 'list', shape, description });
export const list = (description: string, of: EnumName): FieldSpec => ({ type: 'list', description, of });

export const has = (resource: string, ours: string, theirs = 'id'): AssociationSpec => ({
  resource,
  many: false,
  ours,
  theirs,
});
export const hasMany = (resource: string, theirs: string, ours = 'id'): AssociationSpec => ({
  resource,
  many: true,
  ours,
  theirs,
});
export const hasListed = (resource: string, ours: string): AssociationSpec => ({
  resource,
  many: true,
  ours,
  theirs: 'id',
  list: true,
});
export const hasListing = (resource: string, theirs: string): AssociationSpec => ({
  resource,
  many: true,
  ours: 'id',
  theirs,
  listing: true,
});
/** Things that PowerStore has and this system does not: clients select them, and find none. */
export const none = (resource: string, many: 'one' | 'many'): AssociationSpec => ({
  resource,
  many: many === 'many',
  ours: 'id',
  theirs: 'id',
  none: true,
});
