import { display, RestError } from '@antipode/contract';
import type { Rejection } from '@antipode/replication';

const side = { source: 'source', destination: 'destination' } as const;
const words = (command: string): string => command.replaceAll('_', ' ');
const shown = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What a refusal of the state machine is to a caller: one entry of the catalogue, saying which state or side would be right. */
export function rejectionError(rejection: Rejection): RestError {
  switch (rejection.kind) {
    case 'wrong_side':
      return new RestError(
        'session_wrong_side',
        shown(words(rejection.command)),
        side[rejection.needed],
        side[rejection.role],
      );
    case 'wrong_state':
      return new RestError(
        'session_wrong_state',
        shown(words(rejection.command)),
        display(rejection.situation),
        rejection.allowed.join(', '),
      );
    case 'system_paused':
      return new RestError('session_system_paused', display(rejection.state));
    case 'test_running':
      return new RestError('session_tested', shown(words(rejection.command)));
    case 'no_test_running':
      return new RestError('session_not_tested', shown(words(rejection.command)));
    case 'already_failed_over':
      return new RestError('failed_over_already');
    case 'already_running':
      return new RestError('session_running', shown(words(rejection.command)));
    case 'peer_unreachable':
      return new RestError('session_peer_unreachable', shown(words(rejection.command)));
    case 'peer_busy':
      return new RestError('session_peer_busy', shown(words(rejection.command)), rejection.message);
    case 'operation_failed':
      return new RestError('session_failed', shown(words(rejection.command)), rejection.code, rejection.message);
  }
}
