/** Where things are in a lab's cluster. */
/** The operator and NATS. */
export const SYSTEM = 'onebyte';
/** Jobs and their workers. */
export const TEAM = 'team';
