import type { Logger } from 'pino';
import type { Effect, Event } from '../round/event.ts';
import type { MachineState } from '../round/state.ts';

/** Rounds between two lines about how it goes. */
const EVERY = 100;

/** Tells a worker's output what matters to people: joins, losses, the pace of rounds now and then, and the end. */
export function narrator(
  logger: Logger,
): (event: Event, effects: readonly Effect[], state: MachineState) => void {
  let joined = false;
  let told = 0;
  return (event, effects, state) => {
    const { ledger, ballot, seq, target } = state;
    const isIn = ballot !== null && ballot.index >= 0;
    if (isIn !== joined) {
      joined = isIn;
      logger.info(
        { round: ledger.round, members: ledger.members.length },
        isIn ? 'joined' : 'no longer a member',
      );
    }
    if (event.type === 'started' && target !== null && target > seq)
      logger.info({ entries: target - seq }, 'catching up');
    if (event.type === 'truncated')
      logger.warn({ seq: event.seq, round: ledger.round }, 'the log lost its tail: took it back');
    if (event.type === 'rebuilding' && event.why === 'lost')
      logger.warn('the log lost what this worker began from: it begins anew');
    if (event.type === 'compared') compared(logger, event);
    if (event.type === 'entry' && event.record.kind === 'dispute') {
      const { member, proposer, reason, expected } = event.record;
      logger.warn(
        event.record,
        reason === 'tensor'
          ? `member ${member} had a wrong state, first in ${expected}, and built it anew`
          : `member ${member} disputes a record of ${proposer}`,
      );
    }
    if (isIn && ledger.round >= told + EVERY) {
      told = ledger.round;
      logger.info({ round: ledger.round, loss: ledger.loss, members: ledger.members.length }, 'round');
    }
    for (const effect of effects) {
      if (effect.type === 'prepare') logger.info('making ready for the rounds');
      if (effect.type === 'diverged')
        logger.error(
          { round: effect.round, expected: effect.expected, own: effect.own },
          'this state is not the one that the others agree on: building it anew',
        );
      if (effect.type === 'left') logger.info({ released: effect.released }, 'left');
      if (effect.type === 'finished')
        logger.info({ rounds: effect.record.round, digest: effect.record.digest }, 'the run has ended');
    }
  };
}

function compared(logger: Logger, { round, tensors }: Extract<Event, { type: 'compared' }>): void {
  const [first] = tensors;
  if (first === undefined)
    logger.warn({ round }, 'the state built anew is the same as before: it was the record that was wrong');
  else
    logger.error({ round, tensor: first, tensors: tensors.length }, `the state was wrong, first in ${first}`);
}
