import { BlockRows } from '../../model/block-rows.ts';
import type { Model } from '../../model/family.ts';
import type { GraphOptions } from '../../model/graph.ts';
import type { Weights } from '../../model/tensor.ts';
import { type Feed, type Forward, type Outputs, Session, type SessionOptions } from './session.ts';
import { TokenScores } from './token-scores.ts';

type Options = Omit<GraphOptions, 'weights' | 'hidden'> & { readonly weights?: Weights };

/**
 * Opens what computes a graph of a model. A quantised matrix of tokens is left out of the session: rows of tokens
 * that are read, and scores of those to be predicted, are computed from the file, a part at a time. In the session it would be
 * mapped, and every page of it in this process' memory.
 * @throws OnebyteError ENGINE_FAILED
 */
export async function openForward(model: Model, options: Options, session: SessionOptions): Promise<Forward> {
  const { from, to, end, weights = model.weights, inputs } = options;
  const rowsOf = (name: string | undefined) => {
    const { dims, stored } = (name !== undefined && !inputs?.has(name) && weights.get(name)) || {};
    return dims !== undefined && stored?.type === 'blocks' ? new BlockRows(dims, stored) : undefined;
  };
  const { embeddings, scores } = model.tokenWeights ?? {};
  const read = from === 'ids' ? rowsOf(embeddings) : undefined;
  const predicted = to === 'loss' && end === 'tokens' ? rowsOf(scores) : undefined;
  if (read === undefined && predicted === undefined) return Session.open(model.graph(options), session);
  const trunk = await Session.open(
    model.graph({ ...options, from: read ? 0 : from, to: predicted ? 'scored' : to }),
    session,
  );
  try {
    return new SplitForward(trunk, read, predicted && (await TokenScores.open(predicted, session)));
  } catch (error) {
    await trunk.close();
    throw error;
  }
}

/** A session between what is done outside of it. */
class SplitForward implements Forward {
  readonly output: string;
  readonly #trunk: Session;
  readonly #read: BlockRows | undefined;
  readonly #scores: TokenScores | undefined;

  constructor(trunk: Session, read: BlockRows | undefined, scores: TokenScores | undefined) {
    this.#trunk = trunk;
    this.#read = read;
    this.#scores = scores;
    this.output = scores === undefined ? trunk.output : 'loss';
  }

  async run(feeds: Readonly<Record<string, Feed>>): Promise<Outputs> {
    const outputs = await this.#trunk.run({ ...feeds, ...this.#hidden(feeds) });
    return this.#scores === undefined ? outputs : this.#scores.losses(outputs.scored!, feeds);
  }

  #hidden({ input_ids: ids }: Readonly<Record<string, Feed>>): Record<string, Feed> {
    if (this.#read === undefined || ids === undefined) return {};
    const data = this.#read.gather(ids.data as Int32Array);
    return { hidden: { data, dims: [...ids.dims, this.#read.width] } };
  }

  async close(): Promise<void> {
    this.#read?.close();
    await this.#scores?.close();
    await this.#trunk.close();
  }
}
