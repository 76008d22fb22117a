import type { Role } from '@antipode/blocks';
import { sideOf, statesThatAllow } from './legal-commands.ts';
import type { CommandName, Situation, State } from './states.ts';

/** Why a command was refused. Nothing changed. The cluster maps each to one entry of the error catalogue. */
export type Rejection =
  | { readonly kind: 'wrong_side'; readonly command: CommandName; readonly role: Role; readonly needed: Role }
  | {
      readonly kind: 'wrong_state';
      readonly command: CommandName;
      readonly situation: Situation;
      readonly allowed: readonly State[];
    }
  | { readonly kind: 'system_paused'; readonly command: CommandName; readonly state: State }
  /** A failover test runs and forbids it, or none runs and it needs one. */
  | { readonly kind: 'test_running' | 'no_test_running'; readonly command: CommandName }
  | { readonly kind: 'already_failed_over' }
  | { readonly kind: 'already_running'; readonly command: CommandName }
  | { readonly kind: 'peer_unreachable'; readonly command: CommandName }
  | { readonly kind: 'peer_busy'; readonly command: CommandName; readonly message: string }
  | {
      readonly kind: 'operation_failed';
      readonly command: CommandName;
      readonly code: string;
      readonly message: string;
    };

export const wrongSide = (command: CommandName, role: Role): Rejection => {
  const needed = sideOf[command] ?? role;
  return { kind: 'wrong_side', command, role, needed };
};

export const wrongState = (command: CommandName, situation: Situation): Rejection => ({
  kind: 'wrong_state',
  command,
  situation,
  allowed: statesThatAllow(command),
});
