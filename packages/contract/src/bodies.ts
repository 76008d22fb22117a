import { type TObject, type TProperties, type TSchema, Type } from 'typebox';
import { type EnumName, enums } from './enums.ts';

/** A request body: what is not named is refused. */
export const Body = <T extends TProperties>(properties: T): TObject<T> =>
  Type.Object(properties, { additionalProperties: false });
export const OneOf = <N extends EnumName>(name: N) => Type.Enum([...enums[name]] as (typeof enums)[N][number][]);
/** A name: printable, no control characters, no halves of characters. */
export const Name = (most = 128) =>
  Type.String({ minLength: 1, maxLength: most, pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f\\ud800-\\udfff]*$' });
/** Free text: anything but NUL and halves of characters. */
export const Text = (most: number) => Type.String({ maxLength: most, pattern: '^[^\\u0000\\ud800-\\udfff]*$' });
/** An id, or `name:x` where the resource allows it. */
export const Ref = () => Type.String({ minLength: 1, maxLength: 256 });
export const Refs = () => Type.Array(Ref(), { maxItems: 1000 });
export const Flag = () => Type.Boolean();
export const Timestamp = () =>
  Type.String({
    maxLength: 40,
    pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d(:\\d\\d(\\.\\d{1,9})?)?(Z|[+-]\\d\\d:?\\d\\d)$',
  });
export const Opt = <T extends TSchema>(schema: T) => Type.Optional(schema);
export const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
export const VolumeSize = () => Type.Integer({ minimum: 1_048_576, maximum: 281_474_976_710_656 });

/** The answer to a create, and to everything asked for asynchronously. */
export const Created = Type.Object({ id: Type.String() });
