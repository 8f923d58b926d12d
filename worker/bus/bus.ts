/**
 * Best-effort messages between the members of one job: may be lost, doubled, delayed or reordered.
 * Nothing that changes training state travels here; only the log does that.
 */
export interface Bus {
  /** The identity this end sends as. */
  readonly self: string;
  send(to: string, data: Uint8Array): void;
  /** To every member that listens, this one excluded. */
  broadcast(data: Uint8Array): void;
  /** Registers the one receiver of messages sent to `self` or broadcast. */
  onMessage(handler: (from: string, data: Uint8Array) => void): void;
  close(): Promise<void>;
}
