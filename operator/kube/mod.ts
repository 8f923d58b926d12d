/** The public door of the Kubernetes runtime. */
export { type CallOptions, Client, type ClientOptions, type WriteGuard, WriteRefused } from './client.ts';
export { backoffMs, type Clock, microTime, type Random, realClock } from './clock.ts';
export { type ClusterConfig, loadConfig } from './config.ts';
export { Controller, type Outcome, type Pass, type Reconcile, TerminalError } from './controller.ts';
export * from './errors.ts';
export { type Occurrence, Recorder } from './events.ts';
export { type Check, HealthServer } from './health.ts';
export { controllerUid, Informer, labelValue } from './informer.ts';
export { Elector, type Lead, LeadershipLost } from './lease.ts';
export { KubeMetrics } from './metrics.ts';
export * from './object.ts';
export { WorkQueue } from './queue.ts';
export { isOlder } from './reflector.ts';
export { type Follower, runOperator, stopSignal } from './runtime.ts';
export { everywhere, isInScope, parseScope, type Scope } from './scope.ts';
export { type Handler, Store } from './store.ts';
