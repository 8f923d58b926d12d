import { OnebyteError } from '../errors.ts';
import { State, type StateOptions } from '../grid/state.ts';
import type { JobSpec } from '../journal/job.ts';
import type { GenesisRecord } from '../journal/record.ts';
import type { Model } from '../model/family.ts';
import type { ModelFolder } from '../model/folder.ts';
import { Replica } from '../replica/replica.ts';
import type { Basis } from './basis.ts';
import { type EnginePlan, planEngine, startValues } from './plan.ts';
import { stageTensors } from './stages.ts';

export interface OpenedReplica {
  readonly plan: EnginePlan;
  readonly state: State;
  readonly replica: Replica;
}

/**
 * A replica at its start values: before the first record.
 * @param basis the activation basis, where the plan uses one
 */
export function openReplica(
  model: Model,
  job: JobSpec,
  basis: Basis | null,
  options: StateOptions | ((plan: EnginePlan) => StateOptions) = {},
): OpenedReplica {
  const plan = planEngine(job, model);
  const state = new State(plan.tensors, typeof options === 'function' ? options(plan) : options);
  const reset = () => {
    for (let index = 0; index < plan.tensors.length; index++)
      state.start(index, startValues(plan, model, index));
  };
  reset();
  return { plan, state, replica: new Replica(state, stageTensors(plan, basis), reset) };
}

/** @throws OnebyteError MODEL_MISMATCH when this model is not the one that the run began with */
export function checkBase({ base, tokenizer }: GenesisRecord, { digests }: ModelFolder): void {
  compare('model', base, digests.weights);
  compare('tokenizer', tokenizer, digests.tokenizer);
}

/** @throws OnebyteError MODEL_MISMATCH when this model or its start state is not the one that the run began with */
export function checkGenesis(genesis: GenesisRecord, folder: ModelFolder, replica: Replica): void {
  checkBase(genesis, folder);
  compare('start state', genesis.state, replica.digest());
}

function compare(what: string, expected: string, found: string): void {
  if (expected === found) return;
  throw new OnebyteError(
    'MODEL_MISMATCH',
    `the run began with another ${what}: ${expected}, this one is ${found}`,
    {
      field: 'model',
      remedy:
        'give the model folder whose model.safetensors and tokenizer.json have the digests in the journal',
    },
  );
}
