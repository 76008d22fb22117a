import { RestError } from '@antipode/contract';
import { hash, verify } from '@node-rs/argon2';

/** OWASP's second choice of argon2id parameters: 19 MiB, two passes, one lane. */
const argon2id = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

/** argon2id of a password, with its parameters and salt. */
export const hashPassword = (password: string): Promise<string> => hash(password, argon2id);
export const verifyPassword = (hashed: string, password: string): Promise<boolean> => verify(hashed, password);

const kinds: readonly (readonly [RegExp, string])[] = [
  [/\p{Ll}/u, 'a small letter'],
  [/\p{Lu}/u, 'a capital letter'],
  [/\d/, 'a digit'],
  [/[^\p{L}\p{N}\s]/u, 'a sign that is neither letter nor digit'],
];

/** Refuses a password that is too easy to guess; its length has been checked. */
export function checkPassword(password: string, user: string): void {
  const missing = kinds.find(([pattern]) => !pattern.test(password));
  if (missing !== undefined) throw new RestError('weak_password', `it needs ${missing[1]}`);
  if (/[\p{C}]/u.test(password)) throw new RestError('weak_password', 'it has signs that cannot be printed');
  if (password.toLowerCase().includes(user.toLowerCase()))
    throw new RestError('weak_password', 'it contains the name of the user');
}
